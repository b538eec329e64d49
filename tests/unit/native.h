/* SPDX-License-Identifier: Apache-2.0
 * native: a tensor-level module compiled, loaded between guard pages and compared with the
 * interpreter; what the tests of generated code share. */
#ifndef MOEC_NATIVE_H
#define MOEC_NATIVE_H

#include "../../backend/backend.h"
#include "../../foreign/foreign.h"
#include "../../ir/eval.h"
#include "../../passes/pass.h"
#include "../guarded.h"
#include "../loaded.h"
#include <math.h>

typedef struct {
	WeightSource source;            /* first: the interpreter's view */
	Arena       *arena;
	const Module *m;
	Vec(const char *) names;
	Vec(void *) data;
} NativeWeights;

/* Seeded N(0, deviation) weights of one matrix, made once, in natural layout. */
static inline const void *native_weight(NativeWeights *w, const Param *p, int64_t expert)
{
	const char *name = arena_printf(w->arena, "%s.%lld", p->name, (long long)expert);

	for (int i = 0; i < w->names.n; i++)
		if (strcmp(w->names.at[i], name) == 0)
			return w->data.at[i];
	int64_t n = type_elems(&p->type);
	void *data = arena_alloc(w->arena, (size_t)n * 8 + 64);
	random_normals(p->type.dtype, data, 0, n, 7, name_hash(name), 0.3);
	vec_push(w->arena, &w->names, name);
	vec_push(w->arena, &w->data, data);
	return data;
}

static inline const void *native_source(WeightSource *s, const Param *p, int64_t expert)
{
	return native_weight((NativeWeights *)s, p, expert);
}

static inline const void *native_runtime(void *ctx, const moert_layer *layer,
					 const char *name, int64_t range, int64_t expert)
{
	NativeWeights *w = ctx;
	const Param *p = param_find(w->m, name, (int)range);

	return p ? native_weight(w, p, expert) : NULL;
}

/* A reason why code for the target cannot run here, or NULL. */
static inline const char *native_lacks(Arena *a, const Target *t)
{
	if (!target_is_host(t))
		return foreign_lacks(a, t);
	return target_host_has(t) ? NULL : "the CPU lacks a feature";
}

/* A module for a target, and a function that changes it before it is packed, or NULL. */
typedef struct {
	Arena        *arena;
	const Target *target;
	Module       *m;                /* compiled .. */
	const Module *reference;        /* .. and as it was */
	const PassOptions *options;
	void        (*change)(Module *, const Target *);
	bool          under;            /* arrays begin behind a page, and do not end before one */
	/* native_open fills in */
	Loaded        here;
	Foreign      *there;
	moert_model  *model;
	NativeWeights weights;
} Native;

static inline void native_passes(const Native *n, Diag *diag)
{
	PassContext ctx = {.arena = n->arena, .diag = diag, .target = n->target};
	PassOptions half = *n->options;

	if (!n->change) {
		run_passes(n->m, &ctx, &half);
		return;
	}
	half.stop_after = "schedule-blocks";
	run_passes(n->m, &ctx, &half);
	n->change(n->m, n->target);
	half.stop_after = NULL;
	half.from = "schedule-blocks";
	run_passes(n->m, &ctx, &half);
}

static inline bool native_load(Native *n, Diag *diag, const char *object, const char *library)
{
	bool host = target_is_host(n->target);
	EmitOptions emit = {.target = n->target, .what = host ? EMIT_OBJ : EMIT_LIB,
			    .out = host ? object : library, .verify = true};

	if (!backend_emit(n->arena, diag, n->m, &emit))
		return false;
	if (host)
		return loaded_link(object, library) &&
		       loaded_open(&n->here, library, n->m->name) && n->here.guard;
	n->there = foreign_start(n->arena, diag, n->target, library, n->m->name);
	return n->there != NULL;
}

/* Here, or under qemu for a machine that this one is not. */
static inline bool native_open(Native *n)
{
	Diag *diag = diag_new(n->arena, stderr);
	char object[] = "/tmp/moec-native-XXXXXX.o", library[] = "/tmp/moec-native-XXXXXX.so";
	int fds[] = {mkstemps(object, 2), mkstemps(library, 3)};

	n->weights = (NativeWeights){{native_source}, n->arena, n->m, {0}, {0}};
	native_passes(n, diag);
	bool ok = diag_errors(diag) == 0 && native_load(n, diag, object, library);
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	unlink(object);
	unlink(library);
	if (!ok)
		return false;
	int error = n->there ? foreign_open_memory(n->there, native_runtime, &n->weights, NULL,
						   &n->model)
			     : n->here.open(native_runtime, &n->weights, NULL, &n->model);
	if (!error && !n->there)
		error = n->here.guard(n->model, n->under);
	if (error)
		printf("open: error %d\n", error);
	return error == 0;
}

static inline void native_close(Native *n)
{
	if (n->there)
		foreign_close(n->there, n->model);
	else if (n->model)
		n->here.close(n->model);
	foreign_end(n->there);
	loaded_close(&n->here);
}

/* One call: what goes in, as doubles too, and what comes out. */
typedef struct {
	int64_t  tokens, threads, pad;  /* pad: entries between rows of x and of y */
	double  *v;
	int64_t  row, stride;           /* of y */
	char    *y;
	int32_t *picks;
	float   *gates;
} NativeCall;

/* x: rows of N(0, 1), exact in the input's type. */
static inline char *native_input(const Native *n, NativeCall *c, Pages *pages, int64_t *stride)
{
	Type t = n->reference->fns->body->args[0]->type;
	int64_t each = type_elems(&t), bytes = each * entry_bytes(t.dtype), all = c->tokens * each;
	char *raw = arena_alloc(n->arena, (size_t)all * 8 + 64);

	*stride = bytes + c->pad * entry_bytes(t.dtype);
	c->v = NEWN(n->arena, double, (size_t)all + 1);
	random_normals(t.dtype, raw, 0, all, 11, name_hash("x"), 1.0);
	load_doubles(t.dtype, raw, all, c->v);
	char *x = guarded(pages, c->tokens
				 ? (size_t)((c->tokens - 1) * *stride + bytes) : 0);
	for (int64_t i = 0; i < c->tokens; i++)
		memcpy(x + i * *stride, raw + i * bytes, (size_t)bytes);
	return x;
}

/* Where y has room between its rows, it still is what it was. */
static inline bool native_kept(const NativeCall *c)
{
	for (int64_t t = 0; t + 1 < c->tokens; t++)
		for (int64_t i = c->row; i < c->stride; i++)
			if ((unsigned char)c->y[t * c->stride + i] != 0xff) {
				printf("y is written between its rows\n");
				return false;
			}
	return true;
}

static inline bool native_call(Native *n, NativeCall *c, Pages *pages)
{
	Type out = n->reference->fns->outs[0];
	moert_session_options so = {.size = sizeof so, .threads = c->threads};
	size_t slots = (size_t)(c->tokens * n->reference->picks);
	int64_t x_stride;
	char *x = native_input(n, c, pages, &x_stride);

	c->row = type_elems(&out) * entry_bytes(out.dtype);
	c->stride = c->row + c->pad * entry_bytes(out.dtype);
	c->y = guarded(pages, c->tokens ? (size_t)((c->tokens - 1) * c->stride + c->row) : 0);
	c->picks = guarded(pages, slots * sizeof *c->picks);
	c->gates = guarded(pages, slots * sizeof *c->gates);
	moert_args args = {.size = sizeof args, .x = x, .tokens = c->tokens, .y = c->y,
			   .x_stride = x_stride, .y_stride = c->stride,
			   .picks_out = n->reference->picks ? c->picks : NULL,
			   .gates_out = n->reference->picks ? c->gates : NULL};
	n->weights.m = n->m;
	int error = n->there ? foreign_run(n->there, n->model, &so, &args, NULL)
			     : loaded_call(&n->here, n->model, &so, &args);
	n->weights.m = n->reference;
	if (error)
		printf("run: %s\n", moert_error(error));
	return !error && native_kept(c);
}

typedef struct {
	double  worst;          /* largest |error| / bound */
	int64_t rerouted;       /* tokens whose picks differ from the interpreter's */
} NativeReport;

/* Other picks are right where the scores are closer than their bounds. */
static inline bool native_same_picks(const Native *n, const NativeCall *c,
				     const EvalResult *own, NativeReport *report)
{
	int64_t picks = n->reference->picks;

	for (int64_t t = 0; own->picks && t < c->tokens; t++) {
		if (!memcmp(own->picks + t * picks, c->picks + t * picks, (size_t)picks * 4))
			continue;
		report->rerouted++;
		if (own->gap && own->gap[t] >= 4) {
			printf("token %lld: other picks, gap %g\n", (long long)t, own->gap[t]);
			return false;
		}
	}
	return true;
}

static inline double native_worst(const Native *n, const NativeCall *c, const Tensor *want)
{
	Type out = n->reference->fns->outs[0];
	int64_t each = type_elems(&out);
	double *got = NEWN(n->arena, double, (size_t)each + 1), worst = 0;

	for (int64_t t = 0; t < c->tokens; t++) {
		load_doubles(out.dtype, c->y + t * c->stride, each, got);
		for (int64_t i = 0; i < each; i++) {
			double v = want->v[t * each + i], e = fabs(got[i] - v);
			double bound = want->err ? want->err[t * each + i] : 0;
			double ratio = e == 0 ? 0 : bound > 0 ? e / bound : INFINITY;
			worst = fmax(worst, isnan(got[i]) != isnan(v) ? INFINITY : ratio);
		}
	}
	return worst;
}

/* The tokens of one call against the interpreter. */
static inline bool native_compare(Native *n, NativeCall *c, NativeReport *report)
{
	Pages pages = {.under = n->under};
	const char *why = "";
	EvalResult r;

	*report = (NativeReport){0};
	bool ok = native_call(n, c, &pages);
	EvalInput input = {"x", c->v};
	EvalCall call = {.tokens = c->tokens, .inputs = &input, .ninputs = 1,
			 .weights = &n->weights.source, .step = -1, .bounds = true};
	const Fn *fn = n->reference->fns;
	ok = ok && eval_fn(n->arena, n->reference, fn, &call, &r, &why) &&
	     native_same_picks(n, c, &r, report);
	if (ok && report->rerouted) {
		call.picks = c->picks;
		call.gates = c->gates;
		ok = eval_fn(n->arena, n->reference, fn, &call, &r, &why);
	}
	if (ok)
		report->worst = native_worst(n, c, &r.outs[0]);
	if (*why)
		printf("eval: %s\n", why);
	pages_free(&pages);
	return ok;
}

#endif
