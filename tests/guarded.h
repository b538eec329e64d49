/* SPDX-License-Identifier: Apache-2.0
 * guarded: arrays between pages that nobody may touch. */
#ifndef MOEC_GUARDED_H
#define MOEC_GUARDED_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Arrays end right before such a page, or begin right behind one; what else there is around
 * them, and what nobody has written, is NaN. */
typedef struct {
	bool under;                     /* begin behind one */
	int  n, cap;
	struct GuardedPiece { char *at; size_t bytes; } *piece;
} Pages;

static inline struct GuardedPiece *pages_piece(Pages *p)
{
	if (p->n == p->cap) {
		p->cap = 2 * p->cap + 16;
		p->piece = realloc(p->piece, (size_t)p->cap * sizeof *p->piece);
		if (!p->piece)
			abort();
	}
	return &p->piece[p->n++];
}

static inline void *guarded(Pages *p, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole = (bytes + page - 1) / page * page, all = whole + 2 * page;
	char *at = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);

	if (at == MAP_FAILED || (whole && mprotect(at + page, whole, PROT_READ | PROT_WRITE))) {
		fprintf(stderr, "no memory for a guarded array\n");
		abort();
	}
	*pages_piece(p) = (struct GuardedPiece){at, all};
	memset(at + page, 0xff, whole);
	return at + page + (p->under ? 0 : whole - bytes);
}

static inline void pages_free(Pages *p)
{
	for (int i = 0; i < p->n; i++)
		munmap(p->piece[i].at, p->piece[i].bytes);
	free(p->piece);
	*p = (Pages){.under = p->under};
}

#endif
