/* SPDX-License-Identifier: Apache-2.0
 * ll: short names over the LLVM C API; the one place that fixes LLVM's version.
 *
 * C leaves open which argument of a call is computed first, so two that emit code never
 * stand in one: whatever compiler built moec, the code is the same. */
#ifndef MOEC_LL_H
#define MOEC_LL_H

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>

#if LLVM_VERSION_MAJOR != 19
#error "moec is written for LLVM 19"
#endif

typedef LLVMValueRef Val;
typedef LLVMTypeRef  Ty;

/* What emitting one function needs.  Vectors of `lanes` entries; lanes 1 is a scalar. */
typedef struct {
	LLVMContextRef ctx;
	LLVMModuleRef  mod;
	LLVMBuilderRef b;
	Val            fn;              /* being emitted */
	const char    *variant, *cpu, *features;        /* of functions from now on */
	Ty             f32, f64, i1, i8, i16, i32, i64, ptr, none;
} Ll;

static inline Ty ll_vec(Ty t, int lanes)
{
	return lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t;
}

static inline int ll_lanes(Val v)
{
	Ty t = LLVMTypeOf(v);
	return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

static inline Val ll_i64(Ll *l, int64_t v)
{
	return LLVMConstInt(l->i64, (unsigned long long)v, 1);
}

/* ll.c */
void ll_open(Ll *, LLVMContextRef, LLVMModuleRef);
/* What functions from now on may use; variant: a part of their names, or NULL. */
void ll_features(Ll *, const char *variant, const char *cpu, const char *features);
Val  ll_function(Ll *, const char *name, Ty result, Ty *args, int n, bool internal);
Val  ll_intrinsic(Ll *, const char *name, Ty overload);         /* declared */
Val  ll_call(Ll *, Val fn, Val *args, int n);
Val  ll_call_intrinsic2(Ll *, const char *name, Ty, Ty, Val *args, int n);  /* on two types */
Val  ll_call_intrinsic(Ll *, const char *name, Ty overload, Val *args, int n);
Val  ll_splat(Ll *, Val scalar, int lanes);
Val  ll_const_f32(Ll *, double v, int lanes);
Val  ll_const_i32(Ll *, int64_t v, int lanes);
Val  ll_iota(Ll *, int lanes);                                  /* <0, 1, ..> i32 */
Val  ll_at(Ll *, Val base, Val byte_offset);                    /* pointer + bytes */
Val  ll_at_const(Ll *, Val base, int64_t bytes);
Val  ll_load(Ll *, Ty, Val at, int align);
void ll_store(Ll *, Val v, Val at, int align);
Val  ll_masked_load(Ll *, Ty vector, Val at, Val mask, int align);
void ll_masked_store(Ll *, Val v, Val at, Val mask, int align);
Val  ll_to_int_saturating(Ll *, Val, Ty to);
Val  ll_load_constant(Ll *, Ty, Val at, int align);     /* of what no kernel writes */
Val  ll_field(Ll *, Ty, Val structure, size_t offset);  /* .. a field of the runtime's */
void ll_prefetch(Ll *, Val at, int cache);              /* its line into L1, L2 or L3 */
Val  ll_add(Ll *, Val, Val);
Val  ll_mul(Ll *, Val, Val);
Val  ll_select(Ll *, Val c, Val a, Val b);
Val  ll_fma(Ll *, Val a, Val b, Val c);
Val  ll_bits(Ll *, Val f32);                                    /* the same bits as i32 */
Val  ll_float(Ll *, Val i32_bits);
Val  ll_alloca(Ll *, Ty, const char *name);                     /* in the entry block */
LLVMBasicBlockRef ll_block(Ll *, const char *name);
void ll_goto(Ll *, LLVMBasicBlockRef);                          /* branch; continue there */
void ll_branch(Ll *, Val cond, LLVMBasicBlockRef then, LLVMBasicBlockRef other);
void ll_here(Ll *, LLVMBasicBlockRef);                          /* continue there */
Val  ll_string(Ll *, const char *);                             /* a private constant */
/* What LLVM calls -1 where it takes an unsigned. */
#define OF_FUNCTION ((LLVMAttributeIndex)LLVMAttributeFunctionIndex)
void ll_attr(Ll *, Val fn, unsigned index, const char *name, uint64_t value);

/* for (i = from; i < to; i += step): begin, body, end.  The counter lives in an alloca. */
typedef struct {
	LLVMBasicBlockRef head, body, done;
	Val counter, i, step;
} Loop;
Loop ll_for(Ll *, Val from, Val to, int64_t step, const char *name);
void ll_end_for(Ll *, Loop *);

#endif
