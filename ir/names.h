/* SPDX-License-Identifier: Apache-2.0
 * names: hashes and a map from texts or addresses, and what the two halves of the text form
 * (text.c prints, parse.c reads) must agree on. */
#ifndef MOEC_NAMES_H
#define MOEC_NAMES_H

#include "ir.h"

/* Keys are texts (compared by content, not copied) or addresses, of one sort in a map. */
typedef struct {
	Arena *arena;
	int    n, cap;
	struct MapEntry {
		const void *key;
		void       *value;
	}     *at;
} Map;
/* The place of a key's value, made (NULL) when it is new. */
void **map_text(Map *, const char *key);
void **map_address(Map *, const void *key);

/* FNV-1a: h is HASH_START or what came out for the bytes before. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_bytes(uint64_t h, const void *, size_t n);

enum { DEEPEST = 64 };                          /* nested regions */

bool is_word(const char *);             /* [A-Za-z_][A-Za-z0-9_.]*: needs no quotes */
bool is_word_char(char);
/* The numbers of a const: floats however they are written, whole ones without 0x..p. */
bool is_const_value(OpKind, const char *attr);
/* The level's symbol: E and R are followed by their range's number; "" for once. */
extern const char *const level_symbol[LV_ROW + 1];

#endif
