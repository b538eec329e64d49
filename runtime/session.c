/* SPDX-License-Identifier: Apache-2.0
 * session: threads and memory that one thread of the host runs calls with. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 4096 };

static bool level_ok(const moert_layer *l, int64_t level, int64_t range)
{
	return level == MOERT_ONCE || level == MOERT_SEQ || level == MOERT_TOKEN ||
	       (level == MOERT_ROW && range >= 0 && range < l->nranges);
}

static bool buf_ok(const moert_layer *l, int64_t buf)
{
	return buf >= 0 && buf < l->nbufs;
}

static bool contract_ok(const moert_layer *l, const moert_step *st)
{
	if (!st->contract || st->weight < 0 || st->weight >= l->nweights)
		return false;
	const moert_weight *w = &l->weights[st->weight];
	if (w->range >= 0 && (st->over != MOERT_ROW || st->range != w->range))
		return false;
	return w->cols > 0 && st->panels == (w->n + w->cols - 1) / w->cols &&
	       st->panels * st->panel_bytes == w->bytes && st->width >= w->cols &&
	       st->k >= 1 && st->kblock >= 0 && st->tile_rows >= 1 && st->together >= 1 &&
	       st->rblock % st->tile_rows == 0 && st->rblock >= (st->kblock > 0) &&
	       (!st->finish || st->over == MOERT_ROW);
}

/* Cross steps know 32-bit floats and integers. */
static bool cross_ok(const moert_layer *l, const moert_step *st)
{
	if (!buf_ok(l, st->in) || !buf_ok(l, st->out) || st->op < 0 ||
	    st->op > MOERT_RANK)
		return false;
	const moert_buf *in = &l->bufs[st->in], *out = &l->bufs[st->out];
	bool along = st->op >= MOERT_SOFTMAX;
	int64_t level = along ? in->level : st->by_sequence ? MOERT_SEQ : MOERT_ONCE;
	return in->level != MOERT_ROW && out->level == level && in->elems == out->elems &&
	       moert_entry_bytes(in->dtype) == 4 && moert_entry_bytes(out->dtype) == 4;
}

static bool move_ok(const moert_layer *l, const moert_step *st)
{
	if (!buf_ok(l, st->in) || !buf_ok(l, st->out) || !level_ok(l, st->over, st->range))
		return false;
	const moert_buf *in = &l->bufs[st->in], *out = &l->bufs[st->out];
	return in->elems == out->elems &&
	       moert_entry_bytes(in->dtype) == moert_entry_bytes(out->dtype);
}

static bool is_bool(const moert_layer *l, int64_t buf, int64_t level)
{
	return buf_ok(l, buf) && l->bufs[buf].level == level && l->bufs[buf].dtype == MT_bool;
}

/* The other end of a branch or loop. */
static bool end_ok(const moert_layer *l, const moert_step *st, int64_t kind)
{
	int64_t at = st - l->steps;

	if (kind == MOERT_REPEAT || kind == MOERT_SCAN)
		return st->to >= 0 && st->to < at && l->steps[st->to].kind == kind;
	return st->to > at && st->to <= l->nsteps && (!kind || l->steps[st->to - 1].kind == kind);
}

static bool flow_ok(const moert_layer *l, const moert_step *st)
{
	switch (st->kind) {
	case MOERT_ALONG:  return end_ok(l, st, 0);
	case MOERT_IF:     return is_bool(l, st->in, MOERT_ONCE) && end_ok(l, st, 0);
	case MOERT_WHERE:  return is_bool(l, st->in, MOERT_TOKEN) && end_ok(l, st, MOERT_LEAVE);
	case MOERT_REPEAT: return st->most > 0;
	case MOERT_UNTIL:  return is_bool(l, st->in, MOERT_ONCE) && end_ok(l, st, MOERT_REPEAT);
	case MOERT_SCAN:   return end_ok(l, st, MOERT_AGAIN);
	case MOERT_AGAIN:  return end_ok(l, st, MOERT_SCAN);
	}
	return st->kind == MOERT_LEAVE;
}

static bool step_ok(const moert_layer *l, const moert_step *st)
{
	if (st->scratch < 0 || st->buf_base < 0 || st->buf_base > l->nbufs ||
	    st->weight_base < 0 || st->weight_base > l->nweights || st->range_base < 0 ||
	    st->range_base > l->nranges)
		return false;
	switch (st->kind) {
	case MOERT_MAP:      return st->map && level_ok(l, st->over, st->range);
	case MOERT_CONTRACT:
		return level_ok(l, st->over, st->range) && contract_ok(l, st);
	case MOERT_CROSS:    return cross_ok(l, st);
	case MOERT_GROUP:
		return buf_ok(l, st->in) && st->range >= 0 && st->range < l->nranges &&
		       l->bufs[st->in].level == MOERT_TOKEN &&
		       moert_entry_bytes(l->bufs[st->in].dtype) == 4;
	case MOERT_MOVE:     return move_ok(l, st);
	}
	return flow_ok(l, st);
}

static bool state_ok(const moert_layer *l, const moert_buf *b)
{
	return b->init && buf_ok(l, b->next) && (b->level == MOERT_SEQ || b->level == MOERT_ONCE) &&
	       l->bufs[b->next].level == b->level && l->bufs[b->next].elems == b->elems;
}

static bool layer_ok(const moert_layer *l)
{
	if (l->queue < 0 || (l->queue && (l->group || !is_bool(l, l->waits, MOERT_TOKEN))))
		return false;
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t bytes;
		if (!level_ok(l, b->level, b->range) || !moert_entry_bytes(b->dtype) ||
		    !moert_mul(b->elems, 2 * moert_entry_bytes(b->dtype) + 128, &bytes) ||
		    bytes > INT32_MAX * (int64_t)64 || (b->role == MOERT_STATE && !state_ok(l, b)))
			return false;
	}
	for (int64_t i = 0; i < l->nsteps; i++)
		if (!step_ok(l, &l->steps[i]))
			return false;
	return true;
}

static void *table(int64_t n, size_t size)
{
	return calloc((size_t)n + 1, size);
}

static bool make_session(moert_session *s)
{
	const moert_layer *l = s->model->layer;

	s->state = table(l->nbufs, sizeof *s->state);
	s->state_rows = table(l->nbufs, sizeof *s->state_rows);
	s->base = table(l->nbufs, sizeof *s->base);
	s->joined = table(l->nbufs, sizeof *s->joined);
	s->view = table(l->nbufs, sizeof *s->view);
	s->rows = table(l->nranges, sizeof *s->rows);
	s->loss = table(l->nbufs, sizeof *s->loss);
	s->claims = aligned_alloc(64, ((size_t)l->nsteps + 1) * sizeof *s->claims);
	s->calls = table(l->nsteps, sizeof *s->calls);
	s->flows = table(l->nsteps, sizeof *s->flows);
	if (s->model->trace)
		s->trace_ns = table(l->nsteps, sizeof *s->trace_ns);
	s->calls_of = table(l->ncalls, sizeof *s->calls_of);
	s->told = table(s->workers, sizeof *s->told);
	return moert_slots(s) && s->calls_of && s->told && s->state && s->state_rows &&
	       s->base && s->joined && s->view && s->rows && s->loss && s->claims &&
	       s->calls && s->flows && (s->trace_ns || !s->model->trace);
}

int moert_start(moert_model *m, const moert_session_options *options, moert_session **out)
{
	moert_session_options o = {.size = sizeof o};

	if (!out)
		return MOERT_ARGS;
	*out = NULL;
	if (!m ||
	    (options &&
	     !moert_read_struct(&o, sizeof o,
				offsetof(moert_session_options, parallel_for), options)))
		return MOERT_ARGS;
	if (o.threads < 0 || o.threads > MOST_THREADS)
		return MOERT_ARGS;
	if (!layer_ok(m->layer))
		return MOERT_INTERNAL;
	moert_session *s = calloc(1, sizeof *s);
	if (!s)
		return MOERT_MEMORY;
	atomic_fetch_add(&m->users, 1);
	s->model = m;
	s->workers = o.threads ? (int)o.threads : moert_cpus();
	s->parallel_for = o.parallel_for;
	s->ctx = o.ctx;
	s->span = o.span;
	s->span_ctx = o.span_ctx;
	int error = make_session(s) ? MOERT_OK : MOERT_MEMORY;
	if (!error && !o.parallel_for)
		error = moert_team_new(s->workers, &s->team);
	if (error)
		moert_end(s);
	else
		*out = s;
	return error;
}

static void print_trace(const moert_session *s)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nsteps; i++)
		fprintf(stderr, "moert: %s: %14lld ns  %s\n", l->name,
			(long long)s->trace_ns[i], l->steps[i].name);
}

/* All but what the sessions of a model's layers share. */
static void free_session(moert_session *s)
{
	if (!s)
		return;
	if (s->trace_ns)
		print_trace(s);
	moert_queue_forget(s);
	for (int64_t i = 0; s->state && i < s->model->layer->nbufs; i++)
		free(s->state[i]);
	free(s->state);
	free(s->state_rows);
	free(s->base);
	free(s->joined);
	free(s->view);
	free(s->rows);
	free(s->loss);
	free(s->claims);
	free(s->calls);
	free(s->flows);
	free(s->calls_of);
	free(s->told);
	free(s->slots);
	free(s->trace_ns);
	free(s);
}

/* Made when it is called first: with the threads of the model's session, and in its
 * workspace, as only one of them is at work at a time. */
int moert_start_call(moert_session *s, int64_t number)
{
	moert_model *m = &s->model->calls[number];

	if (s->calls_of[number])
		return MOERT_OK;
	if (!layer_ok(m->layer))
		return MOERT_INTERNAL;
	moert_session *c = calloc(1, sizeof *c);
	if (!c)
		return MOERT_MEMORY;
	*c = (moert_session){.model = m, .team = s->team, .workers = s->workers,
			     .parallel_for = s->parallel_for, .ctx = s->ctx,
			     .span = s->span, .span_ctx = s->span_ctx};
	if (!make_session(c)) {
		free_session(c);
		return MOERT_MEMORY;
	}
	s->calls_of[number] = c;
	return MOERT_OK;
}

void moert_reset(moert_session *s)
{
	if (!s)
		return;
	const moert_layer *l = s->model->layer;
	for (int64_t i = 0; i < l->ncalls; i++)
		moert_reset(s->calls_of[i]);
	moert_states_forget(s, 0, INT64_MAX);
	moert_queue_forget(s);
}

void moert_forget(moert_session *s, int64_t sequence)
{
	if (!s || sequence < 0)
		return;
	for (int64_t i = 0; i < s->model->layer->ncalls; i++)
		moert_forget(s->calls_of[i], sequence);
	moert_states_forget(s, sequence, 1);
}

int moert_use(moert_session *s, moert_model *m)
{
	if (!s || !m)
		return MOERT_ARGS;
	if (m->layer != s->model->layer)
		return MOERT_LAYER;
	if (atomic_exchange(&s->busy, 1))
		return MOERT_BUSY;
	moert_model *before = s->model;
	atomic_fetch_add(&m->users, 1);
	s->model = m;
	for (int64_t i = 0; i < m->layer->ncalls; i++)
		if (s->calls_of[i])             /* they end with the model before */
			s->calls_of[i]->model = &m->calls[i];
	moert_release(before);
	atomic_store(&s->busy, 0);
	return MOERT_OK;
}

void moert_end(moert_session *s)
{
	if (!s)
		return;
	moert_team_free(s->team);
	moert_unpage(s->work, s->work_bytes);
	for (int64_t i = 0; s->calls_of && i < s->model->layer->ncalls; i++)
		free_session(s->calls_of[i]);
	moert_model *m = s->model;
	free_session(s);
	moert_release(m);
}
