/* SPDX-License-Identifier: Apache-2.0
 * gen: what the parts of moe_gen share: a program that is being written, and its run.
 *
 * A program is written by construction valid: each part knows what the language asks of
 * it.  All chance comes from one number, the seed. */
#ifndef MOEC_GEN_H
#define MOEC_GEN_H

#include "../../ir/ir.h"
#include "../../ir/target.h"

/* random.c: splitmix64 */
typedef struct { uint64_t s; } Rng;
uint64_t rng_next(Rng *);
int64_t  rng_below(Rng *, int64_t n);           /* 0 .. n-1 */
int64_t  rng_between(Rng *, int64_t low, int64_t high);
bool     rng_chance(Rng *, int percent);
#define RNG_PICK(rng, list) ((list)[rng_below((rng), COUNT(list))])

typedef struct {
	Arena  *a;
	Rng     rng;
	int64_t h, e, k;                /* width, experts, picks a token */
	Text    defs;                   /* functions of the program's own */
	Text    inputs;                 /* declarations of further inputs */
	/* names that route.NAME may use */
	bool    logits, p;
	/* A token's output depends on other tokens; on its place or its draw. */
	bool    cross, placed;
	/* Experts decide by comparing, which no gap of the routing tells. */
	bool    decides;
	int     names;                  /* made so far */
} Gen;

/* random.c: form with each $ replaced by a, # by b, ~ by c */
const char *gen_fill(Arena *, const char *form, const char *a, const char *b,
		     const char *c);

/* policies.c: the call of a policy, which sets k and the flags; bodies.c: one of its own,
 * put into defs. */
const char *gen_policy(Gen *);
const char *gen_own_policy(Gen *);
/* experts.c: a call like `swiglu(33)` of an expert of width h */
const char *gen_expert(Gen *);
/* A call in the layer itself, `swiglu(x, 33, name: "shared")`. */
const char *gen_shared(Gen *, const char *name);
int64_t     gen_size(Gen *);

/* How the program is compiled and called. */
typedef struct {
	const char   *text;
	const Target *target;
	const char   *skip[4];          /* --no-pass */
	int           nskip;
	uint64_t      tiles;            /* not 0: seed of other tiles */
	bool          library;          /* through EMIT_LIB, as users get it */
	int64_t       tokens;
	int64_t       seq[8];           /* offsets of sequences */
	int           nseq;             /* 0: one */
	enum { DATA_NORMAL, DATA_WHOLE, DATA_TWINS, DATA_NAN, DATA_ZERO, DATA_COUNT } data;
	bool          cross, placed, decides;
} Program;
extern const char *const data_words[DATA_COUNT];

/* program.c */
void program_make(Arena *, uint64_t seed, Program *);
void program_print(const Program *);
bool program_read(Arena *, const char *path, Program *);        /* as printed */

/* native.c: compiles, runs and compares.  Text on stdout says what is wrong, or why the
 * program was left out. */
typedef enum { VERDICT_PASSED, VERDICT_FAILED, VERDICT_SKIPPED } Verdict;
typedef struct {
	int64_t tokens, rerouted;       /* tokens, and those of another routing */
	int64_t lenient;                /* tokens for which an expert decided otherwise */
	double  worst;                  /* largest error / bound */
} Outcome;
Verdict program_run(Arena *, const Program *, const char *scratch, Outcome *);

#endif
