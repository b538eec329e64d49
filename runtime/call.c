/* SPDX-License-Identifier: Apache-2.0
 * call: one call of a layer, group by group, step by step. */
#include "internal.h"

#include <string.h>
#include <time.h>

enum { MOST_PHASES = INT32_MAX };       /* so that no number is MOERT_END */

static int64_t longest_group(const moert_session *s)
{
	int64_t group = s->model->layer->group, longest = 0;

	if (group >= 0)
		return group && group < s->args.tokens ? group : s->args.tokens;
	for (int64_t i = 0; i < s->nseq && s->args.nseq; i++)
		longest = MAX(longest, s->args.seq[i + 1] - s->args.seq[i]);
	return s->args.nseq ? longest : s->args.tokens;
}

static void number_tokens(moert_session *s)
{
	const moert_args *a = &s->args;

	s->starts[0] = 0;
	for (int64_t i = 0; i < s->nseq; i++) {
		int64_t seen = a->seen ? a->seen[i] : 0;
		s->starts[i + 1] = a->nseq ? a->seq[i + 1] : a->tokens;
		for (int64_t t = s->starts[i]; t < s->starts[i + 1]; t++) {
			s->position[t] = (int32_t)(seen + t - s->starts[i]);
			s->sequence[t] = (int32_t)i;
		}
	}
}

/* The caller's arrays in the place of inputs and outputs. */
static void bind_arrays(moert_session *s)
{
	const moert_layer *l = s->model->layer;
	const moert_args *a = &s->args;
	int64_t in = 0, out = 0;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t dense = b->elems * moert_entry_bytes(b->dtype);
		if (b->role == MOERT_INPUT) {
			const void *p = !in ? a->x : a->inputs ? a->inputs[in - 1] : NULL;
			s->base[i] = (moert_view){(char *)p, in ? dense : a->x_stride};
			in++;
		} else if (b->role == MOERT_OUTPUT) {
			void *p = out ? (a->outputs ? a->outputs[out - 1] : NULL) : a->y;
			if (p)
				s->base[i] = (moert_view){p, out ? dense : a->y_stride};
			out++;
		}
	}
}

/* Tokens t0 .. t1-1 and sequences s0 .. s1-1 of the call. */
typedef struct { int64_t t0, t1, s0, s1; } group;

/* Everything a kernel sees of a group.  Sequences keep the call's numbers. */
static void set_group(moert_session *s, group g)
{
	const moert_layer *l = s->model->layer;
	const moert_args *a = &s->args;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		s->view[i] = s->base[i];
		if (g.t0 && b->level == MOERT_TOKEN &&	/* else x may be NULL */
		    (b->role == MOERT_INPUT || b->role == MOERT_OUTPUT))
			s->view[i].at += g.t0 * s->base[i].stride;
		if (b->level == MOERT_ONCE)
			s->view[i].stride = 0;
	}
	for (int64_t i = 0; i < l->nsteps; i++)
		for (int p = 0; p < MOERT_PHASES; p++)
			s->claims[i].next[p] = 0;
	s->t0 = g.t0;
	s->first = s->starts;
	s->flow = NULL;
	s->s0 = g.s0;
	s->s1 = g.s1;
	s->call = (moert_call){
		.buf = s->view,
		.weight = s->model->weight,
		.expert = s->model->range,
		.rows = s->rows,
		.tokens = g.t1 - g.t0,
		.sequences = s->nseq,
		.position = s->position + g.t0,
		.sequence = s->sequence + g.t0,
		.step = a->step ? *a->step : 0x1p53,
		.seed = a->seed,
	};
	for (int64_t i = 0; i < l->nsteps; i++) {
		const moert_step *st = &l->steps[i];
		s->calls[i] = s->call;
		s->calls[i].buf += st->buf_base;
		s->calls[i].weight += st->weight_base;
		s->calls[i].expert += st->range_base;
		s->calls[i].rows += st->range_base;
		s->calls[i].weight_base = st->weight_base;
	}
}

bool moert_skips(const moert_session *s, const moert_step *st)
{
	return !s->args.losses && (st->loss_only || (st->routing_only && s->args.picks_in));
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Tells what a worker did since it last told something: a step, or it waited (NULL). */
static void tell(moert_session *s, int worker, const char *step)
{
	if (!s->span)
		return;
	int64_t begin = s->told[worker], end = s->told[worker] = now_ns();
	s->span(s->span_ctx, worker, step, begin, end);
}

static void run_phase(void *arg, int worker, uint32_t phase)
{
	moert_session *s = arg;

	tell(s, worker, NULL);
	moert_phase(s, s->step, s->phase, worker);
	tell(s, worker, s->model->layer->steps[s->step].name);
}

/* What a step has written is replaced by what the host gives. */
static void passed(moert_session *s, int worker, int64_t step)
{
	if (moert_gives(s, step)) {
		moert_give(s, step);
		tell(s, worker, "give");
	}
}

static void finish_step(moert_session *s, int worker, int64_t step)
{
	passed(s, worker, step);
	if (s->trace_ns) {
		int64_t begin = s->phase_ns;
		s->phase_ns = now_ns();
		s->trace_ns[step] += s->phase_ns - begin;
	}
}

/* MOERT_END is before the first, too. */
static uint32_t behind(uint32_t phase)
{
	return phase < MOST_PHASES ? phase + 1 : 0;
}

/* A step's phases, then the next step that is work.  Phases are numbered as they come, so
 * that the same step again is another one. */
static uint32_t next_phase(void *arg, int worker, uint32_t done)
{
	moert_session *s = arg;
	const moert_layer *l = s->model->layer;
	int64_t step = 0;

	if (done != MOERT_END) {
		const moert_step *st = &l->steps[s->step];
		if (s->phase + 1 < moert_phases(s, st)) {
			s->phase++;
			return behind(done);
		}
		finish_step(s, worker, s->step);
		step = st->kind == MOERT_ALONG ? st->to : s->step + 1;
	}
	s->phase = 0;
	s->step = moert_flow_on(s, worker, step, passed);
	return s->step < l->nsteps ? behind(done) : MOERT_END;
}

static void run_on_team(moert_session *s)
{
	static const moert_job job = {run_phase, next_phase};
	int64_t begin = s->span || s->trace_ns ? now_ns() : 0;

	s->phase_ns = begin;
	for (int w = 0; s->span && w < s->workers; w++)
		s->told[w] = begin;
	s->alone = s->workers == 1 || moert_is_small(s);
	if (s->alone)
		moert_run_alone(&job, s);
	else
		moert_team_run(s->team, &job, s);
	for (int w = 0; w < s->workers; w++)
		tell(s, w, NULL);
}

static void pool_phase(void *arg, int worker)
{
	moert_session *s = arg;

	if (s->span)
		s->told[worker] = now_ns();
	moert_phase(s, s->step, s->phase, worker);
	tell(s, worker, s->model->layer->steps[s->step].name);
}

/* The host's pool promises no two pieces at the same time: no piece waits for another. */
static void run_on_pool(moert_session *s)
{
	s->phase_ns = s->trace_ns ? now_ns() : 0;
	for (uint32_t p = MOERT_END; (p = next_phase(s, 0, p)) != MOERT_END;) {
		s->parallel_for(s->ctx, s->workers, pool_phase, s);
		if (s->span)
			s->told[0] = now_ns();
	}
}

static void add_losses(moert_session *s)
{
	const moert_layer *l = s->model->layer;
	int64_t n = 0;

	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].role == MOERT_LOSS) {
			const void *p = s->view[i].at;
			s->loss[n++] += l->bufs[i].dtype == MT_f64 ? *(const double *)p
								   : *(const float *)p;
		}
}

static void run_group(moert_session *s, group g)
{
	set_group(s, g);
	if (s->team)
		run_on_team(s);
	else
		run_on_pool(s);
	if (s->args.losses && g.t1 > g.t0)
		add_losses(s);
	moert_report(s);
}

/* `size` tokens a group.  Sequences without tokens go with the group that follows them, the
 * last ones with the last, so that what there is once a sequence is written for each. */
static int64_t run_blocks(moert_session *s, int64_t size)
{
	int64_t tokens = s->args.tokens, n = 0, s0 = 0;

	for (int64_t t = 0, end; t < tokens || n == 0; t = end, n++) {
		end = size && size < tokens - t ? t + size : tokens;
		int64_t s1 = end < tokens ? s->sequence[end - 1] + 1 : s->nseq;
		run_group(s, (group){t, end, s0, s1});
		s0 = end < tokens && s->sequence[end] == s1 - 1 ? s1 - 1 : s1;
	}
	return tokens ? n : 0;
}

/* Those without tokens first: what there is once a call comes from the last with some. */
static int64_t run_sequences(moert_session *s)
{
	int64_t n = 0;

	for (int filled = 0; filled < 2; filled++)
		for (int64_t i = 0; i < s->nseq; i++) {
			group g = {s->starts[i], s->starts[i + 1], i, i + 1};
			if (filled != (g.t1 > g.t0))
				continue;
			run_group(s, g);
			n += filled;
		}
	return n;
}

static int run_call(moert_session *s)
{
	const moert_layer *l = s->model->layer;
	int64_t groups, losses = 0;
	int error = moert_check(s);

	if (error)
		return error;
	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].role == MOERT_LOSS)
			s->loss[losses++] = 0;
	moert_clear_rows(s);
	s->nseq = MAX(s->args.nseq, 1);
	if ((error = moert_queue_begin(s)) || (error = moert_workspace(s, longest_group(s))))
		return error;
	number_tokens(s);
	bind_arrays(s);
	moert_queue_lead(s);
	groups = l->group < 0 ? run_sequences(s) : run_blocks(s, l->group);
	moert_queue_end(s);
	moert_states_go_on(s);
	for (int64_t i = 0; s->args.losses && i < losses; i++)
		s->args.losses[i] = groups ? (float)(s->loss[i] / (double)groups) : 0;
	return MOERT_OK;
}

static int read_args(moert_session *s, const moert_args *args)
{
	size_t least = offsetof(moert_args, y) + sizeof args->y;

	return moert_read_struct(&s->args, sizeof s->args, least, args) ? run_call(s)
									: MOERT_ARGS;
}

int moert_run(moert_session *s, const moert_args *args)
{
	if (!s || !args)
		return MOERT_ARGS;
	if (atomic_exchange(&s->busy, 1))
		return MOERT_BUSY;
	int error = read_args(s, args);
	atomic_store(&s->busy, 0);
	return error;
}

/* The workspace goes from hand to hand. */
static int run_in(moert_session *s, moert_session *c, const moert_args *args)
{
	c->work = s->work;
	c->work_bytes = s->work_bytes;
	int error = read_args(c, args);
	s->work = c->work;
	s->work_bytes = c->work_bytes;
	return error;
}

int moert_run_call(moert_session *s, const char *of, int64_t number,
		   const moert_args *args)
{
	if (!s || !args || !of)
		return MOERT_ARGS;
	if (atomic_exchange(&s->busy, 1))
		return MOERT_BUSY;
	const moert_layer *l = s->model->layer;
	int error = MOERT_ARGS;
	if (number >= 0 && number < l->ncalls && strcmp(l->calls[number].of, of) == 0)
		error = moert_start_call(s, number);
	if (!error)
		error = run_in(s, s->calls_of[number], args);
	atomic_store(&s->busy, 0);
	return error;
}
