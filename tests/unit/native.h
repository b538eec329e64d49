/* SPDX-License-Identifier: Apache-2.0
 * native: a tensor-level module compiled, loaded and compared with the interpreter; what
 * the tests of generated code share. */
#ifndef MOEC_NATIVE_H
#define MOEC_NATIVE_H

#include "../../backend/backend.h"
#include "../../foreign/foreign.h"
#include "../../ir/eval.h"
#include "../../passes/pass.h"
#include "../../runtime/moert.h"
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

typedef struct {
	void *handle;
	int (*open_memory)(moert_weight_fn *, void *, const moert_options *, moert_model **);
	int (*start)(moert_model *, const moert_session_options *, moert_session **);
	int (*run)(moert_session *, const moert_args *);
	void (*end)(moert_session *);
	void (*close)(moert_model *);
} NativeLibrary;

static inline void *native_symbol(void *handle, const char *layer, const char *what)
{
	char name[256];

	snprintf(name, sizeof name, "%s_%s", layer, what);
	return dlsym(handle, name);
}

static inline bool native_load(NativeLibrary *lib, const char *path, const char *layer)
{
	lib->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib->handle) {
		printf("%s\n", dlerror());
		return false;
	}
	*(void **)&lib->open_memory = native_symbol(lib->handle, layer, "open_memory");
	*(void **)&lib->start = native_symbol(lib->handle, layer, "start");
	*(void **)&lib->run = native_symbol(lib->handle, layer, "run");
	*(void **)&lib->end = native_symbol(lib->handle, layer, "end");
	*(void **)&lib->close = native_symbol(lib->handle, layer, "close");
	return lib->open_memory && lib->start && lib->run && lib->end && lib->close;
}

/* One call of the library, in this process. */
static inline int native_call_here(const char *path, const char *layer, NativeWeights *w,
				   const moert_session_options *so, const moert_args *args)
{
	NativeLibrary lib;
	moert_model *model;
	moert_session *session;

	if (!native_load(&lib, path, layer))
		return MOERT_INTERNAL;
	int error = lib.open_memory(native_runtime, w, NULL, &model);
	if (!error && !(error = lib.start(model, so, &session))) {
		error = lib.run(session, args);
		lib.end(session);
	}
	lib.close(model);
	dlclose(lib.handle);
	return error;
}

/* .. or under qemu, for a machine that this one is not. */
static inline int native_call(Arena *arena, const Target *target, const char *path,
			      const char *layer, NativeWeights *w,
			      const moert_session_options *so, const moert_args *args)
{
	if (target_is_host(target))
		return native_call_here(path, layer, w, so, args);
	Foreign *f = foreign_start(arena, diag_new(arena, stderr), target, path, layer);
	if (!f)
		return MOERT_INTERNAL;
	moert_model *model;
	int error = foreign_open_memory(f, native_runtime, w, NULL, &model);
	if (!error)
		error = foreign_run(f, model, so, args, NULL);
	foreign_end(f);
	return error;
}

/* x rows of N(0, 1), exact in the input's type, as doubles and as the library reads them */
static inline void native_input(Arena *arena, Dtype t, int64_t n, double **v, void **raw)
{
	*raw = arena_alloc(arena, (size_t)n * 8 + 64);
	*v = NEWN(arena, double, (size_t)n + 1);
	random_normals(t, *raw, 0, n, 11, name_hash("x"), 1.0);
	load_doubles(t, *raw, n, *v);
}

typedef struct {
	int64_t tokens;
	double  worst;          /* largest |error| / bound */
	int64_t rerouted;       /* tokens whose picks differ from the interpreter's */
} NativeReport;

/* Compiles m (tensor level) for a target and compares `tokens` tokens with the reference. */
static inline bool native_compare(Arena *arena, Module *m, const Module *reference,
				  const Target *target, int64_t tokens, int threads,
				  const PassOptions *options, NativeReport *report)
{
	Diag *diag = diag_new(arena, stderr);
	PassContext ctx = {.arena = arena, .diag = diag, .target = target};
	char path[] = "/tmp/moec-native-XXXXXX.so";
	int fd = mkstemps(path, 3);
	NativeWeights w = {{native_source}, arena, reference, {0}, {0}};
	const char *why = "";

	close(fd);
	run_passes(m, &ctx, options);
	EmitOptions emit = {.target = target, .what = EMIT_LIB, .out = path, .verify = true};
	bool ok = backend_emit(arena, diag, m, &emit);
	moert_session_options so = {sizeof so, threads, NULL, NULL};
	Type in = reference->fns->body->args[0]->type, out = reference->fns->outs[0];
	int64_t h = type_elems(&in), ho = type_elems(&out), picks = MAX(reference->picks, 1);
	double *v;
	void *x, *y = arena_alloc(arena, (size_t)(tokens * ho) * 8 + 64);
	native_input(arena, in.dtype, tokens * h, &v, &x);
	int32_t *chosen = NEWN(arena, int32_t, (size_t)(tokens * picks) + 1);
	float *gates = NEWN(arena, float, (size_t)(tokens * picks) + 1);
	moert_args args = {.size = sizeof args, .x = x, .tokens = tokens, .y = y,
			   .picks_out = chosen, .gates_out = gates};
	w.m = m;
	int error = ok ? native_call(arena, target, path, m->name, &w, &so, &args)
		       : MOERT_INTERNAL;
	w.m = reference;
	unlink(path);
	if (error) {
		printf("run: error %d\n", error);
		return false;
	}
	EvalInput input = {"x", v};
	EvalCall call = {.tokens = tokens, .inputs = &input, .ninputs = 1, .weights = &w.source,
			 .step = -1, .bounds = true};
	EvalResult own, given;
	if (!eval_fn(arena, reference, reference->fns, &call, &own, &why)) {
		printf("eval: %s\n", why);
		return false;
	}
	*report = (NativeReport){.tokens = tokens};
	bool differ = false;
	for (int64_t t = 0; own.picks && t < tokens; t++)
		if (memcmp(own.picks + t * picks, chosen + t * picks,
			   (size_t)picks * 4)) {
			report->rerouted++;
			differ = true;
			if (own.gap && own.gap[t] >= 4) {
				printf("token %lld: other picks, gap %g\n", (long long)t,
				       own.gap[t]);
				ok = false;
			}
		}
	given = own;
	if (differ) {
		call.picks = chosen;
		call.gates = gates;
		if (!eval_fn(arena, reference, reference->fns, &call, &given, &why))
			return false;
	}
	double *got = NEWN(arena, double, (size_t)(tokens * ho) + 1);
	load_doubles(out.dtype, y, tokens * ho, got);
	for (int64_t i = 0; i < tokens * ho; i++) {
		double e = fabs(got[i] - given.outs[0].v[i]);
		double bound = given.outs[0].err ? given.outs[0].err[i] : 0;
		double ratio = e == 0 ? 0 : bound > 0 ? e / bound : INFINITY;
		if (isnan(got[i]) != isnan(given.outs[0].v[i]))
			ratio = INFINITY;
		report->worst = fmax(report->worst, ratio);
	}
	return ok;
}

#endif
