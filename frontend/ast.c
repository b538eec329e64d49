/* SPDX-License-Identifier: Apache-2.0
 * ast: making and printing the syntax tree. */
#include "ast.h"

const char *const operator_text[O_COUNT] = {
	[O_ELSE] = "??", [O_OR] = "or", [O_AND] = "and", [O_NOT] = "not",
	[O_LT] = "<", [O_GT] = ">", [O_LE] = "<=", [O_GE] = ">=",
	[O_EQ] = "==", [O_NE] = "!=",
	[O_ADD] = "+", [O_SUB] = "-", [O_MUL] = "*", [O_DIV] = "/", [O_MOD] = "%",
	[O_MATMUL] = "@", [O_NEG] = "-",
};

static const char *const kind_text[] = {
	[N_NAME] = "name", [N_NUMBER] = "number", [N_STRING] = "string",
	[N_TRUE] = "true", [N_FALSE] = "false", [N_NONE] = "none",
	[N_EXPERTS] = "experts", [N_EXPERT] = "expert", [N_ROUTE] = "route",
	[N_LAYER] = "layer", [N_LIST] = "list",
	[N_UNARY] = "unary", [N_BINARY] = "binary",
	[N_FIELD] = "field", [N_SUBSCRIPT] = "subscript", [N_SLICE] = "slice",
	[N_CALL] = "call", [N_NAMED] = "named", [N_TYPE] = "type",
	[N_BIND] = "bind", [N_NEXT] = "next", [N_RETURN] = "return", [N_INPUT] = "input",
	[N_PARAM] = "param", [N_STATE] = "state", [N_IF] = "if", [N_FOR] = "for",
	[N_REPEAT] = "repeat", [N_EXPERTS_OF] = "experts-of", [N_ROUTE_BY] = "route-by",
	[N_OUTPUT] = "output", [N_LOSS] = "loss", [N_GROUP] = "group",
	[N_DEFER] = "defer", [N_CAUSAL] = "causal", [N_WEIGHTS] = "weights",
	[N_SET] = "set",
	[N_LAYERS] = "layers", [N_BLOCK] = "block", [N_LOST] = "lost",
	[N_FILE] = "file", [N_IMPORT] = "import", [N_DEF] = "def", [N_POLICY] = "policy",
	[N_EXPERT_FN] = "expert-fn", [N_ARG] = "arg",
	[N_LAYER_DEF] = "layer-def", [N_MODEL] = "model", [N_FAMILY] = "family",
	[N_PLAN] = "plan",
};

Node *node_new(Arena *a, NodeKind kind, Loc loc)
{
	Node *n = NEW(a, Node);
	n->kind = kind;
	n->loc = loc;
	n->depth = 1;
	return n;
}

/* Room doubles whenever the count is a power of two, so no capacity need be stored. */
void node_add(Arena *a, Node *n, Node *kid)
{
	if ((n->nkids & (n->nkids - 1)) == 0) {
		Node **kids = NEWN(a, Node *, n->nkids ? 2 * (size_t)n->nkids : 1);
		for (int i = 0; i < n->nkids; i++)
			kids[i] = n->kids[i];
		n->kids = kids;
	}
	n->kids[n->nkids++] = kid;
	if (kid && kid->depth >= n->depth)
		n->depth = kid->depth + 1;
}

static void print_string(Text *t, const char *s)
{
	text_add(t, " \"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			text_add(t, "\\");
		text_addn(t, s, 1);
	}
	text_add(t, "\"");
}

static void print_node(Text *t, const Node *n, int indent)
{
	text_printf(t, "%*s", 2 * indent, "");
	if (!n) {
		text_add(t, "-\n");
		return;
	}
	text_add(t, kind_text[n->kind]);
	if (n->kind == N_UNARY || n->kind == N_BINARY)
		text_printf(t, " %s", operator_text[n->op]);
	if (n->kind == N_NUMBER)
		text_printf(t, n->is_int ? " %.0f" : " %.17g", n->f);
	if (n->s && (n->kind == N_STRING || n->kind == N_IMPORT))
		print_string(t, n->s);
	else if (n->s)
		text_printf(t, " %s", n->s);
	if (n->s2)
		text_printf(t, " per %s", n->s2);
	for (int i = 0; i < n->nnames; i++)
		text_printf(t, "%s%s", i ? ", " : " ", n->names[i]);
	text_add(t, "\n");
	for (int i = 0; i < n->nkids; i++)
		print_node(t, n->kids[i], indent + 1);
}

void print_ast(Text *t, const Node *n)
{
	print_node(t, n, 0);
}
