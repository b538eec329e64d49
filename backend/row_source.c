/* SPDX-License-Identifier: Apache-2.0
 * row_source: values that come from outside a row map: weights, constants, the call,
 * random draws, and rows of routed experts. */
#include "emit.h"

static void row_param(MapFn *m, const Op *op)
{
	Emit *e = m->e;
	const Type *t = &op->outs[0]->type;
	int weight = emit_weight_of(e, op);
	Val at = t->level == LV_EXPERT ? emit_expert_weight_at(e, m->call, weight, m->row)
				       : emit_weight_at(e, m->call, weight);
	Place p = {AT_MEMORY, .at = at};

	if (type_elems(t) == 1)
		p = (Place){AT_SCALAR, .scalar = emit_load_lanes(e, t->dtype, at, 1, NULL)};
	map_bind(m, op->outs[0], p);
}

static void row_const(MapFn *m, const Op *op)
{
	Emit *e = m->e;
	const Attr *value = attr_find(op, "value");
	Place p = {AT_SCALAR};

	if (value->n == 1)
		p.scalar = emit_lanes_const(e, op->outs[0]->type.dtype, value->fs[0], 1);
	else
		p = (Place){AT_MEMORY, .at = emit_const_array(e, op)};
	map_bind(m, op->outs[0], p);
}

static void iota_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Ll *l = &m->e->l;
	Val first = ll_splat(l, LLVMBuildTrunc(l->b, index, l->i32, ""), lanes);

	map_store(m, *(Place *)arg, (Lanes){ll_add(l, first, ll_iota(l, lanes)), DT_i32}, index,
		  mask);
}

static void row_iota(MapFn *m, const Op *op)
{
	int64_t n = type_elems(&op->outs[0]->type);
	Place p = map_scratch(m, DT_i32, n);

	map_chunks(m, n, iota_chunk, &p);
	map_bind(m, op->outs[0], p);
}

static void bind_scalar(MapFn *m, const Op *op, Val v)
{
	map_bind(m, op->outs[0],
		 (Place){AT_SCALAR, .scalar = {v, op->outs[0]->type.dtype}});
}

static void row_tokens(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	Val n = ll_field(l, l->i64, m->call, offsetof(moert_call, tokens));
	bind_scalar(m, op, LLVMBuildSIToFP(l->b, n, l->f64, ""));
}

static void row_step(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	bind_scalar(m, op, ll_field(l, l->f64, m->call, offsetof(moert_call, step)));
}

static Val token_number(MapFn *m, size_t field)
{
	Ll *l = &m->e->l;
	Val list = ll_field(l, l->ptr, m->call, field);
	return ll_load(l, l->i32, ll_at(l, list, ll_mul(l, m->row, ll_i64(l, 4))), 4);
}

static void row_position(MapFn *m, const Op *op)
{
	bind_scalar(m, op, token_number(m, offsetof(moert_call, position)));
}

/* float moert_draw_*(call, token, site, entry) of runtime/abi.def */
static void row_draw(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const char *name = op->kind == OP_uniform ? "moert_draw_uniform" : "moert_draw_normal";
	Val fn = LLVMGetNamedFunction(l->mod, name);
	Ty args[4] = {l->ptr, l->i64, l->i64, l->i64};
	bool each = m->level == LV_TOKEN && !attr_find(op, "over");
	int64_t n = type_elems(&op->outs[0]->type);

	if (!fn)
		fn = LLVMAddFunction(l->mod, name, LLVMFunctionType(l->f32, args, 4, 0));
	Val draw[4] = {m->call, each ? m->row : ll_i64(l, -1),
		       ll_i64(l, attr_get_int(op, "site", 0)), ll_i64(l, 0)};
	if (n == 1) {
		bind_scalar(m, op, ll_call(l, fn, draw, 4));
		return;
	}
	Place p = map_scratch(m, DT_f32, n);
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, n), 1, "draw");
	draw[3] = loop.i;
	map_store(m, p, (Lanes){ll_call(l, fn, draw, 4), DT_f32}, loop.i, NULL);
	ll_end_for(l, &loop);
	map_bind(m, op->outs[0], p);
}

/* In a map over rows: the row's token (and slot) of a token's value, where it lies. */
static void row_dispatch(MapFn *m, const Op *op)
{
	Emit *e = m->e;
	Ll *l = &e->l;
	const Value *v = op->args[0];
	const Type *t = &op->outs[0]->type;
	Val tokens = emit_rows_field(e, m->call, m->range, offsetof(moert_rows, token));
	Val at = emit_view_row(e, m->call, emit_buffer_of(e, v),
			       emit_list_entry(e, tokens, m->row));

	if (attr_get_int(op, "slot", 0)) {
		Val slots = emit_rows_field(e, m->call, m->range, offsetof(moert_rows, slot));
		Val slot = emit_list_entry(e, slots, m->row);
		int64_t bytes = type_elems(t) * entry_bytes(t->dtype);
		at = ll_at(l, at, ll_mul(l, slot, ll_i64(l, bytes)));
	}
	Place p = {AT_MEMORY, .at = at};
	if (type_elems(t) == 1)
		p = (Place){AT_SCALAR, .scalar = emit_load_lanes(e, t->dtype, at, 1, NULL)};
	map_bind(m, op->outs[0], p);
}

/* The row of slot j of this token, or -1. */
static Val row_of_slot(MapFn *m, int range, Val slot, int64_t slots)
{
	Ll *l = &m->e->l;
	Val list = emit_rows_field(m->e, m->call, range, offsetof(moert_rows, row));
	Val index = ll_add(l, ll_mul(l, m->row, ll_i64(l, slots)), slot);
	return emit_list_entry(m->e, list, index);
}

static Place zeros(MapFn *m, Dtype t, int64_t n)
{
	Ll *l = &m->e->l;
	Place p = map_scratch(m, t, n);
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, n), m->e->lanes, "zero");

	map_store(m, p, emit_lanes_const(m->e, t, 0, m->e->lanes), loop.i, NULL);
	ll_end_for(l, &loop);
	return p;
}

typedef struct { Place from, to; Dtype dtype; Val weight, base; } Part;

static void put_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Part *part = arg;
	Lanes x = map_load(m, part->from, part->dtype, index, lanes, mask);
	Val at = part->base ? ll_add(&m->e->l, part->base, index) : index;

	if (part->weight) {
		Val sum = map_load(m, part->to, DT_f32, at, lanes, mask).v;
		Val w = ll_splat(&m->e->l, part->weight, lanes);
		x = (Lanes){ll_fma(&m->e->l, emit_convert(m->e, x, DT_f32).v, w, sum), DT_f32};
	}
	map_store(m, part->to, x, at, mask);
}

static void row_collect(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Value *v = op->args[0];
	const Type *t = &op->outs[0]->type;
	int64_t slots = t->dim[0], n = type_elems(&v->type);
	Part part = {.to = zeros(m, t->dtype, type_elems(t)), .dtype = v->type.dtype};
	Loop slot = ll_for(l, ll_i64(l, 0), ll_i64(l, slots), 1, "slot");
	Val row = row_of_slot(m, v->type.range, slot.i, slots);
	LLVMBasicBlockRef filled = ll_block(l, "filled"), next = ll_block(l, "next");

	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSGE, row, ll_i64(l, 0), ""), filled, next);
	ll_here(l, filled);
	part.from = (Place){AT_MEMORY, .at = emit_view_row(m->e, m->call,
							   emit_buffer_of(m->e, v), row)};
	part.base = ll_mul(l, slot.i, ll_i64(l, n));
	part.to.padded = false;
	map_chunks(m, n, put_chunk, &part);
	ll_goto(l, next);
	ll_end_for(l, &slot);
	part.to.padded = true;
	map_bind(m, op->outs[0], part.to);
}

/* Rows are numbered by expert, so ascending rows are ascending experts: each round takes
 * the lowest row above the last one. */
static void row_combine(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Value *v = op->args[0], *w = op->args[1];
	int64_t slots = w->type.dim[0], n = type_elems(&v->type);
	Part part = {.to = zeros(m, DT_f32, n), .dtype = v->type.dtype};
	Place weights = map_memory(m, w);
	Val last = ll_alloca(l, l->i64, "last"), best = ll_alloca(l, l->i64, "best");
	Val chosen = ll_alloca(l, l->i64, "chosen");

	ll_store(l, ll_i64(l, -1), last, 8);
	Loop round = ll_for(l, ll_i64(l, 0), ll_i64(l, slots), 1, "round");
	ll_store(l, ll_i64(l, INT64_MAX), best, 8);
	Loop slot = ll_for(l, ll_i64(l, 0), ll_i64(l, slots), 1, "slot");
	Val row = row_of_slot(m, v->type.range, slot.i, slots);
	Val least = ll_load(l, l->i64, best, 8);
	Val above = LLVMBuildICmp(l->b, LLVMIntSGT, row, ll_load(l, l->i64, last, 8), "");
	Val better = LLVMBuildAnd(l->b, above, LLVMBuildICmp(l->b, LLVMIntSLT, row, least, ""), "");
	ll_store(l, ll_select(l, better, row, least), best, 8);
	Val held = ll_load(l, l->i64, chosen, 8);
	ll_store(l, ll_select(l, better, slot.i, held), chosen, 8);
	ll_end_for(l, &slot);

	LLVMBasicBlockRef found = ll_block(l, "found"), next = ll_block(l, "next");
	row = ll_load(l, l->i64, best, 8);
	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntNE, row, ll_i64(l, INT64_MAX), ""), found, next);
	ll_here(l, found);
	ll_store(l, row, last, 8);
	Lanes weight = map_load(m, weights, w->type.dtype, ll_load(l, l->i64, chosen, 8), 1, NULL);
	part.weight = emit_convert(m->e, weight, DT_f32).v;
	part.from = (Place){AT_MEMORY, .at = emit_view_row(m->e, m->call,
							   emit_buffer_of(m->e, v), row)};
	map_chunks(m, n, put_chunk, &part);
	ll_goto(l, next);
	ll_end_for(l, &round);
	map_bind(m, op->outs[0], part.to);
}

RowFn *row_source(OpKind kind)
{
	switch (kind) {
	case OP_param:
		return row_param;
	case OP_const:
		return row_const;
	case OP_iota:
		return row_iota;
	case OP_tokens:
		return row_tokens;
	case OP_step:
		return row_step;
	case OP_position:
		return row_position;
	case OP_uniform:
	case OP_normal:
		return row_draw;
	case OP_dispatch:
		return row_dispatch;
	case OP_collect:
		return row_collect;
	case OP_combine:
		return row_combine;
	default:
		return NULL;
	}
}
