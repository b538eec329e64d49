/* SPDX-License-Identifier: Apache-2.0
 * pack: natural [n, k] matrices into the panels that kernels stream.
 *
 * Entry (column c, step k) of stream s lies in panel c / cols at
 *     ((k / kpack * streams + s) * cols + c % cols) * kpack + k % kpack
 * so the kpack entries of a step stay together: packing is a transpose of units of kpack
 * entries.  It goes tile by tile, 16 matrix rows of one cache line each: a tile is first
 * copied, because rows a power of two apart would drive one another out of the cache. */
#include "internal.h"

#include <string.h>

enum { ROWS = 16, LINE = 64, AHEAD = 4 * LINE };

/* Unit u of tile row r goes to to[u * step + r]. */
#define TRANSPOSE(T)                                                                \
	static void transpose_##T(const char (*tile)[LINE], int rows, int units,    \
				  char *to, int64_t step)                           \
	{                                                                           \
		for (int u = 0; u < units; u++) {                                   \
			T *restrict d = (T *)(to + u * step);                       \
			for (int r = 0; r < rows; r++)                              \
				d[r] = ((const T *)tile[r])[u];                     \
		}                                                                   \
	}
TRANSPOSE(uint16_t)
TRANSPOSE(uint32_t)
TRANSPOSE(uint64_t)

/* The same for full tiles, 16 bytes at a time: a square of units is transposed by
 * interleaving its rows pairwise, log2(size) times. */
typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint16_t octet __attribute__((vector_size(16)));

static inline void interleave_quads(quad v[4])
{
	const quad w[4] = {v[0], v[1], v[2], v[3]};
	for (int i = 0; i < 2; i++) {
		v[2 * i] = __builtin_shufflevector(w[i], w[i + 2], 0, 4, 1, 5);
		v[2 * i + 1] = __builtin_shufflevector(w[i], w[i + 2], 2, 6, 3, 7);
	}
}

static inline void interleave_octets(octet v[8])
{
	octet w[8];
	for (int i = 0; i < 8; i++)
		w[i] = v[i];
	for (int i = 0; i < 4; i++) {
		v[2 * i] = __builtin_shufflevector(w[i], w[i + 4],
						   0, 8, 1, 9, 2, 10, 3, 11);
		v[2 * i + 1] = __builtin_shufflevector(w[i], w[i + 4],
						       4, 12, 5, 13, 6, 14, 7, 15);
	}
}

#define FULL(V, SIZE, TIMES, interleave)                                            \
	static void full_##V(const char (*tile)[LINE], char *to, int64_t step)      \
	{                                                                           \
		for (int u = 0; u < LINE / 16; u++)                                 \
			for (int r = 0; r < ROWS; r += SIZE) {                      \
				V v[SIZE];                                          \
				for (int i = 0; i < SIZE; i++)                      \
					memcpy(&v[i], tile[r + i] + 16 * u, 16);    \
				for (int i = 0; i < TIMES; i++)                     \
					interleave(v);                              \
				for (int i = 0; i < SIZE; i++)                      \
					memcpy(to + (u * SIZE + i) * step +         \
					       r * (16 / SIZE), &v[i], 16);         \
			}                                                           \
	}
FULL(quad, 4, 2, interleave_quads)
FULL(octet, 8, 3, interleave_octets)

static void transpose(int64_t unit, const char (*tile)[LINE], int rows, int units,
		      char *to, int64_t step)
{
	bool full = rows == ROWS && units * unit == LINE;

	if (unit == 2 && full)
		full_octet(tile, to, step);
	else if (unit == 4 && full)
		full_quad(tile, to, step);
	else if (unit == 2)
		transpose_uint16_t(tile, rows, units, to, step);
	else if (unit == 4)
		transpose_uint32_t(tile, rows, units, to, step);
	else if (unit == 8)
		transpose_uint64_t(tile, rows, units, to, step);
	else
		for (int u = 0; u < units; u++)
			for (int r = 0; r < rows; r++)
				memcpy(to + u * step + r * unit, tile[r] + u * unit,
				       (size_t)unit);
}

/* A tile: `have` matrix rows from `from` on, a line of each, of which `bytes` are the
 * row's.  What is not there is padding: zeros. */
static void pack_tile(const char *from, int64_t row_bytes, int have, int rows,
		      int64_t bytes, int64_t unit, int units, char *to, int64_t step)
{
	_Alignas(LINE) char tile[ROWS][LINE];

	if (have < ROWS || bytes < LINE)
		memset(tile, 0, sizeof tile);
	for (int r = 0; r < have; r++, from += row_bytes) {
		__builtin_prefetch(from + AHEAD);
		if (bytes == LINE)
			memcpy(tile[r], from, LINE);
		else
			memcpy(tile[r], from, (size_t)bytes);
	}
	transpose(unit, (const char (*)[LINE])tile, rows, units, to, step);
}

/* Line by line along k, and there across the panel's columns: so the panel is written
 * from its begin to its end. */
static void pack_panel(const moert_weight *w, int64_t c0, const char *natural, char *to)
{
	int64_t entry = moert_stored_bytes(w->dtype), row_bytes = w->k * entry;
	int64_t unit = entry * w->kpack; /* divides a line: moert_weight_bytes */
	int64_t units = (w->k + w->kpack - 1) / w->kpack;
	int64_t step = w->nstreams * w->cols * unit;
	int64_t last = MIN(w->n - c0, w->cols);

	for (int64_t u = 0; u < units; u += LINE / unit) {
		int64_t at = u * unit, bytes = MIN(row_bytes - at, LINE);
		for (int64_t c = 0; c < w->cols; c += ROWS) {
			int64_t rows = MIN(ROWS, w->cols - c);
			int64_t have = MAX(0, MIN(rows, last - c));
			int64_t first = have ? (c0 + c) * row_bytes + at : 0;
			const char *from = natural + first;
			pack_tile(from, row_bytes, (int)have, (int)rows, bytes, unit,
				  (int)MIN(units - u, LINE / unit),
				  to + u * step + c * unit, step);
		}
	}
}

void moert_pack_stream(const moert_weight *w, int64_t s, const void *natural,
		       void *panels)
{
	if (!w->cols) {
		memcpy(panels, natural, (size_t)w->bytes);
		return;
	}
	int64_t npanels = (w->n + w->cols - 1) / w->cols;
	int64_t panel_bytes = w->bytes / npanels;
	int64_t column = moert_stored_bytes(w->dtype) * w->kpack;

	for (int64_t p = 0; p < npanels; p++)
		pack_panel(w, p * w->cols, natural,
			   (char *)panels + p * panel_bytes + s * w->cols * column);
}

int64_t moert_weight_bytes(const moert_weight *w)
{
	int64_t entry = moert_stored_bytes(w->dtype), n, k, bytes;

	if (!entry || w->n < 1 || w->k < 1 || w->nstreams < 1)
		return -1;
	if (!w->cols)
		return w->nstreams == 1 && moert_mul(w->n, w->k, &n) &&
				       moert_mul(n, entry, &bytes)
			       ? bytes : -1;
	if (w->cols < 1 || w->kpack < 1 || w->kpack > LINE || w->kpack * entry > LINE ||
	    LINE % (w->kpack * entry) != 0)
		return -1;
	if (!moert_add(w->n, w->cols - 1, &n) || !moert_add(w->k, w->kpack - 1, &k) ||
	    !moert_mul(n / w->cols * w->cols, k / w->kpack * w->kpack, &bytes) ||
	    !moert_mul(bytes, w->nstreams, &bytes) || !moert_mul(bytes, entry, &bytes))
		return -1;
	return bytes;
}
