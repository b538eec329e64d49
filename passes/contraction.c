/* SPDX-License-Identifier: Apache-2.0
 * contraction: recognises what a `matmul` is for.
 *
 *   matmul %W, %x                      linear %x, %W             W: weights [n, k]
 *   matmul %x, %W                      linear %x, transpose %W   W: weights [k, n]
 *   matmul (gather %W, %i), %x         gather (linear %x, %W), %i        unless i is of few
 *   matmul %w, collect %rows, %g       combine %rows, %w, %g
 *   matmul %w, add %a, %b              the sum of both, where both are collects
 *   sum (collect %rows, %g) {over=0}   combine %rows, 1, %g
 *   cast (dispatch %v, %g)             dispatch (cast %v), %g    a token, not a pick */
#include "kernel.h"

enum { NOT, CONSTANT, WEIGHT };         /* Value.id: what a value is made of */

static void mark(Op *op, void *ctx)
{
	int id = CONSTANT;

	if (!(op_info[op->kind].flags & PURE) || op->kind == OP_tokens ||
	    op->kind == OP_step || op->kind == OP_position)
		id = NOT;
	if (op->kind == OP_param)
		id = WEIGHT;
	for (int i = 0; i < op->nargs && id != NOT; i++)
		id = op->args[i]->id == NOT ? NOT : MAX(id, op->args[i]->id);
	for (int i = 0; i < op->nouts; i++)
		op->outs[i]->id = id;
}

static void replace(Fn *fn, Op *op, Value *v)
{
	v->name = op->outs[0]->name;
	value_replace(fn, op->outs[0], v);
	op_unlink(op);
}

static bool is_matrix(const Value *v)
{
	return v->id == WEIGHT && v->type.rank == 2;
}

static bool is_vector(const Value *v)
{
	return v->id == NOT && v->type.rank == 1 && v->type.level >= LV_SEQ &&
	       v->type.dtype != DT_f64;
}

static bool to_linear(Fn *fn, Op *op)
{
	Value *a = op->args[0], *b = op->args[1];

	if (is_matrix(a) && is_vector(b)) {
		replace(fn, op, put2(op, OP_linear, b, a, &op->outs[0]->type));
		return true;
	}
	if (is_vector(a) && is_matrix(b)) {
		Value *t = put1(op, OP_transpose, b, NULL);
		replace(fn, op, put2(op, OP_linear, a, t, &op->outs[0]->type));
		return true;
	}
	return false;
}

/* Rows that are computed for every one that is picked: what a row by itself costs, which is
 * fetched once for each token, is as much as so many in a matrix. */
enum { MOST_ROWS_A_PICK = 32 };

/* Each token's own rows of a matrix: of all of them, computed for all tokens at once. */
static bool pick_behind(Fn *fn, Op *op)
{
	const Op *gather = op->args[0]->def;
	Value *x = op->args[1], *w = gather ? gather->args[0] : NULL;

	if (!gather || gather->kind != OP_gather || w->id != WEIGHT || !is_vector(x) ||
	    gather->args[1]->id != NOT || w->type.level != LV_ONCE)
		return false;
	int64_t k = w->type.dim[w->type.rank - 1], n = type_elems(&w->type) / k;
	if (n / MOST_ROWS_A_PICK > type_elems(&op->outs[0]->type))
		return false;
	Type matrix = type_of(w->type.dtype, LV_ONCE, 0, 2, (int64_t[]){n, k});
	Value *y = put2(op, OP_linear, x, put1(op, OP_reshape, w, &matrix), NULL);
	Type rows = w->type;
	rows.rank--;
	rows.dtype = y->type.dtype;
	rows.level = y->type.level;
	y = put1(op, OP_reshape, y, &rows);
	replace(fn, op, put2(op, OP_gather, y, gather->args[1], &op->outs[0]->type));
	return true;
}

/* collects, added */
static bool is_collected(const Value *v)
{
	const Op *op = v->def;

	if (!op)
		return false;
	if (op->kind == OP_stop)
		return is_collected(op->args[0]);
	if (op->kind == OP_add)
		return is_collected(op->args[0]) && is_collected(op->args[1]);
	return op->kind == OP_collect && op->outs[0]->type.rank == 2;
}

static Value *combined(Op *at, Value *weight, const Value *v)
{
	const Op *op = v->def;

	if (op->kind == OP_stop)
		return combined(at, weight, op->args[0]);
	if (op->kind == OP_add) {
		Value *a = combined(at, weight, op->args[0]);
		return put2(at, OP_add, a, combined(at, weight, op->args[1]), NULL);
	}
	Value *args[] = {op->args[0], weight, op->args[1]};
	return put_op(at, OP_combine, 3, args, &at->outs[0]->type)->outs[0];
}

static bool to_combine(Fn *fn, Op *op)
{
	Value *w = op->args[0];

	if (w->type.level > LV_TOKEN || w->type.rank != 1 || !is_collected(op->args[1]))
		return false;
	replace(fn, op, combined(op, per_token(op, w), op->args[1]));
	return true;
}

static bool sum_to_combine(Fn *fn, Op *op)
{
	const Value *x = op->args[0];
	const Attr *over = attr_find(op, "over");
	Type ones = type_of(DT_f32, LV_ONCE, 0, 1, x->type.dim);

	if (!over || over->kind != AT_INT || (over->i != 0 && over->i != -2) ||
	    !is_collected(x))
		return false;
	Value *one = put_const(op, &ones, &(double){1}, 1);
	replace(fn, op, combined(op, per_token(op, one), x));
	return true;
}

static bool cast_before_dispatch(Fn *fn, Op *op)
{
	const Op *dispatch = op->args[0]->def;

	if (!dispatch || dispatch->kind != OP_dispatch)
		return false;
	Type type = dispatch->args[0]->type;
	type.dtype = op->outs[0]->type.dtype;
	type.axis = op->outs[0]->type.axis;
	Value *v = put1(op, OP_cast, dispatch->args[0], &type);
	Op *moved = put_op(op, OP_dispatch, 2, (Value *[]){v, dispatch->args[1]},
			   &op->outs[0]->type);
	if (attr_find(dispatch, "slot"))
		attr_int(fn->module, moved, "slot", attr_get_int(dispatch, "slot", 1));
	replace(fn, op, moved->outs[0]);
	return true;
}

static bool form_in_region(Fn *fn, Region *r)
{
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		for (int i = 0; i < op->nregions; i++)
			changed |= form_in_region(fn, op->regions[i]);
		if (op->kind == OP_matmul)
			changed |= to_linear(fn, op) || to_combine(fn, op) || pick_behind(fn, op);
		else if (op->kind == OP_sum)
			changed |= sum_to_combine(fn, op);
		else if (op->kind == OP_cast)
			changed |= cast_before_dispatch(fn, op);
	}
	return changed;
}

bool form_contractions(Fn *fn)
{
	clear_numbers(fn);
	region_walk(fn->body, mark, NULL);
	return form_in_region(fn, fn->body);
}
