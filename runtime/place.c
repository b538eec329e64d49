/* SPDX-License-Identifier: Apache-2.0
 * place: where each copy of each weight lies, in memory and in files alike. */
#include "internal.h"

#include <stdlib.h>

enum { LINE = 64, PAGE = 4096 };

static bool in_range(const moert_layer *l, const moert_weight *w)
{
	return w->range >= -1 && w->range < l->nranges;
}

/* Adds a weight to the end of a block of `bytes` so far. */
static bool add_weight(const moert_weight *w, int64_t *bytes, int64_t *within)
{
	return moert_weight_bytes(w) == w->bytes &&
	       moert_round_up(*bytes, LINE, within) &&
	       moert_add(*within, w->bytes, bytes);
}

static bool place_weights(const moert_layer *l, moert_places *p)
{
	int64_t once = 0;

	for (int64_t i = 0; i < l->nweights; i++) {
		const moert_weight *w = &l->weights[i];
		if (!in_range(l, w) ||
		    !add_weight(w, w->range < 0 ? &once : &p->block[w->range],
				&p->within[i]))
			return false;
	}
	if (!moert_round_up(once, PAGE, &p->bytes))
		return false;
	for (int64_t r = 0; r < l->nranges; r++) {
		int64_t all;
		p->first[r] = p->bytes;
		if (!moert_round_up(p->block[r], PAGE, &p->block[r]) ||
		    !moert_mul(p->block[r], l->ranges[r].count, &all) ||
		    !moert_add(p->bytes, all, &p->bytes))
			return false;
	}
	return true;
}

int moert_place(const moert_layer *l, moert_places *p, moert_why why)
{
	*p = (moert_places){0};
	p->within = calloc((size_t)l->nweights + 1, sizeof *p->within);
	p->block = calloc((size_t)l->nranges + 1, sizeof *p->block);
	p->first = calloc((size_t)l->nranges + 1, sizeof *p->first);
	int error = MOERT_OK;
	if (!p->within || !p->block || !p->first)
		error = moert_fail(why, MOERT_MEMORY, "out of memory");
	else if (!place_weights(l, p))
		error = moert_fail(why, MOERT_INTERNAL,
				   "layer %s: a weight's layout is wrong", l->name);
	if (error)
		moert_unplace(p);
	return error;
}

void moert_unplace(moert_places *p)
{
	free(p->within);
	free(p->block);
	free(p->first);
	*p = (moert_places){0};
}

int64_t moert_copies(const moert_layer *l, const moert_weight *w)
{
	return w->range < 0 ? 1 : l->ranges[w->range].count;
}

int64_t moert_where(const moert_layer *l, const moert_places *p, int64_t weight,
		    int64_t copy)
{
	int64_t r = l->weights[weight].range;
	return p->within[weight] + (r < 0 ? 0 : p->first[r] + copy * p->block[r]);
}

int moert_fill(const moert_layer *l, int64_t weight, int64_t copy, moert_weight_fn *get,
	       void *ctx, void *to, moert_why why)
{
	const moert_weight *w = &l->weights[weight];
	int64_t expert = w->range < 0 ? -1 : l->ranges[w->range].first + copy;

	for (int64_t s = 0; s < w->nstreams; s++) {
		const void *natural = get(ctx, l, w->streams[s], w->range, expert);
		if (!natural && expert < 0)
			return moert_fail(why, MOERT_WEIGHT,
					  "layer %s: weight %s is missing", l->name,
					  w->streams[s]);
		if (!natural)
			return moert_fail(why, MOERT_WEIGHT,
					  "layer %s: weight %s of expert %lld is missing",
					  l->name, w->streams[s], (long long)expert);
		moert_pack_stream(w, s, natural, to);
	}
	return MOERT_OK;
}
