/* SPDX-License-Identifier: Apache-2.0
 * entry: the functions a host program calls, NAME_open and so on: each a thin one around the
 * runtime's, with the layer's descriptor in hand.  They run before it is known what the
 * CPU has, and use nothing beyond what all have. */
#include "emit.h"

static Val runtime_function(Ll *l, const char *name, Ty ret, Ty *args, int n)
{
	Val fn = LLVMGetNamedFunction(l->mod, name);
	return fn ? fn : LLVMAddFunction(l->mod, name,
					 LLVMFunctionType(ret, args, (unsigned)n, 0));
}

/* NAME_what(a, b, ..) { return moert_what([&layer,] a, b, ..); } */
static void forward(Emit *e, const char *what, Ty ret, int nargs, Val layer)
{
	Ll *l = &e->l;
	Ty types[8];
	Val args[8];
	int n = 0;

	for (int i = 0; i < nargs; i++)
		types[i] = l->ptr;
	const char *name = arena_printf(e->arena, "%s_%s", e->m->name, what);
	Val fn = ll_function(l, name, ret, types, nargs, false);
	LLVMSetDLLStorageClass(fn, LLVMDefaultStorageClass);
	if (layer)
		args[n++] = layer;
	for (int i = 0; i < nargs; i++)
		args[n++] = LLVMGetParam(fn, (unsigned)i);
	for (int i = 0; i < n; i++)
		types[i] = l->ptr;
	Val to = runtime_function(l, arena_printf(e->arena, "moert_%s", what), ret, types, n);
	Val result = ll_call(l, to, args, n);
	LLVMSetTailCall(result, 1);
	if (ret == l->none)
		LLVMBuildRetVoid(l->b);
	else
		LLVMBuildRet(l->b, result);
}

/* NAME_LAYER_run(session, number, args), for each layer that a model calls. */
static void run_of_call(Emit *e, const char *of)
{
	Ll *l = &e->l;
	const char *name = arena_printf(e->arena, "%s_%s_run", e->m->name, call_name(of));
	Val fn = ll_function(l, name, l->i32, (Ty[]){l->ptr, l->i64, l->ptr}, 3, false);
	Ty types[] = {l->ptr, l->ptr, l->i64, l->ptr};
	Val to = runtime_function(l, "moert_run_call", l->i32, types, COUNT(types));
	Val args[] = {LLVMGetParam(fn, 0), ll_string(l, of), LLVMGetParam(fn, 1),
		      LLVMGetParam(fn, 2)};

	LLVMBuildRet(l->b, ll_call(l, to, args, COUNT(args)));
}

/* NAME_forget(session, sequence) */
static void emit_forget(Emit *e)
{
	Ll *l = &e->l;
	Ty types[] = {l->ptr, l->i64};
	const char *name = arena_printf(e->arena, "%s_forget", e->m->name);
	Val fn = ll_function(l, name, l->none, types, COUNT(types), false);
	Val to = runtime_function(l, "moert_forget", l->none, types, COUNT(types));

	ll_call(l, to, (Val[]){LLVMGetParam(fn, 0), LLVMGetParam(fn, 1)}, COUNT(types));
	LLVMBuildRetVoid(l->b);
}

static void emit_calls(Emit *e, Val layer)
{
	Ll *l = &e->l;
	const char *name = arena_printf(e->arena, "%s_path", e->m->name);

	if (e->m->calls.n == 0)
		return;
	for (int i = 0; i < e->m->calls.n; i++)
		if (is_first_call(e->m, i))
			run_of_call(e, e->m->calls.at[i].layer);
	Val fn = ll_function(l, name, l->ptr, &l->i64, 1, false);
	Val to = runtime_function(l, "moert_path", l->ptr, (Ty[]){l->ptr, l->i64}, 2);
	LLVMBuildRet(l->b, ll_call(l, to, (Val[]){layer, LLVMGetParam(fn, 0)}, 2));
}

void emit_entries(Emit *e, Val layer)
{
	Ll *l = &e->l;

	forward(e, "open", l->i32, 3, layer);
	forward(e, "open_memory", l->i32, 4, layer);
	forward(e, "bytes", l->i64, 1, NULL);
	forward(e, "target", l->ptr, 1, NULL);
	forward(e, "close", l->none, 1, NULL);
	forward(e, "start", l->i32, 3, NULL);
	forward(e, "run", l->i32, 2, NULL);
	forward(e, "reset", l->none, 1, NULL);
	emit_forget(e);
	forward(e, "end", l->none, 1, NULL);
	emit_calls(e, layer);
	const char *name = arena_printf(e->arena, "%s_layer", e->m->name);
	ll_function(l, name, l->ptr, NULL, 0, false);
	LLVMBuildRet(l->b, layer);

	const char *error = arena_printf(e->arena, "%s_error", e->m->name);
	Val fn = ll_function(l, error, l->ptr, &l->i32, 1, false);
	Val to = runtime_function(l, "moert_error", l->ptr, &l->i32, 1);
	LLVMBuildRet(l->b, ll_call(l, to, (Val[]){LLVMGetParam(fn, 0)}, 1));
}
