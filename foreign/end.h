/* SPDX-License-Identifier: Apache-2.0
 * end: what our end of the socket is made of; see wire.h. */
#ifndef MOEC_FOREIGN_END_H
#define MOEC_FOREIGN_END_H

#include "foreign.h"
#include "wire.h"

#include <sys/types.h>

struct Foreign {
	Arena       *arena;             /* its own */
	const char  *qemu;
	int          fd;
	pid_t        pid;
	moert_layer  layer;
	const char  *target;            /* "": none is open */
};

/* What comes over the socket, as long as all is well; then zeros. */
typedef struct { Foreign *f; bool ok; } Reader;
int64_t     reader_word(Reader *);
const char *reader_text(Reader *);      /* "" where there is none */
/* The other end is gone: MOERT_INTERNAL, and why. */
int         foreign_lost(Foreign *, const char **why);

#endif
