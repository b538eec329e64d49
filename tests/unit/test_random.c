/* SPDX-License-Identifier: Apache-2.0
 * Conversions of stored types, Philox and what is drawn from it, the packed layout. */
#include "../../ir/eval.h"
#include "../../ir/names.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>

static void test_exhaustive(void)
{
	int bad = 0;
	for (uint32_t h = 0; h < 65536; h++) {
		double b = bf16_to_double((uint16_t)h), f = f16_to_double((uint16_t)h);
		if (isnan(b) ? !isnan(bf16_to_double(double_to_bf16(b)))
			     : double_to_bf16(b) != h)
			bad++;
		if (isnan(f) ? !isnan(f16_to_double(double_to_f16(f)))
			     : double_to_f16(f) != h)
			bad++;
	}
	CHECK(bad == 0);
	CHECK(f16_to_double(0x3c00) == 1 && f16_to_double(0x0001) == 0x1p-24);
	CHECK(f16_to_double(0x7bff) == 65504 && isinf(f16_to_double(0xfc00)));
	CHECK(bf16_to_double(0x3f80) == 1 && bf16_to_double(0xc000) == -2);
}

/* Between any two neighbours: the nearer, and the even one in the middle. */
static void test_halves(void)
{
	int bad = 0;
	for (uint32_t h = 0; h + 1 < 0x7c00; h++) {
		double a = f16_to_double((uint16_t)h);
		double b = f16_to_double((uint16_t)(h + 1));
		double mid = (a + b) / 2, tiny = (b - a) * 1e-9;
		bad += double_to_f16(mid) != (h & 1 ? h + 1 : h);
		bad += double_to_f16(mid - tiny) != h;
		bad += double_to_f16(mid + tiny) != h + 1;
	}
	for (uint32_t h = 0; h + 1 < 0x7f80; h++) {
		double a = bf16_to_double((uint16_t)h);
		double b = bf16_to_double((uint16_t)(h + 1));
		double mid = (a + b) / 2, tiny = (b - a) * 1e-9;
		bad += double_to_bf16(mid) != (h & 1 ? h + 1 : h);
		bad += double_to_bf16(mid - tiny) != h;
		bad += double_to_bf16(mid + tiny) != h + 1;
	}
	CHECK(bad == 0);
	CHECK(isinf(round_to(DT_f16, 65520)) && round_to(DT_f16, 65519.99) == 65504);
	CHECK(isinf(round_to(DT_bf16, 3.4e38)) && isinf(round_to(DT_f32, 1e39)));
	CHECK(round_to(DT_i32, 2.5) == 2 && round_to(DT_i32, 3.5) == 4);
	CHECK(round_to(DT_i32, 1e12) == INT32_MAX && round_to(DT_i32, NAN) == 0);
	CHECK(round_to(DT_bool, NAN) == 1 && round_to(DT_bool, 0.0) == 0);
}

static void test_load_store(void)
{
	double v[4] = {0, 1, -1, 5}, back[4];
	for (int d = 0; d < DT_COUNT; d++) {
		unsigned char stored[32];
		if (d == DT_rows)
			continue;
		store_doubles((Dtype)d, v, 4, stored);
		load_doubles((Dtype)d, stored, 4, back);
		for (int i = 0; i < 4; i++)
			CHECK(back[i] == (d == DT_bool ? v[i] != 0 : v[i]));
	}
}

/* The vectors published with Random123. */
static void test_philox(void)
{
	static const struct { uint32_t ctr[4], key[2], out[4]; } known[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};
	for (size_t i = 0; i < COUNT(known); i++) {
		uint32_t out[4];
		moert_philox(out, known[i].ctr, known[i].key);
		CHECK(memcmp(out, known[i].out, sizeof out) == 0);
	}
}

static void test_draws(void)
{
	enum { N = 200000 };
	double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n4 = 0;
	for (uint32_t i = 0; i < N; i++) {
		double u = (double)moert_uniform(1, 2, 3, i, 4, 5);
		double n = (double)moert_normal(1, 2, 3, 4, 5, i);
		MUST(u > 0 && u < 1 && isfinite(n));
		u1 += u, u2 += u * u;
		n1 += n, n2 += n * n, n4 += n * n * n * n;
	}
	CHECK(fabs(u1 / N - 0.5) < 0.003 && fabs(u2 / N - 1 / 3.0) < 0.003);
	CHECK(fabs(n1 / N) < 0.01 && fabs(n2 / N - 1) < 0.015 && fabs(n4 / N - 3) < 0.1);
	CHECK(moert_uniform(1, 2, 3, 4, 5, 6) != moert_uniform(1, 2, 3, 4, 6, 6));
	CHECK(moert_uniform(1, 2, 3, 4, 5, 6) != moert_uniform(1, 3, 3, 4, 5, 6));
	uint64_t other = 1ull << 32 | 1;
	CHECK(moert_uniform(1, 2, 3, 4, 5, 6) != moert_uniform(other, 2, 3, 4, 5, 6));
	CHECK(moert_draw_step(-1) == 0 && moert_draw_step(7) == 7);
}

static void test_normals(void)
{
	enum { N = 1 << 20 };
	float *v = malloc(N * sizeof *v);
	uint16_t *b = malloc(N * sizeof *b);
	double sum = 0, square = 0, fourth = 0, next = 0;
	random_normals(DT_f32, v, 0, N, 7, name_hash("gate"), 0.02);
	for (int i = 0; i < N; i++) {
		double x = (double)v[i] / 0.02;
		sum += x, square += x * x, fourth += x * x * x * x;
		next += i ? x * (double)v[i - 1] / 0.02 : 0;
	}
	CHECK(fabs(sum / N) < 0.005 && fabs(square / N - 1) < 0.01);
	CHECK(fabs(fourth / N - 3) < 0.05 && fabs(next / N) < 0.005);
	random_normals(DT_bf16, b, 0, N, 7, name_hash("gate"), 0.02);
	int bad = 0;
	for (int i = 0; i < N; i++) {       /* the same numbers, rounded once more */
		double x = (double)v[i];
		bad += fabs(bf16_to_double(b[i]) - x) > fabs(x) * 0x1p-8;
	}
	CHECK(bad == 0);
	/* any piece is a piece of the whole; the table's path and the short one agree */
	static const int64_t from[] = {0, 1, 7, 8, 12345, 777777};
	for (size_t i = 0; i < COUNT(from); i++)
		for (int64_t n = 1; n <= 100003; n = n * 10 + 3) {
			float *piece = malloc((size_t)n * sizeof *piece);
			random_normals(DT_f32, piece, from[i], n, 7, name_hash("gate"),
				       0.02);
			CHECK(memcmp(piece, v + from[i], (size_t)n * sizeof *piece) == 0);
			free(piece);
		}
	/* these bits on every machine */
	CHECK(hash_bytes(HASH_START, v, N * sizeof *v) == 0xf51ce8cda21f86eb);
	CHECK(hash_bytes(HASH_START, b, N * sizeof *b) == 0x178285da40056b07);
	free(v);
	free(b);
}

/* Each quantile of the table, through the C library's erfc. */
static void test_quantiles(void)
{
	enum { N = 1 << 19 };
	double *v = malloc(N * sizeof *v);
	double worst = 0;
	random_normals(DT_f64, v, 0, N, 3, 3, 1);
	for (int i = 0; i < N; i++) {
		double at = 0.5 * erfc(-v[i] / sqrt(2)) * 65536 - 0.5;
		worst = fmax(worst, fabs(at - rint(at)));
	}
	CHECK(worst < 1e-6);
	free(v);
}

static void test_panel(void)
{
	static const Panel panels[] = {
		{.nstreams = 2, .n = 10, .k = 7, .cols = 4, .kpack = 2},
		{.nstreams = 1, .n = 16, .k = 8, .cols = 16, .kpack = 1},
		{.nstreams = 3, .n = 1, .k = 1, .cols = 8, .kpack = 4},
	};
	for (size_t i = 0; i < COUNT(panels); i++) {
		const Panel *p = &panels[i];
		int64_t length;
		MUST(panel_length(p, &length));
		char *seen = calloc((size_t)length, 1);
		int bad = 0;
		for (int s = 0; s < p->nstreams; s++)
			for (int64_t c = 0; c < p->n; c++)
				for (int64_t k = 0; k < p->k; k++) {
					int64_t at = panel_at(p, s, c, k);
					bad += at < 0 || at >= length || seen[at]++;
				}
		CHECK(bad == 0);
		free(seen);
	}
	/* column 5: the second panel's 1; step 3: the second pack's 1 of 4 */
	int64_t at = 4 * 2 * 4 * 2 + ((1 * 2 + 1) * 4 + 1) * 2 + 1;
	CHECK(panel_at(&panels[0], 1, 5, 3) == at);
	int64_t length;
	CHECK(!panel_length(&(Panel){.nstreams = 1, .n = INT64_MAX / 2, .k = 8, .cols = 4,
				     .kpack = 1}, &length));
	CHECK(!panel_length(&(Panel){.nstreams = 1, .n = 4, .k = 4}, &length));
}

SUITE("random",
      {"every 16-bit float and back", test_exhaustive},
      {"half to even", test_halves},
      {"load and store", test_load_store},
      {"Philox", test_philox},
      {"draws", test_draws},
      {"random weights", test_normals},
      {"normal quantiles", test_quantiles},
      {"packed layout", test_panel})
