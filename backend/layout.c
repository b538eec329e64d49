/* SPDX-License-Identifier: Apache-2.0
 * layout: how a module's weights lie in memory and in files; no code is needed for that. */
#include "emit.h"
#include "../ir/names.h"

static moert_weight plain(const Weight *w)
{
	const Type *t = &w->param->type;
	int64_t n = type_elems(t);

	return (moert_weight){.dtype = t->dtype, .n = n, .k = 1, .nstreams = 1,
			      .streams = (const char *const *)&w->param->name,
			      .bytes = n * entry_bytes(t->dtype)};
}

static moert_weight panels(const Panel *p)
{
	int64_t panels = (p->n + p->cols - 1) / p->cols;
	int64_t steps = (p->k + p->kpack - 1) / p->kpack;

	return (moert_weight){.dtype = p->dtype, .cols = p->cols, .kpack = p->kpack, .n = p->n,
			      .k = p->k, .nstreams = p->nstreams,
			      .streams = (const char *const *)p->streams,
			      .bytes = panels * steps * p->kpack * p->cols * p->nstreams *
				       entry_bytes(p->dtype)};
}

moert_weight layout_weight(const Weight *w)
{
	moert_weight l = w->panel ? panels(w->panel) : plain(w);

	l.name = w->name;
	l.range = w->range;
	return l;
}

/* How a weight is computed from others when it is packed. */
static void derivation(Text *t, const Module *m, const char *name, int range)
{
	const Param *p = param_find(m, name, range);
	const Fn *fn = p && p->load ? fn_find(m, p->load) : NULL;
	bool derived = false;

	for (const Op *op = fn ? fn->body->first : NULL; op; op = op->next)
		derived = derived || op->kind == OP_param;
	for (const Op *op = derived ? fn->body->first : NULL; op; op = op->next)
		print_op(t, op);
}

/* What a file of packed weights must agree with: names, shapes, types and layouts, and
 * what was computed. */
uint64_t layout_fingerprint(const Emit *e)
{
	Text t = text_new(e->arena);

	text_printf(&t, "%s %lld\n", e->m->name, (long long)e->m->experts);
	for (int i = 0; i < e->weights.n; i++) {
		const Weight *w = &e->weights.at[i];
		text_printf(&t, "%s %d ", w->name, w->range);
		if (w->panel)
			text_printf(&t, "%d %lld %lld %lld %lld %d\n", w->panel->dtype,
				    (long long)w->panel->n, (long long)w->panel->k,
				    (long long)w->panel->cols, (long long)w->panel->kpack,
				    w->panel->nstreams);
		else
			print_type(&t, &w->param->type);
		moert_weight l = layout_weight(w);
		for (int64_t s = 0; s < l.nstreams; s++)
			derivation(&t, e->m, l.streams[s], w->range);
	}
	return hash_bytes(HASH_START, t.s, t.n);
}

const moert_layer *backend_layout(Arena *arena, Diag *diag, const Module *m,
				  const moert_layer *next)
{
	Emit e = {.arena = arena, .m = m, .t = target_find(m->target)};

	if (!backend_accepts(diag, m))
		return NULL;
	number_weights(&e);
	moert_layer *l = NEW(arena, moert_layer);
	moert_weight *weights = NEWN(arena, moert_weight, (size_t)e.weights.n + 1);
	moert_range *ranges = NEWN(arena, moert_range, (size_t)m->ranges.n + 1);
	for (int i = 0; i < e.weights.n; i++)
		weights[i] = layout_weight(&e.weights.at[i]);
	for (int i = 0; i < m->ranges.n; i++)
		ranges[i] = (moert_range){m->ranges.at[i].first, m->ranges.at[i].count};
	*l = (moert_layer){.name = m->name, .target = e.t->name, .needs = e.t->needs,
			   .next = next, .fingerprint = layout_fingerprint(&e),
			   .width = m->width, .experts = m->experts, .picks = m->picks,
			   .group = m->group, .nweights = e.weights.n, .weights = weights,
			   .nranges = m->ranges.n, .ranges = ranges};
	return l;
}
