/* SPDX-License-Identifier: Apache-2.0
 * elab_value: what is known at compile time; it computes in double, as Python does. */
#include "elab.h"

#include <math.h>
#include <string.h>

Val val_poison(void)        { return (Val){.kind = V_POISON}; }
Val val_num(double f)       { return (Val){.kind = V_NUM, .f = f}; }
Val val_bool(bool b)        { return (Val){.kind = V_BOOL, .b = b}; }
Val val_str(const char *s)  { return (Val){.kind = V_STR, .s = s}; }
Val val_none(void)          { return (Val){.kind = V_NONE}; }

Val val_ir(Value *v)
{
	return v ? (Val){.kind = V_IR, .v = v} : val_poison();
}

/* Bounded in all directions: a list may hold another one many times. */
Val val_list(Elab *e, const Val *item, int n, Loc loc)
{
	Val v = {.kind = V_LIST, .item = item, .n = n};

	for (int i = 0; i < n; i++) {
		v.depth = MAX(v.depth, item[i].depth + 1);
		v.entries += item[i].kind == V_LIST ? item[i].entries : 1;
	}
	if (v.depth <= MAX_RANK && v.entries <= MAX_ITEMS)
		return v;
	say(e, E_limit, loc, NULL,
	    v.depth > MAX_RANK ? "lists are nested more than %d deep"
			       : "a list of more than %d entries",
	    v.depth > MAX_RANK ? (int)MAX_RANK : (int)MAX_ITEMS);
	return val_poison();
}

bool val_const(const Val *v)
{
	return v->kind != V_POISON && v->kind != V_IR && v->kind != V_BLOCKS;
}

bool val_same(const Val *a, const Val *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case V_NUM:  return a->f == b->f || (isnan(a->f) && isnan(b->f));
	case V_BOOL: return a->b == b->b;
	case V_STR:  return strcmp(a->s, b->s) == 0;
	case V_JSON: return a->json == b->json;
	case V_IR:
	case V_BLOCKS: return a->v == b->v;
	case V_LIST:
		if (a->n != b->n)
			return false;
		for (int i = 0; i < a->n; i++)
			if (!val_same(&a->item[i], &b->item[i]))
				return false;
		return true;
	case V_NONE:
	case V_POISON: break;
	}
	return true;
}

bool is_whole(double f, double low, double high)
{
	return f >= low && f <= high && f == floor(f);
}

static bool truth(const Val *v, double *f)
{
	if (v->kind == V_BOOL)
		*f = v->b;
	else if (v->kind == V_NUM)
		*f = v->f;
	return v->kind == V_BOOL || v->kind == V_NUM;
}

static Val wrong(Elab *e, Operator op, Val v, Loc loc)
{
	const char *wanted = op == O_AND || op == O_OR || op == O_NOT ? "true or false"
								       : "numbers";
	say(e, E_types, loc, NULL, "`%s` takes %s, not %s", operator_text[op], wanted,
	    val_words(e, &v));
	return val_poison();
}

Val fold_unary(Elab *e, Operator op, Val v, Loc loc)
{
	double f;

	if (op == O_NOT)
		return v.kind == V_BOOL ? val_bool(!v.b) : wrong(e, op, v, loc);
	return truth(&v, &f) ? val_num(-f) : wrong(e, op, v, loc);
}

static Val arith(Elab *e, Operator op, double a, double b, Loc loc)
{
	if ((op == O_DIV || op == O_MOD) && b == 0) {
		say(e, E_zero_division, loc, NULL, "division of the constant %g by zero",
		    a);
		return val_poison();
	}
	switch (op) {
	case O_ADD: return val_num(a + b);
	case O_SUB: return val_num(a - b);
	case O_MUL: return val_num(a * b);
	case O_DIV: return val_num(a / b);
	case O_MOD: return val_num(a - b * floor(a / b));
	case O_LT:  return val_bool(a < b);
	case O_GT:  return val_bool(a > b);
	case O_LE:  return val_bool(a <= b);
	case O_GE:  return val_bool(a >= b);
	default:    ice("no constant operator");
	}
}

static Val join_strings(Elab *e, Val a, Val b, Loc loc)
{
	if (strlen(a.s) + strlen(b.s) > MAX_STRING) {
		say(e, E_limit, loc, NULL, "a string of more than %d characters",
		    MAX_STRING);
		return val_poison();
	}
	return val_str(arena_printf(e->a, "%s%s", a.s, b.s));
}

/* Numbers and bools by value; all else is equal only to its own kind. */
static bool equal(const Val *a, const Val *b)
{
	double fa, fb;

	return truth(a, &fa) && truth(b, &fb) ? fa == fb : val_same(a, b);
}

Val fold_binary(Elab *e, Operator op, Val a, Val b, Loc loc)
{
	double fa, fb;

	if (op == O_EQ || op == O_NE)
		return val_bool(equal(&a, &b) == (op == O_EQ));
	if (op == O_AND || op == O_OR) {
		if (a.kind != V_BOOL)
			return wrong(e, op, a, loc);
		if (b.kind != V_BOOL)
			return wrong(e, op, b, loc);
		return val_bool(op == O_AND ? a.b && b.b : a.b || b.b);
	}
	if (op == O_ADD && a.kind == V_STR && b.kind == V_STR)
		return join_strings(e, a, b, loc);
	if (!truth(&a, &fa))
		return wrong(e, op, a, loc);
	if (!truth(&b, &fb))
		return wrong(e, op, b, loc);
	return arith(e, op, fa, fb, loc);
}

static bool mismatch(Elab *e, Val v, Loc loc, const char *what, const char *wanted)
{
	if (v.kind == V_POISON)
		return false;
	if (v.kind == V_IR)
		say(e, E_not_constant, loc, NULL, "%s must be a constant, this one %s",
		    what, level_text(&v.v->type));
	else
		say(e, E_constant_type, loc, NULL, "%s must be %s, not %s", what, wanted,
		    val_words(e, &v));
	return false;
}

bool need_num(Elab *e, Val v, Loc loc, const char *what, double *f)
{
	return truth(&v, f) || mismatch(e, v, loc, what, "a number");
}

bool need_int(Elab *e, Val v, Loc loc, const char *what, int64_t low, int64_t high,
	      int64_t *out)
{
	if (v.kind != V_NUM || (!is_whole(v.f, -9e15, 9e15)))
		return mismatch(e, v, loc, what, "a whole number");
	if (v.f < (double)low || v.f > (double)high) {
		say(e, E_constant_range, loc, NULL,
		    "%s is %.17g, and may be %.17g to %.17g", what, v.f, (double)low,
		    (double)high);
		return false;
	}
	*out = (int64_t)v.f;
	return true;
}

bool need_bool(Elab *e, Val v, Loc loc, const char *what, bool *b)
{
	if (v.kind != V_BOOL)
		return mismatch(e, v, loc, what, "true or false");
	*b = v.b;
	return true;
}

bool need_str(Elab *e, Val v, Loc loc, const char *what, const char **s)
{
	if (v.kind != V_STR)
		return mismatch(e, v, loc, what, "a string");
	*s = v.s;
	return true;
}

/* The value of {name}: a name, or one of the reserved words layer and expert. */
static Val braced(Elab *e, const char *name, Loc loc)
{
	Node n = {.kind = N_NAME, .s = name, .loc = loc};

	if (strcmp(name, "layer") == 0)
		n.kind = N_LAYER;
	else if (strcmp(name, "expert") == 0)
		n.kind = N_EXPERT;
	else if (strcmp(name, "experts") == 0)
		n.kind = N_EXPERTS;
	return eval(e, &n);
}

Val interpolate(Elab *e, const char *s, Loc loc)
{
	Text t = text_new(e->a);

	for (const char *open; (open = strchr(s, '{')); ) {
		const char *close = strchr(open, '}');
		if (!close) {
			say(e, E_string, loc, NULL, "`{` without `}` in a string");
			return val_poison();
		}
		text_addn(&t, s, (size_t)(open - s));
		char *name = arena_strndup(e->a, open + 1, (size_t)(close - open - 1));
		Val v = braced(e, name, loc);
		if (v.kind == V_POISON)
			return v;
		if (v.kind == V_STR)
			text_add(&t, v.s);
		else if (v.kind == V_NUM)
			text_printf(&t, "%.17g", v.f);
		else
			return mismatch(e, v, loc, arena_printf(e->a, "{%s}", name),
					"a number or a string"), val_poison();
		if (t.n > MAX_STRING)
			break;
		s = close + 1;
	}
	if (t.n + strlen(s) > MAX_STRING) {
		say(e, E_limit, loc, NULL, "a string of more than %d characters",
		    MAX_STRING);
		return val_poison();
	}
	text_add(&t, s);
	return val_str(t.s);
}
