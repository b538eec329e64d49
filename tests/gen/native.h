/* SPDX-License-Identifier: Apache-2.0
 * native: a program compiled, loaded, and called. */
#ifndef MOEC_GEN_NATIVE_H
#define MOEC_GEN_NATIVE_H

#include "data.h"

typedef struct {
	Arena        *arena;
	const Program *p;
	const char   *scratch;          /* folder of the object, with libmoert.a */
	Module       *reference, *m;    /* as the frontend made it; as it was compiled */
	GenWeights    weights;
	GenInput      inputs[4];
	int           ninputs;
	/* the loaded layer */
	int (*open)(moert_weight_fn *, void *, const moert_options *, moert_model **);
	int (*start)(moert_model *, const moert_session_options *, moert_session **);
	int (*run)(moert_session *, const moert_args *);
	void (*end)(moert_session *);
	void (*close)(moert_model *);
	moert_model  *model;
} Native;

/* compile.c: text to a loaded layer, with inputs */
Verdict native_compile(Native *);
/* The passes again, with a word after each. */
void native_pipeline(Native *, void (*after)(void *native, const char *pass));
/* call.c: what one call gave */
typedef struct {
	int      nouts;                 /* y and further outputs */
	void   **outs;
	size_t  *bytes;
	int32_t *picks;                 /* NULL: the layer reports none */
	float   *gates;
	float   *losses;
	int64_t  k;
} Answer;
typedef struct {
	int     threads;
	int64_t first, tokens;          /* of the program's tokens */
	bool    picks, gates;           /* the layer reports them */
	bool    pool;                   /* the host's own parallel-for */
	bool    no_losses, padded;      /* not asked for; rows of x and y apart */
	Answer *given;                  /* routing given, or NULL */
} Question;
bool native_call(Native *, const Question *, Answer *);
bool answers_same(const Answer *, const Answer *);
/* compare.c: against the interpreter */
bool native_compare(Native *, Outcome *);
#endif
