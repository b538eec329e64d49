/* SPDX-License-Identifier: Apache-2.0
 * header_calls: what the C header of a model says of the layers that it calls. */
#include "header.h"

#include <ctype.h>
#include <string.h>

/* NAME_ERROR_PICKS and NAME_CALL_x have another meaning already. */
const char *call_name(const char *layer)
{
	return strcmp(layer, "ERROR") == 0 ? "ERROR_" : strcmp(layer, "CALL") == 0 ? "CALL_"
									       : layer;
}

bool is_first_call(const Module *m, int call)
{
	for (int i = 0; i < call; i++)
		if (strcmp(m->calls.at[i].layer, m->calls.at[call].layer) == 0)
			return false;
	return true;
}

/* 1.moe: 1_moe */
static const char *path_word(Arena *a, const char *path)
{
	char *word = arena_strdup(a, path);

	for (char *s = word; *s; s++)
		*s = isalnum((unsigned char)*s) ? *s : '_';
	return word;
}

static void put_numbers(Header *h)
{
	int n = h->m->calls.n;
	const char **names = NEWN(h->t->arena, const char *, (size_t)n);

	for (int i = 0; i < n; i++)
		names[i] = path_word(h->t->arena, h->m->calls.at[i].path);
	header_put(h, "\n/* The layers that it calls, numbered in its order: each has a call of "
		      "its own,\n * @_LAYER_run(), on the same weights. */\nenum {\n");
	for (int i = 0; i < n; i++)
		text_printf(h->t, "\t%s_CALL_%s = %d,%s /* %s */\n", h->name,
			    header_word(h, names, n, i), i, i < 10 ? " " : "",
			    h->m->calls.at[i].layer);
	text_printf(h->t, "\t%s_CALLS = %d\n};\n", h->name, n);
}

void header_calls(Header *h)
{
	if (!h->m->calls.n)
		return;
	put_numbers(h);
	header_put(h,
"/* The path of its weights; NULL: there is no call of that number. */\n"
"const char *@_path(int64_t call);\n"
"\n"
"/* Routing of one of them, as its own arguments have it. */\n"
"typedef struct @_routing {\n"
"\tconst int32_t  *picks_in;\n"
"\tconst float    *gates_in;\n"
"\tint32_t        *picks_out;\n"
"\tfloat          *gates_out;\n"
"} @_routing;\n");
}

void header_call_runs(Header *h)
{
	for (int i = 0; i < h->m->calls.n; i++) {
		if (!is_first_call(h->m, i))
			continue;
		const char *layer = h->m->calls.at[i].layer;
		Header c = header_of(h->t, h->m, i);
		text_printf(h->t, "\n/* ---- layer %s, alone ---- */\n", layer);
		header_sizes(&c);
		header_args(&c);
		text_printf(h->t, "/* call: one of %s's numbers above. */\n", layer);
		header_put(&c, "int @_run(");
		header_put(h, "@_session *session, int64_t call,\n");
		header_put(&c, "\tconst @_args *args);\n");
	}
}
