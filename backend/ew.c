/* SPDX-License-Identifier: Apache-2.0
 * ew: elementwise ops on scalars or vectors, and entries to and from memory.
 *
 * In registers a stored type (bf16, f16) is an f32 that happens to be exact there; an index
 * and an i32 are i32, a bool is i1.  In memory a bool is an i32, a bf16 its upper half. */
#include "emit.h"
#include <math.h>

static bool stored(Dtype t)
{
	return t == DT_bf16 || t == DT_f16;
}

Ty memory_type(Emit *e, Dtype t, int lanes)
{
	Ll *l = &e->l;

	switch (t) {
	case DT_f32:
		return ll_vec(l->f32, lanes);
	case DT_f64:
		return ll_vec(l->f64, lanes);
	case DT_bf16:
	case DT_f16:
		return ll_vec(l->i16, lanes);
	case DT_i32:
	case DT_bool:
	case DT_index:
		return ll_vec(l->i32, lanes);
	default:
		ice("%s has no form in memory", dtype_info[t].name);
	}
}

Lanes from_memory(Emit *e, Dtype t, Val v)
{
	Ll *l = &e->l;
	int lanes = ll_lanes(v);

	if (t == DT_bf16) {
		v = LLVMBuildZExt(l->b, v, ll_vec(l->i32, lanes), "");
		v = ll_float(l, LLVMBuildShl(l->b, v, ll_const_i32(l, 16, lanes), ""));
	} else if (t == DT_f16) {
		Ty half = ll_vec(LLVMHalfTypeInContext(l->ctx), lanes);
		v = LLVMBuildFPExt(l->b, LLVMBuildBitCast(l->b, v, half, ""),
				   ll_vec(l->f32, lanes), "");
	} else if (t == DT_bool) {
		v = LLVMBuildICmp(l->b, LLVMIntNE, v, ll_const_i32(l, 0, lanes), "");
	}
	return (Lanes){v, t};
}

/* f32 bits rounded half to even to their upper 16; a NaN stays one. */
static Val round_bf16_bits(Ll *l, Val x)
{
	int lanes = ll_lanes(x);
	Val bits = ll_bits(l, x);
	Val odd = LLVMBuildAnd(l->b, LLVMBuildLShr(l->b, bits, ll_const_i32(l, 16, lanes), ""),
			       ll_const_i32(l, 1, lanes), "");
	Val up = ll_add(l, ll_add(l, bits, odd), ll_const_i32(l, 0x7FFF, lanes));
	Val quiet = LLVMBuildOr(l->b, bits, ll_const_i32(l, 0x400000, lanes), "");
	Val nan = LLVMBuildFCmp(l->b, LLVMRealUNO, x, x, "");

	return LLVMBuildAnd(l->b, ll_select(l, nan, quiet, up),
			    ll_const_i32(l, (int32_t)0xFFFF0000, lanes), "");
}

Val to_memory(Emit *e, Lanes x)
{
	Ll *l = &e->l;
	int lanes = ll_lanes(x.v);

	if (x.dtype == DT_bf16) {
		Val high = LLVMBuildLShr(l->b, ll_bits(l, x.v), ll_const_i32(l, 16, lanes), "");
		return LLVMBuildTrunc(l->b, high, ll_vec(l->i16, lanes), "");
	}
	if (x.dtype == DT_f16) {
		Ty half = ll_vec(LLVMHalfTypeInContext(l->ctx), lanes);
		return LLVMBuildBitCast(l->b, LLVMBuildFPTrunc(l->b, x.v, half, ""),
					ll_vec(l->i16, lanes), "");
	}
	if (x.dtype == DT_bool)
		return LLVMBuildZExt(l->b, x.v, ll_vec(l->i32, lanes), "");
	return x.v;
}

Lanes emit_load_lanes(Emit *e, Dtype t, Val at, int lanes, Val mask)
{
	Ty type = memory_type(e, t, lanes);
	int align = entry_bytes(t);

	if (mask)
		return from_memory(e, t, ll_masked_load(&e->l, type, at, mask, align));
	return from_memory(e, t, ll_load(&e->l, type, at, align));
}

void emit_store_lanes(Emit *e, Lanes x, Val at, Val mask)
{
	Val v = to_memory(e, x);
	int align = entry_bytes(x.dtype);

	if (mask)
		ll_masked_store(&e->l, v, at, mask, align);
	else
		ll_store(&e->l, v, at, align);
}

Val emit_tail_mask(Emit *e, Val left, int lanes)
{
	Ll *l = &e->l;
	Val n = LLVMBuildTrunc(l->b, left, l->i32, "");
	return LLVMBuildICmp(l->b, LLVMIntSLT, ll_iota(l, lanes), ll_splat(l, n, lanes), "");
}

Lanes emit_lanes_const(Emit *e, Dtype t, double v, int lanes)
{
	Ll *l = &e->l;

	if (t == DT_f64) {
		Val c = LLVMConstReal(l->f64, v);
		return (Lanes){lanes == 1 ? c : ll_splat(l, c, lanes), t};
	}
	if (t == DT_f32 || stored(t))
		return (Lanes){ll_const_f32(l, v, lanes), t};
	if (t == DT_bool) {
		Val c = LLVMConstInt(l->i1, v != 0, 0);
		return (Lanes){lanes == 1 ? c : ll_splat(l, c, lanes), t};
	}
	return (Lanes){ll_const_i32(l, (int64_t)v, lanes), t};
}

static Lanes to_float(Emit *e, Lanes x, Ty one)
{
	Ll *l = &e->l;
	Ty to = ll_vec(one, ll_lanes(x.v));

	if (x.dtype == DT_f64)
		x.v = one == l->f64 ? x.v : LLVMBuildFPTrunc(l->b, x.v, to, "");
	else if (x.dtype == DT_f32 || stored(x.dtype))
		x.v = one == l->f64 ? LLVMBuildFPExt(l->b, x.v, to, "") : x.v;
	else if (x.dtype == DT_bool)
		x.v = LLVMBuildUIToFP(l->b, x.v, to, "");
	else
		x.v = LLVMBuildSIToFP(l->b, x.v, to, "");
	return (Lanes){x.v, one == l->f64 ? DT_f64 : DT_f32};
}

static Lanes to_integer(Emit *e, Lanes x)
{
	Ll *l = &e->l;
	Ty to = ll_vec(l->i32, ll_lanes(x.v));

	if (x.dtype == DT_bool)
		x.v = LLVMBuildZExt(l->b, x.v, to, "");
	else if (x.dtype != DT_i32 && x.dtype != DT_index)
		x.v = ll_to_int_saturating(l, x.v, to);
	return (Lanes){x.v, DT_i32};
}

Lanes emit_convert(Emit *e, Lanes x, Dtype to)
{
	Ll *l = &e->l;
	int lanes = ll_lanes(x.v);

	if (x.dtype == to)
		return x;
	switch (to) {
	case DT_f32:
		return to_float(e, x, l->f32);
	case DT_f64:
		return to_float(e, x, l->f64);
	case DT_i32:
		return to_integer(e, x);
	case DT_index:
		return (Lanes){to_integer(e, x).v, DT_index};
	case DT_bool:
		if (x.dtype == DT_i32 || x.dtype == DT_index)
			x.v = LLVMBuildICmp(l->b, LLVMIntNE, x.v, ll_const_i32(l, 0, lanes), "");
		else
			x.v = LLVMBuildFCmp(l->b, LLVMRealUNE, to_float(e, x, l->f32).v,
					    ll_const_f32(l, 0, lanes), "");
		return (Lanes){x.v, DT_bool};
	case DT_bf16:
		x = to_float(e, x, l->f32);
		return (Lanes){ll_float(l, round_bf16_bits(l, x.v)), DT_bf16};
	case DT_f16: {
		x = to_float(e, x, l->f32);
		Ty half = ll_vec(LLVMHalfTypeInContext(l->ctx), lanes);
		Val rounded = LLVMBuildFPTrunc(l->b, x.v, half, "");
		return (Lanes){LLVMBuildFPExt(l->b, rounded, ll_vec(l->f32, lanes), ""), DT_f16};
	}
	default:
		ice("no conversion to %s", dtype_info[to].name);
	}
}

static Val unary_intrinsic(Ll *l, const char *name, Val x)
{
	return ll_call_intrinsic(l, name, LLVMTypeOf(x), &x, 1);
}

static Val sign_of(Emit *e, Lanes x)
{
	Ll *l = &e->l;
	int lanes = ll_lanes(x.v);

	if (x.dtype == DT_i32) {
		Val zero = ll_const_i32(l, 0, lanes);
		Val up = LLVMBuildICmp(l->b, LLVMIntSGT, x.v, zero, "");
		Val down = LLVMBuildICmp(l->b, LLVMIntSLT, x.v, zero, "");
		return ll_select(l, up, ll_const_i32(l, 1, lanes),
				 ll_select(l, down, ll_const_i32(l, -1, lanes), zero));
	}
	Val zero = emit_lanes_const(e, x.dtype, 0, lanes).v;
	Val up = LLVMBuildFCmp(l->b, LLVMRealOGT, x.v, zero, "");
	Val down = LLVMBuildFCmp(l->b, LLVMRealOLT, x.v, zero, "");
	return ll_select(l, up, emit_lanes_const(e, x.dtype, 1, lanes).v,
			 ll_select(l, down, emit_lanes_const(e, x.dtype, -1, lanes).v, x.v));
}

static Val unary(Emit *e, OpKind op, Lanes x)
{
	Ll *l = &e->l;
	bool whole = x.dtype == DT_i32;

	switch (op) {
	case OP_neg:
		return whole ? LLVMBuildNeg(l->b, x.v, "") : LLVMBuildFNeg(l->b, x.v, "");
	case OP_abs:
		if (whole)
			return ll_call_intrinsic(l, "llvm.abs", LLVMTypeOf(x.v),
						 (Val[]){x.v, LLVMConstInt(l->i1, 0, 0)}, 2);
		return unary_intrinsic(l, "llvm.fabs", x.v);
	case OP_square:
		return whole ? ll_mul(l, x.v, x.v) : LLVMBuildFMul(l->b, x.v, x.v, "");
	case OP_sign:
		return sign_of(e, x);
	case OP_sqrt:
		return unary_intrinsic(l, "llvm.sqrt", x.v);
	case OP_floor:
		return unary_intrinsic(l, "llvm.floor", x.v);
	case OP_ceil:
		return unary_intrinsic(l, "llvm.ceil", x.v);
	case OP_round:
		return unary_intrinsic(l, "llvm.roundeven", x.v);
	case OP_exp:
		return math_exp(l, x.v);
	case OP_log:
		return math_log(l, x.v);
	case OP_tanh:
		return math_tanh(l, x.v);
	case OP_erf:
		return math_erf(l, x.v);
	case OP_sigmoid:
		return math_sigmoid(l, x.v);
	case OP_softplus:
		return math_softplus(l, x.v);
	default:
		ice("no emitter for %s", op_info[op].name);
	}
}

static Val binary(Emit *e, OpKind op, Val a, Val b, bool whole)
{
	LLVMBuilderRef bl = e->l.b;
	Ll *l = &e->l;

	switch (op) {
	case OP_add:
		return whole ? LLVMBuildAdd(bl, a, b, "") : LLVMBuildFAdd(bl, a, b, "");
	case OP_sub:
		return whole ? LLVMBuildSub(bl, a, b, "") : LLVMBuildFSub(bl, a, b, "");
	case OP_mul:
		return whole ? LLVMBuildMul(bl, a, b, "") : LLVMBuildFMul(bl, a, b, "");
	case OP_div:
		return LLVMBuildFDiv(bl, a, b, "");
	case OP_min:
		return ll_call_intrinsic(l, whole ? "llvm.smin" : "llvm.minimum",
					 LLVMTypeOf(a), (Val[]){a, b}, 2);
	case OP_max:
		return ll_call_intrinsic(l, whole ? "llvm.smax" : "llvm.maximum",
					 LLVMTypeOf(a), (Val[]){a, b}, 2);
	case OP_lt:
		return whole ? LLVMBuildICmp(bl, LLVMIntSLT, a, b, "")
			     : LLVMBuildFCmp(bl, LLVMRealOLT, a, b, "");
	case OP_le:
		return whole ? LLVMBuildICmp(bl, LLVMIntSLE, a, b, "")
			     : LLVMBuildFCmp(bl, LLVMRealOLE, a, b, "");
	case OP_eq:
		return whole ? LLVMBuildICmp(bl, LLVMIntEQ, a, b, "")
			     : LLVMBuildFCmp(bl, LLVMRealOEQ, a, b, "");
	case OP_ne:
		return whole ? LLVMBuildICmp(bl, LLVMIntNE, a, b, "")
			     : LLVMBuildFCmp(bl, LLVMRealUNE, a, b, "");
	case OP_and:
		return LLVMBuildAnd(bl, a, b, "");
	case OP_or:
		return LLVMBuildOr(bl, a, b, "");
	default:
		ice("no emitter for %s", op_info[op].name);
	}
}

/* a - b * floor(a / b), exactly for integers (a division by 0 gives 0 there) */
static Val modulo(Emit *e, Val a, Val b, bool whole)
{
	Ll *l = &e->l;

	if (!whole) {
		Val q = unary_intrinsic(l, "llvm.floor", LLVMBuildFDiv(l->b, a, b, ""));
		return LLVMBuildFSub(l->b, a, LLVMBuildFMul(l->b, b, q, ""), "");
	}
	int lanes = ll_lanes(a);
	Val zero = ll_const_i32(l, 0, lanes);
	Val none = LLVMBuildICmp(l->b, LLVMIntEQ, b, zero, "");
	Val minus = LLVMBuildICmp(l->b, LLVMIntEQ, b, ll_const_i32(l, -1, lanes), "");
	/* b = -1 leaves 0 and would trap on INT_MIN */
	Val safe = ll_select(l, LLVMBuildOr(l->b, none, minus, ""), ll_const_i32(l, 1, lanes), b);
	Val r = LLVMBuildSRem(l->b, a, safe, "");
	Val differ = LLVMBuildICmp(l->b, LLVMIntSLT, LLVMBuildXor(l->b, r, safe, ""), zero, "");
	Val rest = LLVMBuildICmp(l->b, LLVMIntNE, r, zero, "");
	Val up = ll_add(l, r, safe);
	return ll_select(l, LLVMBuildAnd(l->b, differ, rest, ""), up, r);
}

/* The type in which two operands are compared. */
static Dtype meeting(Dtype a, Dtype b)
{
	bool fa = a == DT_f32 || stored(a), fb = b == DT_f32 || stored(b);

	if (fa || fb)
		return DT_f32;
	if (a == DT_f64 || b == DT_f64)
		return DT_f64;
	return DT_i32;
}

Lanes emit_ew(Emit *e, const Op *op, const Lanes *args)
{
	Ll *l = &e->l;
	Dtype out = op->outs[0]->type.dtype;
	int lanes = ll_lanes(args[0].v);

	switch (op->kind) {
	case OP_stop:
	case OP_cast:
		return emit_convert(e, args[0], out);
	case OP_index: {
		Val i = to_integer(e, args[0]).v;
		Val n = ll_const_i32(l, op->outs[0]->type.axis, lanes);
		Val in = LLVMBuildICmp(l->b, LLVMIntULT, i, n, "");
		return (Lanes){ll_select(l, in, i, ll_const_i32(l, -1, lanes)), out};
	}
	case OP_not:
		return (Lanes){LLVMBuildNot(l->b, emit_convert(e, args[0], DT_bool).v, ""), out};
	case OP_isnone:
		return (Lanes){LLVMBuildICmp(l->b, LLVMIntSLT, args[0].v,
					     ll_const_i32(l, 0, lanes), ""), out};
	case OP_select: {
		Val c = emit_convert(e, args[0], DT_bool).v;
		Val yes = emit_convert(e, args[1], out).v, no = emit_convert(e, args[2], out).v;
		return (Lanes){ll_select(l, c, yes, no), out};
	}
	default:
		break;
	}
	if (op->nargs == 1)
		return (Lanes){unary(e, op->kind, emit_convert(e, args[0], out)), out};
	Dtype in = out;
	if (op->kind == OP_and || op->kind == OP_or)
		in = DT_bool;
	else if (out == DT_bool)
		in = meeting(args[0].dtype, args[1].dtype);
	Val a = emit_convert(e, args[0], in).v, b = emit_convert(e, args[1], in).v;
	bool whole = in == DT_i32;
	return (Lanes){op->kind == OP_mod ? modulo(e, a, b, whole)
					  : binary(e, op->kind, a, b, whole), out};
}
