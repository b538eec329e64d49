/* SPDX-License-Identifier: Apache-2.0
 * fuzz: what the fuzzers share: an arena and a silent Diag for each input, inputs as texts
 * and as files, and a way to say that something must hold. */
#ifndef MOEC_FUZZ_H
#define MOEC_FUZZ_H

#include "../../ir/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What does not hold is a finding, as a crash is. */
#define HOLDS(x, ...)                                                              \
	do {                                                                       \
		if (!(x)) {                                                        \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__,     \
				__LINE__, #x);                                     \
			fprintf(stderr, __VA_ARGS__);                              \
			abort();                                                   \
		}                                                                  \
	} while (0)

typedef struct {
	Arena *arena;
	Diag  *diag;
} Fuzz;

/* Messages are made and thrown away: they are part of what is tried. */
static inline Fuzz fuzz_begin(void)
{
	static FILE *nowhere;
	Fuzz f = {.arena = arena_new()};

	if (!nowhere && !(nowhere = fopen("/dev/null", "w")))
		abort();
	f.diag = diag_new(f.arena, nowhere);
	return f;
}

static inline void fuzz_end(Fuzz *f)
{
	arena_free(f->arena);
}

/* The input as a text of its own length, so that a byte too far is seen; texts end at their
 * first NUL byte.  free() it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	size_t n = strnlen((const char *)data, size);
	char *text = malloc(n + 1);

	if (!text)
		abort();
	memcpy(text, data, n);
	text[n] = '\0';
	return text;
}

/* The input as a regular file that lies only in memory. */
typedef struct {
	int  fd;
	char path[32];
} FuzzFile;

static inline FuzzFile fuzz_file(const uint8_t *data, size_t size)
{
	FuzzFile f = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};

	if (f.fd < 0 || write(f.fd, data, size) != (ssize_t)size)
		abort();
	snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
	return f;
}

#endif
