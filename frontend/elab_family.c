/* SPDX-License-Identifier: Apache-2.0
 * elab_family: which layer of a family: its model_type, its number, the first shape that
 * fits. */
#include "elab.h"

#include <stdlib.h>
#include <string.h>

static Loc whole_file(const Elab *e)
{
	return (Loc){.file = e->main->file};
}

/* How many layers there are is config.json's affair. */
static Loc whole_model(const Elab *e)
{
	return (Loc){.file = e->opt->config_file ? e->opt->config_file : e->main->file};
}

void scratch_layer(Elab *e, Unit *u)
{
	Layer *l = NEW(e->a, Layer);
	Frame *f = NEW(e->a, Frame);

	l->m = module_new(e->a, "constants");
	l->prefix = "";
	l->number = l->expert = -1;
	l->stored = l->wtype = DT_COUNT;
	l->unit = u;
	*f = (Frame){.unit = u, .name = u->file, .prefix = "", .range = -1};
	f->scope = f->root = scope_new(e, u->constants);
	f->fn = fn_new(l->m, "constants");
	f->region = f->fn->body;
	e->layer = l;
	e->frame = f;
}

static const char *config_type(const Elab *e)
{
	return e->opt->config
		   ? json_string_value(json_object_get(e->opt->config, "model_type"))
		   : NULL;
}

static const Node *find_family(Elab *e, const char *type)
{
	Vec(const char *) names = {0};

	for (int i = 0; i < e->main->ast->nkids; i++) {
		const Node *n = e->main->ast->kids[i];
		for (int k = 0; n->kind == N_FAMILY && k < n->nnames; k++) {
			if (type && strcmp(n->names[k], type) == 0)
				return n;
			vec_push(e->a, &names, n->names[k]);
		}
	}
	if (!e->opt->config)
		say(e, E_no_config, whole_file(e),
		    "name the model's folder: `--weights DIR`",
		    "a family needs a model's config.json");
	else if (!type)
		say(e, E_model_type, (Loc){.file = e->opt->config_file}, NULL,
		    "there is no `model_type`");
	else
		say(e, E_model_type, whole_file(e),
		    fix_among(e, type, names.at, names.n),
		    "no family is for the model_type `%s`", type);
	return NULL;
}

typedef struct {
	const char *name;               /* NULL: the only stack */
	int64_t     count;
} Stack;
typedef Vec(Stack) Stacks;

static void read_stacks(Elab *e, const Node *n, Stacks *s)
{
	for (int i = 0; i < n->nkids; i++) {
		const Node *k = n->kids[i];
		bool named = k->kind == N_NAMED;
		Stack stack = {.name = named ? k->s : NULL};
		if (need_int(e, eval(e, named ? k->kids[0] : k), k->loc,
			     "the number of layers", 0, MAX_FOR, &stack.count))
			vec_push(e->a, s, stack);
	}
}

/* The first shape whose condition holds for the layer. */
static const Node *shape_of(Elab *e, const Node *family, const char *stack,
			    int64_t number)
{
	int errors = e->errors;

	e->layer->stack = stack;
	e->layer->number = number;
	for (int i = 0; i < family->nkids && e->errors == errors; i++) {
		const Node *n = family->kids[i];
		bool holds = true;
		if (n->kind != N_LAYER_DEF)
			continue;
		if (n->kids[0])
			need_bool(e, eval(e, n->kids[0]), n->kids[0]->loc, "`when`",
				  &holds);
		if (holds && e->errors == errors)
			return n;
	}
	return NULL;
}

static bool has_experts(const Node *n)
{
	bool found = n && n->kind == N_EXPERTS_OF;

	for (int i = 0; n && !found && i < n->nkids; i++)
		found = has_experts(n->kids[i]);
	return found;
}

static const Node *default_layer(Elab *e, const Node *family, const Stacks *s,
				 const char **stack, int64_t *number)
{
	int errors = e->errors;

	for (int i = 0; i < s->n; i++)
		for (int64_t k = 0; k < s->at[i].count && e->errors == errors; k++) {
			const Node *n = shape_of(e, family, s->at[i].name, k);
			*stack = s->at[i].name;
			*number = k;
			if (n && has_experts(n->kids[1]))
				return n;
		}
	if (e->errors == errors)
		say(e, E_no_layer, whole_file(e), "name one: `--layer 0`",
		    "no layer of this model has experts");
	return NULL;
}

/* 7, encoder.3: which stack, and the number in it. */
static const Stack *parse_layer(Elab *e, const Stacks *s, int64_t *number)
{
	const char *text = e->opt->layer, *dot = strchr(text, '.');
	const char *digits = dot ? dot + 1 : text;
	size_t n = strspn(digits, "0123456789");
	const Stack *found = NULL;

	for (int i = 0; i < s->n; i++) {
		const char *name = s->at[i].name;
		if (dot ? name && strlen(name) == (size_t)(dot - text) &&
				  strncmp(name, text, (size_t)(dot - text)) == 0
			: !name)
			found = &s->at[i];
	}
	bool is_number = n > 0 && n <= 9 && !digits[n];
	if (is_number)
		*number = strtol(digits, NULL, 10);
	if (!found && !dot && s->n && s->at[0].name) {
		say(e, E_layer_choice, whole_model(e),
		    arena_printf(e->a, "`--layer %s.%jd`", s->at[0].name,
				 (intmax_t)(is_number && *number < s->at[0].count ? *number
										  : 0)),
		    "this model has several stacks of layers");
		return NULL;
	}
	if (!found || !is_number) {
		say(e, E_layer_choice, whole_model(e), NULL,
		    "there is no layer `%s`", text);
		return NULL;
	}
	if (*number < found->count)
		return found;
	say(e, E_layer_choice, whole_model(e), NULL,
	    "there is no layer %s: the model has %s%jd layers", text,
	    found->count ? "" : "no layers, ", (intmax_t)found->count);
	return NULL;
}

static const Node *layer_of_family(Elab *e, const char **stack, int64_t *number)
{
	const Node *family = find_family(e, config_type(e));
	int errors = e->errors;
	Stacks stacks = {0};

	if (!family)
		return NULL;
	e->in_family = true;
	e->family = scope_new(e, e->main->constants);
	e->frame->scope = e->frame->root = e->family;
	for (int i = 0; i < family->nkids; i++) {
		const Node *n = family->kids[i];
		if (n->kind == N_BIND)
			bind_constant(e, n);
		else if (n->kind == N_LAYERS)
			read_stacks(e, n, &stacks);
	}
	if (e->errors > errors)
		return NULL;
	if (!e->opt->layer)
		return default_layer(e, family, &stacks, stack, number);
	const Stack *s = parse_layer(e, &stacks, number);
	if (!s)
		return NULL;
	*stack = s->name;
	const Node *n = shape_of(e, family, s->name, *number);
	if (!n && e->errors == errors)
		say(e, E_layer_choice, whole_model(e), NULL,
		    "no layer of the family is for layer %s", e->opt->layer);
	return n;
}

static const Node *layer_of_file(Elab *e, bool *family)
{
	Vec(const char *) names = {0};
	const Node *last = NULL;

	*family = false;
	for (int i = 0; i < e->main->ast->nkids; i++) {
		const Node *n = e->main->ast->kids[i];
		*family = *family || n->kind == N_FAMILY;
		if (n->kind != N_LAYER_DEF && n->kind != N_MODEL)
			continue;
		if (e->opt->layer && strcmp(n->s, e->opt->layer) == 0)
			return n;
		vec_push(e->a, &names, n->s);
		last = n;
	}
	if (*family && (!e->opt->layer || e->opt->config))
		return NULL;
	*family = false;
	if (!e->opt->layer && names.n == 1)
		return last;
	if (names.n == 0)
		say(e, E_no_layer, whole_file(e), NULL, "there is no layer in this file");
	else if (e->opt->layer)
		say(e, E_layer_choice, whole_file(e),
		    fix_among(e, e->opt->layer, names.at, names.n),
		    "there is no layer `%s`", e->opt->layer);
	else
		say(e, E_layer_choice, whole_file(e),
		    arena_printf(e->a, "name one: `--layer %s`", names.at[0]),
		    "this file has %d layers: %s", names.n,
		    list_text(e, names.at, names.n));
	return NULL;
}

const Node *choose_layer(Elab *e, const char **stack, int64_t *number)
{
	bool family;
	const Node *n = layer_of_file(e, &family);

	*stack = NULL;
	*number = -1;
	return family && !n ? layer_of_family(e, stack, number) : n;
}
