/* SPDX-License-Identifier: Apache-2.0
 * flow: control ops become steps between those of kernels (runtime/layer.h says what each
 * does), and rows are moved between the tokens around a region and those inside.
 *
 * What a region reads of the tokens around it is first moved to rows of its own; carried
 * values, states and results have a buffer each. */
#include "emit.h"
#include <string.h>

static int put(Emit *e, Step s)
{
	s.weight = -1;
	vec_push(e->arena, &e->steps, s);
	return e->steps.n - 1;
}

static void close_step(Emit *e, int at)
{
	e->steps.at[at].to = e->steps.n;
}

static const Type tokens = {.level = LV_TOKEN}, sequences = {.level = LV_SEQ};

/* Rows of one value to another, for each row of `over`. */
static void move(Emit *e, Type over, const Value *from, const Value *to, int side)
{
	put(e, (Step){.name = "move", .kind = MOERT_MOVE, .over = over, .side = side,
		      .in = emit_buffer_of(e, from), .out = emit_buffer_of(e, to)});
}

/* A token value that stands around a region. */
static bool is_around(const Value *v, const Region *r)
{
	return v->type.level == LV_TOKEN && !value_inside(v, r);
}

/* Another place for what a value is; r: the region that it belongs to, or NULL. */
static Value *another(Emit *e, const Value *v, Region *r)
{
	Value *copy = NEW(e->arena, Value);

	*copy = (Value){.type = v->type, .name = v->name, .owner = r};
	add_temporary(e, copy);
	return copy;
}

static Value *inside_of(Emit *e, Region *r, Value *v)
{
	for (int i = 0; i < e->inside.n; i++)
		if (e->inside.at[i].region == r && e->inside.at[i].around == v)
			return e->inside.at[i].value;
	Value *copy = another(e, v, r);
	vec_push(e->arena, &e->inside, ((Inside){r, v, copy}));
	return copy;
}

static void read_inside(Emit *e, Region *r, Op *op)
{
	for (int i = 0; i < op->nargs; i++)
		if (is_around(op->args[i], r))
			op->args[i] = inside_of(e, r, op->args[i]);
	for (int i = 0; i < op->nregions; i++)
		for (Op *at = op->regions[i]->first; at; at = at->next)
			read_inside(e, r, at);
}

/* The steps of a region whose tokens are some of those around it.  What it only yields goes
 * from around it to around it. */
static void lower_inside(Emit *e, Region *r)
{
	int from = e->inside.n;

	for (Op *op = r->first; op->next; op = op->next)
		read_inside(e, r, op);
	for (int i = from; i < e->inside.n; i++)
		move(e, tokens, e->inside.at[i].around, e->inside.at[i].value,
		     MOERT_FROM_OUTSIDE);
	lower_region(e, r);
}

static void yield_outside(Emit *e, const Region *r, int i, const Value *out)
{
	const Value *y = r->last->args[i];

	move(e, tokens, y, out,
	     MOERT_TO_OUTSIDE | (is_around(y, r) ? MOERT_FROM_OUTSIDE : 0));
}

static void lower_where(Emit *e, Op *op)
{
	for (int side = 0; side < 2; side++) {
		Region *r = op->regions[side];
		int at = put(e, (Step){.name = "where", .kind = MOERT_WHERE, .side = side,
				       .in = emit_buffer_of(e, op->args[0])});
		lower_inside(e, r);
		for (int i = 0; i < op->nouts; i++)
			yield_outside(e, r, i, op->outs[i]);
		put(e, (Step){.name = "leave", .kind = MOERT_LEAVE});
		close_step(e, at);
	}
}

static void lower_if(Emit *e, Op *op)
{
	for (int side = 0; side < 2; side++) {
		const Region *r = op->regions[side];
		int at = put(e, (Step){.name = "if", .kind = MOERT_IF, .side = side,
				       .in = emit_buffer_of(e, op->args[0])});
		lower_region(e, r);
		for (int i = 0; i < op->nouts; i++)
			move(e, op->outs[i]->type, r->last->args[i], op->outs[i], 0);
		close_step(e, at);
	}
}

/* What is carried on is another carried value: it must not be overwritten before. */
static const Value *set_aside(Emit *e, const Region *r, const Value *y)
{
	if (y->owner != r)
		return y;
	const Value *copy = another(e, y, NULL);
	move(e, y->type, y, copy, 0);
	return copy;
}

static void lower_repeat(Emit *e, Op *op)
{
	Region *r = op->regions[0];
	const Value **next = NEWN(e->arena, const Value *, (size_t)op->nouts + 1);

	for (int i = 0; i < op->nouts; i++) {
		r->args[i]->id = op->outs[i]->id;
		move(e, op->outs[i]->type, op->args[i], op->outs[i], 0);
	}
	int at = put(e, (Step){.name = "repeat", .kind = MOERT_REPEAT,
			       .most = attr_get_int(op, "max", 1)});
	lower_region(e, r);
	for (int i = 0; i < op->nouts; i++)
		next[i] = set_aside(e, r, r->last->args[i]);
	for (int i = 0; i < op->nouts; i++)
		move(e, op->outs[i]->type, next[i], op->outs[i], 0);
	put(e, (Step){.name = "until", .kind = MOERT_UNTIL, .to = at,
		      .in = emit_buffer_of(e, r->last->args[op->nouts])});
}

/* ---- scans ---- */

static bool is_map_over(const Op *op, const char *over)
{
	return op->kind == OP_kernel && strcmp(attr_get_str(op, "kind", ""), "map") == 0 &&
	       strcmp(attr_get_str(op, "over", ""), over) == 0;
}

static bool is_all_maps(const Region *r)
{
	for (const Op *op = r->first; op->next; op = op->next)
		if (!is_map_over(op, "T"))
			return false;
	return true;
}

static void sees_tokens(Op *op, void *ctx)
{
	const Attr *over = attr_find(op, "over");
	bool *sees = ctx;

	if (op->kind == OP_tokens ||
	    (op_info[op->kind].flags & OVER && over && over->kind == AT_WORD))
		*sees = true;
}

/* What is there once a call or sequence does not change from token to token. */
static void lower_before(Emit *e, Region *r)
{
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		if (is_map_over(op, "once") || is_map_over(op, "S")) {
			lower_op(e, op);
			op_unlink(op);
		}
	}
}

/* Maps alone run token after token by themselves, without a phase for each. */
static void lower_scan(Emit *e, Op *op)
{
	Region *r = op->regions[0];
	bool alone = false;

	region_walk(r, sees_tokens, &alone);
	number_region(e, r);
	if (!alone)
		lower_before(e, r);
	bool along = !alone && is_all_maps(r);
	for (int i = 0; i < op->nargs; i++) {
		add_temporary(e, r->args[i]);
		move(e, sequences, op->args[i], op->outs[i], 0);
	}
	int at = put(e, (Step){.name = along ? "along" : "scan", .side = alone,
			       .kind = along ? MOERT_ALONG : MOERT_SCAN});
	for (int i = 0; i < op->nargs; i++)
		move(e, tokens, op->outs[i], r->args[i], 0);
	if (along)
		lower_region(e, r);
	else
		lower_inside(e, r);
	for (int i = 0; i < op->nouts; i++)
		if (along)
			move(e, tokens, r->last->args[i], op->outs[i], 0);
		else
			yield_outside(e, r, i, op->outs[i]);
	if (!along)
		put(e, (Step){.name = "again", .kind = MOERT_AGAIN, .to = at});
	close_step(e, at);
}

/* ---- states ---- */

static Memory *memory_of(Emit *e, const Op *op)
{
	const char *name = attr_get_str(op, "name", "");
	const State *st = state_find(e->m, name);

	for (int i = 0; i < e->memories.n; i++)
		if (e->memories.at[i].state == st)
			return &e->memories.at[i];
	Memory m = {st, NEW(e->arena, Value), NEW(e->arena, Value)};
	*m.now = *m.next = (Value){.type = st->type, .name = st->name};
	add_temporary(e, m.now);
	add_temporary(e, m.next);
	e->bufs.at[m.now->id].role = MOERT_STATE;
	e->bufs.at[m.now->id].next = m.next->id;
	e->bufs.at[m.now->id].init = st->init;
	vec_push(e->arena, &e->memories, m);
	return &e->memories.at[e->memories.n - 1];
}

static void number_state(Op *op, void *ctx)
{
	if (op->kind == OP_state)
		op->outs[0]->id = memory_of(ctx, op)->now->id;
	else if (op->kind == OP_next)
		memory_of(ctx, op);
}

void number_states(Emit *e)
{
	region_walk(e->layer->body, number_state, e);
}

static void lower_next(Emit *e, Op *op)
{
	const Value *next = memory_of(e, op)->next;

	move(e, next->type, op->args[0], next, 0);
}

static void lower_defer(Emit *e, Op *op)
{
	e->queue = attr_get_int(op, "rows", 0);
	e->waits = emit_buffer_of(e, op->args[0]);
}

bool lower_flow(Emit *e, Op *op)
{
	static const struct { OpKind kind; void (*lower)(Emit *, Op *); } ops[] = {
		{OP_where, lower_where}, {OP_if, lower_if}, {OP_repeat, lower_repeat},
		{OP_scan, lower_scan}, {OP_next, lower_next}, {OP_defer, lower_defer},
	};

	for (size_t i = 0; i < COUNT(ops); i++)
		if (ops[i].kind == op->kind) {
			ops[i].lower(e, op);
			return true;
		}
	return op->kind == OP_state || op->kind == OP_yield || op->kind == OP_return;
}
