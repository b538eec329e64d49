/* SPDX-License-Identifier: Apache-2.0
 * queue: tokens that wait for the next call, with all their inputs and their place.
 *
 * Those that wait lead the call, in the order in which they came; what then waits again, or
 * for the first time, goes into a new queue, which takes the old one's place when the call
 * ends well. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool waits(const moert_buf *b)
{
	return b->role == MOERT_INPUT && b->level == MOERT_TOKEN;
}

static int64_t row_bytes(const moert_buf *b)
{
	return b->elems * moert_entry_bytes(b->dtype);
}

static void queue_free(moert_queue *q)
{
	free(q->rows);
	free(q->position);
	free(q->arrival);
	*q = (moert_queue){0};
}

static int queue_new(const moert_layer *l, int64_t most, moert_queue *q)
{
	int64_t each = 1, bytes;

	for (int64_t i = 0; i < l->nbufs; i++)
		if (waits(&l->bufs[i]) && !moert_add(each, row_bytes(&l->bufs[i]), &each))
			return MOERT_MEMORY;
	if (!moert_mul(each, most + 1, &bytes))
		return MOERT_MEMORY;
	*q = (moert_queue){.most = most, .rows = malloc((size_t)bytes),
			   .position = calloc((size_t)most + 1, sizeof *q->position),
			   .arrival = calloc((size_t)most + 1, sizeof *q->arrival)};
	if (q->rows && q->position && q->arrival)
		return MOERT_OK;
	queue_free(q);
	return MOERT_MEMORY;
}

/* An input's rows in the queue: input by input, `most` of each. */
static char *rows_of(const moert_layer *l, const moert_queue *q, int64_t buf)
{
	char *at = q->rows;

	for (int64_t i = 0; i < buf; i++)
		if (waits(&l->bufs[i]))
			at += q->most * row_bytes(&l->bufs[i]);
	return at;
}

int moert_queue_begin(moert_session *s)
{
	moert_args *a = &s->args;
	const moert_layer *l = s->model->layer;

	s->led = 0;
	if (!a->arrivals)
		return a->queue ? MOERT_ARGS : MOERT_OK;
	if (!l->queue)
		return MOERT_ARGS;
	if (a->picks_in)
		return MOERT_PICKS;
	if (a->nseq > 1)
		return MOERT_SEQUENCES;
	if (s->waiting.n > INT32_MAX - a->tokens)
		return MOERT_TOKENS;
	queue_free(&s->later);
	s->led = s->waiting.n;
	a->tokens += s->led;
	a->nseq = 0;
	return queue_new(l, MIN(l->queue, a->tokens), &s->later);
}

/* The inputs of those that wait, then those of the host. */
void moert_queue_lead(moert_session *s)
{
	const moert_layer *l = s->model->layer;

	if (!s->args.arrivals)
		return;
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_view from = s->base[i], to = s->joined[i];
		size_t bytes = (size_t)row_bytes(&l->bufs[i]);
		if (!waits(&l->bufs[i]))
			continue;
		const char *rows = s->led ? rows_of(l, &s->waiting, i) : NULL;
		for (int64_t t = 0; t < s->led; t++)
			memcpy(to.at + t * to.stride, rows + (size_t)t * bytes, bytes);
		for (int64_t t = s->led; t < s->args.tokens; t++)
			memcpy(to.at + t * to.stride, from.at + (t - s->led) * from.stride, bytes);
		s->base[i] = to;
	}
	for (int64_t t = 0; t < s->args.tokens; t++)
		s->position[t] = t < s->led ? s->waiting.position[t]
					    : s->position[t] - (int32_t)s->led;
}

static bool keep(moert_session *s, int64_t t, int64_t arrival)
{
	const moert_layer *l = s->model->layer;
	moert_queue *q = &s->later;

	if (q->n == q->most)
		return false;
	for (int64_t i = 0; i < l->nbufs; i++) {
		size_t bytes = (size_t)row_bytes(&l->bufs[i]);
		if (waits(&l->bufs[i]))
			memcpy(rows_of(l, q, i) + (size_t)q->n * bytes,
			       s->base[i].at + t * s->base[i].stride, bytes);
	}
	q->position[q->n] = s->position[t];
	q->arrival[q->n++] = arrival;
	return true;
}

/* Says of each row whose it is, and keeps those that wait. */
void moert_queue_end(moert_session *s)
{
	const moert_layer *l = s->model->layer;
	const moert_args *a = &s->args;
	const moert_view *flags = s->base + l->waits;

	if (!a->arrivals)
		return;
	for (int64_t t = 0; t < a->tokens; t++) {
		int64_t arrival = t < s->led ? s->waiting.arrival[t] : s->arrived++;
		bool wait = *(const int32_t *)(flags->at + t * flags->stride) != 0;
		a->arrivals[t] = wait ? -1 : arrival;
		s->processed += !wait;
		if (wait && !keep(s, t, arrival))
			s->dropped++;
	}
	queue_free(&s->waiting);
	s->waiting = s->later;
	s->later = (moert_queue){0};
	if (a->queue)
		memcpy(a->queue, (int64_t[]){s->arrived, s->processed, s->waiting.n, s->dropped},
		       4 * sizeof *a->queue);
}

void moert_queue_forget(moert_session *s)
{
	queue_free(&s->waiting);
	queue_free(&s->later);
	s->arrived = s->processed = s->dropped = 0;
}
