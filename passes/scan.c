/* SPDX-License-Identifier: Apache-2.0
 * scan: what runs token after token, because the state of a sequence passes through it:
 *
 *   %s = state {name="last"} : f32[T, 8]
 *   %d = sub %x, %s
 *   %n = mul %d, %c
 *   next %n {name="last"}
 *
 *   %s = state {name="last"} : f32[S, 8]
 *   %f, %d = scan %s {
 *   (%a: f32[T, 8]):
 *     %d.1 = sub %x, %a
 *     %n = mul %d.1, %c
 *     yield %n, %d.1                  next states, then what others read
 *   }
 *   next %f {name="last"}
 *
 * Inside goes only what both depends on a state and leads to a next one: the rest is
 * computed for all tokens at once, before or behind. */
#include "kernel.h"

#include <string.h>

enum { DEPENDS = 1, LEADS = 2 };        /* bits of Value.id */

typedef struct {
	Fn     *fn;
	Module *m;
	Op     *scan;
	Region *body;
	int     n;                      /* states that have a next */
	Op    **nexts;
	Value **args;                   /* of the scan's region */
	Vec(Value *) outs;              /* values of the region that are read outside */
} Scan;

static const State *state_of(const Module *m, const Op *op)
{
	const State *s = state_find(m, attr_get_str(op, "name", ""));

	return s && s->scope == PER_SEQUENCE ? s : NULL;
}

static void find_nexts(Scan *s)
{
	Vec(Op *) found = {0};

	for (Op *op = s->fn->body->first; op; op = op->next)
		if (op->kind == OP_next && state_of(s->m, op))
			vec_push(s->m->arena, &found, op);
	s->nexts = found.at;
	s->n = found.n;
}

/* Number of the state that a `state` op reads, or -1. */
static int state_number(const Scan *s, const Op *op)
{
	for (int i = 0; op->kind == OP_state && i < s->n; i++)
		if (strcmp(attr_get_str(op, "name", ""),
			   attr_get_str(s->nexts[i], "name", "")) == 0)
			return i;
	return -1;
}

static bool has_bit(const Op *op, int bit)
{
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->id & bit)
			return true;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			if (has_bit(at, bit))
				return true;
	return false;
}

static bool results_have(const Op *op, int bit)
{
	for (int i = 0; i < op->nouts; i++)
		if (op->outs[i]->id & bit)
			return true;
	return false;
}

static bool goes_inside(const Scan *s, const Op *op)
{
	return state_number(s, op) < 0 && results_have(op, LEADS) &&
	       results_have(op, DEPENDS);
}

/* The rows of one token are known inside alone: what makes them goes there as well. */
static void take_rows(Op *op)
{
	for (int i = 0; i < op->nargs; i++) {
		Value *v = op->args[i];
		if (v->def && (v->type.level == LV_ROW || v->type.dtype == DT_rows))
			v->id |= DEPENDS | LEADS;
	}
	for (int i = 0; i < op->nregions; i++)
		for (Op *at = op->regions[i]->first; at; at = at->next)
			take_rows(at);
}

static void mark(Scan *s)
{
	Region *r = s->fn->body;

	clear_numbers(s->fn);
	for (Op *op = r->first; op; op = op->next)
		if (state_number(s, op) >= 0 || has_bit(op, DEPENDS))
			for (int i = 0; i < op->nouts; i++)
				op->outs[i]->id |= DEPENDS;
	for (int i = 0; i < s->n; i++)
		s->nexts[i]->args[0]->id |= LEADS;
	for (Op *op = r->last; op; op = op->prev)
		if (results_have(op, LEADS) && results_have(op, DEPENDS))
			mark_operands(op, LEADS);
	for (Op *op = r->last; op; op = op->prev)
		if (goes_inside(s, op))
			take_rows(op);
}

/* Reads of a state inside the regions of others stand before everything: they read what
 * was before the call, wherever they stand. */
typedef struct {
	Scan *s;
	Op   *front;
} Hoist;

static void hoist_read(Op *op, void *ctx)
{
	Hoist *h = ctx;

	if (state_number(h->s, op) < 0 || op == h->front)
		return;
	op_unlink(op);
	op_insert_before(h->front, op);
}

/* A read a token, where it was a read a sequence: types follow. */
static void retype(Op *op, void *ctx)
{
	Module *m = ctx;
	const char *why;

	if (op->kind == OP_scan || op->kind == OP_state)
		return;
	if (!infer_op(m, op, &why))
		ice("%s", why);
	for (int i = 0; i < op->nargs && op_info[op->kind].family != FAM_CTRL; i++)
		if (op->args[i]->type.level == LV_TOKEN && op->nouts &&
		    op->outs[0]->type.level == LV_SEQ && !attr_find(op, "over"))
			op->outs[0]->type.level = LV_TOKEN;
}

static void enter(Scan *s)
{
	Op *last = s->nexts[0];

	for (Op *op = s->fn->body->first; op; op = op->next)
		if (goes_inside(s, op))
			last = op;
	Value **states = NEWN(s->m->arena, Value *, (size_t)s->n);
	s->scan = op_new(s->m, OP_scan, s->n, states, 0);
	s->scan->loc = s->nexts[0]->loc;
	s->body = op_add_region(s->m, s->fn, s->scan);
	op_insert_before(last, s->scan);
	for (Op *op = s->fn->body->first, *next; op; op = next) {
		next = op->next;
		if (goes_inside(s, op)) {
			op_unlink(op);
			op_append(s->body, op);
		}
	}
}

static void bind_states(Scan *s)
{
	s->args = NEWN(s->m->arena, Value *, (size_t)s->n);
	for (int i = 0; i < s->n; i++) {
		const State *state = state_of(s->m, s->nexts[i]);
		Type type = state->type;
		type.level = LV_TOKEN;
		s->args[i] = region_arg(s->m, s->body, type, state->name);
	}
	for (Op *op = s->fn->body->first, *next; op; op = next) {
		int i = state_number(s, op);
		next = op->next;
		if (i < 0)
			continue;
		value_replace(s->fn, op->outs[0], s->args[i]);
		op_unlink(op);
	}
	for (int i = 0; i < s->n; i++) {
		const State *state = state_of(s->m, s->nexts[i]);
		Type type = state->type;
		type.level = LV_SEQ;
		Op *read = put_op(s->scan, OP_state, 0, NULL, &type);
		read->outs[0]->name = state->name;
		attr_str(s->m, read, "name", state->name);
		s->scan->args[i] = read->outs[0];
	}
}

static void collect_reads(const Scan *s, const Op *op, Value *v, bool *read)
{
	if (op == s->scan || (op->kind == OP_next && state_of(s->m, op)))
		return;
	for (int i = 0; i < op->nargs; i++)
		*read |= op->args[i] == v;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			collect_reads(s, at, v, read);
}

static void output_if_read(Scan *s, Value *v)
{
	bool read = false;

	for (const Op *op = s->fn->body->first; op; op = op->next)
		collect_reads(s, op, v, &read);
	if (read)
		vec_push(s->m->arena, &s->outs, v);
}

static void replace_outside(const Scan *s, Op *op, Value *old, Value *new)
{
	if (op == s->scan)
		return;
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i] == old)
			op->args[i] = new;
	for (int i = 0; i < op->nregions; i++)
		for (Op *at = op->regions[i]->first; at; at = at->next)
			replace_outside(s, at, old, new);
}

static Value *result_value(Scan *s, int index, Type type, const char *name)
{
	Value *v = NEW(s->m->arena, Value);

	*v = (Value){.type = type, .def = s->scan, .index = index, .name = name};
	return v;
}

static void close_region(Scan *s)
{
	int n = s->n + s->outs.n;
	Value **given = NEWN(s->m->arena, Value *, (size_t)n);

	s->scan->outs = NEWN(s->m->arena, Value *, (size_t)n);
	s->scan->nouts = n;
	for (int i = 0; i < n; i++) {
		Value *v = i < s->n ? s->nexts[i]->args[0] : s->outs.at[i - s->n];
		Type type = i < s->n ? s->args[i]->type : v->type;
		if (i < s->n)
			type.level = LV_SEQ;
		given[i] = v;
		s->scan->outs[i] = result_value(s, i, type, v->name);
	}
	op_append(s->body, op_new(s->m, OP_yield, n, given, 0));
	for (int i = 0; i < s->n; i++)
		s->nexts[i]->args[0] = s->scan->outs[i];
	for (int i = s->n; i < n; i++)
		for (Op *op = s->fn->body->first; op; op = op->next)
			replace_outside(s, op, given[i], s->scan->outs[i]);
}

bool form_scans(Fn *fn)
{
	Scan s = {.fn = fn, .m = fn->module};

	find_nexts(&s);
	if (s.n == 0)
		return false;
	for (int i = 0; i < s.n; i++)
		if (s.nexts[i]->args[0]->def && s.nexts[i]->args[0]->def->kind == OP_scan)
			return false;           /* done before */
	region_walk(fn->body, hoist_read, &(Hoist){&s, fn->body->first});
	mark(&s);
	enter(&s);
	bind_states(&s);
	region_walk(s.body, retype, fn->module);
	for (int i = 0; i < s.n; i++)
		output_if_read(&s, s.args[i]);
	for (Op *op = s.body->first; op; op = op->next)
		for (int i = 0; i < op->nouts; i++)
			output_if_read(&s, op->outs[i]);
	close_region(&s);
	clear_numbers(fn);
	region_sort(fn->module->arena, fn->body);
	region_walk(fn->body, retype, fn->module);
	return true;
}
