/* SPDX-License-Identifier: Apache-2.0
 * flags: a training command's flags as keys of config.json.
 *
 *     "flags": "--moe-experts 16 --moe-gating-type top --fp16"
 *     "moe_experts": 16, "moe_gating_type": "top", "fp16": true */
#include "moec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	const Job  *job;
	const char *file;
	json_t     *config, *keys;      /* as they are in the file; those of the flags */
} Flags;

static bool wrong(const Flags *f, const char *fmt, const char *what)
{
	diag_error(f->job->diag, E_config_value, (Loc){.file = f->file}, fmt,
		   printable(f->job->arena, what));
	return false;
}

/* What the word is in JSON. */
static json_t *value_of(const char *word)
{
	char *end;
	double number = strtod(word, &end);

	if (strcmp(word, "True") == 0 || strcmp(word, "true") == 0)
		return json_true();
	if (strcmp(word, "False") == 0 || strcmp(word, "false") == 0)
		return json_false();
	if (*end || end == word || !isfinite(number))
		return json_string(word);
	if (number == floor(number) && fabs(number) <= 0x1p53)
		return json_integer((json_int_t)number);
	return json_real(number);
}

/* One flag, and all words up to the next: none is true, several are one text. */
static bool add_flag(Flags *f, char *flag, char *words)
{
	char *equals = strchr(flag, '=');

	if (strncmp(flag, "--", 2) != 0 || !flag[2] || flag[2] == '=')
		return wrong(f, "`flags`: `%.60s` is no flag", flag);
	if (equals) {
		if (words)
			return wrong(f, "`flags`: `%.60s` belongs to no flag", words);
		*equals = '\0';
		words = equals + 1;
	}
	for (char *c = flag += 2; *c; c++)
		if (*c == '-')
			*c = '_';
	if (json_object_get(f->config, flag))
		return wrong(f, "`%.60s` stands in `flags` and beside them", flag);
	json_t *value = words ? value_of(words) : json_true();
	if (json_object_set_new(f->keys, flag, value) != 0)
		return wrong(f, "`flags`: no memory for `%.60s`", flag);
	return true;
}

static bool add_flags(Flags *f, char *text)
{
	char *rest = text + strspn(text, " \t\n");
	bool ok = true;

	while (ok && *rest) {
		char *flag = rest, *words = NULL, *end = rest + strcspn(rest, " \t\n");
		for (;;) {
			rest = end + strspn(end, " \t\n");
			if (!*rest || strncmp(rest, "--", 2) == 0)
				break;
			words = words ? words : rest;
			end = rest + strcspn(rest, " \t\n");
		}
		if (words)
			flag[strcspn(flag, " \t\n")] = '\0';
		*end = '\0';
		ok = add_flag(f, flag, words);
	}
	return ok;
}

bool config_flags(const Job *job, const char *file, json_t *config)
{
	Flags f = {job, file, config, NULL};
	json_t *flags = json_object_get(config, "flags");

	if (!flags)
		return true;
	if (!json_is_string(flags))
		return wrong(&f, "`flags` is no text%s", "");
	f.keys = json_object();
	bool ok = add_flags(&f, arena_strdup(job->arena, json_string_value(flags))) &&
		  json_object_update(config, f.keys) == 0;
	json_decref(f.keys);
	return ok;
}
