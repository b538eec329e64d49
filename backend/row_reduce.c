/* SPDX-License-Identifier: Apache-2.0
 * row_reduce: reductions, softmax and running sums along an axis of a row's value.
 *
 * Along the last axis partial results are kept a lane and joined by a fixed tree; along
 * other axes entries are a stride apart and taken one by one.  Either way the order is the
 * target's own and nothing else's. */
#include "emit.h"

Axis row_axis(const Type *t, int64_t axis)
{
	Axis a = {1, 1, 1};

	if (axis < 0)
		axis += t->rank;
	for (int i = 0; i < t->rank; i++)
		*(i < axis ? &a.outer : i == axis ? &a.n : &a.inner) *= t->dim[i];
	return a;
}

static Val join(Emit *e, OpKind op, Val a, Val b)
{
	Ll *l = &e->l;
	Ty t = LLVMTypeOf(a);
	bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
	bool whole = LLVMGetTypeKind(vector ? LLVMGetElementType(t) : t) == LLVMIntegerTypeKind;
	const char *name = op == OP_amax ? (whole ? "llvm.smax" : "llvm.maximum")
					 : (whole ? "llvm.smin" : "llvm.minimum");

	if (op == OP_sum)
		return whole ? ll_add(l, a, b) : LLVMBuildFAdd(l->b, a, b, "");
	return ll_call_intrinsic(l, name, LLVMTypeOf(a), (Val[]){a, b}, 2);
}

Val row_horizontal(Emit *e, OpKind op, Val v)
{
	Ll *l = &e->l;

	for (int half = ll_lanes(v) / 2; half >= 1; half /= 2) {
		Val low[64], high[64];
		for (int i = 0; i < half; i++) {
			low[i] = LLVMConstInt(l->i32, (unsigned)i, 0);
			high[i] = LLVMConstInt(l->i32, (unsigned)(i + half), 0);
		}
		Val none = LLVMGetPoison(LLVMTypeOf(v));
		Val a = LLVMBuildShuffleVector(l->b, v, none,
					       LLVMConstVector(low, (unsigned)half), "");
		Val b = LLVMBuildShuffleVector(l->b, v, none,
					       LLVMConstVector(high, (unsigned)half), "");
		v = join(e, op, a, b);
	}
	return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind
		       ? LLVMBuildExtractElement(l->b, v, ll_i64(l, 0), "") : v;
}

/* One line of entries: base, base + stride, ..; n of them. */
typedef struct {
	MapFn *m;
	Place  place;
	Dtype  in, as;                  /* as stored; as computed (f32 or i32) */
	Val    base;
	int64_t n, stride;
} Line;

static Val line_load(Line *s, Val i, int lanes, Val mask, double fill)
{
	Ll *l = &s->m->e->l;
	Val index = ll_add(l, s->base, ll_mul(l, i, ll_i64(l, s->stride)));
	Place p = s->place;

	p.padded = p.padded && !mask;
	Val v = emit_convert(s->m->e, map_load(s->m, p, s->in, index, lanes, mask), s->as).v;
	return mask ? ll_select(l, mask, v, emit_lanes_const(s->m->e, s->as, fill, lanes).v) : v;
}

typedef Val EachFn(Line *, Val v, void *arg);

/* op over each(entry); NULL each: the entry itself */
static Val line_reduce(Line *s, OpKind op, double start, EachFn *each, void *arg)
{
	Emit *e = s->m->e;
	Ll *l = &e->l;
	int lanes = s->stride == 1 ? e->lanes : 1;
	int64_t whole = s->n / lanes * lanes;
	Val first = emit_lanes_const(e, s->as, start, lanes).v;
	Val acc = ll_alloca(l, LLVMTypeOf(first), "acc");

	ll_store(l, first, acc, 4);
	if (whole) {
		Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, whole), lanes, "reduce");
		Val v = line_load(s, loop.i, lanes, NULL, start);
		if (each)
			v = each(s, v, arg);
		ll_store(l, join(e, op, ll_load(l, LLVMTypeOf(first), acc, 4), v), acc, 4);
		ll_end_for(l, &loop);
	}
	if (whole < s->n) {
		Val mask = emit_tail_mask(e, ll_i64(l, s->n - whole), lanes);
		Val v = line_load(s, ll_i64(l, whole), lanes, mask, start);
		if (each)
			v = ll_select(l, mask, each(s, v, arg), first);
		ll_store(l, join(e, op, ll_load(l, LLVMTypeOf(first), acc, 4), v), acc, 4);
	}
	return row_horizontal(e, op, ll_load(l, LLVMTypeOf(first), acc, 4));
}

/* Runs body for every line of op's axis; to: the line's place in the result. */
typedef void LineFn(Line *, const Op *, Place out, Val to);

static void each_line(MapFn *m, const Op *op, Dtype as, Place out, LineFn *body)
{
	Ll *l = &m->e->l;
	const Type *t = &op->args[0]->type;
	Axis a = row_axis(t, attr_get_int(op, "over", -1));
	Line s = {m, map_place(m, op->args[0]), t->dtype, as, NULL, a.n, a.inner};
	Loop outer = ll_for(l, ll_i64(l, 0), ll_i64(l, a.outer), 1, "outer");
	Loop inner = ll_for(l, ll_i64(l, 0), ll_i64(l, a.inner), 1, "inner");

	s.base = ll_add(l, ll_mul(l, outer.i, ll_i64(l, a.n * a.inner)), inner.i);
	body(&s, op, out, ll_add(l, ll_mul(l, outer.i, ll_i64(l, a.inner)), inner.i));
	ll_end_for(l, &inner);
	ll_end_for(l, &outer);
}

static Val minus_then_exp(Line *s, Val v, void *top)
{
	Ll *l = &s->m->e->l;
	return math_exp(l, LLVMBuildFSub(l->b, v, ll_splat(l, *(Val *)top, ll_lanes(v)), ""));
}

static Val line_result(Line *s, const Op *op)
{
	Ll *l = &s->m->e->l;
	bool whole = s->as == DT_i32;

	switch (op->kind) {
	case OP_sum:
		return line_reduce(s, OP_sum, 0, NULL, NULL);
	case OP_mean: {
		Val sum = line_reduce(s, OP_sum, 0, NULL, NULL);
		return s->n ? LLVMBuildFDiv(l->b, sum, ll_const_f32(l, (double)s->n, 1), "") : sum;
	}
	case OP_amax:
		return line_reduce(s, OP_amax, whole ? INT32_MIN : -__builtin_inf(), NULL, NULL);
	case OP_amin:
		return line_reduce(s, OP_amin, whole ? INT32_MAX : __builtin_inf(), NULL, NULL);
	case OP_any:
		return line_reduce(s, OP_amax, 0, NULL, NULL);
	case OP_all:
		return line_reduce(s, OP_amin, 1, NULL, NULL);
	case OP_logsumexp: {
		Val top = line_reduce(s, OP_amax, -__builtin_inf(), NULL, NULL);
		Val sum = line_reduce(s, OP_sum, 0, minus_then_exp, &top);
		return LLVMBuildFAdd(l->b, top, math_log(l, sum), "");
	}
	default:
		ice("no reduction %s", op_info[op->kind].name);
	}
}

static void reduce_line(Line *s, const Op *op, Place out, Val to)
{
	Dtype t = op->outs[0]->type.dtype;
	Lanes x = {line_result(s, op), s->as};

	map_store(s->m, out, emit_convert(s->m->e, x, t), to, NULL);
}

static void row_reduction(MapFn *m, const Op *op)
{
	const Type *t = &op->outs[0]->type;
	bool logical = op->kind == OP_any || op->kind == OP_all;
	Dtype as = logical || t->dtype == DT_i32 || t->dtype == DT_bool ? DT_i32 : DT_f32;
	int64_t n = type_elems(t);

	map_memory(m, op->args[0]);
	Place out = map_scratch(m, t->dtype, n);
	each_line(m, op, as, out, reduce_line);
	if (n == 1) {
		Lanes x = map_load(m, out, t->dtype, ll_i64(&m->e->l, 0), 1, NULL);
		out = (Place){AT_SCALAR, .scalar = x};
	}
	map_bind(m, op->outs[0], out);
}

typedef struct { Line *s; Place out; Val top, sum; } Softmax;

static void exp_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Softmax *x = arg;
	Val v = line_load(x->s, index, lanes, mask, 0);
	Val at = ll_add(&m->e->l, x->s->base,
			ll_mul(&m->e->l, index, ll_i64(&m->e->l, x->s->stride)));

	map_store(m, x->out, (Lanes){minus_then_exp(x->s, v, &x->top), DT_f32}, at, mask);
}

static void scale_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Softmax *x = arg;
	Ll *l = &m->e->l;
	Val at = ll_add(l, x->s->base, ll_mul(l, index, ll_i64(l, x->s->stride)));
	Val v = map_load(m, x->out, DT_f32, at, lanes, mask).v;

	map_store(m, x->out, (Lanes){LLVMBuildFDiv(l->b, v, ll_splat(l, x->sum, lanes), ""),
				     DT_f32}, at, mask);
}

/* chunks along a line: vectors where it is contiguous, else entry by entry */
static void line_chunks(Line *s, ChunkFn *what, void *arg)
{
	Ll *l = &s->m->e->l;

	if (s->stride == 1) {
		map_chunks(s->m, s->n, what, arg);
		return;
	}
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, s->n), 1, "entry");
	what(s->m, arg, loop.i, 1, NULL);
	ll_end_for(l, &loop);
}

static void softmax_line(Line *s, const Op *op, Place out, Val to)
{
	Softmax x = {s, out, NULL, NULL};

	x.out.padded = false;           /* lines follow each other without padding */
	x.top = line_reduce(s, OP_amax, -__builtin_inf(), NULL, NULL);
	line_chunks(s, exp_chunk, &x);
	Line done = *s;
	done.place = x.out;
	done.in = DT_f32;
	x.sum = line_reduce(&done, OP_sum, 0, NULL, NULL);
	line_chunks(s, scale_chunk, &x);
}

static void cumsum_line(Line *s, const Op *op, Place out, Val to)
{
	Ll *l = &s->m->e->l;
	Val zero = emit_lanes_const(s->m->e, s->as, 0, 1).v;
	Val acc = ll_alloca(l, LLVMTypeOf(zero), "acc");

	ll_store(l, zero, acc, 4);
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, s->n), 1, "entry");
	Val entry = line_load(s, loop.i, 1, NULL, 0);
	Val sum = join(s->m->e, OP_sum, ll_load(l, LLVMTypeOf(zero), acc, 4), entry);
	ll_store(l, sum, acc, 4);
	Val at = ll_add(l, s->base, ll_mul(l, loop.i, ll_i64(l, s->stride)));
	map_store(s->m, out, (Lanes){sum, s->as}, at, NULL);
	ll_end_for(l, &loop);
}

static void row_along(MapFn *m, const Op *op)
{
	const Type *t = &op->outs[0]->type;
	Dtype as = op->kind == OP_cumsum && t->dtype == DT_i32 ? DT_i32 : DT_f32;

	map_memory(m, op->args[0]);
	Place out = map_scratch(m, as, type_elems(t));
	each_line(m, op, as, out, op->kind == OP_cumsum ? cumsum_line : softmax_line);
	if (type_elems(t) == 1)
		out = (Place){AT_SCALAR, .scalar = map_load(m, out, as, ll_i64(&m->e->l, 0), 1,
							    NULL)};
	map_bind(m, op->outs[0], out);
}

typedef struct { Place a, b; Dtype at, bt; Val a_base, b_base, acc; } DotSum;

static void dot_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	DotSum *d = arg;
	Emit *e = m->e;
	Ll *l = &e->l;
	Lanes a = map_load(m, d->a, d->at, ll_add(l, d->a_base, index), lanes, mask);
	Lanes b = map_load(m, d->b, d->bt, ll_add(l, d->b_base, index), lanes, mask);
	Val av = emit_convert(e, a, DT_f32).v, bv = emit_convert(e, b, DT_f32).v;

	if (mask) {     /* what lies behind a line may be anything, NaN included */
		av = ll_select(l, mask, av, ll_const_f32(l, 0, lanes));
		bv = ll_select(l, mask, bv, ll_const_f32(l, 0, lanes));
	}
	Val sum = ll_load(l, LLVMTypeOf(av), d->acc, 4);
	ll_store(l, ll_fma(l, av, bv, sum), d->acc, 4);
}

Val row_dot(MapFn *m, Place a, Dtype at, Val a_base, Place b, Dtype bt, Val b_base, int64_t n)
{
	Emit *e = m->e;
	Ll *l = &e->l;
	Ty vec = ll_vec(l->f32, e->lanes);
	DotSum d = {a, b, at, bt, a_base, b_base, ll_alloca(l, vec, "dot")};

	d.a.padded = d.b.padded = false;
	ll_store(l, ll_const_f32(l, 0, e->lanes), d.acc, 4);
	map_chunks(m, n, dot_chunk, &d);
	return row_horizontal(e, OP_sum, ll_load(l, vec, d.acc, 4));
}

RowFn *row_reduce(OpKind kind)
{
	switch (kind) {
	case OP_sum:
	case OP_mean:
	case OP_amax:
	case OP_amin:
	case OP_any:
	case OP_all:
	case OP_logsumexp:
		return row_reduction;
	case OP_softmax:
	case OP_cumsum:
		return row_along;
	default:
		return NULL;
	}
}
