/* SPDX-License-Identifier: Apache-2.0
 * fold: ops on constants become constants, computed by the reference interpreter. */
#include "kernel.h"
#include "../ir/eval.h"

enum { MAX_ENTRIES = 4096 };    /* of an operand or result: constants stand in the text */

static bool small(const Type *t)
{
	int64_t n;

	return t->level == LV_ONCE && shape_elems(t->dim, t->rank, &n) &&
	       n <= MAX_ENTRIES;
}

static double entry(const Attr *a, int64_t i)
{
	switch (a->kind) {
	case AT_INT:    return (double)a->i;
	case AT_FLOAT:  return a->f;
	case AT_INTS:   return (double)a->is[a->n == 1 ? 0 : i];
	case AT_FLOATS: return a->fs[a->n == 1 ? 0 : i];
	default:        ice("a const of words");
	}
}

/* The entries of a constant or iota; false: not one, or too large. */
static bool tensor_of(Arena *arena, const Value *v, Tensor *t)
{
	const Op *op = v->def;

	if (!op || (op->kind != OP_const && op->kind != OP_iota) || !small(&v->type))
		return false;
	const Attr *a = attr_find(op, "value");
	if (op->kind == OP_const && !a)
		return false;
	*t = (Tensor){.type = v->type, .rows = 1, .n = type_elems(&v->type)};
	t->v = NEWN(arena, double, (size_t)t->n);
	for (int64_t i = 0; i < t->n; i++)
		t->v[i] = a ? entry(a, i) : (double)i;
	return true;
}

bool const_value(const Value *v, double *x)
{
	if (!v->def || v->def->kind != OP_const)
		return false;
	const Attr *a = attr_find(v->def, "value");
	if (!a)
		return false;
	int64_t n = a->kind == AT_FLOATS || a->kind == AT_INTS ? a->n : 1;
	for (int64_t i = 1; i < n; i++)
		if (entry(a, i) != entry(a, 0))
			return false;
	*x = n ? entry(a, 0) : 0;
	return n > 0;
}

static bool fold(Fn *fn, Op *op, Arena *scratch)
{
	Tensor *args = NEWN(scratch, Tensor, (size_t)op->nargs), out;
	const char *why;

	if (!(op_info[op->kind].flags & PURE) || op->nargs == 0 || op->nouts != 1 ||
	    op->nregions || !small(&op->outs[0]->type))
		return false;
	for (int i = 0; i < op->nargs; i++)
		if (!tensor_of(scratch, op->args[i], &args[i]))
			return false;
	if (!eval_op(scratch, fn->module, op, args, &out, &why))
		return false;
	Value *result = put_const(op, &op->outs[0]->type, out.v, (int)out.n);
	result->name = op->outs[0]->name;
	value_replace(fn, op->outs[0], result);
	op_unlink(op);
	return true;
}

static bool fold_region(Fn *fn, Region *r)
{
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		for (int i = 0; i < op->nregions; i++)
			changed |= fold_region(fn, op->regions[i]);
		Arena *scratch = arena_new();
		changed |= fold(fn, op, scratch);
		arena_free(scratch);
	}
	return changed;
}

bool fold_constants(Fn *fn)
{
	return fold_region(fn, fn->body);
}
