/* plain, a Mixture-of-Experts layer compiled by moec for x86-64-v4-bf16, x86-64-v3
 * (the CPU must have: avx2 fma f16c bmi2).
 *
 *     x  [T, 8] f32 -> y  [T, 24] f32
 *     H = 8 wide, E = 0 experts, K = 0 picks a token
 *
 *     plain_model *model;
 *     plain_session *session;
 *     int error = plain_open("weights.moew", NULL, &model);
 *     error = plain_start(model, NULL, &session);
 *     plain_args args = {.size = sizeof args, .x = x, .tokens = n, .y = y};
 *     error = plain_run(session, &args);
 *     plain_end(session);
 *     plain_close(model);
 *
 * Shapes    T is the tokens of a call, S its sequences; arrays are in C order.
 * Types     bf16 and f16 are kept as uint16_t, bf16 being a float's upper half.
 * Units     strides are bytes; tokens, sequences and experts are counted from 0.
 * Tokens    0 tokens is a valid call: it reads and writes no array of tokens.
 * Alignment that of the elements; 64 bytes is best for speed.  No padding is needed.
 * Aliasing  outputs must not overlap inputs or one another.
 * Ownership the caller owns every array and may free it when the call returns.
 *           Models and sessions belong to the library until closed and ended.
 * Errors    0, or a number of the list below; plain_error() says it in words.  After an
 *           error of run the outputs are undefined, the session is usable.
 * Threads   any number of threads may use a model; a session is used by one at a time
 *           (a second one gets plain_ERROR_BUSY).  No signals, locale or globals.
 * Bits      the results do not depend on the number of threads.
 * Structures begin with their size and grow at their ends: zero what is not set. */
#ifndef MOEC_plain_H
#define MOEC_plain_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	plain_OK = 0, /* no error */
	plain_ERROR_ARGS = 1, /* a structure's size is wrong, or a needed pointer is NULL */
	plain_ERROR_TOKENS = 2, /* the number of tokens is negative or too large */
	plain_ERROR_STRIDE = 3, /* a row stride is smaller than a row or not a multiple of its entries */
	plain_ERROR_SEQUENCES = 4, /* sequence starts must begin at 0, not decrease and end at the tokens */
	plain_ERROR_PICKS = 5, /* a given pick is neither -1 nor an expert, or its gates are missing */
	plain_ERROR_OVERLAP = 6, /* an output overlaps an input */
	plain_ERROR_MEMORY = 7, /* out of memory */
	plain_ERROR_THREADS = 8, /* a thread could not be started */
	plain_ERROR_BUSY = 9, /* the session is already running a call */
	plain_ERROR_CPU = 10, /* the library has no such target, or this CPU lacks a feature of it */
	plain_ERROR_OPEN = 11, /* the weights file cannot be opened */
	plain_ERROR_READ = 12, /* the weights file cannot be read */
	plain_ERROR_WRITE = 13, /* the weights file cannot be written */
	plain_ERROR_FORMAT = 14, /* not a .moew file, or a damaged one */
	plain_ERROR_VERSION = 15, /* the weights file is of another version */
	plain_ERROR_CHECKSUM = 16, /* the weights file is damaged: a checksum does not match */
	plain_ERROR_LAYER = 17, /* the weights file does not hold this layer */
	plain_ERROR_LAYOUT = 18, /* the weights were packed for another target or layout */
	plain_ERROR_WEIGHT = 19, /* a weight is missing */
	plain_ERROR_INTERNAL = 20 /* the compiled layer is inconsistent: a bug of the compiler */
};
/* A constant sentence, for other numbers too. */
const char *plain_error(int error);

#define plain_WIDTH 8 /* H, of a token */
#define plain_EXPERTS 0 /* E */
#define plain_PICKS 0 /* K, of picks_in */
#define plain_LOSSES 0 /* numbers behind args.losses */
#define plain_EXPERT_ROWS 0 /* numbers behind args.expert_rows */

typedef struct plain_model plain_model;         /* weights, read-only */
typedef struct plain_session plain_session;     /* threads and memory of calls */

/* Bits of options.flags. */
#define plain_MMAP  1     /* map the file; whoever cuts it down then kills the process */
#define plain_TRUST 2     /* do not look at checksums */

typedef struct plain_options {
	size_t          size;
	uint64_t        flags;
	char           *why;                 /* what went wrong is written there, or NULL */
	size_t          why_size;
	const char     *target;              /* of those above, this one; NULL: the best */
} plain_options;

/* Opens weights that `moec pack` wrote; options may be NULL.  On error *model is
 * NULL. */
int plain_open(const char *path, const plain_options *options, plain_model **model);

/* A weight by its path, [n, k] in C order in the stored type; range and expert (from
 * 0) are -1 for weights that exist once.  NULL: missing.  It must stay until the next
 * call. */
struct moert_layer;
typedef const void *plain_weight_fn(void *ctx, const struct moert_layer *layer,
	const char *name, int64_t range, int64_t expert);
int plain_open_memory(plain_weight_fn *weight, void *ctx, const plain_options *options,
	plain_model **model);

int64_t plain_bytes(const plain_model *model);          /* of weights in memory */
const char *plain_target(const plain_model *model);     /* of those above, the one in use */
void plain_close(plain_model *model);   /* NULL is allowed; its sessions may still be open */
const struct moert_layer *plain_layer(void);        /* what the runtime knows of it */

/* The host's own threads: runs fn(arg, 0) to fn(arg, n - 1) in any order, on any
 * threads, and returns when all are done. */
typedef void plain_parallel_for(void *ctx, int n, void (*fn)(void *arg, int i),
	void *arg);

/* Told of every piece of a call by the thread that did it: `step` is the kernel's name, or
 * NULL where the thread waited; nanoseconds of CLOCK_MONOTONIC. */
typedef void plain_span(void *ctx, int worker, const char *step, int64_t begin,
	int64_t end);

typedef struct plain_session_options {
	size_t          size;
	int64_t         threads;             /* 0: as many as the process may run on */
	plain_parallel_for *parallel_for;        /* NULL: threads of the session's own */
	void           *ctx;
	plain_span         *span;                /* or NULL */
	void           *span_ctx;
} plain_session_options;

int plain_start(plain_model *model, const plain_session_options *options,
	plain_session **session);
void plain_end(plain_session *session);         /* NULL is allowed */
/* This layer remembers nothing between calls. */
void plain_reset(plain_session *session);       /* NULL is allowed */
/* The same of one sequence: its place among a call's sequences is another's
 * from now on. */
void plain_forget(plain_session *session, int64_t sequence);

typedef struct plain_args {
	size_t          size;                /* sizeof the structure */
	const float    *x;                   /* [T, 8] f32 */
	int64_t         tokens;              /* T, 0 to 2^31 - 1 */
	float          *y;                   /* [T, 24] f32 */
	/* optional from here on: 0 or NULL */
	int64_t         x_stride, y_stride;  /* bytes from row to row; 0: dense */
	int64_t         nseq;                /* S; 0: all tokens are one sequence */
	const int64_t  *seq;                 /* [nseq + 1] first token of each, and T */
	const int64_t  *seen;                /* [S] tokens each had before; NULL: none */
	uint64_t        seed;                /* of random draws */
	const double   *step;                /* of training; NULL: training is over */
	const int32_t  *picks_in;            /* no routing to give: NULL */
	const float    *gates_in;            /* no routing to give: NULL */
	int32_t        *picks_out;           /* none to read: NULL */
	float          *gates_out;           /* none to read: NULL */
	float          *losses;              /* none: NULL */
	const void *const *inputs;              /* none: NULL */
	void *const *   outputs;             /* none: NULL */
	const void     *routing;             /* none: NULL */
	int64_t        *expert_rows;         /* none: NULL */
	int64_t        *arrivals;            /* none: NULL */
	int64_t        *queue;               /* none: NULL */
} plain_args;

/* In groups of 16 tokens. */
int plain_run(plain_session *session, const plain_args *args);

#ifdef __cplusplus
}
#endif
#endif
