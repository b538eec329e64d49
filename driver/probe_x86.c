/* SPDX-License-Identifier: Apache-2.0
 * probe_x86: loops of nothing but dot instructions, for the peak of a core.
 *
 * Sixteen (twelve of the short vectors) accumulators hide the latency; the empty asm
 * keeps the compiler from moving what does not change out of the loop. */
#include "probe.h"

#if defined __x86_64__
#include <immintrin.h>

#define LOOP(name, features, vector, n, zero, start, step, per_step)                \
	__attribute__((target(features))) static double name(int64_t rounds)        \
	{                                                                           \
		vector a = start, b = start, acc[n];                                \
		for (int i = 0; i < n; i++)                                         \
			acc[i] = zero;                                              \
		for (int64_t r = 0; r < rounds; r++) {                              \
			__asm__ volatile("" : "+v"(a), "+v"(b));                    \
			_Pragma("GCC unroll 16") for (int i = 0; i < n; i++)        \
				acc[i] = step(acc[i], a, b);                        \
		}                                                                   \
		for (int i = 0; i < n; i++)                                         \
			__asm__ volatile("" : : "v"(acc[i]));                       \
		return (double)rounds * n * per_step;                               \
	}

#define FMA256(c, a, b)  _mm256_fmadd_ps(a, b, c)
#define FMA512(c, a, b)  _mm512_fmadd_ps(a, b, c)
#define BF16512(c, a, b) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#define I8512(c, a, b)   _mm512_dpbusd_epi32(c, a, b)
#define I8256(c, a, b)                                                              \
	_mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b),           \
					      _mm256_set1_epi16(1)))

LOOP(fma_256, "avx2,fma", __m256, 12, _mm256_setzero_ps(), _mm256_set1_ps(0.5f), FMA256,
     16)
LOOP(fma_512, "avx512f", __m512, 16, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), FMA512,
     32)
LOOP(bf16_512, "avx512f,avx512bf16", __m512, 16, _mm512_setzero_ps(),
     _mm512_set1_ps(0.5f), BF16512, 64)
LOOP(i8_512, "avx512f,avx512vnni", __m512i, 16, _mm512_setzero_si512(),
     _mm512_set1_epi8(1), I8512, 128)

/* Each step's product must be made anew: only c depends on the step before. */
__attribute__((target("avx2"))) static double i8_256(int64_t rounds)
{
	__m256i a = _mm256_set1_epi8(1), b = a, acc[12];

	for (int i = 0; i < 12; i++)
		acc[i] = _mm256_setzero_si256();
	for (int64_t r = 0; r < rounds; r++)
		_Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) {
			__asm__ volatile("" : "+x"(a));
			acc[i] = I8256(acc[i], a, b);
		}
	for (int i = 0; i < 12; i++)
		__asm__ volatile("" : : "x"(acc[i]));
	return (double)rounds * 12 * 64;
}

probe_loop *probe_find(DotKind kind, int bits)
{
	bool wide = bits >= 512 && __builtin_cpu_supports("avx512f");

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return NULL;
	switch (kind) {
	case DOT_F32:
		return wide ? fma_512 : fma_256;
	case DOT_BF16:
		return wide && __builtin_cpu_supports("avx512bf16") ? bf16_512 : NULL;
	case DOT_I8:
		return wide && __builtin_cpu_supports("avx512vnni") ? i8_512 : i8_256;
	default:
		return NULL;
	}
}

#else

probe_loop *probe_find(DotKind kind, int bits)
{
	return NULL;
}

#endif
