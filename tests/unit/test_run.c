// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_run: a small layer written by hand, its kernels in scalar C: routing, grouping,
 * panels, combine, losses and sequences, against plain loops and with any threads. */
#include <stdbool.h>
#include "unit.h"
#include "../../ir/ir.h"
#include "../../runtime/moert.h"

#include <math.h>
#include <stdlib.h>

enum { H = 24, E = 5, FIRST = 3, K = 2, I = 20, COLS = 8, KPACK = 2 };
enum { X, Y, P, PICKS, GATES, HID0, HID1, MEANS, LOSS, TOTALS, NBUFS };
enum { ROUTER, UP0, DOWN0, UP1, DOWN1, NWEIGHTS };

/* ---- kernels ---- */

static float *row_of(const moert_call *call, int buf, int64_t row)
{
	return (float *)(call->buf[buf].at + row * call->buf[buf].stride);
}

/* The dot of one row with column c of stream s, from k0 to k1. */
static float dot(const moert_task *t, int streams, int s, int c, const float *a,
		 float sum)
{
	const float *panel = t->panel;
	for (int64_t k = t->k0; k < t->k1; k++)
		sum += a[k] *
		       panel[((k / KPACK * streams + s) * COLS + c) * KPACK + k % KPACK];
	return sum;
}

/* Sums of all columns of a row into acc[streams][COLS]. */
static void dots(const moert_task *t, int streams, const float *a, int64_t row,
		 float *acc)
{
	float *wait = t->acc ? t->acc + (row - t->row0) * streams * COLS : NULL;
	for (int i = 0; i < streams * COLS; i++) {
		acc[i] = dot(t, streams, i / COLS, i % COLS, a, t->k0 ? wait[i] : 0);
		if (wait)
			wait[i] = acc[i];
	}
}

static void router(const moert_call *call, const moert_task *t)
{
	float acc[COLS];
	for (int64_t r = t->row0; r < t->row1; r++) {
		dots(t, 1, row_of(call, X, r), r, acc);
		for (int64_t c = 0; c < COLS && t->number * COLS + c < E; c++)
			row_of(call, P, r)[t->number * COLS + c] = acc[c];
	}
}

static void choose(const float *p, int32_t *picks, float *gates)
{
	int a = 0, b = -1;
	for (int e = 1; e < E; e++)
		if (p[e] > p[a])
			a = e;
	for (int e = 0; e < E; e++)
		if (e != a && (b < 0 || p[e] > p[b]))
			b = e;
	picks[0] = a;
	picks[1] = p[b] > 0 ? b : -1;           /* some tokens take one expert only */
	gates[0] = p[a] * 0.5f;
	gates[1] = p[b] * 0.25f;
}

static void topk(const moert_call *call, int64_t row0, int64_t row1, void *scratch)
{
	memset(scratch, 0x55, 100);
	for (int64_t r = row0; r < row1; r++)
		choose(row_of(call, P, r), (int32_t *)row_of(call, PICKS, r),
		       row_of(call, GATES, r));
}

static void gate_up(const moert_call *call, const moert_task *t, int range, int hid)
{
	float acc[2 * COLS];
	for (int64_t r = t->row0; r < t->row1; r++) {
		dots(t, 2, row_of(call, X, call->rows[range].token[r]), r, acc);
		if (t->k1 < H)
			continue;
		for (int64_t c = 0; c < COLS && t->number * COLS + c < I; c++)
			row_of(call, hid, r)[t->number * COLS + c] =
			    acc[c] * acc[COLS + c];
	}
}

static void down(const moert_call *call, const moert_task *t, int range, int hid)
{
	float acc[COLS];
	const moert_rows *rows = &call->rows[range];
	for (int64_t r = t->row0; r < t->row1; r++) {
		dots(t, 1, row_of(call, hid, r), r, acc);
		if (t->k1 < I)
			continue;
		float gate = row_of(call, GATES, rows->token[r])[rows->slot[r]];
		for (int c = 0; c < COLS; c++)
			t->sink[rows->token[r] * COLS + c] += gate * acc[c];
	}
}

static void gate_up0(const moert_call *c, const moert_task *t) { gate_up(c, t, 0, HID0); }
static void gate_up1(const moert_call *c, const moert_task *t) { gate_up(c, t, 1, HID1); }
static void down0(const moert_call *c, const moert_task *t) { down(c, t, 0, HID0); }
static void down1(const moert_call *c, const moert_task *t) { down(c, t, 1, HID1); }

static void finish0(const moert_call *call, const float *sink, int64_t number, int64_t t0,
		    int64_t t1)
{
	for (int64_t t = t0; t < t1; t++)
		memcpy(row_of(call, Y, t) + number * COLS, sink + t * COLS, COLS * 4);
}

static void finish1(const moert_call *call, const float *sink, int64_t number, int64_t t0,
		    int64_t t1)
{
	for (int64_t t = t0; t < t1; t++)
		for (int c = 0; c < COLS; c++)
			row_of(call, Y, t)[number * COLS + c] += sink[t * COLS + c];
}

static void loss(const moert_call *call, int64_t row0, int64_t row1, void *scratch)
{
	float sum = 0;
	for (int e = 0; e < E; e++)
		sum += row_of(call, MEANS, 0)[e] * row_of(call, MEANS, 0)[e];
	*row_of(call, LOSS, 0) = sum + (float)call->tokens;
}

/* ---- the layer ---- */

static const moert_buf bufs[NBUFS] = {
	[X] = {"x", MOERT_INPUT, DT_f32, MOERT_TOKEN, 0, H, 0, 0},
	[Y] = {"y", MOERT_OUTPUT, DT_f32, MOERT_TOKEN, 0, H, 0, 0},
	[P] = {"p", MOERT_TEMP, DT_f32, MOERT_TOKEN, 0, E, 0, 0},
	[PICKS] = {"picks", MOERT_TEMP, DT_index, MOERT_TOKEN, 0, K, 1, 0},
	[GATES] = {"gates", MOERT_TEMP, DT_f32, MOERT_TOKEN, 0, K, 2, 0},
	[HID0] = {"hid0", MOERT_TEMP, DT_f32, MOERT_ROW, 0, I, 0, 0},
	[HID1] = {"hid1", MOERT_TEMP, DT_f32, MOERT_ROW, 1, I, 0, 0},
	[MEANS] = {"means", MOERT_TEMP, DT_f32, MOERT_ONCE, 0, E, 0, 0},
	[LOSS] = {"loss", MOERT_LOSS, DT_f32, MOERT_ONCE, 0, 1, 0, 0},
	[TOTALS] = {"totals", MOERT_OUTPUT, DT_f32, MOERT_SEQ, 0, E, 0, 0},
};
static const char *const router_names[] = {"router"}, *const up_names[] = {"gate", "up"},
			 *const down_names[] = {"down"};
#define UP(r)   {"gate+up", r, DT_f32, COLS, KPACK, I, H, 2, up_names, 24 * H * 2 * 4}
#define DOWN(r) {"down", r, DT_f32, COLS, KPACK, H, I, 1, down_names, H * I * 4}
static const moert_weight weights[NWEIGHTS] = {
    [ROUTER] = {"router", -1, DT_f32, COLS, KPACK, E, H, 1, router_names, COLS * H * 4},
    [UP0] = UP(0),
    [DOWN0] = DOWN(0),
    [UP1] = UP(1),
    [DOWN1] = DOWN(1),
};
static const moert_range ranges[] = {{0, FIRST}, {FIRST, E - FIRST}};

#define UPSTEP(r, fn)                                                                    \
	{                                                                                \
		.name = "up", .kind = MOERT_CONTRACT, .over = MOERT_ROW, .range = r,     \
		.contract = fn, .weight = r ? UP1 : UP0, .panels = 3,                    \
		.panel_bytes = COLS * H * 2 * 4, .width = 2 * COLS, .k = H,              \
		.kblock = 10, .tile_rows = 4                                             \
	}
#define DOWNSTEP(r, fn, end)                                                             \
	{                                                                                \
		.name = "down", .kind = MOERT_CONTRACT, .over = MOERT_ROW, .range = r,   \
		.contract = fn, .finish = end, .weight = r ? DOWN1 : DOWN0, .panels = 3, \
		.panel_bytes = COLS * I * 4, .width = COLS, .k = I, .kblock = 8,         \
		.tile_rows = 4                                                           \
	}
static const moert_step steps[] = {
    {.name = "route",
     .kind = MOERT_CONTRACT,
     .over = MOERT_TOKEN,
     .scratch = 100,
     .map = topk,
     .contract = router,
     .weight = ROUTER,
     .panels = 1,
     .panel_bytes = COLS * H * 4,
     .width = COLS,
     .k = H,
     .tile_rows = 4},
    {.name = "mean",
     .kind = MOERT_CROSS,
     .loss_only = 1,
     .op = MOERT_MEAN,
     .in = P,
     .out = MEANS},
    {.name = "loss", .kind = MOERT_MAP, .over = MOERT_ONCE, .loss_only = 1, .map = loss},
    {.name = "totals",
     .kind = MOERT_CROSS,
     .op = MOERT_SUM,
     .by_sequence = 1,
     .in = P,
     .out = TOTALS},
    {.name = "group0", .kind = MOERT_GROUP, .in = PICKS, .range = 0},
    {.name = "group1", .kind = MOERT_GROUP, .in = PICKS, .range = 1},
    UPSTEP(0, gate_up0),
    UPSTEP(1, gate_up1),
    DOWNSTEP(0, down0, finish0),
    DOWNSTEP(1, down1, finish1),
};
static const moert_layer layer = {
    .name = "tiny",
    .target = "any",
    .needs = "",
    .width = H,
    .experts = E,
    .picks = K,
    .nbufs = NBUFS,
    .nweights = NWEIGHTS,
    .nranges = 2,
    .nsteps = COUNT(steps),
    .bufs = bufs,
    .weights = weights,
    .ranges = ranges,
    .steps = steps,
};

/* A model that calls it twice; what else the model does is the same once more. */
static const moert_layer_call two_calls[] = {{"tiny", &layer}, {"small", &layer}};

static float weight_at(const char *name, int64_t expert, int64_t i)
{
	uint32_t h = (uint32_t)(expert + 2) * 7919u + (uint32_t)name[0] * 104729u +
		     (uint32_t)i * 2654435761u;
	h ^= h >> 15;
	h *= 2246822519u;
	return (float)(int32_t)(h ^ h >> 13) * 0x1p-33f;
}

static const void *natural(void *ctx, const moert_layer *l, const char *name,
			   int64_t range, int64_t expert)
{
	float *m = ctx;
	int n = name[0] == 'r' ? E * H : H * I;
	for (int i = 0; i < n; i++)
		m[i] = weight_at(name, expert, i);
	return m;
}

/* ---- the same in plain loops ---- */

static float plain_dot(const char *name, int64_t expert, int64_t n, int k, const float *a)
{
	float sum = 0;
	for (int i = 0; i < k; i++)
		sum += a[i] * weight_at(name, expert, n * k + i);
	return sum;
}

static void plain_token(const float *x, int32_t *picks, float *gates, bool given,
			float *y)
{
	float p[E], part[2][H] = {{0}}, hid[I];
	for (int e = 0; e < E; e++)
		p[e] = plain_dot("router", -1, e, H, x);
	if (!given)
		choose(p, picks, gates);
	for (int e = 0; e < E; e++)
		for (int j = 0; j < K; j++) {
			if (picks[j] != e)
				continue;
			for (int i = 0; i < I; i++)
				hid[i] = plain_dot("gate", e, i, H, x) *
					 plain_dot("up", e, i, H, x);
			for (int i = 0; i < H; i++)
				part[e >= FIRST][i] +=
				    gates[j] * plain_dot("down", e, i, I, hid);
		}
	for (int i = 0; i < H; i++)
		y[i] = part[0][i] + part[1][i];
}

/* ---- tests ---- */

typedef struct {
	int64_t t;
	float  *x, *y, *totals, *gates, losses[1];
	int32_t *picks;
	moert_model   *m;
	moert_session *s;
} Rig;

static void pool(void *ctx, int n, void (*fn)(void *, int), void *arg)
{
	++*(int *)ctx;
	for (int i = n - 1; i >= 0; i--)
		fn(arg, i);
}

static Rig rig_new(const moert_layer *l, int64_t t, int threads, int *pooled)
{
	static float matrix[H * I];
	Rig r = {.t = t};
	moert_session_options o = {.size = sizeof o, .threads = threads};
	o.parallel_for = pooled ? pool : NULL;
	o.ctx = pooled;
	r.x = calloc((size_t)t * H + 1, 4);
	r.y = calloc((size_t)t * H + 1, 4);
	r.totals = calloc((size_t)t * E + 1, 4);
	r.gates = calloc((size_t)t * K + 1, 4);
	r.picks = calloc((size_t)t * K + 1, 4);
	for (int64_t i = 0; i < t * H; i++)
		r.x[i] = weight_at("x", 99, i) * 4;
	MUST(moert_open_memory(l, natural, matrix, NULL, &r.m) == 0);
	MUST(moert_start(r.m, &o, &r.s) == 0);
	moert_close(r.m);                       /* the session keeps it alive */
	return r;
}

static void rig_free(Rig *r)
{
	moert_end(r->s);
	free(r->x);
	free(r->y);
	free(r->totals);
	free(r->gates);
	free(r->picks);
}

static moert_args rig_args(Rig *r, void **outputs)
{
	outputs[0] = r->totals;
	return (moert_args){
		.size = sizeof(moert_args), .x = r->x, .tokens = r->t, .y = r->y,
		.picks_out = r->picks, .gates_out = r->gates, .losses = r->losses,
		.outputs = outputs,
	};
}

static bool like_plain(const Rig *r, bool given)
{
	for (int64_t t = 0; t < r->t; t++) {
		float y[H], gates[K];
		int32_t picks[K];
		memcpy(picks, r->picks + t * K, sizeof picks);
		memcpy(gates, r->gates + t * K, sizeof gates);
		plain_token(r->x + t * H, picks, gates, given, y);
		if (memcmp(y, r->y + t * H, sizeof y) != 0 ||
		    memcmp(picks, r->picks + t * K, sizeof picks) != 0)
			return false;
	}
	return true;
}

static void test_threads(void)
{
	static const int64_t tokens[] = {1, 2, 5, 63, 700};
	for (size_t i = 0; i < COUNT(tokens); i++) {
		float loss1 = 0;
		for (int threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4) {
			Rig r = rig_new(&layer, tokens[i], threads, NULL);
			void *outputs[1];
			moert_args a = rig_args(&r, outputs);
			MUST(moert_run(r.s, &a) == 0);
			CHECK(like_plain(&r, false));
			CHECK(r.losses[0] > (float)tokens[i]);
			CHECK(threads == 1 || r.losses[0] == loss1);
			loss1 = r.losses[0];
			rig_free(&r);
		}
	}
}

/* So many that grouping is cut into pieces and routing goes by blocks of rows. */
static void test_many(void)
{
	Rig r = rig_new(&layer, 9000, 3, NULL);
	void *outputs[1];
	moert_args a = rig_args(&r, outputs);
	MUST(moert_run(r.s, &a) == 0);
	CHECK(like_plain(&r, false));
	rig_free(&r);
}

static void test_pool(void)
{
	int calls = 0;
	Rig r = rig_new(&layer, 9000, 3, &calls);
	void *outputs[1];
	moert_args a = rig_args(&r, outputs);
	MUST(moert_run(r.s, &a) == 0);
	CHECK(calls >= 10);
	CHECK(like_plain(&r, false));
	rig_free(&r);
}

/* A token's bits do not depend on the tokens beside it, nor on what ran before. */
static void test_batches(void)
{
	Rig r = rig_new(&layer, 300, 2, NULL);
	void *outputs[1];
	moert_args a = rig_args(&r, outputs);
	MUST(moert_run(r.s, &a) == 0);
	for (int64_t t = 0; t < r.t; t += 7) {
		float y[H];
		moert_args one = {.size = offsetof(moert_args, x_stride),
				  .x = r.x + t * H,
				  .tokens = 1,
				  .y = y};
		MUST(moert_run(r.s, &one) == 0);
		CHECK(memcmp(y, r.y + t * H, sizeof y) == 0);
	}
	rig_free(&r);
}

static void test_sequences(void)
{
	static const int64_t seq[] = {0, 10, 10, 64, 100};
	Rig r = rig_new(&layer, 100, 3, NULL);
	void *outputs[1];
	moert_args a = rig_args(&r, outputs);
	a.nseq = 4;
	a.seq = seq;
	MUST(moert_run(r.s, &a) == 0);
	for (int s = 0; s < 4; s++)
		for (int e = 0; e < E; e++) {
			float sum = 0;
			for (int64_t t = seq[s]; t < seq[s + 1]; t++)
				sum += plain_dot("router", -1, e, H, r.x + t * H);
			CHECK(sum == r.totals[s * E + e]);
		}
	rig_free(&r);
}

static void test_groups(void)
{
	static const int64_t seq[] = {0, 10, 10, 64, 100};
	static const struct { int64_t group; double tokens; } cases[] = {
		{0, 100}, {16, 100.0 / 7}, {-1, 100.0 / 3}, {200, 100},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		moert_layer l = layer;
		l.group = cases[i].group;
		Rig r = rig_new(&l, 100, 2, NULL);
		void *outputs[1];
		moert_args a = rig_args(&r, outputs);
		int64_t rows[E] = {99, 99};
		a.nseq = 4;
		a.seq = seq;
		a.expert_rows = rows;
		MUST(moert_run(r.s, &a) == 0);
		CHECK(like_plain(&r, false));
		for (int j = 0; j < 100 * K; j++)
			rows[r.picks[j] < 0 ? 0 : r.picks[j]] -= r.picks[j] >= 0;
		for (int e = 0; e < E; e++)
			CHECK(rows[e] == 0);
		CHECK(r.losses[0] > cases[i].tokens && r.losses[0] < cases[i].tokens + 3);
		rig_free(&r);
	}
}

static void test_given(void)
{
	Rig r = rig_new(&layer, 50, 2, NULL);
	int32_t picks[50 * K];
	float gates[50 * K];
	void *outputs[1];
	for (int i = 0; i < 50 * K; i++) {
		picks[i] = i % (E + 1) - 1;
		gates[i] = (float)i;
	}
	moert_args a = rig_args(&r, outputs);
	a.picks_in = picks;
	a.gates_in = gates;
	MUST(moert_run(r.s, &a) == 0);
	CHECK(memcmp(r.picks, picks, sizeof picks) == 0);
	CHECK(memcmp(r.gates, gates, sizeof gates) == 0);
	CHECK(like_plain(&r, true));
	picks[33] = E;
	CHECK(moert_run(r.s, &a) == MOERT_PICKS);
	picks[33] = -2;
	CHECK(moert_run(r.s, &a) == MOERT_PICKS);
	picks[33] = 0;
	a.gates_in = NULL;
	CHECK(moert_run(r.s, &a) == MOERT_PICKS);
	rig_free(&r);
}

/* The whole and its calls in turn, in one workspace that grows with either. */
static void test_calls(void)
{
	static const int64_t tokens[] = {3, 300, 40, 700};
	moert_layer whole = layer;

	whole.ncalls = COUNT(two_calls);
	whole.calls = two_calls;
	for (int pooled = 0; pooled < 2; pooled++) {
		int n = 0;
		Rig r = rig_new(&whole, 700, 3, pooled ? &n : NULL);
		void *outputs[1];
		moert_args a = rig_args(&r, outputs);
		for (size_t i = 0; i < COUNT(tokens); i++) {
			r.t = a.tokens = tokens[i];
			memset(r.y, 0, (size_t)r.t * H * 4);
			const char *of = i % 2 ? "small" : "tiny";
			MUST(moert_run_call(r.s, of, (int64_t)i % 2, &a) == 0);
			CHECK(like_plain(&r, false));
			a.tokens = 900 - r.t;
			a.tokens = MIN(a.tokens, 700);
			r.t = a.tokens;
			MUST(moert_run(r.s, &a) == 0);
			CHECK(like_plain(&r, false));
		}
		CHECK(!pooled == (n == 0));
		CHECK(moert_run_call(r.s, "tiny", 1, &a) == MOERT_ARGS);
		CHECK(moert_run_call(r.s, "tiny", 2, &a) == MOERT_ARGS);
		CHECK(moert_run_call(r.s, "tiny", INT64_MIN, &a) == MOERT_ARGS);
		CHECK(moert_run_call(r.s, "tiny", 0, NULL) == MOERT_ARGS);
		a.x = NULL;
		CHECK(moert_run_call(r.s, "tiny", 0, &a) == MOERT_ARGS);
		moert_reset(r.s);
		SAME_TEXT(moert_path(&whole, 1), "tiny");
		CHECK(!moert_path(&whole, 2) && !moert_path(&layer, 0));
		rig_free(&r);
	}
}

static void test_strides(void)
{
	Rig r = rig_new(&layer, 9, 2, NULL);
	float x[9 * (H + 3)], y[9 * (H + 5)];
	void *outputs[1];
	for (int t = 0; t < 9; t++)
		memcpy(x + t * (H + 3), r.x + t * H, H * 4);
	moert_args a = rig_args(&r, outputs);
	a.x = x;
	a.y = y;
	a.x_stride = (H + 3) * 4;
	a.y_stride = (H + 5) * 4;
	MUST(moert_run(r.s, &a) == 0);
	for (int t = 0; t < 9; t++)
		memcpy(r.y + t * H, y + t * (H + 5), H * 4);
	CHECK(like_plain(&r, false));
	a.x_stride = H * 4 - 4;
	CHECK(moert_run(r.s, &a) == MOERT_STRIDE);
	a.x_stride = H * 4 + 2;
	CHECK(moert_run(r.s, &a) == MOERT_STRIDE);
	a.x_stride = INT64_MAX - 3;
	CHECK(moert_run(r.s, &a) == MOERT_TOKENS);
	rig_free(&r);
}

static void test_nothing(void)
{
	Rig r = rig_new(&layer, 0, 2, NULL);
	float lossy[1] = {7};
	moert_args a = {.size = sizeof a, .losses = lossy};
	CHECK(moert_run(r.s, &a) == 0);
	CHECK(lossy[0] == 0);
	rig_free(&r);
}

static void test_errors(void)
{
	static const int64_t falls[] = {0, 5, 4, 8}, late[] = {1, 8}, early[] = {0, 7};
	Rig r = rig_new(&layer, 8, 1, NULL);
	void *outputs[1];
	moert_args good = rig_args(&r, outputs), a = good;
	struct { moert_args a; int64_t more; } longer = {good, 0};

	a.size = 8;
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
	a.size = sizeof a - 4;
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
	a = good, a.x = NULL;
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
	a = good, a.y = NULL;
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
	a = good, a.tokens = -1;
	CHECK(moert_run(r.s, &a) == MOERT_TOKENS);
	a = good, a.tokens = (int64_t)1 << 31;
	CHECK(moert_run(r.s, &a) == MOERT_TOKENS);
	a = good, a.nseq = 3, a.seq = falls;
	CHECK(moert_run(r.s, &a) == MOERT_SEQUENCES);
	a.nseq = 1, a.seq = late;
	CHECK(moert_run(r.s, &a) == MOERT_SEQUENCES);
	a.seq = early;
	CHECK(moert_run(r.s, &a) == MOERT_SEQUENCES);
	a.seq = NULL;
	CHECK(moert_run(r.s, &a) == MOERT_SEQUENCES);
	a = good, a.y = r.x + H;
	CHECK(moert_run(r.s, &a) == MOERT_OVERLAP);
	CHECK(moert_run(r.s, NULL) == MOERT_ARGS);
	CHECK(moert_run(NULL, &good) == MOERT_ARGS);
	longer.a.size = sizeof longer;
	CHECK(moert_run(r.s, &longer.a) == 0);
	longer.more = 1;
	CHECK(moert_run(r.s, &longer.a) == MOERT_ARGS);
	CHECK(moert_run(r.s, &good) == 0);
	CHECK(like_plain(&r, false));
	rig_free(&r);
	CHECK(strcmp(moert_error(MOERT_OK), moert_error(MOERT_MEMORY)) != 0);
	SAME_TEXT(moert_error(12345), "no error of a compiled layer");
}

static const void *missing(void *ctx, const moert_layer *l, const char *name,
			   int64_t range, int64_t expert)
{
	return expert == 4 && name[0] == 'u' ? NULL
					     : natural(ctx, l, name, range, expert);
}

static void test_open(void)
{
	static float matrix[H * I];
	char why[200];
	moert_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
	moert_model *m;
	moert_layer l = layer;

	CHECK(moert_open_memory(&l, missing, matrix, &o, &m) == MOERT_WEIGHT && !m);
	SAME_TEXT(why, "layer tiny: weight up of expert 4 is missing");
	l.needs = "a-feature-that-no-cpu-has";
	CHECK(moert_open_memory(&l, natural, matrix, &o, &m) == MOERT_CPU && !m);
	SAME_TEXT(why, "layer tiny needs a CPU with: a-feature-that-no-cpu-has");
	o.size = 3;
	CHECK(moert_open_memory(&layer, natural, matrix, &o, &m) == MOERT_ARGS);
	CHECK(moert_open_memory(&layer, natural, matrix, NULL, &m) == 0);
	CHECK(moert_bytes(m) >= H * I * 4 * 3 * E);
	moert_session_options so = {.size = sizeof so, .threads = -1};
	moert_session *s;
	CHECK(moert_start(m, &so, &s) == MOERT_ARGS && !s);
	moert_close(m);
	moert_close(NULL);
	moert_end(NULL);
}

SUITE("run", {"threads", test_threads}, {"many tokens", test_many},
      {"host pool", test_pool}, {"batches", test_batches}, {"sequences", test_sequences},
      {"groups", test_groups}, {"given routing", test_given}, {"strides", test_strides},
      {"calls of a model's layers", test_calls},
      {"no tokens", test_nothing}, {"errors", test_errors}, {"open", test_open})
