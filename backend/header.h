/* SPDX-License-Identifier: Apache-2.0
 * header: what header.c and header_calls.c share while one C header is written. */
#ifndef MOEC_HEADER_H
#define MOEC_HEADER_H

#include "emit.h"

/* The layer, or one that it calls. */
typedef struct {
	Text         *t;
	const Module *m;
	const Fn     *fn;
	int           call;             /* its number, or -1 */
	const char   *name;             /* which C names begin with */
	int64_t       width, experts;
	int           nlosses;
	int64_t       rows;             /* entries of expert_rows */
	const Value  *picks, *gates;    /* what may be given or read out; NULL: neither */
} Header;

Header      header_of(Text *, const Module *, int call);
void        header_put(Header *, const char *text);     /* `@` stands for the name */
/* names[i], changed until it is a word of its own */
const char *header_word(Header *, const char **names, int n, int i);
void        header_sizes(Header *);
void        header_args(Header *);

/* header_calls.c: nothing where a layer calls none */
void        header_calls(Header *);             /* numbers, paths, routing */
void        header_call_runs(Header *);

#endif
