/* SPDX-License-Identifier: Apache-2.0
 * Nothing is recognised by its name in std.moe: an example compiled with std as it is, and
 * with every function of std called something else, gives the same kernels. */
// libs: frontend backend passes moert
#include "../../backend/backend.h"
#include "../../frontend/frontend.h"
#include "../../passes/pass.h"
#include "unit.h"
#include <ctype.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
	Arena *arena;
	Vec(const char *) names;        /* std's functions */
	int    renamed;                 /* calls and definitions so far */
} Names;

static size_t word_at(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

/* The names that def, policy and expert define. */
static void find_names(Names *names)
{
	static const char *const words[] = {"\ndef", "\npolicy", "\nexpert"};

	for (size_t i = 0; i < COUNT(words); i++)
		for (const char *at = std_moe; (at = strstr(at, words[i])); at++) {
			const char *name = at + strlen(words[i]);
			name += strspn(name, " ");
			vec_push(names->arena, &names->names,
				 arena_strndup(names->arena, name, word_at(name)));
		}
}

static int find(const Names *names, const char *word, size_t n)
{
	for (int i = 0; i < names->names.n; i++)
		if (strlen(names->names.at[i]) == n &&
		    memcmp(names->names.at[i], word, n) == 0)
			return i;
	return -1;
}

/* The text with each of these names, where it stands before `(`, turned round: other
 * lengths and another order, so that sorting by name would show too. */
static char *rename_all(Names *names, const char *text)
{
	Text out = text_new(names->arena);

	while (*text) {
		size_t n = word_at(text);
		int i = n && text[n + strspn(text + n, " ")] == '(' ? find(names, text, n) : -1;
		if (n == 0 && strncmp(text, "//", 2) == 0)
			n = strcspn(text, "\n");
		else if (n == 0 && *text == '"')
			n = strcspn(text + 1, "\"") + 2;
		if (i >= 0) {
			text_printf(&out, "x%d_", 99 - i);
			while (n > 0) {
				text_addn(&out, text++, 1);
				n--;
			}
			names->renamed++;
		} else {
			text_addn(&out, text, n ? n : 1);
			text += n ? n : 1;
		}
	}
	return out.s;
}

/* Without the symbols' own names: @router becomes @, lines that define data go. */
static char *without_symbols(Arena *arena, const char *text)
{
	Text out = text_new(arena);

	for (bool line = true; *text; line = text[-1] == '\n') {
		if (line && *text == '@') {
			text += strcspn(text, "\n") + 1;
			continue;
		}
		text_addn(&out, text, 1);
		if (*text++ != '@')
			continue;
		if (*text == '"')
			text += strcspn(text + 1, "\"") + 2;
		else
			text += strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					     "0123456789_.-$");
	}
	return out.s;
}

/* The LLVM text of a module, or its own text where the backend has no code for it yet. */
static char *kernels_of(Arena *arena, const char *file, const char *text, const char *layer)
{
	FILE *nowhere = fopen("/dev/null", "w");
	MUST(nowhere != NULL);
	Diag *quiet = diag_new(arena, nowhere);
	FeOptions o = {.file = file, .text = text, .layer = layer, .losses = true};
	const Target *target = target_find("x86-64-v3");
	PassContext ctx = {.arena = arena, .diag = quiet, .target = target};
	PassOptions options = {.command = "test_names"};
	char path[] = "/tmp/moec-names-XXXXXX.ll";
	size_t n;
	Module *m = fe_compile(arena, diag_new(arena, stderr), &o);

	MUST(m != NULL);
	run_passes(m, &ctx, &options);
	int fd = mkstemps(path, 3);
	EmitOptions emit = {.target = target, .what = EMIT_LLVM, .out = path, .verify = true};
	MUST(fd >= 0);
	close(fd);
	bool ok = backend_emit(arena, quiet, m, &emit);
	char *ll = ok ? file_read(arena, quiet, path, 64 << 20, &n) : NULL;
	unlink(path);
	if (!ok) {
		Text t = text_new(arena);
		print_module(&t, m);
		ll = t.s;
	}
	fclose(nowhere);
	return without_symbols(arena, ll);
}

static void compare_layer(Names *names, const char *file, const char *text,
			  const char *renamed, const char *layer)
{
	char *a = kernels_of(names->arena, file, text, layer);
	char *b = kernels_of(names->arena, file, renamed, layer);
	size_t same = 0;

	while (a[same] && a[same] == b[same])
		same++;
	CHECK(a[same] == 0 && b[same] == 0);
	CHECK(strlen(a) > 200);
	if (a[same] != b[same])
		printf("%s, layer %s: renaming changes a kernel:\n%.300s\n---\n%.300s\n", file,
		       layer, a + same, b + same);
}

static void compare_file(const char *file)
{
	Arena *arena = arena_new();
	Diag *diag = diag_new(arena, stderr);
	Names names = {.arena = arena};
	FeContents contents = {0};
	char *text = fe_read(arena, diag, file);

	MUST(text != NULL);
	MUST(fe_contents(arena, diag, file, text, &contents));
	find_names(&names);
	MUST(names.names.n > 40);
	char *std = rename_all(&names, std_moe);
	MUST(names.renamed >= names.names.n);
	char *renamed = arena_printf(arena, "%s\n%s", std, rename_all(&names, text));
	if (contents.layers.n > 0 && contents.families.n == 0 && contents.models.n == 0)
		compare_layer(&names, file, text, renamed, contents.layers.at[0]);
	arena_free(arena);
}

static void test_examples(void)
{
	const char *slash = strrchr(__FILE__, '/');
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof pattern, "%.*s/../../examples/*.moe",
		 (int)(slash - __FILE__), __FILE__);
	MUST(glob(pattern, 0, NULL, &found) == 0);
	MUST(found.gl_pathc > 20);
	for (size_t i = 0; i < found.gl_pathc; i++)
		compare_file(found.gl_pathv[i]);
	globfree(&found);
}

SUITE("names", {"std.moe under other names", test_examples})
