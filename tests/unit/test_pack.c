// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_pack: panels entry by entry as the formula of ir.h says, padding zero. */
#include <stdbool.h>
#include "unit.h"
#include "../../ir/ir.h"
#include "../../runtime/internal.h"

#include <stdlib.h>

static bool packs(Dtype dtype, int64_t n, int64_t k, int64_t cols, int64_t kpack,
		  int64_t streams)
{
	moert_weight w = {"w", -1, dtype, cols, kpack, n, k, streams, NULL, 0};
	size_t size = (size_t)moert_stored_bytes(dtype);
	w.bytes = moert_weight_bytes(&w);
	MUST(w.bytes > 0);
	unsigned char *natural = malloc((size_t)(streams * n * k) * size);
	unsigned char *packed = malloc((size_t)w.bytes),
		      *want = calloc(1, (size_t)w.bytes);
	memset(packed, 0xee, (size_t)w.bytes);
	for (size_t i = 0; i < (size_t)(streams * n * k) * size; i++)
		natural[i] = (unsigned char)(i * 37 + i / 251 + 1);
	int64_t panel = (k + kpack - 1) / kpack * kpack * cols * streams;
	for (int64_t s = 0; s < streams; s++) {
		const unsigned char *m = natural + (size_t)(s * n * k) * size;
		moert_pack_stream(&w, s, m, packed);
		for (int64_t c = 0; c < n; c++)
			for (int64_t i = 0; i < k; i++) {
				int64_t at =
				    c / cols * panel +
				    ((i / kpack * streams + s) * cols + c % cols) *
					kpack +
				    i % kpack;
				memcpy(want + (size_t)at * size,
				       m + (size_t)(c * k + i) * size, size);
			}
	}
	bool same = memcmp(packed, want, (size_t)w.bytes) == 0;
	free(natural);
	free(packed);
	free(want);
	return same;
}

static void test_panels(void)
{
	static const Dtype types[] = {DT_f32, DT_bf16, DT_bool, DT_f64};
	for (size_t i = 0; i < COUNT(types); i++) {
		CHECK(packs(types[i], 64, 128, 32, 1, 1));
		CHECK(packs(types[i], 64, 128, 32, 2, 2));
		CHECK(packs(types[i], 65, 129, 32, 2, 2));
		CHECK(packs(types[i], 1, 1, 16, 4, 3));
		CHECK(packs(types[i], 7, 33, 6, 2, 1));
		CHECK(packs(types[i], 100, 77, 48, 8, 1));
		CHECK(packs(types[i], 3, 200, 17, 4, 2));
	}
}

static void test_plain(void)
{
	moert_weight w = {"bias", -1, DT_bf16, 0, 0, 9, 1, 1, NULL, 18};
	uint16_t from[9], to[9];
	for (int i = 0; i < 9; i++)
		from[i] = (uint16_t)(i * 1000);
	CHECK(moert_weight_bytes(&w) == 18);
	moert_pack_stream(&w, 0, from, to);
	CHECK(memcmp(from, to, sizeof to) == 0);
}

static int64_t bytes_of(int64_t dtype, int64_t n, int64_t k, int64_t cols, int64_t kpack)
{
	moert_weight w = {"w", -1, dtype, cols, kpack, n, k, 1, NULL, 0};
	return moert_weight_bytes(&w);
}

static void test_sizes(void)
{
	CHECK(bytes_of(DT_bf16, 33, 7, 32, 2) == 64 * 8 * 2);
	CHECK(bytes_of(DT_COUNT, 1, 1, 1, 1) == -1);
	CHECK(bytes_of(DT_rows, 1, 1, 1, 1) == -1);
	CHECK(bytes_of(DT_f32, 0, 1, 1, 1) == -1);
	CHECK(bytes_of(DT_f32, 1, 1, 1, 3) == -1);
	CHECK(bytes_of(DT_f32, 1, 1, 1, 32) == -1);
	CHECK(bytes_of(DT_f32, INT64_MAX, 1, 32, 1) == -1);
	CHECK(bytes_of(DT_f32, (int64_t)1 << 40, (int64_t)1 << 30, 32, 1) == -1);
	CHECK(bytes_of(DT_f32, (int64_t)1 << 31, (int64_t)1 << 31, 32, 1) == -1);
}

SUITE("pack", {"panels", test_panels}, {"plain", test_plain}, {"sizes", test_sizes})
