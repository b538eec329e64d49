/* SPDX-License-Identifier: Apache-2.0
 * elab_op: operators: constants fold, all else becomes an op. */
#include "elab.h"

#include <string.h>

/* A name bound to choices [k] of an axis of n: what turns n values into k. */
static const char *choice_between(Elab *e, int64_t k, int64_t n)
{
	for (const Scope *s = e->frame->scope; s; s = s->up)
		for (const Binding *b = s->first; b; b = b->next) {
			if (b->val.kind != V_IR)
				continue;
			const Type *t = &b->val.v->type;
			if (t->dtype == DT_index && t->axis == n && t->rank == 1 &&
			    t->dim[0] == k)
				return b->name;
		}
	return NULL;
}

static int bound_line(Elab *e, const Node *n)
{
	Binding *b = n->kind == N_NAME ? scope_find(e->frame->scope, NULL, n->s) : NULL;

	return b ? b->loc.line : 0;
}

static const char *picks_fix(Elab *e, const char *pick)
{
	return arena_printf(e->a,
			    "one is over picks, the other over experts: `v[%s]` takes "
			    "those picked of a `v` over experts",
			    pick);
}

/* [n] beside [n, m] is meant as a column; what else is meant nobody knows. */
static const char *column_fix(Elab *e, const Type *a, const Type *b)
{
	const Type *v = a->rank < b->rank ? a : b, *m = a->rank < b->rank ? b : a;

	if (v->rank == 1 && m->rank == 2 && v->dim[0] == m->dim[0])
		return "`column(v)` goes beside the rows of a matrix";
	return a->rank == 1 && b->rank == 1
		   ? arena_printf(e->a,
				  "lengths fit if they are equal, or one of them is 1: "
				  "a slice `v[0:%jd]`, `sum(v)` or `concat`",
				  (intmax_t)MIN(a->dim[0], b->dim[0]))
		   : "they are aligned at the last axis: each pair is equal, or one is 1";
}

/* [k] beside [n]: the usual mistake is to forget that one of them is over the picks. */
static const char *shapes_fix(Elab *e, const Type *a, const Type *b, const Node *at)
{
	if (a->rank != 1 || b->rank != 1 || at->kind != N_BINARY)
		return column_fix(e, a, b);
	if (at->op == O_GT || at->op == O_GE) {         /* their operands are swapped */
		const Type *t = a;
		a = b;
		b = t;
	}
	bool swap = a->dim[0] > b->dim[0];
	const Node *few = at->kids[swap], *many = at->kids[!swap];
	int64_t k = swap ? b->dim[0] : a->dim[0], n = swap ? a->dim[0] : b->dim[0];
	const char *pick = choice_between(e, k, n);
	int fl = bound_line(e, few), ml = bound_line(e, many);
	if (pick && (!fl || !ml))
		return picks_fix(e, pick);
	if (!pick)
		return column_fix(e, a, b);
	return arena_printf(e->a,
			    "%s is over picks (line %d), %s over experts (line %d): "
			    "write `%s[%s]`",
			    few->s, fl, many->s, ml, many->s, pick);
}

static const char *matmul_fix(Elab *e, const Type *a, const Type *b)
{
	int64_t last = a->dim[a->rank - 1], first = b->dim[0];
	const char *pick = choice_between(e, MIN(last, first), MAX(last, first));

	if (pick)
		return picks_fix(e, pick);
	return b->rank == 2 && b->dim[1] == last ? "`transpose(..)` the second one"
						 : NULL;
}

static bool shapes_meet(Elab *e, Value *a, Value *b, const Node *at)
{
	Type t;

	if (!a || !b)
		return false;
	if (shapes_join(&a->type, &b->type, &t))
		return true;
	say(e, E_shapes, at->loc, shapes_fix(e, &a->type, &b->type, at),
	    "shapes %s and %s do not broadcast", shape_words(e, &a->type),
	    shape_words(e, &b->type));
	return false;
}

static bool is_index(const Val *v)
{
	return v->kind == V_IR && v->v->type.dtype == DT_index;
}

Val binary_op(Elab *e, OpKind kind, Val a, Val b, const Node *at)
{
	bool logic = kind == OP_and || kind == OP_or;
	bool equality = kind == OP_eq || kind == OP_ne;
	Val both[2] = {a, b};
	Value *x[2];
	Dtype d;

	if (a.kind == V_POISON || b.kind == V_POISON)
		return val_poison();
	if (logic)
		d = DT_bool;
	else if (equality && is_index(&a) && is_index(&b))
		d = DT_index;
	else
		arith_types(e, both, 2, kind == OP_div, &d);
	for (int i = 0; i < 2; i++) {
		x[i] = as_tensor(e, both[i], d, 0, at->loc);
		if (x[i] && logic && x[i]->type.dtype != DT_bool) {
			say(e, E_types, at->loc, NULL, "`%s` takes true or false, not %s",
			    op_info[kind].name, type_words(e, &x[i]->type));
			return val_poison();
		}
	}
	if (!shapes_meet(e, x[0], x[1], at))
		return val_poison();
	if (d == DT_index && !meet_axis(e, &x[0]->type, &x[1]->type, at->loc))
		return val_poison();
	return val_ir(emit(e, kind, 2, x, at->loc));
}

Val select_op(Elab *e, Val c, Val a, Val b, const Node *at)
{
	Val both[2] = {a, b};
	Value *x[3];
	Type t, ct;

	if (c.kind == V_BOOL)
		return c.b ? a : b;
	x[0] = as_tensor(e, c, DT_bool, 0, at->loc);
	if (!x[0] || a.kind == V_POISON || b.kind == V_POISON)
		return val_poison();
	if (x[0]->type.dtype != DT_bool) {
		say(e, E_types, at->loc, "compare it: `v != 0`",
		    "a condition is true or false, not %s", type_words(e, &x[0]->type));
		return val_poison();
	}
	if (!join_vals(e, both, 2, at->loc, &t))
		return val_poison();
	ct = x[0]->type;
	if (t.dtype == DT_f64 && (ct.level != LV_ONCE || ct.rank))
		t.dtype = DT_f32;
	for (int i = 0; i < 2; i++) {
		x[i + 1] = as_tensor(e, both[i], t.dtype, t.axis, at->loc);
		if (!x[i + 1] || !shapes_meet(e, x[0], x[i + 1], at))
			return val_poison();
	}
	return val_ir(emit(e, OP_select, 3, x, at->loc));
}

static Val equals_none(Elab *e, Operator op, Val v, Loc loc)
{
	if (v.kind != V_IR)
		return val_bool((v.kind == V_NONE) == (op == O_EQ));
	if (v.v->type.dtype != DT_index) {
		say(e, E_none_value, loc, NULL,
		    "%s is never `none`: only choices (index) are",
		    type_words(e, &v.v->type));
		return val_poison();
	}
	Value *x = emit(e, OP_isnone, 1, &v.v, loc);
	return val_ir(op == O_EQ || !x ? x : emit(e, OP_not, 1, &x, loc));
}

static Val matmul(Elab *e, Val a, Val b, const Node *at)
{
	Value *x[2] = {as_tensor(e, a, DT_f32, 0, at->loc),
		       as_tensor(e, b, DT_f32, 0, at->loc)};

	if (!x[0] || !x[1])
		return val_poison();
	const Type *s = &x[0]->type, *t = &x[1]->type;
	if (s->rank == 0 || t->rank == 0) {
		say(e, E_matmul, at->loc, "use `*`",
		    "`@` sums over an axis; one of its sides is a number");
		return val_poison();
	}
	if (s->dim[s->rank - 1] != t->dim[0]) {
		say(e, E_matmul, at->loc, matmul_fix(e, s, t),
		    "`@` sums the last axis of %s with the first of %s: they differ",
		    shape_words(e, s), shape_words(e, t));
		return val_poison();
	}
	return val_ir(emit(e, OP_matmul, 2, x, at->loc));
}

/* "w" * blockwise(s, a, b): each scale over a block, cut to the shape of w. */
static Val scaled(Elab *e, Val a, Val b, const Node *at)
{
	Val blocks = a.kind == V_BLOCKS ? a : b, other = a.kind == V_BLOCKS ? b : a;
	Value *w = as_tensor(e, other, DT_f32, 0, at->loc);

	if (!w)
		return val_poison();
	Type t = w->type, s = blocks.v->type;
	t.dtype = DT_f32;
	bool fits = t.rank == 2 && s.rank == 2 &&
		    s.dim[0] == (t.dim[0] + blocks.rows - 1) / blocks.rows &&
		    s.dim[1] == (t.dim[1] + blocks.cols - 1) / blocks.cols;
	if (!fits) {
		say(e, E_block_scales, at->loc, NULL,
		    "scales %s of blocks of %jd x %jd do not cover %s",
		    shape_words(e, &s), (intmax_t)blocks.rows, (intmax_t)blocks.cols,
		    shape_words(e, &t));
		return val_poison();
	}
	Op *op = op_start(e, OP_blockwise, 1, &blocks.v, 1, at->loc);
	attr_int(e->layer->m, op, "a", blocks.rows);
	attr_int(e->layer->m, op, "b", blocks.cols);
	return binary_op(e, OP_mul, other, val_ir(op_typed(e, op, t)), at);
}

Val eval_unary(Elab *e, Operator op, Val v, Loc loc)
{
	Dtype d = DT_bool;

	if (v.kind == V_POISON)
		return v;
	if (val_const(&v) && v.kind != V_LIST && !(v.kind == V_STR && e->frame->layout))
		return fold_unary(e, op, v, loc);
	if (op == O_NEG)
		arith_types(e, &v, 1, false, &d);
	Value *x = as_tensor(e, v, d, 0, loc);
	if (x && op == O_NOT && x->type.dtype != DT_bool) {
		say(e, E_types, loc, NULL, "`not` takes true or false, not %s",
		    type_words(e, &x->type));
		return val_poison();
	}
	return val_ir(x ? emit(e, op == O_NOT ? OP_not : OP_neg, 1, &x, loc) : NULL);
}

Val eval_operator(Elab *e, Operator op, Val a, Val b, const Node *at)
{
	static const OpKind kinds[O_COUNT] = {
		[O_OR] = OP_or, [O_AND] = OP_and, [O_LT] = OP_lt, [O_GT] = OP_lt,
		[O_LE] = OP_le, [O_GE] = OP_le, [O_EQ] = OP_eq, [O_NE] = OP_ne,
		[O_ADD] = OP_add, [O_SUB] = OP_sub, [O_MUL] = OP_mul, [O_DIV] = OP_div,
		[O_MOD] = OP_mod,
	};
	bool tensors = e->frame->layout && op != O_ADD && op != O_EQ && op != O_NE &&
		       (a.kind == V_STR || b.kind == V_STR);

	if (a.kind == V_POISON || b.kind == V_POISON)
		return val_poison();
	if (op == O_MUL && (a.kind == V_BLOCKS) != (b.kind == V_BLOCKS))
		return scaled(e, a, b, at);
	if (op == O_MATMUL)
		return matmul(e, a, b, at);
	if ((op == O_EQ || op == O_NE) && (a.kind == V_NONE || b.kind == V_NONE))
		return equals_none(e, op, a.kind == V_NONE ? b : a, at->loc);
	if (val_const(&a) && val_const(&b) && a.kind != V_LIST && b.kind != V_LIST &&
	    !tensors)
		return fold_binary(e, op, a, b, at->loc);
	if (op == O_GT || op == O_GE)
		return binary_op(e, kinds[op], b, a, at);
	return binary_op(e, kinds[op], a, b, at);
}
