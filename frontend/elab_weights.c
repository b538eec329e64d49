/* SPDX-License-Identifier: Apache-2.0
 * elab_weights: `weights PREFIX { path = layout }`: one load function a weight. */
#include "elab.h"

#include <string.h>

static const char *path_text(Elab *e, const Node *n)
{
	const char *base;

	if (n->kind == N_NAME)
		return n->s;
	if (n->kind == N_FIELD && (base = path_text(e, n->kids[0])))
		return arena_printf(e->a, "%s.%s", base, n->s);
	say(e, E_layout, n->loc, "`expert` in the layout is the expert's number",
	    "a path in `weights` has no index");
	return NULL;
}

/* The settings of a block whose ifs hold, in order. */
void collect_settings(Elab *e, const WeightsBlock *b, const Node *n, int first,
		      Settings *out)
{
	for (int i = first; i < n->nkids; i++) {
		const Node *k = n->kids[i];
		bool holds;
		if (k->kind == N_IF) {
			if (!need_bool(e, eval(e, k->kids[0]), k->kids[0]->loc,
				       "an `if` of `weights`", &holds))
				continue;
			const Node *taken = holds ? k->kids[1] : k->kids[2];
			if (taken)
				collect_settings(e, b, taken, 0, out);
			continue;
		}
		const char *path = path_text(e, k->kids[0]);
		if (path)
			vec_push(e->a, out, ((Setting){path, k, b}));
	}
}

const char *layout_prefix(Elab *e, const WeightsBlock *b)
{
	const char *prefix = NULL;

	need_str(e, eval(e, b->prefix), b->prefix->loc, "the prefix of `weights`",
		 &prefix);
	return prefix;
}

Frame *layout_frame(Elab *e, Layer *l, Fn *fn, Region *region)
{
	Frame *f = NEW(e->a, Frame);

	*f = (Frame){.caller = e->frame,
		     .call = l->def->loc,
		     .name = l->def->s,
		     .unit = l->unit,
		     .fn = fn,
		     .region = region,
		     .prefix = "",
		     .range = -1,
		     .layout = true,
		     .scope = l->frame->scope,
		     .root = l->frame->root};
	f->width = l->frame->width;
	return f;
}

static const char *of_expert(Elab *e)
{
	return e->layer->expert < 0 ? ""
		: arena_printf(e->a, " of expert %jd", (intmax_t)e->layer->expert);
}

static void say_missing(Elab *e, const char *full, Loc loc)
{
	const FeTensors *t = e->opt->tensors;
	const char *near = t->near ? t->near(t->ctx, full) : NULL;

	say(e, E_tensor_missing, loc,
	    near ? arena_printf(e->a, "did you mean %s?", near) : NULL,
	    "no tensor `%s` in %s: `%s`%s is read from it", full,
	    t->nfiles == 1 ? "the file" : arena_printf(e->a, "the %d files", t->nfiles),
	    e->layer->path, of_expert(e));
}

/* A string of a layout: the checkpoint's tensor of that name. */
Value *layout_tensor(Elab *e, const char *name, Loc loc)
{
	const FeTensors *t = e->opt->tensors;
	Layer *l = e->layer;
	Type type = {.level = LV_ONCE};
	FeTensor tensor = {0};

	if (!l->layout_prefix)
		return NULL;
	const char *full =
	    arena_printf(e->a, "%s%s%s", l->prefix, l->layout_prefix, name);
	if (!t || !t->find(t->ctx, full, &tensor)) {
		if (tensor.bad)
			e->fatal = true;        /* what follows would only be its echo */
		else if (e->probe)
			e->absent = true;
		else
			say_missing(e, full, loc);
		return NULL;
	}
	if (tensor.dtype >= DT_COUNT || tensor.rank > MAX_RANK || tensor.rank < 0) {
		say(e, E_tensor_type, loc, NULL,
		    "`%s` is of a type or shape that moec does not read", full);
		return NULL;
	}
	type.dtype = tensor.dtype;
	type.rank = tensor.rank;
	for (int i = 0; i < tensor.rank; i++) {
		type.dim[i] = tensor.dims[i];
		if (tensor.dims[i] < 1) {
			say(e, E_layout, loc, NULL, "`%s` has an empty axis", full);
			return NULL;
		}
	}
	Op *op = op_start(e, OP_tensor, 0, NULL, 1, loc);
	attr_str(l->m, op, "name", full);
	return op_typed(e, op, type);
}

static bool fits(Elab *e, const Param *p, Value *v, Loc loc)
{
	const Type *t = &v->type;
	bool turned = t->rank == 2 && p->type.rank == 2 && t->dim[0] == p->type.dim[1] &&
		      t->dim[1] == p->type.dim[0];

	if (shape_equal(t, &p->type))
		return true;
	say(e, E_tensor_shape, loc, turned ? "`transpose(..)`" : NULL,
	    "`%s`%s is %s, the layout gives %s", p->name, of_expert(e),
	    type_words(e, &p->type), shape_words(e, t));
	return false;
}

/* The layout's value in the parameter's own type. */
static Value *stored_as(Elab *e, const Param *p, Value *v, Loc loc)
{
	Type t = p->type;

	t.level = LV_ONCE;
	t.range = 0;
	if (t.dtype != DT_index)
		return as_dtype(e, v, t.dtype, loc);
	v = as_dtype(e, v, DT_i32, loc);
	return v ? op_typed(e, op_start(e, OP_index, 1, &v, 1, loc), t) : NULL;
}

static bool load_one(Elab *e, const Param *p, const Setting *s, const char *name)
{
	Layer *l = e->layer;
	const Node *layout = s->set->kids[1];
	Fn *fn = fn_new(l->m, name);
	Frame *outer = e->frame;

	e->frame = layout_frame(e, l, fn, fn->body);
	l->path = p->name;
	l->layout_prefix = layout_prefix(e, s->block);
	Val got = eval(e, layout);
	Value *v = got.kind == V_POISON ? NULL
					: as_tensor(e, got, DT_f32, 0, layout->loc);
	if (v && fits(e, p, v, layout->loc))
		v = stored_as(e, p, v, layout->loc);
	else
		v = NULL;
	if (v) {
		fn->nouts = 1;
		fn->outs = NEWN(e->a, Type, 1);
		fn->out_names = NEWN(e->a, const char *, 1);
		fn->outs[0] = v->type;
		op_give(e, OP_return, 1, &v, layout->loc);
	}
	e->frame = outer;
	return v != NULL;
}

static const Setting *setting_of(const Settings *s, const char *path)
{
	for (int i = s->n - 1; i >= 0; i--)
		if (strcmp(s->at[i].path, path) == 0)
			return &s->at[i];
	return NULL;
}

static void say_no_entry(Elab *e, const Param *p, const Settings *s, Loc loc)
{
	Vec(const char *) names = {0};

	for (int i = 0; i < s->n; i++)
		vec_push(e->a, &names, s->at[i].path);
	say(e, E_layout_missing, loc, fix_near(e, p->name, names.at, names.n),
	    "`weights` has no entry for the parameter `%s`", p->name);
}

static void load_param(Elab *e, Param *p, const Setting *s)
{
	Layer *l = e->layer;
	const char *load = arena_printf(e->a, "load.%s", p->name);

	l->expert = -1;
	if (p->type.level != LV_EXPERT) {
		if (load_one(e, p, s, load))
			p->load = load;
		return;
	}
	const Range *r = &l->ranges.at[p->type.range - l->first_range];
	for (l->expert = r->first; l->expert < r->first + r->count; l->expert++)
		if (!load_one(e, p, s,
			      arena_printf(e->a, "%s.%jd", load, (intmax_t)l->expert)))
			break;                  /* the others lack the same */
	if (l->expert == r->first + r->count)
		p->load = load;
	l->expert = -1;
}

/* In `weights` of a layer that a model calls a path is as if the layer stood alone: that of
 * 1.moe.experts.*.gate is gate. */
static const char *own_path(const Layer *l, const char *name)
{
	static const char experts[] = "experts.*.";

	if (!l->outer)
		return name;
	name += strlen(l->prefix);
	return strncmp(name, experts, strlen(experts)) == 0 ? name + strlen(experts) : name;
}

/* Whose `weights` says where a parameter is: that of the innermost layer that owns it. */
static Layer *owner_of(Elab *e, Layer *whole, const char *name)
{
	Layer *of = whole;

	for (int i = 0; i < e->called.n; i++) {
		Layer *l = e->called.at[i];
		size_t n = strlen(l->prefix);
		if (strncmp(name, l->prefix, n) == 0 && n > strlen(of->prefix))
			of = l;
	}
	return of;
}

static void load_layer(Elab *e, Layer *l, Layer *const *owners)
{
	Settings settings = {0};

	if (l->weights.n == 0)
		return;
	e->layer = l;
	e->frame = l->frame;
	for (int i = 0; i < l->weights.n; i++)
		collect_settings(e, &l->weights.at[i], l->weights.at[i].node, 1,
				 &settings);
	for (int i = 0; i < l->m->params.n && !e->fatal; i++) {
		Param *p = &l->m->params.at[i];
		const Setting *s = setting_of(&settings, own_path(l, p->name));
		if (owners[i] != l)
			continue;
		if (s)
			load_param(e, p, s);
		else
			say_no_entry(e, p, &settings, l->weights.at[0].node->loc);
	}
}

void load_functions(Elab *e, Layer *l)
{
	Layer *outer = e->layer;
	Frame *frame = e->frame;
	Layer **owners = NEWN(e->a, Layer *, (size_t)l->m->params.n + 1);

	if (!e->opt->tensors)
		return;
	for (int i = 0; i < l->m->params.n; i++)
		owners[i] = owner_of(e, l, l->m->params.at[i].name);
	e->max_ops = e->ops + MAX_LOAD_OPS;
	load_layer(e, l, owners);
	for (int i = 0; i < e->called.n; i++)
		load_layer(e, e->called.at[i], owners);
	e->layer = outer;
	e->frame = frame;
}
