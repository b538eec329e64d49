/* SPDX-License-Identifier: Apache-2.0
 * shrink: the smaller texts next to a text.  They need not be programs: whoever tries them
 * keeps those that still do what is asked.
 *
 *   blocks     a function or a layer goes
 *   lines      halves, quarters, .. single lines go
 *   items      a, b is a, or b
 *   names      a line `a = f(b)` goes, and a is b from there on
 *   calls      f(a, b) is a, or b, or f(a)
 *   operators  a + b is a, or b
 *   numbers    are 1, 2, 3, or half */
#include "run.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS, LINES = SHRINK_LINES, ITEMS, NAMES, CALLS, OPERATORS, NUMBERS, KINDS };

/* text with from .. to-1 replaced */
static const char *replaced(Arena *a, const char *text, size_t from, size_t to,
			    const char *by, size_t n)
{
	return arena_printf(a, "%.*s%.*s%s", (int)from, text, (int)n, by, text + to);
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Where a line begins; behind the last one, the text's end. */
static size_t line_at(const char *text, size_t number)
{
	const char *s = text;

	for (; number > 0 && *s; number--)
		s += strcspn(s, "\n") + (s[strcspn(s, "\n")] != 0);
	return (size_t)(s - text);
}

/* ---- blocks: i is their line ---- */

/* From a line that opens at the margin to the brace there. */
static const char *fewer_blocks(Arena *a, const char *text, Cursor *c)
{
	for (size_t at; text[at = line_at(text, c->i)]; c->i++) {
		const char *end = strstr(text + at, "\n}\n");
		size_t n = strcspn(text + at, "\n");
		if (text[at] == ' ' || n == 0 || text[at + n - 1] != '{' || !end)
			continue;
		c->i++;
		return replaced(a, text, at, (size_t)(end - text) + 3, "", 0);
	}
	return NULL;
}

/* ---- lines: i counts chunks, j is their size's number ---- */

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static const char *fewer_lines(Arena *a, const char *text, Cursor *c)
{
	size_t n = count_lines(text), size = n >> (c->j + 1);

	if (size == 0)
		return NULL;
	size_t from = line_at(text, c->i * size), to = line_at(text, (c->i + 1) * size);
	if (from == to) {
		c->i = 0;
		c->j++;
		return fewer_lines(a, text, c);
	}
	c->i++;
	return replaced(a, text, from, to, "", 0);
}

/* ---- names: i is the line, j the name in what it is bound to ---- */

static const char *renamed(Arena *a, const char *text, const char *old, size_t n,
			   const char *new, size_t m)
{
	Text t = text_new(a);

	for (const char *s = text; *s;) {
		size_t word = 0;
		while (in_word(s[word]))
			word++;
		if (word == n && strncmp(s, old, n) == 0)
			text_addn(&t, new, m);
		else
			text_addn(&t, s, word ? word : 1);
		s += word ? word : 1;
	}
	return t.s;
}

static const char *fewer_names(Arena *a, const char *text, Cursor *c)
{
	size_t at = line_at(text, c->i), end = at + strcspn(text + at, "\n");

	if (!text[at])
		return NULL;
	size_t name = at + strspn(text + at, " "), n = 0, number = 0;
	while (in_word(text[name + n]))
		n++;
	size_t s = name + n;
	bool binds = n && strncmp(text + s, " = ", 3) == 0;
	for (; binds && s < end; s++) {
		size_t m = 0;
		if (in_word(text[s - 1]) || isdigit((unsigned char)text[s]))
			continue;
		while (in_word(text[s + m]))
			m++;
		if (m == 0 || text[s + m] == '(' || number++ < c->j)
			continue;
		c->j++;
		const char *rest = replaced(a, text, at, end + (text[end] != 0), "", 0);
		return renamed(a, rest, text + name, n, text + s, m);
	}
	c->i++;
	c->j = 0;
	return fewer_names(a, text, c);
}

/* ---- items: i is the place of a comma, j the side ---- */

/* The end of an argument or operand that begins at s. */
static size_t item_end(const char *text, size_t s)
{
	int depth = 0;

	for (; text[s] && text[s] != '\n'; s++) {
		if (strchr("([{", text[s]))
			depth++;
		else if (strchr(")]}", text[s]) && depth-- == 0)
			break;
		else if (text[s] == ',' && depth == 0)
			break;
	}
	return s;
}

static size_t item_begin(const char *text, size_t s)
{
	int depth = 0;

	for (; s > 0 && text[s - 1] != '\n'; s--)
		if (strchr(")]}", text[s - 1]))
			depth++;
		else if (strchr("([{", text[s - 1]) && depth-- == 0)
			break;
		else if (text[s - 1] == ',' && depth == 0)
			break;
	return s;
}

static const char *fewer_items(Arena *a, const char *text, Cursor *c)
{
	for (; text[c->i]; c->i++, c->j = 0) {
		size_t at = c->i;
		if (text[at] != ',' || c->j > 1)
			continue;
		if (c->j++ == 0)
			return replaced(a, text, at, item_end(text, at + 1), "", 0);
		/* the first of a line stands behind words: `experts 2 of f(1), ..` */
		size_t from = item_begin(text, at);
		from += strspn(text + from, " ");
		const char *word = text + from;
		if (strncmp(word, "experts ", 8) == 0 || strncmp(word, "output", 6) == 0 ||
		    strncmp(word, "return ", 7) == 0)
			from += strcspn(word, " ") + strspn(word + strcspn(word, " "), " ");
		return replaced(a, text, from, at + 2, "", 0);
	}
	return NULL;
}

/* ---- calls: i is the place of a parenthesis, j the argument ---- */

static const char *smaller_calls(Arena *a, const char *text, Cursor *c)
{
	for (; text[c->i]; c->i++, c->j = 0) {
		if (text[c->i] != '(')
			continue;
		size_t name = c->i, from = c->i + 1, number = 0;
		while (name > 0 && in_word(text[name - 1]))
			name--;
		while (number < c->j / 2 && text[item_end(text, from)] == ',') {
			from = item_end(text, from) + 2;
			number++;
		}
		if (number < c->j / 2)
			continue;
		size_t end = item_end(text, from), close = end;
		while (text[close] == ',')
			close = item_end(text, close + 1);
		if (c->j++ % 2 == 0)            /* the argument for the call */
			return replaced(a, text, name, close + (text[close] == ')'),
					text + from, end - from);
		if (number > 0)                 /* the call without the argument */
			return replaced(a, text, from - 2, end, "", 0);
		return smaller_calls(a, text, c);
	}
	return NULL;
}

/* ---- operators: i is the place of a space before one, j the side ---- */

static const char *smaller_terms(Arena *a, const char *text, Cursor *c)
{
	for (; text[c->i]; c->i++, c->j = 0) {
		size_t at = c->i, right = at + 3;
		if (text[at] != ' ' || !text[at + 1] || !strchr("+-*/@%<>", text[at + 1]) ||
		    text[at + 2] != ' ' || c->j > 1)
			continue;
		size_t left = item_begin(text, at), bound = left;
		for (const char *s; (s = strstr(text + bound, " = ")) && s < text + at;)
			left = bound = (size_t)(s - text) + 3;
		left += strspn(text + left, " ");
		size_t end = item_end(text, right);
		if (c->j++ == 0)
			return replaced(a, text, left, end, text + left, at - left);
		return replaced(a, text, left, end, text + right, end - right);
	}
	return NULL;
}

/* ---- numbers: i is their place, j what is tried ---- */

static const char *smaller_numbers(Arena *a, const char *text, Cursor *c)
{
	for (; text[c->i]; c->i++, c->j = 0) {
		size_t n = strspn(text + c->i, "0123456789");
		char before = c->i ? text[c->i - 1] : ' ';
		if (n == 0 || in_word(before) || before == '.' || text[c->i + n] == '.')
			continue;
		long v = strtol(text + c->i, NULL, 10);
		const long tries[] = {1, 2, 3, v / 2, v - 1};
		while (c->j < COUNT(tries) && (tries[c->j] >= v || v < 2))
			c->j++;
		if (c->j >= COUNT(tries))
			continue;
		const char *by = arena_printf(a, "%ld", tries[c->j++]);
		return replaced(a, text, c->i, c->i + n, by, strlen(by));
	}
	return NULL;
}

const char *shrink(Arena *a, const char *text, Cursor *c)
{
	static const char *(*const kinds[KINDS])(Arena *, const char *, Cursor *) = {
		[BLOCKS] = fewer_blocks, [LINES] = fewer_lines,
		[ITEMS] = fewer_items, [NAMES] = fewer_names, [CALLS] = smaller_calls,
		[OPERATORS] = smaller_terms, [NUMBERS] = smaller_numbers,
	};

	for (; c->kind < KINDS; *c = (Cursor){.kind = c->kind + 1}) {
		const char *next = kinds[c->kind](a, text, c);
		if (next)
			return next;
	}
	return NULL;
}
