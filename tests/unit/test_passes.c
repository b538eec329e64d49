// libs: passes
/* SPDX-License-Identifier: Apache-2.0
 * test_passes: every file of tests/golden/passes is a module, a line
 *
 *     // expect PASS[,PASS..] [TARGET]
 *
 * and the module that these passes make of it.  MOEC_BLESS=1 rewrites the second half.
 * Each dump must parse back to itself, and the reference interpreter must compute the same
 * before and after every pass of the whole pipeline, whatever is skipped. */
#include "../../ir/eval.h"
#include "../../passes/pass.h"
#include "unit.h"
#include <glob.h>
#include <math.h>
#include <stdlib.h>

static const char default_target[] = "x86-64-v4-bf16";
static const char marker[] = "// expect ";

typedef struct {
	Arena *arena;
	Diag *diag;
	const char *path, *input, *expected, *target;
	const char *passes[32];
	int npasses;
} Golden;

static const char *golden_pattern(Arena *a)
{
	const char *slash = strrchr(__FILE__, '/');

	return arena_printf(a, "%.*s/../golden/passes/*.mir", (int)(slash - __FILE__),
			    __FILE__);
}

static Golden read_golden(Arena *a, const char *path)
{
	Golden g = {.arena = a, .diag = diag_new(a, stderr), .path = path};
	size_t n;
	char *text = file_read(a, g.diag, path, 1 << 20, &n);
	MUST(text != NULL);
	char *line = strstr(text, marker), *rest;

	MUST(line != NULL);
	g.input = arena_strndup(a, text, (size_t)(line - text));
	g.expected = strchr(line, '\n') + 1;
	line += strlen(marker);
	line = arena_strndup(a, line, strcspn(line, "\n"));
	char *list = strtok_r(line, " ", &rest);
	g.target = strtok_r(NULL, " ", &rest);
	for (char *p = strtok_r(list, ",", &rest); p; p = strtok_r(NULL, ",", &rest))
		g.passes[g.npasses++] = p;
	return g;
}

static void each_golden(void (*test)(Golden *))
{
	Arena *a = arena_new();
	glob_t found;

	MUST(glob(golden_pattern(a), 0, NULL, &found) == 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		Arena *inner = arena_new();
		Golden g = read_golden(inner, found.gl_pathv[i]);
		test(&g);
		arena_free(inner);
	}
	globfree(&found);
	arena_free(a);
}

static Module *parse(const Golden *g, const char *text)
{
	const char *why = NULL;
	Module *m = parse_module(g->arena, g->diag, g->path, text);

	MUST(m != NULL);
	bool valid = verify(m, &why);
	if (!valid)
		printf("%s: %s\n", g->path, why);
	MUST(valid);
	return m;
}

static const char *print(const Golden *g, const Module *m)
{
	Text t = text_new(g->arena);

	print_module(&t, m);
	return t.s;
}

static void run(const Golden *g, Module *m, const char *pass)
{
	const char *const names[] = {pass};
	PassContext ctx = {.arena = g->arena, .diag = g->diag};
	PassOptions o = {.only = names, .nonly = 1, .verify = true, .command = g->path};

	if (!m->target)
		ctx.target = target_find(g->target ? g->target : default_target);
	run_passes(m, &ctx, &o);
}

static void bless(const Golden *g, const char *result)
{
	FILE *f = fopen(g->path, "w");

	fprintf(f, "%s%s", g->input, marker);
	for (int i = 0; i < g->npasses; i++)
		fprintf(f, "%s%s", i ? "," : "", g->passes[i]);
	fprintf(f, "%s%s\n%s", g->target ? " " : "", g->target ? g->target : "", result);
	fclose(f);
}

static void check_expected(Golden *g)
{
	Module *m = parse(g, g->input);

	for (int i = 0; i < g->npasses; i++)
		run(g, m, g->passes[i]);
	const char *result = print(g, m);
	if (getenv("MOEC_BLESS")) {
		bless(g, result);
	} else if (strcmp(result, g->expected)) {
		printf("%s\n", g->path);
		SAME_TEXT(result, g->expected);
	}
}

static void test_expected(void)
{
	each_golden(check_expected);
}

static void check_round_trip(Golden *g)
{
	Module *m = parse(g, g->input);

	for (int i = 0; i < pass_count && passes[i].run; i++) {
		run(g, m, passes[i].name);
		const char *text = print(g, m);
		SAME_TEXT(print(g, parse(g, text)), text);
	}
}

static void test_round_trip(void)
{
	each_golden(check_round_trip);
}

/* ---- the interpreter before and after ---- */

enum { TOKENS = 7 };

typedef struct {
	WeightSource source;
	Arena *arena;
	const Module *m;
} Weights;

static const void *get_weight(WeightSource *, const Param *, int64_t expert);

static const void *derive(Weights *w, const Param *p, const Fn *fn, int64_t expert)
{
	EvalCall call = {.tokens = 1, .weights = &w->source};
	EvalResult r;
	const char *why = "";
	int64_t n = type_elems(&p->type);
	bool ok = eval_fn(w->arena, w->m, fn, &call, &r, &why);

	if (!ok)
		printf("@%s: %s\n", fn->name, why);
	MUST(ok);
	int64_t first = expert >= 0 ? w->m->ranges.at[p->type.range].first : 0;
	int64_t row = expert >= 0 ? expert - first : 0;
	void *at = arena_alloc(w->arena, (size_t)n * 4);
	MUST(r.outs[0].n >= (row + 1) * n);
	store_doubles(p->type.dtype, r.outs[0].v + row * n, n, at);
	return at;
}

static const void *get_weight(WeightSource *source, const Param *p, int64_t expert)
{
	Weights *w = (Weights *)source;
	const Fn *fn = p->load ? fn_find(w->m, p->load) : NULL;
	int64_t n = type_elems(&p->type);

	if (fn)
		return derive(w, p, fn, expert);
	void *at = arena_alloc(w->arena, (size_t)n * 4);
	if (dtype_info[p->type.dtype].computed && p->type.dtype != DT_f32)
		for (int64_t i = 0, axis = MAX(p->type.axis, 5); i < n; i++)
			((int32_t *)at)[i] = (int32_t)((i * 7 + 3) % axis);
	else
		random_normals(p->type.dtype, at, 0, n, 1,
			       name_hash(p->name) + (uint64_t)(expert + 1), 0.4);
	return at;
}

static EvalResult evaluate(const Golden *g, const Module *m)
{
	static const int64_t seq[] = {0, 3, TOKENS};
	const Region *body = m->fns->body;
	Weights w = {{get_weight}, g->arena, m};
	EvalInput *in = NEWN(g->arena, EvalInput, (size_t)body->nargs);
	EvalCall call = {.tokens = TOKENS, .nseq = 2, .seq = seq, .inputs = in,
			 .ninputs = body->nargs, .weights = &w.source, .seed = 3,
			 .step = 7};
	EvalResult r;
	const char *why = "";

	for (int i = 0; i < body->nargs; i++) {
		const Type *t = &body->args[i]->type;
		int64_t n = type_elems(t) * TOKENS;
		float *x = NEWN(g->arena, float, (size_t)n);
		double *v = NEWN(g->arena, double, (size_t)n);
		random_normals(DT_f32, x, 0, n, 2, (uint64_t)i, 1);
		for (int64_t j = 0; j < n; j++)
			v[j] = t->dtype == DT_i32 ? floor(fabs(x[j]) * 10)
						  : round_to(t->dtype, x[j]);
		in[i] = (EvalInput){body->args[i]->name, v};
	}
	bool ok = eval_fn(g->arena, m, m->fns, &call, &r, &why);
	if (!ok)
		printf("%s: %s\n", g->path, why);
	MUST(ok);
	return r;
}

static bool near(double a, double b, double tolerance)
{
	if (isnan(a) || isinf(a))
		return isnan(a) ? isnan(b) : a == b;
	return fabs(a - b) <= tolerance * (1e-3 + fabs(a));
}

/* Sums may be taken in another order; a rounding to bf16 may fall to the other side; a
 * derived weight is rounded when it is stored. */
static bool same_results(const EvalResult *a, const EvalResult *b, bool derived)
{
	if (a->nouts != b->nouts)
		return false;
	for (int i = 0; i < a->nouts; i++) {
		const Tensor *x = &a->outs[i], *y = &b->outs[i];
		double tolerance = derived ? 1e-5 : 1e-9;
		if (x->type.dtype == DT_bf16)
			tolerance = 0x1p-7;
		if (x->n != y->n || x->type.dtype != y->type.dtype)
			return false;
		for (int64_t j = 0; j < x->n; j++)
			if (!near(x->v[j], y->v[j], tolerance))
				return false;
	}
	return true;
}

/* Before inline-std a state has no row a token, and a gate that is the same for all has
 * one entry for all. */
static bool has_meaning(const Module *m)
{
	for (const Op *op = m->fns->body->first; op; op = op->next)
		if (op->kind == OP_stop && attr_find(op, "given") &&
		    op->outs[0]->type.level != LV_TOKEN)
			return false;
	return m->states.n == 0 || m->target;
}

static void check_meaning(const Golden *g, const char *skipped)
{
	Module *m = parse(g, g->input);
	const char *after, *before_it;
	bool derived;

	if (!has_meaning(m))
		run(g, m, "inline-std");
	EvalResult before = evaluate(g, m);

	for (int i = 0; i < pass_count && passes[i].run; i++) {
		if (!pass_allowed(&passes[i], module_facts(m), &after, &before_it))
			continue;
		if (skipped && strcmp(passes[i].name, skipped) == 0)
			continue;
		run(g, m, passes[i].name);
		EvalResult now = evaluate(g, m);
		derived = fn_find(m, "derived.0") != NULL;
		bool same = same_results(&before, &now, derived);
		if (!same)
			printf("%s: %s changes what is computed (%s skipped)\n%s\n",
			       g->path, passes[i].name, skipped ? skipped : "nothing",
			       print(g, m));
		CHECK(same);
	}
}

static void check_meanings(Golden *g)
{
	check_meaning(g, NULL);
	for (int i = 0; i < pass_count; i++)
		if (!(passes[i].flags & PASS_NEEDED))
			check_meaning(g, passes[i].name);
}

static void test_meaning(void)
{
	each_golden(check_meanings);
}

SUITE("passes", {"golden files", test_expected}, {"dumps parse back", test_round_trip},
      {"results stay", test_meaning})
