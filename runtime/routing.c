/* SPDX-License-Identifier: Apache-2.0
 * routing: picks and gates that a host gives, and what it is told of those that ran. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static int64_t given_buf(const moert_layer *l, int64_t given)
{
	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].given == given)
			return i;
	return -1;
}

bool moert_slots(moert_session *s)
{
	const moert_layer *l = s->model->layer;

	s->slots = calloc((size_t)l->ncalls + 1, sizeof *s->slots);
	for (int64_t i = 0; s->slots && i <= l->ncalls; i++)
		s->slots[i] = (moert_slot){given_buf(l, 1 + 2 * i), given_buf(l, 2 + 2 * i)};
	return s->slots != NULL;
}

moert_routing moert_routing_of(const moert_session *s, int64_t slot)
{
	const moert_args *a = &s->args;

	if (slot)
		return a->routing ? a->routing[slot - 1] : (moert_routing){0};
	return (moert_routing){a->picks_in, a->gates_in, a->picks_out, a->gates_out};
}

/* Rows of 4-byte entries between a buffer of this group and the caller's dense array. */
static void copy_rows(const moert_session *s, int64_t buf, void *dense, bool in)
{
	size_t bytes = (size_t)s->model->layer->bufs[buf].elems * 4;
	char *at = (char *)dense + s->t0 * (int64_t)bytes;

	for (int64_t t = 0; t < s->call.tokens; t++, at += bytes) {
		char *row = s->view[buf].at + t * s->view[buf].stride;
		memcpy(in ? row : at, in ? at : row, bytes);
	}
}

/* Goes through what this step writes and the host gives instead. */
static bool replace(const moert_session *s, int64_t step, bool really)
{
	const moert_layer *l = s->model->layer;
	int64_t slots = s->args.routing ? l->ncalls : 0;
	bool any = false;

	for (int64_t i = 0; i <= slots; i++) {
		const moert_routing r = moert_routing_of(s, i);
		const moert_slot *at = &s->slots[i];
		bool picks = r.picks_in && l->bufs[at->picks].writer == step;
		bool gates = r.gates_in && l->bufs[at->gates].writer == step;
		any = any || picks || gates;
		if (really && picks)
			copy_rows(s, at->picks, (void *)r.picks_in, true);
		if (really && gates)
			copy_rows(s, at->gates, (void *)r.gates_in, true);
	}
	return any;
}

bool moert_gives(const moert_session *s, int64_t step)
{
	return (s->args.picks_in || s->args.routing) && replace(s, step, false);
}

void moert_give(const moert_session *s, int64_t step)
{
	replace(s, step, true);
}

void moert_report(const moert_session *s)
{
	int64_t slots = s->args.routing ? s->model->layer->ncalls : 0;

	for (int64_t i = 0; i <= slots; i++) {
		const moert_routing r = moert_routing_of(s, i);
		if (r.picks_out)
			copy_rows(s, s->slots[i].picks, r.picks_out, false);
		if (r.gates_out)
			copy_rows(s, s->slots[i].gates, r.gates_out, false);
	}
}

int64_t moert_rows_before(const moert_layer *l, int64_t step)
{
	int64_t n = 0;

	for (int64_t i = 0; i < step; i++)
		if (l->steps[i].kind == MOERT_GROUP && !l->steps[i].side)
			n += l->ranges[l->steps[i].range].count;
	return n;
}

void moert_clear_rows(const moert_session *s)
{
	const moert_layer *l = s->model->layer;
	int64_t *rows = s->args.expert_rows;

	if (rows)
		memset(rows, 0, (size_t)moert_rows_before(l, l->nsteps) * sizeof *rows);
}

void moert_count_rows(const moert_session *s, const moert_step *st)
{
	const moert_layer *l = s->model->layer;
	const int64_t *start = s->rows[st->range].start;
	int64_t *to = s->args.expert_rows + moert_rows_before(l, st - l->steps);

	for (int64_t e = 0; e < l->ranges[st->range].count; e++)
		to[e] += start[e + 1] - start[e];
}
