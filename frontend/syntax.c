/* SPDX-License-Identifier: Apache-2.0
 * syntax: the tokens between scanner and grammar: bounds, where to go on after errors.
 *
 * Statements end without a mark, so recovery leans on lines: after a mistake everything
 * is skipped up to the next line that begins as a statement can (or the `}` of the
 * block).  The grammar then gets RESYNC, which no text can spell: `error RESYNC` is a
 * statement. */
#include "syntax.h"
#include <string.h>

void syntax_error(Syntax *sx, DiagCode code, Loc loc, const char *fmt, ...)
{
	va_list args;
	if (sx->dead)
		return;
	va_start(args, fmt);
	diag_error(sx->diag, code, loc, "%s", arena_vprintf(sx->arena, fmt, args));
	va_end(args);
	if (++sx->errors >= SYNTAX_ERRORS)
		sx->dead = true;
}

static void too_deep(Syntax *sx, Loc loc)
{
	if (sx->dead)
		return;
	syntax_error(sx, E_nesting, loc, "nested more than %d deep", SYNTAX_DEPTH);
	diag_fix(sx->diag, "give the inner parts names");
	sx->dead = true;
}

Node *syntax_bound(Syntax *sx, Node *n)
{
	if (n->depth <= SYNTAX_DEPTH)
		return n;
	too_deep(sx, n->loc);
	return node_new(sx->arena, N_NONE, n->loc);
}

static bool is_word(const Token *t)
{
	return t->kind == T_NAME || t->kind == T_ITEM_LAYER || t->kind == T_ROUTE_TO ||
	       t->kind == T_ITEM_EXPERT || (t->kind >= T_IMPORT && t->kind <= T_NONE);
}

static void keep_word(Syntax *sx, const Token *t)
{
	if (is_word(t) && sx->words.n < SYNTAX_WORDS)
		vec_push(sx->arena, &sx->words,
			 arena_strndup(sx->arena, t->text, (size_t)t->n));
}

Node *syntax_read(Syntax *sx, Node *list, Node *n)
{
	sx->words.n = 0;
	keep_word(sx, &sx->last);       /* it may be the next one's */
	node_add(sx->arena, list, n);
	return syntax_bound(sx, list);
}

Node *syntax_lost(Syntax *sx, Node *list, Loc loc)
{
	Node *n = node_new(sx->arena, N_LOST, loc);

	n->nnames = sx->words.n;
	n->names = NEWN(sx->arena, const char *, (size_t)n->nnames + 1);
	for (int i = 0; i < n->nnames; i++)
		n->names[i] = sx->words.at[i];
	sx->words.n = 0;
	node_add(sx->arena, list, n);
	return syntax_bound(sx, list);
}

static bool is_statement(const Token *t)
{
	switch (t->kind) {
	case T_NAME: case T_NEXT: case T_RETURN: case T_INPUT: case T_PARAM: case T_STATE:
	case T_IF:
	case T_FOR:
	case T_REPEAT:
	case T_EXPERTS:
	case T_ROUTE:
	case T_ROUTE_TO:
	case T_OUTPUT:
	case T_LOSS: case T_GROUP: case T_DEFER: case T_CAUSAL: case T_WEIGHTS:
	case T_LAYERS: case T_LAYER: case T_MODEL:
		return t->first;
	default:
		return false;
	}
}

static bool is_item(const Token *t)
{
	switch (t->kind) {
	case T_IMPORT: case T_DEF: case T_POLICY: case T_EXPERT: case T_LAYER:
	case T_MODEL: case T_FAMILY: case T_PLAN: case T_ITEM_LAYER: case T_ITEM_EXPERT:
		return t->first;
	default:
		return false;
	}
}

bool syntax_opens_item(const Token *t)
{
	return is_item(t) && t->loc.col == 1;
}

static Token scan(Syntax *sx)
{
	Token t = {0};
	if (sx->is_held) {
		sx->is_held = false;
		return sx->held;
	}
	if (sx->is_peeked) {
		sx->is_peeked = false;
		return sx->peeked;
	}
	t.kind = moe_scan(&t, sx->scanner);
	t.first = t.loc.line != sx->last_line;
	t.text = t.kind ? moe_scan_text(sx, &t.n) : "";
	sx->last_line = t.loc.line;
	return t;
}

static void hold(Syntax *sx, Token t)
{
	sx->held = t;
	sx->held.again = true;
	sx->is_held = true;
}

/* Skips from the mistake on.  A token that has once been given again and is wrong again
 * is stepped over: each recovery makes progress. */
static void skip(Syntax *sx)
{
	int open = 0;
	Token t = sx->last;
	sx->skipped = t.loc.line;
	sx->braces = sx->braces_before;
	for (bool stuck = t.again; t.kind; t = scan(sx), stuck = false) {
		if (!stuck && syntax_opens_item(&t))
			break;
		if (!stuck && open == 0 &&
		    (sx->braces ? t.kind == '}' || is_statement(&t) :
				  is_item(&t) || (t.kind == T_NAME && t.loc.col == 1)))
			break;
		if (t.loc.line != sx->last.loc.line || t.loc.col != sx->last.loc.col)
			keep_word(sx, &t);
		if (t.kind == '{')
			open++;
		else if (t.kind == '}' && open > 0)
			open--;
	}
	if (t.kind == 0 || (sx->braces && syntax_opens_item(&t)))
		sx->close = sx->braces;
	sx->parens = 0;
	if (is_word(&t) && sx->words.n < SYNTAX_WORDS &&
	    t.loc.line == sx->last.loc.line)
		sx->words.n--;          /* it is given again */
	hold(sx, t);
}

/* Counts brackets; false: deeper than anybody writes. */
static bool count_brackets(Syntax *sx, const Token *t)
{
	if (t->kind == '{') {
		if (sx->braces == SYNTAX_DEPTH)
			return false;
		sx->opened[sx->braces++] = t->loc;
	} else if (t->kind == '}' && sx->braces > 0) {
		sx->braces--;
	}
	if (t->kind == '{' || t->kind == '}')
		sx->parens = 0;
	else if (t->kind == '(' || t->kind == '[')
		return ++sx->parens <= SYNTAX_DEPTH;
	else if ((t->kind == ')' || t->kind == ']') && sx->parens > 0)
		sx->parens--;
	return true;
}

/* After a dot any word is a name: a key of config.json may be called `layers`. */
static void name_after_dot(Syntax *sx, Token *t)
{
	if (sx->last.kind == '.' && t->kind >= T_IMPORT && t->kind <= T_NONE) {
		t->kind = T_NAME;
		t->value.s = arena_strndup(sx->arena, t->text, (size_t)t->n);
	}
}

static Token next_token(Syntax *sx)
{
	if (sx->skipping) {
		sx->skipping = false;
		skip(sx);
		return (Token){.kind = T_RESYNC, .loc = sx->held.loc, .text = ""};
	}
	if (sx->close > 0) {
		sx->close--;
		return (Token){.kind = '}', .loc = sx->held.loc, .text = ""};
	}
	Token t = scan(sx);
	name_after_dot(sx, &t);
	if (t.kind == T_ROUTE && t.first) { /* a statement, or `route.p` on a new line? */
		sx->peeked = scan(sx);
		sx->is_peeked = true;
		t.kind = sx->peeked.kind == '.' ? T_ROUTE : T_ROUTE_TO;
	}
	if (t.first && t.loc.col == 1)
		t.kind = t.kind == T_LAYER ? T_ITEM_LAYER :
			 t.kind == T_EXPERT ? T_ITEM_EXPERT : t.kind;
	keep_word(sx, &t);
	return t;
}

int moe_lex(MOE_STYPE *value, Loc *loc, Syntax *sx)
{
	Token t = next_token(sx);
	sx->braces_before = sx->braces;
	if (t.kind != T_RESYNC && !count_brackets(sx, &t))
		too_deep(sx, t.loc);
	if (sx->dead)
		t.kind = 0;
	sx->before = sx->last;
	sx->last = t;
	*value = t.value;
	*loc = t.loc;
	return t.kind;
}

/* The grammar's own voice is used for one thing alone: its stack is full. */
void moe_error(const Loc *loc, Syntax *sx, const char *text)
{
	too_deep(sx, *loc);
}

Node *parse_moe(Arena *a, Diag *d, const char *file, const char *text)
{
	Syntax *sx = NEW(a, Syntax);
	Loc whole = {.file = file};
	size_t n = strlen(text);
	if (n > MOE_BYTES) {
		diag_error(d, E_file_size, whole, "the file is longer than %d MiB",
			   MOE_BYTES >> 20);
		return NULL;
	}
	diag_source(d, file, text);
	*sx = (Syntax){.arena = a, .diag = d, .file = file, .line = 1, .col = 1,
		       .root = node_new(a, N_FILE, (Loc){file, 1, 1, 0})};
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		n -= 3;
	}
	moe_scan_open(sx, text, n);
	moe_parse(sx);
	moe_scan_close(sx);
	if (sx->dead) {
		syntax_lost(sx, sx->root, whole);
		sx->root->kids[sx->root->nkids - 1]->s = file;
	}
	return sx->root;
}
