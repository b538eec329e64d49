/* SPDX-License-Identifier: Apache-2.0
 * print: syntax trees as .moe text again. */
#ifndef MOEC_PRINT_H
#define MOEC_PRINT_H

#include "ast.h"

typedef struct Printer Printer;
struct Printer {
	Text  t;
	int   indent;
	void *ctx;
	/* What stands for an expression whose neighbours bind at `level` (print_level), or
	 * NULL: it is printed as it was written. */
	const char *(*instead)(void *ctx, const Node *, int level);
	const char *(*string)(void *ctx, const char *);         /* a string's new text */
	const char *(*type)(void *ctx, const char *name);       /* an element type's name */
};

enum { LEVEL_ANY, LEVEL_NEG = 7, LEVEL_POSTFIX = 8 };
void print_expr(Printer *, const Node *, int level);
void print_list(Printer *, Node *const *, int n);       /* a, b, c */
void print_type_of(Printer *, const Node *);
void print_indent(Printer *);

#endif
