/* SPDX-License-Identifier: Apache-2.0
 * random: Philox4x32-10 and what is drawn from it, the same bits on every machine.
 *
 * Nothing here calls libm but sqrt (correctly rounded everywhere): log, cos and the
 * normal quantiles are polynomials in + - * /, and the build forbids contraction to
 * fma. */
#include "eval.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define PI 3.14159265358979323846

void philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
	uint32_t a = ctr[0], b = ctr[1], c = ctr[2], d = ctr[3], k = key[0], l = key[1];

	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)0xD2511F53 * a, q = (uint64_t)0xCD9E8D57 * c;
		a = (uint32_t)(q >> 32) ^ b ^ k;
		b = (uint32_t)q;
		c = (uint32_t)(p >> 32) ^ d ^ l;
		d = (uint32_t)p;
		k += 0x9E3779B9;
		l += 0xBB67AE85;
	}
	out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* The key is (seed, sequence); the seed's upper half, mostly zero, stirs the latter. */
static void draw(uint32_t out[4], uint64_t seed, uint32_t seq, uint32_t site,
		 uint32_t position, uint32_t step, uint32_t i)
{
	uint32_t ctr[4] = {i, site, position, step};
	uint32_t key[2] = {(uint32_t)seed, seq ^ (uint32_t)(seed >> 32)};
	philox(out, ctr, key);
}

/* Never 0 or 1, before rounding to float: the 25 bits of the largest would round to 1. */
static double unit(uint32_t w)
{
	return (double)(w >> 8) * 0x1p-24 + 0x1p-25;
}

/* log x for 0 < x < 1 by 2 atanh((m - 1) / (m + 1)), m in [sqrt 1/2, sqrt 2) */
static double log_unit(double x)
{
	uint64_t bits;
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

/* cos(2 pi u) for 0 < u < 1: the nearest quarter turn exactly, then Taylor within pi/4 */
static double cos_turn(double u)
{
	int quarter = (int)(4 * u + 0.5);
	double x = 2 * PI * (u - quarter * 0.25), x2 = x * x, c = 1, s = 1;
	for (int k = 18; k >= 2; k -= 2) {
		c = 1 - c * x2 / (k * (k - 1));
		s = 1 - s * x2 / (k * (k + 1));
	}
	s *= x;
	switch (quarter & 3) {
	case 0:  return c;
	case 1:  return -s;
	case 2:  return -c;
	default: return s;
	}
}

float draw_uniform(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		   uint32_t step, uint32_t i)
{
	uint32_t w[4];
	draw(w, seed, seq, site, position, step, i);
	return (float)MIN(unit(w[0]), 0x1.fffffep-1);
}

float draw_normal(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		  uint32_t step, uint32_t i)
{
	uint32_t w[4];
	draw(w, seed, seq, site, position, step, i);
	return (float)(sqrt(-2 * log_unit(unit(w[0]))) * cos_turn(unit(w[1])));
}

uint32_t draw_step(double step)
{
	return step < 0 ? 0 : (uint32_t)(uint64_t)MIN(step, 0x1p53);
}

uint64_t name_hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h;
}

/* e^-t for 0 <= t < 16: Taylor of e^(t/64), to the 64th power, inverted */
static double exp_minus(double t)
{
	double x = t / 64, sum = 1;
	for (int k = 12; k >= 1; k--)
		sum = 1 + sum * x / k;
	for (int i = 0; i < 6; i++)
		sum *= sum;
	return 1 / sum;
}

/* The 65536 quantiles at (i + 1/2) / 65536.  Upwards from the median: each starts at a
 * Taylor step from its neighbour and takes a few Newton steps on
 *     Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...) */
enum { QUANTILES = 65536 };
static double quantile[QUANTILES];

static void make_quantiles(void)
{
	double inverse[200], x = 0, phi = 1 / sqrt(2 * PI);
	for (int k = 0; k < 200; k++)
		inverse[k] = 1.0 / (2 * k + 3);
	for (int i = QUANTILES / 2; i < QUANTILES; i++) {
		double p = (i + 0.5) / QUANTILES - 0.5;
		double d = (i == QUANTILES / 2 ? 0.5 : 1.0) / QUANTILES / phi;
		x += d + x * d * d / 2;
		d = 1;
		for (int round = 0; round < 6 && d * d > 1e-24; round++) {
			double term = x, sum = x;
			for (int k = 0; k < 200 && term > 1e-17 * sum; k++) {
				term *= x * x * inverse[k];
				sum += term;
			}
			phi = exp_minus(x * x / 2) / sqrt(2 * PI);
			d = (phi * sum - p) / phi;
			x -= d;
		}
		quantile[i] = x;
		quantile[QUANTILES - 1 - i] = -x;
	}
}

/* Eight 16-bit numbers a block: words low half first. */
static void normals_block(uint16_t out[8], uint64_t block, uint64_t seed, uint64_t stream)
{
	uint32_t w[4], ctr[4] = {(uint32_t)block, (uint32_t)(block >> 32),
				 (uint32_t)stream, (uint32_t)(stream >> 32)};
	philox(w, ctr, (uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)});
	for (int i = 0; i < 4; i++) {
		out[2 * i] = (uint16_t)w[i];
		out[2 * i + 1] = (uint16_t)(w[i] >> 16);
	}
}

/* The table in the stored type pays off from as many numbers as it has entries. */
#define FILL(T)                                                                     \
	do {                                                                        \
		T *d = to;                                                          \
		const T *q = table;                                                 \
		for (int64_t i = 0; i < n; block++) {                               \
			normals_block(word, block, seed, stream);                   \
			for (; lane < 8 && i < n; lane++, i++)                      \
				d[i] = q[word[lane]];                               \
			lane = 0;                                                   \
		}                                                                   \
	} while (0)

static void fill_from_table(size_t size, const void *table, void *to, int64_t first,
			    int64_t n, uint64_t seed, uint64_t stream)
{
	uint16_t word[8];
	uint64_t block = (uint64_t)first / 8;
	int lane = (int)(first % 8);

	if (size == 2)
		FILL(uint16_t);
	else if (size == 4)
		FILL(uint32_t);
	else
		FILL(uint64_t);
}

void random_normals(Dtype dtype, void *to, int64_t first, int64_t n, uint64_t seed,
		    uint64_t stream, double deviation)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_quantiles);

	size_t size = (size_t)dtype_info[dtype].bits / 8;
	if (size != 2 && size != 4 && size != 8)
		ice("random_normals of %s", dtype_info[dtype].name);
	if (n < QUANTILES) {
		uint16_t word[8];
		for (int64_t i = first; i < first + n; i++) {
			if (i == first || i % 8 == 0)
				normals_block(word, (uint64_t)i / 8, seed, stream);
			double x = quantile[word[i % 8]] * deviation;
			store_doubles(dtype, &x, 1,
				      (char *)to + (size_t)(i - first) * size);
		}
		return;
	}
	double scaled[64];
	_Alignas(8) unsigned char table[QUANTILES * 8];
	for (int i = 0; i < QUANTILES; i += 64) {
		for (int j = 0; j < 64; j++)
			scaled[j] = quantile[i + j] * deviation;
		store_doubles(dtype, scaled, 64, table + (size_t)i * size);
	}
	fill_from_table(size, table, to, first, n, seed, stream);
}
