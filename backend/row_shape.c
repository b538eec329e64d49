/* SPDX-License-Identifier: Apache-2.0
 * row_shape: ops of a row that move entries, and small contractions. */
#include "emit.h"

static void bind_result(MapFn *m, const Op *op, Place out)
{
	const Type *t = &op->outs[0]->type;

	if (out.kind == AT_MEMORY && type_elems(t) == 1) {
		Lanes x = map_load(m, out, t->dtype, ll_i64(&m->e->l, 0), 1, NULL);
		out = (Place){AT_SCALAR, .scalar = x};
	}
	map_bind(m, op->outs[0], out);
}

static void row_reshape(MapFn *m, const Op *op)
{
	bind_result(m, op, map_place(m, op->args[0]));
}

/* Copies n entries from `from` (skipping at) to `to` (skipping to_at). */
typedef struct { Place from, to; Dtype dtype; Val at, to_at; } Move;

static void move_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Move *v = arg;
	Ll *l = &m->e->l;
	Lanes x = map_load(m, v->from, v->dtype, ll_add(l, v->at, index), lanes, mask);

	map_store(m, v->to, x, ll_add(l, v->to_at, index), mask);
}

static void move_entries(MapFn *m, Place from, Val at, Place to, Val to_at, Dtype t, int64_t n)
{
	Move v = {from, to, t, at, to_at};

	v.from.padded = v.to.padded = false;
	if (n == 1)
		move_chunk(m, &v, ll_i64(&m->e->l, 0), 1, NULL);
	else
		map_chunks(m, n, move_chunk, &v);
}

static void row_transpose(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *t = &op->args[0]->type;
	int64_t cols = t->dim[t->rank - 1], rows = t->dim[t->rank - 2];
	Place from = map_memory(m, op->args[0]);
	Place to = map_scratch(m, t->dtype, type_elems(t));
	Loop i = ll_for(l, ll_i64(l, 0), ll_i64(l, type_elems(t)), 1, "entry");
	Val col = LLVMBuildSRem(l->b, i.i, ll_i64(l, cols), "");
	Val line = LLVMBuildSDiv(l->b, i.i, ll_i64(l, cols), "");
	Val row = LLVMBuildSRem(l->b, line, ll_i64(l, rows), "");
	Val outer = LLVMBuildSDiv(l->b, line, ll_i64(l, rows), "");
	Val base = ll_mul(l, outer, ll_i64(l, rows * cols));
	Val at = ll_add(l, base, ll_add(l, ll_mul(l, col, ll_i64(l, rows)), row));

	map_store(m, to, map_load(m, from, t->dtype, i.i, 1, NULL), at, NULL);
	ll_end_for(l, &i);
	bind_result(m, op, to);
}

static void row_slice(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *in = &op->args[0]->type, *t = &op->outs[0]->type;
	const Attr *start = attr_find(op, "start"), *step = attr_find(op, "step");
	const Attr *size = attr_find(op, "size");
	Place from = map_memory(m, op->args[0]);
	Place to = map_scratch(m, t->dtype, type_elems(t));
	Loop i = ll_for(l, ll_i64(l, 0), ll_i64(l, type_elems(t)), 1, "entry");
	Val rest = i.i, at = ll_i64(l, 0);
	int64_t stride = 1;

	for (int d = in->rank - 1; d >= 0; d--) {
		int64_t n = d < size->n ? size->is[d] : in->dim[d];
		int64_t first = d < start->n ? start->is[d] : 0;
		int64_t by = step && d < step->n ? step->is[d] : 1;
		Val here = LLVMBuildSRem(l->b, rest, ll_i64(l, MAX(n, 1)), "");
		rest = LLVMBuildSDiv(l->b, rest, ll_i64(l, MAX(n, 1)), "");
		here = ll_add(l, ll_mul(l, here, ll_i64(l, by)), ll_i64(l, first));
		at = ll_add(l, at, ll_mul(l, here, ll_i64(l, stride)));
		stride *= in->dim[d];
	}
	map_store(m, to, map_load(m, from, in->dtype, at, 1, NULL), i.i, NULL);
	ll_end_for(l, &i);
	bind_result(m, op, to);
}

static void row_concat(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *t = &op->outs[0]->type;
	Place to = map_scratch(m, t->dtype, type_elems(t));
	int64_t done = 0;

	for (int i = 0; i < op->nargs; i++) {
		const Type *in = &op->args[i]->type;
		Place from = map_place(m, op->args[i]);
		int64_t n = type_elems(in);
		if (from.kind == AT_SCALAR && n > 1)
			from = map_memory(m, op->args[i]);
		if (n == 1) {
			Lanes x = map_load(m, from, in->dtype, ll_i64(l, 0), 1, NULL);
			map_store(m, to, emit_convert(m->e, x, t->dtype), ll_i64(l, done), NULL);
		} else if (n) {
			if (in->dtype != t->dtype)
				ice("concat of different types");
			move_entries(m, from, ll_i64(l, 0), to, ll_i64(l, done), t->dtype, n);
		}
		done += n;
	}
	bind_result(m, op, to);
}

/* Runs `filled` when index >= 0; the result entries were set to nothing before. */
static void fill_nothing(MapFn *m, Place to, Dtype t, int64_t n)
{
	Ll *l = &m->e->l;
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, n), m->e->lanes, "nothing");
	Lanes x = emit_lanes_const(m->e, t, t == DT_index ? -1 : 0, m->e->lanes);

	map_store(m, to, x, loop.i, NULL);
	ll_end_for(l, &loop);
}

/* In bounds (none, or a given routing's worst, reads nothing). */
static Val in_range(Ll *l, Val index, int64_t n)
{
	return LLVMBuildICmp(l->b, LLVMIntULT, index, ll_const_i32(l, n, 1), "");
}

static void row_gather(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *v = &op->args[0]->type, *it = &op->args[1]->type, *t = &op->outs[0]->type;
	int64_t picks = type_elems(it), part = type_elems(t) / MAX(picks, 1);
	Place from = map_memory(m, op->args[0]), index = map_place(m, op->args[1]);
	Place to = map_scratch(m, t->dtype, type_elems(t));

	fill_nothing(m, to, t->dtype, type_elems(t));
	Loop pick = ll_for(l, ll_i64(l, 0), ll_i64(l, picks), 1, "pick");
	Val i = map_load(m, index, it->dtype, pick.i, 1, NULL).v;
	LLVMBasicBlockRef some = ll_block(l, "some"), next = ll_block(l, "next");
	ll_branch(l, in_range(l, i, v->dim[0]), some, next);
	ll_here(l, some);
	Val at = ll_mul(l, LLVMBuildSExt(l->b, i, l->i64, ""), ll_i64(l, part));
	move_entries(m, from, at, to, ll_mul(l, pick.i, ll_i64(l, part)), t->dtype, part);
	ll_goto(l, next);
	ll_end_for(l, &pick);
	bind_result(m, op, to);
}

static void row_take(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *v = &op->args[0]->type, *it = &op->args[1]->type, *t = &op->outs[0]->type;
	int64_t n = v->dim[v->rank - 1], k = it->dim[it->rank - 1];
	Place from = map_memory(m, op->args[0]), index = map_place(m, op->args[1]);
	Place to = map_scratch(m, t->dtype, type_elems(t));

	fill_nothing(m, to, t->dtype, type_elems(t));
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, type_elems(t)), 1, "entry");
	Val i = map_load(m, index, it->dtype, loop.i, 1, NULL).v;
	LLVMBasicBlockRef some = ll_block(l, "some"), next = ll_block(l, "next");
	ll_branch(l, in_range(l, i, n), some, next);
	ll_here(l, some);
	Val line = LLVMBuildSDiv(l->b, loop.i, ll_i64(l, MAX(k, 1)), "");
	Val chosen = LLVMBuildSExt(l->b, i, l->i64, "");
	Val at = ll_add(l, ll_mul(l, line, ll_i64(l, n)), chosen);
	map_store(m, to, map_load(m, from, v->dtype, at, 1, NULL), loop.i, NULL);
	ll_goto(l, next);
	ll_end_for(l, &loop);
	bind_result(m, op, to);
}

/* onehot: slot j's line begins at j * axis; mask: all slots share one line. */
static void row_point(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *it = &op->args[0]->type, *t = &op->outs[0]->type;
	Place index = map_place(m, op->args[0]);
	Place to = map_scratch(m, DT_bool, type_elems(t));
	int64_t apart = op->kind == OP_onehot ? it->axis : 0;

	fill_nothing(m, to, DT_bool, type_elems(t));
	Loop slot = ll_for(l, ll_i64(l, 0), ll_i64(l, type_elems(it)), 1, "slot");
	Val i = map_load(m, index, it->dtype, slot.i, 1, NULL).v;
	LLVMBasicBlockRef some = ll_block(l, "some"), next = ll_block(l, "next");
	ll_branch(l, in_range(l, i, it->axis), some, next);
	ll_here(l, some);
	Val chosen = LLVMBuildSExt(l->b, i, l->i64, "");
	Val at = ll_add(l, ll_mul(l, slot.i, ll_i64(l, apart)), chosen);
	map_store(m, to, emit_lanes_const(m->e, DT_bool, 1, 1), at, NULL);
	ll_goto(l, next);
	ll_end_for(l, &slot);
	bind_result(m, op, to);
}

/* y[i, o] = sum_k x[i, k] w[o, k] */
static void row_linear(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *x = &op->args[0]->type, *w = &op->args[1]->type, *t = &op->outs[0]->type;
	int64_t k = w->dim[1], n = w->dim[0], rows = type_elems(t) / MAX(n, 1);
	Place a = map_memory(m, op->args[0]), b = map_memory(m, op->args[1]);
	Place to = map_scratch(m, DT_f32, type_elems(t));
	Loop i = ll_for(l, ll_i64(l, 0), ll_i64(l, rows), 1, "row");
	Loop o = ll_for(l, ll_i64(l, 0), ll_i64(l, n), 1, "out");
	Val a_base = ll_mul(l, i.i, ll_i64(l, k)), b_base = ll_mul(l, o.i, ll_i64(l, k));
	Val sum = row_dot(m, a, x->dtype, a_base, b, w->dtype, b_base, k);

	map_store(m, to, (Lanes){sum, DT_f32}, ll_add(l, ll_mul(l, i.i, ll_i64(l, n)), o.i), NULL);
	ll_end_for(l, &o);
	ll_end_for(l, &i);
	bind_result(m, op, to);
}

typedef struct { Place a, b, to; Dtype at, bt; Val row; int64_t k, n; } Product;

/* Entries (row, index ..) of the product: a column a lane. */
static void product_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Product *p = arg;
	Ll *l = &m->e->l;
	Ty vec = ll_vec(l->f32, lanes);
	Val acc = ll_alloca(l, vec, "acc");

	ll_store(l, ll_const_f32(l, 0, lanes), acc, 4);
	Loop k = ll_for(l, ll_i64(l, 0), ll_i64(l, p->k), 1, "k");
	Val at = ll_add(l, ll_mul(l, p->row, ll_i64(l, p->k)), k.i);
	Val a = emit_convert(m->e, map_load(m, p->a, p->at, at, 1, NULL), DT_f32).v;
	Val bi = ll_add(l, ll_mul(l, k.i, ll_i64(l, p->n)), index);
	Val b = emit_convert(m->e, map_load(m, p->b, p->bt, bi, lanes, mask), DT_f32).v;
	Val sum = ll_load(l, vec, acc, 4);
	ll_store(l, ll_fma(l, ll_splat(l, a, lanes), b, sum), acc, 4);
	ll_end_for(l, &k);
	Val to = ll_add(l, ll_mul(l, p->row, ll_i64(l, p->n)), index);
	map_store(m, p->to, (Lanes){ll_load(l, vec, acc, 4), DT_f32}, to, mask);
}

static void row_matmul(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *a = &op->args[0]->type, *b = &op->args[1]->type, *t = &op->outs[0]->type;
	int64_t k = b->dim[0], n = type_elems(b) / MAX(k, 1), rows = type_elems(a) / MAX(k, 1);
	Product p = {map_memory(m, op->args[0]), map_memory(m, op->args[1]),
		     map_scratch(m, DT_f32, type_elems(t)), a->dtype, b->dtype, NULL, k, n};
	Loop i = ll_for(l, ll_i64(l, 0), ll_i64(l, rows), 1, "row");

	if (n == 1) {
		Val sum = row_dot(m, p.a, a->dtype, ll_mul(l, i.i, ll_i64(l, k)), p.b, b->dtype,
				  ll_i64(l, 0), k);
		map_store(m, p.to, (Lanes){sum, DT_f32}, i.i, NULL);
	} else {
		p.row = i.i;
		p.a.padded = p.b.padded = false;
		Place whole = p.to;
		p.to.padded = false;
		map_chunks(m, n, product_chunk, &p);
		p.to = whole;
	}
	ll_end_for(l, &i);
	bind_result(m, op, p.to);
}

RowFn *row_shape(OpKind kind)
{
	switch (kind) {
	case OP_reshape:
		return row_reshape;
	case OP_transpose:
		return row_transpose;
	case OP_slice:
		return row_slice;
	case OP_concat:
		return row_concat;
	case OP_gather:
		return row_gather;
	case OP_take:
		return row_take;
	case OP_onehot:
	case OP_mask:
		return row_point;
	case OP_linear:
		return row_linear;
	case OP_matmul:
		return row_matmul;
	default:
		return NULL;
	}
}

void emit_row_op(MapFn *m, const Op *op)
{
	RowFn *(*const families[])(OpKind) = {row_source, row_reduce, row_choose, row_shape};

	for (size_t i = 0; i < COUNT(families); i++) {
		RowFn *emit = families[i](op->kind);
		if (emit) {
			emit(m, op);
			return;
		}
	}
	ice("row maps cannot compute %s", op_info[op->kind].name);
}
