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

enum { ROWS = 16, LINE = 64 };

/* Units u of rows r from tile[r][u] to to[u * step + r]. */
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

static void transpose(int64_t unit, const char (*tile)[LINE], int rows, int units, char *to,
		      int64_t step)
{
	switch (unit) {
	case 2: transpose_uint16_t(tile, rows, units, to, step); return;
	case 4: transpose_uint32_t(tile, rows, units, to, step); return;
	case 8: transpose_uint64_t(tile, rows, units, to, step); return;
	}
	for (int u = 0; u < units; u++)
		for (int r = 0; r < rows; r++)
			memcpy(to + u * step + r * unit, tile[r] + u * unit, (size_t)unit);
}

/* The tiles of matrix rows c .. c+rows-1 along all of k.  Rows from `have` on, and entries
 * beyond k, are padding. */
static void pack_rows(const char *natural, int64_t row_bytes, int have, int rows,
		      int64_t unit, int64_t units, char *to, int64_t step)
{
	_Alignas(LINE) char tile[ROWS][LINE];
	int per_tile = (int)(LINE / unit);

	memset(tile, 0, sizeof tile);
	for (int64_t u = 0; u < units; u += per_tile) {
		int64_t at = u * unit;
		int64_t bytes = MIN(row_bytes - at, per_tile * unit);
		for (int r = 0; r < have; r++) {
			memcpy(tile[r], natural + r * row_bytes + at, (size_t)bytes);
			if (bytes < LINE)
				memset(tile[r] + bytes, 0, (size_t)(LINE - bytes));
		}
		transpose(unit, (const char (*)[LINE])tile, rows,
			  (int)MIN(units - u, per_tile), to + u * step, step);
	}
}

void moert_pack_stream(const moert_weight *w, int64_t s, const void *natural, void *panels)
{
	int64_t entry = moert_stored_bytes(w->dtype);

	if (!w->cols) {
		memcpy(panels, natural, (size_t)w->bytes);
		return;
	}
	int64_t unit = entry * w->kpack;                /* at most a line: moert_weight_bytes */
	int64_t units = (w->k + w->kpack - 1) / w->kpack;
	int64_t row_bytes = w->k * entry;
	int64_t step = w->nstreams * w->cols * unit;
	int64_t panel_bytes = units * step;
	char *to = (char *)panels + s * w->cols * unit;

	for (int64_t c0 = 0; c0 < w->n; c0 += w->cols, to += panel_bytes) {
		for (int64_t c = 0; c < w->cols; c += ROWS) {
			int64_t rows = MIN(ROWS, w->cols - c);
			int64_t have = MAX(0, MIN(rows, w->n - c0 - c));
			const char *from = have ? (const char *)natural + (c0 + c) * row_bytes
						: natural;
			pack_rows(from, row_bytes, (int)have, (int)rows, unit, units,
				  to + c * unit, step);
		}
	}
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
