/* SPDX-License-Identifier: Apache-2.0
 * weights: a layer's weights in natural layout and their parameters' types: seeded random
 * ones, or a checkpoint's. */
#ifndef MOEC_WEIGHTS_H
#define MOEC_WEIGHTS_H

#include "../io/io.h"
#include "../ir/eval.h"
#include <pthread.h>

/* Both remember the module's parameters and load functions as they are now, in the types
 * they have now; passes may change the module afterwards, but must keep its load
 * functions. The module, the checkpoint, the arena and the Diag must outlive them. */
typedef struct Weights Weights;
Weights *weights_random(Arena *, Diag *, const Module *, uint64_t seed);
Weights *weights_checkpoint(Arena *, Diag *, const Module *, Checkpoint *);
/* Everything at once, with a progress line.  False: diagnostics say what is missing or
 * wrong; without it the first use of a weight finds out. */
bool     weights_load(Weights *, int threads);
/* get() makes a matrix at its first use and keeps it; from any thread.  NULL only after a
 * diagnostic, or for a parameter that the module did not have. */
WeightSource *weights_source(Weights *);
/* Gives one matrix's memory back; asked for again, it is made again. */
void     weights_release(Weights *, const Param *, int64_t expert);
void     weights_close(Weights *);

/* view.c: a tensor's entries where they lie */
typedef struct {
	const char *data;               /* may be unaligned */
	Dtype       dtype;
	const char *type;               /* what messages call it */
	const double *value;            /* NULL, or the entries are bytes: what each is */
	int         rank;
	int64_t     dim[8], stride[8];  /* in entries */
} View;
size_t  entry_size(Dtype);
size_t  view_size(const View *);        /* bytes of an entry */
int64_t view_entries(const View *);
void    view_row_major(View *);         /* sets the strides */
bool    view_contiguous(const View *);
void    view_copy(const View *, void *to);      /* row-major */
/* Entries of a contiguous view. */
void    view_doubles(const View *, int64_t from, int64_t n, double *to);
/* Each changes the view as the op does; false: it does not fit. */
bool    view_slice(const Op *, View *);
bool    view_transpose(View *);
bool    view_drop_ones(const Type *, View *);   /* [1, n, k] to [n, k] and back */

/* expand.c: quantised weights multiplied out, entries of type `to`; all contiguous. */
void    expand_scaled(const View *w, const View *scales, int64_t a, int64_t b, Dtype to,
		      void *out);
void    expand_mxfp4(const View *blocks, const View *scales, Dtype to, void *out);

/* The name that a weight has in a file of its own. */
const char *path_of(Arena *, const Param *, int64_t expert);

/* layout.c: one parameter's matrix out of a checkpoint */
typedef struct {
	Diag           *diag;
	const Module   *m;
	Checkpoint     *from;
	pthread_mutex_t lock; /* recursive; over checkpoint, diagnostics, noted */
	bool            noted;          /* a conversion was mentioned */
} Loader;
/* The entries, in the checkpoint's own memory where they lie there as wanted, else in
 * *owned (malloc).  NULL: one diagnostic. */
const void *load_param(Loader *, const Param *, int64_t expert, void **owned);

#endif
