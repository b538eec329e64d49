/* SPDX-License-Identifier: Apache-2.0
 * epilogue: what happens to a contraction's sums while they are in registers: elementwise
 * ops on one vector of one row, and the finish of a combine, a row of the sink at a time. */
#include "contract.h"

void epilogue_bind(Epilogue *ep, const Value *v, Lanes x)
{
	vec_push(ep->c->e->arena, &ep->values, v);
	vec_push(ep->c->e->arena, &ep->lanes, x);
}

static Val row_list(Contract *c, Val call, Val row, size_t field)
{
	return emit_list_entry(c->e, emit_rows_field(c->e, call, c->range, field), row);
}

Val epilogue_row_token(Contract *c, Val call, Val row)
{
	return row_list(c, call, row, offsetof(moert_rows, token));
}

Val epilogue_slot(Contract *c, Val call, Val row)
{
	return row_list(c, call, row, offsetof(moert_rows, slot));
}

/* One entry for all lanes, or the entries of this vector's columns. */
static Lanes load_operand(Epilogue *ep, const Type *t, Val at)
{
	Emit *e = ep->c->e;
	Ll *l = &e->l;
	int64_t elems = type_elems(t);

	if (elems == 1) {
		Lanes one = emit_load_lanes(e, t->dtype, at, 1, NULL);
		return (Lanes){ll_splat(l, one.v, e->lanes), one.dtype};
	}
	if (elems != ep->c->n)
		ice("an epilogue reads %lld entries of %lld columns", (long long)elems,
		    (long long)ep->c->n);
	at = ll_at(l, at, ll_mul(l, ep->column, ll_i64(l, entry_bytes(t->dtype))));
	return emit_load_lanes(e, t->dtype, at, e->lanes, ep->mask);
}

static Val captured_at(Epilogue *ep, const Value *v)
{
	Emit *e = ep->c->e;
	Val row = ep->row;

	if (v->type.level == LV_ONCE) {
		row = NULL;
	} else if (v->type.level == LV_SEQ && ep->level == LV_TOKEN) {
		row = emit_sequence_of(e, ep->call, row);
	} else if (v->type.level != ep->level) {
		ice("an epilogue reads a value of another level");
	}
	return emit_view_row(e, ep->call, emit_buffer_of(e, v), row);
}

static Lanes dispatched(Epilogue *ep, const Op *op)
{
	Contract *c = ep->c;
	Ll *l = &c->e->l;
	const Type *t = &op->outs[0]->type;
	Val at = emit_view_row(c->e, ep->call, emit_buffer_of(c->e, op->args[0]), ep->token);

	if (attr_get_int(op, "slot", 0)) {
		int64_t bytes = type_elems(t) * entry_bytes(t->dtype);
		at = ll_at(l, at, ll_mul(l, epilogue_slot(c, ep->call, ep->row), ll_i64(l, bytes)));
	}
	return load_operand(ep, t, at);
}

static Lanes constant(Epilogue *ep, const Op *op)
{
	Emit *e = ep->c->e;
	const Attr *value = attr_find(op, "value");
	const Type *t = &op->outs[0]->type;

	if (value->n == 1)
		return emit_lanes_const(e, t->dtype, value->fs[0], e->lanes);
	return load_operand(ep, t, emit_const_array(e, op));
}

static Lanes plain_weight(Epilogue *ep, const Op *op)
{
	Emit *e = ep->c->e;
	Ll *l = &e->l;
	int weight = emit_weight_of(e, op);
	const Type *t = &op->outs[0]->type;

	if (t->level == LV_ONCE)
		return load_operand(ep, t, emit_weight_at(e, ep->call, weight));
	Val table = ll_field(l, l->ptr, ep->task, offsetof(moert_task, weight));
	int64_t number = weight - e->step->weight_base;
	Val at = ll_load_constant(l, l->ptr, ll_at_const(l, table, 8 * number), 8);
	return load_operand(ep, t, at);
}

static Lanes call_scalar(Epilogue *ep, const Op *op)
{
	Emit *e = ep->c->e;
	Ll *l = &e->l;

	if (op->kind == OP_step)
		return (Lanes){ll_splat(l, ll_field(l, l->f64, ep->call,
						    offsetof(moert_call, step)), e->lanes), DT_f64};
	Val n = ll_field(l, l->i64, ep->call, offsetof(moert_call, tokens));
	return (Lanes){ll_splat(l, LLVMBuildSIToFP(l->b, n, l->f64, ""), e->lanes), DT_f64};
}

Lanes epilogue_operand(Epilogue *ep, const Value *v)
{
	for (int i = ep->values.n - 1; i >= 0; i--)
		if (ep->values.at[i] == v)
			return ep->lanes.at[i];
	Lanes x;
	bool inside = v->def && v->def->in->op == ep->c->kernel;
	switch (inside ? v->def->kind : OP_COUNT) {
	case OP_dispatch:
		x = dispatched(ep, v->def);
		break;
	case OP_const:
		x = constant(ep, v->def);
		break;
	case OP_param:
		x = plain_weight(ep, v->def);
		break;
	case OP_tokens:
	case OP_step:
		x = call_scalar(ep, v->def);
		break;
	case OP_COUNT:
		x = load_operand(ep, &v->type, captured_at(ep, v));
		break;
	default:
		ice("%s cannot stand in an epilogue", op_info[v->def->kind].name);
	}
	epilogue_bind(ep, v, x);
	return x;
}

void epilogue_run(Epilogue *ep, const Op *from, const Op *until)
{
	for (const Op *op = from; op && op != until; op = op->next) {
		Lanes in[3];
		if (op_info[op->kind].family != FAM_EW)
			continue;
		for (int i = 0; i < op->nargs; i++)
			in[i] = epilogue_operand(ep, op->args[i]);
		epilogue_bind(ep, op->outs[0], emit_ew(ep->c->e, op, in));
	}
}

/* Results of `n` columns go to their columns; with a tail, what it reads goes to buffers. */
static void store_columns(Epilogue *ep, const Value *v, int buffer)
{
	Emit *e = ep->c->e;
	Ll *l = &e->l;
	Val row = ep->level == LV_ONCE ? NULL : ep->row;
	Val at = emit_view_row(e, ep->call, buffer, row);

	if (type_elems(&v->type) != ep->c->n)
		ice("a contraction yields a value that is not of its columns");
	at = ll_at(l, at, ll_mul(l, ep->column, ll_i64(l, entry_bytes(v->type.dtype))));
	emit_store_lanes(e, epilogue_operand(ep, v), at, ep->mask);
}

void epilogue_store(Epilogue *ep, const Op *yield)
{
	Contract *c = ep->c;

	if (c->tail) {
		for (int s = 0; s < c->streams; s++) {
			const Value *v = c->linears.at[s]->outs[0];
			store_columns(ep, v, emit_buffer_of(c->e, v));
		}
		return;
	}
	for (int i = 0; i < yield->nargs; i++)
		store_columns(ep, yield->args[i], emit_buffer_of(c->e, yield->in->op->outs[i]));
}

/* What a row counts for in its token's sum. */
static Val gate_of(Epilogue *ep)
{
	Contract *c = ep->c;
	Ll *l = &c->e->l;
	const Value *gates = c->combine->args[1];
	Val at = emit_view_row(c->e, ep->call, emit_buffer_of(c->e, gates), ep->token);
	Val slot = ll_mul(l, epilogue_slot(c, ep->call, ep->row),
			  ll_i64(l, entry_bytes(gates->type.dtype)));
	Lanes gate = emit_load_lanes(c->e, gates->type.dtype, ll_at(l, at, slot), 1, NULL);

	return ll_splat(l, emit_convert(c->e, gate, DT_f32).v, c->e->lanes);
}

static void add_to_sink(Epilogue *ep, int g)
{
	Contract *c = ep->c;
	Ll *l = &c->e->l;
	int lanes = c->e->lanes;
	Val sink = ll_field(l, l->ptr, ep->task, offsetof(moert_task, sink));
	Val at = ll_at_const(l, ll_at(l, sink, ll_mul(l, ep->token, ll_i64(l, c->cols * 4))),
			     (int64_t)g * lanes * 4);
	Val v = emit_convert(c->e, epilogue_operand(ep, c->combine->args[0]), DT_f32).v;
	Val sum = ll_load(l, ll_vec(l->f32, lanes), at, 4);

	ll_store(l, ll_fma(l, v, ep->gate, sum), at, 4);
}

/* The ops behind the linears on vector g of every stream of one row, and where it goes. */
static void finish_vector(Epilogue *ep, Val sums, int g)
{
	Contract *c = ep->c;
	Ll *l = &c->e->l;
	int64_t bytes = (int64_t)c->e->lanes * 4;
	const Op *yield = c->kernel->regions[0]->last;

	for (int s = 0; s < c->streams; s++) {
		Val at = ll_at_const(l, sums, (s * c->stream_vectors + g) * bytes);
		epilogue_bind(ep, c->linears.at[s]->outs[0],
			      (Lanes){ll_load(l, ll_vec(l->f32, c->e->lanes), at, 4), DT_f32});
	}
	epilogue_run(ep, c->kernel->regions[0]->first, c->combine ? c->combine : c->tail);
	if (c->combine)
		add_to_sink(ep, g);
	else
		epilogue_store(ep, yield);
}

static Val tail_mask(Contract *c, Val column)
{
	Ll *l = &c->e->l;

	if (c->n % c->cols == 0)
		return NULL;
	return emit_tail_mask(c->e, LLVMBuildSub(l->b, ll_i64(l, c->n), column, ""),
			      c->e->lanes);
}

Val emit_epilogue(Contract *c)
{
	Ll *l = &c->e->l;
	int64_t bytes = (int64_t)c->e->lanes * 4;
	const char *name = arena_printf(c->e->arena, "%s.epilogue",
					attr_get_str(c->kernel, "name", "contract"));
	Val fn = ll_function(l, name, l->none,
			     (Ty[]){l->ptr, l->ptr, l->i64, l->i64, l->ptr}, 5, true);
	Val call = LLVMGetParam(fn, 0), task = LLVMGetParam(fn, 1), row0 = LLVMGetParam(fn, 2);
	Val number = ll_field(l, l->i64, task, offsetof(moert_task, number));
	Val first = ll_mul(l, number, ll_i64(l, c->cols));

	ll_attr(l, fn, OF_FUNCTION, "noinline", 0);
	Loop rows = ll_for(l, row0, LLVMGetParam(fn, 3), 1, "row");
	Val nth = LLVMBuildSub(l->b, rows.i, row0, "");
	Val sums = ll_at(l, LLVMGetParam(fn, 4), ll_mul(l, nth, ll_i64(l, c->vectors * bytes)));
	Epilogue row = {.c = c, .call = call, .task = task, .row = rows.i, .level = c->level};
	if (c->level == LV_ROW)
		row.token = epilogue_row_token(c, call, rows.i);
	if (c->combine)
		row.gate = gate_of(&row);
	for (int g = 0; g < c->stream_vectors; g++) {
		Epilogue ep = row;
		ep.column = ll_add(l, first, ll_i64(l, (int64_t)g * c->e->lanes));
		ep.mask = tail_mask(c, ep.column);
		finish_vector(&ep, sums, g);
	}
	ll_end_for(l, &rows);
	LLVMBuildRetVoid(l->b);
	return fn;
}

/* void finish(call, sink, number, t0, t1) */
Val emit_finish(Contract *c)
{
	Ll *l = &c->e->l;
	int lanes = c->e->lanes;
	const char *name = arena_printf(c->e->arena, "%s.finish",
					attr_get_str(c->kernel, "name", "combine"));
	Val fn = ll_function(l, name, l->none,
			     (Ty[]){l->ptr, l->ptr, l->i64, l->i64, l->i64}, 5, true);
	Loop tokens = ll_for(l, LLVMGetParam(fn, 3), LLVMGetParam(fn, 4), 1, "token");
	Val sink = ll_at(l, LLVMGetParam(fn, 1), ll_mul(l, tokens.i, ll_i64(l, c->cols * 4)));
	Val first = ll_mul(l, LLVMGetParam(fn, 2), ll_i64(l, c->cols));

	for (int g = 0; g < c->stream_vectors; g++) {
		Epilogue ep = {.c = c, .call = LLVMGetParam(fn, 0), .row = tokens.i,
			       .token = tokens.i, .level = LV_TOKEN};
		ep.column = ll_add(l, first, ll_i64(l, (int64_t)g * lanes));
		ep.mask = tail_mask(c, ep.column);
		Val at = ll_at_const(l, sink, (int64_t)g * lanes * 4);
		Lanes sum = {ll_load(l, ll_vec(l->f32, lanes), at, 4), DT_f32};
		epilogue_bind(&ep, c->combine->outs[0], sum);
		epilogue_run(&ep, c->combine->next, NULL);
		epilogue_store(&ep, c->kernel->regions[0]->last);
	}
	ll_end_for(l, &tokens);
	LLVMBuildRetVoid(l->b);
	return fn;
}
