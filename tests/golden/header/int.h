/* int, a Mixture-of-Experts layer compiled by moec for x86-64-v4-bf16, x86-64-v3
 * (the CPU must have: avx2 fma f16c bmi2).
 *
 *     x  [T, 32] bf16 -> y  [T, 32] bf16
 *     H = 32 wide, E = 4 experts, K = 2 picks a token
 *
 *     int_model *model;
 *     int_session *session;
 *     int error = int_open("weights.moew", NULL, &model);
 *     error = int_start(model, NULL, &session);
 *     int_args args = {.size = sizeof args, .x = x, .tokens = n, .y = y};
 *     error = int_run(session, &args);
 *     int_end(session);
 *     int_close(model);
 *
 * Shapes    T is the tokens of a call, S its sequences; arrays are in C order.
 * Types     bf16 and f16 are kept as uint16_t, bf16 being a float's upper half.
 * Units     strides are bytes; tokens, sequences and experts are counted from 0.
 * Tokens    0 tokens is a valid call: it reads and writes no array of tokens.
 * Alignment that of the elements; 64 bytes is best for speed.  No padding is needed.
 * Aliasing  outputs must not overlap inputs or one another.
 * Ownership the caller owns every array and may free it when the call returns.
 *           Models and sessions belong to the library until closed and ended.
 * Errors    0, or a number of the list below; int_error() says it in words.  After an
 *           error of run the outputs are undefined, the session is usable.
 * Threads   any number of threads may use a model; a session is used by one at a time
 *           (a second one gets int_ERROR_BUSY).  No signals, locale or globals.
 * Bits      the results do not depend on the number of threads.
 * Structures begin with their size and grow at their ends: zero what is not set. */
#ifndef MOEC_int_H
#define MOEC_int_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	int_OK = 0, /* no error */
	int_ERROR_ARGS = 1, /* a structure's size is wrong, or a needed pointer is NULL */
	int_ERROR_TOKENS = 2, /* the number of tokens is negative or too large */
	int_ERROR_STRIDE = 3, /* a row stride is smaller than a row or not a multiple of its entries */
	int_ERROR_SEQUENCES = 4, /* sequence starts must begin at 0, not decrease and end at the tokens */
	int_ERROR_PICKS = 5, /* a given pick is neither -1 nor an expert, or its gates are missing */
	int_ERROR_OVERLAP = 6, /* an output overlaps an input */
	int_ERROR_MEMORY = 7, /* out of memory */
	int_ERROR_THREADS = 8, /* a thread could not be started */
	int_ERROR_BUSY = 9, /* the session is already running a call */
	int_ERROR_CPU = 10, /* the library has no such target, or this CPU lacks a feature of it */
	int_ERROR_OPEN = 11, /* the weights file cannot be opened */
	int_ERROR_READ = 12, /* the weights file cannot be read */
	int_ERROR_WRITE = 13, /* the weights file cannot be written */
	int_ERROR_FORMAT = 14, /* not a .moew file, or a damaged one */
	int_ERROR_VERSION = 15, /* the weights file is of another version */
	int_ERROR_CHECKSUM = 16, /* the weights file is damaged: a checksum does not match */
	int_ERROR_LAYER = 17, /* the weights file does not hold this layer */
	int_ERROR_LAYOUT = 18, /* the weights were packed for another target or layout */
	int_ERROR_WEIGHT = 19, /* a weight is missing */
	int_ERROR_INTERNAL = 20 /* the compiled layer is inconsistent: a bug of the compiler */
};
/* A constant sentence, for other numbers too. */
const char *int_error(int error);

#define int_WIDTH 32 /* H, of a token */
#define int_EXPERTS 4 /* E */
#define int_PICKS 2 /* K, of picks_in */
#define int_LOSSES 2 /* numbers behind args.losses */
#define int_EXPERT_ROWS 4 /* numbers behind args.expert_rows */

typedef struct int_model int_model;         /* weights, read-only */
typedef struct int_session int_session;     /* threads and memory of calls */

/* Bits of options.flags. */
#define int_MMAP  1     /* map the file; whoever cuts it down then kills the process */
#define int_TRUST 2     /* do not look at checksums */

typedef struct int_options {
	size_t          size;
	uint64_t        flags;
	char           *why;                 /* what went wrong is written there, or NULL */
	size_t          why_size;
	const char     *target;              /* of those above, this one; NULL: the best */
} int_options;

/* Opens weights that `moec pack` wrote; options may be NULL.  On error *model is
 * NULL. */
int int_open(const char *path, const int_options *options, int_model **model);

/* A weight by its path, [n, k] in C order in the stored type; range and expert (from
 * 0) are -1 for weights that exist once.  NULL: missing.  It must stay until the next
 * call. */
struct moert_layer;
typedef const void *int_weight_fn(void *ctx, const struct moert_layer *layer,
	const char *name, int64_t range, int64_t expert);
int int_open_memory(int_weight_fn *weight, void *ctx, const int_options *options,
	int_model **model);

int64_t int_bytes(const int_model *model);          /* of weights in memory */
const char *int_target(const int_model *model);     /* of those above, the one in use */
void int_close(int_model *model);   /* NULL is allowed; its sessions may still be open */
const struct moert_layer *int_layer(void);        /* what the runtime knows of it */

/* The host's own threads: runs fn(arg, 0) to fn(arg, n - 1) in any order, on any
 * threads, and returns when all are done. */
typedef void int_parallel_for(void *ctx, int n, void (*fn)(void *arg, int i),
	void *arg);

/* Told of every piece of a call by the thread that did it: `step` is the kernel's name, or
 * NULL where the thread waited; nanoseconds of CLOCK_MONOTONIC. */
typedef void int_span(void *ctx, int worker, const char *step, int64_t begin,
	int64_t end);

typedef struct int_session_options {
	size_t          size;
	int64_t         threads;             /* 0: as many as the process may run on */
	int_parallel_for *parallel_for;        /* NULL: threads of the session's own */
	void           *ctx;
	int_span         *span;                /* or NULL */
	void           *span_ctx;
} int_session_options;

int int_start(int_model *model, const int_session_options *options,
	int_session **session);
void int_end(int_session *session);         /* NULL is allowed */
/* This layer remembers nothing between calls. */
void int_reset(int_session *session);       /* NULL is allowed */
/* The same of one sequence: its place among a call's sequences is another's
 * from now on. */
void int_forget(int_session *session, int64_t sequence);

/* The inputs after x: all are needed, dense. */
typedef struct int_inputs {
	const float    *class__;             /* [T, 4] f32 */
	const int32_t  *class_;              /* [T] i32 */
	const float    *double_;             /* one value f32 */
	const int32_t  *NULL_;               /* [T], 0 or 1 */
} int_inputs;

/* The outputs after y: dense; NULL: not wanted. */
typedef struct int_outputs {
	float          *template_;           /* [T, 4] f32 */
	int32_t        *pick;                /* [T, 2], 0 to 3, -1: none */
	float          *y3;                  /* [4] f32 */
	int32_t        *NULL_out;            /* [T], 0 or 1 */
} int_outputs;

typedef struct int_args {
	size_t          size;                /* sizeof the structure */
	const uint16_t *x;                   /* [T, 32] bf16 */
	int64_t         tokens;              /* T, 0 to 2^31 - 1 */
	uint16_t       *y;                   /* [T, 32] bf16 */
	/* optional from here on: 0 or NULL */
	int64_t         x_stride, y_stride;  /* bytes from row to row; 0: dense */
	int64_t         nseq;                /* S; 0: all tokens are one sequence */
	const int64_t  *seq;                 /* [nseq + 1] first token of each, and T */
	const int64_t  *seen;                /* [S] tokens each had before; NULL: none */
	uint64_t        seed;                /* of random draws */
	const double   *step;                /* of training; NULL: training is over */
	const int32_t  *picks_in;            /* routing given: [T, 2], 0 to 3, -1: none */
	const float    *gates_in;            /* [T, 2], with picks_in */
	int32_t        *picks_out;           /* routing that ran: [T, 2] */
	float          *gates_out;           /* [T, 2] */
	float          *losses;              /* [2]; NULL: not computed */
	const int_inputs *inputs;              /* needed, unless T is 0 */
	const int_outputs *outputs;             /* NULL: none is wanted */
	const void     *routing;             /* none: NULL */
	int64_t        *expert_rows;         /* [EXPERT_ROWS] rows of each expert; NULL: not counted */
	int64_t        *arrivals;            /* none: NULL */
	int64_t        *queue;               /* none: NULL */
} int_args;

int int_run(int_session *session, const int_args *args);

#ifdef __cplusplus
}
#endif
#endif
