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
};

/* One panel and the rows that pass it. */
typedef struct {
	int64_t            row0, row1, number;
	const char        *panel;
	const void *const *weight;
} item;

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

int64_t moert_claim(moert_session *s, const moert_step *st, int phase)
{
	moert_claims *c = &s->claims[st - s->model->layer->steps];
	return atomic_fetch_add_explicit(&c->next[phase], 1, memory_order_relaxed);
}

static const moert_call *call_of(const moert_session *s, const moert_step *st)
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

/* Panel `number` of an active expert (or of the weight that exists once). */
static item item_of(const moert_session *s, const moert_step *st, int64_t active,
		    int64_t number)
{
	const moert_layer *l = s->model->layer;
	item it = {.number = number, .weight = s->call.weight};

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

/* The rows of an item block by block, and the summed axis of each in blocks, so that the
 * waiting accumulators stay in L2 beside the panel's block.  next: the panel after it. */
static void contract_blocks(moert_session *s, const moert_step *st, moert_task *task,
			    const char *next)
{
	int64_t row_bytes = st->width * (int64_t)sizeof(float), end = task->row1;
	int64_t block = s->acc_bytes / row_bytes / st->tile_rows * st->tile_rows;
	const moert_weight *w = &s->model->layer->weights[st->weight];
	int64_t step_bytes = w->nstreams * w->cols * moert_stored_bytes(w->dtype);

	for (int64_t r = task->row0; r < end; r = task->row1) {
		task->row0 = r;
		task->row1 = MIN(r + block, end);
		for (int64_t k = 0; k < st->k; k += st->kblock) {
			task->k0 = k;
			task->k1 = MIN(k + st->kblock, st->k);
			task->next = (const char *)task->panel + task->k1 * step_bytes;
			task->next_bytes = MIN(st->kblock, st->k - task->k1) * step_bytes;
			if (task->k1 == st->k) {
				task->next = task->row1 == end ? next : task->panel;
				task->next_bytes = MIN(st->kblock, st->k) * step_bytes;
			}
			if (!task->next)
				task->next_bytes = 0;
			st->contract(call_of(s, st), task);
		}
	}
}

static void contract(moert_session *s, const moert_step *st, const item *it,
		     const char *next, float *sink, int worker)
{
	moert_task task = {
		.panel = it->panel, .weight = it->weight + st->weight_base, .number = it->number,
		.row0 = it->row0, .row1 = it->row1,
		.k1 = st->k, .sink = sink,
		.next = next != it->panel ? next : NULL,
	};
	task.next_bytes = task.next ? st->panel_bytes : 0;
	if (it->row0 >= it->row1)
		return;
	if (!st->kblock) {
		st->contract(call_of(s, st), &task);
		return;
	}
	task.acc = acc_of(s, worker);
	contract_blocks(s, st, &task, task.next);
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

/* Item i: expert by expert, panel by panel, then the pieces of its rows. */
static item nth_item(const moert_session *s, const moert_step *st, int64_t cuts,
		     int64_t i)
{
	item it = item_of(s, st, i / cuts / st->panels, i / cuts % st->panels);

	if (cuts > 1) {
		int64_t tiles = (it.row1 - it.row0 + st->tile_rows - 1) / st->tile_rows;
		int64_t piece = i % cuts, row0 = it.row0;
		it.row0 = row0 + tiles * piece / cuts * st->tile_rows;
		it.row1 = MIN(it.row1, row0 + tiles * (piece + 1) / cuts * st->tile_rows);
	}
	return it;
}

/* The next item is claimed before this one is computed: its panel is on its way
 * meanwhile. */
static void contract_items(moert_session *s, const moert_step *st, int worker)
{
	int64_t cuts = row_cuts(s, st), n = actives(s, st) * st->panels * cuts;

	for (int64_t i = moert_claim(s, st, 0), j; i < n; i = j) {
		item it = nth_item(s, st, cuts, i);
		j = moert_claim(s, st, 0);
		contract(s, st, &it, j < n ? nth_item(s, st, cuts, j).panel : NULL, NULL,
			 worker);
	}
}

/* How many panels of an expert pass in a row.  Its rows then come from L2 for all but the
 * first of them, where they would fill it twice over with every expert's in between; but
 * as many sums have to be kept.  Experts whose rows do not stay in L2 gain nothing. */
static int64_t panels_together(const moert_session *s, const moert_step *st)
{
	const moert_weight *w = &s->model->layer->weights[st->weight];
	int64_t tokens = MAX(1, s->call.tokens), n = MAX(1, actives(s, st)), row0, row1;

	row_range(s, st, &row0, &row1);
	int64_t left = (row1 - row0) * w->k * moert_stored_bytes(w->dtype);
	int64_t most = MIN(s->sink_bytes / (tokens * w->cols * (int64_t)sizeof(float)),
			   st->panels / ((int64_t)ITEMS * s->workers));

	return left <= NEAR || left / n > NEAR ? 1 : MAX(1, most);
}

/* The panel behind this one: p of p0 .. p1-1 of active expert a, then the next expert's,
 * then the first of those that begin at q. */
static const char *panel_behind(const moert_session *s, const moert_step *st, int64_t a,
				int64_t p, int64_t p0, int64_t p1, int64_t q)
{
	if (p + 1 < p1)
		return item_of(s, st, a, p + 1).panel;
	if (a + 1 < actives(s, st))
		return item_of(s, st, a + 1, p0).panel;
	return q < st->panels ? item_of(s, st, 0, q).panel : NULL;
}

/* A combine: a worker owns the columns of some panels and sums all experts into its sinks. */
static void combine_items(moert_session *s, const moert_step *st, int worker)
{
	int64_t cols = s->model->layer->weights[st->weight].cols, n = actives(s, st);
	int64_t tokens = s->call.tokens, sums = tokens * cols;
	int64_t together = panels_together(s, st);
	float *sink = (float *)((char *)moert_scratch(s, worker) + s->sink_at);

	for (int64_t i = moert_claim(s, st, 0), j; i * together < st->panels; i = j) {
		int64_t p0 = i * together, p1 = MIN(p0 + together, st->panels);
		j = moert_claim(s, st, 0);
		memset(sink, 0, (size_t)((p1 - p0) * sums) * sizeof *sink);
		for (int64_t a = 0; a < n; a++)
			for (int64_t p = p0; p < p1; p++) {
				item it = item_of(s, st, a, p);
				contract(s, st, &it,
					 panel_behind(s, st, a, p, p0, p1, j * together),
					 sink + (p - p0) * sums, worker);
			}
		for (int64_t p = p0; p < p1; p++)
			st->finish(call_of(s, st), sink + (p - p0) * sums, p, 0, tokens);
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
	int64_t row0, row1, block = tail_block(st);

	row_range(s, st, &row0, &row1);
	for (;;) {
		int64_t r = row0 + moert_claim(s, st, 0) * block;
		if (r >= row1)
			return;
		for (int64_t p = 0; p < st->panels; p++) {
			item it = item_of(s, st, 0, p);
			it.row0 = r;
			it.row1 = MIN(r + block, row1);
			contract(s, st, &it,
				 it.panel + (p + 1 < st->panels) * st->panel_bytes, NULL,
				 worker);
		}
		st->map(call_of(s, st), r, MIN(r + block, row1), moert_scratch(s, worker));
	}
}

static void map_items(moert_session *s, const moert_step *st, int phase, int worker)
{
	int64_t row0, row1;

	row_range(s, st, &row0, &row1);
	int64_t block = MAX(1, (row1 - row0) / ((int64_t)MAP_ITEMS * s->workers));
	if (s->workers == 1)
		block = MAX(1, row1 - row0);
	for (;;) {
		int64_t r = row0 + moert_claim(s, st, phase) * block;
		if (r >= row1)
			return;
		st->map(call_of(s, st), r, MIN(r + block, row1), moert_scratch(s, worker));
	}
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
	case MOERT_MAP:   map_items(s, st, 0, worker); return;
	case MOERT_CROSS: moert_cross(s, st, worker); return;
	case MOERT_GROUP: moert_group(s, st, phase, worker); return;
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
