/* SPDX-License-Identifier: Apache-2.0
 * object: LLVM's part: target machine, optimisation, and the file that comes out. */
#include "emit.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdlib.h>
#include <string.h>

/* What a triple's CPUs all have: each function says what it needs beyond that. */
static LLVMTargetMachineRef machine(Emit *e)
{
	LLVMTargetRef target;
	char *message = NULL;

	if (LLVMGetTargetFromTriple(e->t->triple, &target, &message))
		ice("LLVM: %s", message);
	return LLVMCreateTargetMachine(target, e->t->triple, "", "", LLVMCodeGenLevelDefault,
				       LLVMRelocPIC, LLVMCodeModelDefault);
}

static const char *features(Arena *arena, const Target *t)
{
	Text words = text_new(arena);

	for (const char *s = t->needs; *s;) {
		size_t n = strcspn(s, " ");
		text_add(&words, words.n ? ",+" : "+");
		text_addn(&words, s, n);
		s += n + (s[n] == ' ');
	}
	if (*t->tune)
		text_printf(&words, "%s%s", words.n ? "," : "", t->tune);
	return words.s;
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

/* Rows that a region reads from around it are those of other tokens. */
static bool reads_rows(const Region *r)
{
	Arena *arena = arena_new();
	int n;
	Value **v = region_captures(arena, r, &n);
	bool any = false;

	for (int i = 0; i < n; i++)
		any = any || v[i]->type.level == LV_ROW || v[i]->type.dtype == DT_rows;
	arena_free(arena);
	return any;
}

/* What is wrong with an op between kernels, or NULL. */
static const char *not_compiled(const Op *op)
{
	switch (op->kind) {
	case OP_kernel: case OP_return: case OP_yield: case OP_state: case OP_defer:
	case OP_repeat: case OP_if:
		return NULL;
	case OP_next:
		return op->in->op ? "a `next` in a branch" : NULL;
	case OP_where:
		if (op->args[0]->type.level != LV_TOKEN)
			return "an `if` of an expert on what differs from row to row";
		/* fall through */
	case OP_scan:
		for (int i = 0; i < op->nregions; i++)
			if (reads_rows(op->regions[i]))
				return "a branch that reads experts' rows from around it";
		return NULL;
	default:
		return op_info[op->kind].name;
	}
}

static bool accepts(Diag *diag, const Region *r)
{
	for (const Op *op = r->first; op; op = op->next) {
		const char *what = not_compiled(op);
		if (what) {
			diag_error(diag, E_not_compiled, op->loc,
				   "%s is not compiled to native code yet", what);
			diag_fix(diag, "`moec run --reference` interprets it");
			return false;
		}
		for (int i = 0; i < op->nregions && op->kind != OP_kernel; i++)
			if (!accepts(diag, op->regions[i]))
				return false;
	}
	return true;
}

/* A host's arrays have a row a token, a row a sequence, or one for all. */
static bool has_arrays(Diag *diag, const Fn *fn)
{
	bool fit = true;

	for (int i = 0; i < fn->body->nargs; i++)
		fit = fit && fn->body->args[i]->type.level != LV_EXPERT &&
		      fn->body->args[i]->type.level != LV_ROW;
	for (int i = 0; i < fn->nouts; i++)
		fit = fit && fn->outs[i].level != LV_EXPERT && fn->outs[i].level != LV_ROW;
	if (!fit)
		diag_error(diag, E_ir_rule, fn->body->first->loc,
			   "an input or result of @%s exists once an expert or a routed "
			   "row: no host has such arrays", fn->name);
	return fit;
}

bool backend_accepts(Diag *diag, const Module *m)
{
	const Fn *fn;

	for (int i = 0; (fn = fn_compiled(m, i)); i++)
		if (!has_arrays(diag, fn) || !accepts(diag, fn->body))
			return false;
	return true;
}

/* One target of a library's; next: the descriptor of a lesser one, or NULL. */
static Val emit_variant(const Emit *e, const EmitOptions *o, const Module *m,
			const Target *t, Val next)
{
	Emit v = *e;

	v.m = m;
	v.t = t;
	v.layer = m->fns;
	v.next = next;
	v.lanes = t->vector_bits / 32;
	ll_features(&v.l, o->nothers ? t->name : NULL, t->cpu, features(e->arena, t));
	return emit_layer(&v);
}

static void emit_all(Emit *e, const Module *m, const EmitOptions *o)
{
	Val lesser = NULL;

	for (int i = o->nothers - 1; i >= 0; i--)
		lesser = emit_variant(e, o, o->others[i], target_find(o->others[i]->target),
				      lesser);
	emit_entries(e, emit_variant(e, o, m, o->target, lesser));
}

static bool header_write(Arena *arena, Diag *diag, const Module *m, const EmitOptions *o)
{
	const Module **variants = NEWN(arena, const Module *, (size_t)o->nothers + 1);
	Text t = text_new(arena);

	variants[0] = m;
	for (int i = 0; i < o->nothers; i++)
		variants[i + 1] = o->others[i];
	backend_header(&t, variants, o->nothers + 1);
	return file_write(diag, o->out, t.s, t.n);
}

bool backend_emit(Arena *arena, Diag *diag, const Module *m, const EmitOptions *o)
{
	Emit e = {.arena = arena, .diag = diag, .m = m, .t = o->target, .layer = m->fns};

	if (!backend_accepts(diag, m))
		return false;
	if (o->what == EMIT_HEADER)
		return header_write(arena, diag, m, o);
	llvm_start();
	LLVMContextRef ctx = LLVMContextCreate();
	LLVMModuleRef mod = LLVMModuleCreateWithNameInContext(m->name, ctx);
	ll_open(&e.l, ctx, mod);
	emit_all(&e, m, o);
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
