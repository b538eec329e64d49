/* SPDX-License-Identifier: Apache-2.0
 * tiny: a small layer written by hand, its kernels in scalar C, and the same in plain
 * loops. */
#ifndef MOEC_TESTS_TINY_H
#define MOEC_TESTS_TINY_H

#include "../../ir/ir.h"
#include "../../runtime/moert.h"

#include <math.h>
#include <string.h>

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

static _Atomic int router_calls;

static void router_panel(const moert_call *call, const moert_task *t)
{
	float acc[COLS];

	router_calls++;
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

#define PANELS(name, panel)                                                              \
	static void name(const moert_call *c, const moert_task *t, int64_t n)            \
	{                                                                                \
		for (int64_t i = 0; i < n; i++)                                          \
			panel;                                                           \
	}
PANELS(router, router_panel(c, t + i))
PANELS(gate_up0, gate_up(c, t + i, 0, HID0))
PANELS(gate_up1, gate_up(c, t + i, 1, HID1))
PANELS(down0, down(c, t + i, 0, HID0))
PANELS(down1, down(c, t + i, 1, HID1))
#undef PANELS

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
		.kblock = 10, .tile_rows = 4, .rblock = 8, .together = 2                 \
	}
#define DOWNSTEP(r, fn, end)                                                             \
	{                                                                                \
		.name = "down", .kind = MOERT_CONTRACT, .over = MOERT_ROW, .range = r,   \
		.contract = fn, .finish = end, .weight = r ? DOWN1 : DOWN0, .panels = 3, \
		.panel_bytes = COLS * I * 4, .width = COLS, .k = I, .kblock = 8,         \
		.tile_rows = 4, .rblock = 4, .together = 3                               \
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
     .tile_rows = 4,
     .together = 1},
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

WRAPS static float weight_at(const char *name, int64_t expert, int64_t i)
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

#endif
