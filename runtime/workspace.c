/* SPDX-License-Identifier: Apache-2.0
 * workspace: the memory of one call, one allocation that sessions reuse.
 *
 * A routed value has at most T * K rows.  That much address space is reserved for it;
 * pages that no row reaches are never touched, so they cost nothing. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64, PAGE = 4096, SINK = 2 << 20 };

/* Carves pieces out of one block: first with base NULL, to add up, then for good. */
typedef struct { char *base; int64_t bytes; bool failed; } carver;

static void *carve(carver *c, int64_t rows, int64_t row_bytes, int64_t align)
{
	int64_t size, at;

	if (c->failed || !moert_round_up(c->bytes, align, &at) ||
	    !moert_mul(rows, row_bytes, &size) || !moert_add(at, size, &c->bytes)) {
		c->failed = true;
		return NULL;
	}
	return c->base ? c->base + at : NULL;
}

/* Rows in whole cache lines; a stride that is a large power of two would put the rows of
 * a tile into the same cache sets, so it gets one line more. */
int64_t moert_stride_of(const moert_buf *b)
{
	int64_t bytes = b->elems * moert_entry_bytes(b->dtype);

	if (bytes < LINE)
		return bytes;
	bytes = (bytes + LINE - 1) & -LINE;
	return bytes % 1024 ? bytes : bytes + LINE;
}

/* K: entries a token of the picks that are grouped into this range. */
static int64_t range_picks(const moert_layer *l, int64_t range)
{
	int64_t k = 0;

	for (int64_t i = 0; i < l->nsteps; i++)
		if (l->steps[i].kind == MOERT_GROUP && l->steps[i].range == range)
			k = MAX(k, l->bufs[l->steps[i].in].elems);
	return k;
}

/* The most rows of a level while tokens of one group are at work. */
static bool most_rows(const moert_session *s, const moert_buf *b, int64_t tokens,
		      int64_t *rows)
{
	switch (b->level) {
	case MOERT_ONCE:  *rows = 1; return true;
	case MOERT_SEQ:   *rows = s->nseq; return true;
	case MOERT_TOKEN: *rows = tokens; return true;
	case MOERT_ROW:
		return moert_mul(tokens, range_picks(s->model->layer, b->range), rows);
	}
	return false;
}

static void carve_rows(moert_session *s, carver *c, int64_t tokens)
{
	const moert_layer *l = s->model->layer;
	int64_t largest = 0;

	for (int64_t r = 0; r < l->nranges; r++) {
		int64_t n = 0, count = l->ranges[r].count;
		if (!moert_mul(tokens, range_picks(l, r), &n) || n > INT32_MAX)
			c->failed = true;
		s->rows[r] = (moert_rows){
			.token = carve(c, n, sizeof(int32_t), LINE),
			.slot = carve(c, n, sizeof(int32_t), LINE),
			.expert = carve(c, n, sizeof(int32_t), LINE),
			.row = carve(c, n, sizeof(int32_t), LINE),
			.start = carve(c, count + 1, sizeof(int64_t), LINE),
			.active = carve(c, count, sizeof(int32_t), LINE),
		};
		largest = MAX(largest, count);
	}
	s->counts = carve(c, s->workers, largest * (int64_t)sizeof *s->counts, LINE);
}

/* Sums of one panel's columns for all tokens, or of several panels where they are small. */
static bool sink_of(const moert_step *st, int64_t tokens, int64_t row_bytes, int64_t *bytes)
{
	if (!moert_mul(tokens, row_bytes, bytes))
		return false;
	if (*bytes > 0 && *bytes < SINK)
		*bytes *= MIN(SINK / *bytes, st->panels);
	return true;
}

/* Sums that wait between blocks of k. */
static bool acc_of(const moert_step *st, int64_t *bytes)
{
	*bytes = 0;
	return !st->kblock || (moert_mul(st->rblock, st->together, bytes) &&
			       moert_mul(*bytes, st->width * (int64_t)sizeof(float), bytes));
}

/* What a worker needs beside the buffers: a step's scratch (or the counters of a rank),
 * the waiting accumulators, and a combine's sink. */
static void carve_scratch(moert_session *s, carver *c, int64_t tokens)
{
	const moert_layer *l = s->model->layer;
	int64_t scratch = 0, acc = 0, sink = 0;

	for (int64_t i = 0; i < l->nsteps; i++) {
		const moert_step *st = &l->steps[i];
		int64_t bytes = 0, rows = MAX(tokens, s->nseq);
		scratch = MAX(scratch, MAX(st->scratch, moert_cross_scratch(st, rows)));
		if (st->kind != MOERT_CONTRACT)
			continue;
		if (!acc_of(st, &bytes))
			c->failed = true;
		acc = MAX(acc, bytes);
		if (st->finish && !sink_of(st, tokens, l->weights[st->weight].cols * 4, &bytes))
			c->failed = true;
		sink = MAX(sink, bytes);
	}
	s->acc_bytes = (acc + LINE - 1) & -LINE;
	s->sink_bytes = sink;
	s->sink_at = ((scratch + LINE - 1) & -LINE) + s->acc_bytes;
	if (!moert_add(s->sink_at, sink, &scratch) ||
	    !moert_round_up(scratch, PAGE, &s->scratch_bytes))
		c->failed = true;
	s->scratch = carve(c, s->workers, s->scratch_bytes, PAGE);
}

static void carve_flows(moert_session *s, carver *c, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nsteps; i++) {
		moert_flow *f = &s->flows[i];
		if (l->steps[i].kind != MOERT_WHERE && l->steps[i].kind != MOERT_SCAN)
			continue;
		f->token = carve(c, tokens, sizeof(int32_t), LINE);
		f->position = carve(c, tokens, sizeof(int32_t), LINE);
		f->sequence = carve(c, tokens, sizeof(int32_t), LINE);
		f->starts = carve(c, s->nseq + 1, sizeof(int64_t), LINE);
	}
}

static void carve_all(moert_session *s, carver *c, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	s->position = carve(c, s->args.tokens, sizeof(int32_t), LINE);
	s->sequence = carve(c, s->args.tokens, sizeof(int32_t), LINE);
	s->starts = carve(c, s->nseq + 1, sizeof(int64_t), LINE);
	carve_rows(s, c, tokens);
	carve_flows(s, c, tokens);
	carve_scratch(s, c, tokens);
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		bool whole = b->role == MOERT_OUTPUT;   /* all tokens, not a group's */
		int64_t rows = 0, stride = moert_stride_of(b);
		if (b->role == MOERT_INPUT && b->level == MOERT_TOKEN && s->args.arrivals)
			s->joined[i] = (moert_view){carve(c, s->args.tokens, stride, LINE), stride};
		if (b->role == MOERT_INPUT || b->role == MOERT_STATE)
			continue;
		if (!most_rows(s, b, whole ? s->args.tokens : tokens, &rows))
			c->failed = true;
		s->base[i] = (moert_view){carve(c, rows, stride, LINE), stride};
	}
}

int moert_workspace(moert_session *s, int64_t group_tokens)
{
	carver c = {0};

	carve_all(s, &c, group_tokens);
	if (c.failed)
		return MOERT_MEMORY;
	if (c.bytes > s->work_bytes) {
		int64_t bytes = MAX(c.bytes, s->work_bytes + s->work_bytes / 2);
		char *p = moert_pages(bytes);
		if (!p)
			return MOERT_MEMORY;
		moert_unpage(s->work, s->work_bytes);
		s->work = p;
		s->work_bytes = bytes;
	}
	c = (carver){.base = s->work};
	carve_all(s, &c, group_tokens);
	return moert_states(s);
}
