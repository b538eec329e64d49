/* SPDX-License-Identifier: Apache-2.0
 * map: row maps.  One function runs a list of ops for row after row; each value is a scalar
 * in a register or entries in memory (the scratch, a buffer, a weight, a constant).
 *
 * Elementwise ops become explicit vector loops, so that the bits do not hang on what LLVM's
 * vectoriser finds out. */
#include "emit.h"

void map_bind(MapFn *m, const Value *v, Place place)
{
	vec_push(m->e->arena, &m->values, v);
	vec_push(m->e->arena, &m->places, place);
}

Place map_scratch(MapFn *m, Dtype t, int64_t elems)
{
	int64_t whole = (elems + m->e->lanes - 1) / m->e->lanes * m->e->lanes;
	int64_t bytes = (whole * entry_bytes(t) + 63) / 64 * 64;
	Place p = {AT_MEMORY, .at = ll_at_const(&m->e->l, m->scratch, m->used), .padded = true};

	m->used += bytes;
	return p;
}

/* The row of a captured value that belongs to the row being computed. */
static Val captured_row(MapFn *m, const Type *t)
{
	if (t->level == LV_ONCE)
		return NULL;
	if (t->level == m->level)
		return m->row;
	if (t->level == LV_SEQ && m->level == LV_TOKEN)
		return emit_sequence_of(m->e, m->call, m->row);
	ice("a row map reads a value of another level");
}

Place map_place(MapFn *m, const Value *v)
{
	for (int i = m->values.n - 1; i >= 0; i--)
		if (m->values.at[i] == v)
			return m->places.at[i];
	Place p = {AT_MEMORY, .at = emit_view_row(m->e, m->call, emit_buffer_of(m->e, v),
						  captured_row(m, &v->type))};
	if (type_elems(&v->type) == 1) {
		p.kind = AT_SCALAR;
		p.scalar = emit_load_lanes(m->e, v->type.dtype, p.at, 1, NULL);
	}
	map_bind(m, v, p);
	return p;
}

static Val entry(MapFn *m, Place p, Dtype t, Val index)
{
	Ll *l = &m->e->l;
	return ll_at(l, p.at, ll_mul(l, index, ll_i64(l, entry_bytes(t))));
}

Lanes map_load(MapFn *m, Place p, Dtype t, Val index, int lanes, Val mask)
{
	if (p.kind == AT_SCALAR)
		return (Lanes){ll_splat(&m->e->l, p.scalar.v, lanes), p.scalar.dtype};
	return emit_load_lanes(m->e, t, entry(m, p, t, index), lanes, p.padded ? NULL : mask);
}

void map_store(MapFn *m, Place p, Lanes x, Val index, Val mask)
{
	emit_store_lanes(m->e, x, entry(m, p, x.dtype, index), p.padded ? NULL : mask);
}

Val map_scalar(MapFn *m, const Value *v, Dtype to)
{
	Place p = map_place(m, v);
	Lanes x = map_load(m, p, v->type.dtype, ll_i64(&m->e->l, 0), 1, NULL);
	return emit_convert(m->e, x, to).v;
}

Place map_memory(MapFn *m, const Value *v)
{
	Place p = map_place(m, v);

	if (p.kind == AT_MEMORY)
		return p;
	Ll *l = &m->e->l;
	int64_t n = type_elems(&v->type);
	Place to = map_scratch(m, p.scalar.dtype, n);
	Loop fill = ll_for(l, ll_i64(l, 0), ll_i64(l, n), m->e->lanes, "fill");
	Lanes all = {ll_splat(l, p.scalar.v, m->e->lanes), p.scalar.dtype};
	map_store(m, to, all, fill.i, NULL);
	ll_end_for(l, &fill);
	map_bind(m, v, to);
	return to;
}

/* what(index) for 0 <= index < n in whole vectors, and once more for the rest. */
void map_chunks(MapFn *m, int64_t n, ChunkFn *what, void *arg)
{
	Ll *l = &m->e->l;
	int lanes = m->e->lanes;
	int64_t whole = n / lanes * lanes;

	if (whole == lanes) {
		what(m, arg, ll_i64(l, 0), lanes, NULL);
	} else if (whole) {
		Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, whole), lanes, "chunk");
		what(m, arg, loop.i, lanes, NULL);
		ll_end_for(l, &loop);
	}
	if (whole < n)
		what(m, arg, ll_i64(l, whole), lanes,
		     emit_tail_mask(m->e, ll_i64(l, n - whole), lanes));
}

typedef struct {
	const Op *op;
	Place     args[3], out;
	Val       base[3], out_base;    /* entries to skip, NULL: none */
	int       step[3];              /* 1: along with the last axis, 0: stays */
} Ew;

static void ew_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Ew *ew = arg;
	Ll *l = &m->e->l;
	Lanes in[3];

	for (int i = 0; i < ew->op->nargs; i++) {
		Dtype t = ew->op->args[i]->type.dtype;
		Val at = ew->step[i] ? index : ll_i64(l, 0);
		if (ew->base[i])
			at = ll_add(l, at, ew->base[i]);
		if (ew->step[i]) {
			in[i] = map_load(m, ew->args[i], t, at, lanes, mask);
		} else {
			Lanes one = map_load(m, ew->args[i], t, at, 1, NULL);
			in[i] = (Lanes){ll_splat(l, one.v, lanes), one.dtype};
		}
	}
	Val to = ew->out_base ? ll_add(l, index, ew->out_base) : index;
	/* rows of a broadcast shape are not padded one by one */
	Place out = ew->out;
	out.padded = out.padded && !ew->out_base;
	map_store(m, out, emit_ew(m->e, ew->op, in), to, mask);
}

/* Entries to skip in an operand at outer index `at` of the result's leading axes. */
static Val operand_base(Ll *l, const Type *out, const Type *in, Val outer)
{
	Val base = ll_i64(l, 0);
	int64_t stride = 1;

	for (int i = 1; i <= in->rank; i++) {
		int64_t dim = in->dim[in->rank - i];
		if (i > 1) {
			int64_t d = out->dim[out->rank - i];
			Val here = LLVMBuildURem(l->b, outer, ll_i64(l, d), "");
			outer = LLVMBuildUDiv(l->b, outer, ll_i64(l, d), "");
			if (dim != 1)
				base = ll_add(l, base, ll_mul(l, here, ll_i64(l, stride)));
		}
		stride *= dim;
	}
	return base;
}

static void broadcast_rows(MapFn *m, Ew *ew)
{
	Ll *l = &m->e->l;
	const Type *out = &ew->op->outs[0]->type;
	int64_t last = out->dim[out->rank - 1], outer = type_elems(out) / MAX(last, 1);
	Loop loop = ll_for(l, ll_i64(l, 0), ll_i64(l, outer), 1, "outer");

	for (int i = 0; i < ew->op->nargs; i++) {
		const Type *in = &ew->op->args[i]->type;
		ew->step[i] = in->rank > 0 && in->dim[in->rank - 1] == last &&
			      ew->args[i].kind == AT_MEMORY;
		ew->base[i] = ew->args[i].kind == AT_MEMORY
				      ? operand_base(l, out, in, loop.i) : NULL;
		ew->args[i].padded = false;
	}
	ew->out_base = ll_mul(l, loop.i, ll_i64(l, last));
	map_chunks(m, last, ew_chunk, ew);
	ll_end_for(l, &loop);
}

static void map_ew(MapFn *m, const Op *op)
{
	const Type *out = &op->outs[0]->type;
	int64_t n = type_elems(out);
	bool flat = true;
	Ew ew = {.op = op};
	Lanes in[3];

	for (int i = 0; i < op->nargs; i++) {
		ew.args[i] = map_place(m, op->args[i]);
		int64_t elems = type_elems(&op->args[i]->type);
		ew.step[i] = elems != 1 && ew.args[i].kind == AT_MEMORY;
		flat = flat && (elems == n || elems == 1 || ew.args[i].kind == AT_SCALAR);
	}
	if (n == 1) {
		for (int i = 0; i < op->nargs; i++)
			in[i] = map_load(m, ew.args[i], op->args[i]->type.dtype,
					 ll_i64(&m->e->l, 0), 1, NULL);
		map_bind(m, op->outs[0], (Place){AT_SCALAR, .scalar = emit_ew(m->e, op, in)});
		return;
	}
	ew.out = map_scratch(m, out->dtype, n);
	if (flat)
		map_chunks(m, n, ew_chunk, &ew);
	else
		broadcast_rows(m, &ew);
	map_bind(m, op->outs[0], ew.out);
}

typedef struct { Place from, to; Dtype dtype; } Copy;

static void copy_chunk(MapFn *m, void *arg, Val index, int lanes, Val mask)
{
	Copy *c = arg;
	map_store(m, c->to, map_load(m, c->from, c->dtype, index, lanes, mask), index, mask);
}

void map_copy(MapFn *m, Place to, Place from, Dtype t, int64_t n)
{
	Copy c = {from, to, t};

	if (n == 1)
		map_store(m, to, map_load(m, from, t, ll_i64(&m->e->l, 0), 1, NULL),
			  ll_i64(&m->e->l, 0), NULL);
	else
		map_chunks(m, n, copy_chunk, &c);
}

/* A value that others read goes to its row of its buffer. */
static void store_result(MapFn *m, const Value *v, int buffer)
{
	Val row = m->level == LV_ONCE ? NULL : m->row;
	Place to = {AT_MEMORY, .at = emit_view_row(m->e, m->call, buffer, row)};
	map_copy(m, to, map_place(m, v), v->type.dtype, type_elems(&v->type));
}

/* Done by the contraction in front of a tail. */
static bool streamed(const Op *op)
{
	return op->kind == OP_unpack ||
	       (op->kind == OP_linear && op->args[1]->def &&
		op->args[1]->def->kind == OP_unpack);
}

Val emit_map(Emit *e, const char *name, const Type *over, const Region *r, int64_t *scratch)
{
	Ll *l = &e->l;
	Val fn = ll_function(l, name, l->none, (Ty[]){l->ptr, l->i64, l->i64, l->ptr}, 4, true);
	MapFn m = {.e = e, .call = LLVMGetParam(fn, 0), .scratch = LLVMGetParam(fn, 3),
		   .level = over->level, .range = over->range};
	ll_attr(l, fn, 4, "noalias", 0);
	Loop rows = ll_for(l, LLVMGetParam(fn, 1), LLVMGetParam(fn, 2), 1, "row");

	m.row = rows.i;
	for (Op *op = r->first; op != r->last; op = op->next) {
		if (streamed(op))
			continue;
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i]->type.dtype != DT_rows && op->kind != OP_dispatch &&
			    op->kind != OP_collect && op->kind != OP_combine)
				map_place(&m, op->args[i]);
		if (op_info[op->kind].family == FAM_EW)
			map_ew(&m, op);
		else
			emit_row_op(&m, op);
	}
	for (int i = 0; i < r->last->nargs; i++)
		store_result(&m, r->last->args[i], emit_buffer_of(e, r->op->outs[i]));
	ll_end_for(l, &rows);
	LLVMBuildRetVoid(l->b);
	*scratch = m.used;
	return fn;
}
