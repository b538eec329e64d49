/* SPDX-License-Identifier: Apache-2.0
 * lex: the tokens of the IR's text form, and the one error that ends a parse. */
#ifndef MOEC_LEX_H
#define MOEC_LEX_H

#include "names.h"

typedef enum {
	TK_END,                         /* of the text, or after an error */
	TK_WORD, TK_STRING, TK_INT, TK_FLOAT,
	TK_VALUE,                       /* %name, without % */
	TK_FN,                          /* @name or @"name", without @ */
	TK_MARK,                        /* one of { } ( ) [ ] < > = , : -> .. */
} TokenKind;

typedef struct {
	TokenKind   kind;
	const char *s;                  /* arena text; of a mark its characters */
	int64_t     i;
	double      f;                  /* TK_INT too */
	Loc         loc;
} Token;

typedef struct {
	Arena      *arena;
	Diag       *diag;
	const char *file;
	const char *at, *line_start;    /* behind the token */
	int         line;
	bool        failed;             /* one error was reported; only TK_END follows */
	Token       tok;
} Lexer;

void lex_begin(Lexer *, Arena *, Diag *, const char *file, const char *text);
void lex_next(Lexer *);
/* The first error is reported, later ones are its echo.  Always false. */
bool lex_fail(Lexer *, DiagCode, Loc, const char *fmt, ...) PRINTF(4, 5);
bool lex_is(const Lexer *, const char *mark);           /* a mark or a word */
bool lex_accept(Lexer *, const char *mark);             /* steps over it if it is there */
bool lex_expect(Lexer *, const char *mark);
/* Whether the token behind the present one is this mark. */
bool lex_is_second(const Lexer *, const char *mark);
/* Whether `name =` or `"name" =` follows the present token. */
bool lex_names_follow(const Lexer *);

#endif
