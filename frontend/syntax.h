/* SPDX-License-Identifier: Apache-2.0
 * syntax: what scanner (moe.l), token stream (syntax.c) and grammar (moe.y) share. */
#ifndef MOEC_SYNTAX_H
#define MOEC_SYNTAX_H

#include "ast.h"
#include "moe.tab.h"

enum {
	SYNTAX_DEPTH  = 256,            /* of brackets, of blocks and of the tree */
	SYNTAX_ERRORS = 1000,
	SYNTAX_WORDS  = 256,            /* kept of what cannot be read */
	NAME_BYTES    = 255,
};

typedef struct {
	int          kind;              /* of the grammar; 0 at the end */
	MOE_STYPE    value;
	Loc          loc;
	const char  *text;              /* as written, n bytes; the scanner's memory */
	int          n;
	bool         first;             /* on its line */
	bool         again;             /* given once more after recovery */
} Token;

struct Syntax {
	Arena       *arena;
	Diag        *diag;
	const char  *file;
	Node        *root;              /* filled on the way: an abort keeps it */
	void        *scanner;
	int          line, col, last_line;
	int          errors;
	bool         dead;              /* too much is wrong: only the end follows */
	Token        last, before;      /* the token given last and the one before it */
	Token        held;              /* comes next when is_held */
	bool         is_held, skipping;
	Token        peeked;            /* comes behind held when is_peeked */
	bool         is_peeked;
	int          skipped;           /* the line that the last mistake stands in */
	int          close;             /* missing `}` still to be given before held */
	int          parens, braces;
	int          braces_before;     /* the token given last */
	Loc          opened[SYNTAX_DEPTH + 1];  /* the `{` still open */
	Vec(const char *) words;        /* since the last statement or item was read */
};

/* syntax.c */
void  syntax_error(Syntax *, DiagCode, Loc, const char *fmt, ...) PRINTF(4, 5);
/* The node itself, or a leaf when it is too deep to be walked. */
Node *syntax_bound(Syntax *, Node *);
/* A statement or item is read: its words are forgotten. */
Node *syntax_read(Syntax *, Node *list, Node *n);
/* One could not be read: what stands behind it may need the names that it would bind. */
Node *syntax_lost(Syntax *, Node *list, Loc);
/* An item of the file begins here, whatever was not closed before. */
bool  syntax_opens_item(const Token *);
/* syntax_report.c: says what was wanted in place of the token given last. */
void  syntax_unexpected(Syntax *, const char *const want[], int n);
/* moe.l */
void  moe_scan_open(Syntax *, const char *text, size_t n);
int   moe_scan(Token *, void *scanner);
const char *moe_scan_text(Syntax *, int *n);    /* of the last token */
void  moe_scan_close(Syntax *);

#endif
