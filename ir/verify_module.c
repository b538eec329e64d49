/* SPDX-License-Identifier: Apache-2.0
 * verify_module: expert ranges, parameters, states, panels, and the graph of calls. */
#include "verify.h"

#include <string.h>

enum { DEEPEST_CALL = 256 };
#define MOST_OPS ((int64_t)1 << 24)     /* of @layer with everything inlined */

static void **declaration(Verify *v, const char *sort, const char *name, int range)
{
	return map_text(&v->declared,
			arena_printf(v->scratch, "%d %s %s", range, sort, name));
}

const void *verify_declared(Verify *v, const char *sort, const char *name, int range)
{
	return *declaration(v, sort, name, range);
}

static bool once_named(Verify *v, const void *what, const char *sort, const char *name,
		       int range)
{
	const void **place = (const void **)declaration(v, sort, name, range);
	bool new = !*place;

	*place = what;
	return rule(v, *name, "a %s without a name", sort) &&
	       rule(v, new, "two %ss '%s'", sort, name);
}

static bool check_ranges(Verify *v)
{
	int64_t end = 0;

	for (int i = 0; i < v->m->ranges.n; i++) {
		const ExpertRange *r = &v->m->ranges.at[i];
		if (r->first == 0)
			end = 0;        /* of another layer of a model */
		if (!rule(v, r->first >= end && r->count >= 1 && r->count <= INT32_MAX &&
				 r->first <= INT32_MAX,
			  "expert range E%d is empty or meets one before it", i))
			return false;
		end = r->first + r->count;
		if (!rule(v, v->m->experts == 0 || end <= v->m->experts,
			  "experts up to %jd, but the layer has %jd", (intmax_t)end,
			  (intmax_t)v->m->experts))
			return false;
	}
	return true;
}

static bool load_fits(Verify *v, const Param *p, const char *name)
{
	const Fn *fn = verify_fn_named(v, name);

	return fn && rule(v,
			  fn->body->nargs == 0 && fn->nouts == 1 &&
			      shape_equal(&fn->outs[0], &p->type),
			  "parameter %s: @%s must take nothing and give %s", p->name,
			  name, type_text(v, &p->type));
}

/* Experts' weights have one load function each, @load.N, or one for all that computes
 * from other weights of the same experts. */
static bool check_load(Verify *v, const Param *p)
{
	if (p->type.level == LV_ONCE)
		return load_fits(v, p, p->load);
	const Fn *all = *map_text(&v->fns, p->load);
	if (all && all->nouts == 1 && all->outs[0].level == LV_EXPERT)
		return load_fits(v, p, p->load) &&
		       rule(v, all->outs[0].range == p->type.range,
			    "parameter %s: @%s is of another range", p->name, p->load);
	const ExpertRange *r = &v->m->ranges.at[p->type.range];
	for (int64_t e = r->first; e < r->first + r->count; e++)
		if (!load_fits(v, p,
			       arena_printf(v->scratch, "%s.%jd", p->load, (intmax_t)e)))
			return false;
	return true;
}

static bool check_params(Verify *v)
{
	for (int i = 0; i < v->m->params.n; i++) {
		const Param *p = &v->m->params.at[i];
		int range = p->type.level == LV_EXPERT ? p->type.range : -1;
		if (!verify_type(v, &p->type) ||
		    !rule(v, p->type.level == LV_ONCE || p->type.level == LV_EXPERT,
			  "parameter %s is neither once nor once an expert", p->name) ||
		    !rule(v, p->type.dtype != DT_rows, "parameter %s of rows", p->name) ||
		    !once_named(v, p, "parameter", p->name, range) ||
		    (p->load && !check_load(v, p)))
			return false;
	}
	return true;
}

static bool check_states(Verify *v)
{
	for (int i = 0; i < v->m->states.n; i++) {
		const State *s = &v->m->states.at[i];
		if (!verify_type(v, &s->type) ||
		    !rule(v,
			  s->type.level == (s->scope == PER_SEQUENCE ? LV_SEQ : LV_ONCE),
			  "state %s must be of level S per sequence, once per call",
			  s->name) ||
		    !once_named(v, s, "state", s->name, -1))
			return false;
	}
	return true;
}

static bool check_panel(Verify *v, const Panel *p)
{
	if (!rule(v, p->range >= -1 && p->range < v->m->ranges.n && p->nstreams >= 1,
		  "panel %s is of no range or has no streams", p->name) ||
	    !rule(v, p->n >= 1 && p->k >= 1 && p->cols >= 1 && p->kpack >= 1,
		  "panel %s has no entries", p->name))
		return false;
	for (int i = 0; i < p->nstreams; i++) {
		const Param *w = verify_declared(v, "parameter", p->streams[i], p->range);
		if (!rule(v, w && w->type.rank == 2 && w->type.dim[0] == p->n &&
				 w->type.dim[1] == p->k,
			  "panel %s: stream %s is no parameter [%jd, %jd]", p->name,
			  p->streams[i], (intmax_t)p->n, (intmax_t)p->k))
			return false;
	}
	return true;
}

static bool check_layer_call(Verify *v, int i)
{
	const LayerCall *c = &v->m->calls.at[i];

	for (int j = 0; j < i; j++)
		if (!rule(v, v->m->calls.at[j].fn != c->fn &&
				 strcmp(v->m->calls.at[j].path, c->path) != 0,
			  "call %s stands there twice", c->path))
			return false;
	return rule(v, c->width >= 0 && c->experts >= 0 && c->picks >= 0,
		    "call %s: a negative size", c->path) &&
	       rule(v, c->fn && c->fn != v->m->fns && c->fn->module == v->m,
		    "call %s is of no function", c->path) &&
	       rule(v, c->nlosses >= 0 && c->nlosses < c->fn->nouts,
		    "call %s: %d losses of %d results", c->path, c->nlosses, c->fn->nouts);
}

bool verify_declarations(Verify *v)
{
	if (!rule(v, v->m->width >= 0 && v->m->experts >= 0 && v->m->picks >= 0 &&
			 v->m->group >= -1, "a negative size of the layer") ||
	    !check_ranges(v) || !check_params(v) || !check_states(v))
		return false;
	for (int i = 0; i < v->m->panels.n; i++) {
		const Panel *p = &v->m->panels.at[i];
		if (!once_named(v, p, "panel", p->name, -1) || !check_panel(v, p))
			return false;
	}
	for (int i = 0; i < v->m->calls.n; i++)
		if (!check_layer_call(v, i))
			return false;
	return true;
}

/* ---- calls: no recursion, and no more ops than a compiler can take when inlined ---- */

typedef struct {
	Verify *v;
	Map     sizes;                  /* Fn -> int64_t: 0 while it is being counted */
	int     depth;
	int64_t ops;                    /* of the function at hand */
} Count;

static bool count_fn(Count *c, const Fn *fn, int64_t *ops);

static void count_callee(Count *c, const char *name)
{
	const Fn *fn = *map_text(&c->v->fns, name);
	int64_t outer = c->ops, ops = 0;

	if (fn && count_fn(c, fn, &ops))
		c->ops = outer + ops;
}

static void count_op(Op *op, void *ctx)
{
	Count *c = ctx;
	const Attr *fns = attr_find(op, "fns");

	if (c->v->why)
		return;
	c->ops++;
	if (op->kind == OP_call)
		count_callee(c, attr_get_str(op, "fn", ""));
	for (int i = 0; op->kind == OP_experts && i < fns->n; i++)
		count_callee(c, fns->ss[i]);
}

static bool count_fn(Count *c, const Fn *fn, int64_t *ops)
{
	int64_t **place = (int64_t **)map_address(&c->sizes, fn);

	if (*place) {
		*ops = **place;
		return rule(c->v, *ops, "@%s calls itself", fn->name);
	}
	if (!rule(c->v, c->depth < DEEPEST_CALL, "calls nested more than %d deep",
		  DEEPEST_CALL))
		return false;
	int64_t *size = *place = NEW(c->v->scratch, int64_t);
	c->depth++;
	c->ops = 0;
	region_walk(fn->body, count_op, c);
	c->depth--;
	*ops = *size = c->ops;
	return rule(c->v, c->v->why == NULL && c->ops <= MOST_OPS,
		    "@%s is of more than 2^24 ops with its calls", fn->name);
}

bool verify_calls(Verify *v)
{
	Count c = {.v = v, .sizes.arena = v->scratch};
	int64_t ops;

	for (const Fn *fn = v->m->fns; fn; fn = fn->next)
		if (!count_fn(&c, fn, &ops))
			return false;
	return true;
}
