/* SPDX-License-Identifier: Apache-2.0
 * object: LLVM's part: target machine, optimisation, and the file that comes out. */
#include "emit.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdlib.h>
#include <string.h>

static LLVMTargetMachineRef machine(Emit *e)
{
	LLVMTargetRef target;
	char *message = NULL;

	if (LLVMGetTargetFromTriple(e->t->triple, &target, &message))
		ice("LLVM: %s", message);
	Text features = text_new(e->arena);
	for (const char *s = e->t->needs; *s;) {
		size_t n = strcspn(s, " ");
		text_add(&features, features.n ? ",+" : "+");
		text_addn(&features, s, n);
		s += n + (s[n] == ' ');
	}
	if (*e->t->tune)
		text_printf(&features, "%s%s", features.n ? "," : "", e->t->tune);
	return LLVMCreateTargetMachine(target, e->t->triple, e->t->cpu, features.s,
				       LLVMCodeGenLevelDefault, LLVMRelocPIC,
				       LLVMCodeModelDefault);
}

static void optimise(Emit *e, LLVMTargetMachineRef tm)
{
	/* what explicit vectors and unrolled steps still need; O2 takes twice as long and
	 * gives the same kernels */
	static const char pipeline[] =
		"function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
		"loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg)";
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef error = LLVMRunPasses(e->l.mod, pipeline, tm, options);

	LLVMDisposePassBuilderOptions(options);
	if (error) {
		char *message = LLVMGetErrorMessage(error);
		ice("LLVM: %s", message);
	}
}

static void verify_module(Emit *e)
{
	char *message = NULL;

	if (LLVMVerifyModule(e->l.mod, LLVMReturnStatusAction, &message))
		ice("LLVM refuses what was emitted: %s", message);
	LLVMDisposeMessage(message);
}

bool object_write(Emit *e, const EmitOptions *o, const char *path)
{
	LLVMTargetMachineRef tm = machine(e);
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
	LLVMMemoryBufferRef out;
	char *message = NULL;

	LLVMSetTarget(e->l.mod, e->t->triple);
	LLVMSetModuleDataLayout(e->l.mod, layout);
	LLVMDisposeTargetData(layout);
	if (o->verify)
		verify_module(e);
	optimise(e, tm);
	bool ok;
	if (o->what == EMIT_LLVM) {
		char *text = LLVMPrintModuleToString(e->l.mod);
		ok = file_write(e->diag, path, text, strlen(text));
		LLVMDisposeMessage(text);
	} else {
		LLVMCodeGenFileType type = o->what == EMIT_ASM ? LLVMAssemblyFile
							       : LLVMObjectFile;
		if (LLVMTargetMachineEmitToMemoryBuffer(tm, e->l.mod, type, &message, &out))
			ice("LLVM: %s", message);
		ok = file_write(e->diag, path, LLVMGetBufferStart(out),
				LLVMGetBufferSize(out));
		LLVMDisposeMemoryBuffer(out);
	}
	LLVMDisposeTargetMachine(tm);
	return ok;
}

/* The op that cannot be compiled yet, or NULL. */
static const Op *not_compiled(const Fn *layer)
{
	for (const Op *op = layer->body->first; op; op = op->next)
		if (op->kind != OP_kernel && op->kind != OP_return)
			return op;
	return NULL;
}

static bool refuse(Diag *diag, const Op *op)
{
	static const struct { OpKind kind; const char *what; } words[] = {
		{OP_where, "an `if` that differs from token to token"},
		{OP_repeat, "`repeat`"},
		{OP_if, "an `if` on a value of the call"},
		{OP_scan, "`state`"},
		{OP_state, "`state`"},
		{OP_next, "`state`"},
	};
	const char *what = op_info[op->kind].name;

	for (size_t i = 0; i < COUNT(words); i++)
		if (words[i].kind == op->kind)
			what = words[i].what;
	diag_error(diag, E_not_compiled, op->loc, "%s is not compiled to native code yet", what);
	diag_fix(diag, "`moec run --reference` interprets it");
	return false;
}

bool backend_emit(Arena *arena, Diag *diag, const Module *m, const EmitOptions *o)
{
	Emit e = {.arena = arena, .diag = diag, .m = m, .t = o->target, .layer = m->fns};
	const Op *no = NULL;

	for (int i = 0; !no && fn_compiled(m, i); i++)
		no = not_compiled(fn_compiled(m, i));
	if (no)
		return refuse(diag, no);
	if (o->what == EMIT_HEADER) {
		Text t = text_new(arena);
		backend_header(&t, m);
		return file_write(diag, o->out, t.s, t.n);
	}
	llvm_start();
	LLVMContextRef ctx = LLVMContextCreate();
	LLVMModuleRef mod = LLVMModuleCreateWithNameInContext(m->name, ctx);
	e.lanes = o->target->vector_bits / 32;
	ll_open(&e.l, ctx, mod);
	emit_layer(&e);
	bool ok;
	if (o->what == EMIT_LIB) {
		const char *out = library_place(arena, diag, o->out);
		char *object = out ? temporary(arena, diag, out, ".o", "", 0) : NULL;
		ok = object && object_write(&e, o, object) &&
		     link_library(arena, diag, o->target, object, out, m->name);
		temporary_end(object);
	} else {
		ok = object_write(&e, o, o->out);
	}
	LLVMDisposeBuilder(e.l.b);
	LLVMDisposeModule(mod);
	LLVMContextDispose(ctx);
	return ok;
}
