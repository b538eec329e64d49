/* SPDX-License-Identifier: Apache-2.0
 * Generated code against the interpreter: the golden tensor-level modules on every target
 * that this machine can run or play, with awkward numbers of tokens. */
// libs: foreign backend passes moert dl pthread
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

static void compare_one(const char *name, const Target *target, int64_t tokens, int threads,
			const PassOptions *options)
{
	Arena *arena = arena_new();
	Diag *diag = diag_new(arena, stderr);
	char *text = read_golden(arena, name);
	MUST(text != NULL);
	Module *m = parse_module(arena, diag, name, text);
	Module *reference = parse_module(arena, diag, name, text);
	NativeReport r = {0};
	MUST(m && reference);
	bool ok = native_compare(arena, m, reference, target, tokens, threads, options, &r);
	CHECK(ok && r.worst <= 1);
	if (!ok || r.worst > 1)
		printf("%s, %s, %lld tokens: worst %g\n", name, target->name,
		       (long long)tokens, r.worst);
	arena_free(arena);
}

static void compare_all(const char *name, const PassOptions *options)
{
	static const int64_t here[] = {0, 1, 2, 5, 6, 7, 13, 61}, there[] = {0, 1, 7, 13};

	for (int t = 0; t < target_count; t++) {
		const Target *target = &targets[t];
		bool host = target_is_host(target);
		Arena *a = arena_new();
		const char *lacks = !host ? foreign_lacks(a, target)
				    : target_host_has(target) ? NULL : "the CPU lacks a feature";
		if (lacks)
			SKIP_PART(target->name, lacks);
		arena_free(a);
		for (size_t i = 0; !lacks && i < (host ? COUNT(here) : COUNT(there)); i++)
			compare_one(name, target, host ? here[i] : there[i], 1 + (int)i % 3,
				    options);
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
