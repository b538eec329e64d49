/* SPDX-License-Identifier: Apache-2.0
 * native: one call of a compiled layer. */
#include "moec.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* The arrays of a call, beside the structure that points to them. */
typedef struct {
	moert_args   args;
	const void **inputs;
	void       **outputs;           /* all, y first */
	float       *losses;
	moert_routing *routing;         /* of each layer that a model calls */
} Call;

static void bind_inputs(Arena *a, const Inputs *in, Call *c)
{
	c->inputs = NEWN(a, const void *, (size_t)in->n + 1);
	for (int i = 1; i < in->n; i++)
		c->inputs[i - 1] = in->at[i].raw;
	c->args.size = sizeof c->args;
	c->args.x = in->n ? in->at[0].raw : NULL;
	c->args.tokens = in->tokens;
	c->args.inputs = c->inputs;
}

static void count_results(const moert_layer *l, Outcome *out)
{
	*out = (Outcome){0};
	for (int64_t i = 0; i < l->nbufs; i++) {
		out->nouts += l->bufs[i].role == MOERT_OUTPUT;
		out->nlosses += l->bufs[i].role == MOERT_LOSS;
	}
}

static void bind_outputs(Arena *a, const moert_layer *l, int64_t tokens, Call *c,
			 Outcome *out)
{
	int n = 0;

	count_results(l, out);
	out->outs = NEWN(a, Output, (size_t)out->nouts + 1);
	c->outputs = NEWN(a, void *, (size_t)out->nouts + 1);
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		if (b->role != MOERT_OUTPUT)
			continue;
		Output *o = &out->outs[n];
		*o = (Output){.name = b->name,
			      .rows = b->level == MOERT_TOKEN ? tokens : 1};
		o->type = type_of((Dtype)b->dtype, (Level)b->level, 0, 1, &b->elems);
		o->n = o->rows * b->elems;
		c->outputs[n++] =
		    arena_array(a, (size_t)o->n, entry_bytes((Dtype)b->dtype));
	}
	c->args.y = c->outputs[0];
	c->args.outputs = c->outputs + 1;
	if (out->nlosses)
		c->args.losses = c->losses = NEWN(a, float, (size_t)out->nlosses);
}

static void bind_call(Arena *a, const moert_buf *b, size_t n, Call *c, Outcome *out)
{
	int64_t call = (b->given - 3) / 2;

	if (b->given % 2) {
		out->calls[call].k = b->elems;
		c->routing[call].picks_out = out->calls[call].picks = NEWN(a, int32_t, n);
	} else {
		c->routing[call].gates_out = out->calls[call].gates = NEWN(a, float, n);
	}
}

static void bind_routing(Arena *a, const moert_layer *l, int64_t tokens, Call *c,
			 Outcome *out)
{
	if (l->ncalls) {
		c->routing = NEWN(a, moert_routing, (size_t)l->ncalls);
		out->calls = NEWN(a, EvalRouting, (size_t)l->ncalls);
	}
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		size_t n = (size_t)(tokens * b->elems);
		if (b->given == 1) {
			out->k = b->elems;
			c->args.picks_out = out->picks = NEWN(a, int32_t, n);
		} else if (b->given == 2) {
			c->args.gates_out = out->gates = NEWN(a, float, n);
		} else if (b->given && l->ncalls) {
			bind_call(a, b, n, c, out);
		}
	}
	c->args.routing = c->routing;
}

static void read_outputs(Arena *a, const Call *c, Outcome *out)
{
	for (int i = 0; i < out->nouts; i++) {
		Output *o = &out->outs[i];
		o->v = NEWN(a, double, (size_t)o->n);
		entries_load(o->type.dtype, c->outputs[i], o->n, o->v);
	}
	out->losses = NEWN(a, Output, (size_t)out->nlosses + 1);
	for (int i = 0; i < out->nlosses; i++) {
		out->losses[i] = (Output){.rows = 1, .n = 1, .v = NEW(a, double)};
		out->losses[i].v[0] = c->losses[i];
	}
}

/* Traced is a second call: the first finds its memory and wakes its threads. */
static int run_here(moert_model *model, const moert_session_options *o, const Call *c,
		    double *ms)
{
	moert_session *session;
	int error = moert_start(model, o, &session);

	if (error)
		return error;
	if (o->span) {
		error = moert_run(session, &c->args);
		moert_reset(session);
		time_trace_on(o->span_ctx);
	}
	double begin = now_ms();
	if (!error)
		error = moert_run(session, &c->args);
	*ms = now_ms() - begin;
	moert_end(session);
	return error;
}

static int run_traced(const Job *job, const Layer *l, moert_model *model,
		      moert_session_options o, const Call *c, double *ms, bool *written)
{
	TimeTrace *trace = time_trace_new((int)o.threads);

	o.span = time_trace_span;
	o.span_ctx = trace;
	int error = run_here(model, &o, c, ms);
	*written = !error && time_trace_write(job, trace, l->layer->name);
	time_trace_free(trace);
	return error;
}

static bool run_once(const Job *job, const Layer *l, moert_model *model, Call *c,
		     Outcome *out)
{
	moert_session_options o = {.size = sizeof o, .threads = thread_count(job)};
	bool written = true;
	int error;

	if (l->foreign)
		error = foreign_run(l->foreign, model, &o, &c->args, &out->ms);
	else if (job->opt->time_trace)
		error = run_traced(job, l, model, o, c, &out->ms, &written);
	else
		error = run_here(model, &o, c, &out->ms);
	return error ? layer_failed(job, "run", error, "") : written;
}

bool run_native(const Job *job, Source *s, const Inputs *in, const Layer *l,
		Server *server, Outcome *out)
{
	moert_model *model;
	Call c = {.args = {.seed = job->opt->seed}};

	if (!layer_open(job, s, l, server, &model))
		return false;
	bind_inputs(job->arena, in, &c);
	bind_outputs(job->arena, l->layer, in->tokens, &c, out);
	bind_routing(job->arena, l->layer, in->tokens, &c, out);
	bool ok = run_once(job, l, model, &c, out);
	out->target = layer_target(l, model);
	layer_close(l, model);
	if (ok)
		read_outputs(job->arena, &c, out);
	return ok;
}
