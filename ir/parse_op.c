/* SPDX-License-Identifier: Apache-2.0
 * parse_op: values and where they may be used, ops, regions. */
#include "parse.h"

#include <string.h>

/* What a name leads to when its region has ended. */
static Value ended;

static void define(Parser *p, Value *v, const char *name, Loc loc)
{
	void **place = map_text(&p->values, name);

	if (*place) {
		lex_fail(&p->lex, E_ir_name, loc, "a second value %%%s in this function",
			 name);
		return;
	}
	*place = v;
	if (name[strspn(name, "0123456789")])
		v->name = name;
	vec_push(p->m->arena, &p->visible, name);
}

static Value *parse_use(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	const char *name = mir_token(p, TK_VALUE, "a %value");

	if (p->lex.failed)
		return &ended;
	Value *v = *map_text(&p->values, name);
	if (v && v != &ended)
		return v;
	if (v)
		lex_fail(&p->lex, E_ir_name, loc, "%%%s is of a region that has ended",
			 name);
	else
		lex_fail(&p->lex, E_ir_name, loc, "%%%s is not defined before this",
			 name);
	int n = MIN(p->visible.n, 4096);
	const char *near = NULL;
	if (n)                          /* the list of none is NULL */
		near = nearest_name(name, p->visible.at + p->visible.n - n, n);
	if (near)
		diag_fix(p->lex.diag, "did you mean %%%s?", near);
	return &ended;
}

void mir_args(Parser *p, Region *r)
{
	if (!lex_expect(&p->lex, "(") || lex_accept(&p->lex, ")"))
		return;
	do {
		Loc loc = p->lex.tok.loc;
		const char *name = mir_token(p, TK_VALUE, "a %value");
		lex_expect(&p->lex, ":");
		Type t = mir_type(p);
		define(p, region_arg(p->m, r, t, NULL), name, loc);
	} while (lex_accept(&p->lex, ","));
	lex_expect(&p->lex, ")");
}

typedef struct {
	const char *name;
	Loc loc;
} NamedAt;

static void parse_op(Parser *p, Region *in);

void mir_region(Parser *p, Region *r)
{
	Loc open = p->lex.tok.loc;
	int outside = p->visible.n;

	if (!lex_expect(&p->lex, "{"))
		return;
	if (++p->depth > DEEPEST)
		lex_fail(&p->lex, E_limit, open, "regions nested more than %d deep",
			 DEEPEST);
	if (r->op && lex_is(&p->lex, "(")) {
		mir_args(p, r);
		lex_expect(&p->lex, ":");
	}
	while (!lex_is(&p->lex, "}") && !p->lex.failed) {
		if (p->lex.tok.kind == TK_END)
			lex_fail(&p->lex, E_ir_syntax, p->lex.tok.loc,
				 "the text ends in a region");
		else
			parse_op(p, r);
	}
	lex_accept(&p->lex, "}");
	p->depth--;
	while (p->visible.n > outside)
		*map_text(&p->values, p->visible.at[--p->visible.n]) = &ended;
}

static bool parse_kind(Parser *p, OpKind *kind)
{
	const char *names[OP_COUNT];
	Loc loc = p->lex.tok.loc;
	const char *name = mir_token(p, TK_WORD, "an operation");

	if (p->lex.failed)
		return false;
	const OpInfo *info = *map_text(&p->ops, name);
	if (info) {
		*kind = (OpKind)(info - op_info);
		return true;
	}
	lex_fail(&p->lex, E_ir_name, loc, "no operation '%s'", name);
	for (int i = 0; i < OP_COUNT; i++)
		names[i] = op_info[i].name;
	const char *near = nearest_name(name, names, OP_COUNT);
	if (near)
		diag_fix(p->lex.diag, "did you mean '%s'?", near);
	return false;
}

static void parse_out_types(Parser *p, Op *op, Loc loc)
{
	int n = 0;

	if (op->nouts == 0)
		return;
	lex_expect(&p->lex, ":");
	do {
		Type t = mir_type(p);
		if (n < op->nouts)
			op->outs[n]->type = t;
		n++;
	} while (lex_accept(&p->lex, ","));
	if (n != op->nouts)
		lex_fail(&p->lex, E_ir_syntax, loc, "%d results of %d types", op->nouts,
			 n);
}

static void parse_op(Parser *p, Region *in)
{
	Arena *arena = p->m->arena;
	Vec(NamedAt) outs = {0};
	Vec(Value *) args = {0};
	OpKind kind;

	if (p->lex.tok.kind == TK_VALUE) {
		do {
			Loc at = p->lex.tok.loc;
			NamedAt out = {mir_token(p, TK_VALUE, "a %value"), at};
			vec_push(arena, &outs, out);
		} while (lex_accept(&p->lex, ","));
		lex_expect(&p->lex, "=");
	}
	Loc loc = p->lex.tok.loc;
	if (!parse_kind(p, &kind))
		return;
	if (p->lex.tok.kind == TK_VALUE) {
		do
			vec_push(arena, &args, parse_use(p));
		while (lex_accept(&p->lex, ","));
	}
	Op *op = op_new(p->m, kind, args.n, args.at, outs.n);
	op->loc = loc;
	op_append(in, op);
	if (lex_is(&p->lex, "{") && lex_names_follow(&p->lex))  /* else a region */
		mir_attrs(p, op);
	parse_out_types(p, op, loc);
	while (lex_is(&p->lex, "{")) {
		if (!(op_info[kind].flags & REGION))
			lex_fail(&p->lex, E_ir_syntax, p->lex.tok.loc,
				 "%s has no regions", op_info[kind].name);
		mir_region(p, op_add_region(p->m, p->fn, op));
	}
	for (int i = 0; i < outs.n && !p->lex.failed; i++)
		define(p, op->outs[i], outs.at[i].name, outs.at[i].loc);
}
