/* SPDX-License-Identifier: Apache-2.0
 * import: what import.c and import_stmt.c share: a layer on its way to a .moe. */
#ifndef MOEC_IMPORT_H
#define MOEC_IMPORT_H

#include "elab.h"
#include "print.h"

typedef Vec(const char *) Words;
typedef struct { const Node *def; Unit *unit; } Found;

typedef struct {
	Elab    *e;
	Printer  p;
	Dtype    stored;
	bool     layout;                /* in `weights`: strings are tensors */
	size_t   width;                 /* of the longest path there */
	Words    bound;                 /* names of the layer or function being printed */
	Vec(Found) functions;           /* called, of files that are not std.moe */
} Import;

/* import.c: its value, or poison: not known before the layer runs */
Val  import_value(Import *, const Node *);
/* for Printer.instead: a number or text in place of what is known */
const char *import_known(void *import, const Node *, int level);
/* import_stmt.c */
void import_braces(Import *, const Node *block);        /* { .. } */
void import_expr(Import *, const char *before, const Node *);

#endif
