/* SPDX-License-Identifier: Apache-2.0
 * convert: stored element types to double and back, half to even, rounding once. */
#include "eval.h"

#include <math.h>
#include <string.h>

static double float_of_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static uint32_t bits_of_float(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/* x to `fraction` bits behind the leading one; below 2^emin the spacing stays. */
static double round_fraction(double x, int fraction, int emin, double largest)
{
	if (x == 0 || !isfinite(x))
		return x;
	int e;
	frexp(x, &e);
	double ulp = ldexp(1, MAX(e - 1, emin) - fraction);
	double y = rint(x / ulp) * ulp;
	return fabs(y) > largest ? copysign(INFINITY, x) : y;
}

static double round_integer(double x)
{
	if (isnan(x))
		return 0;
	return rint(MIN(MAX(x, INT32_MIN), INT32_MAX));
}

double round_to(Dtype dtype, double x)
{
	switch (dtype) {
	case DT_f32:   return (float)x;
	case DT_bf16:  return round_fraction(x, 7, -126, 0x1.FEp127);
	case DT_f16:   return round_fraction(x, 10, -14, 65504);
	case DT_i32:
	case DT_index: return round_integer(x);
	case DT_bool:  return x != 0;
	default:       return x;
	}
}

double bf16_to_double(uint16_t h)
{
	return float_of_bits((uint32_t)h << 16);
}

uint16_t double_to_bf16(double x)
{
	enum { CUT = 52 - 7 };          /* bits of the fraction that go */
	uint64_t bits;

	if (fabs(x) >= 0x1p-126 && fabs(x) <= 0x1.FEp127) {     /* gigabytes of them */
		memcpy(&bits, &x, sizeof bits);
		bits += (UINT64_C(1) << (CUT - 1)) - 1 + (bits >> CUT & 1);
		bits >>= CUT;
		return (uint16_t)((bits >> 3 & 0x8000) | ((bits - (896 << 7)) & 0x7fff));
	}
	if (isnan(x))
		return (uint16_t)(0x7fc0 | (signbit(x) ? 0x8000 : 0));
	return (uint16_t)(bits_of_float((float)round_to(DT_bf16, x)) >> 16);
}

double f16_to_double(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = (h >> 10) & 31, f = h & 1023;

	if (e == 31)
		return float_of_bits(sign | 0x7f800000 | f << 13);
	if (e > 0)
		return float_of_bits(sign | (e + 112) << 23 | f << 13);
	return (sign ? -1 : 1) * (double)f * 0x1p-24;
}

uint16_t double_to_f16(double x)
{
	uint16_t sign = signbit(x) ? 0x8000 : 0;

	if (isnan(x))
		return sign | 0x7e00;
	double y = fabs(round_to(DT_f16, x));
	if (isinf(y))
		return sign | 0x7c00;
	if (y < 0x1p-14)
		return (uint16_t)(sign | (uint16_t)(y * 0x1p24));
	return (uint16_t)(sign | ((bits_of_float((float)y) >> 13) - (112 << 10)));
}

/* OCP's small formats.  A float8 of `fraction` bits, without infinities. */
static double small_float(unsigned byte, int fraction, int bias)
{
	int e = (int)(byte & 127) >> fraction, ulp = MAX(e, 1) - bias - fraction;
	double m = (byte & ((1u << fraction) - 1)) + (e > 0 ? 1u << fraction : 0);

	return ldexp(byte & 128 ? -m : m, ulp);
}

double e4m3_value(unsigned byte)
{
	return (byte & 127) == 127 ? NAN : small_float(byte, 3, 7);
}

double e5m2_value(unsigned byte)
{
	if ((byte & 127) < 124)
		return small_float(byte, 2, 15);
	return (byte & 127) > 124 ? NAN : byte & 128 ? -INFINITY : INFINITY;
}

double e8m0_value(unsigned byte)
{
	return (byte & 255) == 255 ? NAN : ldexp(1, (int)(byte & 255) - 127);
}

double fp4_value(unsigned code)
{
	static const double magnitude[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

	return code & 8 ? -magnitude[code & 7] : magnitude[code & 7];
}

/* In a mapped checkpoint nothing need be aligned. */
void load_doubles(Dtype dtype, const void *from, int64_t n, double *to)
{
#define LOAD(T, expr)                                                      \
	do {                                                               \
		typedef T Anywhere __attribute__((aligned(1)));            \
		const Anywhere *s = from;                                  \
		for (int64_t i = 0; i < n; i++)                            \
			to[i] = expr;                                      \
	} while (0)
	switch (dtype) {
	case DT_f32:   LOAD(float, s[i]); break;
	case DT_f64:   LOAD(double, s[i]); break;
	case DT_bf16:  LOAD(uint16_t, bf16_to_double(s[i])); break;
	case DT_f16:   LOAD(uint16_t, f16_to_double(s[i])); break;
	case DT_i32:
	case DT_index: LOAD(int32_t, s[i]); break;
	case DT_bool:  LOAD(uint8_t, s[i] != 0); break;
	default:       ice("load_doubles of %s", dtype_info[dtype].name);
	}
#undef LOAD
}

void store_doubles(Dtype dtype, const double *from, int64_t n, void *to)
{
#define STORE(T, expr)                                                     \
	do {                                                               \
		T *d = to;                                                 \
		for (int64_t i = 0; i < n; i++)                            \
			d[i] = (T)(expr);                                  \
	} while (0)
	switch (dtype) {
	case DT_f32:   STORE(float, from[i]); break;
	case DT_f64:   STORE(double, from[i]); break;
	case DT_bf16:  STORE(uint16_t, double_to_bf16(from[i])); break;
	case DT_f16:   STORE(uint16_t, double_to_f16(from[i])); break;
	case DT_i32:
	case DT_index: STORE(int32_t, round_integer(from[i])); break;
	case DT_bool:  STORE(uint8_t, from[i] != 0); break;
	default:       ice("store_doubles of %s", dtype_info[dtype].name);
	}
#undef STORE
}

void entries_load(Dtype dtype, const void *from, int64_t n, double *to)
{
	load_doubles(dtype == DT_bool ? DT_i32 : dtype, from, n, to);
}

void entries_store(Dtype dtype, const double *from, int64_t n, void *to)
{
	store_doubles(dtype == DT_bool ? DT_i32 : dtype, from, n, to);
}
