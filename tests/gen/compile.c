/* SPDX-License-Identifier: Apache-2.0
 * compile: a program through frontend, passes and backend into this process; on the way
 * every dump must parse back to itself.  The frontend's part is done once for all
 * configurations. */
#include "native.h"

#include "../../backend/backend.h"
#include "../../frontend/frontend.h"
#include "../../passes/pass.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *module_text(Arena *a, const Module *m)
{
	Text t = text_new(a);

	print_module(&t, m);
	return t.s;
}

/* The module that its own text says; NULL: it says another. */
static Module *read_back(Arena *a, const Module *m, const char *when)
{
	const char *text = module_text(a, m), *why = "";
	Module *copy = parse_module(a, diag_new(a, stdout), when, text);

	if (!copy || !verify(copy, &why)) {
		printf("the dump after %s cannot be read back: %s\n%s", when, why, text);
		return NULL;
	}
	const char *again = module_text(a, copy);
	if (strcmp(text, again) == 0)
		return copy;
	printf("the dump after %s reads back as another:\n%s---\n%s", when, text, again);
	return NULL;
}

/* Other register tiles and blocks than the schedule's, within what is legal. */
static void other_tiles(Native *n)
{
	Rng rng = {n->p->tiles};
	int64_t lanes = n->p->target->vector_bits / 32;
	static const int64_t blocks[] = {0, 0, 2, 4, 6, 16, 34, 64};

	for (Op *op = n->m->fns->body->first; op; op = op->next) {
		int64_t streams = 0;
		if (op->kind != OP_kernel || !attr_find(op, "rows"))
			continue;
		for (Op *in = op->regions[0]->first; in; in = in->next)
			streams += in->kind == OP_linear;
		int64_t each = rng_between(&rng, 1, MAX(8 / MAX(streams, 1), 1));
		int64_t rows = rng_between(&rng, 1, n->p->rows ? n->p->rows : 7);
		attr_int(n->m, op, "rows", rows);
		attr_int(n->m, op, "vectors", each * streams);
		attr_int(n->m, op, "cols", each * lanes);
		attr_int(n->m, op, "kblock", RNG_PICK(&rng, blocks));
		attr_int(n->m, op, "together", rng_between(&rng, 1, 4));
		attr_int(n->m, op, "rblock", rng_between(&rng, 1, 4) * rows);
	}
}

/* The last pass that a schedule of other tiles may come behind. */
static bool before_pack(const Program *p, int i)
{
	return i + 1 < p->npasses && strcmp(p->pass[i + 1], "pack") == 0;
}

static bool run_pass(Native *n, Module *m, const char *name)
{
	Diag *diag = diag_new(n->arena, stdout);
	PassContext ctx = {.arena = n->arena, .diag = diag, .target = n->p->target};
	PassOptions o = {.only = &name, .nonly = 1, .verify = true, .command = "moe_gen"};

	run_passes(m, &ctx, &o);
	return diag_errors(diag) == 0;
}

static bool run_pipeline(Native *n, void (*after)(void *, const char *))
{
	bool tiled = false;

	for (int i = 0; i < n->p->npasses; i++) {
		if (!run_pass(n, n->m, n->p->pass[i]))
			return false;
		if (n->p->tiles && !tiled && before_pack(n->p, i)) {
			other_tiles(n);
			tiled = true;
		}
		if (!read_back(n->arena, n->m, n->p->pass[i]))
			return false;
		if (after)
			after(n, n->p->pass[i]);
	}
	return true;
}

/* States are only interpreted once they run through a scan, which inline-std makes. */
static bool inline_states(Native *n)
{
	return n->reference->states.n == 0 || run_pass(n, n->reference, "inline-std");
}

static Module *frontend(Native *n)
{
	Diag *diag = diag_new(n->arena, stdout);
	FeOptions o = {.file = "gen.moe", .text = n->p->text, .losses = true};

	FeContents c = {0};

	diag_source(diag, o.file, o.text);
	if (!fe_contents(n->arena, diag, o.file, o.text, &c))
		return NULL;
	/* a model stands behind the layers that it calls */
	o.layer = c.models.n > 0 ? c.models.at[0] : NULL;
	return fe_compile(n->arena, diag, &o);
}

/* Each configuration compiles a module of its own. */
static bool start_over(Native *n)
{
	return (n->m = frontend(n)) != NULL;
}

void native_pipeline(Native *n, void (*after)(void *, const char *))
{
	if (start_over(n))
		run_pipeline(n, after);
}

/* What the backend says when it has no code for something yet. */
static bool is_refusal(const char *said)
{
	return strstr(said, "not compiled to native code yet") != NULL;
}

/* Linking foreign ones is left to the compiler's own linker, and to the runtime that users
 * get. */
static bool as_users(const Program *p)
{
	return p->library || !target_is_host(p->target);
}

bool native_runs(Arena *a, const Target *t)
{
	return target_is_host(t) ? target_host_has(t) : !foreign_lacks(a, t);
}

static Verdict emit(Native *n, const char *library)
{
	char *said = NULL;
	size_t size;
	FILE *messages = open_memstream(&said, &size);
	const char *object = arena_printf(n->arena, "%s/%d.o", n->scratch, getpid());
	EmitOptions o = {.target = n->p->target,
			 .what = as_users(n->p) ? EMIT_LIB : EMIT_OBJ,
			 .out = as_users(n->p) ? library : object, .verify = true};

	bool ok = backend_emit(n->arena, diag_new(n->arena, messages), n->m, &o);
	fclose(messages);
	printf("%s", said);
	Verdict v = ok ? VERDICT_PASSED : is_refusal(said) ? VERDICT_SKIPPED : VERDICT_FAILED;
	free(said);
	if (ok && !as_users(n->p) && !loaded_link(object, library)) {
		printf("ld failed\n");
		v = VERDICT_FAILED;
	}
	unlink(object);
	return v;
}

static bool load(Native *n, const char *path)
{
	if (!target_is_host(n->p->target)) {
		n->foreign = foreign_start(n->arena, diag_new(n->arena, stdout), n->p->target,
					   path, n->m->name);
		return n->foreign != NULL;
	}
	return loaded_open(&n->library, path, n->m->name) &&
	       (n->library.guard || n->p->library);
}

static void make_cases(Native *n, const Program *p, int count)
{
	const Region *body = n->reference->fns->body;

	n->ninputs = MIN(body->nargs, (int)COUNT(n->cases->inputs));
	for (n->ncases = 0; n->ncases < count; n->ncases++) {
		Case *c = &n->cases[n->ncases];
		c->p = &p[n->ncases];
		for (int i = 0; i < n->ninputs; i++)
			input_make(n->arena, body->args[i], c->p, i, &c->inputs[i]);
	}
}

bool native_frontend(Native *n, const Program *p, int count)
{
	const char *why;

	n->p = p;
	Module *m = frontend(n);
	if (!m)
		return false;
	if (!verify(m, &why)) {
		printf("the frontend's module: %s\n", why);
		return false;
	}
	n->reference = read_back(n->arena, m, "the frontend");
	if (!n->reference || !inline_states(n))
		return false;
	make_cases(n, p, count);
	weights_open(n->arena, &n->weights);
	return true;
}

bool native_open(Native *n, moert_model **model)
{
	char why[256] = "";
	moert_options options = {.size = sizeof options, .why = why, .why_size = sizeof why};

	n->weights.m = n->m;
	int error = n->foreign ? foreign_open_memory(n->foreign, weights_get, &n->weights,
						     &options, model)
			       : n->library.open(weights_get, &n->weights, &options, model);
	if (!error && !n->foreign && n->library.guard)
		error = n->library.guard(*model, n->p->under);
	if (error)
		printf("open: %s, %s\n", moert_error(error), why);
	return error == 0;
}

Verdict native_compile(Native *n, const Program *p)
{
	const char *library = arena_printf(n->arena, "%s/%d.so", n->scratch, getpid());

	n->p = p;
	n->pages = (Pages){.under = p->under};
	if (!start_over(n) || !run_pipeline(n, NULL))
		return VERDICT_FAILED;
	Verdict v = emit(n, library);
	bool loaded = v == VERDICT_PASSED && load(n, library);
	unlink(library);
	if (v != VERDICT_PASSED)
		return v;
	return loaded && native_open(n, &n->model) ? VERDICT_PASSED : VERDICT_FAILED;
}

void native_shut(Native *n, moert_model *model)
{
	if (n->foreign)
		foreign_close(n->foreign, model);
	else if (model)
		n->library.close(model);
}

void native_close(Native *n)
{
	native_shut(n, n->model);
	foreign_end(n->foreign);
	loaded_close(&n->library);
	pages_free(&n->pages);
	n->model = NULL;
	n->foreign = NULL;
}
