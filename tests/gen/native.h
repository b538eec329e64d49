/* SPDX-License-Identifier: Apache-2.0
 * native: a program compiled, loaded, and called. */
#ifndef MOEC_GEN_NATIVE_H
#define MOEC_GEN_NATIVE_H

#include "data.h"

#include "../../foreign/foreign.h"
#include "../guarded.h"
#include "../loaded.h"

/* One set of tokens, for all configurations of a text: what goes in, and what the
 * interpreter says comes out. */
typedef struct {
	const Program *p;
	GenInput   inputs[4];
	EvalResult own;
	bool       interpreted;
} Case;

typedef struct {
	Arena        *arena;
	const char   *scratch;          /* folder of objects, with the runtimes' archives */
	Outcome      *out;
	/* the text */
	Module       *reference;        /* as the frontend made it */
	GenWeights    weights;
	Case          cases[MAX_CONFIGS];
	int           ncases, ninputs;
	/* this configuration: the module as it was compiled, and the loaded layer */
	const Program *p;
	Module       *m;
	Loaded        library;          /* here, or .. */
	Foreign      *foreign;          /* .. under qemu */
	moert_model  *model;
	Case         *at;               /* this call */
	Pages         pages;            /* of arrays of this configuration's calls */
} Native;

/* compile.c */
bool    native_frontend(Native *, const Program *, int n);
Verdict native_compile(Native *, const Program *);      /* one configuration, loaded */
bool    native_open(Native *, moert_model **);          /* with the weights as they are now */
void    native_shut(Native *, moert_model *);
bool    native_runs(Arena *, const Target *);           /* here or under qemu */
void    native_close(Native *);
/* The passes again, with a word after each. */
void    native_pipeline(Native *, void (*after)(void *native, const char *pass));

/* call.c: what one call gave */
typedef struct {
	int64_t  tokens;
	int      nouts;                 /* y and further outputs */
	void   **outs;
	size_t  *bytes;
	int32_t *picks;                 /* NULL: the layer reports none */
	float   *gates;
	float   *losses;
	int64_t  k;
} Answer;
typedef struct {
	moert_model *model;             /* NULL: the configuration's */
	int     threads;
	const int64_t *order;           /* which of the case's tokens; NULL: as they are */
	int64_t tokens;
	moert_session *session;         /* NULL: one for this call */
	int64_t nseq;                   /* with an order: its sequences, or 0 */
	const int64_t *seq, *seen;
	bool    picks, gates;           /* the layer reports them */
	bool    pool;                   /* the host's own parallel-for */
	bool    no_losses, padded;      /* not asked for; rows of x and y apart */
	const int32_t *picks_in;        /* routing given, or NULL */
	const float   *gates_in;
} Question;
bool native_call(Native *, const Question *, Answer *);

/* relations.c: what must hold to the bit between this answer and others */
bool relations_hold(Native *, const Question *, const Answer *);

#endif
