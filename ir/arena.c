/* SPDX-License-Identifier: Apache-2.0
 * arena: memory that is freed all together, growable arrays and texts in it. */
#include "base.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, CHUNK = 64 * 1024 };

typedef struct Chunk {
	struct Chunk *next;
	size_t used, size;              /* of at[] */
	_Alignas(16) char at[];
} Chunk;

struct Arena {
	Chunk *chunks;                  /* the first one has room */
};

void out_of_memory(size_t size)
{
	fprintf(stderr, "moec: error: out of memory (%zu bytes wanted) [%s]\n", size,
		diag_info[E_no_memory].code);
	exit(1);
}

Arena *arena_new(void)
{
	Arena *a = calloc(1, sizeof *a);

	if (!a)
		out_of_memory(sizeof *a);
	return a;
}

void arena_free(Arena *a)
{
	if (!a)
		return;
	for (Chunk *c = a->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(a);
}

/* calloc gives untouched pages for what is large, so zeroed costs nothing there. */
static Chunk *chunk_new(size_t size)
{
	size_t all;
	Chunk *c = size_add(size, sizeof(Chunk), &all) ? calloc(1, all) : NULL;

	if (!c)
		out_of_memory(size);
	c->size = size;
	return c;
}

void *arena_alloc(Arena *a, size_t size)
{
	size_t need;

	if (!size_round_up(size ? size : 1, ALIGN, &need))
		out_of_memory(size);
	if (need >= CHUNK / 4) {        /* a chunk of its own, behind the one with room */
		Chunk *own = chunk_new(need);
		own->used = need;
		if (a->chunks) {
			own->next = a->chunks->next;
			a->chunks->next = own;
		} else {
			a->chunks = own;
		}
		return own->at;
	}
	if (!a->chunks || a->chunks->size - a->chunks->used < need) {
		Chunk *c = chunk_new(CHUNK);
		c->next = a->chunks;
		a->chunks = c;
	}
	void *at = a->chunks->at + a->chunks->used;
	a->chunks->used += need;
	return at;
}

void *arena_array(Arena *a, size_t n, size_t size)
{
	size_t all;

	if (!size_mul(n, size, &all))
		out_of_memory(SIZE_MAX);
	return arena_alloc(a, all);
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = arena_alloc(a, len + 1);

	memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(Arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(Arena *a, const char *fmt, va_list args)
{
	va_list again;

	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return arena_strdup(a, "");
	char *s = arena_alloc(a, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, args);
	return s;
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	char *s = arena_vprintf(a, fmt, args);
	va_end(args);
	return s;
}

void *arena_grow(Arena *a, void *old, int *cap, size_t size)
{
	int more = *cap ? *cap : 4;

	if (*cap > INT_MAX - more)
		out_of_memory(SIZE_MAX);
	void *at = arena_array(a, (size_t)(*cap + more), size);
	if (*cap)
		memcpy(at, old, (size_t)*cap * size);
	*cap += more;
	return at;
}

Text text_new(Arena *a)
{
	Text t = {.arena = a, .cap = 64};

	t.s = arena_alloc(a, t.cap);
	return t;
}

void text_addn(Text *t, const char *s, size_t n)
{
	size_t need, cap = t->cap;

	if (!size_add(t->n, n, &need) || !size_add(need, 1, &need))
		out_of_memory(SIZE_MAX);
	if (need > cap) {
		if (!size_mul(cap, 2, &cap) || cap < need)
			cap = need;
		char *more = arena_alloc(t->arena, cap);
		memcpy(more, t->s, t->n);
		t->s = more;
		t->cap = cap;
	}
	memcpy(t->s + t->n, s, n);
	t->n += n;
	t->s[t->n] = '\0';
}

void text_add(Text *t, const char *s)
{
	text_addn(t, s, strlen(s));
}

void text_printf(Text *t, const char *fmt, ...)
{
	char small[256];
	va_list args, again;

	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(small, sizeof small, fmt, args);
	if (n >= 0 && (size_t)n < sizeof small)
		text_addn(t, small, (size_t)n);
	else if (n >= 0)
		text_addn(t, arena_vprintf(t->arena, fmt, again), (size_t)n);
	va_end(again);
	va_end(args);
}
