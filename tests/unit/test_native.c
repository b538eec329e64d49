/* SPDX-License-Identifier: Apache-2.0
 * Generated code against the interpreter: the golden tensor-level modules on every target
 * that this machine can run or play, with awkward numbers of tokens. */
// libs: guarded foreign backend passes moert dl pthread
#include "native.h"
#include "unit.h"

static char *read_golden(Arena *arena, const char *name)
{
	size_t n;
	const char *dir = getenv("MOEC_TESTS") ? getenv("MOEC_TESTS") : "tests";
	char *text = file_read(arena, diag_new(arena, stderr),
			       arena_printf(arena, "%s/golden/passes/%s", dir, name), 1 << 20,
			       &n);
	char *end = text ? strstr(text, "// expect") : NULL;

	if (end)
		*end = 0;
	return text;
}

static void compare_one(const char *name, const Target *target, int turn,
			const PassOptions *options)
{
	static const int64_t tokens[] = {0, 1, 2, 5, 6, 7, 13, 61};
	Arena *arena = arena_new();
	Diag *diag = diag_new(arena, stderr);
	char *text = read_golden(arena, name);
	MUST(text != NULL);
	Native n = {.arena = arena, .target = target, .options = options,
		    .m = parse_module(arena, diag, name, text),
		    .reference = parse_module(arena, diag, name, text), .under = turn % 2};
	MUST(n.m && n.reference);
	bool ok = native_open(&n);
	for (size_t i = 0; ok && i < COUNT(tokens); i++) {
		NativeCall c = {.tokens = tokens[i], .threads = 1 + (int)i % 3};
		NativeReport r;
		ok = native_compare(&n, &c, &r) && r.worst <= 1;
		if (!ok)
			printf("%s, %s, %lld tokens: worst %g\n", name, target->name,
			       (long long)c.tokens, r.worst);
	}
	CHECK(ok);
	native_close(&n);
	arena_free(arena);
}

static void compare_all(const char *name, const PassOptions *options)
{
	for (int t = 0; t < target_count; t++) {
		Arena *a = arena_new();
		const char *lacks = native_lacks(a, &targets[t]);
		if (lacks)
			SKIP_PART(targets[t].name, lacks);
		for (int turn = 0; !lacks && turn < 2; turn++)
			compare_one(name, &targets[t], turn, options);
		arena_free(a);
	}
}

static void test_pipeline(void)
{
	const PassOptions options = {.verify = true};

	compare_all("pipeline_mixtral.mir", &options);
}

static void test_unfused(void)
{
	const char *skip[] = {"fuse-experts", "schedule-blocks"};
	const PassOptions options = {.verify = true, .skip = skip, .nskip = 2};

	compare_all("pipeline_mixtral.mir", &options);
}

SUITE("native", {"whole pipeline", test_pipeline},
      {"neither fused nor scheduled", test_unfused})
