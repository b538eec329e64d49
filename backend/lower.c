/* SPDX-License-Identifier: Apache-2.0
 * lower: a kernel-level module to LLVM: numbers its buffers and weights, emits each kernel,
 * and leaves the steps that the runtime follows.
 *
 * Value.id is a value's buffer; -1: it never leaves its kernel. */
#include "emit.h"
#include <stdlib.h>
#include <string.h>

static void clear_id(Op *op, void *ctx)
{
	for (int i = 0; i < op->nouts; i++)
		op->outs[i]->id = -1;
	for (int r = 0; r < op->nregions; r++)
		for (int i = 0; i < op->regions[r]->nargs; i++)
			op->regions[r]->args[i]->id = -1;
}

static void clear_ids(const Region *body)
{
	for (int i = 0; i < body->nargs; i++)
		body->args[i]->id = -1;
	region_walk(body, clear_id, NULL);
}

static void add_buffer(Emit *e, Value *v, const char *name, moert_role role, int64_t given)
{
	Buffer b = {.value = v, .name = name ? name : v->name ? v->name : "", .role = role,
		    .given = given};

	v->id = e->bufs.n;
	vec_push(e->arena, &e->bufs, b);
}

void add_temporary(Emit *e, Value *v)
{
	add_buffer(e, v, NULL, MOERT_TEMP, 0);
}

static int losses_of(const Emit *e)
{
	return e->call ? e->call->nlosses : e->m->nlosses;
}

/* Picks that run and their gates (marked by the frontend), as layer.h numbers them.  In a
 * call of its own a layer's are the only ones. */
static int64_t given_of(const Emit *e, const Value *v)
{
	if (!v->def || v->def->kind != OP_stop)
		return 0;
	const char *what = attr_get_str(v->def, "given", "");
	int64_t kind = strcmp(what, "pick") == 0 ? 1 : strcmp(what, "gate") == 0 ? 2 : 0;
	int64_t call = attr_get_int(v->def, "call", -1);
	int64_t own = e->call ? e->call - e->m->calls.at : -1;

	return !kind || call == own ? kind : e->call ? 0 : kind + 2 * (call + 1);
}

static bool is_contract(const Op *kernel)
{
	return strcmp(attr_get_str(kernel, "kind", ""), "contract") == 0;
}

static int64_t given_result(const Emit *e, const Value *v)
{
	if (!v->def || v->def->kind != OP_kernel || v->def->in != e->layer->body)
		return 0;
	return given_of(e, v->def->regions[0]->last->args[v->index]);
}

/* The runtime finds results in their order.  One that is an input, or stands there twice,
 * gets a copy of its own. */
static void number_results(Emit *e)
{
	const Op *ret = e->layer->body->last;

	for (int i = 0; i < ret->nargs; i++) {
		Value *v = ret->args[i], *to = v;
		const char *name = e->layer->out_names ? e->layer->out_names[i] : NULL;
		bool loss = i >= ret->nargs - losses_of(e);
		if (v->id >= 0) {
			to = NEW(e->arena, Value);
			*to = *v;
			vec_push(e->arena, &e->twins, ((Twin){v, to}));
		}
		add_buffer(e, to, name ? name : "", loss ? MOERT_LOSS : MOERT_OUTPUT,
			   to == v ? given_result(e, v) : 0);
	}
}

void number_region(Emit *e, const Region *r)
{
	for (Op *op = r->first; op; op = op->next) {
		for (int i = 0; i < op->nouts; i++)
			if (op->outs[i]->type.dtype != DT_rows && op->outs[i]->id < 0)
				add_buffer(e, op->outs[i], NULL, MOERT_TEMP,
					   given_result(e, op->outs[i]));
		if (is_contract(op) && attr_get_int(op, "tail", 0))
			for (Op *in = op->regions[0]->first; in; in = in->next)
				if (in->kind == OP_linear)
					add_temporary(e, in->outs[0]);
	}
}

static void number_buffers(Emit *e)
{
	const Region *body = e->layer->body;

	number_states(e);
	for (int i = 0; i < body->nargs; i++)
		add_buffer(e, body->args[i], NULL, MOERT_INPUT, 0);
	number_results(e);
	number_region(e, body);
}

static void add_weight(Emit *e, const Op *op)
{
	Weight w = {.range = -1};
	const Type *t = &op->outs[0]->type;

	if (t->level == LV_EXPERT)
		w.range = t->range;
	if (op->kind == OP_unpack) {
		w.name = attr_get_str(op, "panel", "");
		w.panel = panel_find(e->m, w.name);
	} else {
		w.name = attr_get_str(op, "name", "");
		w.param = param_find(e->m, w.name, w.range);
	}
	if (!w.panel && !w.param)
		ice("no weight %s", w.name);
	for (int i = 0; i < e->weights.n; i++)
		if (e->weights.at[i].panel == w.panel && e->weights.at[i].param == w.param)
			return;
	vec_push(e->arena, &e->weights, w);
}

static void add_if_weight(Op *op, void *ctx)
{
	if (op->kind == OP_unpack || op->kind == OP_param)
		add_weight(ctx, op);
}

void number_weights(Emit *e)
{
	for (int i = 0; fn_compiled(e->m, i); i++)
		region_walk(fn_compiled(e->m, i)->body, add_if_weight, e);
}

static Type level_named(const char *over)
{
	Type t = {.level = LV_ONCE};

	if (over[0] == 'T')
		t.level = LV_TOKEN;
	else if (over[0] == 'S')
		t.level = LV_SEQ;
	else if (over[0] == 'R') {
		t.level = LV_ROW;
		t.range = atoi(over + 1);
	}
	return t;
}

static const Op *only_op(const Op *kernel, Family family, OpKind kind)
{
	for (const Op *op = kernel->regions[0]->first; op; op = op->next)
		if (op->kind == kind || (op_info[op->kind].family == family))
			return op;
	ice("kernel %s is empty", attr_get_str(kernel, "name", "?"));
}

static int cross_op(OpKind kind)
{
	static const struct { OpKind ir; moert_cross_op op; } table[] = {
		{OP_sum, MOERT_SUM}, {OP_mean, MOERT_MEAN}, {OP_amin, MOERT_AMIN},
		{OP_amax, MOERT_AMAX}, {OP_any, MOERT_ANY}, {OP_all, MOERT_ALL},
		{OP_logsumexp, MOERT_LOGSUMEXP}, {OP_softmax, MOERT_SOFTMAX},
		{OP_cumsum, MOERT_CUMSUM}, {OP_rank, MOERT_RANK},
	};

	for (size_t i = 0; i < COUNT(table); i++)
		if (table[i].ir == kind)
			return (int)table[i].op;
	ice("the runtime has no %s over tokens", op_info[kind].name);
}

static void lower_cross(Emit *e, const Op *kernel, Step *s)
{
	const Op *op = only_op(kernel, FAM_ROW, OP_COUNT);

	s->op = cross_op(op->kind);
	s->by_sequence = strcmp(attr_get_str(op, "over", ""), "sequence") == 0;
	s->in = emit_buffer_of(e, op->args[0]);
	s->out = emit_buffer_of(e, kernel->outs[0]);
	s->over = op->args[0]->type;
}

static void lower_group(Emit *e, const Op *kernel, Step *s)
{
	const Op *op = only_op(kernel, FAM_ROUTE, OP_group);

	s->in = emit_buffer_of(e, op->args[0]);
	s->over = kernel->outs[0]->type;
}

static void lower_map(Emit *e, const Op *kernel, Step *s)
{
	s->over = level_named(attr_get_str(kernel, "over", "T"));
	if (!s->ready)
		s->map = emit_map(e, s->name, &s->over, kernel->regions[0], &s->scratch);
}

/* The functions of an equal kernel, if there was one. */
static void take_shared(Emit *e, const char *signature, Step *s)
{
	for (int i = 0; i < e->shared.n; i++) {
		const Step *known = &e->shared.at[i].step;
		if (strcmp(e->shared.at[i].signature, signature))
			continue;
		s->map = known->map;
		s->contract = known->contract;
		s->finish = known->finish;
		s->scratch = known->scratch;
		s->ready = true;
		return;
	}
}

static void lower_kernel(Emit *e, const Op *kernel)
{
	static const struct {
		const char *kind;
		moert_step_kind step;
		void (*lower)(Emit *, const Op *, Step *);
	} kinds[] = {{"map", MOERT_MAP, lower_map},
		     {"contract", MOERT_CONTRACT, emit_contract},
		     {"cross", MOERT_CROSS, lower_cross},
		     {"group", MOERT_GROUP, lower_group}};
	Step s = {.name = attr_get_str(kernel, "name", "kernel"),
		  .loss_only = attr_get_int(kernel, "loss", 0) != 0,
		  .weight = -1, .in = -1, .out = -1};
	const char *kind = attr_get_str(kernel, "kind", "");

	kernel_bases(e, kernel, &s);
	const char *signature = kernel_signature(e, kernel, &s);
	take_shared(e, signature, &s);
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0) {
			e->step = &s;
			s.kind = kinds[i].step;
			kinds[i].lower(e, kernel, &s);
			if (!s.ready)
				vec_push(e->arena, &e->shared, ((struct Shared){signature, s}));
			for (int o = 0; o < kernel->nouts; o++)
				if (kernel->outs[o]->id >= 0)
					e->bufs.at[kernel->outs[o]->id].writer = e->steps.n;
			vec_push(e->arena, &e->steps, s);
			return;
		}
	ice("no kernel kind '%s'", kind);
}

static void emit_copy(Emit *e, const Twin *c)
{
	Step s = {.name = "copy", .kind = MOERT_MAP, .over = c->from->type, .weight = -1,
		  .in = -1, .out = -1};
	const Type *t = &c->from->type;
	Ll *l = &e->l;

	e->step = &s;
	s.map = ll_function(l, "copy", l->none, (Ty[]){l->ptr, l->i64, l->i64, l->ptr}, 4, true);
	Val call = LLVMGetParam(s.map, 0);
	Loop rows = ll_for(l, LLVMGetParam(s.map, 1), LLVMGetParam(s.map, 2), 1, "row");
	Val row = t->level == LV_ONCE ? NULL : rows.i;
	Val from = emit_view_row(e, call, c->from->id, row);
	Val to = emit_view_row(e, call, c->to->id, row);
	int64_t bytes = type_elems(t) * entry_bytes(t->dtype);
	LLVMBuildMemCpy(l->b, to, 1, from, 1, ll_i64(l, bytes));
	ll_end_for(l, &rows);
	LLVMBuildRetVoid(l->b);
	vec_push(e->arena, &e->steps, s);
}

static void forget_rows(Emit *e)
{
	for (int i = 0; i < e->m->ranges.n; i++)
		e->now[i] = NULL;
}

/* A kernel finds the rows that it works on, also where others were grouped since. */
static void group_again(Emit *e, const Op *kernel, int range)
{
	const Value *rows = kernel_rows(kernel, range);

	if (!rows || e->now[range] == rows)
		return;
	for (int i = 0; i < e->grouped.n; i++)
		if (e->grouped.at[i].rows == rows) {
			Step s = e->steps.at[e->grouped.at[i].step];
			s.side = 1;
			s.to = e->grouped.at[i].step;
			vec_push(e->arena, &e->steps, s);
			e->now[range] = rows;
			return;
		}
	ice("rows that nobody grouped");
}

static void note_group(Emit *e, const Op *kernel)
{
	const Value *rows = kernel->outs[0];

	vec_push(e->arena, &e->grouped, ((Grouped){rows, e->steps.n - 1}));
	e->now[rows->type.range] = rows;
}

void lower_op(Emit *e, Op *op)
{
	if (op->kind != OP_kernel) {
		if (op->nregions)
			forget_rows(e);
		if (!lower_flow(e, op))
			ice("%s between kernels", op_info[op->kind].name);
		if (op->nregions)
			forget_rows(e);
		return;
	}
	for (const Op *in = op->regions[0]->first; in; in = in->next)
		for (int i = 0; i < in->nargs; i++)
			if (in->args[i]->type.level == LV_ROW)
				group_again(e, op, in->args[i]->type.range);
	lower_kernel(e, op);
	if (op->outs[0]->type.dtype == DT_rows)
		note_group(e, op);
}

void lower_region(Emit *e, const Region *r)
{
	number_region(e, r);
	for (Op *op = r->first; op; op = op->next)
		lower_op(e, op);
}

static void lower_fn(Emit *e)
{
	e->bufs.n = e->twins.n = e->steps.n = e->memories.n = e->inside.n = e->pieces.n = 0;
	e->queue = e->waits = e->grouped.n = 0;
	e->now = NEWN(e->arena, const Value *, (size_t)e->m->ranges.n + 1);
	clear_ids(e->layer->body);
	number_buffers(e);
	for (Op *op = e->layer->body->first; op; op = op->next) {
		int first = e->steps.n;
		lower_op(e, op);
		vec_push(e->arena, &e->pieces, ((Piece){op, first, e->steps.n}));
	}
	mark_routing_only(e, losses_of(e));
	for (int i = 0; i < e->twins.n; i++)
		emit_copy(e, &e->twins.at[i]);
}

/* The layers that a model calls have steps of their own, whose kernels are mostly shared
 * with one another, on the weights that the model's steps read. */
Val emit_layer(Emit *e)
{
	int n = e->m->calls.n;
	Val *layers = NEWN(e->arena, Val, (size_t)n + 1);

	number_weights(e);
	emit_tables(e);
	for (int i = 0; i < n; i++) {
		e->call = &e->m->calls.at[i];
		e->layer = e->call->fn;
		lower_fn(e);
		layers[i] = emit_descriptor(e, NULL, 0);
	}
	e->call = NULL;
	e->layer = e->m->fns;
	lower_fn(e);
	return emit_descriptor(e, emit_call_table(e, layers, n), n);
}
