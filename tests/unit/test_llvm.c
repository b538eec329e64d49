/* SPDX-License-Identifier: Apache-2.0
 * test_llvm: every file of tests/golden/llvm is a kernel-level module, a line
 *
 *     // expect
 *
 * and its LLVM IR, optimised.  What only speed shows (prefetches, tiles, unrolling) is seen
 * here, and what a change of the backend does to code.  MOEC_BLESS=1 rewrites the second
 * half. */
// libs: backend moert
#include "../../backend/backend.h"
#include "unit.h"
#include <glob.h>
#include <unistd.h>

static const char marker[] = "// expect\n";

/* The LLVM text of a module that says its target itself. */
static char *emitted(Arena *a, const Module *m)
{
	char path[] = "/tmp/moec-llvm-XXXXXX";
	Diag *diag = diag_new(a, stderr);
	EmitOptions o = {.target = target_find(m->target), .what = EMIT_LLVM, .out = path,
			 .verify = true};
	size_t n;
	int fd = mkstemp(path);

	MUST(fd >= 0 && o.target != NULL);
	close(fd);
	bool ok = backend_emit(a, diag, m, &o);
	char *text = ok ? file_read(a, diag, path, 1 << 24, &n) : NULL;
	unlink(path);
	return text;
}

static void check(const char *path)
{
	Arena *a = arena_new();
	Diag *diag = diag_new(a, stderr);
	const char *why = NULL;
	size_t n;
	char *text = file_read(a, diag, path, 1 << 24, &n);
	char *line = text ? strstr(text, marker) : NULL;

	MUST(line != NULL);
	const char *input = arena_strndup(a, text, (size_t)(line - text));
	Module *m = parse_module(a, diag, path, input);
	MUST(m && m->target && verify(m, &why));
	char *ll = emitted(a, m);
	MUST(ll != NULL);
	const char *got = strstr(ll, "\n@");  /* behind what names LLVM's types */
	MUST(got != NULL);
	if (getenv("MOEC_BLESS")) {
		const char *whole = arena_printf(a, "%s%s%s", input, marker, got);
		MUST(file_write(diag, path, whole, strlen(whole)));
	} else if (strcmp(got, line + strlen(marker))) {
		printf("%s\n", path);
		SAME_TEXT(got, line + strlen(marker));
	}
	arena_free(a);
}

static void test_golden(void)
{
	const char *slash = strrchr(__FILE__, '/');
	Arena *a = arena_new();
	glob_t found;

	MUST(glob(arena_printf(a, "%.*s/../golden/llvm/*.mir", (int)(slash - __FILE__),
			       __FILE__), 0, NULL, &found) == 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check(found.gl_pathv[i]);
	globfree(&found);
	arena_free(a);
}

SUITE("llvm", {"golden code of kernels", test_golden})
