/* SPDX-License-Identifier: Apache-2.0
 * layer: what a compiled layer hands to the runtime, and what the runtime hands to kernels.
 *
 * The compiler (backend/lower) writes these structures as constants; kernels read the second
 * half through fixed offsets.  Every field is 8 bytes wide, so that the layout is the same
 * on every 64-bit target.  Compiled layer and runtime are linked together: no version skew. */
#ifndef MOERT_LAYER_H
#define MOERT_LAYER_H

#include <stddef.h>
#include <stdint.h>

/* Element types of buffers: the numbers of ../ir/dtypes.def.  A bool is kept as an int32. */
typedef enum { MOERT_ONCE, MOERT_EXPERT, MOERT_SEQ, MOERT_TOKEN, MOERT_ROW } moert_level;

/* ---- while a call runs -------------------------------------------------------------- */

typedef struct { char *at; int64_t stride; } moert_view;        /* bytes between rows */

/* The routed rows of one expert range: by expert, then token, then slot. */
typedef struct {
	int64_t        n;               /* rows */
	const int32_t *token, *slot;    /* of each row */
	const int32_t *expert;          /* of each row, counted from the range's first */
	const int64_t *start;           /* [count + 1] first row of each expert */
	const int32_t *row;             /* [T * picks] row of each (token, slot), or -1 */
	const int32_t *active;          /* experts that have rows, ascending */
	int64_t        nactive;
} moert_rows;

typedef struct {
	const void *const *weight;      /* this expert's copy of a weight, by its number in the
					   layer's table; NULL for weights it has none of */
} moert_expert;

typedef struct moert_call {
	const moert_view   *buf;        /* every value between kernels, by buffer number */
	const void *const  *weight;     /* weights that exist once, by their number in the table */
	const moert_expert *const *expert;      /* [range][expert counted from its first] */
	const moert_rows   *rows;       /* by range */
	int64_t             tokens, sequences;
	const int32_t      *position;   /* [T] place in its sequence */
	const int32_t      *sequence;   /* [T] its sequence */
	double              step;
	uint64_t            seed;
	int64_t             weight_base;        /* of the step, where tables are not shifted */
} moert_call;

/* Rows row0 .. row1-1 of `over`; scratch: the step's scratch bytes, 64-byte aligned. */
typedef void moert_map_fn(const moert_call *, int64_t row0, int64_t row1, void *scratch);

/* One panel against rows row0 .. row1-1.  k0, k1: this block of the summed axis; between
 * blocks the accumulators wait in acc ([row1 - row0][streams * cols]). */
typedef struct moert_task {
	const void        *panel;       /* at k = 0 */
	const void *const *weight;      /* the expert's other weights, or the layer's */
	int64_t            number;      /* of the panel: columns number * cols .. */
	int64_t            row0, row1;
	int64_t            k0, k1;
	float             *acc;
	float             *sink;        /* combine: [T][cols] sums */
	const char        *next;        /* what to bring into L2 meanwhile, or NULL */
	int64_t            next_bytes;
} moert_task;
/* The most panels that pass a tile's rows side by side: 8 are no faster on Cascade Lake. */
enum { MOERT_BESIDE = 4 };
/* n: 1, or that many panels, one behind another, a task each: of the same rows, no more than a
 * tile has, and of all k. */
typedef void moert_contract_fn(const moert_call *, const moert_task *, int64_t n);
/* The sums of tokens t0 .. t1-1 of one panel's columns through the finish ops into y. */
typedef void moert_finish_fn(const moert_call *, const float *sink, int64_t number,
			     int64_t t0, int64_t t1);

/* ---- the compiled layer, constant ---------------------------------------------------- */

typedef enum { MOERT_TEMP, MOERT_INPUT, MOERT_OUTPUT, MOERT_LOSS, MOERT_STATE } moert_role;
typedef struct {
	const char *name;
	int64_t     role, dtype, level, range;
	int64_t     elems;              /* trailing entries a row */
	int64_t     given;              /* 1: picks, 2: gates, that may be given or read out;
					   3 + 2 N, 4 + 2 N: those of call N */
	int64_t     writer;             /* .. by which step they are written */
	int64_t     next;               /* STATE: the buffer of what it will be */
	const void *init;               /* .. and each entry of it at first */
} moert_buf;

/* A weight as kernels read it: plain (row-major, one stream) or panels. */
typedef struct {
	const char        *name;        /* "router", "gate+up" */
	int64_t            range;       /* expert range, or -1: once */
	int64_t            dtype;
	int64_t            cols, kpack; /* 0: plain */
	int64_t            n, k;        /* of each stream; plain: n entries, k = 1 */
	int64_t            nstreams;
	const char *const *streams;     /* names of the natural weights, [n, k] each */
	int64_t            bytes;       /* one copy, padding included */
} moert_weight;

typedef struct { int64_t first, count; } moert_range;

/* Work, which threads share; then what only says which step comes next:
 *
 *   IF cond, side, to    where a value of the call is not so: to `to`, behind the region
 *   WHERE cond, side, to  the tokens for which it is so take part, until LEAVE; none: to `to`
 *   LEAVE
 *   REPEAT               a loop of at most `most` rounds ..
 *   UNTIL done, to       .. which goes back to behind the REPEAT at `to`
 *   SCAN to              token after token of each sequence takes part, all sequences at once
 *                        (side 1: each alone), until ..
 *   AGAIN to             .. the SCAN at `to` has no more */
typedef enum {
	MOERT_MAP, MOERT_CONTRACT, MOERT_CROSS, MOERT_GROUP,
	MOERT_MOVE,                     /* rows of one buffer to those of another */
	MOERT_ALONG,                    /* maps and moves up to `to`, token after token */
	MOERT_IF, MOERT_WHERE, MOERT_LEAVE, MOERT_REPEAT, MOERT_UNTIL, MOERT_SCAN, MOERT_AGAIN
} moert_step_kind;
/* MOVE: whether row i is, there, the row of the i-th token that takes part. */
enum { MOERT_FROM_OUTSIDE = 1, MOERT_TO_OUTSIDE = 2 };
typedef enum {
	MOERT_SUM, MOERT_MEAN, MOERT_AMIN, MOERT_AMAX, MOERT_ANY, MOERT_ALL,
	MOERT_LOGSUMEXP, MOERT_SOFTMAX, MOERT_CUMSUM, MOERT_RANK
} moert_cross_op;

typedef struct {
	const char        *name;        /* of the kernel, for traces */
	int64_t            kind;
	int64_t            over, range; /* level of its rows */
	int64_t            loss_only;   /* needed only when losses are asked for */
	int64_t            routing_only;        /* .. or where the routing is not given */
	int64_t            scratch;     /* bytes a thread */
	/* MAP; CONTRACT with a tail: what follows on the finished rows */
	moert_map_fn      *map;
	/* CONTRACT */
	moert_contract_fn *contract;
	moert_finish_fn   *finish;      /* not NULL: the sink is a combine */
	int64_t            weight;      /* number of its panels among the weights */
	int64_t            panels;      /* ceil(n / cols) */
	int64_t            panel_bytes;
	int64_t            width;       /* streams * cols: columns of acc */
	int64_t            k, kblock;   /* kblock 0: all at once */
	int64_t            tile_rows;
	/* Where a panel passes more rows than a tile has: at most rblock rows (0: all of them)
	 * stay in L2 while the blocks of up to `together` panels pass in turn. */
	int64_t            rblock, together;
	/* CROSS: in -> out; over sequences or tokens; GROUP: in = picks, range */
	int64_t            op, by_sequence, in, out;
	/* GROUP, side 1: the rows of step `to` once more, which others took the place of.
	 * MOVE: in -> out, which of them is outside; a row of a sequence, or the one that there
	 * is, goes with each token.  WHERE, IF, UNTIL: in = bool */
	int64_t            side, to, most;
	/* Kernels count buffers, weights and ranges from here: equal kernels of different
	 * steps are one.  The call that they are handed is shifted accordingly. */
	int64_t            buf_base, weight_base, range_base;
} moert_step;

typedef struct moert_layer {
	const char         *name, *target, *needs;      /* CPU features, by name */
	const struct moert_layer *next;                 /* the same for a lesser CPU, or NULL */
	uint64_t            fingerprint;                /* of weights' layout: files must match */
	int64_t             width, experts, picks;
	int64_t             group;                      /* tokens; 0 call, -1 sequence */
	int64_t             queue, waits;               /* most tokens that wait for the next
							   call, 0: none; the buffer that says
							   which: bool, level T */
	int64_t             nbufs, nweights, nranges, nsteps;
	const moert_buf    *bufs;
	const moert_weight *weights;
	const moert_range  *ranges;
	const moert_step   *steps;
	int64_t             ncalls;     /* layers that a model calls, in its order */
	const struct moert_layer_call *calls;
} moert_layer;

/* A layer of a model, for calls of its own: other buffers and steps on the same weights and
 * ranges.  Its name is the path of its weights. */
typedef struct moert_layer_call {
	const char        *of;          /* the layer's name in the source */
	const moert_layer *layer;
} moert_layer_call;

#endif
