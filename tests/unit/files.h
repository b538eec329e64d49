/* SPDX-License-Identifier: Apache-2.0
 * files: for tests of what reads files: a folder of their own, and what was said. */
#ifndef MOEC_FILES_H
#define MOEC_FILES_H

#include "../../io/io.h"
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An arena and a Diag whose text is kept. */
typedef struct {
	Arena *arena;
	Diag  *diag;
	FILE  *out;
	char  *text;
	size_t n;
} Said;

static inline Said *said_new(void)
{
	Arena *arena = arena_new();
	Said *s = NEW(arena, Said);

	s->arena = arena;
	s->out = open_memstream(&s->text, &s->n);
	s->diag = diag_new(arena, s->out);
	return s;
}

static inline const char *said(Said *s)
{
	fflush(s->out);
	return s->text;
}

static inline void said_free(Said *s)
{
	fclose(s->out);
	free(s->text);
	arena_free(s->arena);
}

static inline void put_file(const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(name, "wb");

	if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
		perror(name);
		exit(1);
	}
}

/* length | header | data bytes of 0, 1, 2, .. */
static inline void put_safetensors(const char *name, const char *header, size_t n,
				   size_t data)
{
	unsigned char *b = calloc(1, 8 + n + data);

	for (int i = 0; i < 8; i++)
		b[i] = (unsigned char)((uint64_t)n >> 8 * i);
	memcpy(b + 8, header, n);
	for (size_t i = 0; i < data; i++)
		b[8 + n + i] = (unsigned char)i;
	put_file(name, b, 8 + n + data);
	free(b);
}

static inline int remove_one(const char *path, const struct stat *st, int kind,
			     struct FTW *at)
{
	return remove(path);
}

static inline void remove_tree(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char files_folder[64];

static inline void leave_folder(void)
{
	if (chdir("/") == 0)
		remove_tree(files_folder);
}

/* From here on relative names lie in a fresh folder that goes away at exit. */
static inline void enter_folder(void)
{
	if (*files_folder)
		return;
	strcpy(files_folder, "/tmp/moec-test-XXXXXX");
	if (!mkdtemp(files_folder) || chdir(files_folder) != 0) {
		perror(files_folder);
		exit(1);
	}
	atexit(leave_folder);
}

#endif
