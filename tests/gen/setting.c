/* SPDX-License-Identifier: Apache-2.0
 * setting: how a program is compiled and called, and programs as text. */
#include "gen.h"

#include "../../passes/pass.h"
#include <stdlib.h>
#include <string.h>

static const char *const data_words[DATA_COUNT] = {"normal", "whole", "twins", "nan", "zero"};

/* ---- made ---- */

static void call(Rng *rng, Program *p)
{
	static const int64_t tokens[] = {0, 1, 2, 3, 5, 6, 7, 11, 13, 16, 17, 61};

	p->tokens = RNG_PICK(rng, tokens);
	if (p->tokens > 0 && rng_chance(rng, 20)) {
		p->nseq = (int)rng_between(rng, 1, 7);
		for (int i = 1; i < p->nseq; i++)
			p->seq[i] = rng_between(rng, p->seq[i - 1], p->tokens);
		p->seq[p->nseq] = p->tokens;
	}
	if (rng_chance(rng, 25))
		p->data = rng_between(rng, 1, DATA_COUNT - 1);
	bool open = strstr(p->text, "zero()");  /* whether NaN times 0 shows (language.md, 3) */
	if (p->data == DATA_NAN && (p->cross || open))
		p->data = DATA_NORMAL;
}

void pipeline_make(Program *p)
{
	p->npasses = 0;
	for (int i = 0; i < pass_count && passes[i].run; i++)
		p->pass[p->npasses++] = passes[i].name;
}

/* The pipeline without some passes that can be left out. */
static void some_passes(Rng *rng, Program *p)
{
	pipeline_make(p);
	for (int i = p->npasses - 1; i >= 0; i--)
		if (!(pass_find(p->pass[i])->flags & PASS_NEEDED) && rng_chance(rng, 18))
			memmove(&p->pass[i], &p->pass[i + 1],
				(size_t)(--p->npasses - i) * sizeof *p->pass);
}

/* Any order, with repetitions, that the contracts allow, until all that is needed is
 * done. */
static void any_passes(Rng *rng, Program *p)
{
	const char *after, *before;
	Facts facts = 0, all = 0;

	for (int i = 0; i < pass_count; i++)
		all |= passes[i].gives;
	for (p->npasses = 0; facts != all;) {
		int left = 0;
		for (int i = 0; i < pass_count; i++)
			left += (passes[i].gives & ~facts) != 0;
		const Pass *pass = &passes[rng_below(rng, pass_count)];
		bool late = p->npasses + left >= MAX_PASSES - 1;
		if (!pass->run || !pass_allowed(pass, facts, &after, &before) ||
		    (late && !(pass->gives & ~facts)))
			continue;
		p->pass[p->npasses++] = pass->name;
		facts |= pass->gives;
	}
}

/* Settings behind the first have small tiles, which are sooner compiled. */
static void compilation(Rng *rng, int number, Program *p)
{
	p->target = &targets[rng_below(rng, target_count)];
	for (int i = 0; i < 8 && !target_host_has(p->target); i++)
		p->target = &targets[rng_below(rng, target_count)];
	if (rng_chance(rng, 30))
		any_passes(rng, p);
	else
		some_passes(rng, p);
	if (rng_chance(rng, number ? 75 : 50))
		p->tiles = rng_next(rng) | 1;
	if (number && p->tiles && rng_chance(rng, 75))
		p->rows = 3;
	p->library = rng_chance(rng, 2);
	p->under = rng_chance(rng, 50);
}

void setting_make(uint64_t seed, int number, Program *p)
{
	Rng rng = {seed ^ (uint64_t)(number + 1) << 56};

	rng_next(&rng);
	compilation(&rng, number, p);
	call(&rng, p);
}

int settings_all(Program *p)
{
	static const int64_t tokens[] = {61, 1, 7, 13, 2, 5, 6, 16};
	int n = 0;

	for (int i = 0; i < 2 * target_count && n < MAX_CONFIGS; i++) {
		if (!target_host_has(&targets[i / 2]))
			continue;
		p[n] = p[0];
		pipeline_make(&p[n]);
		p[n].target = &targets[i / 2];
		p[n].under = i % 2;
		p[n].tokens = tokens[n % (int)COUNT(tokens)];
		n++;
	}
	return n;
}

/* ---- printed ---- */

/* Words of a line `// run ..`: numbers, by name. */
typedef struct { const char *key; int bytes; size_t at; } Number;
#define NUMBER(name) {#name, sizeof ((Program *)0)->name, offsetof(Program, name)}
static const Number numbers[] = {
	NUMBER(tokens), NUMBER(tiles), NUMBER(rows), NUMBER(library), NUMBER(under), NUMBER(cross),
	NUMBER(placed), NUMBER(decides), NUMBER(linear), NUMBER(alike),
	NUMBER(routed),
};

static uint64_t get_number(const Program *p, const Number *n)
{
	const void *at = (const char *)p + n->at;

	return n->bytes == 1 ? *(const bool *)at : *(const uint64_t *)at;
}

static void set_number(Program *p, const Number *n, uint64_t value)
{
	void *at = (char *)p + n->at;

	if (n->bytes == 1)
		*(bool *)at = value != 0;
	else
		*(uint64_t *)at = value;
}

/* The text, and a last line that says the rest; what is 0 is left out. */
void program_print(FILE *out, const Program *p)
{
	fprintf(out, "%s// run target=%s", p->text, p->target->name);
	for (int i = 0; i <= p->nseq && p->nseq; i++)
		fprintf(out, "%s%jd", i ? "," : " seq=", (intmax_t)p->seq[i]);
	for (int i = 0; i < p->npasses; i++)
		fprintf(out, "%s%s", i ? "," : " passes=", p->pass[i]);
	fprintf(out, " data=%s", data_words[p->data]);
	for (size_t i = 0; i < COUNT(numbers); i++)
		if (get_number(p, &numbers[i]))
			fprintf(out, " %s=%ju", numbers[i].key,
				(uintmax_t)get_number(p, &numbers[i]));
	fprintf(out, "\n");
}

/* ---- read ---- */

static bool read_list(Program *p, const char *key, char *value)
{
	char *rest, *item = strtok_r(value, ",", &rest);

	for (int n = 0; item; item = strtok_r(NULL, ",", &rest), n++)
		if (strcmp(key, "seq") == 0 && n < (int)COUNT(p->seq)) {
			p->seq[n] = strtoll(item, NULL, 10);
			p->nseq = n;
		} else if (strcmp(key, "passes") == 0 && n < MAX_PASSES && pass_find(item)) {
			p->pass[n] = pass_find(item)->name;
			p->npasses = n + 1;
		} else {
			return false;
		}
	return true;
}

static bool read_setting(Program *p, const char *key, char *value)
{
	for (size_t i = 0; i < COUNT(numbers); i++)
		if (strcmp(key, numbers[i].key) == 0) {
			set_number(p, &numbers[i], strtoull(value, NULL, 10));
			return true;
		}
	for (int i = 0; i < DATA_COUNT && strcmp(key, "data") == 0; i++)
		if (strcmp(value, data_words[i]) == 0)
			p->data = i;
	if (strcmp(key, "data") == 0)
		return strcmp(value, data_words[p->data]) == 0;
	if (strcmp(key, "target") == 0)
		return (p->target = target_find(value)) != NULL;
	return read_list(p, key, value);
}

bool program_read(Arena *a, const char *path, Program *p)
{
	static const char mark[] = "// run ";
	size_t n;
	char *text = file_read(a, diag_new(a, stderr), path, 1 << 20, &n), *rest;
	char *line = text ? strstr(text, mark) : NULL;

	*p = (Program){.text = text, .cross = true, .placed = true, .decides = true};
	if (!line)
		return text != NULL;
	*p = (Program){.text = text};
	line += strlen(mark);
	char *word = arena_strndup(a, line, strcspn(line, "\n"));
	for (word = strtok_r(word, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
		char *equals = strchr(word, '=');
		if (!equals)
			return false;
		*equals = 0;
		if (!read_setting(p, word, equals + 1))
			return false;
	}
	line[-(ptrdiff_t)strlen(mark)] = 0;
	return p->target != NULL;
}
