/* SPDX-License-Identifier: Apache-2.0
 * parse: what the parts of the parser share; see parse.c.  Every function may be called
 * after a failure and then does nothing of note. */
#ifndef MOEC_PARSE_H
#define MOEC_PARSE_H

#include "lex.h"

/* What a call of the model names, before functions are there. */
typedef struct { const char *fn; Loc loc; } Callee;

typedef struct {
	Lexer   lex;
	Module *m;
	Map     ops;                    /* op names -> op_info row */
	Map     known;                  /* "kind name" of what the module declares */
	Fn     *fn;
	Map     values;                 /* of the function: name -> Value, or ended */
	Vec(const char *) visible;      /* names that may be used here */
	int     depth;
	Vec(Callee) callees;            /* by the number of the call */
} Parser;

/* parse_type.c: names, numbers, types, attributes */
bool        mir_expected(Parser *, const char *what);      /* "expected what" */
const char *mir_name(Parser *, const char *what);     /* a word or text */
const char *mir_token(Parser *, TokenKind, const char *what);
int64_t     mir_int(Parser *, int64_t min, int64_t max);
double      mir_number(Parser *);
Dtype       mir_dtype(Parser *);
bool        mir_level(Parser *, Type *);
Type        mir_type(Parser *);
void        mir_attrs(Parser *, Op *);                /* { name=value, .. } */

/* parse_op.c: values, ops, regions */
void        mir_args(Parser *, Region *);             /* (%x: type, ..) */
void        mir_region(Parser *, Region *);

#endif
