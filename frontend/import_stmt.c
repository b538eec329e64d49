/* SPDX-License-Identifier: Apache-2.0
 * import_stmt: statements as text, with what is known now decided. */
#include "import.h"

#include <string.h>

static void print_block(Import *, const Node *);

static void put_list(Import *x, const char *word, const Node *n)
{
	text_add(&x->p.t, word);
	print_list(&x->p, n->kids, n->nkids);
}

void import_expr(Import *x, const char *between, const Node *n)
{
	text_add(&x->p.t, between);
	print_expr(&x->p, n, LEVEL_ANY);
}

void import_braces(Import *x, const Node *block)
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
	Val v = import_value(x, n->kids[0]);
	x->layout = layout;
	if (v.kind == V_BOOL) {
		const Node *taken = v.b ? n->kids[1] : n->kids[2];
		if (taken && taken->kind == N_IF) {
			print_if(x, taken);
		} else if (taken && binds(taken)) {
			print_indent(&x->p);
			text_add(&x->p.t, "if true");
			import_braces(x, taken);
		} else if (taken) {
			print_block(x, taken);
		}
		return;
	}
	print_indent(&x->p);
	import_expr(x, "if ", n->kids[0]);
	import_braces(x, n->kids[1]);
	if (!n->kids[2])
		return;
	text_add(&x->p.t, " else");
	if (n->kids[2]->kind == N_BLOCK) {
		import_braces(x, n->kids[2]);
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
		import_expr(x, " = ", n->kids[1]);
	if (n->kind == N_STATE)
		text_printf(&x->p.t, " per %s", n->s2);
}

static void print_experts(Import *x, const Node *n)
{
	for (int i = 0; i + 1 < n->nkids; i += 2) {
		import_expr(x, i ? ", " : "experts ", n->kids[i]);
		import_expr(x, " of ", n->kids[i + 1]);
	}
}

static void print_bind(Import *x, const Node *n)
{
	for (int i = 0; i < n->nnames; i++)
		text_printf(&x->p.t, "%s%s", i ? ", " : "", n->names[i]);
	import_expr(x, " = ", n->kids[0]);
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
	x->p.instead = import_known;
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

	import_expr(x, "weights ", n->kids[0]);
	x->width = longest_path(x, n);
	x->layout = true;
	import_braces(x, &block);
	x->layout = false;
}

/* Each way to store a weight on a line of its own. */
static void print_layout(Import *x, const Node *path, const Node *layout)
{
	bool two = layout->kind == N_BINARY && layout->op == O_ELSE;

	text_printf(&x->p.t, "%-*s", (int)x->width, path_text(x, path));
	import_expr(x, " = ", two ? layout->kids[0] : layout);
	if (!two)
		return;
	print_indent(&x->p);
	text_printf(&x->p.t, "%-*s", (int)x->width, "");
	import_expr(x, "   ?? ", layout->kids[1]);
}

static void print_loop(Import *x, const Node *n)
{
	if (n->kind == N_FOR) {
		text_printf(&x->p.t, "for %s", n->s);
		import_expr(x, " in ", n->kids[0]);
		import_braces(x, n->kids[1]);
		return;
	}
	import_expr(x, "repeat ", n->kids[0]);
	if (n->kids[1])
		import_expr(x, " until ", n->kids[1]);
	import_braces(x, n->kids[2]);
}

static void print_stmt(Import *x, const Node *n)
{
	switch (n->kind) {
	case N_BIND:    print_bind(x, n); break;
	case N_NEXT:    import_expr(x, arena_printf(x->e->a, "next    %s = ", n->s), n->kids[0]);
			break;
	case N_RETURN:  put_list(x, "return ", n); break;
	case N_INPUT:   print_declared(x, "input   ", n); break;
	case N_PARAM:   print_declared(x, "param   ", n); break;
	case N_STATE:   print_declared(x, "state   ", n); break;
	case N_FOR: case N_REPEAT: print_loop(x, n); break;
	case N_EXPERTS_OF: print_experts(x, n); break;
	case N_ROUTE_BY: import_expr(x, "route   ", n->kids[0]); break;
	case N_OUTPUT:  put_list(x, "output  ", n); break;
	case N_LOSS:    import_expr(x, "loss    ", n->kids[0]); break;
	case N_GROUP:   import_expr(x, "group   ", n->kids[0]); break;
	case N_DEFER:   put_list(x, "defer   ", n); break;
	case N_CAUSAL:  text_add(&x->p.t, "causal"); break;
	case N_WEIGHTS: print_weights(x, n); break;
	case N_SET:     print_layout(x, n->kids[0], n->kids[1]); break;
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
	    !import_known(x, n->kids[0], LEVEL_ANY))
		return false;
	scope_add(e, e->family, n->names[0], import_value(x, n->kids[0]), n->loc);
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
