/* SPDX-License-Identifier: Apache-2.0
 * compile: a program through frontend, passes and backend into this process; on the way
 * every dump must parse back to itself. */
#include "native.h"

#include "../../backend/backend.h"
#include "../../frontend/frontend.h"
#include "../../passes/pass.h"
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

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
		attr_int(n->m, op, "rows", rng_between(&rng, 1, 7));
		attr_int(n->m, op, "vectors", each * streams);
		attr_int(n->m, op, "cols", each * lanes);
		attr_int(n->m, op, "kblock", RNG_PICK(&rng, blocks));
	}
}

static bool listed(const Program *p, const char *pass)
{
	for (int i = 0; i < p->nskip; i++)
		if (strcmp(p->skip[i], pass) == 0)
			return true;
	return false;
}

static bool run_pipeline(Native *n, void (*after)(void *, const char *))
{
	PassContext ctx = {.arena = n->arena, .diag = diag_new(n->arena, stdout),
			   .target = n->p->target};

	for (int i = 0; i < pass_count && passes[i].run; i++) {
		const char *const only[] = {passes[i].name};
		PassOptions o = {.only = only, .nonly = 1, .verify = true, .command = "moe_gen"};
		if (listed(n->p, passes[i].name))
			continue;
		run_passes(n->m, &ctx, &o);
		if (n->p->tiles && strcmp(passes[i].name, "schedule-blocks") == 0)
			other_tiles(n);
		if (!read_back(n->arena, n->m, passes[i].name))
			return false;
		if (after)
			after(n, passes[i].name);
	}
	return true;
}

/* States are only interpreted once they run through a scan, which inline-std makes. */
static void inline_states(Native *n)
{
	static const char *const only[] = {"inline-std"};
	PassContext ctx = {.arena = n->arena, .diag = diag_new(n->arena, stdout),
			   .target = n->p->target};
	PassOptions o = {.only = only, .nonly = 1, .verify = true, .command = "moe_gen"};

	if (n->reference && n->reference->states.n > 0)
		run_passes(n->reference, &ctx, &o);
}

void native_pipeline(Native *n, void (*after)(void *, const char *))
{
	n->m = read_back(n->arena, n->reference, "the frontend");
	if (n->m)
		run_pipeline(n, after);
}

static bool run_linker(Native *n, const char *object, const char *library)
{
	char *argv[] = {"ld", "-shared", "--gc-sections", "-Bsymbolic", "-o", (char *)library,
			(char *)object, arena_printf(n->arena, "%s/libmoert.a", n->scratch),
			NULL};
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What the backend says when it has no code for something yet. */
static bool is_refusal(const char *said)
{
	return strstr(said, "not compiled to native code yet") != NULL;
}

static Verdict emit(Native *n, const char *library)
{
	char *said = NULL;
	size_t size;
	FILE *messages = open_memstream(&said, &size);
	const char *object = arena_printf(n->arena, "%s/%d.o", n->scratch, getpid());
	EmitOptions o = {n->p->target, n->p->library ? EMIT_LIB : EMIT_OBJ,
			 n->p->library ? library : object, true};

	bool ok = backend_emit(n->arena, diag_new(n->arena, messages), n->m, &o);
	fclose(messages);
	printf("%s", said);
	Verdict v = ok ? VERDICT_PASSED : is_refusal(said) ? VERDICT_SKIPPED : VERDICT_FAILED;
	free(said);
	if (ok && !n->p->library && !run_linker(n, object, library)) {
		printf("ld failed\n");
		v = VERDICT_FAILED;
	}
	unlink(object);
	return v;
}

static bool load(Native *n, const char *library)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		printf("%s\n", dlerror());
		return false;
	}
	*(void **)&n->open = dlsym(handle, "gen_open_memory");
	*(void **)&n->start = dlsym(handle, "gen_start");
	*(void **)&n->run = dlsym(handle, "gen_run");
	*(void **)&n->end = dlsym(handle, "gen_end");
	*(void **)&n->close = dlsym(handle, "gen_close");
	return n->open && n->start && n->run && n->end && n->close;
}

static bool frontend(Native *n)
{
	Diag *diag = diag_new(n->arena, stdout);
	FeOptions o = {.file = "gen.moe", .text = n->p->text, .losses = true};
	const char *why;

	diag_source(diag, o.file, o.text);
	n->m = fe_compile(n->arena, diag, &o);
	if (!n->m)
		return false;
	if (!verify(n->m, &why)) {
		printf("the frontend's module: %s\n", why);
		return false;
	}
	n->reference = read_back(n->arena, n->m, "the frontend");
	inline_states(n);
	const Region *body = n->m->fns->body;
	for (int i = 0; i < body->nargs && i < (int)COUNT(n->inputs); i++, n->ninputs++)
		input_make(n->arena, body->args[i], n->p, i, &n->inputs[i]);
	return n->reference != NULL;
}

Verdict native_compile(Native *n)
{
	const char *library = arena_printf(n->arena, "%s/%d.so", n->scratch, getpid());
	char why[256] = "";
	moert_options options = {.size = sizeof options, .why = why, .why_size = sizeof why};

	if (!frontend(n) || !run_pipeline(n, NULL))
		return VERDICT_FAILED;
	weights_open(n->arena, &n->weights);
	Verdict v = emit(n, library);
	bool loaded = v == VERDICT_PASSED && load(n, library);
	unlink(library);
	if (v != VERDICT_PASSED)
		return v;
	n->weights.m = n->m;
	int error = loaded ? n->open(weights_get, &n->weights, &options, &n->model) : 0;
	if (error)
		printf("open: %s, %s\n", moert_error(error), why);
	return loaded && !error ? VERDICT_PASSED : VERDICT_FAILED;
}
