/* SPDX-License-Identifier: Apache-2.0
 * random: weights and inputs made of Philox's numbers (../runtime/philox.c), the same bits
 * on every machine.
 *
 * Nothing here calls libm but sqrt (correctly rounded everywhere): the normal quantiles
 * are polynomials in + - * /, and the build forbids contraction to fma. */
#include "eval.h"
#include "names.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define PI 3.14159265358979323846

uint64_t name_hash(const char *s)
{
	return hash_bytes(HASH_START, s, strlen(s));
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
	moert_philox(w, ctr, (uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)});
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
