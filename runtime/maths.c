/* SPDX-License-Identifier: Apache-2.0
 * maths: exp and log from + - * / alone, so that every machine gives the same bits.
 * Computed in double: the float result is within 0.51 ulp. */
#include "internal.h"

#include <string.h>

/* 2^n r, r = e^f for |f| <= ln 2 / 2 by Taylor */
float moert_exp(float x)
{
	if (!(x > -104))
		return x != x ? x : 0;
	if (x > 89)
		return __builtin_inff();
	double n = (double)(int)(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
	double f = x - n * 0.69314718055994530942, r = 1;
	for (int k = 13; k >= 1; k--)
		r = 1 + r * f / k;
	uint64_t bits = (uint64_t)(1023 + (int)n) << 52;
	double power;
	memcpy(&power, &bits, sizeof power);
	return (float)(r * power);
}

/* 2 atanh((m - 1) / (m + 1)) + e ln 2, m in [sqrt 1/2, sqrt 2) */
double moert_log(double x)
{
	uint64_t bits;

	if (!(x > 0))
		return x == 0 ? -__builtin_inf() : __builtin_nan("");
	if (x > 1e300)
		return x; /* only infinity: floats end earlier */
	memcpy(&bits, &x, sizeof bits);
	int e = (int)(bits >> 52) - 1022;
	bits = (bits & 0xfffffffffffffull) | (uint64_t)1022 << 52;
	double m;
	memcpy(&m, &bits, sizeof m);
	if (m < 0.70710678118654752) {
		m *= 2;
		e--;
	}
	double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
	for (int k = 25; k >= 1; k -= 2)
		sum = sum * s2 + 1.0 / k;
	return 2 * s * sum + e * 0.69314718055994530942;
}
