/* SPDX-License-Identifier: Apache-2.0
 * runner: runs passes in order, checking, printing and timing them. */
#include "kernel.h"

#include <string.h>
#include <time.h>

const Pass passes[] = {
#define PASS(name, run, flags, needs, before, gives, help)                              \
	{name, run, flags, needs, before, gives, help},
#define BACKEND(name, flags, needs, help)      {name, NULL, flags, needs, 0, 0, help},
#include "passes.def"
#undef PASS
#undef BACKEND
};
const int pass_count = COUNT(passes);

const Pass *pass_find(const char *name)
{
	for (int i = 0; i < pass_count; i++)
		if (strcmp(passes[i].name, name) == 0)
			return &passes[i];
	return NULL;
}

typedef struct {
	const Pass *pass;
	double ms;
	bool changed;
} Timing;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool listed(const char *name, const char *const *list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

static void dump(const Module *m, const char *pass, bool changed, FILE *out)
{
	Arena *arena = arena_new();
	Text text = text_new(arena);

	print_module(&text, m);
	fprintf(out, "// after %s%s\n%s", pass, changed ? "" : " (unchanged)", text.s);
	arena_free(arena);
}

static Timing run_one(Module *m, PassContext *ctx, const PassOptions *o, const Pass *pass)
{
	const char *why;
	double start = now_ms();

	ice_context(pass->name, o->command);
	Timing t = {.pass = pass, .changed = pass->run(m, ctx)};
	t.ms = now_ms() - start;
	if (o->verify && !verify(m, &why))
		ice("after pass %s: %s", pass->name, why);
	/* a layer without matrices has no panels */
	if (o->verify && !diag_errors(ctx->diag) &&
	    pass->gives & ~module_facts(m) & (Facts)~PACKED)
		ice("after pass %s: what it gives does not hold", pass->name);
	if (o->print_after && (strcmp(o->print_after, "all") == 0 ||
			       strcmp(o->print_after, pass->name) == 0))
		dump(m, pass->name, t.changed, o->out ? o->out : stdout);
	return t;
}

/* The passes that the options ask for, in order. */
static int choose(const PassOptions *o, const Pass **list)
{
	int n = 0, first = 0;

	for (int i = 0; o->only && i < o->nonly; i++) {
		const Pass *pass = pass_find(o->only[i]);
		if (!pass)
			ice("no pass '%s'", o->only[i]);
		list[n++] = pass;
	}
	if (o->only)
		return n;
	for (int i = 0; i < pass_count && o->from; i++)
		if (strcmp(passes[i].name, o->from) == 0)
			first = i + 1;
	for (int i = first; i < pass_count; i++) {
		const Pass *pass = &passes[i];
		if (pass->flags & PASS_NEEDED || !listed(pass->name, o->skip, o->nskip))
			list[n++] = pass;
		if (o->stop_after && strcmp(o->stop_after, pass->name) == 0)
			break;
	}
	return n;
}

void run_passes(Module *m, PassContext *ctx, const PassOptions *o)
{
	size_t most = (size_t)pass_count + (size_t)o->nonly;
	const Pass **list = NEWN(ctx->arena, const Pass *, most);
	Timing *timing = NEWN(ctx->arena, Timing, most);
	int n = choose(o, list), ran = 0;

	if (!ctx->target && m->target)
		ctx->target = target_find(m->target);
	if (n && m->target && ctx->target && !check_kernels(ctx->diag, m, ctx->target))
		return;
	/* a row without a function is the backend's, which comes after all of ours */
	while (ran < n && list[ran]->run && check_order(ctx->diag, list[ran], m)) {
		timing[ran] = run_one(m, ctx, o, list[ran]);
		ran++;
	}
	ice_context("", o->command);
	for (int i = 0; i < ran && o->time; i++)
		fprintf(stderr, "%9.3f ms  %s%s\n", timing[i].ms, timing[i].pass->name,
			timing[i].changed ? "" : " (unchanged)");
}
