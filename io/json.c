/* SPDX-License-Identifier: Apache-2.0
 * json: strict JSON from files that nobody vouches for, under a memory budget. */
#include "io.h"
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 256, MAX_BYTES = 100000000 };

static const size_t MiB = 1 << 20;

/* The header of a real checkpoint takes 8 bytes for one of text, hostile JSON up to 80.
 * jansson's allocator hooks carry no context, so what is left of the budget is the
 * thread's. */
static _Thread_local size_t budget = SIZE_MAX, used;    /* below 0 when older texts go */

WRAPS static void *budget_malloc(size_t n)
{
	if (used + n > budget)
		return NULL;
	void *p = malloc(n);
	used += malloc_usable_size(p);
	return p;
}

WRAPS static void budget_free(void *p)
{
	used -= malloc_usable_size(p);
	free(p);
}

static void install_budget(void)
{
	json_set_alloc_funcs(budget_malloc, budget_free);
}

/* Far below what jansson allows (2048), so that no later walk of the tree runs deep. */
static bool too_deep(const char *text, size_t n, int *line)
{
	int depth = 0;
	bool quoted = false;

	*line = 1;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (c == '\n')
			++*line;
		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			if (++depth > MAX_DEPTH)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

json_t *json_text(Arena *a, Diag *d, const char *file, const char *what, const char *text,
		  size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	json_error_t e = {0};
	int line;

	if (n > MAX_BYTES) {
		diag_error(d, E_file_size, (Loc){.file = file},
			   "%s%zu bytes of JSON; the limit is 100000000", what, n);
		return NULL;
	}
	if (too_deep(text, n, &line)) {
		diag_error(d, E_json, (Loc){.file = file, .line = line, .col = 1},
			   "%sJSON nested more than %d deep", what, MAX_DEPTH);
		return NULL;
	}
	pthread_once(&once, install_budget);
	budget = MIN(48 * n + MiB, 128 * MiB + 2 * n);
	used = 0;
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	budget = SIZE_MAX;
	if (!j) {
		Loc at = {.file = file, .line = MAX(e.line, 1), .col = MAX(e.column, 1)};
		enum json_error_code code = json_error_code(&e);
		if (!*e.text)
			diag_error(d, E_json, at,
				   "%smore memory is needed than JSON of this size "
				   "justifies",
				   what);
		else if (code == json_error_null_character ||
			 code == json_error_null_byte_in_key)
			diag_error(d, E_json, at, "%snot valid JSON: a NUL in a string",
				   what);
		else
			diag_error(d, E_json, at, "%snot valid JSON: %s", what,
				   printable(a, e.text));
	}
	return j;
}

json_t *json_file(Arena *a, Diag *d, const char *path)
{
	size_t n;
	char *text = file_read(a, d, path, MAX_BYTES, &n);

	return text ? json_text(a, d, path, "", text, n) : NULL;
}
