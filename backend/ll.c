/* SPDX-License-Identifier: Apache-2.0
 * ll: the vocabulary that emitters speak, over the LLVM C API. */
#include "../ir/base.h"
#include "ll.h"
#include <string.h>

void ll_open(Ll *l, LLVMContextRef ctx, LLVMModuleRef mod)
{
	*l = (Ll){.ctx = ctx, .mod = mod, .b = LLVMCreateBuilderInContext(ctx)};
	ll_features(l, NULL, "", "");
	l->f32 = LLVMFloatTypeInContext(ctx);
	l->f64 = LLVMDoubleTypeInContext(ctx);
	l->i1 = LLVMInt1TypeInContext(ctx);
	l->i8 = LLVMInt8TypeInContext(ctx);
	l->i16 = LLVMInt16TypeInContext(ctx);
	l->i32 = LLVMInt32TypeInContext(ctx);
	l->i64 = LLVMInt64TypeInContext(ctx);
	l->ptr = LLVMPointerTypeInContext(ctx, 0);
	l->none = LLVMVoidTypeInContext(ctx);
}

void ll_attr(Ll *l, Val fn, unsigned index, const char *name, uint64_t value)
{
	unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
	LLVMAddAttributeAtIndex(fn, index, LLVMCreateEnumAttribute(l->ctx, kind, value));
}

void ll_features(Ll *l, const char *variant, const char *cpu, const char *features)
{
	l->variant = variant;
	l->cpu = cpu;
	l->features = features;
}

static void words_attr(Ll *l, Val fn, const char *name, const char *words)
{
	LLVMAttributeRef attr = LLVMCreateStringAttribute(l->ctx, name, (unsigned)strlen(name),
							  words, (unsigned)strlen(words));
	if (words && *words)
		LLVMAddAttributeAtIndex(fn, OF_FUNCTION, attr);
}

Val ll_function(Ll *l, const char *name, Ty result, Ty *args, int n, bool internal)
{
	Ty type = LLVMFunctionType(result, args, (unsigned)n, 0);
	char longer[512];

	if (l->variant && snprintf(longer, sizeof longer, "%s.%s", name, l->variant) > 0)
		name = longer;
	Val fn = LLVMAddFunction(l->mod, name, type);

	LLVMSetLinkage(fn, internal ? LLVMInternalLinkage : LLVMExternalLinkage);
	ll_attr(l, fn, OF_FUNCTION, "nounwind", 0);
	words_attr(l, fn, "target-cpu", l->cpu);
	words_attr(l, fn, "target-features", l->features);
	l->fn = fn;
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(l->ctx, fn, "entry");
	LLVMPositionBuilderAtEnd(l->b, entry);
	return fn;
}

/* Those of one machine alone are not overloaded, and `types` are not looked at. */
static Val intrinsic(Ll *l, const char *name, Ty *types, int n)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));

	if (!id)
		ice("LLVM has no intrinsic %s", name);
	bool overloaded = LLVMIntrinsicIsOverloaded(id);
	return LLVMGetIntrinsicDeclaration(l->mod, id, types, overloaded ? (size_t)n : 0);
}

Val ll_intrinsic(Ll *l, const char *name, Ty overload)
{
	return intrinsic(l, name, &overload, 1);
}

Val ll_call(Ll *l, Val fn, Val *args, int n)
{
	return LLVMBuildCall2(l->b, LLVMGlobalGetValueType(fn), fn, args, (unsigned)n, "");
}

Val ll_call_intrinsic(Ll *l, const char *name, Ty overload, Val *args, int n)
{
	return ll_call(l, ll_intrinsic(l, name, overload), args, n);
}

Val ll_splat(Ll *l, Val scalar, int lanes)
{
	if (lanes == 1)
		return scalar;
	Ty vec = ll_vec(LLVMTypeOf(scalar), lanes);
	Val one = LLVMBuildInsertElement(l->b, LLVMGetPoison(vec), scalar, ll_i64(l, 0), "");
	Val zeros = LLVMConstNull(ll_vec(l->i32, lanes));
	return LLVMBuildShuffleVector(l->b, one, LLVMGetPoison(vec), zeros, "");
}

static Val const_splat(Val c, int lanes)
{
	Val all[64];

	if (lanes == 1)
		return c;
	for (int i = 0; i < lanes; i++)
		all[i] = c;
	return LLVMConstVector(all, (unsigned)lanes);
}

Val ll_const_f32(Ll *l, double v, int lanes)
{
	return const_splat(LLVMConstReal(l->f32, v), lanes);
}

Val ll_const_i32(Ll *l, int64_t v, int lanes)
{
	return const_splat(LLVMConstInt(l->i32, (unsigned long long)v, 1), lanes);
}

Val ll_iota(Ll *l, int lanes)
{
	Val all[64];

	for (int i = 0; i < lanes; i++)
		all[i] = LLVMConstInt(l->i32, (unsigned long long)i, 0);
	return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
}

Val ll_at(Ll *l, Val base, Val byte_offset)
{
	return LLVMBuildGEP2(l->b, l->i8, base, &byte_offset, 1, "");
}

Val ll_at_const(Ll *l, Val base, int64_t bytes)
{
	return bytes ? ll_at(l, base, ll_i64(l, bytes)) : base;
}

Val ll_load(Ll *l, Ty type, Val at, int align)
{
	Val v = LLVMBuildLoad2(l->b, type, at, "");
	LLVMSetAlignment(v, (unsigned)align);
	return v;
}

void ll_store(Ll *l, Val v, Val at, int align)
{
	LLVMSetAlignment(LLVMBuildStore(l->b, v, at), (unsigned)align);
}

Val ll_call_intrinsic2(Ll *l, const char *name, Ty first, Ty second, Val *args, int n)
{
	return ll_call(l, intrinsic(l, name, (Ty[]){first, second}, 2), args, n);
}

/* Towards zero; NaN gives 0, beyond the range its end. */
Val ll_to_int_saturating(Ll *l, Val v, Ty to)
{
	return ll_call_intrinsic2(l, "llvm.fptosi.sat", to, LLVMTypeOf(v), &v, 1);
}

Val ll_masked_load(Ll *l, Ty vector, Val at, Val mask, int align)
{
	Val args[4] = {at, LLVMConstInt(l->i32, (unsigned)align, 0), mask,
		       LLVMConstNull(vector)};
	return ll_call_intrinsic2(l, "llvm.masked.load", vector, l->ptr, args, 4);
}

void ll_masked_store(Ll *l, Val v, Val at, Val mask, int align)
{
	Val args[4] = {v, at, LLVMConstInt(l->i32, (unsigned)align, 0), mask};
	ll_call_intrinsic2(l, "llvm.masked.store", LLVMTypeOf(v), l->ptr, args, 4);
}

/* LLVM cannot know that no store goes there, and would load it again behind each. */
Val ll_load_constant(Ll *l, Ty type, Val at, int align)
{
	Val v = ll_load(l, type, at, align);
	unsigned kind = LLVMGetMDKindIDInContext(l->ctx, "invariant.load", 14);
	Val none = LLVMMetadataAsValue(l->ctx, LLVMMDNodeInContext2(l->ctx, NULL, 0));

	LLVMSetMetadata(v, kind, none);
	return v;
}

Val ll_field(Ll *l, Ty type, Val structure, size_t offset)
{
	return ll_load_constant(l, type, ll_at_const(l, structure, (int64_t)offset), 8);
}

void ll_prefetch(Ll *l, Val at, int cache)
{
	Val read = ll_const_i32(l, 0, 1), data = ll_const_i32(l, 1, 1);

	ll_call_intrinsic(l, "llvm.prefetch", l->ptr,
			  (Val[]){at, read, ll_const_i32(l, 4 - cache, 1), data}, 4);
}

Val ll_add(Ll *l, Val a, Val b)
{
	return LLVMBuildAdd(l->b, a, b, "");
}

Val ll_mul(Ll *l, Val a, Val b)
{
	return LLVMBuildMul(l->b, a, b, "");
}

Val ll_select(Ll *l, Val c, Val a, Val b)
{
	return LLVMBuildSelect(l->b, c, a, b, "");
}

Val ll_fma(Ll *l, Val a, Val b, Val c)
{
	return ll_call_intrinsic(l, "llvm.fma", LLVMTypeOf(c), (Val[]){a, b, c}, 3);
}

Val ll_bits(Ll *l, Val v)
{
	return LLVMBuildBitCast(l->b, v, ll_vec(l->i32, ll_lanes(v)), "");
}

Val ll_float(Ll *l, Val v)
{
	return LLVMBuildBitCast(l->b, v, ll_vec(l->f32, ll_lanes(v)), "");
}

Val ll_alloca(Ll *l, Ty type, const char *name)
{
	LLVMBasicBlockRef now = LLVMGetInsertBlock(l->b);
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(l->fn);
	Val first = LLVMGetFirstInstruction(entry);

	if (first)
		LLVMPositionBuilderBefore(l->b, first);
	else
		LLVMPositionBuilderAtEnd(l->b, entry);
	Val slot = LLVMBuildAlloca(l->b, type, name);
	LLVMPositionBuilderAtEnd(l->b, now);
	return slot;
}

LLVMBasicBlockRef ll_block(Ll *l, const char *name)
{
	return LLVMAppendBasicBlockInContext(l->ctx, l->fn, name);
}

void ll_here(Ll *l, LLVMBasicBlockRef at)
{
	LLVMPositionBuilderAtEnd(l->b, at);
}

void ll_goto(Ll *l, LLVMBasicBlockRef at)
{
	LLVMBuildBr(l->b, at);
	ll_here(l, at);
}

void ll_branch(Ll *l, Val cond, LLVMBasicBlockRef then, LLVMBasicBlockRef other)
{
	LLVMBuildCondBr(l->b, cond, then, other);
}

Val ll_string(Ll *l, const char *s)
{
	Val text = LLVMConstStringInContext2(l->ctx, s, strlen(s), 0);
	Val g = LLVMAddGlobal(l->mod, LLVMTypeOf(text), "text");

	LLVMSetInitializer(g, text);
	LLVMSetGlobalConstant(g, 1);
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
	return g;
}

Loop ll_for(Ll *l, Val from, Val to, int64_t step, const char *name)
{
	Loop loop = {.step = ll_i64(l, step)};

	loop.counter = ll_alloca(l, l->i64, name);
	loop.head = ll_block(l, name);
	loop.body = ll_block(l, name);
	loop.done = ll_block(l, name);
	ll_store(l, from, loop.counter, 8);
	ll_goto(l, loop.head);
	loop.i = ll_load(l, l->i64, loop.counter, 8);
	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSLT, loop.i, to, ""), loop.body, loop.done);
	ll_here(l, loop.body);
	return loop;
}

void ll_end_for(Ll *l, Loop *loop)
{
	ll_store(l, LLVMBuildNSWAdd(l->b, loop->i, loop->step, ""), loop->counter, 8);
	LLVMBuildBr(l->b, loop->head);
	ll_here(l, loop->done);
}
