/* SPDX-License-Identifier: Apache-2.0
 * identity: ops that give one of their operands.
 *
 *   x + 0   x - 0   x * 1   x / 1   cast to its own type   stop   select on a constant */
#include "kernel.h"

#include <string.h>

static bool is_number(const Value *v, double x)
{
	double c;

	return const_value(v, &c) && c == x;
}

static Value *pick_arith(const Op *op)
{
	Value *a = op->args[0], *b = op->args[1];

	switch (op->kind) {
	case OP_add: return is_number(b, 0) ? a : is_number(a, 0) ? b : NULL;
	case OP_mul: return is_number(b, 1) ? a : is_number(a, 1) ? b : NULL;
	case OP_sub: return is_number(b, 0) ? a : NULL;
	case OP_div: return is_number(b, 1) ? a : NULL;
	case OP_and:
	case OP_or:  return a == b ? a : NULL;
	default:     return NULL;
	}
}

static Value *pick_select(const Op *op)
{
	double c;

	if (const_value(op->args[0], &c))
		return c ? op->args[1] : op->args[2];
	return op->args[1] == op->args[2] ? op->args[1] : NULL;
}

/* A slice of everything. */
static bool is_whole(const Op *op)
{
	const Attr *step = attr_find(op, "step");

	for (int i = 0; step && i < step->n; i++)
		if (step->is[i] != 1)
			return false;
	return true;
}

/* rows of the expert 0 * x: what it gives is nothing */
static bool is_nothing(const Value *v)
{
	const Op *op = v->def;

	if (!op || op->kind != OP_collect || !op->args[0]->def)
		return false;
	const Op *rows = op->args[0]->def;
	return rows->kind == OP_mul && (is_number(rows->args[0], 0) ||
					is_number(rows->args[1], 0));
}

/* The operand that an op equals, or NULL.  Its type must be the result's, or a reader
 * would see another shape, level or rounding. */
static Value *operand_of(const Op *op)
{
	switch (op->kind) {
	case OP_add:
		if (is_nothing(op->args[1]))
			return op->args[0];
		if (is_nothing(op->args[0]))
			return op->args[1];
		return pick_arith(op);
	case OP_mul: case OP_sub: case OP_div: case OP_and: case OP_or:
		return pick_arith(op);
	case OP_select:
		return pick_select(op);
	case OP_stop:
		return attr_find(op, "given") ? NULL : op->args[0];
	case OP_slice:
		return is_whole(op) ? op->args[0] : NULL;
	case OP_cast: case OP_reshape:
		return op->args[0];
	case OP_concat:
		return op->nargs == 1 ? op->args[0] : NULL;
	default:
		return NULL;
	}
}

/* linear reads stored types as they are: a cast that only widens is none of its business.
 * Not where it would leave two types that no dot takes together. */
static bool strip_widening(Op *op)
{
	bool changed = false;

	for (int i = 1; i >= 0; i--) {
		const Op *cast = op->args[i]->def;
		if (!cast || cast->kind != OP_cast || cast->outs[0]->type.dtype != DT_f32)
			continue;
		Dtype stored = cast->args[0]->type.dtype;
		Dtype other = op->args[1 - i]->type.dtype;
		bool alike = stored == other || (i == 1 && other == DT_f32);
		if (dtype_info[stored].computed || !alike)
			continue;
		op->args[i] = cast->args[0];
		changed = true;
	}
	return changed;
}

/* [1] against [n] is a scalar of its row: as one it fits an epilogue. */
static bool strip_axis_of_one(Op *op)
{
	bool changed = false;

	if (!(op_info[op->kind].flags & EW))
		return false;
	const Type *out = &op->outs[0]->type;
	if (out->rank != 1 || out->dim[0] == 1)
		return false;
	for (int i = 0; i < op->nargs; i++) {
		Type t = op->args[i]->type;
		if (t.rank != 1 || t.dim[0] != 1)
			continue;
		t.rank = 0;
		t.dim[0] = 0;
		op->args[i] = put1(op, OP_reshape, op->args[i], &t);
		changed = true;
	}
	return changed;
}

/* Of two reshapes the last one counts. */
static bool skip_reshape(Op *op)
{
	const Op *inner = op->args[0]->def;

	if (!inner || inner->kind != OP_reshape)
		return false;
	op->args[0] = inner->args[0];
	return true;
}

static bool use_in_region(Fn *fn, Region *r)
{
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		for (int i = 0; i < op->nregions; i++)
			changed |= use_in_region(fn, op->regions[i]);
		if (op->kind == OP_linear)
			changed |= strip_widening(op);
		if (op->kind == OP_reshape)
			changed |= skip_reshape(op);
		changed |= strip_axis_of_one(op);
		Value *v = operand_of(op);
		if (!v || !type_equal(&v->type, &op->outs[0]->type))
			continue;
		value_replace(fn, op->outs[0], v);
		op_unlink(op);
		changed = true;
	}
	return changed;
}

bool use_identities(Fn *fn)
{
	return use_in_region(fn, fn->body);
}
