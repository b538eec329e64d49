/* SPDX-License-Identifier: Apache-2.0
 * names: hash maps (open addressing, at most half full) and what counts as a word. */
#include "names.h"

#include <ctype.h>
#include <string.h>

const char *const level_symbol[] = {
	[LV_ONCE] = "",   [LV_EXPERT] = "E", [LV_SEQ] = "S",
	[LV_TOKEN] = "T", [LV_ROW] = "R",
};

WRAPS uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * 0x100000001b3;
	return h;
}

WRAPS static uint64_t hash_address(const void *p)
{
	return (uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15;
}

static struct MapEntry *probe(struct MapEntry *at, int cap, const void *key, bool text)
{
	uint64_t h = text ? hash_bytes(HASH_START, key, strlen(key)) : hash_address(key);

	for (uint64_t i = h ^ h >> 32;; i++) {
		struct MapEntry *e = &at[i & (uint64_t)(cap - 1)];
		if (!e->key || e->key == key || (text && strcmp(e->key, key) == 0))
			return e;
	}
}

static void **map_place(Map *m, const void *key, bool text)
{
	if (m->n * 2 >= m->cap) {
		int cap = m->cap ? m->cap * 2 : 16;
		struct MapEntry *more = NEWN(m->arena, struct MapEntry, (size_t)cap);
		for (int i = 0; i < m->cap; i++)
			if (m->at[i].key)
				*probe(more, cap, m->at[i].key, text) = m->at[i];
		m->at = more;
		m->cap = cap;
	}
	struct MapEntry *e = probe(m->at, m->cap, key, text);
	if (!e->key) {
		e->key = key;
		m->n++;
	}
	return &e->value;
}

void **map_text(Map *m, const char *key)
{
	return map_place(m, key, true);
}

void **map_address(Map *m, const void *key)
{
	return map_place(m, key, false);
}

bool is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.';
}

bool is_word(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	for (; *s; s++)
		if (!is_word_char(*s))
			return false;
	return true;
}

bool is_const_value(OpKind kind, const char *attr)
{
	return kind == OP_const && strcmp(attr, "value") == 0;
}
