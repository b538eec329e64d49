/* SPDX-License-Identifier: Apache-2.0
 * dead: drops ops whose results nobody reads.
 *
 * One backward walk is enough: readers stand behind what they read; Value.id counts. */
#include "kernel.h"

static void count_reads(const Op *op, int by)
{
	for (int i = 0; i < op->nargs; i++)
		op->args[i]->id += by;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			count_reads(at, by);
}

static bool has_effect(const Op *op)
{
	if (op->kind == OP_next || op->kind == OP_defer)
		return true;
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at; at = at->next)
			if (has_effect(at))
				return true;
	return false;
}

static bool is_dead(const Op *op)
{
	for (int i = 0; i < op->nouts; i++)
		if (op->outs[i]->id)
			return false;
	if (op->kind == OP_call)
		return false;
	return op->nouts > 0 && !has_effect(op);
}

static bool sweep(Region *r)
{
	bool changed = false;

	for (Op *op = r->last, *prev; op; op = prev) {
		prev = op->prev;
		if (is_dead(op)) {
			count_reads(op, -1);
			op_unlink(op);
			changed = true;
			continue;
		}
		for (int i = 0; i < op->nregions; i++)
			changed |= sweep(op->regions[i]);
	}
	return changed;
}

bool drop_dead(Fn *fn)
{
	Region *r = fn->body;

	clear_numbers(fn);
	for (Op *op = r->first; op; op = op->next)
		count_reads(op, 1);
	return sweep(r);
}
