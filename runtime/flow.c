/* SPDX-License-Identifier: Apache-2.0
 * flow: which step comes next: branches, loops, and the tokens that take part in them.
 *
 * Tokens that take part are numbered anew, 0 .. n-1, and the rows that a region reads from
 * around it are moved to these numbers first: kernels do not know that they stand in one.
 * The next step is chosen between two phases, while nobody is at work. */
#include "internal.h"

#include <string.h>

static bool is_true(const moert_session *s, int64_t buf, int64_t row)
{
	const moert_view *v = &s->view[buf];
	return *(const int32_t *)(v->at + row * v->stride) != 0;
}

/* The tokens at work that are of sequence q. */
void moert_tokens_of(const moert_session *s, int64_t q, int64_t *t0, int64_t *t1)
{
	*t0 = MAX(0, s->first[q] - s->t0);
	*t1 = MIN(s->call.tokens, s->first[q + 1] - s->t0);
}

/* Steps from .. to-1 have all their work before them, on the tokens that take part now. */
static void begin(moert_session *s, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++) {
		s->calls[i].tokens = s->call.tokens;
		s->calls[i].position = s->call.position;
		s->calls[i].sequence = s->call.sequence;
		for (int p = 0; p < MOERT_PHASES; p++)
			atomic_store_explicit(&s->claims[i].next[p], 0, memory_order_relaxed);
	}
}

/* From here on the n tokens of the step's flow take part. */
static void enter(moert_session *s, int64_t step, int64_t n)
{
	moert_flow *f = &s->flows[step];

	f->around = s->flow;
	f->call_around = s->call;
	f->first_around = s->first;
	f->t0_around = s->t0;
	for (int64_t i = 0; i < n; i++) {
		f->position[i] = s->call.position[f->token[i]];
		f->sequence[i] = s->call.sequence[f->token[i]];
	}
	for (int64_t q = 0, i = 0; q <= s->nseq; q++) {
		while (i < n && f->sequence[i] < q)
			i++;
		f->starts[q] = i;
	}
	s->flow = f;
	s->first = f->starts;
	s->t0 = 0;
	s->call.tokens = n;
	s->call.position = f->position;
	s->call.sequence = f->sequence;
	begin(s, step + 1, s->model->layer->steps[step].to);
}

static void leave(moert_session *s)
{
	const moert_flow *f = s->flow;

	s->call = f->call_around;
	s->first = f->first_around;
	s->t0 = f->t0_around;
	s->flow = f->around;
}

static int64_t enter_where(moert_session *s, int64_t step)
{
	const moert_step *st = &s->model->layer->steps[step];
	int32_t *token = s->flows[step].token;
	int64_t n = 0;

	for (int64_t t = 0; t < s->call.tokens; t++)
		if (is_true(s, st->in, t) != st->side)
			token[n++] = (int32_t)t;
	if (n == 0)
		return st->to;
	enter(s, step, n);
	return step + 1;
}

/* The next token of each sequence, or of the first that has one left. */
static int64_t enter_scan(moert_session *s, int64_t step, int64_t round)
{
	const moert_step *st = &s->model->layer->steps[step];
	moert_flow *f = &s->flows[step];
	int64_t n = 0, t0, t1;

	f->round = round;
	if (st->side && round < s->call.tokens)
		f->token[n++] = (int32_t)round;
	for (int64_t q = s->s0; q < s->s1 && !st->side; q++) {
		moert_tokens_of(s, q, &t0, &t1);
		if (t0 + round < t1)
			f->token[n++] = (int32_t)(t0 + round);
	}
	if (n == 0)
		return st->to;
	enter(s, step, n);
	return step + 1;
}

static int64_t until(moert_session *s, int64_t step)
{
	const moert_step *st = &s->model->layer->steps[step];
	const moert_step *repeat = &s->model->layer->steps[st->to];

	if (++s->flows[st->to].round >= repeat->most || is_true(s, st->in, 0))
		return step + 1;
	begin(s, st->to + 1, step);
	return st->to + 1;
}

/* The step behind one that only says so. */
static int64_t follow(moert_session *s, int64_t step)
{
	const moert_step *st = &s->model->layer->steps[step];

	switch (st->kind) {
	case MOERT_IF:     return is_true(s, st->in, 0) != st->side ? step + 1 : st->to;
	case MOERT_WHERE:  return enter_where(s, step);
	case MOERT_LEAVE:  leave(s); break;
	case MOERT_REPEAT: s->flows[step].round = 0; break;
	case MOERT_UNTIL:  return until(s, step);
	case MOERT_SCAN:   return enter_scan(s, step, 0);
	case MOERT_AGAIN:
		leave(s);
		return enter_scan(s, st->to, s->flows[st->to].round + 1);
	}
	return step + 1;
}

int64_t moert_flow_on(moert_session *s, int worker, int64_t step, moert_passed *passed)
{
	const moert_layer *l = s->model->layer;

	while (step < l->nsteps) {
		if (moert_skips(s, &l->steps[step]))
			passed(s, worker, step++);
		else if (l->steps[step].kind < MOERT_IF)
			return step;
		else
			step = follow(s, step);
	}
	return step;
}

static char *row_of(const moert_session *s, const moert_step *st, int64_t buf, bool outside,
		    int64_t i)
{
	const moert_view *v = &s->view[buf];
	int64_t level = s->model->layer->bufs[buf].level;

	if (level == MOERT_ONCE)
		return v->at;
	if (level == MOERT_SEQ && st->over == MOERT_TOKEN)
		return v->at + s->call.sequence[i] * v->stride;
	return v->at + (outside ? s->flow->token[i] : i) * v->stride;
}

void moert_move_rows(const moert_session *s, const moert_step *st, int64_t row0, int64_t row1)
{
	const moert_buf *b = &s->model->layer->bufs[st->in];
	size_t bytes = (size_t)(b->elems * moert_entry_bytes(b->dtype));

	for (int64_t i = row0; i < row1; i++)
		memcpy(row_of(s, st, st->out, st->side & MOERT_TO_OUTSIDE, i),
		       row_of(s, st, st->in, st->side & MOERT_FROM_OUTSIDE, i), bytes);
}

/* A sequence's tokens stay with one worker. */
void moert_along(moert_session *s, const moert_step *st, int worker)
{
	const moert_step *end = s->model->layer->steps + st->to;
	int64_t q, t, t1;

	while ((q = s->s0 + moert_claim(s, st, 0)) < s->s1)
		for (moert_tokens_of(s, q, &t, &t1); t < t1; t++)
			for (const moert_step *in = st + 1; in < end; in++)
				if (in->kind == MOERT_MOVE)
					moert_move_rows(s, in, t, t + 1);
				else
					in->map(moert_call_of(s, in), t, t + 1,
						moert_scratch(s, worker));
}
