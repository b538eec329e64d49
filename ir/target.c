/* SPDX-License-Identifier: Apache-2.0
 * target: looks up machines and their dot instructions, and asks the host what it is. */
#include "target.h"

#include <string.h>
#include <unistd.h>

const Target targets[] = {
#define TARGET(name, triple, cpu, needs, bits, regs, l1, l2, tune) \
	{name, triple, cpu, needs, bits, regs, l1, l2, tune},
#include "targets.def"
#undef TARGET
};
const int target_count = COUNT(targets);

static const Dot dots[] = {
#define DOT(feature, bits, a, b, kpack, how) {feature, bits, DT_##a, DT_##b, kpack, how},
#include "dots.def"
#undef DOT
};

/* Whether the host runs a feature, its operating system saving the registers included.
 * The builtin takes literals only, hence the list; what it lacks, the host lacks. */
static bool host_has(const char *feature, size_t n)
{
#if defined(__x86_64__)
#define HAS(name) \
	if (n == strlen(name) && memcmp(feature, name, n) == 0) \
		return __builtin_cpu_supports(name);
	HAS("avx2") HAS("fma") HAS("f16c") HAS("bmi2")
	HAS("avx512f") HAS("avx512bw") HAS("avx512dq") HAS("avx512vl")
	HAS("avx512bf16") HAS("avx512vnni")
#undef HAS
#endif
	return false;
}

/* Calls each word of `needs` until one is refused. */
static bool every_word(const char *needs, bool (*test)(const char *, size_t))
{
	while (*needs) {
		size_t n = strcspn(needs, " ");
		if (n && !test(needs, n))
			return false;
		needs += n + strspn(needs + n, " ");
	}
	return true;
}

bool target_host_has(const Target *t)
{
#if defined(__x86_64__)
	bool same = strncmp(t->triple, "x86_64", 6) == 0;
#else
	bool same = false;
#endif
	return same && every_word(t->needs, host_has);
}

/* The host's row, with the host's own L2 where it tells: a cloud machine's may be a
 * quarter of what its family has.  Kept: targets are compared and stored by pointer. */
static const Target *target_native(void)
{
	static Target native;
	const Target *best = NULL;

	for (int i = 0; i < target_count; i++)
		if (target_host_has(&targets[i]) &&
		    (!best || targets[i].vector_bits >= best->vector_bits))
			best = &targets[i];
	if (!best)
		return NULL;
	native = *best;
	long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
	if (l2 >= 128 * 1024 && l2 <= 64 * 1024 * 1024)
		native.l2_kib = (int)(l2 / 1024);
	return &native;
}

const Target *target_find(const char *name)
{
	if (strcmp(name, "native") == 0)
		return target_native();
	for (int i = 0; i < target_count; i++)
		if (strcmp(targets[i].name, name) == 0)
			return &targets[i];
	return NULL;
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	if (n == 0)
		return true;
	for (const char *at = words; (at = strstr(at, word)); at += n)
		if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

const Dot *target_dot(const Target *t, Dtype a, Dtype b)
{
	for (size_t i = 0; i < COUNT(dots); i++)
		if (dots[i].a == a && dots[i].b == b &&
		    (dots[i].bits == 0 || dots[i].bits == t->vector_bits) &&
		    has_word(t->needs, dots[i].feature))
			return &dots[i];
	return NULL;
}

void target_tile(const Target *t, int *rows, int *vectors)
{
	*rows = 6;
	*vectors = t->registers >= 32 ? 4 : 2;
}
