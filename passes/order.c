/* SPDX-License-Identifier: Apache-2.0
 * order: a region's ops as a graph of who reads whom. */
#include "kernel.h"

bool op_reads(const Op *op, const Op *def)
{
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->def == def)
			return true;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			if (op_reads(at, def))
				return true;
	return false;
}

/* Values reached from `from` carry the number 1 while path_between runs. */
static bool reads_reached(const Op *op, const Op *except)
{
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->id == 1 && op->args[i]->def != except)
			return true;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			if (reads_reached(at, except))
				return true;
	return false;
}

static void number_results(Op *op, int id)
{
	for (int i = 0; i < op->nouts; i++)
		op->outs[i]->id = id;
}

static void clear_number(Op *op, void *ctx)
{
	number_results(op, 0);
	for (int i = 0; i < op->nregions; i++)
		for (int j = 0; j < op->regions[i]->nargs; j++)
			op->regions[i]->args[j]->id = 0;
}

void clear_numbers(Fn *fn)
{
	for (int i = 0; i < fn->body->nargs; i++)
		fn->body->args[i]->id = 0;
	region_walk(fn->body, clear_number, NULL);
}

static void set_operands(const Op *op, int bit, int to)
{
	for (int i = 0; i < op->nargs; i++)
		op->args[i]->id = (op->args[i]->id & ~bit) | to;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			set_operands(at, bit, to);
}

void mark_operands(const Op *op, int bit)
{
	set_operands(op, bit, bit);
}

void unmark_operands(const Op *op, int bit)
{
	set_operands(op, bit, 0);
}

bool path_between(Op *from, const Op *to)
{
	number_results(from, 1);
	for (Op *op = from->next; op != to; op = op->next) {
		if (!op)
			ice("path_between wants its ops in order");
		if (reads_reached(op, NULL))
			number_results(op, 1);
	}
	bool found = reads_reached(to, from);
	for (Op *op = from; op != to; op = op->next)
		number_results(op, 0);
	return found;
}

/* Results that are not placed yet carry the number 2. */
typedef struct {
	Arena  *arena;
	Region *region;
	Vec(Op *) order;
} Sort;

static void place(Sort *s, Op *op);

static void place_operands(Sort *s, const Op *op)
{
	for (int i = 0; i < op->nargs; i++) {
		Op *def = op->args[i]->def;
		while (def && def->in != s->region)
			def = def->in ? def->in->op : NULL;
		if (def && def->nouts && def->outs[0]->id == 2)
			place(s, def);
	}
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			place_operands(s, at);
}

static void place(Sort *s, Op *op)
{
	number_results(op, 1);
	place_operands(s, op);
	vec_push(s->arena, &s->order, op);
}

void range_sort(Arena *arena, Op *first, Op *last)
{
	Region *r = first->in;
	Op *before = first->prev, *behind = last->next;
	Sort s = {.arena = arena, .region = r};

	for (Op *op = first; op != behind; op = op->next)
		number_results(op, 2);
	for (Op *op = first; op != behind; op = op->next)
		if (op->nouts == 0 || op->outs[0]->id == 2)
			place(&s, op);
	for (int i = 0; i < s.order.n; i++) {
		Op *op = s.order.at[i], *prev = i ? s.order.at[i - 1] : before;
		number_results(op, 0);
		op->prev = prev;
		*(prev ? &prev->next : &r->first) = op;
		op->next = behind;
	}
	*(behind ? &behind->prev : &r->last) = s.order.at[s.order.n - 1];
}

void region_sort(Arena *arena, Region *r)
{
	if (r->first)
		range_sort(arena, r->first, r->last);
}
