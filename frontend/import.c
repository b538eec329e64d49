/* SPDX-License-Identifier: Apache-2.0
 * import: a layer of a family as a .moe of its own: what config.json and the layer's number
 * decide is decided, the rest stays as it is written. */
#include "elab.h"
#include "print.h"

#include <string.h>

typedef Vec(const char *) Words;
typedef struct { const Node *def; Unit *unit; } Found;

typedef struct {
	Elab    *e;
	Printer  p;
	Dtype    stored;
	bool     layout;                /* in `weights`: strings are tensors */
	size_t   width;                 /* of the longest path there */
	Words    bound;                 /* names of the layer or function being printed */
	Vec(Found) functions;           /* called, of files that are not std.moe */
} Import;

/* ---- what is known now ---- */

static bool listed(const Words *w, const char *name)
{
	for (int i = 0; i < w->n; i++)
		if (strcmp(w->at[i], name) == 0)
			return true;
	return false;
}

static bool unit_has(const Unit *u, const char *name)
{
	bool found = scope_find(u->constants, NULL, name) != NULL;

	for (int i = 0; !found && i < u->imports.n; i++)
		found = unit_has(u->imports.at[i], name);
	return found;
}

static bool known_name(const Import *x, const char *name)
{
	Elab *e = x->e;

	if (listed(&x->bound, name))
		return false;
	return strcmp(name, "config") == 0 || strcmp(name, "stack") == 0 ||
	       (e->family && scope_find(e->family, NULL, name)) ||
	       unit_has(e->frame->unit, name);
}

/* Functions that are numbers when their arguments are. */
static bool computes(const Node *callee)
{
	static const char *const names[] = {"min", "max", "ceil", "floor", "round", "abs",
					    "sqrt", "where"};

	for (size_t i = 0; callee->kind == N_NAME && i < COUNT(names); i++)
		if (strcmp(callee->s, names[i]) == 0)
			return true;
	return false;
}

/* Whether all leaves are known now; *given: some of them through the model. */
static bool known(const Import *x, const Node *n, bool *given)
{
	switch (n->kind) {
	case N_NAME:
		*given = *given || known_name(x, n->s);
		return known_name(x, n->s);
	case N_LAYER:
		*given = true;
		return x->e->layer->number >= 0;
	case N_NUMBER: case N_TRUE: case N_FALSE:
		return true;
	case N_STRING:
		return !x->layout && !strchr(n->s, '{');
	case N_UNARY: case N_BINARY: case N_FIELD: case N_SUBSCRIPT: case N_CALL:
		break;
	default:
		return false;
	}
	if (n->kind == N_CALL && !computes(n->kids[0]))
		return false;
	for (int i = n->kind == N_CALL; i < n->nkids; i++)
		if (!known(x, n->kids[i], given))
			return false;
	return true;
}

/* Its value, or poison: not known before the layer runs. */
static Val value_of(Import *x, const Node *n)
{
	Elab *e = x->e;
	int errors = e->errors;
	bool given = false;

	if (!known(x, n, &given) || !given)
		return val_poison();
	e->mute++;
	Val v = eval(e, n);
	e->mute--;
	bool ok = e->errors == errors;
	e->errors = errors;
	return ok && val_const(&v) ? v : val_poison();
}

static const char *instead(void *ctx, const Node *n, int level)
{
	Import *x = ctx;
	Val v = value_of(x, n);
	Node number = {.kind = N_NUMBER, .f = v.f}, string = {.kind = N_STRING, .s = v.s};
	Printer p = {.t = text_new(x->e->a), .ctx = ctx, .instead = x->p.instead,
		     .string = x->p.string};

	switch (v.kind) {
	case V_NUM:
		if (v.f != v.f)
			return NULL;
		if (v.f < 0)
			number.f = -v.f;
		if (number.f > 1e308)
			text_add(&p.t, "inf");
		else
			print_expr(&p, &number, LEVEL_POSTFIX);
		return v.f >= 0 ? p.t.s
		       : arena_printf(x->e->a, level > LEVEL_NEG ? "(-%s)" : "-%s", p.t.s);
	case V_BOOL:
		return v.b ? "true" : "false";
	case V_STR:
		if (strchr(v.s, '{'))
			return NULL;
		print_expr(&p, &string, LEVEL_POSTFIX);
		return p.t.s;
	default:
		return NULL;
	}
}

/* `{layer}` and the family's constants; `{expert}` stays. */
static const char *filled(void *ctx, const char *s)
{
	Import *x = ctx;
	Elab *e = x->e;
	Text t = text_new(e->a);

	for (const char *open; (open = strchr(s, '{')); ) {
		size_t n = strcspn(open, "}") + 1;
		const char *name = arena_strndup(e->a, open + 1, n - 2);
		bool fill = strcmp(name, "layer") == 0 ? e->layer->number >= 0
						       : known_name(x, name);
		text_addn(&t, s, (size_t)(open - s));
		Val v = fill ? interpolate(e, arena_strndup(e->a, open, n), (Loc){0})
			     : val_poison();
		if (v.kind == V_STR)
			text_add(&t, v.s);
		else
			text_addn(&t, open, n);
		s = open + n;
	}
	text_add(&t, s);
	return t.s;
}

static const char *element(void *ctx, const char *name)
{
	const Import *x = ctx;

	return strcmp(name, "stored") == 0 ? dtype_info[x->stored].name : name;
}

/* ---- statements ---- */

static void print_block(Import *, const Node *);

static void put_list(Import *x, const char *word, const Node *n)
{
	text_add(&x->p.t, word);
	print_list(&x->p, n->kids, n->nkids);
}

static void put_expr(Import *x, const char *between, const Node *n)
{
	text_add(&x->p.t, between);
	print_expr(&x->p, n, LEVEL_ANY);
}

static void print_braces(Import *x, const Node *block)
{
	text_add(&x->p.t, " {");
	x->p.indent++;
	print_block(x, block);
	x->p.indent--;
	print_indent(&x->p);
	text_add(&x->p.t, "}");
}

/* Names that a block binds first are its own: without its braces they might meet others. */
static bool binds(const Node *block)
{
	for (int i = 0; i < block->nkids; i++)
		if (block->kids[i]->kind == N_BIND && block->kids[i]->nnames)
			return true;
	return false;
}

static void print_if(Import *x, const Node *n)
{
	bool layout = x->layout;

	x->layout = false;              /* of a setting: strings are strings here */
	Val v = value_of(x, n->kids[0]);
	x->layout = layout;
	if (v.kind == V_BOOL) {
		const Node *taken = v.b ? n->kids[1] : n->kids[2];
		if (taken && taken->kind == N_IF) {
			print_if(x, taken);
		} else if (taken && binds(taken)) {
			print_indent(&x->p);
			text_add(&x->p.t, "if true");
			print_braces(x, taken);
		} else if (taken) {
			print_block(x, taken);
		}
		return;
	}
	print_indent(&x->p);
	put_expr(x, "if ", n->kids[0]);
	print_braces(x, n->kids[1]);
	if (!n->kids[2])
		return;
	text_add(&x->p.t, " else");
	if (n->kids[2]->kind == N_BLOCK) {
		print_braces(x, n->kids[2]);
		return;
	}
	text_add(&x->p.t, " {");        /* what is left of the next one */
	x->p.indent++;
	print_if(x, n->kids[2]);
	x->p.indent--;
	print_indent(&x->p);
	text_add(&x->p.t, "}");
}

static void print_declared(Import *x, const char *word, const Node *n)
{
	text_printf(&x->p.t, "%s%s: ", word, n->s);
	print_type_of(&x->p, n->kids[0]);
	if (n->kind != N_INPUT && n->kids[1])
		put_expr(x, " = ", n->kids[1]);
	if (n->kind == N_STATE)
		text_printf(&x->p.t, " per %s", n->s2);
}

static void print_experts(Import *x, const Node *n)
{
	for (int i = 0; i + 1 < n->nkids; i += 2) {
		put_expr(x, i ? ", " : "experts ", n->kids[i]);
		put_expr(x, " of ", n->kids[i + 1]);
	}
}

static void print_bind(Import *x, const Node *n)
{
	for (int i = 0; i < n->nnames; i++)
		text_printf(&x->p.t, "%s%s", i ? ", " : "", n->names[i]);
	put_expr(x, " = ", n->kids[0]);
}

static const char *as_written(void *ctx, const Node *n, int level)
{
	return NULL;
}

static const char *path_text(Import *x, const Node *path)
{
	Text outer = x->p.t;

	x->p.t = text_new(x->e->a);
	x->p.instead = as_written;      /* `shared.gate` is no constant `shared` */
	print_expr(&x->p, path, LEVEL_ANY);
	const char *s = x->p.t.s;
	x->p.t = outer;
	x->p.instead = instead;
	return s;
}

static size_t longest_path(Import *x, const Node *n)
{
	size_t most = n->kind == N_SET ? strlen(path_text(x, n->kids[0])) : 0;

	for (int i = 1; i < n->nkids && n->kind != N_SET; i++)
		if (n->kids[i])
			most = MAX(most, longest_path(x, n->kids[i]));
	return most;
}

static void print_weights(Import *x, const Node *n)
{
	Node block = {.kind = N_BLOCK, .kids = n->kids + 1, .nkids = n->nkids - 1};

	put_expr(x, "weights ", n->kids[0]);
	x->width = longest_path(x, n);
	x->layout = true;
	print_braces(x, &block);
	x->layout = false;
}

static void print_loop(Import *x, const Node *n)
{
	if (n->kind == N_FOR) {
		text_printf(&x->p.t, "for %s", n->s);
		put_expr(x, " in ", n->kids[0]);
		print_braces(x, n->kids[1]);
		return;
	}
	put_expr(x, "repeat ", n->kids[0]);
	if (n->kids[1])
		put_expr(x, " until ", n->kids[1]);
	print_braces(x, n->kids[2]);
}

static void print_stmt(Import *x, const Node *n)
{
	switch (n->kind) {
	case N_BIND:    print_bind(x, n); break;
	case N_NEXT:    put_expr(x, arena_printf(x->e->a, "next    %s = ", n->s), n->kids[0]);
			break;
	case N_RETURN:  put_list(x, "return ", n); break;
	case N_INPUT:   print_declared(x, "input   ", n); break;
	case N_PARAM:   print_declared(x, "param   ", n); break;
	case N_STATE:   print_declared(x, "state   ", n); break;
	case N_FOR: case N_REPEAT: print_loop(x, n); break;
	case N_EXPERTS_OF: print_experts(x, n); break;
	case N_ROUTE_BY: put_expr(x, "route   ", n->kids[0]); break;
	case N_OUTPUT:  put_list(x, "output  ", n); break;
	case N_LOSS:    put_expr(x, "loss    ", n->kids[0]); break;
	case N_GROUP:   put_expr(x, "group   ", n->kids[0]); break;
	case N_DEFER:   put_list(x, "defer   ", n); break;
	case N_CAUSAL:  text_add(&x->p.t, "causal"); break;
	case N_WEIGHTS: print_weights(x, n); break;
	case N_SET:     text_printf(&x->p.t, "%-*s", (int)x->width,
				    path_text(x, n->kids[0]));
			put_expr(x, " = ", n->kids[1]); break;
	default:        ice("no text for a statement of kind %d", n->kind);
	}
}

/* A name of the layer that is a constant from here on: nothing is left to print. */
static bool spent(Import *x, const Node *n)
{
	Elab *e = x->e;
	int times = 0;

	for (int i = 0; n->kind == N_BIND && n->nnames == 1 && i < x->bound.n; i++)
		times += strcmp(x->bound.at[i], n->names[0]) == 0;
	if (times != 1 || x->p.indent != 1 || !e->family ||
	    !instead(x, n->kids[0], LEVEL_ANY))
		return false;
	scope_add(e, e->family, n->names[0], value_of(x, n->kids[0]), n->loc);
	for (int i = 0; i < x->bound.n; i++)
		if (strcmp(x->bound.at[i], n->names[0]) == 0)
			x->bound.at[i] = "";
	return true;
}

/* `require` has held, and is left out. */
static void print_block(Import *x, const Node *block)
{
	for (int i = 0; i < block->nkids; i++) {
		const Node *n = block->kids[i];
		if (n->kind == N_IF) {
			print_if(x, n);
		} else if ((n->kind != N_BIND || n->nnames) && !spent(x, n)) {
			print_indent(&x->p);
			print_stmt(x, n);
		}
	}
}

/* ---- definitions ---- */

static void collect_names(Import *x, const Node *n)
{
	for (int i = 0; i < n->nnames; i++)
		vec_push(x->e->a, &x->bound, n->names[i]);
	if (n->kind == N_INPUT || n->kind == N_PARAM || n->kind == N_STATE ||
	    n->kind == N_FOR || n->kind == N_ARG)
		vec_push(x->e->a, &x->bound, n->s);
	for (int i = 0; i < n->nkids; i++)
		if (n->kids[i])
			collect_names(x, n->kids[i]);
}

/* Functions of the family's own file, called in the tree, each once. */
static void collect_functions(Import *x, const Node *n)
{
	Elab *e = x->e;
	Unit *unit;
	const Node *def = n->kind == N_NAME ? function_find(e, n->s, &unit) : NULL;

	for (int i = 0; def && i < x->functions.n; i++)
		if (x->functions.at[i].def == def)
			def = NULL;
	if (def && !unit->std)
		vec_push(e->a, &x->functions, ((Found){def, unit}));
	for (int i = 0; i < n->nkids; i++)
		if (n->kids[i])
			collect_functions(x, n->kids[i]);
}

static void print_function(Import *x, const Node *n)
{
	static const char *const words[] = {
		[N_DEF] = "def", [N_POLICY] = "policy", [N_EXPERT_FN] = "expert"};

	x->bound.n = 0;
	collect_names(x, n);
	text_printf(&x->p.t, "\n%s %s(", words[n->kind], n->s);
	for (int i = 0; i + 1 < n->nkids; i++) {
		text_printf(&x->p.t, "%s%s", i ? ", " : "", n->kids[i]->s);
		if (n->kids[i]->nkids)
			put_expr(x, " = ", n->kids[i]->kids[0]);
	}
	text_add(&x->p.t, ")");
	x->layout = true;               /* strings given to it may be tensors */
	print_braces(x, n->kids[n->nkids - 1]);
	x->layout = false;
	text_add(&x->p.t, "\n");
}

static void print_all(Import *x, const Node *def)
{
	Elab *e = x->e;
	Scope *family = e->family;
	Unit *unit = e->frame->unit;

	x->bound.n = 0;
	collect_names(x, def->kids[1]);
	text_printf(&x->p.t, "\nlayer %s", def->s);
	print_braces(x, def->kids[1]);
	text_add(&x->p.t, "\n");
	collect_functions(x, def->kids[1]);
	e->family = NULL;               /* functions do not see its constants */
	for (int i = 0; i < x->functions.n; i++) {
		Found f = x->functions.at[i];
		e->frame->unit = f.unit;
		e->frame->scope = e->frame->root = f.unit->constants;
		print_function(x, f.def);
		collect_functions(x, f.def);
	}
	e->frame->unit = unit;
	e->family = family;
}

const char *fe_import(Arena *a, Diag *d, const FeOptions *opt)
{
	const char *stack;
	int64_t number;
	Elab e;
	Import x = {.e = &e};

	if (!elab_start(&e, a, d, opt))
		return NULL;
	const Node *def = choose_layer(&e, &stack, &number);
	if (!def || e.errors)
		return NULL;
	e.layer->stack = stack;
	e.layer->number = number;
	x.stored = stored_dtype(&e, def);
	x.p = (Printer){.t = text_new(a), .ctx = &x, .instead = instead, .string = filled,
			.type = element};
	print_all(&x, def);
	return e.errors || e.fatal ? NULL : x.p.t.s;
}
