// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_run: calls of a small layer: routing, grouping, panels, combine, losses and
 * sequences, against plain loops and with any threads. */
#include "tiny.h"
#include "unit.h"

#include <stdlib.h>

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

/* Of each of three workers. */
typedef struct { int64_t end[3]; int works[3], waits[3], wrong[3]; _Atomic int named; } Spans;

static void note_span(void *ctx, int worker, const char *step, int64_t begin, int64_t end)
{
	Spans *s = ctx;

	s->wrong[worker] += begin < s->end[worker] || end < begin;
	s->end[worker] = end;
	*(step ? &s->works[worker] : &s->waits[worker]) += 1;
	s->named += step && strcmp(step, "totals") == 0;
}

static void test_spans(void)
{
	for (int pooled = 0; pooled < 2; pooled++) {
		static float matrix[H * I];
		int calls = 0;
		Spans spans = {0};
		void *outputs[1];
		Rig r = rig_new(&layer, 50, 3, pooled ? &calls : NULL);
		moert_session_options o = {.size = sizeof o, .threads = 3, .ctx = &calls,
					   .parallel_for = pooled ? pool : NULL,
					   .span = note_span, .span_ctx = &spans};
		moert_args a = rig_args(&r, outputs);
		moert_model *m;
		moert_session *s;
		MUST(moert_open_memory(&layer, natural, matrix, NULL, &m) == 0);
		MUST(moert_start(m, &o, &s) == 0);
		MUST(moert_run(s, &a) == 0);
		moert_end(s);
		moert_close(m);
		int works = 0;
		for (int w = 0; w < 3; w++) {
			works += spans.works[w];
			CHECK(spans.waits[w] == (pooled ? 0 : spans.works[w] + 1));
			CHECK(spans.wrong[w] == 0);
		}
		CHECK(works >= layer.nsteps);
		CHECK(spans.named >= 1);
		rig_free(&r);
	}
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

/* What only finds the routing does not run where it is given, unless losses need it. */
static void test_given_alone(void)
{
	moert_step own[COUNT(steps)];
	moert_layer l = layer;
	int32_t picks[50 * K] = {0};
	float gates[50 * K];

	memcpy(own, steps, sizeof steps);
	own[0].routing_only = 1;
	l.steps = own;
	for (int i = 0; i < 50 * K; i++)
		gates[i] = (float)i;
	for (int pooled = 0; pooled < 2; pooled++) {
		int n = 0;
		Rig r = rig_new(&l, 50, 2, pooled ? &n : NULL);
		void *outputs[1];
		moert_args a = rig_args(&r, outputs);
		MUST(moert_run(r.s, &a) == 0);
		int before = router_calls;
		CHECK(before > 0);
		a.picks_in = picks;
		a.gates_in = gates;
		a.losses = NULL;
		MUST(moert_run(r.s, &a) == 0);
		CHECK(router_calls == before);
		CHECK(memcmp(r.gates, gates, sizeof gates) == 0);
		CHECK(like_plain(&r, true));
		a.losses = r.losses;
		MUST(moert_run(r.s, &a) == 0);
		CHECK(router_calls > before);
		CHECK(like_plain(&r, true));
		rig_free(&r);
		router_calls = 0;
	}
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
		moert_forget(r.s, 0);
		moert_forget(r.s, INT64_MIN);
		moert_forget(r.s, INT64_MAX);
		SAME_TEXT(moert_path(&whole, 1), "tiny");
		CHECK(!moert_path(&whole, 2) && !moert_path(&layer, 0));
		rig_free(&r);
	}
}

/* The model before goes, and its memory becomes something else's. */
static void test_use(void)
{
	static float matrix[H * I];
	moert_layer whole = layer;
	moert_model *other;
	void *outputs[1], *junk[32];

	whole.ncalls = COUNT(two_calls);
	whole.calls = two_calls;
	Rig r = rig_new(&whole, 40, 2, NULL);
	moert_args a = rig_args(&r, outputs);
	MUST(moert_run_call(r.s, "tiny", 0, &a) == 0);
	MUST(moert_open_memory(&whole, natural, matrix, NULL, &other) == 0);
	CHECK(moert_use(r.s, NULL) == MOERT_ARGS && moert_use(NULL, other) == MOERT_ARGS);
	MUST(moert_use(r.s, other) == 0);
	moert_close(other);
	for (size_t i = 0; i < COUNT(junk); i++)
		junk[i] = memset(malloc(16 * (i + 1)), 0xff, 16 * (i + 1));
	moert_reset(r.s);
	MUST(moert_run_call(r.s, "tiny", 0, &a) == 0);
	CHECK(like_plain(&r, false));
	MUST(moert_run(r.s, &a) == 0);
	CHECK(like_plain(&r, false));
	MUST(moert_open_memory(&layer, natural, matrix, NULL, &other) == 0);
	CHECK(moert_use(r.s, other) == MOERT_LAYER);
	moert_close(other);
	for (size_t i = 0; i < COUNT(junk); i++)
		free(junk[i]);
	rig_free(&r);
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
	a.x = r.x;                              /* rows apart, of which there are none */
	a.y_stride = (H + 8) * 4;
	CHECK(moert_run(r.s, &a) == 0);
	rig_free(&r);
}

static void test_errors(void)
{
	static const int64_t falls[] = {0, 5, 4, 8}, late[] = {1, 8}, early[] = {0, 7};
	Rig r = rig_new(&layer, 8, 1, NULL);
	void *outputs[1];
	moert_args good = rig_args(&r, outputs), a = good;
	struct { moert_args a; int64_t more; } longer = {good, 0};
	int64_t arrivals[8];

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
	a = good, a.arrivals = arrivals;        /* nobody waits in this layer */
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
	a = good, a.queue = arrivals;
	CHECK(moert_run(r.s, &a) == MOERT_ARGS);
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
	o.flags = MOERT_MMAP | MOERT_TRUST << 1;
	CHECK(moert_open_memory(&layer, natural, matrix, &o, &m) == MOERT_ARGS);
	o.flags = 0;
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
	moert_reset(NULL);
	moert_forget(NULL, 0);
}

SUITE("run", {"threads", test_threads}, {"many tokens", test_many},
      {"host pool", test_pool}, {"spans", test_spans}, {"batches", test_batches},
      {"sequences", test_sequences}, {"groups", test_groups}, {"given routing", test_given},
      {"given alone", test_given_alone},
      {"strides", test_strides}, {"calls of a model's layers", test_calls},
      {"another model", test_use}, {"no tokens", test_nothing}, {"errors", test_errors},
      {"open", test_open})
