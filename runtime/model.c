/* SPDX-License-Identifier: Apache-2.0
 * model: a layer with its weights in memory, shared by all sessions, read-only. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Tables of pointers: for each expert one entry a weight, by number. */
static bool make_tables(moert_model *m, const moert_places *p)
{
	const moert_layer *l = m->layer;
	int64_t experts = 0, e = 0;

	for (int64_t r = 0; r < l->nranges; r++)
		experts += l->ranges[r].count;
	size_t weights = (size_t)l->nweights + 1;
	m->weight = calloc(weights, sizeof *m->weight);
	m->copies = calloc(weights * (size_t)(experts + 1), sizeof *m->copies);
	m->expert = calloc((size_t)experts + 1, sizeof *m->expert);
	m->range = calloc((size_t)l->nranges + 1, sizeof *m->range);
	if (!m->weight || !m->copies || !m->expert || !m->range)
		return false;
	for (int64_t r = 0; r < l->nranges; r++) {
		m->range[r] = m->expert + e;
		for (int64_t i = 0; i < l->ranges[r].count; i++, e++)
			m->expert[e].weight = m->copies + e * l->nweights;
	}
	for (int64_t w = 0; w < l->nweights; w++) {
		int64_t r = l->weights[w].range;
		if (r < 0) {
			m->weight[w] = m->image + moert_where(l, p, w, 0);
			continue;
		}
		for (int64_t i = 0; i < l->ranges[r].count; i++)
			m->copies[(m->range[r] - m->expert + i) * l->nweights + w] =
				m->image + moert_where(l, p, w, i);
	}
	return true;
}

/* Only the lists of buffers and steps are others. */
static bool make_calls(moert_model *m)
{
	const moert_layer *l = m->layer;

	m->calls = calloc((size_t)l->ncalls + 1, sizeof *m->calls);
	for (int64_t i = 0; m->calls && i < l->ncalls; i++) {
		moert_model *c = &m->calls[i];
		c->layer = l->calls[i].layer;
		c->trace = m->trace;
		c->weight = m->weight;
		c->range = m->range;
	}
	return m->calls != NULL;
}

static int from_memory(moert_model *m, const moert_places *p, moert_weight_fn *get,
		       void *ctx, moert_why why)
{
	const moert_layer *l = m->layer;

	m->image = moert_pages(p->bytes);
	if (!m->image)
		return moert_fail(why, MOERT_MEMORY, "layer %s: no memory for %lld bytes",
				  l->name, (long long)p->bytes);
	for (int64_t w = 0; w < l->nweights; w++)
		for (int64_t i = 0; i < moert_copies(l, &l->weights[w]); i++) {
			char *to = m->image + moert_where(l, p, w, i);
			int error = moert_fill(l, w, i, get, ctx, to, why);
			if (error)
				return error;
		}
	return MOERT_OK;
}

/* A layer without weights still has a page, so that no size is zero. */
static int open_variant(const moert_layer *l, const char *path, moert_weight_fn *get,
			void *ctx, const moert_options *o, moert_model **out)
{
	moert_why why = moert_options_why(o);
	moert_places p;
	int error = moert_place(l, &p, why);

	if (error)
		return error;
	moert_model *m = calloc(1, sizeof *m);
	if (m) {
		m->layer = l;
		m->users = 1;
		const char *trace = getenv("MOERT_TRACE");
		m->trace = trace && strcmp(trace, "1") == 0;
		p.bytes = m->bytes = MAX(p.bytes, 4096);
		error = get ? from_memory(m, &p, get, ctx, why)
			    : moert_moew_read(l, &p, path, o->flags, &m->image, why);
	}
	if (!m || (!error && (!make_tables(m, &p) || !make_calls(m))))
		error = moert_fail(why, MOERT_MEMORY, "out of memory");
	moert_unplace(&p);
	if (error)
		moert_close(m);
	else
		*out = m;
	return error;
}

/* The target that the options or, without them, MOERT_TARGET name; NULL: any. */
static const char *wanted(const moert_options *o)
{
	const char *name = o->target ? o->target : getenv("MOERT_TARGET");

	return name && *name ? name : NULL;
}

static bool is_wanted(const moert_layer *l, const char *target)
{
	return !target || strcmp(l->target, target) == 0;
}

/* Why none of a library's targets will do. */
static int no_target(const moert_layer *first, const char *target, moert_why why)
{
	const moert_layer *least = NULL;

	for (const moert_layer *l = first; l; l = l->next)
		least = is_wanted(l, target) ? l : least;
	if (!least)
		return moert_fail(why, MOERT_CPU, "layer %s is not compiled for %s",
				  first->name, target);
	return moert_fail(why, MOERT_CPU, "layer %s needs a CPU with: %s", first->name,
			  least->needs);
}

/* The best target that the CPU has and whose layout the file holds. */
static int open_layer(const moert_layer *first, const char *path, moert_weight_fn *get,
		      void *ctx, const moert_options *options, moert_model **out)
{
	moert_options o;
	int error = MOERT_CPU;

	if (!out)
		return MOERT_ARGS;
	*out = NULL;
	if (!first || moert_options_read(options, &o) != MOERT_OK)
		return MOERT_ARGS;
	const char *target = wanted(&o);
	for (const moert_layer *l = first; l; l = l->next) {
		if (!is_wanted(l, target) || !moert_cpu_has(l->needs))
			continue;
		error = open_variant(l, path, get, ctx, &o, out);
		if (error != MOERT_LAYOUT)
			return error;
	}
	return error == MOERT_CPU ? no_target(first, target, moert_options_why(&o)) : error;
}

int moert_open(const moert_layer *l, const char *path, const moert_options *options,
	       moert_model **out)
{
	return path ? open_layer(l, path, NULL, NULL, options, out) : MOERT_ARGS;
}

int moert_open_memory(const moert_layer *l, moert_weight_fn *get, void *ctx,
		      const moert_options *options, moert_model **out)
{
	return get ? open_layer(l, NULL, get, ctx, options, out) : MOERT_ARGS;
}

const char *moert_path(const moert_layer *l, int64_t number)
{
	return number >= 0 && number < l->ncalls ? l->calls[number].layer->name : NULL;
}

int64_t moert_bytes(const moert_model *m)
{
	return m->bytes;
}

const char *moert_target(const moert_model *m)
{
	return m->layer->target;
}

void moert_release(moert_model *m)
{
	if (!m || atomic_fetch_sub(&m->users, 1) != 1)
		return;
	moert_unpage(m->image, m->bytes);
	free(m->weight);
	free(m->copies);
	free(m->expert);
	free(m->range);
	free(m->calls);
	free(m);
}

void moert_close(moert_model *m)
{
	moert_release(m);
}
