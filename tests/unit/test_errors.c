// libs: frontend
/* SPDX-License-Identifier: Apache-2.0
 * Every message: tests/errors/<kind>/NAME.moe says exactly NAME.expect.
 *
 * A NAME.json beside it is the config.json of a family, NAME.tensors its checkpoint (the
 * first line `files N`, then `name type dims`); such a layer is compiled, the others are
 * checked.
 * `test_errors bless` rewrites the expectations; read the difference. */
#include "../../frontend/frontend.h"
#include "unit.h"

#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum { LONGEST = 1 << 20 };

static bool bless;

/* NULL: no such file, or one with a NUL, which is the parser's test. */
static char *read_text(Arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = arena_alloc(a, LONGEST + 1);
	size_t n;

	if (!f)
		return NULL;
	n = fread(text, 1, LONGEST, f);
	fclose(f);
	return memchr(text, '\0', n) ? NULL : text;
}

static char *with_ending(Arena *a, const char *moe, const char *ending)
{
	return arena_printf(a, "%.*s%s", (int)(strlen(moe) - 4), moe, ending);
}

/* The checkpoint of a test: a text of tensors. */
static bool find_tensor(void *ctx, const char *name, FeTensor *t)
{
	size_t n = strlen(name);

	for (const char *s = ctx; s && *s;
	     s = strchr(s, '\n') ? strchr(s, '\n') + 1 : NULL) {
		int used = 0, more = 0;
		char type[16];
		if (strncmp(s, name, n) != 0 ||
		    sscanf(s + n, " %15s%n", type, &used) != 1)
			continue;
		*t = (FeTensor){.dtype = DT_COUNT};
		for (int i = 0; i < DT_COUNT; i++)
			if (strcmp(dtype_info[i].name, type) == 0)
				t->dtype = (Dtype)i;
		for (s += n + used; t->rank < 8 && *s == ' '; s += more)
			if (sscanf(s, " %jd%n", (intmax_t *)&t->dims[t->rank], &more) == 1)
				t->rank++;
			else
				break;
		return true;
	}
	return false;
}

static void compile(Arena *a, Diag *d, FeOptions *opt, const char *name)
{
	char *tensors = read_text(a, with_ending(a, name, ".tensors"));
	FeTensors t = {.ctx = tensors, .find = find_tensor, .nfiles = 1};

	if (tensors) {
		sscanf(tensors, "files %d", &t.nfiles);
		opt->tensors = &t;
	}
	opt->config_file = "config.json";
	CHECK(fe_compile(a, d, opt) == NULL);
}

/* What is said of the program, from inside its folder. */
static char *messages(Arena *a, const char *name, const char *text)
{
	char *said = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&said, &n);
	Diag *d = diag_new(a, out);
	json_error_t error;
	FeOptions opt = {.file = name, .text = text};

	opt.config = json_load_file(with_ending(a, name, ".json"), 0, &error);
	if (opt.config)
		compile(a, d, &opt, name);
	else
		CHECK(!fe_check(a, d, &opt));
	diag_end(d);
	json_decref(opt.config);
	fclose(out);
	return said;
}

static void check_file(const char *path)
{
	Arena *a = arena_new();
	char *copy = arena_strdup(a, path), *copy2 = arena_strdup(a, path);
	const char *name = basename(copy);

	MUST(chdir(dirname(copy2)) == 0);
	char *text = read_text(a, name),
	     *expect = read_text(a, with_ending(a, name, ".expect"));
	if (!text) {
		arena_free(a);
		return;
	}
	char *said = messages(a, name, text);
	CHECK(*said != '\0');
	if (bless) {
		FILE *f = fopen(with_ending(a, name, ".expect"), "wb");
		MUST(f && fputs(said, f) >= 0 && fclose(f) == 0);
	} else {
		if (!expect || strcmp(said, expect) != 0)
			printf("%s:\n", path);
		SAME_TEXT(said, expect ? expect : "(no .expect)");
	}
	free(said);
	arena_free(a);
}

static void check_folder(const char *kind, int least)
{
	const char *slash = strrchr(__FILE__, '/');
	char pattern[PATH_MAX];
	glob_t g;

	snprintf(pattern, sizeof pattern, "%.*s/../errors/%s/*.moe",
		 (int)(slash - __FILE__), __FILE__, kind);
	MUST(glob(pattern, 0, NULL, &g) == 0);
	CHECK((int)g.gl_pathc >= least);
	for (size_t i = 0; i < g.gl_pathc; i++)
		check_file(g.gl_pathv[i]);
	globfree(&g);
}

static void test_syntax(void)    { check_folder("syntax", 30); }
static void test_semantics(void) { check_folder("semantics", 120); }
static void test_families(void)  { check_folder("families", 20); }

int main(int argc, char **argv)
{
	static const UnitTest tests[] = {
		{"syntax", test_syntax}, {"semantics", test_semantics},
		{"families", test_families},
	};

	bless = argc > 1 && strcmp(argv[1], "bless") == 0;
	return unit_main("errors", tests, (int)COUNT(tests));
}
