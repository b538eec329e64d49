/* open, a Mixture-of-Experts layer compiled by moec for x86-64-v4-bf16, x86-64-v3
 * (the CPU must have: avx2 fma f16c bmi2).
 *
 *     x  [T, 32] f32 -> y  [T, 32] f32
 *     H = 32 wide, E = 4 experts, K = 0 picks a token
 *
 *     open_model *model;
 *     open_session *session;
 *     int error = open_open("weights.moew", NULL, &model);
 *     error = open_start(model, NULL, &session);
 *     open_args args = {.size = sizeof args, .x = x, .tokens = n, .y = y};
 *     error = open_run(session, &args);
 *     open_end(session);
 *     open_close(model);
 *
 * Shapes    T is the tokens of a call, S its sequences; arrays are in C order.
 * Types     bf16 and f16 are kept as uint16_t, bf16 being a float's upper half.
 * Units     strides are bytes; tokens, sequences and experts are counted from 0.
 * Tokens    0 tokens is a valid call: it reads and writes no array of tokens.
 * Alignment that of the elements; 64 bytes is best for speed.  No padding is needed.
 * Aliasing  outputs must not overlap inputs or one another.
 * Ownership the caller owns every array and may free it when the call returns.
 *           Models and sessions belong to the library until closed and ended.
 * Errors    0, or a number of the list below; open_error() says it in words.  After an
 *           error of run the outputs are undefined, the session is usable.
 * Threads   any number of threads may use a model; a session is used by one at a time
 *           (a second one gets open_ERROR_BUSY).  No signals, locale or globals.
 * Bits      the results do not depend on the number of threads.
 * Structures begin with their size and grow at their ends: zero what is not set. */
#ifndef MOEC_open_H
#define MOEC_open_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	open_OK = 0, /* no error */
	open_ERROR_ARGS = 1, /* a structure's size is wrong, or a needed pointer is NULL */
	open_ERROR_TOKENS = 2, /* the number of tokens is negative or too large */
	open_ERROR_STRIDE = 3, /* a row stride is smaller than a row or not a multiple of its entries */
	open_ERROR_SEQUENCES = 4, /* sequence starts must begin at 0, not decrease and end at the tokens */
	open_ERROR_PICKS = 5, /* a given pick is neither -1 nor an expert, or its gates are missing */
	open_ERROR_OVERLAP = 6, /* an output overlaps an input */
	open_ERROR_MEMORY = 7, /* out of memory */
	open_ERROR_THREADS = 8, /* a thread could not be started */
	open_ERROR_BUSY = 9, /* the session is already running a call */
	open_ERROR_CPU = 10, /* the library has no such target, or this CPU lacks a feature of it */
	open_ERROR_OPEN = 11, /* the weights file cannot be opened */
	open_ERROR_READ = 12, /* the weights file cannot be read */
	open_ERROR_WRITE = 13, /* the weights file cannot be written */
	open_ERROR_FORMAT = 14, /* not a .moew file, or a damaged one */
	open_ERROR_VERSION = 15, /* the weights file is of another version */
	open_ERROR_CHECKSUM = 16, /* the weights file is damaged: a checksum does not match */
	open_ERROR_LAYER = 17, /* the weights file does not hold this layer */
	open_ERROR_LAYOUT = 18, /* the weights were packed for another target or layout */
	open_ERROR_WEIGHT = 19, /* a weight is missing */
	open_ERROR_INTERNAL = 20 /* the compiled layer is inconsistent: a bug of the compiler */
};
/* A constant sentence, for other numbers too. */
const char *open_error(int error);

#define open_WIDTH 32 /* H, of a token */
#define open_EXPERTS 4 /* E */
#define open_PICKS 0 /* K, of picks_in */
#define open_LOSSES 1 /* numbers behind args.losses */
#define open_EXPERT_ROWS 4 /* numbers behind args.expert_rows */

typedef struct open_model open_model;         /* weights, read-only */
typedef struct open_session open_session;     /* threads and memory of calls */

/* Bits of options.flags. */
#define open_MMAP  1     /* map the file; whoever cuts it down then kills the process */
#define open_TRUST 2     /* do not look at checksums */

typedef struct open_options {
	size_t          size;
	uint64_t        flags;
	char           *why;                 /* what went wrong is written there, or NULL */
	size_t          why_size;
	const char     *target;              /* of those above, this one; NULL: the best */
} open_options;

/* Opens weights that `moec pack` wrote; options may be NULL.  On error *model is
 * NULL. */
int open_open(const char *path, const open_options *options, open_model **model);

/* A weight by its path, [n, k] in C order in the stored type; range and expert (from
 * 0) are -1 for weights that exist once.  NULL: missing.  It must stay until the next
 * call. */
struct moert_layer;
typedef const void *open_weight_fn(void *ctx, const struct moert_layer *layer,
	const char *name, int64_t range, int64_t expert);
int open_open_memory(open_weight_fn *weight, void *ctx, const open_options *options,
	open_model **model);

int64_t open_bytes(const open_model *model);          /* of weights in memory */
const char *open_target(const open_model *model);     /* of those above, the one in use */
void open_close(open_model *model);   /* NULL is allowed; its sessions may still be open */
const struct moert_layer *open_layer(void);        /* what the runtime knows of it */

/* The host's own threads: runs fn(arg, 0) to fn(arg, n - 1) in any order, on any
 * threads, and returns when all are done. */
typedef void open_parallel_for(void *ctx, int n, void (*fn)(void *arg, int i),
	void *arg);

/* Told of every piece of a call by the thread that did it: `step` is the kernel's name, or
 * NULL where the thread waited; nanoseconds of CLOCK_MONOTONIC. */
typedef void open_span(void *ctx, int worker, const char *step, int64_t begin,
	int64_t end);

typedef struct open_session_options {
	size_t          size;
	int64_t         threads;             /* 0: as many as the process may run on */
	open_parallel_for *parallel_for;        /* NULL: threads of the session's own */
	void           *ctx;
	open_span         *span;                /* or NULL */
	void           *span_ctx;
} open_session_options;

int open_start(open_model *model, const open_session_options *options,
	open_session **session);
void open_end(open_session *session);         /* NULL is allowed */
/* This layer remembers nothing between calls. */
void open_reset(open_session *session);       /* NULL is allowed */
/* The same of one sequence: its place among a call's sequences is another's
 * from now on. */
void open_forget(open_session *session, int64_t sequence);

/* The layers that it calls, numbered in its order: each has a call of its own,
 * open_LAYER_run(), on the same weights. */
enum {
	open_CALL_args = 0,  /* CALL */
	open_CALL_a_run_ = 1,  /* CALL */
	open_CALL_a_run = 2,  /* ERROR */
	open_CALLS = 3
};
/* The path of its weights; NULL: there is no call of that number. */
const char *open_path(int64_t call);

/* Routing of one of them, as its own arguments have it. */
typedef struct open_routing {
	const int32_t  *picks_in;
	const float    *gates_in;
	int32_t        *picks_out;
	float          *gates_out;
} open_routing;

/* The inputs after x: all are needed, dense. */
typedef struct open_inputs {
	const int32_t  *session;             /* [T] i32 */
} open_inputs;

typedef struct open_args {
	size_t          size;                /* sizeof the structure */
	const float    *x;                   /* [T, 32] f32 */
	int64_t         tokens;              /* T, 0 to 2^31 - 1 */
	float          *y;                   /* [T, 32] f32 */
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
	float          *losses;              /* [1]; NULL: not computed */
	const open_inputs *inputs;              /* needed, unless T is 0 */
	void *const *   outputs;             /* none: NULL */
	const open_routing *routing;             /* [CALLS] of the layers called; NULL: none */
	int64_t        *expert_rows;         /* [EXPERT_ROWS] rows of each expert; NULL: not counted */
	int64_t        *arrivals;            /* none: NULL */
	int64_t        *queue;               /* none: NULL */
} open_args;

int open_run(open_session *session, const open_args *args);

/* ---- layer CALL, alone ---- */

#define open_CALL__WIDTH 32 /* H, of a token */
#define open_CALL__EXPERTS 0 /* E */
#define open_CALL__PICKS 0 /* K, of picks_in */
#define open_CALL__LOSSES 0 /* numbers behind args.losses */
#define open_CALL__EXPERT_ROWS 0 /* numbers behind args.expert_rows */

typedef struct open_CALL__args {
	size_t          size;                /* sizeof the structure */
	const float    *x;                   /* [T, 32] f32 */
	int64_t         tokens;              /* T, 0 to 2^31 - 1 */
	float          *y;                   /* [T, 32] f32 */
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
} open_CALL__args;

/* call: one of CALL's numbers above. */
int open_CALL__run(open_session *session, int64_t call,
	const open_CALL__args *args);

/* ---- layer ERROR, alone ---- */

#define open_ERROR__WIDTH 32 /* H, of a token */
#define open_ERROR__EXPERTS 4 /* E */
#define open_ERROR__PICKS 2 /* K, of picks_in */
#define open_ERROR__LOSSES 1 /* numbers behind args.losses */
#define open_ERROR__EXPERT_ROWS 4 /* numbers behind args.expert_rows */

/* The inputs after x: all are needed, dense. */
typedef struct open_ERROR__inputs {
	const int32_t  *session;             /* [T] i32 */
} open_ERROR__inputs;

/* The outputs after y: dense; NULL: not wanted. */
typedef struct open_ERROR__outputs {
	int32_t        *pick;                /* [T, 2], 0 to 3, -1: none */
} open_ERROR__outputs;

typedef struct open_ERROR__args {
	size_t          size;                /* sizeof the structure */
	const float    *x;                   /* [T, 32] f32 */
	int64_t         tokens;              /* T, 0 to 2^31 - 1 */
	float          *y;                   /* [T, 32] f32 */
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
	float          *losses;              /* [1]; NULL: not computed */
	const open_ERROR__inputs *inputs;              /* needed, unless T is 0 */
	const open_ERROR__outputs *outputs;             /* NULL: none is wanted */
	const void     *routing;             /* none: NULL */
	int64_t        *expert_rows;         /* [EXPERT_ROWS] rows of each expert; NULL: not counted */
	int64_t        *arrivals;            /* none: NULL */
	int64_t        *queue;               /* none: NULL */
} open_ERROR__args;

/* call: one of ERROR's numbers above. */
int open_ERROR__run(open_session *session, int64_t call,
	const open_ERROR__args *args);

#ifdef __cplusplus
}
#endif
#endif
