/* SPDX-License-Identifier: Apache-2.0
 * eval: the ways into the reference interpreter: a function in groups, or one op. */
#include "eval_ops.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static void eval_begin(Eval *ev, Arena *arena, const Module *m, const EvalCall *call,
		       EvalResult *result)
{
	*ev = (Eval){.arena = arena, .m = m, .call = call, .result = result,
		     .state = call->state, .bounds = call->bounds};
	ev->limit = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

static bool eval_end(Eval *ev, const char **why)
{
	eval_free_all(ev);
	if (ev->why)
		*why = ev->why;
	return !ev->why;
}

/* Tokens and sequences of the whole call. */
static Ctx ctx_call(Eval *ev)
{
	const EvalCall *c = ev->call;
	int64_t whole[2] = {0, c->tokens};
	const int64_t *seq = c->nseq > 0 ? c->seq : whole;
	Ctx ctx = {.tokens = c->tokens, .nseq = MAX(c->nseq, 1), .total = c->tokens};

	if (c->tokens < 0 || seq[0] != 0 || seq[ctx.nseq] != c->tokens)
		eval_fail(ev, "the sequences do not cover the %lld tokens",
			  (long long)c->tokens);
	ctx.origin = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.seq = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.pos = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.seq_id = eval_alloc(ev, ctx.nseq, sizeof(int64_t));
	for (int64_t s = 0; s < ctx.nseq; s++) {
		ctx.seq_id[s] = s;
		if (seq[s + 1] < seq[s] || seq[s + 1] > c->tokens)
			eval_fail(ev, "sequence %lld does not lie within the call",
				  (long long)s);
		for (int64_t t = seq[s]; t < seq[s + 1]; t++) {
			ctx.origin[t] = t;
			ctx.seq[t] = s;
			ctx.pos[t] = t - seq[s];
		}
	}
	return ctx;
}

/* Tokens t0 .. t1-1 and sequences s0 .. s1-1 of the call. */
typedef struct { int64_t t0, t1, s0, s1; } Group;

static Ctx ctx_group(Eval *ev, const Ctx *call, Group of)
{
	int64_t n = of.t1 - of.t0;
	Ctx g = {.tokens = n, .total = n, .nseq = of.s1 - of.s0};
	g.origin = eval_alloc(ev, n, sizeof(int64_t));
	g.seq = eval_alloc(ev, n, sizeof(int64_t));
	g.pos = eval_alloc(ev, n, sizeof(int64_t));
	g.seq_id = eval_alloc(ev, g.nseq, sizeof(int64_t));
	for (int64_t i = 0; i < n; i++) {
		int64_t t = of.t0 + i;
		g.origin[i] = t;
		g.seq[i] = call->seq[t] - of.s0;
		g.pos[i] = call->pos[t];
	}
	for (int64_t i = 0; i < g.nseq; i++)
		g.seq_id[i] = of.s0 + i;
	return g;
}

/* An argument of the function, for the tokens of one group. */
static Tensor fn_input(Eval *ev, const Value *arg)
{
	const EvalInput *in = NULL;
	for (int i = 0; i < ev->call->ninputs; i++)
		if (arg->name && strcmp(ev->call->inputs[i].name, arg->name) == 0)
			in = &ev->call->inputs[i];
	if (!in || !in->v)
		eval_fail(ev, "no input '%s'", arg->name ? arg->name : "?");
	Tensor t;
	tensor_new(ev, arg->type, NULL, 0, &t);
	int64_t each = type_elems(&arg->type);
	const int64_t *number = arg->type.level == LV_TOKEN ? ev->ctx->origin
			      : arg->type.level == LV_SEQ   ? ev->ctx->seq_id : NULL;
	for (int64_t r = 0; r < t.rows; r++)
		memcpy(t.v + r * each, in->v + (number ? number[r] : r) * each,
		       (size_t)each * sizeof *t.v);
	if (arg->type.dtype == DT_index)
		for (int64_t i = 0; i < t.n; i++)
			if (!(t.v[i] >= 0 && t.v[i] < (double)arg->type.axis))
				t.v[i] = -1;
	return t;
}

/* Where one group's result goes among all; losses (weight < 1) add up. */
static void result_add(Eval *ev, Tensor *all, const Tensor *part, bool loss,
		       double weight)
{
	int64_t each = type_elems(&all->type);
	const int64_t *number = part->type.level == LV_TOKEN ? ev->ctx->origin
			      : part->type.level == LV_SEQ   ? ev->ctx->seq_id : NULL;

	/* an empty sequence is no group; no tokens have no loss, whatever their mean would be */
	if (ev->ctx->tokens == 0 && part->type.level == LV_ONCE &&
	    (loss || ev->call->tokens > 0))
		return;
	if (part->err && !all->err)
		all->err = NEWN(ev->arena, double, (size_t)all->n);
	for (int64_t i = 0; i < part->n; i++) {
		int64_t to = number ? number[i / each] * each + i % each : i;
		all->v[to] = loss ? all->v[to] + part->v[i] * weight : part->v[i];
		if (all->err)
			all->err[to] = loss ? all->err[to] + err_at(part, i) * weight
					    : err_at(part, i);
	}
}

static void result_new(Eval *ev, const Ctx *call, const Type *type, const Tensor *like,
		       Tensor *all)
{
	int64_t rows = type->level == LV_TOKEN ? call->tokens
		     : type->level == LV_SEQ   ? call->nseq : like->rows;
	*all = (Tensor){.type = *type, .rows = rows, .n = rows * type_elems(type)};
	all->v = NEWN(ev->arena, double, (size_t)all->n);
}

/* One group through fn; its results are put into the call's. */
static void run_group(Eval *ev, const Fn *fn, const Ctx *call, const Ctx *group,
		      double weight)
{
	EvalResult *res = ev->result;
	int nargs = fn->body->nargs;
	Tensor *args = eval_alloc(ev, nargs, sizeof *args);
	Tensor *outs = eval_alloc(ev, fn->nouts, sizeof *outs);

	ev->ctx = group;
	for (int i = 0; i < nargs; i++)
		args[i] = fn_input(ev, fn->body->args[i]);
	run_fn(ev, fn, args, nargs, outs);
	for (int i = 0; i < fn->nouts; i++) {
		bool loss = fn == ev->m->fns && i >= fn->nouts - ev->m->nlosses;
		Tensor *all = &res->outs[i];
		if (outs[i].raw && ev->call->keep_raw) {
			*all = outs[i];
			continue;
		}
		if (unread(&outs[i]))
			tensor_read(ev, &outs[i]);
		outs[i] = tensor_at_level(ev, outs[i], &fn->outs[i]);
		if (!all->v)
			result_new(ev, call, &fn->outs[i], &outs[i], all);
		result_add(ev, all, &outs[i], loss, loss ? weight : 1);
		tensor_free(ev, &outs[i]);
	}
	for (int i = 0; i < nargs; i++)
		tensor_free(ev, &args[i]);
	eval_free(ev, args);
	eval_free(ev, outs);
}

static int64_t filled_sequences(const Ctx *call)
{
	int64_t n = 0;

	for (int64_t t = 0; t < call->tokens; t++)
		n += t == 0 || call->seq[t] != call->seq[t - 1];
	return n;
}

/* Group `i`, which begins where `last` ended.  Sequences without tokens are groups of their
 * own, or go with the tokens that follow them. */
static Group next_group(const Ctx *call, int64_t size, int64_t i, Group last)
{
	Group g = {.t0 = last.t1, .t1 = last.t1, .s0 = last.s1, .s1 = i + 1};

	if (size < 0) {
		while (g.t1 < call->tokens && call->seq[g.t1] == i)
			g.t1++;
		return g;
	}
	g.t1 = size < call->tokens - g.t0 ? g.t0 + size : call->tokens;
	g.s1 = g.t1 < call->tokens ? call->seq[g.t1 - 1] + 1 : call->nseq;
	if (g.t0 > 0 && call->seq[g.t0] == last.s1 - 1)
		g.s0--;
	return g;
}

static void run_groups(Eval *ev, const Fn *fn, const Ctx *call)
{
	int64_t size = ev->m->group, n = call->nseq;
	Group g = {0};

	if (size > 0)
		n = MAX(1, call->tokens / size + (call->tokens % size != 0));
	double weight = 1.0 / (double)MAX(1, size > 0 ? n : filled_sequences(call));
	for (int64_t i = 0; i < n; i++) {
		g = next_group(call, size, i, g);
		Ctx group = ctx_group(ev, call, g);
		run_group(ev, fn, call, &group, weight);
		ctx_free(ev, &group);
	}
}

bool eval_fn(Arena *arena, const Module *m, const Fn *fn, const EvalCall *call,
	     EvalResult *result, const char **why)
{
	Eval ev;
	eval_begin(&ev, arena, m, call, result);
	*result = (EvalResult){.nouts = fn->nouts};
	if (!ev.state)
		ev.state = eval_state_new();
	if (setjmp(ev.failed) == 0) {
		Ctx ctx = ctx_call(&ev);
		ev.rows = eval_alloc(&ev, m->ranges.n, sizeof *ev.rows);
		result->outs = NEWN(arena, Tensor, (size_t)fn->nouts);
		if (call->bounds) {
			result->gap = NEWN(arena, double, (size_t)ctx.tokens);
			for (int64_t t = 0; t < ctx.tokens; t++)
				result->gap[t] = INFINITY;
		}
		if (fn == m->fns && m->group != 0)
			run_groups(&ev, fn, &ctx);
		else
			run_group(&ev, fn, &ctx, &ctx, 1);
	}
	states_end(ev.state, !ev.why);
	if (ev.state != call->state)
		eval_state_free(ev.state);
	return eval_end(&ev, why);
}

/* The levels' counts are those of the arguments. */
static Ctx ctx_of_args(Eval *ev, const Tensor *args, int nargs)
{
	Ctx ctx = {.tokens = 1, .nseq = 1};
	for (int i = 0; i < nargs; i++) {
		if (args[i].type.level == LV_TOKEN)
			ctx.tokens = args[i].rows;
		if (args[i].type.level == LV_SEQ)
			ctx.nseq = args[i].rows;
	}
	ctx.total = ctx.tokens;
	ctx.origin = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.seq = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.pos = eval_alloc(ev, ctx.tokens, sizeof(int64_t));
	ctx.seq_id = eval_alloc(ev, ctx.nseq, sizeof(int64_t));
	for (int64_t t = 0; t < ctx.tokens; t++)
		ctx.origin[t] = ctx.pos[t] = t;
	for (int64_t s = 0; s < ctx.nseq; s++)
		ctx.seq_id[s] = s;
	return ctx;
}

/* Into the arena: the interpreter's own memory goes. */
static void tensor_keep(Eval *ev, Tensor *t)
{
	Tensor y = *t;
	if (unread(t))
		return;
	y.v = NEWN(ev->arena, double, (size_t)t->n);
	memcpy(y.v, t->v, (size_t)t->n * sizeof *y.v);
	if (t->err) {
		y.err = NEWN(ev->arena, double, (size_t)t->n);
		memcpy(y.err, t->err, (size_t)t->n * sizeof *y.err);
	}
	*t = y;
}

bool eval_op(Arena *arena, const Module *m, const Op *op, const Tensor *args,
	     Tensor *outs, const char **why)
{
	Eval ev;
	EvalCall call = {.step = -1};
	EvalResult result = {0};

	eval_begin(&ev, arena, m, &call, &result);
	ev.bounds = any_err(args, op->nargs);
	if (setjmp(ev.failed) == 0) {
		Ctx ctx = ctx_of_args(&ev, args, op->nargs);
		Tensor *in = eval_alloc(&ev, op->nargs, sizeof *in);
		ev.ctx = &ctx;
		ev.rows = eval_alloc(&ev, m->ranges.n, sizeof *ev.rows);
		memcpy(in, args, (size_t)op->nargs * sizeof *in);
		op_meaning(&ev, op, in, outs);
		for (int i = 0; i < op->nouts; i++)
			tensor_keep(&ev, &outs[i]);
	}
	return eval_end(&ev, why);
}
