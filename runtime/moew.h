/* SPDX-License-Identifier: Apache-2.0
 * moew: the format of packed weights, a little-endian file.
 *
 *     header   64 bytes, below
 *     images   one a layer, 4 KiB-aligned, as moert_places says: the weights that exist
 *              once, then each expert's together, each expert 4 KiB-aligned
 *     table    at the very end: for each layer its name, target, fingerprint and number
 *              of entries, then these in the layer's order, a weight's copies by expert
 *
 * In the table a text is a u32 length and its bytes, all else u64.  An entry:
 *     name, range, expert (both 2^64-1: once), dtype, cols, kpack, n, k, streams,
 *     offset, size, checksum */
#ifndef MOERT_MOEW_H
#define MOERT_MOEW_H

#include "internal.h"

static const char MOEW_MAGIC[8] = {'M', 'O', 'E', 'W', '\r', '\n', 0x1a, '\n'};
enum { MOEW_VERSION = 1, MOEW_PAGE = 4096, MOEW_TEXT = 4096 };  /* longest text */

typedef struct {
	char     magic[8];
	uint64_t version;
	uint64_t file_bytes;
	uint64_t table_at, table_bytes, table_checksum;
	uint64_t layers;
	uint64_t checksum;              /* of the fields before it */
} moew_header;

/* The numbers of an entry, in the file's order. */
enum {
	MOEW_RANGE, MOEW_EXPERT, MOEW_DTYPE, MOEW_COLS, MOEW_KPACK, MOEW_N, MOEW_K,
	MOEW_STREAMS, MOEW_OFFSET, MOEW_SIZE, MOEW_CHECKSUM, MOEW_NUMBERS
};

/* All but the checksum, as the layer says; base: where its image begins in the file. */
static inline void moew_entry(const moert_layer *l, const moert_places *p, int64_t weight,
			      int64_t copy, uint64_t base, uint64_t out[MOEW_NUMBERS])
{
	const moert_weight *w = &l->weights[weight];
	int64_t expert = w->range < 0 ? -1 : l->ranges[w->range].first + copy;
	const uint64_t numbers[MOEW_NUMBERS] = {
		(uint64_t)w->range, (uint64_t)expert, (uint64_t)w->dtype,
		(uint64_t)w->cols, (uint64_t)w->kpack, (uint64_t)w->n, (uint64_t)w->k,
		(uint64_t)w->nstreams,
		base + (uint64_t)moert_where(l, p, weight, copy), (uint64_t)w->bytes, 0,
	};
	for (int i = 0; i < MOEW_NUMBERS; i++)
		out[i] = numbers[i];
}

#endif
