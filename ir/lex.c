/* SPDX-License-Identifier: Apache-2.0
 * lex: text to tokens, by hand: words, strings, numbers, %values, @functions, marks. */
#include "lex.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void lex_begin(Lexer *l, Arena *arena, Diag *diag, const char *file, const char *text)
{
	*l = (Lexer){.arena = arena, .diag = diag, .file = file, .at = text,
		     .line_start = text, .line = 1};
	lex_next(l);
}

static Loc here(const Lexer *l, const char *from)
{
	return (Loc){l->file, l->line, (int)(from - l->line_start) + 1,
		     (int)(l->at - l->line_start) + 1};
}

bool lex_fail(Lexer *l, DiagCode code, Loc loc, const char *fmt, ...)
{
	va_list args;

	if (!l->failed) {
		va_start(args, fmt);
		diag_error(l->diag, code, loc, "%s", arena_vprintf(l->arena, fmt, args));
		va_end(args);
	}
	l->failed = true;
	l->tok.kind = TK_END;
	return false;
}

static void skip_blanks(Lexer *l)
{
	for (;; l->at++) {
		if (l->at[0] == '/' && l->at[1] == '/')
			l->at += strcspn(l->at, "\n");
		if (*l->at == '\n') {
			l->line++;
			l->line_start = l->at + 1;
		} else if (*l->at != ' ' && *l->at != '\t' && *l->at != '\r') {
			return;
		}
	}
}

static const char *lex_word(Lexer *l)
{
	const char *from = l->at;

	while (is_word_char(*l->at))
		l->at++;
	return arena_strndup(l->arena, from, (size_t)(l->at - from));
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* \" \\ and \xNN, of which \x00 is refused: texts end there. */
static int escaped(Lexer *l)
{
	char c = *l->at++;

	if (c == '"' || c == '\\')
		return c;
	if (c != 'x' || hex_digit(l->at[0]) < 0 || hex_digit(l->at[1]) < 0)
		return 0;
	l->at += 2;
	return hex_digit(l->at[-2]) * 16 + hex_digit(l->at[-1]);
}

static const char *lex_string(Lexer *l)
{
	const char *from = l->at++;
	const char *stop = l->at;
	while (*stop && *stop != '"' && *stop != '\n')
		stop += *stop == '\\' && stop[1] ? 2 : 1;
	char *s = arena_alloc(l->arena, (size_t)(stop - l->at) + 1), *to = s;

	while (*l->at != '"') {
		int c = (unsigned char)*l->at;
		if (c == '\0' || c == '\n') {
			lex_fail(l, E_ir_syntax, here(l, from),
				 "this string does not end in its line");
			return "";
		}
		l->at++;
		if (c == '\\' && !(c = *l->at ? escaped(l) : 0)) {
			lex_fail(l, E_ir_syntax, here(l, from),
				 "only \\\", \\\\ and \\xNN may be escaped");
			return "";
		}
		*to++ = (char)c;
	}
	l->at++;
	return s;
}

/* Decimal or hexadecimal, whole or not.  A '.' belongs to a number only before a digit,
 * so that 0..8 is a range. */
static const char *number_end(const char *s, bool *whole)
{
	const char *digits = "0123456789";
	bool hex;

	s += *s == '-';
	hex = s[0] == '0' && s[1] == 'x';
	if (hex) {
		digits = "0123456789abcdefABCDEF";
		s += 2;
	}
	*whole = !hex;
	s += strspn(s, digits);
	if (*s == '.' && strspn(s + 1, digits)) {
		*whole = false;
		s += 1 + strspn(s + 1, digits);
	}
	if (*s == (hex ? 'p' : 'e')) {
		const char *power = s + 1 + (s[1] == '+' || s[1] == '-');
		size_t n = strspn(power, "0123456789");
		if (n) {
			*whole = false;
			s = power + n;
		}
	}
	return s;
}

static void lex_number(Lexer *l)
{
	const char *from = l->at;
	bool whole;
	char *end;

	if (strncmp(l->at, "-inf", 4) == 0 && !is_word_char(l->at[4])) {
		l->tok.kind = TK_FLOAT;
		l->tok.f = -INFINITY;
		l->at += 4;
		return;
	}
	l->at = number_end(from, &whole);
	const char *s = arena_strndup(l->arena, from, (size_t)(l->at - from));
	errno = 0;
	l->tok.kind = whole ? TK_INT : TK_FLOAT;
	l->tok.i = whole ? strtoll(s, &end, 10) : 0;
	if (whole && errno == ERANGE) {
		lex_fail(l, E_ir_syntax, here(l, from),
			 "this number does not fit 64 bits");
		return;
	}
	l->tok.f = whole ? (double)l->tok.i : strtod(s, &end);
	bool glued = is_word_char(*l->at) && strncmp(l->at, "..", 2) != 0;
	if (*end || glued || isinf(l->tok.f))
		lex_fail(l, E_ir_syntax, here(l, from), "'%s%s' is no number", s,
			 glued ? ".." : "");
}

static void lex_named(Lexer *l)
{
	const char *from = l->at;
	bool value = *l->at++ == '%';

	l->tok.kind = value ? TK_VALUE : TK_FN;
	if (!value && *l->at == '"')
		l->tok.s = lex_string(l);
	else
		l->tok.s = lex_word(l);
	if (!l->failed && !*l->tok.s)
		lex_fail(l, E_ir_syntax, here(l, from), "a name must follow '%c'", *from);
}

static void lex_mark(Lexer *l)
{
	static const char *const marks[] = {"->", "..", "{", "}", "(", ")", "[", "]",
					    "<",  ">",  "=", ",", ":"};

	l->tok.kind = TK_MARK;
	for (size_t i = 0; i < COUNT(marks); i++)
		if (strncmp(l->at, marks[i], strlen(marks[i])) == 0) {
			l->tok.s = marks[i];
			l->at += strlen(marks[i]);
			return;
		}
	l->at++;
	lex_fail(l, E_ir_syntax, here(l, l->at - 1), "unexpected character '%c'",
		 l->at[-1]);
}

void lex_next(Lexer *l)
{
	skip_blanks(l);
	const char *from = l->at;
	unsigned char c = (unsigned char)*from;
	bool minus = c == '-' && (isdigit((unsigned char)from[1]) || from[1] == 'i');
	l->tok.s = "";
	if (!c) {
		l->tok.kind = TK_END;
	} else if (c == '"') {
		l->tok.kind = TK_STRING;
		l->tok.s = lex_string(l);
	} else if (c == '%' || c == '@') {
		lex_named(l);
	} else if (isdigit(c) || minus) {
		lex_number(l);
	} else if (isalpha(c) || c == '_') {
		l->tok.kind = TK_WORD;
		l->tok.s = lex_word(l);
	} else {
		lex_mark(l);
	}
	l->tok.loc = here(l, from);
}

bool lex_is(const Lexer *l, const char *mark)
{
	return (l->tok.kind == TK_MARK || l->tok.kind == TK_WORD) &&
	       strcmp(l->tok.s, mark) == 0;
}

bool lex_accept(Lexer *l, const char *mark)
{
	if (!lex_is(l, mark))
		return false;
	lex_next(l);
	return true;
}

bool lex_expect(Lexer *l, const char *mark)
{
	if (lex_accept(l, mark))
		return true;
	return lex_fail(l, E_ir_syntax, l->tok.loc, "expected '%s'", mark);
}

bool lex_is_second(const Lexer *l, const char *mark)
{
	Lexer ahead = *l;

	skip_blanks(&ahead);
	return strncmp(ahead.at, mark, strlen(mark)) == 0;
}

bool lex_names_follow(const Lexer *l)
{
	Lexer ahead = *l;

	skip_blanks(&ahead);
	const char *from = ahead.at;
	if (*from == '"')
		do
			ahead.at += *ahead.at == '\\' && ahead.at[1] ? 2 : 1;
		while (*ahead.at && *ahead.at != '"' && *ahead.at != '\n');
	if (*ahead.at == '"')
		ahead.at++;
	while (is_word_char(*ahead.at))
		ahead.at++;
	skip_blanks(&ahead);
	return ahead.at > from && *ahead.at == '=';
}
