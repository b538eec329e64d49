/* SPDX-License-Identifier: Apache-2.0
 * elab_main: fe_compile, fe_plan and fe_check. */
#include "elab.h"

static void reset(Elab *e)
{
	e->steps = e->ops = 0;
	e->max_ops = MAX_OPS;
	e->ncalls = e->sites = 0;
	e->calls.n = e->called.n = e->names.n = 0;
	e->twice = (Loc){0};
}

/* False: nothing can be said about it. */
static bool elab_read(Elab *e, Arena *a, Diag *d, const FeOptions *opt)
{
	*e = (Elab){.a = a, .d = d, .opt = opt};
	reset(e);
	e->std = unit_load(e, "std.moe", std_moe, true);
	if (!e->std)
		ice("std.moe does not parse");
	e->main = unit_load(e, opt->file, opt->text, false);
	if (!e->main || !unit_imports(e, e->main))
		return false;
	scratch_layer(e, e->main);
	unit_constants(e, e->std);
	unit_constants(e, e->main);
	return !e->fatal;
}

bool elab_start(Elab *e, Arena *a, Diag *d, const FeOptions *opt)
{
	return elab_read(e, a, d, opt) && e->errors == 0;
}

static Layer *layer_new(Elab *e, const char *stack, int64_t number)
{
	Layer *l = NEW(e->a, Layer);

	l->unit = e->main;
	l->prefix = "";
	l->stack = stack;
	l->number = number;
	l->stored = DT_COUNT;
	return l;
}

static Module *compile(Elab *e)
{
	const char *stack;
	int64_t number;

	const Node *def = choose_layer(e, &stack, &number);
	if (!def || e->errors)
		return NULL;
	reset(e);
	Layer *l = layer_new(e, stack, number);
	e->layer->stack = stack;
	e->layer->number = number;
	if (e->in_family)
		l->stored = stored_dtype(e, def);
	if (!run_layer(e, def, l))
		return NULL;
	load_functions(e, l);
	return e->errors || e->fatal ? NULL : l->m;
}

static void check_layers(Elab *e)
{
	for (int i = 0; i < e->main->ast->nkids && !e->fatal; i++) {
		const Node *n = e->main->ast->kids[i];
		if (n->kind != N_LAYER_DEF && n->kind != N_MODEL)
			continue;
		int errors = e->errors;
		for (int training = 0; training < 2 && e->errors == errors; training++) {
			reset(e);
			e->training = training;
			run_layer(e, n, layer_new(e, NULL, -1));
		}
	}
}

/* Once something is wrong the rest of the file is looked through as well. */
Module *fe_compile(Arena *a, Diag *d, const FeOptions *opt)
{
	Module *m;
	Elab e;

	if (!elab_read(&e, a, d, opt))
		return NULL;
	m = compile(&e);
	if (!m && !e.in_family)
		check_layers(&e);
	reset(&e);
	check_functions(&e);
	return e.errors || e.fatal ? NULL : m;
}

Plan *fe_plan(Arena *a, Diag *d, const FeOptions *opt, const char *name)
{
	Elab e;

	return elab_start(&e, a, d, opt) ? run_plan(&e, name) : NULL;
}

bool fe_check(Arena *a, Diag *d, const FeOptions *opt)
{
	Elab e;

	if (!elab_read(&e, a, d, opt))
		return false;
	check_layers(&e);
	reset(&e);
	check_functions(&e);
	return e.errors == 0 && !e.fatal;
}
