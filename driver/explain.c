/* SPDX-License-Identifier: Apache-2.0
 * explain: what a code of an error means. */
#include "moec.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { WIDTH = 90 };

static const char *const places[] = {
	[IN_LAYER] = "in a layer", [IN_FILE] = "in a file", [IN_SHELL] = "in a shell",
};

static void print_wrapped(const char *text)
{
	for (size_t n; *text; text += n + strspn(text + n, " ")) {
		n = strlen(text);
		if (n > WIDTH)
			for (n = WIDTH; text[n] != ' ' && n > 1; n--)
				;
		printf("%.*s\n", (int)n, text);
	}
}

static void print_example(const char *title, const DiagInfo *info, const char *text)
{
	printf("\n%s, %s:\n\n", title, places[info->where]);
	for (size_t n; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		printf("    %.*s\n", (int)n, text);
	}
}

static int list(void)
{
	for (int i = 0; i < DIAG_CODES; i++)
		printf("%s  %s\n", diag_info[i].code, diag_info[i].title);
	return EXIT_OK;
}

static int unknown(const char *name)
{
	const char *codes[DIAG_CODES];

	for (int i = 0; i < DIAG_CODES; i++)
		codes[i] = diag_info[i].code;
	usage_error(E_unknown_option, nearest_name(name, codes, DIAG_CODES),
		    "no error has the code '%s'", name);
	return EXIT_USAGE;
}

int explain(const char *name)
{
	if (!name)
		return list();
	for (int i = 0; i < DIAG_CODES; i++) {
		const DiagInfo *info = &diag_info[i];
		if (strcasecmp(name, info->code) != 0 &&
		    strcmp(name, info->code + 1) != 0 &&
		    strcmp(name, info->code + 2) != 0)
			continue;
		printf("%s: %s\n\n", info->code, info->title);
		print_wrapped(info->text);
		if (info->where != IN_NONE) {
			print_example("Wrong", info, info->wrong);
			print_example("Right", info, info->right);
		}
		return EXIT_OK;
	}
	return unknown(name);
}
