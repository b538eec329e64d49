/* SPDX-License-Identifier: Apache-2.0
 * parse_type: the small parts of the text form: names, numbers, types, attributes. */
#include "parse.h"

#include <math.h>
#include <string.h>

bool mir_expected(Parser *p, const char *what)
{
	return lex_fail(&p->lex, E_ir_syntax, p->lex.tok.loc, "expected %s", what);
}

const char *mir_name(Parser *p, const char *what)
{
	const char *s = p->lex.tok.s;

	if ((p->lex.tok.kind != TK_WORD && p->lex.tok.kind != TK_STRING) || !*s) {
		mir_expected(p, what);
		return "";
	}
	lex_next(&p->lex);
	return s;
}

const char *mir_token(Parser *p, TokenKind kind, const char *what)
{
	const char *s = p->lex.tok.s;

	if (p->lex.tok.kind != kind) {
		mir_expected(p, what);
		return "";
	}
	lex_next(&p->lex);
	return s;
}

int64_t mir_int(Parser *p, int64_t min, int64_t max)
{
	int64_t i = p->lex.tok.i;

	if (p->lex.tok.kind != TK_INT) {
		mir_expected(p, "a whole number");
		return min;
	}
	if (i < min || i > max) {
		lex_fail(&p->lex, E_ir_syntax, p->lex.tok.loc, "%jd is not in %jd .. %jd",
			 (intmax_t)i, (intmax_t)min, (intmax_t)max);
		return min;
	}
	lex_next(&p->lex);
	return i;
}

static bool at_number(const Parser *p)
{
	const Token *t = &p->lex.tok;

	return t->kind == TK_INT || t->kind == TK_FLOAT || lex_is(&p->lex, "inf") ||
	       lex_is(&p->lex, "nan");
}

double mir_number(Parser *p)
{
	double x = lex_is(&p->lex, "inf") ? INFINITY : lex_is(&p->lex, "nan")
						       ? (double)NAN : p->lex.tok.f;

	if (!at_number(p)) {
		mir_expected(p, "a number");
		return 0;
	}
	lex_next(&p->lex);
	return x;
}

Dtype mir_dtype(Parser *p)
{
	const char *names[DT_COUNT];

	for (int d = 0; d < DT_COUNT; d++) {
		names[d] = dtype_info[d].name;
		if (lex_accept(&p->lex, names[d]))
			return (Dtype)d;
	}
	const char *near = nearest_name(p->lex.tok.s, names, DT_COUNT);
	bool first = !p->lex.failed;
	mir_expected(p, "an element type");
	if (first && near)
		diag_fix(p->lex.diag, "did you mean '%s'?", near);
	return DT_f32;
}

/* T, S, E<i> or R<i>; false: not a level, nothing is read. */
bool mir_level(Parser *p, Type *t)
{
	const char *s = p->lex.tok.s;
	int64_t range = 0;

	if (p->lex.tok.kind != TK_WORD)
		return false;
	for (int level = LV_EXPERT; level <= LV_ROW; level++) {
		bool ranged = level == LV_EXPERT || level == LV_ROW;
		if (*s != *level_symbol[level])
			continue;
		t->level = (Level)level;
		size_t n = strspn(++s, "0123456789");
		if (s[n] || ranged != (n > 0) || n > 6)
			break;
		for (size_t i = 0; i < n; i++)
			range = range * 10 + (s[i] - '0');
		t->range = (int)range;
		lex_next(&p->lex);
		return true;
	}
	return mir_expected(p, "a size, T, S, E<range> or R<range>");
}

Type mir_type(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	Type t = {.dtype = mir_dtype(p)};
	int64_t n;

	if (t.dtype == DT_index && lex_expect(&p->lex, "<")) {
		t.axis = mir_int(p, 0, MAX_ELEMS);
		lex_expect(&p->lex, ">");
	}
	if (!lex_accept(&p->lex, "["))
		return t;
	bool more = !mir_level(p, &t) || lex_accept(&p->lex, ",");
	for (; more && !p->lex.failed; more = lex_accept(&p->lex, ",")) {
		if (t.rank == MAX_RANK) {
			lex_fail(&p->lex, E_limit, loc, "more than %d axes", MAX_RANK);
			return t;
		}
		t.dim[t.rank++] = mir_int(p, 1, MAX_ELEMS);
	}
	lex_expect(&p->lex, "]");
	if (!shape_elems(t.dim, t.rank, &n) || n > MAX_ELEMS)
		lex_fail(&p->lex, E_limit, loc, "more than 2^48 entries");
	return t;
}

static void parse_list(Parser *p, Op *op, const char *name)
{
	Arena *arena = p->m->arena;
	bool whole = !is_const_value(op->kind, name);
	Vec(int64_t) ints = {0};
	Vec(double) floats = {0};
	Vec(const char *) strs = {0};
	TokenKind kind = p->lex.tok.kind;

	do {
		const Token *t = &p->lex.tok;
		if (kind == TK_STRING || kind == TK_FN) {
			vec_push(arena, &strs, mir_token(p, kind, "the same again"));
			continue;
		}
		whole &= t->kind == TK_INT;
		vec_push(arena, &ints, t->i);
		vec_push(arena, &floats, mir_number(p));
	} while (lex_accept(&p->lex, ","));
	if (!lex_expect(&p->lex, "]"))
		return;
	if (kind == TK_STRING)
		attr_strs(p->m, op, name, strs.at, strs.n);
	else if (kind == TK_FN)
		attr_fns(p->m, op, name, strs.at, strs.n);
	else if (whole)
		attr_ints(p->m, op, name, ints.at, ints.n);
	else
		attr_floats(p->m, op, name, floats.at, floats.n);
}

/* A word, or the name of an empty list's kind before [] */
static void parse_word_attr(Parser *p, Op *op, const char *name)
{
	const char *word =
	    mir_token(p, TK_WORD, "a number, text, word, @function or list");

	if (!lex_accept(&p->lex, "["))
		attr_word(p->m, op, name, word);
	else if (strcmp(word, "ints") == 0)
		attr_ints(p->m, op, name, NULL, 0);
	else if (strcmp(word, "floats") == 0)
		attr_floats(p->m, op, name, NULL, 0);
	else if (strcmp(word, "strs") == 0)
		attr_strs(p->m, op, name, NULL, 0);
	else if (strcmp(word, "fns") == 0)
		attr_fns(p->m, op, name, NULL, 0);
	else
		mir_expected(p, "ints, floats, strs or fns before []");
	if (attr_find(op, name) && attr_find(op, name)->kind != AT_WORD)
		lex_expect(&p->lex, "]");
}

static void parse_attr(Parser *p, Op *op)
{
	Loc loc = p->lex.tok.loc;
	const char *name = mir_name(p, "an attribute's name");
	const Token *t = &p->lex.tok;

	if (!p->lex.failed && attr_find(op, name))
		lex_fail(&p->lex, E_ir_name, loc, "a second attribute '%s'", name);
	lex_expect(&p->lex, "=");
	if (t->kind == TK_INT)
		attr_int(p->m, op, name, mir_int(p, INT64_MIN, INT64_MAX));
	else if (at_number(p))
		attr_float(p->m, op, name, mir_number(p));
	else if (t->kind == TK_STRING)
		attr_str(p->m, op, name, mir_token(p, TK_STRING, ""));
	else if (t->kind == TK_FN)
		attr_fns(p->m, op, name, (const char *[]){mir_token(p, TK_FN, "")}, 1);
	else if (lex_accept(&p->lex, "["))
		parse_list(p, op, name);
	else
		parse_word_attr(p, op, name);
}

void mir_attrs(Parser *p, Op *op)
{
	enum { MOST = 64 };
	Loc loc = p->lex.tok.loc;

	lex_expect(&p->lex, "{");
	do {
		if (op->nattrs == MOST)
			lex_fail(&p->lex, E_limit, loc, "more than %d attributes", MOST);
		else
			parse_attr(p, op);
	} while (lex_accept(&p->lex, ","));
	lex_expect(&p->lex, "}");
}
