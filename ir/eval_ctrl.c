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
	run_fn(ev, fn, ev->ctx, args, op->nargs, outs);
	results_at_level(ev, op, outs);
}

void ref_kernel(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	run_region(ev, op->regions[0], ev->ctx, NULL, args, outs);
}

void ref_if(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	run_region(ev, op->regions[args[0].v[0] != 0 ? 0 : 1], ev->ctx, NULL, NULL, outs);
	results_at_level(ev, op, outs);
}

/* The chosen tokens through one region; what it yields goes to their places in outs. */
static void run_tokens(Eval *ev, const Op *op, const Region *r, const int64_t *pick,
		       int64_t n, Tensor *part, Tensor *outs)
{
	const Ctx *around = ev->ctx;
	Ctx ctx = ctx_pick(ev, around, pick, n);

	run_region(ev, r, &ctx, pick, NULL, part);
	ev->ctx = &ctx;
	for (int i = 0; i < op->nouts; i++) {
		Type type = part[i].type;
		int64_t each = type_elems(&outs[i].type);
		type.level = LV_TOKEN;
		part[i] = tensor_at_level(ev, part[i], &type);
		if (unread(&part[i]))
			tensor_read(ev, &part[i]);
		if (part[i].err && !outs[i].err)
			outs[i].err = eval_doubles(ev, outs[i].n);
		for (int64_t t = 0; t < n; t++) {
			size_t bytes = (size_t)each * sizeof(double);
			memcpy(outs[i].v + pick[t] * each, part[i].v + t * each, bytes);
			if (part[i].err)
				memcpy(outs[i].err + pick[t] * each, part[i].err + t * each,
				       bytes);
		}
		tensor_free(ev, &part[i]);
	}
	ev->ctx = around;
	ctx_free(ev, &ctx);
}

void ref_where(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t tokens = ev->ctx->tokens;
	int64_t *pick = eval_alloc(ev, tokens, sizeof *pick);
	Tensor *part = eval_alloc(ev, op->nouts, sizeof *part);
	Tensor like = {.type = type_scalar(DT_bool, LV_TOKEN)};

	for (int i = 0; i < op->nouts; i++)
		out_new(ev, op, i, args, &outs[i], false);
	for (int side = 0; side < op->nregions; side++) {
		int64_t n = 0;
		for (int64_t t = 0; t < tokens; t++)
			if ((args[0].v[row_in(ev, &like, t, &args[0])] != 0) == (side == 0))
				pick[n++] = t;
		if (n > 0)
			run_tokens(ev, op, op->regions[side], pick, n, part, outs);
	}
	eval_free(ev, part);
	eval_free(ev, pick);
}

void ref_repeat(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t max = attr_get_int(op, "max", 0);
	Tensor *next = eval_alloc(ev, op->nouts + 1, sizeof *next);
	bool done = false;

	for (int i = 0; i < op->nouts; i++)
		outs[i] = tensor_at_level(ev, tensor_copy(ev, &args[i]), &op->outs[i]->type);
	for (int64_t round = 0; round < max && !done; round++) {
		run_region(ev, op->regions[0], ev->ctx, NULL, outs, next);
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
		states[i] = tensor_rows(ev, &outs[i], &s, 1);
		states[i].type.level = r->args[i]->type.level;
	}
	run_region(ev, r, &ctx, &t, states, given);
	for (int i = 0; i < op->nouts; i++) {
		if (unread(&given[i]))
			tensor_read(ev, &given[i]);
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
