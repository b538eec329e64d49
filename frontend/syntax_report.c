/* SPDX-License-Identifier: Apache-2.0
 * syntax_report: what to say about a token that does not fit. */
#include "syntax.h"
#include <string.h>

typedef struct {
	Syntax            *sx;
	const char *const *want;
	int                n;
	const Token       *found;
	const char        *name;        /* of what was found, for the message */
} Report;

static bool wants(const Report *r, const char *name)
{
	for (int i = 0; i < r->n; i++)
		if (strcmp(r->want[i], name) == 0)
			return true;
	return false;
}

static bool is_reserved(int kind)
{
	return (kind >= T_IMPORT && kind <= T_NONE) || kind == T_ITEM_LAYER ||
	       kind == T_ITEM_EXPERT || kind == T_ROUTE_TO;
}

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* Many tokens may begin an expression: one phrase stands for all of them. */
static const struct Phrase {
	const char *text;
	const char *sign;               /* wanted where the phrase is, and only there */
	const char *tokens[32];
} phrases[] = {
	{"a definition", "def",
	 {"import", "def", "policy", "expert", "layer", "model", "family", "plan",
	  "a name"}},
	{"a statement", "return",
	 {"next", "return", "input", "param", "state", "if", "for", "repeat", "experts",
	  "route", "output", "loss", "group", "defer", "causal", "weights", "a name"}},
	{"`layers`, a layer or a constant", "layers",
	 {"layers", "layer", "model", "a name"}},
	{"an expression", "a number",
	 {"a name", "a number", "a string", "true", "false", "none", "experts", "expert",
	  "route", "layer", "(", "[", "not", "-"}},
};
static const char *const operators[] = {
	"??", "or", "and", "<", ">", "<=", ">=", "==", "!=", "+", "-", "*", "/", "@", "%",
	"(", "[", ".", ":", NULL,
};
static const char *const unspellable[] = {"BAD",	 "RESYNC",   "ITEM_LAYER",
					  "ITEM_EXPERT", "ROUTE_TO", NULL};

/* What was wanted: four phrases at most, as the grammar is. */
static const char *wanted(const Report *r)
{
	Text t = text_new(r->sx->arena);
	bool after_value = wants(r, "*");
	int n = 0, most = r->n + (int)COUNT(phrases) + 1;
	const char **parts = NEWN(r->sx->arena, const char *, (size_t)most);
	if (after_value && (wants(r, "return") || wants(r, "def")) && !r->found->first)
		parts[n++] = "an operator";
	bool said[COUNT(phrases)] = {0};
	for (size_t p = 0; p < COUNT(phrases); p++)
		if ((said[p] = wants(r, phrases[p].sign)))
			parts[n++] = phrases[p].text;
	for (int i = 0; i < r->n; i++) {
		bool covered = is_one_of(r->want[i], unspellable) ||
			       (after_value && is_one_of(r->want[i], operators));
		for (size_t p = 0; p < COUNT(phrases); p++)
			covered |= said[p] && is_one_of(r->want[i], phrases[p].tokens);
		if (!covered)
			parts[n++] = r->want[i];
	}
	for (int i = 0; i < n; i++) {
		bool phrase = strchr(parts[i], ' ') != NULL;
		text_printf(&t, "%s%s%s%s", i == 0 ? "" : i == n - 1 ? " or " : ", ",
			    phrase ? "" : "`", parts[i], phrase ? "" : "`");
	}
	return t.s;
}

static const char *found_name(Syntax *sx, const Token *t)
{
	const char *text = arena_strndup(sx->arena, t->text, (size_t)MIN(t->n, 40));
	if (t->kind == 0)
		return "the end of the file";
	if (t->kind == T_STRING)
		return "a string";
	return arena_printf(sx->arena, is_reserved(t->kind) ? "the word `%s`" : "`%s`",
			    text);
}

static bool report_unclosed(const Report *r)
{
	Syntax *sx = r->sx;
	if (sx->braces == 0 || !(r->found->kind == 0 || syntax_opens_item(r->found)))
		return false;
	syntax_error(sx, E_unclosed_block, r->found->loc, "%s inside a block", r->name);
	diag_note(sx->diag, sx->opened[sx->braces - 1], "the block begins here");
	diag_fix(sx->diag, "close it with `}`");
	return true;
}

static bool report_reserved(const Report *r)
{
	const Token *before = &r->sx->before, *word = r->found;
	if (r->found->kind == '=' && is_reserved(before->kind) && before->first)
		word = before;
	else if (!is_reserved(word->kind) || !wants(r, "a name") || word->first ||
		 word->kind == T_IF)
		return false;
	const char *s = arena_strndup(r->sx->arena, word->text, (size_t)word->n);
	syntax_error(r->sx, E_reserved_word, word->loc,
		     "`%s` is a reserved word and cannot be a name", s);
	diag_fix(r->sx->diag, "use another name, such as `%s_`", s);
	return true;
}

static bool is_comparison(int kind)
{
	return kind == '<' || kind == '>' || kind == T_LE || kind == T_GE ||
	       kind == T_EQ || kind == T_NE;
}

/* What people mean who write this; NULL: no idea. */
static const char *fix(const Report *r)
{
	int found = r->found->kind, before = r->sx->before.kind;
	bool after_value = wants(r, "*");
	if (found == '=' && before == T_NAME && wants(r, ")") && wants(r, ","))
		return "an argument's name stands before a `:`, as in `k: 2`; `==` compares";
	if (found == '=' && wants(r, "=="))
		return "`==` compares";
	if (found == T_EQ && wants(r, "="))
		return "`=` binds a name, `==` compares";
	if (is_comparison(found) && after_value)
		return "comparisons do not chain: `a < b and b < c`";
	if (found == ':' && before == T_NAME && wants(r, "="))
		return wants(r, "(") ? "declare it with `input`, `param` or `state`" :
				       "a setting is `path = value`";
	if (found == '*' && before == '*')
		return "there is no power operator: `square(v)`, `exp(v)`";
	if (found == '}' && before == ',')
		return "leave out the last comma";
	if ((found == ')' || found == ']') && before == ',')
		return "leave out the last comma";
	if (found == '(' && before == ')')
		return "a function has one list of parameters";
	if (found == T_IF && wants(r, "a number"))
		return "`where(c, a, b)` chooses between values";
	if (wants(r, "def") && !after_value)
		return "a file holds layers, functions, families, plans and constants";
	return NULL;
}

void syntax_unexpected(Syntax *sx, const char *const want[], int n)
{
	Report r = {sx, want, n, &sx->last, found_name(sx, &sx->last)};
	sx->skipping = true;
	if (sx->dead || r.found->kind == T_BAD)
		return;
	if (report_unclosed(&r) || report_reserved(&r))
		return;
	const char *help = fix(&r);
	syntax_error(sx, E_unexpected_token, r.found->loc, "expected %s, found %s",
		     wanted(&r), r.name);
	if (help)
		diag_fix(sx->diag, "%s", help);
}
