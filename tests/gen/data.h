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
	/* An expert's weights are those of the one `turn` further in its range, or the first
	 * one's; the rows of the router turn as well. */
	int64_t       turn;
	bool          alike, router;
} GenWeights;
void        weights_open(Arena *, GenWeights *);
moert_weight_fn weights_get;            /* ctx: the GenWeights */
int64_t     turned(const GenWeights *, int64_t expert);  /* whose weights it has now */

typedef struct {
	const char *name;
	Type    type;
	int64_t rows, n;
	double *v;
	void   *raw;
} GenInput;
void   input_make(Arena *, const Value *arg, const Program *, int number, GenInput *);

#endif
