/* SPDX-License-Identifier: Apache-2.0
 * diag: the three voices: the user's mistakes, performance notes, our own mistakes. */
#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAB = 8, LONGEST_LINE = 160, LONGEST_NAME = 128, MOST_NEAR = 3,
       MOST_COMPARED = 20000, LONGEST_TEXT = 1000 };

typedef struct {
	const char *file, *text;
} Source;

struct Diag {
	Arena *arena;
	FILE *out;
	Vec(Source) sources;
	int errors, limit;
	bool quiet; /* past the limit: notes and fixes too */
	bool colour;
};

/* Escapes are for people: on a terminal that knows them, unless they are not wanted. */
static bool wants_colour(FILE *out)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	return out && isatty(fileno(out)) && !(none && *none) && term &&
	       strcmp(term, "dumb") != 0;
}

typedef enum { PLAIN, RED, GREEN, CYAN, YELLOW } Colour;

static const char *paint(const Diag *d, Colour c)
{
	static const char *const escapes[] = {"\x1b[0m", "\x1b[1;31m", "\x1b[32m",
					      "\x1b[36m", "\x1b[33m"};

	return d->colour ? escapes[c] : "";
}

Diag *diag_new(Arena *arena, FILE *out)
{
	Diag *d = NEW(arena, Diag);

	d->arena = arena;
	d->out = out;
	d->limit = 20;
	d->quiet = !out;
	d->colour = wants_colour(out);
	return d;
}

void diag_source(Diag *d, const char *file, const char *text)
{
	vec_push(d->arena, &d->sources, ((Source){file, text}));
}

int diag_errors(const Diag *d)
{
	return d->errors;
}

void diag_end(Diag *d)
{
	int more = d->errors - d->limit;

	if (more > 0 && d->out)
		fprintf(d->out, "moec: %d more error%s\n", more, more == 1 ? "" : "s");
}

void diag_limit(Diag *d, int n)
{
	d->limit = n;
}

/* Length of the valid UTF-8 character at s, or 0: a control or an invalid byte. */
static int utf8_length(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	int n = u[0] >= 0xf0 && u[0] < 0xf5 ? 4 : u[0] >= 0xe0 ? 3 : u[0] >= 0xc2 ? 2 : 1;

	if (n == 1)
		return u[0] >= 0x20 && u[0] < 0x7f;
	if (u[0] >= 0xf5)
		return 0;
	for (int i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	if ((n == 2 && u[0] == 0xc2 && u[1] < 0xa0) ||	/* C1 controls */
	    (n == 3 && u[0] == 0xe0 && u[1] < 0xa0) ||	/* overlong */
	    (n == 3 && u[0] == 0xed && u[1] >= 0xa0) || /* surrogates */
	    (n == 3 && u[0] == 0xe2 && u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
	    (n == 3 && u[0] == 0xe2 && u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9) ||
	    (n == 4 && u[0] == 0xf0 && u[1] < 0x90) ||
	    (n == 4 && u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return n;
}

const char *printable(Arena *arena, const char *s)
{
	Text t = text_new(arena);

	while (*s) {
		int n = utf8_length(s);
		if (n)
			text_addn(&t, s, (size_t)n);
		else
			text_printf(&t, "\\x%02x", (unsigned char)*s);
		s += n ? n : 1;
	}
	return t.s;
}

/* The line, without its newline; NULL when the file is unknown or shorter. */
static const char *source_line(const Diag *d, Loc loc, size_t *n)
{
	for (int i = d->sources.n - 1; i >= 0; i--) {
		const char *s = d->sources.at[i].text;
		if (strcmp(d->sources.at[i].file, loc.file) != 0)
			continue;
		for (int line = 1; line < loc.line && s; line++) {
			s = strchr(s, '\n');
			s = s ? s + 1 : NULL;
		}
		if (!s)
			return NULL;
		*n = strcspn(s, "\r\n");
		return s;
	}
	return NULL;
}

/* The line as a terminal shows it, and the caret under col .. end. */
static void show_line(Diag *d, const char *line, size_t n, Loc loc)
{
	size_t col = loc.col > 0 ? (size_t)loc.col - 1 : 0;
	size_t end = loc.end > loc.col ? (size_t)loc.end - 1 : col + 1;
	size_t i = 0, width = 0, from = 0, to = 0;
	Text t = text_new(d->arena);

	col = MIN(col, n);
	if (n > LONGEST_LINE && col > LONGEST_LINE / 2)
		i = col - LONGEST_LINE / 2;
	while (i && ((unsigned char)line[i] & 0xc0) == 0x80)
		i--;
	for (size_t stop = MIN(n, i + LONGEST_LINE); i < stop;) {
		int len = utf8_length(line + i);
		if (i <= col)
			from = width;
		if (line[i] == '\t') {
			size_t fill = TAB - width % TAB;
			text_printf(&t, "%*s", (int)fill, "");
			width += fill;
		} else if (len && i + (size_t)len <= n) {
			text_addn(&t, line + i, (size_t)len);
			width++;
		} else {
			text_printf(&t, "\\x%02x", (unsigned char)line[i]);
			width += 4;
		}
		i += len ? (size_t)len : 1;
		if (i <= end)
			to = width;
	}
	if (col >= i)
		from = width;
	fprintf(d->out, "    %s\n    %*s%s^", t.s, (int)from, "", paint(d, GREEN));
	for (size_t w = from + 1; w < to; w++)
		fputc('~', d->out);
	fprintf(d->out, "%s\n", paint(d, PLAIN));
}

/* Names from files may be of any length: what nobody reads to its end is cut. */
static const char *text_of(Diag *d, const char *fmt, va_list args)
{
	char *text = arena_vprintf(d->arena, fmt, args);
	size_t n = strlen(text);

	if (n <= LONGEST_TEXT)
		return printable(d->arena, text);
	for (n = LONGEST_TEXT; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
		n--;
	text[n] = '\0';
	return arena_printf(d->arena, "%s ..", printable(d->arena, text));
}

const DiagInfo diag_info[DIAG_CODES] = {
#define DIAG(number, name, title, text, where, wrong, right)                             \
	{"E0" #number, title, text, where, wrong, right},
#include "diagnostics.def"
#undef DIAG
};

/* The word and its colour; what stands behind the text; whether the line is shown. */
typedef struct {
	const char *word;
	Colour colour;
	const char *code;
	bool show;
} Voice;

static void report(Diag *d, Loc loc, Voice v, const char *fmt, va_list args)
{
	const char *end = v.code ? arena_printf(d->arena, " [%s]", v.code) : "";
	const char *kind = arena_printf(d->arena, "%s%s:%s", paint(d, v.colour), v.word,
					paint(d, PLAIN));
	const char *text = text_of(d, fmt, args);
	const char *file = loc.file ? printable(d->arena, loc.file) : "moec";
	const char *line;
	size_t n;

	if (loc.file && loc.line > 0)
		fprintf(d->out, "%s:%d:%d: %s %s%s\n", file, loc.line, MAX(loc.col, 1),
			kind, text, end);
	else
		fprintf(d->out, "%s: %s %s%s\n", file, kind, text, end);
	if (v.show && loc.file && loc.line > 0 && (line = source_line(d, loc, &n)))
		show_line(d, line, n, loc);
}

void diag_error(Diag *d, DiagCode code, Loc loc, const char *fmt, ...)
{
	va_list args;

	d->quiet = d->errors++ >= d->limit || !d->out;
	if (d->quiet)
		return;
	va_start(args, fmt);
	report(d, loc, (Voice){"error", RED, diag_info[code].code, true}, fmt, args);
	va_end(args);
}

void diag_note(Diag *d, Loc loc, const char *fmt, ...)
{
	va_list args;

	if (d->quiet)
		return;
	va_start(args, fmt);
	report(d, loc, (Voice){"note", CYAN, NULL, true}, fmt, args);
	va_end(args);
}

void diag_fix(Diag *d, const char *fmt, ...)
{
	va_list args;

	if (d->quiet)
		return;
	va_start(args, fmt);
	fprintf(d->out, "  %sfix:%s %s\n", paint(d, GREEN), paint(d, PLAIN),
		text_of(d, fmt, args));
	va_end(args);
}

void diag_perf(Diag *d, Loc loc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	report(d, loc, (Voice){"perf", YELLOW, NULL, false}, fmt, args);
	va_end(args);
}

/* What the driver was doing, for the report of an internal error. */
static struct {
	const char *pass, *command, *input;
} doing;

void ice_context(const char *pass, const char *command)
{
	if (pass)
		doing.pass = pass;
	if (command)
		doing.command = command;
}

void ice_input(const char *file)
{
	doing.input = file;
}

static NORETURN void end_input(const char *fmt, va_list args)
{
	Arena *a = arena_new();

	fprintf(stderr, "%s: error: its kernels cannot be compiled: %s [%s]\n",
		printable(a, doing.input), printable(a, arena_vprintf(a, fmt, args)),
		diag_info[E_ir_rule].code);
	exit(1);
}

void ice_at(const char *file, int line, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	va_list args;

	fflush(stdout);
	va_start(args, fmt);
	if (doing.input)
		end_input(fmt, args);
	fprintf(stderr, "moec: internal error in pass '%s' (%s:%d): ",
		doing.pass ? doing.pass : "none", slash ? slash + 1 : file, line);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n  reproduce with: %s\n",
		doing.command ? doing.command : "moec");
	exit(70);
}

/* Insertions, deletions, replacements and swaps of neighbours between a and b. */
static int distance(const char *a, int na, const char *b, int nb)
{
	int row[3][LONGEST_NAME + 1];

	for (int i = 0; i <= na; i++) {
		int *now = row[i % 3], *last = row[(i + 2) % 3],
		    *before = row[(i + 1) % 3];
		for (int j = 0; j <= nb; j++) {
			if (i == 0 || j == 0) {
				now[j] = i + j;
				continue;
			}
			int best = last[j - 1] + (a[i - 1] != b[j - 1]);
			best = MIN(best, MIN(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			now[j] = best;
		}
	}
	return row[na % 3][nb];
}

/* How far it is; LONGEST_NAME: not near. */
static int how_far(const char *name, const char *other)
{
	int na = (int)strnlen(name, LONGEST_NAME + 1);
	int nb = other ? (int)strnlen(other, LONGEST_NAME + 1) : 0;

	if (na > LONGEST_NAME || nb > LONGEST_NAME || nb == 0 ||
	    abs(na - nb) > (MAX(na, nb) + 1) / 3)
		return LONGEST_NAME;
	int far = distance(name, na, other, nb);
	return far <= (MAX(na, nb) + 1) / 3 ? far : LONGEST_NAME;
}

/* The nearest of them, nearest first; how many. */
static int nearest(const char *name, const char *const *names, int n, int most,
		   const char **found)
{
	int far[MOST_NEAR], count = 0;

	for (int i = 0; i < n; i++) {
		int at, f = how_far(name, names[i]);
		if (f == LONGEST_NAME || (count == most && f >= far[most - 1]))
			continue;
		count += count < most;
		for (at = count - 1; at > 0 && far[at - 1] > f; at--) {
			far[at] = far[at - 1];
			found[at] = found[at - 1];
		}
		far[at] = f;
		found[at] = names[i];
	}
	return count;
}

const char *nearest_name(const char *name, const char *const *names, int n)
{
	const char *found;

	return nearest(name, names, n, 1, &found) ? found : NULL;
}

const char *near_names(Arena *arena, const char *name, const char *const *names, int n)
{
	const char *found[MOST_NEAR];
	int count = nearest(name, names, MIN(n, MOST_COMPARED), MOST_NEAR, found);
	Text t = text_new(arena);

	for (int i = 0; i < count; i++)
		text_printf(&t, "%s`%s`", i == 0 ? "" : i == count - 1 ? " or " : ", ",
			    found[i]);
	return count ? t.s : NULL;
}
