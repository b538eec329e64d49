/* SPDX-License-Identifier: Apache-2.0
 * data: seeded weights and inputs. */
#include "data.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t entry_bytes(Dtype t)
{
	return t == DT_bool ? 4 : (size_t)dtype_info[t].bits / 8;
}

void entries_load(Dtype t, const void *from, int64_t n, double *to)
{
	load_doubles(t == DT_bool ? DT_i32 : t, from, n, to);
}

void *guarded(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole = (bytes + page - 1) / page * page;
	char *at = mmap(NULL, whole + page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || mprotect(at + whole, page, PROT_NONE))
		ice("no memory for a guarded array");
	return at + whole - bytes;
}

/* A dot of the weight's length with N(0, 1) stays about N(0, 1). */
static double deviation(const Type *t)
{
	return t->rank > 1 ? 1 / sqrt((double)t->dim[t->rank - 1]) : 0.5;
}

static void *random_weight(Arena *arena, const Param *p, const char *name)
{
	int64_t n = type_elems(&p->type);
	double *v = NEWN(arena, double, (size_t)n + 1);
	float *f = NEWN(arena, float, (size_t)n + 1);
	void *raw = arena_alloc(arena, (size_t)n * 8 + 64);
	bool choice = p->type.dtype == DT_index || p->type.dtype == DT_i32;

	random_normals(DT_f32, f, 0, n, 7, name_hash(name), deviation(&p->type));
	for (int64_t i = 0; i < n; i++)
		v[i] = choice ? fmod(floor(fabs(f[i]) * 1000), (double)MAX(p->type.axis, 1))
			      : f[i] + (p->has_init ? p->init : 0);
	store_doubles(p->type.dtype, v, n, raw);
	return raw;
}

/* A weight that the compiled layer wants ready, of other weights. */
static const void *derived_weight(GenWeights *w, const Param *p, int64_t expert)
{
	const Fn *fn = fn_find(w->m, p->load);
	EvalCall call = {.weights = &w->source, .step = -1};
	EvalResult r;
	const char *why = "";
	int64_t n = type_elems(&p->type), first = 0;
	void *raw = arena_alloc(w->arena, (size_t)n * 8 + 64);

	if (!fn || !eval_fn(w->arena, w->m, fn, &call, &r, &why))
		ice("the weight %s: %s", p->name, why);
	if (p->type.level == LV_EXPERT && r.outs[0].rows > 1)
		first = (expert - w->m->ranges.at[p->type.range].first) * n;
	store_doubles(p->type.dtype, r.outs[0].v + first, n, raw);
	return raw;
}

static const void *weight(GenWeights *w, const Param *p, int64_t expert)
{
	const char *name = arena_printf(w->arena, "%s.%jd", p->name, (intmax_t)expert);

	for (int i = 0; i < w->names.n; i++)
		if (strcmp(w->names.at[i], name) == 0)
			return w->data.at[i];
	const void *data = p->load ? derived_weight(w, p, expert)
				   : random_weight(w->arena, p, name);
	vec_push(w->arena, &w->names, name);
	vec_push(w->arena, &w->data, data);
	return data;
}

static const void *get(WeightSource *s, const Param *p, int64_t expert)
{
	return weight((GenWeights *)s, p, expert);
}

const void *weights_get(void *ctx, const moert_layer *layer, const char *name,
			int64_t range, int64_t expert)
{
	GenWeights *w = ctx;
	const Param *p = param_find(w->m, name, (int)range);

	return p ? weight(w, p, expert) : NULL;
}

void weights_open(Arena *arena, GenWeights *w)
{
	*w = (GenWeights){.source = {get}, .arena = arena};
}

/* Rows that are another's twin make ties between tokens; whole numbers, between experts. */
static void shape_data(const Program *p, GenInput *in)
{
	int64_t each = in->rows ? in->n / in->rows : 0;

	for (int64_t i = 0; i < in->n; i++)
		switch (p->data) {
		case DATA_WHOLE: in->v[i] = rint(in->v[i]); break;
		case DATA_TWINS: in->v[i] = in->v[i % (MIN(in->rows, 3) * each)]; break;
		case DATA_ZERO:  in->v[i] = 0; break;
		case DATA_NAN:   in->v[i] = i / each == in->rows / 2 ? NAN : in->v[i]; break;
		default: break;
		}
}

void input_make(Arena *arena, const Value *arg, const Program *p, int number, GenInput *in)
{
	const Type *t = &arg->type;
	bool whole = t->dtype == DT_i32 || t->dtype == DT_index || t->dtype == DT_bool;

	*in = (GenInput){.name = arg->name ? arg->name : "x", .type = *t};
	in->rows = t->level == LV_TOKEN ? p->tokens : 1;
	in->n = in->rows * type_elems(t);
	in->v = NEWN(arena, double, (size_t)in->n + 1);
	float *f = NEWN(arena, float, (size_t)in->n + 1);
	random_normals(DT_f32, f, 0, in->n, 11, (uint64_t)number, 1);
	for (int64_t i = 0; i < in->n; i++)
		in->v[i] = whole ? floor(fabs(f[i]) * 10) : f[i];
	if (!whole)
		shape_data(p, in);
	in->raw = guarded((size_t)in->n * entry_bytes(t->dtype));
	store_doubles(t->dtype == DT_bool ? DT_i32 : t->dtype, in->v, in->n, in->raw);
	entries_load(t->dtype, in->raw, in->n, in->v);
}
