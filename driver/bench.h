/* SPDX-License-Identifier: Apache-2.0
 * bench: what bench.c measures and bench_report.c tells. */
#ifndef MOEC_BENCH_H
#define MOEC_BENCH_H

#include "moec.h"
#include "probe.h"

typedef struct {
	int64_t tokens;
	int     repetitions;
	double  ms_min, ms_median;
	double  bytes, flops;           /* of a call, on average */
	double  read, peak;             /* the probes beside it: GB/s, Gop/s */
	double  roofline;
} BenchRow;

typedef struct {
	const char *layer, *target, *weights;   /* weights: their type */
	int64_t     threads, copies, bytes;     /* of one copy */
	double      read, dot[DOT_KINDS];       /* the best that was probed; 0: cannot */
	BenchRow   *rows;
	int         nrows;
} Bench;

typedef struct {
	const Job         *job;
	Source             source;
	const Module      *m;           /* tensor level: the inputs' types */
	Layer              layer;
	Server             server;
	moert_step        *steps;       /* the layer's, to be changed between calls */
	moert_model      **models;
	moert_session     *session;
	Probe              probe;
	probe_loop        *dot;         /* the target's fastest for the layer's types */
	Bench              b;
	int64_t            calls;       /* so far: which copy is next */
} Runner;

/* The inputs of `sets` calls, and where one call writes. */
typedef struct {
	int64_t     tokens, sets;
	char      **raw;                /* [inputs] */
	size_t     *each;               /* [inputs] bytes of one call */
	int         n;
	const void **inputs;            /* of this call, from the second on */
	void      **outputs;
	int64_t    *expert_rows;
	int32_t    *picks;              /* [sets][tokens][K] given, or NULL */
	float      *gates;
	moert_args  args;
} Calls;

/* bench_runner.c.  Whatever open says, close belongs to it; the probe is its user's. */
bool   runner_open(Runner *, const Job *);
void   runner_close(Runner *);
/* Calls of c->tokens tokens. */
bool   runner_calls(const Runner *, Arena *, Calls *);
/* One call with the next tokens and the next weights; its time, or -1. */
double call_once(Runner *, Calls *);
double median_of(double *, int n);              /* sorts them */
size_t cache_bytes(void);                       /* the last-level cache that a core can use */

/* bench_report.c */
void bench_head(const Bench *);
void bench_row(const BenchRow *);
bool bench_json(const Job *, const Bench *);

/* bench_routing.c: picks and gates [rows][K] given to a layer: expert e is picked in proportion
 * to (e + 1)^-skew, no one twice by a token; all gates alike. */
void  draw_routing(Arena *, const moert_layer *, double skew, int64_t rows, int32_t **picks,
		   float **gates);

/* bench_cost.c: what a call must do at least, its experts having had these rows (those of
 * moert_args) and its routing having been given or not */
void    call_cost(const moert_layer *, int64_t tokens, const int64_t *expert_rows, bool given,
		  double *bytes, double *flops);
double stored_bytes(const moert_layer *);
/* The type that most weights have. */
Dtype  weights_dtype(const moert_layer *);

#endif
