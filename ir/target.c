/* SPDX-License-Identifier: Apache-2.0
 * target: looks up machines and their dot instructions, and asks the host what it is. */
#include "target.h"
#include "../runtime/cpu.h"

#include <string.h>
#include <unistd.h>

const Target targets[] = {
#define TARGET(name, triple, cpu, needs, bits, regs, l1, l2, part, ahead, tune) \
	{name, triple, cpu, needs, bits, regs, l1, l2, part, ahead, tune},
#include "targets.def"
#undef TARGET
};
const int target_count = COUNT(targets);

static const Dot dots[] = {
#define DOT(feature, bits, a, b, kpack, how) {feature, bits, DT_##a, DT_##b, kpack, how},
#include "dots.def"
#undef DOT
};

/* By name: the host's own row is a copy. */
int target_rank(const Target *t)
{
	int i = 0;

	while (strcmp(targets[i].name, t->name) != 0)
		i++;
	return i;
}

bool target_is_host(const Target *t)
{
	return strcmp(t->triple, HOST_TRIPLE) == 0;
}

bool target_host_has(const Target *t)
{
	return target_is_host(t) && moert_cpu_has(t->needs);
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
