/* SPDX-License-Identifier: Apache-2.0
 * print: expressions as .moe text, with the brackets that they need. */
#include "print.h"

#include <math.h>
#include <stdlib.h>

/* How tightly an operator binds. */
static int level_of(Operator op)
{
	switch (op) {
	case O_ELSE: return 0;
	case O_OR: return 1;
	case O_AND: return 2;
	case O_NOT: return 3;
	case O_LT: case O_GT: case O_LE: case O_GE: case O_EQ: case O_NE: return 4;
	case O_ADD: case O_SUB: return 5;
	case O_MUL: case O_DIV: case O_MOD: case O_MATMUL: return 6;
	case O_NEG: return LEVEL_NEG;
	case O_COUNT: break;
	}
	return LEVEL_POSTFIX;
}

void print_indent(Printer *p)
{
	text_add(&p->t, "\n");
	for (int i = 0; i < p->indent; i++)
		text_add(&p->t, "  ");
}

static void print_number(Printer *p, double f)
{
	if (f == floor(f) && fabs(f) < 0x1p53) {
		text_printf(&p->t, "%.0f", f);
		return;
	}
	char s[40];
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(s, sizeof s, "%.*g", digits, f);
		if (strtod(s, NULL) == f)
			break;
	}
	text_add(&p->t, s);
}

static void print_string(Printer *p, const char *s)
{
	s = p->string(p->ctx, s);
	text_add(&p->t, "\"");
	for (; *s; s++) {
		text_add(&p->t, *s == '"' || *s == '\\' ? "\\" : "");
		text_addn(&p->t, s, 1);
	}
	text_add(&p->t, "\"");
}

void print_list(Printer *p, Node *const *nodes, int n)
{
	for (int i = 0; i < n; i++) {
		text_add(&p->t, i ? ", " : "");
		print_expr(p, nodes[i], LEVEL_ANY);
	}
}

static void print_operation(Printer *p, const Node *n, int level)
{
	int own = level_of(n->op);
	bool bracket = own < level, compares = own == level_of(O_EQ);

	text_add(&p->t, bracket ? "(" : "");
	if (n->kind == N_UNARY) {
		text_add(&p->t, operator_text[n->op]);
		text_add(&p->t, n->op == O_NOT ? " " : "");
		print_expr(p, n->kids[0], own + 1);
	} else {
		print_expr(p, n->kids[0], own + (compares || n->op == O_ELSE));
		text_printf(&p->t, " %s ", operator_text[n->op]);
		print_expr(p, n->kids[1], own + (n->op != O_ELSE));
	}
	text_add(&p->t, bracket ? ")" : "");
}

static void print_slice(Printer *p, const Node *n)
{
	for (int i = 0; i < 3; i++) {
		text_add(&p->t, i == 1 || (i == 2 && n->kids[2]) ? ":" : "");
		if (n->kids[i])
			print_expr(p, n->kids[i], LEVEL_ANY);
	}
}

void print_type_of(Printer *p, const Node *n)
{
	text_add(&p->t, p->type(p->ctx, n->s));
	if (n->nkids == 0)
		return;
	text_add(&p->t, "[");
	print_list(p, n->kids, n->nkids);
	text_add(&p->t, "]");
}

static void print_leaf(Printer *p, const Node *n)
{
	static const char *const words[] = {
		[N_TRUE] = "true", [N_FALSE] = "false", [N_NONE] = "none",
		[N_EXPERTS] = "experts", [N_EXPERT] = "expert", [N_ROUTE] = "route",
		[N_LAYER] = "layer",
	};

	if (n->kind == N_NAME)
		text_add(&p->t, n->s);
	else if (n->kind == N_NUMBER)
		print_number(p, n->f);
	else if (n->kind == N_STRING)
		print_string(p, n->s);
	else if (n->kind < (int)COUNT(words) && words[n->kind])
		text_add(&p->t, words[n->kind]);
	else
		ice("no text for a node of kind %d", n->kind);
}

void print_expr(Printer *p, const Node *n, int level)
{
	const char *instead = p->instead(p->ctx, n, level);

	if (instead) {
		text_add(&p->t, instead);
		return;
	}
	switch (n->kind) {
	case N_UNARY: case N_BINARY:
		print_operation(p, n, level);
		break;
	case N_LIST:
		text_add(&p->t, "[");
		print_list(p, n->kids, n->nkids);
		text_add(&p->t, "]");
		break;
	case N_FIELD:
		print_expr(p, n->kids[0], LEVEL_POSTFIX);
		text_printf(&p->t, ".%s", n->s);
		break;
	case N_SUBSCRIPT: case N_CALL:
		print_expr(p, n->kids[0], LEVEL_POSTFIX);
		text_add(&p->t, n->kind == N_CALL ? "(" : "[");
		print_list(p, n->kids + 1, n->nkids - 1);
		text_add(&p->t, n->kind == N_CALL ? ")" : "]");
		break;
	case N_SLICE:
		print_slice(p, n);
		break;
	case N_NAMED:
		text_printf(&p->t, "%s: ", n->s);
		print_expr(p, n->kids[0], LEVEL_ANY);
		break;
	case N_TYPE:
		print_type_of(p, n);
		break;
	default:
		print_leaf(p, n);
	}
}
