/* SPDX-License-Identifier: Apache-2.0
 * serve: weights by name, as compiled layers and the interpreter ask for them: natural
 * ones, and those that passes derive from them, computed by the interpreter. */
#include "moec.h"

#include <stdlib.h>
#include <string.h>

/* Load functions of a checkpoint read tensors; derived ones read params. */
static const Fn *derived_from(const Module *m, const Param *p)
{
	const Fn *fn = p->load ? fn_find(m, p->load) : NULL;

	for (const Op *op = fn ? fn->body->first : NULL; op; op = op->next)
		if (op->kind == OP_param)
			return fn;
	return NULL;
}

/* The value of one expert alone: a module whose range is that expert. */
static Module one_expert(Arena *a, const Module *m, const Param *p, int64_t expert)
{
	Module one = *m;

	if (p->type.level != LV_EXPERT)
		return one;
	one.ranges.at = NEWN(a, ExpertRange, (size_t)m->ranges.n);
	memcpy(one.ranges.at, m->ranges.at, (size_t)m->ranges.n * sizeof *m->ranges.at);
	one.ranges.at[p->type.range] = (ExpertRange){expert, 1};
	return one;
}

static void *derive(Server *s, const Fn *fn, const Param *p, int64_t expert)
{
	Arena *a = arena_new();
	Module m = one_expert(a, s->m, p, expert);
	EvalCall call = {.step = -1, .weights = weights_source(s->natural)};
	EvalResult r;
	const char *why = "";
	int64_t n = type_elems(&p->type);
	size_t bytes;
	void *to = NULL;

	if (!eval_fn(a, &m, fn, &call, &r, &why))
		diag_error(s->job->diag, E_interpreter, p->loc,
			   "`%s` cannot be computed: %s", p->name, why);
	else if (r.outs[0].n != n)
		ice("@%s gives %jd entries for %jd", fn->name, (intmax_t)r.outs[0].n,
		    (intmax_t)n);
	else if (!size_mul((size_t)n, (size_t)dtype_info[p->type.dtype].bits / 8,
			   &bytes) ||
		 !(to = malloc(bytes + 1)))
		diag_error(s->job->diag, E_no_memory, p->loc, "no memory for `%s`",
			   p->name);
	else
		store_doubles(p->type.dtype, r.outs[0].v, n, to);
	arena_free(a);
	return to;
}

static const void *made_before(const Server *s, const Param *p, int64_t expert)
{
	for (int i = 0; i < s->made.n; i++)
		if (s->made.at[i].param == p && s->made.at[i].expert == expert)
			return s->made.at[i].data;
	return NULL;
}

static void forget(Server *s)
{
	for (int i = 0; i < s->made.n; i++)
		free(s->made.at[i].data);
	s->made.n = 0;
	if (s->last)
		weights_release(s->natural, s->last, s->last_expert);
	s->last = NULL;
}

static const void *get(WeightSource *source, const Param *p, int64_t expert)
{
	Server *s = (Server *)source;
	const Fn *fn = derived_from(s->m, p);

	if (!fn)
		return weights_source(s->natural)
		    ->get(weights_source(s->natural), p, expert);
	const void *known = made_before(s, p, expert);
	if (known)
		return known;
	MadeMatrix made = {p, expert, derive(s, fn, p, expert)};
	if (made.data)
		vec_push(s->job->arena, &s->made, made);
	return made.data;
}

static const Module *variant_of(const Server *s, const moert_layer *layer)
{
	for (int i = 0; i < s->variants->n; i++)
		if (strcmp(s->variants->at[i]->target, layer->target) == 0)
			return s->variants->at[i];
	ice("no variant for %s", layer->target);
}

/* Unless they are kept, matrices live until the next is asked for. */
static const void *serve(Server *s, const char *name, int64_t range, int64_t expert)
{
	const Param *p = param_find(s->m, name, (int)range);

	if (!p)
		ice("the layer wants a weight `%s` that the module has not", name);
	if (!s->keep)
		forget(s);
	const void *data = get(&s->source, p, expert);
	if (!s->keep && !derived_from(s->m, p)) {
		s->last = p;
		s->last_expert = expert;
	}
	progress_add(s->progress, (uint64_t)type_elems(&p->type) *
				  (uint64_t)dtype_info[p->type.dtype].bits / 8);
	return data;
}

const void *server_get(void *server, const moert_layer *layer, const char *name,
		       int64_t range, int64_t expert)
{
	Server *s = server;
	const Module *before = s->m;

	s->m = variant_of(s, layer);
	const void *data = serve(s, name, range, expert);
	s->m = before;
	return data;
}

void server_open(Server *s, const Job *job, const Module *m, Weights *natural, bool keep)
{
	*s = (Server){
	    .source = {get}, .job = job, .m = m, .natural = natural, .keep = keep};
}

void server_close(Server *s)
{
	forget(s);
	weights_close(s->natural);
	s->natural = NULL;
}
