/* SPDX-License-Identifier: Apache-2.0
 * checksum: 64 bits of any bytes, for damage, not for malice.
 *
 * Four lanes take a word each in turn (multiply, rotate: every step invertible, so that
 * no single changed word goes unnoticed), which is faster than any disk. */
#include "internal.h"

#include <string.h>

static const uint64_t ODD = 0x9E3779B97F4A7C15, ODD2 = 0xD6E8FEB86659FD93;

WRAPS static uint64_t mix(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * ODD;
	return lane << 29 | lane >> 35;
}

WRAPS static uint64_t finish(uint64_t h)
{
	h = (h ^ h >> 32) * ODD2;
	h = (h ^ h >> 29) * ODD;
	return h ^ h >> 32;
}

uint64_t moert_checksum(const void *data, int64_t bytes)
{
	const unsigned char *p = data;
	uint64_t lane[4] = {1, 2, 3, 4}, word[4], h = (uint64_t)bytes;

	for (; bytes >= 32; bytes -= 32, p += 32) {
		memcpy(word, p, 32);
		for (int i = 0; i < 4; i++)
			lane[i] = mix(lane[i], word[i]);
	}
	memset(word, 0, sizeof word);
	if (bytes)
		memcpy(word, p, (size_t)bytes);
	for (int i = 0; i < 4; i++)
		h = finish(h ^ mix(lane[i], word[i]));
	return h;
}
