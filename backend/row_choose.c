/* SPDX-License-Identifier: Apache-2.0
 * row_choose: top-k, argmax and ranks along an axis.
 *
 * Entries are compared as integer keys of the same order as the floats, with -0 made 0 and
 * every NaN below -inf: so ties go to the lowest index and a NaN ranks last. */
#include "emit.h"

enum { KEY_NAN = INT32_MIN + 1, KEY_TAKEN = INT32_MIN };

static Val key_of(Emit *e, Lanes x)
{
	Ll *l = &e->l;
	int lanes = ll_lanes(x.v);

	if (x.dtype == DT_bool || x.dtype == DT_i32)
		return emit_convert(e, x, DT_i32).v;
	Val v = LLVMBuildFAdd(l->b, emit_convert(e, x, DT_f32).v, ll_const_f32(l, 0, lanes), "");
	Val bits = ll_bits(l, v);
	Val negative = LLVMBuildAShr(l->b, bits, ll_const_i32(l, 31, lanes), "");
	Val flip = LLVMBuildAnd(l->b, negative, ll_const_i32(l, 0x7FFFFFFF, lanes), "");
	Val nan = LLVMBuildFCmp(l->b, LLVMRealUNO, v, v, "");

	return ll_select(l, nan, ll_const_i32(l, KEY_NAN, lanes),
			 LLVMBuildXor(l->b, bits, flip, ""));
}

typedef struct { Place from, keys; Dtype in; } Keys;

static void key_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Keys *k = arg;
	Val key = key_of(m->e, map_load(m, k->from, k->in, index, lanes, mask));

	map_store(m, k->keys, (Lanes){key, DT_i32}, index, NULL);
}

static Place keys_of(MapFn *m, const Value *v)
{
	int64_t n = type_elems(&v->type);
	Keys k = {map_memory(m, v), map_scratch(m, DT_i32, n), v->type.dtype};

	k.from.padded = false;
	map_chunks(m, n, key_chunk, &k);
	return k.keys;
}

/* The highest key of a line of n from `base`, lowest index first: its index (i32). */
typedef struct { Place keys; Val base, best, where; } Search;

static void search_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Search *s = arg;
	Ll *l = &m->e->l;
	Ty vec = ll_vec(l->i32, lanes);
	Place keys = s->keys;

	keys.padded = false;
	Val key = map_load(m, keys, DT_i32, ll_add(l, s->base, index), lanes, mask).v;
	if (mask)
		key = ll_select(l, mask, key, ll_const_i32(l, KEY_TAKEN, lanes));
	Val at = ll_add(l, ll_splat(l, LLVMBuildTrunc(l->b, index, l->i32, ""), lanes),
			ll_iota(l, lanes));
	Val best = ll_load(l, vec, s->best, 4);
	Val more = LLVMBuildICmp(l->b, LLVMIntSGT, key, best, "");
	ll_store(l, ll_select(l, more, key, best), s->best, 4);
	ll_store(l, ll_select(l, more, at, ll_load(l, vec, s->where, 4)), s->where, 4);
}

static Val highest(MapFn *m, Place keys, Val base, int64_t n)
{
	Ll *l = &m->e->l;
	int lanes = m->e->lanes;
	Ty vec = ll_vec(l->i32, lanes);
	Search s = {keys, base, ll_alloca(l, vec, "best"), ll_alloca(l, vec, "where")};

	ll_store(l, ll_const_i32(l, KEY_TAKEN, lanes), s.best, 4);
	ll_store(l, ll_iota(l, lanes), s.where, 4);
	map_chunks(m, n, search_chunk, &s);
	Val best = ll_load(l, vec, s.best, 4);
	Val top = row_horizontal(m->e, OP_amax, best);
	Val here = LLVMBuildICmp(l->b, LLVMIntEQ, best, ll_splat(l, top, lanes), "");
	Val at = ll_select(l, here, ll_load(l, vec, s.where, 4),
			   ll_const_i32(l, INT32_MAX, lanes));
	return row_horizontal(m->e, OP_amin, at);
}

static void row_topk(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *in = &op->args[0]->type, *t = &op->outs[0]->type;
	int64_t k = op->kind == OP_argmax ? 1 : attr_get_int(op, "k", 1);
	Axis a = row_axis(in, -1);
	Place keys = keys_of(m, op->args[0]);
	Place out = map_scratch(m, DT_index, type_elems(t));
	Loop line = ll_for(l, ll_i64(l, 0), ll_i64(l, a.outer), 1, "line");
	Val base = ll_mul(l, line.i, ll_i64(l, a.n));
	Loop pick = ll_for(l, ll_i64(l, 0), ll_i64(l, k), 1, "pick");
	Val at = highest(m, keys, base, a.n);
	Val taken = ll_add(l, base, LLVMBuildSExt(l->b, at, l->i64, ""));

	map_store(m, keys, (Lanes){ll_const_i32(l, KEY_TAKEN, 1), DT_i32}, taken, NULL);
	map_store(m, out, (Lanes){at, DT_index},
		  ll_add(l, ll_mul(l, line.i, ll_i64(l, k)), pick.i), NULL);
	ll_end_for(l, &pick);
	ll_end_for(l, &line);
	if (type_elems(t) == 1)
		out = (Place){AT_SCALAR, .scalar = map_load(m, out, DT_index, ll_i64(l, 0), 1,
							    NULL)};
	map_bind(m, op->outs[0], out);
}

/* Of entry i: how many j have a higher key, or the same and j < i. */
static void row_rank(MapFn *m, const Op *op)
{
	Ll *l = &m->e->l;
	const Type *t = &op->args[0]->type;
	Axis a = row_axis(t, attr_get_int(op, "over", -1));
	Place keys = keys_of(m, op->args[0]);
	Place out = map_scratch(m, DT_i32, type_elems(t));
	Val count = ll_alloca(l, l->i32, "count");
	Loop line = ll_for(l, ll_i64(l, 0), ll_i64(l, a.outer * a.inner), 1, "line");
	Val outer = LLVMBuildSDiv(l->b, line.i, ll_i64(l, a.inner), "");
	Val inner = LLVMBuildSRem(l->b, line.i, ll_i64(l, a.inner), "");
	Val base = ll_add(l, ll_mul(l, outer, ll_i64(l, a.n * a.inner)), inner);
	Loop i = ll_for(l, ll_i64(l, 0), ll_i64(l, a.n), 1, "entry");
	Val at = ll_add(l, base, ll_mul(l, i.i, ll_i64(l, a.inner)));
	Val mine = map_load(m, keys, DT_i32, at, 1, NULL).v;

	ll_store(l, ll_const_i32(l, 0, 1), count, 4);
	Loop j = ll_for(l, ll_i64(l, 0), ll_i64(l, a.n), 1, "other");
	Val other = map_load(m, keys, DT_i32,
			     ll_add(l, base, ll_mul(l, j.i, ll_i64(l, a.inner))), 1, NULL).v;
	Val higher = LLVMBuildICmp(l->b, LLVMIntSGT, other, mine, "");
	Val equal = LLVMBuildICmp(l->b, LLVMIntEQ, other, mine, "");
	Val earlier = LLVMBuildICmp(l->b, LLVMIntSLT, j.i, i.i, "");
	Val before = LLVMBuildOr(l->b, higher, LLVMBuildAnd(l->b, equal, earlier, ""), "");
	Val one = LLVMBuildZExt(l->b, before, l->i32, "");
	ll_store(l, ll_add(l, ll_load(l, l->i32, count, 4), one), count, 4);
	ll_end_for(l, &j);
	map_store(m, out, (Lanes){ll_load(l, l->i32, count, 4), DT_i32}, at, NULL);
	ll_end_for(l, &i);
	ll_end_for(l, &line);
	map_bind(m, op->outs[0], out);
}

RowFn *row_choose(OpKind kind)
{
	switch (kind) {
	case OP_topk:
	case OP_argmax:
		return row_topk;
	case OP_rank:
		return row_rank;
	default:
		return NULL;
	}
}
