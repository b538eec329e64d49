/* SPDX-License-Identifier: Apache-2.0
 * check: whether the arguments of a call can be run. */
#include "internal.h"

#include <stdint.h>

static int check_sequences(const moert_args *a)
{
	if (a->nseq < 0 || a->nseq > INT32_MAX || (a->nseq && !a->seq))
		return MOERT_SEQUENCES;
	if (a->nseq && (a->seq[0] != 0 || a->seq[a->nseq] != a->tokens))
		return MOERT_SEQUENCES;
	for (int64_t i = 0; i < a->nseq; i++)
		if (a->seq[i + 1] < a->seq[i])
			return MOERT_SEQUENCES;
	for (int64_t i = 0; a->seen && i < MAX(a->nseq, 1); i++)
		if (a->seen[i] < 0 || a->seen[i] > INT32_MAX - a->tokens)
			return MOERT_SEQUENCES;
	return MOERT_OK;
}

/* The bytes from the first entry to the last; *stride 0 becomes dense. */
static int check_rows(const moert_buf *b, int64_t tokens, int64_t *stride, int64_t *bytes)
{
	int64_t entry = moert_entry_bytes(b->dtype), row = b->elems * entry;
	int64_t rows = b->level == MOERT_TOKEN ? tokens : 1;

	if (!*stride)
		*stride = row;
	if (*stride < row || *stride % entry)
		return MOERT_STRIDE;
	if (!moert_mul(rows, *stride, bytes))
		return MOERT_TOKENS;
	if (rows)
		*bytes += row - *stride;
	return MOERT_OK;
}

static int check_xy(const moert_layer *l, moert_args *a)
{
	int64_t x_bytes = 0, y_bytes = 0;
	bool x = true, y = true;
	int error = MOERT_OK;

	for (int64_t i = 0; i < l->nbufs && !error; i++) {
		const moert_buf *b = &l->bufs[i];
		if (b->role == MOERT_INPUT && x) {
			error = check_rows(b, a->tokens, &a->x_stride, &x_bytes);
			x = false;
		} else if (b->role == MOERT_OUTPUT && y) {
			error = check_rows(b, a->tokens, &a->y_stride, &y_bytes);
			y = false;
		}
	}
	if (error)
		return error;
	uintptr_t from = (uintptr_t)a->x, to = (uintptr_t)a->y;
	if (from < to + (uintptr_t)y_bytes && to < from + (uintptr_t)x_bytes)
		return MOERT_OVERLAP;
	return MOERT_OK;
}

/* Without tokens nobody looks at what there is once a token. */
static int check_arrays(const moert_layer *l, const moert_args *a)
{
	int64_t n = 0;

	if (a->tokens && (!a->x || !a->y))
		return MOERT_ARGS;
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		if (b->role != MOERT_INPUT || n++ == 0)
			continue;
		if ((a->tokens || b->level != MOERT_TOKEN) &&
		    (!a->inputs || !a->inputs[n - 2]))
			return MOERT_ARGS;
	}
	return MOERT_OK;
}

/* Routing is given whole or not at all: gates belong to their picks. */
static int check_slot(const moert_session *s, int64_t slot)
{
	const moert_layer *l = s->model->layer, *of = slot ? l->calls[slot - 1].layer : l;
	const moert_routing r = moert_routing_of(s, slot);
	const moert_slot *at = &s->slots[slot];

	if (((r.picks_in || r.picks_out) && at->picks < 0) ||
	    ((r.gates_in || r.gates_out) && at->gates < 0))
		return MOERT_PICKS;
	if (!r.picks_in)
		return r.gates_in ? MOERT_PICKS : MOERT_OK;
	if (at->gates >= 0 && !r.gates_in)
		return MOERT_PICKS;
	int64_t n;
	if (!moert_mul(s->args.tokens, l->bufs[at->picks].elems, &n))
		return MOERT_TOKENS;
	for (int64_t i = 0; i < n; i++)
		if (r.picks_in[i] < -1 || r.picks_in[i] >= of->experts)
			return MOERT_PICKS;
	return MOERT_OK;
}

static int check_picks(const moert_session *s)
{
	int error = MOERT_OK;

	for (int64_t i = 0; i <= s->model->layer->ncalls && !error; i++)
		error = check_slot(s, i);
	return error;
}

int moert_check(moert_session *s)
{
	moert_args *a = &s->args;
	int error;

	if (a->tokens < 0 || a->tokens > INT32_MAX)
		return MOERT_TOKENS;
	if ((error = check_arrays(s->model->layer, a)) || (error = check_sequences(a)) ||
	    (error = check_xy(s->model->layer, a)))
		return error;
	return check_picks(s);
}
