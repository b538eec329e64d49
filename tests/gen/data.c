/* SPDX-License-Identifier: Apache-2.0
 * data: seeded weights and inputs. */
#include "data.h"

#include <math.h>
#include <string.h>

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

int64_t turned(const GenWeights *w, int64_t expert)
{
	const ExpertRange *r = w->m->ranges.at;

	for (; expert >= r->first + r->count; r++)
		;
	return w->alike ? r->first : r->first + (expert - r->first + w->turn) % r->count;
}

/* The matrix of the policies that choose experts by their weights alone, and its bias. */
static bool is_router(const GenWeights *w, const Param *p)
{
	return strncmp(p->name, "router", 6) == 0 && p->type.rank > 0 &&
	       p->type.dim[0] == w->m->experts;
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

/* Row i of [experts, ..] becomes row i + turn in its range, whatever it belongs to. */
static const void *turned_rows(GenWeights *w, const Param *p, const char *natural)
{
	int64_t n = type_elems(&p->type), experts = p->type.dim[0];
	size_t row = (size_t)(n / experts) * (size_t)(dtype_info[p->type.dtype].bits / 8);
	char *raw = arena_alloc(w->arena, (size_t)n * 8 + 64);

	for (int64_t e = 0; e < experts; e++)
		memcpy(raw + (size_t)e * row, natural + (size_t)turned(w, e) * row, row);
	return raw;
}

static const void *remember(GenWeights *w, const char *name, const void *data)
{
	vec_push(w->arena, &w->names, name);
	vec_push(w->arena, &w->data, data);
	return data;
}

static const void *remembered(const GenWeights *w, const char *name)
{
	for (int i = 0; i < w->names.n; i++)
		if (strcmp(w->names.at[i], name) == 0)
			return w->data.at[i];
	return NULL;
}

static const void *natural_weight(GenWeights *w, const Param *p, int64_t expert)
{
	const char *name = arena_printf(w->arena, "%s.%jd", p->name, (intmax_t)expert);
	const void *data = remembered(w, name);

	return data ? data : remember(w, name, random_weight(w->arena, p, name));
}

/* Derived weights are those of one module, from weights that are turned alike. */
static const void *weight(GenWeights *w, const Param *p, int64_t expert)
{
	if (p->load) {
		const char *name = arena_printf(w->arena, "%s.%jd of %p, %jd%d%d", p->name,
						(intmax_t)expert, (const void *)w->m,
						(intmax_t)w->turn, w->alike, w->router);
		const void *data = remembered(w, name);
		return data ? data : remember(w, name, derived_weight(w, p, expert));
	}
	if (p->type.level == LV_EXPERT)
		return natural_weight(w, p, turned(w, expert));
	const void *data = natural_weight(w, p, expert);
	return w->router && is_router(w, p) ? turned_rows(w, p, data) : data;
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
	in->raw = arena_alloc(arena, (size_t)in->n * entry_bytes(t->dtype) + 1);
	entries_store(t->dtype, in->v, in->n, in->raw);
	entries_load(t->dtype, in->raw, in->n, in->v);
}
