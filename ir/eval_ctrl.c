/* SPDX-License-Identifier: Apache-2.0
 * eval_ctrl: calls, branches and loops. */
#include "eval_ops.h"

#include <string.h>

/* What a region gave becomes result i: at the level that the op declares. */
static void results_at_level(Eval *ev, const Op *op, Tensor *outs)
{
	for (int i = 0; i < op->nouts; i++)
		outs[i] = tensor_at_level(ev, outs[i], &op->outs[i]->type);
}

void ref_yield(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	frame_results(ev, op, args);
}

void ref_return(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	frame_results(ev, op, args);
}

void ref_call(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Attr *name = attr_find(op, "fn");
	const Fn *fn = name ? fn_find(ev->m, name->kind == AT_FNS ? name->ss[0] : name->s)
			    : NULL;
	if (!fn)
		ice("call of a function that does not exist");
	run_fn(ev, fn, args, op->nargs, outs);
	results_at_level(ev, op, outs);
}

void ref_kernel(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	run_region(ev, op->regions[0], NULL, args, outs);
}

void ref_if(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	run_region(ev, op->regions[args[0].v[0] != 0 ? 0 : 1], NULL, NULL, outs);
	results_at_level(ev, op, outs);
}

/* Chosen tokens or rows, pick[0 .. n-1], through one region; what it yields goes to their
 * places in outs. */
static void run_part(Eval *ev, const Op *op, const Region *r, const Part *part,
		     const int64_t *pick, int64_t n, Tensor *outs)
{
	const Ctx *around = ev->ctx;
	Tensor *given = eval_alloc(ev, op->nouts, sizeof *given);

	run_region(ev, r, part, NULL, given);
	ev->ctx = part->ctx;
	for (int i = 0; i < op->nouts; i++) {
		size_t each = (size_t)type_elems(&outs[i].type);
		Tensor y = tensor_at_level(ev, given[i], &outs[i].type);
		if (y.rows != n)
			eval_fail(ev, "where: a region yields rows of another group");
		if (y.err && !outs[i].err)
			outs[i].err = eval_doubles(ev, outs[i].n);
		for (int64_t t = 0; t < n; t++) {
			size_t to = (size_t)pick[t] * each, from = (size_t)t * each;
			memcpy(outs[i].v + to, y.v + from, each * sizeof *y.v);
			if (y.err)
				memcpy(outs[i].err + to, y.err + from,
				       each * sizeof *y.v);
		}
		tensor_free(ev, &y);
	}
	ev->ctx = around;
	eval_free(ev, given);
}

static void run_tokens(Eval *ev, const Op *op, const Region *r, const int64_t *pick,
		       int64_t n, Tensor *outs)
{
	Ctx ctx = ctx_pick(ev, ev->ctx, pick, n);
	run_part(ev, op, r, &(Part){.ctx = &ctx, .token = pick}, pick, n, outs);
	ctx_free(ev, &ctx);
}

static void run_routed(Eval *ev, const Op *op, const Region *r, const int64_t *pick,
		       int64_t n, const Tensor *c, Tensor *outs)
{
	const Rows **at_work = &ev->rows[c->type.range], *before = *at_work;
	Part part = {.ctx = ev->ctx, .row = pick, .from = c->at};

	part.to = *at_work = rows_pick(ev, c->at, pick, n);
	run_part(ev, op, r, &part, pick, n, outs);
	*at_work = before;
}

void ref_where(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *c = &args[0];
	int64_t *pick = eval_alloc(ev, c->rows, sizeof *pick);

	for (int i = 0; i < op->nouts; i++)
		out_new(ev, op, i, args, &outs[i], false);
	for (int side = 0; side < 2; side++) {
		const Region *r = op->regions[side];
		int64_t n = 0;
		for (int64_t t = 0; t < c->rows; t++)
			if ((c->v[t] != 0) == (side == 0))
				pick[n++] = t;
		if (n > 0 && c->type.level == LV_ROW)
			run_routed(ev, op, r, pick, n, c, outs);
		else if (n > 0)
			run_tokens(ev, op, r, pick, n, outs);
	}
	eval_free(ev, pick);
}

void ref_repeat(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t max = attr_get_int(op, "max", 0);
	Tensor *next = eval_alloc(ev, op->nouts + 1, sizeof *next);
	bool done = false;

	for (int i = 0; i < op->nouts; i++)
		outs[i] =
		    tensor_at_level(ev, tensor_copy(ev, &args[i]), &op->outs[i]->type);
	for (int64_t round = 0; round < max && !done; round++) {
		run_region(ev, op->regions[0], NULL, outs, next);
		results_at_level(ev, op, next);
		for (int i = 0; i < op->nouts; i++) {
			tensor_free(ev, &outs[i]);
			outs[i] = next[i];
		}
		done = next[op->nouts].v[0] != 0;
		tensor_free(ev, &next[op->nouts]);
	}
	eval_free(ev, next);
}

static void put_row(Eval *ev, Tensor *to, int64_t row, const Tensor *from)
{
	int64_t each = type_elems(&to->type);
	memcpy(to->v + row * each, from->v, (size_t)each * sizeof(double));
	if (from->err && !to->err)
		to->err = eval_doubles(ev, to->n);
	for (int64_t i = 0; to->err && i < each; i++)
		to->err[row * each + i] = err_at(from, i);
}

/* One token: the region sees its sequence's states as this token's. */
static void scan_token(Eval *ev, const Op *op, int64_t t, Tensor *states, Tensor *given,
		       Tensor *outs)
{
	const Region *r = op->regions[0];
	const Ctx *around = ev->ctx;
	Ctx ctx = ctx_pick(ev, around, &t, 1);
	int64_t s = around->seq[t];

	for (int i = 0; i < op->nargs; i++) {
		states[i] = tensor_rows(ev, &outs[i], &s, 1, NULL);
		states[i].type.level = r->args[i]->type.level;
	}
	run_region(ev, r, &(Part){.ctx = &ctx, .token = &t}, states, given);
	for (int i = 0; i < op->nouts; i++) {
		ev->ctx = &ctx;
		given[i] = tensor_at_level(ev, given[i], &(Type){.level = LV_TOKEN});
		ev->ctx = around;
		put_row(ev, &outs[i], i < op->nargs ? s : t, &given[i]);
		tensor_free(ev, &given[i]);
	}
	for (int i = 0; i < op->nargs; i++)
		tensor_free(ev, &states[i]);
	ctx_free(ev, &ctx);
}

void ref_scan(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	Tensor *states = eval_alloc(ev, op->nargs + op->nouts, sizeof *states);

	for (int i = 0; i < op->nouts; i++) {
		if (i >= op->nargs)
			out_new(ev, op, i, args, &outs[i], false);
		else
			outs[i] = tensor_at_level(ev, tensor_copy(ev, &args[i]),
						  &op->outs[i]->type);
	}
	for (int64_t t = 0; t < ev->ctx->tokens; t++)
		scan_token(ev, op, t, states, states + op->nargs, outs);
	eval_free(ev, states);
}
