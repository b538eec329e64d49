/* SPDX-License-Identifier: Apache-2.0
 * data: seeded weights and inputs, as the interpreter and as compiled code read them. */
#ifndef MOEC_GEN_DATA_H
#define MOEC_GEN_DATA_H

#include "../../ir/eval.h"
#include "../../runtime/moert.h"
#include "gen.h"

typedef struct {
	WeightSource  source;           /* first: the interpreter's view */
	Arena        *arena;
	const Module *m;                /* that now asks: its derived weights too */
	Vec(const char *) names;
	Vec(const void *) data;
} GenWeights;
void        weights_open(Arena *, GenWeights *);
moert_weight_fn weights_get;            /* ctx: the GenWeights */

/* Entries that end right before a page that nobody may touch. */
void *guarded(size_t bytes);

typedef struct {
	const char *name;
	Type    type;
	int64_t rows, n;
	double *v;
	void   *raw;
} GenInput;
size_t entry_bytes(Dtype);              /* in the arrays of a call */
void   entries_load(Dtype, const void *from, int64_t n, double *to);
void   input_make(Arena *, const Value *arg, const Program *, int number, GenInput *);

#endif
