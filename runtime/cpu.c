/* SPDX-License-Identifier: Apache-2.0
 * cpu: whether this machine has the features a layer was compiled for.
 *
 * The names are LLVM's.  A feature counts only when the operating system keeps the
 * registers it needs; a name that is not in the table is a feature the machine lacks. */
#include "internal.h"

#include <string.h>

#if defined __x86_64__
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };
enum { ANY = 0, YMM = 0x6, ZMM = 0xe6, TILES = 0x60000 };       /* bits of XCR0 */

static const struct {
	const char *name;
	uint32_t leaf, sub, reg, bit, state;
} features[] = {
	{"sse3",        1, 0, ECX,  0, ANY}, {"ssse3",       1, 0, ECX,  9, ANY},
	{"fma",         1, 0, ECX, 12, YMM}, {"sse4.1",      1, 0, ECX, 19, ANY},
	{"sse4.2",      1, 0, ECX, 20, ANY}, {"popcnt",      1, 0, ECX, 23, ANY},
	{"avx",         1, 0, ECX, 28, YMM}, {"f16c",        1, 0, ECX, 29, YMM},
	{"bmi",         7, 0, EBX,  3, ANY}, {"avx2",        7, 0, EBX,  5, YMM},
	{"bmi2",        7, 0, EBX,  8, ANY}, {"avx512f",     7, 0, EBX, 16, ZMM},
	{"avx512dq",    7, 0, EBX, 17, ZMM}, {"avx512ifma",  7, 0, EBX, 21, ZMM},
	{"avx512cd",    7, 0, EBX, 28, ZMM}, {"avx512bw",    7, 0, EBX, 30, ZMM},
	{"avx512vl",    7, 0, EBX, 31, ZMM}, {"avx512vbmi",  7, 0, ECX,  1, ZMM},
	{"avx512vbmi2", 7, 0, ECX,  6, ZMM}, {"gfni",        7, 0, ECX,  8, ANY},
	{"avx512vnni",  7, 0, ECX, 11, ZMM}, {"avx512fp16",  7, 0, EDX, 23, ZMM},
	{"amx-bf16",    7, 0, EDX, 22, TILES}, {"amx-tile",  7, 0, EDX, 24, TILES},
	{"amx-int8",    7, 0, EDX, 25, TILES}, {"avxvnni",   7, 1, EAX,  4, YMM},
	{"avx512bf16",  7, 1, EAX,  5, ZMM},
};

static bool has_state(uint32_t state)
{
	uint32_t r[4], low, high;

	if (!state)
		return true;
	if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] >> 27 & 1))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & state) == state;
}

static bool has(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
		uint32_t r[4];
		if (strlen(features[i].name) != n ||
		    memcmp(features[i].name, name, n) != 0)
			continue;
		return __get_cpuid_count(features[i].leaf, features[i].sub, &r[EAX],
					 &r[EBX], &r[ECX], &r[EDX]) &&
		       (r[features[i].reg] >> features[i].bit & 1) &&
		       has_state(features[i].state);
	}
	return false;
}

#elif defined __aarch64__
#include <sys/auxv.h>

static const struct { const char *name; int type, bit; } features[] = {
	{"neon",     AT_HWCAP,   1}, {"fp-armv8", AT_HWCAP,   0},
	{"fullfp16", AT_HWCAP,  10}, {"dotprod",  AT_HWCAP,  20},
	{"sve",      AT_HWCAP,  22}, {"sve2",     AT_HWCAP2,  1},
	{"i8mm",     AT_HWCAP2, 13}, {"bf16",     AT_HWCAP2, 14},
};

static bool has(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof features / sizeof *features; i++)
		if (strlen(features[i].name) == n &&
		    memcmp(features[i].name, name, n) == 0)
			return getauxval(features[i].type) >> features[i].bit & 1;
	return false;
}

#else

static bool has(const char *name, size_t n)
{
	return false;
}

#endif

int moert_cpu_has(const char *list)
{
	while (list && *list) {
		size_t n = strcspn(list, " ");
		if (n && !has(list, n))
			return 0;
		list += n + (list[n] == ' ');
	}
	return 1;
}
