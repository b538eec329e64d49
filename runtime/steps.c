/* SPDX-License-Identifier: Apache-2.0
 * steps: how the rows and panels of one step are shared out among workers.
 *
 * Items are claimed one after another, so a slow or interrupted worker holds nobody up.
 * Which worker computes an item never changes its bits: an item writes rows or columns
 * that no other writes, and every sum lies inside one item. */
#include "internal.h"

#include <string.h>

enum {
	BLOCK_ROWS = 64,        /* of a contraction whose rows go on into a row map */
	ITEMS = 4,              /* a worker and contraction, at least */
	MAP_ITEMS = 8,          /* a worker and row map */
	NEAR = 256 << 10,       /* bytes of rows that stay in L2 beside panels */
	FEW_ROWS = 3,           /* of an expert, which pass panels side by side */
	SMALL_NS = 10000, SMALL_TOKENS = 64,
	BYTES_A_NS = 16, FLOPS_A_NS = 64,       /* of a core whose weights lie in its cache */
};

/* Panels in a row, of one expert (or of a weight that exists once), and the rows that pass
 * them. */
typedef struct {
	int64_t            row0, row1, number, panels;
	const char        *panel;       /* the first */
	const void *const *weight;
} item;

/* Where a claimed piece of work goes: each panel of a combine into a sink of its own. */
typedef struct { float *at; int64_t each; } sinks;

/* Of numbers that are not negative.  Most are small, and a division of 64 bits takes three
 * times as long on many machines: a few of them an item are half a microsecond a call. */
static int64_t quotient(int64_t a, int64_t b)
{
	if (((a | b) >> 32) == 0)
		return (uint32_t)a / (uint32_t)b;
	return a / b;
}

static void row_range(const moert_session *s, const moert_step *st, int64_t *row0,
		      int64_t *row1)
{
	*row0 = 0;
	switch (st->over) {
	case MOERT_SEQ:   *row0 = s->s0, *row1 = s->s1; break;
	case MOERT_TOKEN: *row1 = s->call.tokens; break;
	case MOERT_ROW:   *row1 = s->rows[st->range].n; break;
	default:          *row1 = 1;
	}
}

static bool by_expert(const moert_session *s, const moert_step *st)
{
	return s->model->layer->weights[st->weight].range >= 0;
}

static int64_t claim(moert_session *s, const moert_step *st, int phase, int64_t n)
{
	moert_claims *c = &s->claims[st - s->model->layer->steps];
	return atomic_fetch_add_explicit(&c->next[phase], n, memory_order_relaxed);
}

int64_t moert_claim(moert_session *s, const moert_step *st, int phase)
{
	return claim(s, st, phase, 1);
}

/* Up to `most` of n items, fewer towards the end, so that nobody waits long for the last. */
typedef struct { int64_t from, to; } claimed;

static claimed claim_some(moert_session *s, const moert_step *st, int64_t n, int64_t most)
{
	moert_claims *c = &s->claims[st - s->model->layer->steps];
	int64_t left = n - atomic_load_explicit(&c->next[0], memory_order_relaxed);
	int64_t some = s->alone ? most : MAX(1, MIN(most, quotient(left, 2 * s->workers)));
	int64_t from = claim(s, st, 0, some);

	return (claimed){MIN(from, n), MIN(from + some, n)};
}

const moert_call *moert_call_of(const moert_session *s, const moert_step *st)
{
	return &s->calls[st - s->model->layer->steps];
}

void *moert_scratch(const moert_session *s, int worker)
{
	return s->scratch + worker * s->scratch_bytes;
}

static float *acc_of(const moert_session *s, int worker)
{
	return (float *)(s->scratch + worker * s->scratch_bytes + s->sink_at -
			 s->acc_bytes);
}

/* Panels from `number` on, of an active expert (or of the weight that exists once). */
static item item_of(const moert_session *s, const moert_step *st, int64_t active,
		    int64_t number, int64_t panels)
{
	const moert_layer *l = s->model->layer;
	item it = {.number = number, .panels = panels, .weight = s->call.weight};

	if (by_expert(s, st)) {
		const moert_rows *rows = &s->rows[st->range];
		int32_t e = rows->active[active];
		it.weight = s->call.expert[l->weights[st->weight].range][e].weight;
		it.row0 = rows->start[e];
		it.row1 = rows->start[e + 1];
	} else {
		row_range(s, st, &it.row0, &it.row1);
	}
	it.panel = (const char *)it.weight[st->weight] + number * st->panel_bytes;
	return it;
}

static int64_t actives(const moert_session *s, const moert_step *st)
{
	return by_expert(s, st) ? s->rows[st->range].nactive : 1;
}

/* Rows that pass a block of a panel before the next block: blocks of equal size. */
static int64_t rows_at_once(const moert_step *st, int64_t rows)
{
	if (!st->rblock || rows <= st->rblock)
		return rows;
	int64_t blocks = quotient(rows + st->rblock - 1, st->rblock);
	int64_t each = blocks * st->tile_rows, tiles = quotient(rows + each - 1, each);
	return tiles * st->tile_rows;
}

/* One block of rows, of the summed axis and of a panel; how large they are. */
typedef struct { int64_t row, k, panel, rows, entries; } block;

/* Where the block behind this one begins, to be fetched meanwhile: of the next panel, of the
 * first panel's next entries, of the first panel for the next rows, or `next`. */
static const char *block_behind(const moert_step *st, const item *it, const block *b,
				const char *next, int64_t *k)
{
	*k = b->panel + 1 < it->panels ? b->k : b->k + b->entries < st->k ? b->k + b->entries : 0;
	if (b->panel + 1 < it->panels)
		return it->panel + (b->panel + 1) * st->panel_bytes;
	return *k > 0 || b->row + b->rows < it->row1 ? it->panel : next;
}

static moert_task task_of(const moert_session *s, const moert_step *st, const item *it,
			  const block *b, const char *next, sinks sink, int worker)
{
	const moert_weight *w = &s->model->layer->weights[st->weight];
	int64_t entry = w->nstreams * w->cols * moert_stored_bytes(w->dtype), k;
	const char *panel = it->panel + b->panel * st->panel_bytes;
	const char *then = block_behind(st, it, b, next, &k);

	if (then == panel && k == b->k)         /* it is there already */
		then = NULL;
	return (moert_task){
		.panel = panel, .weight = it->weight + st->weight_base,
		.number = it->number + b->panel,
		.row0 = b->row, .row1 = MIN(b->row + b->rows, it->row1),
		.k0 = b->k, .k1 = MIN(b->k + b->entries, st->k),
		.sink = sink.at ? sink.at + b->panel * sink.each : NULL,
		.acc = acc_of(s, worker) + b->panel * b->rows * st->width,
		.next = then ? then + k * entry : NULL,
		.next_bytes = then ? MIN(b->entries, st->k - k) * entry : 0,
	};
}

/* A single tile meets nothing twice, so its sums do not wait for other blocks. */
static void contract_tile(const moert_session *s, const moert_step *st, const item *it,
			  const char *next, sinks sink, int worker)
{
	block b = {.row = it->row0, .rows = it->row1 - it->row0, .entries = st->k};

	while (b.panel < it->panels) {
		moert_task tasks[MOERT_BESIDE];
		int64_t n = 0;
		for (; n < MOERT_BESIDE && b.panel < it->panels; n++, b.panel++)
			tasks[n] = task_of(s, st, it, &b, next, sink, worker);
		st->contract(moert_call_of(s, st), tasks, n);
	}
}

/* Rows block by block, the summed axis in blocks, and each of these in panel after panel: the
 * rows' block stays in L2 while panels pass, a panel's block while rows do.  next: what comes
 * behind the item. */
static void contract_blocks(const moert_session *s, const moert_step *st, const item *it,
			    const char *next, sinks sink, int worker)
{
	block b = {.rows = rows_at_once(st, it->row1 - it->row0),
		   .entries = st->kblock ? st->kblock : st->k};

	for (b.row = it->row0; b.row < it->row1; b.row += b.rows)
		for (b.k = 0; b.k < st->k; b.k += b.entries)
			for (b.panel = 0; b.panel < it->panels; b.panel++) {
				moert_task task = task_of(s, st, it, &b, next, sink, worker);
				st->contract(moert_call_of(s, st), &task, 1);
			}
}

/* Sums wait for as many panels as pass the same rows in turn. */
static void contract(const moert_session *s, const moert_step *st, const item *it,
		     const char *next, sinks sink, int worker)
{
	if (it->row1 - it->row0 <= st->tile_rows) {
		contract_tile(s, st, it, next, sink, worker);
		return;
	}
	for (int64_t p = 0; p < it->panels; p += st->together) {
		item part = *it;
		part.number += p;
		part.panel += p * st->panel_bytes;
		part.panels = MIN(st->together, it->panels - p);
		int64_t behind = p + part.panels;
		contract_blocks(s, st, &part,
				behind < it->panels ? it->panel + behind * st->panel_bytes : next,
				(sinks){sink.at ? sink.at + p * sink.each : NULL, sink.each},
				worker);
	}
}

/* How many pieces the rows of a panel are cut into, so that all workers have something to
 * do: only rows of weights that exist once are cut, where panels are few. */
static int64_t row_cuts(const moert_session *s, const moert_step *st)
{
	int64_t row0, row1, want = (int64_t)ITEMS * s->workers;

	if (by_expert(s, st) || st->panels >= want || s->workers == 1)
		return 1;
	row_range(s, st, &row0, &row1);
	int64_t tiles = (row1 - row0 + st->tile_rows - 1) / st->tile_rows;
	return MAX(1, MIN(tiles, (want + st->panels - 1) / st->panels));
}

/* Item i: expert by expert, panel by panel, then the pieces of its rows.  Uncut, as many of
 * the items from i to end as are one expert's are one. */
static item nth_item(const moert_session *s, const moert_step *st, int64_t cuts,
		     int64_t i, int64_t end)
{
	int64_t panel = cuts > 1 ? quotient(i, cuts) : i, active = quotient(panel, st->panels);
	int64_t number = panel - active * st->panels;
	item it = item_of(s, st, active, number,
			  cuts > 1 ? 1 : MIN(end - i, st->panels - number));

	if (cuts > 1) {
		int64_t tiles = (it.row1 - it.row0 + st->tile_rows - 1) / st->tile_rows;
		int64_t piece = i % cuts, row0 = it.row0;
		it.row0 = row0 + tiles * piece / cuts * st->tile_rows;
		it.row1 = MIN(it.row1, row0 + tiles * (piece + 1) / cuts * st->tile_rows);
	}
	return it;
}

/* Whether most experts have so few rows that several panels pass them side by side. */
static bool few_rows(const moert_session *s, const moert_step *st)
{
	int64_t row0, row1;

	row_range(s, st, &row0, &row1);
	return row1 - row0 <= FEW_ROWS * actives(s, st);
}

/* The next items are claimed before these are computed: their panel is on its way
 * meanwhile. */
static void contract_items(moert_session *s, const moert_step *st, int worker)
{
	int64_t cuts = row_cuts(s, st), n = actives(s, st) * st->panels * cuts;
	int64_t beside = few_rows(s, st) ? MOERT_BESIDE : 1;
	int64_t most = cuts > 1 ? 1 : MAX(beside, st->together);

	for (claimed c = claim_some(s, st, n, most), d; c.from < c.to; c = d) {
		d = claim_some(s, st, n, most);
		for (int64_t i = c.from, j; i < c.to; i = j) {
			item it = nth_item(s, st, cuts, i, c.to);
			j = i + it.panels;
			int64_t then = j < c.to ? j : d.from;
			contract(s, st, &it,
				 then < n ? nth_item(s, st, cuts, then, n).panel : NULL,
				 (sinks){NULL, 0}, worker);
		}
	}
}

/* How many panels of an expert pass in a row.  Its rows then come from L2 for all but the
 * first of them, where they would fill it twice over with every expert's in between; but
 * as many sums have to be kept.  Experts whose rows do not stay in L2 gain nothing, unless
 * blocks of them do.  The panels of few rows pass side by side. */
static int64_t panels_together(const moert_session *s, const moert_step *st)
{
	const moert_weight *w = &s->model->layer->weights[st->weight];
	int64_t tokens = MAX(1, s->call.tokens), n = MAX(1, actives(s, st)), row0, row1;

	row_range(s, st, &row0, &row1);
	int64_t left = (row1 - row0) * w->k * moert_stored_bytes(w->dtype);
	int64_t most = MIN(s->sink_bytes / (tokens * w->cols * (int64_t)sizeof(float)),
			   st->panels / ((int64_t)ITEMS * s->workers));

	if (few_rows(s, st))
		return MAX(1, MIN(most, MOERT_BESIDE));
	if (left <= NEAR || most <= 1)
		return 1;
	return st->together > 1 ? MIN(most, st->together) : left / n > NEAR ? 1 : most;
}

/* A combine: a worker owns the columns of some panels and sums all experts into its sinks. */
static void combine_items(moert_session *s, const moert_step *st, int worker)
{
	int64_t cols = s->model->layer->weights[st->weight].cols, n = actives(s, st);
	int64_t tokens = s->call.tokens, sums = tokens * cols;
	int64_t most = panels_together(s, st);
	sinks sink = {(float *)((char *)moert_scratch(s, worker) + s->sink_at), sums};

	for (claimed c = claim_some(s, st, st->panels, most), d; c.from < c.to; c = d) {
		int64_t panels = c.to - c.from;
		d = claim_some(s, st, st->panels, most);
		memset(sink.at, 0, (size_t)(panels * sums) * sizeof *sink.at);
		for (int64_t a = 0; a < n; a++) {
			item it = item_of(s, st, a, c.from, panels);
			const char *next = NULL;
			if (a + 1 < n)
				next = item_of(s, st, a + 1, c.from, 1).panel;
			else if (d.from < d.to)
				next = item_of(s, st, 0, d.from, 1).panel;
			contract(s, st, &it, next, sink, worker);
		}
		for (int64_t p = 0; p < panels; p++)
			st->finish(moert_call_of(s, st), sink.at + p * sums, c.from + p, 0, tokens);
	}
}

static int64_t tail_block(const moert_step *st)
{
	return st->tile_rows * ((BLOCK_ROWS + st->tile_rows - 1) / st->tile_rows);
}

/* Many rows: a worker takes a block of them through all panels and on into the map. */
static bool tail_by_rows(const moert_session *s, const moert_step *st)
{
	int64_t row0, row1;

	if (by_expert(s, st))
		return false;
	row_range(s, st, &row0, &row1);
	return (row1 - row0 + tail_block(st) - 1) / tail_block(st) >= 2 * s->workers;
}

static void tail_items(moert_session *s, const moert_step *st, int worker)
{
	int64_t row0, row1, rows = tail_block(st);

	row_range(s, st, &row0, &row1);
	for (;;) {
		int64_t r = row0 + moert_claim(s, st, 0) * rows;
		if (r >= row1)
			return;
		for (int64_t p = 0; p < st->panels; p += st->together) {
			item it = item_of(s, st, 0, p, MIN(st->together, st->panels - p));
			it.row0 = r;
			it.row1 = MIN(r + rows, row1);
			int64_t then = p + it.panels < st->panels ? p + it.panels : 0;
			contract(s, st, &it, item_of(s, st, 0, then, 1).panel, (sinks){NULL, 0},
				 worker);
		}
		st->map(moert_call_of(s, st), r, MIN(r + rows, row1), moert_scratch(s, worker));
	}
}

static void map_items(moert_session *s, const moert_step *st, int phase, int worker)
{
	int64_t row0, row1;

	row_range(s, st, &row0, &row1);
	int64_t rows = MAX(1, (row1 - row0) / ((int64_t)MAP_ITEMS * s->workers));
	if (s->workers == 1)
		rows = MAX(1, row1 - row0);
	for (;;) {
		int64_t r = row0 + moert_claim(s, st, phase) * rows;
		if (r >= row1)
			return;
		if (st->kind == MOERT_MOVE)
			moert_move_rows(s, st, r, MIN(r + rows, row1));
		else
			st->map(moert_call_of(s, st), r, MIN(r + rows, row1),
				moert_scratch(s, worker));
	}
}

static double step_ns(const moert_session *s, const moert_step *st)
{
	const moert_layer *l = s->model->layer;
	const moert_weight *w = &l->weights[st->weight];
	double rows = (double)s->call.tokens, copies = 1;

	if (st->over == MOERT_ROW)
		rows *= (double)l->picks;
	if (w->range >= 0)
		copies = MIN(rows, (double)l->ranges[w->range].count);
	return copies * (double)w->bytes / BYTES_A_NS +
	       rows * 2 * (double)(w->nstreams * w->n * w->k) / FLOPS_A_NS;
}

bool moert_is_small(const moert_session *s)
{
	const moert_layer *l = s->model->layer;
	double ns = 0;

	for (int64_t i = 0; i < l->nsteps; i++)
		if (l->steps[i].kind == MOERT_CONTRACT)
			ns += step_ns(s, &l->steps[i]);
	return s->call.tokens <= SMALL_TOKENS && ns <= SMALL_NS;
}

int moert_phases(const moert_session *s, const moert_step *st)
{
	if (st->kind == MOERT_GROUP)
		return moert_group_phases(s, st);
	return st->kind == MOERT_CONTRACT && st->map && !tail_by_rows(s, st) ? 2 : 1;
}

void moert_phase(moert_session *s, int64_t step, int phase, int worker)
{
	const moert_step *st = &s->model->layer->steps[step];

	switch (st->kind) {
	case MOERT_MAP:
	case MOERT_MOVE:  map_items(s, st, 0, worker); return;
	case MOERT_ALONG: moert_along(s, st, worker); return;
	case MOERT_CROSS: moert_cross(s, st, worker); return;
	case MOERT_GROUP: moert_group(s, st, phase); return;
	}
	if (phase == 1)
		map_items(s, st, 1, worker);
	else if (st->finish)
		combine_items(s, st, worker);
	else if (st->map && tail_by_rows(s, st))
		tail_items(s, st, worker);
	else
		contract_items(s, st, worker);
}
