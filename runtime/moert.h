/* SPDX-License-Identifier: Apache-2.0
 * moert: opening and running a compiled layer.  The header of each compiled library wraps
 * these calls under the layer's own name (mixtral_open, mixtral_run, ..).
 *
 * Units     strides are bytes; tokens, sequences and experts are counted from 0.
 * Shapes    T tokens, H the layer's width, K picks a token; the last axis is dense.
 * Alignment x, y and further arrays need that of their elements; 64 bytes is best.
 * Aliasing  outputs must not overlap inputs or one another.
 * Ownership the caller owns every array it passes and may free it when the call returns;
 *           models and sessions belong to the library until closed and ended.
 * Errors    every int result is 0 or a number of errors.def; moert_error() says it in
 *           words.  After an error of run the outputs are undefined, the session usable.
 * Threads   a model may be used by any number of threads at once; a session by one at a
 *           time (a second one gets MOERT_BUSY).  No globals, no signals, no locale.
 * Bits      results do not depend on the number of threads. */
#ifndef MOERT_H
#define MOERT_H

#include "cpu.h"
#include "layer.h"

enum {
#define ERROR(name, number, sentence) MOERT_##name = number,
#include "errors.def"
#undef ERROR
};
/* A constant sentence, also for numbers that are no error of ours. */
const char *moert_error(int);

typedef struct moert_model moert_model;
typedef struct moert_session moert_session;

enum {
	MOERT_MMAP  = 1,        /* map the file instead of reading it: whoever shrinks it
				   kills the process, and checksums are not looked at */
	MOERT_TRUST = 2,        /* read without checking checksums */
};

/* Structures begin with their size, so that they can grow: zero what is not set. */
typedef struct {
	size_t   size;
	uint64_t flags;
	char    *why;           /* text of what went wrong, or NULL */
	size_t   why_size;
	const char *target;             /* of a library for several: this one; NULL: the best */
} moert_options;

/* Runs fn(arg, i) for i in 0 .. n-1, in any order and on any threads; returns when all
 * are done. */
typedef void moert_parallel_for(void *ctx, int n, void (*fn)(void *arg, int i),
				void *arg);

/* Told of every piece of a call by the thread that did it, as soon as it is done: `step` is
 * the kernel's name, or NULL where the thread waited for others; begin and end are
 * nanoseconds of CLOCK_MONOTONIC. */
typedef void moert_span(void *ctx, int worker, const char *step, int64_t begin,
			int64_t end);

typedef struct {
	size_t              size;
	int64_t             threads;            /* 0: as many as the process may run on */
	moert_parallel_for *parallel_for;       /* the host's own pool, or NULL */
	void               *ctx;
	moert_span         *span;               /* or NULL */
	void               *span_ctx;
} moert_session_options;

/* [T, K] of one layer that a model calls. */
typedef struct {
	const int32_t *picks_in;
	const float   *gates_in;
	int32_t       *picks_out;
	float         *gates_out;
} moert_routing;

typedef struct {
	size_t         size;
	const void    *x;               /* [T, H] in the layer's type */
	int64_t        tokens;          /* T; 0 is a valid call, which does nothing */
	void          *y;               /* [T, H] */
	/* optional from here on: 0 or NULL */
	int64_t        x_stride, y_stride;      /* bytes from row to row; 0: dense */
	int64_t        nseq;            /* sequences in the call; 0: all tokens are one */
	const int64_t *seq;             /* [nseq + 1] first token of each, and T */
	const int64_t *seen;            /* [nseq] tokens each had before this call */
	uint64_t       seed;
	const double  *step;            /* training step; NULL: training is over */
	const int32_t *picks_in;        /* [T, K] routing given: expert or -1 */
	const float   *gates_in;        /* [T, K] both or neither */
	int32_t       *picks_out;       /* [T, K] routing read out */
	float         *gates_out;
	float         *losses;          /* in declaration order; NULL: not computed */
	const void *const *inputs;      /* inputs after x, in declaration order, dense */
	void *const   *outputs;         /* outputs after y; NULL entries: not wanted */
	const moert_routing *routing;   /* of a model: one for each layer that it calls */
	int64_t       *expert_rows;     /* rows of each expert, one `experts(..)` after the
					   other; NULL: not counted */
	/* Of a layer with `defer`: the tokens that waited lead the call, so that all arrays of
	 * results have T + queue[2] of the call before rows.  NULL: nobody waits. */
	int64_t       *arrivals;        /* of each such row the number of its token, counted
					   as they arrived; -1: it waits, or was dropped */
	int64_t       *queue;           /* [4] so far: arrived, processed, waiting, dropped */
} moert_args;

/* A natural weight: [n, k] row-major in the stored type.  range and expert (its number in
 * the layer) are -1 for weights that exist once.  NULL: missing.  The memory must stay
 * until the next call. */
typedef const void *moert_weight_fn(void *ctx, const moert_layer *, const char *name,
				    int64_t range, int64_t expert);

/* The path of its weights; NULL: the model makes no call of that number. */
const char *moert_path(const moert_layer *, int64_t number);

/* Entries of expert_rows that belong to the steps in front of this one; of a layer's
 * nsteps: all that there are. */
int64_t moert_rows_before(const moert_layer *, int64_t step);

/* model.c: path is a .moew file; options may be NULL.  On error *model is NULL. */
int     moert_open(const moert_layer *, const char *path, const moert_options *,
		   moert_model **);
int     moert_open_memory(const moert_layer *, moert_weight_fn *, void *ctx,
			  const moert_options *, moert_model **);
int64_t moert_bytes(const moert_model *);               /* of weights in memory */
const char *moert_target(const moert_model *);          /* whose kernels it runs */
void    moert_close(moert_model *);     /* NULL is allowed; sessions may still be open */

/* session.c, call.c */
int     moert_start(moert_model *, const moert_session_options *, moert_session **);
int     moert_run(moert_session *, const moert_args *);
/* The layer that is call `number` of a model, alone; `of`: its name in the source. */
int     moert_run_call(moert_session *, const char *of, int64_t number,
		       const moert_args *);
void    moert_reset(moert_session *);                   /* forget all states; or NULL */
/* Those of one sequence, by its place in calls; one that was never there has none. */
void    moert_forget(moert_session *, int64_t sequence);
/* Goes on with another model of the same layer, that is with other weights; states stay. */
int     moert_use(moert_session *, moert_model *);
void    moert_end(moert_session *);                     /* NULL is allowed */

/* moew_write.c: packs layers into one file, written as PATH.PID-N.tmp and renamed. */
int     moert_pack(const moert_layer *const *, int64_t nlayers, moert_weight_fn *,
		   void *ctx, const char *path, const moert_options *);

#endif
