/* SPDX-License-Identifier: Apache-2.0
 * eval: the reference interpreter, the oracle for every generated kernel.
 *
 * It runs both levels in plain C loops: sums in double, roundings only where the IR says
 * cast, and beside each float the error bound that a correct f32 kernel keeps to. */
#ifndef MOEC_EVAL_H
#define MOEC_EVAL_H

#include "ir.h"
#include "../runtime/philox.h"

/* What `group` makes: row r is pick `slot` of `token`, for `expert` (absolute; the range
 * begins at `first`).  Sorted by expert, then token, then slot. */
typedef struct {
	int64_t  n, first, slots;       /* slots: picks a token */
	int64_t *token, *slot, *expert;
} Rows;

/* A value at run time.  n entries = rows (level's count) x trailing shape, row-major.
 * Integers, bools and indices are doubles too (none is -1): one loop serves all. */
typedef struct {
	Type    type;
	int64_t rows;                   /* 1 for LV_ONCE */
	int64_t n;
	double *v;
	double *err;                    /* bound of |kernel - v|, or NULL: exact */
	const Rows  *at;                /* LV_ROW: which rows these are */
	/* A weight not yet read has v NULL and one of: */
	const Param *param;
	const void  *raw;               /* n entries of the stored type `stored` */
	Dtype        stored;
} Tensor;

/* Where weights come from: natural layout, stored type, one matrix at a time (so that
 * gigabytes never become doubles).  expert: absolute number for LV_EXPERT, else -1.
 * Returns NULL when it has none (eval then reports which). */
typedef struct WeightSource {
	const void *(*get)(struct WeightSource *, const Param *, int64_t expert);
} WeightSource;

typedef struct {
	const char   *name;             /* the function argument */
	const double *v;                /* rows x shape; stored types: already rounded */
} EvalInput;

typedef struct EvalState EvalState;     /* the states of a session; NULL: fresh ones */
EvalState *eval_state_new(void);
void       eval_state_free(EvalState *);

/* [T, picks]: -1 none. */
typedef struct {
	int32_t *picks;
	float   *gates;
	int64_t  k;                     /* picks a token */
} EvalRouting;

typedef struct {
	int64_t        tokens;
	int            nseq;            /* 0: one sequence of all tokens */
	const int64_t *seq;             /* nseq + 1 offsets, from 0 to tokens */
	const EvalInput *inputs;
	int            ninputs;
	WeightSource  *weights;
	EvalState     *state;
	uint64_t       seed;
	double         step;            /* < 0: training is over */
	bool           bounds;          /* compute err as well */
	/* Routing given: [T, picks] replace the layer's own; NULL: its own. */
	const int32_t *picks;
	const float   *gates;
	const EvalRouting *calls;       /* the same of each layer that a model calls, or NULL */
	/* The op `tensor`: the checkpoint's entries, of the given type's dtype and shape,
	 * valid until eval_fn returns; NULL: no such tensor.  For load functions. */
	const void  *(*tensor)(void *ctx, const char *name, const Type *);
	void          *tensor_ctx;
	/* A result that is a tensor's entries as they lie stays so: v NULL, raw set. */
	bool           keep_raw;
} EvalCall;

typedef struct {
	Tensor  *outs;                  /* the results of the function, in order */
	int      nouts;
	int32_t *picks;                 /* [T, picks] that ran, -1 none; or NULL */
	float   *gates;
	EvalRouting *calls;             /* of each layer that a model calls */
	/* [T] how far, in error bounds, the routing is from changing: kernels may choose
	 * differently where gap < 1.  NULL without bounds. */
	double  *gap;
} EvalResult;

/* Marks in the IR: `stop` with {given=pick} (index[picks], T) and {given=gate} is what
 * EvalCall.picks and .gates replace, and what EvalResult.picks and .gates report; with
 * {call=N} it is the Nth entry of .calls.
 *
 * With a module `group`, @layer runs group by group: losses are the mean over the groups,
 * T and S results are put together, a call-level result is the last group's.
 *
 * Runs fn.  False: *why says what failed (a missing weight, out of memory). */
bool eval_fn(Arena *, const Module *, const Fn *, const EvalCall *, EvalResult *,
	     const char **why);

/* One op alone, for tests and for folding: args as tensors, result allocated. */
bool eval_op(Arena *, const Module *, const Op *, const Tensor *args, Tensor *outs,
	     const char **why);

/* convert.c: stored types to double and back (half to even) */
double bf16_to_double(uint16_t);
uint16_t double_to_bf16(double);
double f16_to_double(uint16_t);
uint16_t double_to_f16(double);
/* Numbers that are only stored in files; fp4: the lower four bits. */
double e4m3_value(unsigned byte), e5m2_value(unsigned byte), e8m0_value(unsigned byte);
double fp4_value(unsigned code);
void   load_doubles(Dtype, const void *from, int64_t n, double *to);
void   store_doubles(Dtype, const double *from, int64_t n, void *to);
/* The same of a call's arrays, in which a bool is an i32. */
void   entries_load(Dtype, const void *from, int64_t n, double *to);
void   entries_store(Dtype, const double *from, int64_t n, void *to);
double round_to(Dtype, double);

/* eval_panel.c: where column c, step k of stream s lies in its packed block, and the
 * block's length in entries (false: overflow). */
int64_t panel_at(const Panel *, int s, int64_t c, int64_t k);
bool    panel_length(const Panel *, int64_t *entries);

/* random.c; draws are ../runtime/philox.h's */
/* n weights N(0, deviation), stored as dtype; `stream` differs for every matrix.  Fast:
 * bench makes gigabytes.  Inputs use the same with deviation 1. */
void random_normals(Dtype, void *to, int64_t first, int64_t n, uint64_t seed,
		    uint64_t stream, double deviation);
uint64_t name_hash(const char *);       /* FNV-1a: a weight's stream number */

#endif
