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
	bool    states;                 /* of sequences, which no group may cut */
	/* Experts decide by comparing, which no gap of the routing tells. */
	bool    decides;
	/* y is linear in the gates; experts are told apart by their weights alone. */
	bool    linear, alike;
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

enum { MAX_PASSES = 16, MAX_CONFIGS = 16 };

/* A program, how it is compiled, and how it is called. */
typedef struct {
	const char   *text;
	/* a configuration */
	const Target *target;
	const char   *pass[MAX_PASSES]; /* run in this order; none: the pipeline */
	int           npasses;
	uint64_t      tiles;            /* not 0: seed of other tiles */
	int64_t       rows;             /* most rows of these; 0: 7 */
	bool          library;          /* through EMIT_LIB, as users get it */
	bool          under;            /* guard pages in front of arrays, not behind */
	/* a call */
	int64_t       tokens;
	int64_t       seq[8];           /* offsets of sequences */
	int           nseq;             /* 0: one */
	enum { DATA_NORMAL, DATA_WHOLE, DATA_TWINS, DATA_NAN, DATA_ZERO, DATA_COUNT } data;
	/* what is known of the text */
	bool          cross, placed, decides, linear, alike;
	bool          routed;           /* experts run on the reported routing alone */
} Program;

/* program.c: the text and what is known of it */
void program_make(Arena *, uint64_t seed, Program *);
/* setting.c: the configuration and call that a seed and a number stand for; printing,
 * and reading what was printed.  Of a plain .moe nothing is known. */
void setting_make(uint64_t seed, int number, Program *);
/* Every target of this machine with guards at both ends, for p[0].text; how many. */
int  settings_all(Program *p);
void program_print(FILE *, const Program *);
bool program_read(Arena *, const char *path, Program *);
void pipeline_make(Program *);          /* what "none" stands for */

/* What holds between calls of one program, to the bit; see relations.c. */
#define RELATIONS(X)                                                                \
	X(threads,  "other numbers of threads")                                     \
	X(pool,     "a pool of the host's own")                                     \
	X(apart,    "rows apart")                                                   \
	X(lossless, "no losses asked for")                                          \
	X(given,    "its own routing given")                                        \
	X(alone,    "tokens alone")                                                 \
	X(split,    "the tokens in two calls")                                      \
	X(pieces,   "each sequence in three pieces")                                \
	X(order,    "tokens in another order")                                      \
	X(twice,    "every token twice")                                            \
	X(scaled,   "gates times a power of two")                                   \
	X(numbers,  "experts with other numbers")                                   \
	X(merged,   "experts that are alike, merged")                               \
	X(router,   "experts and the router's rows with other numbers")
typedef enum {
#define RELATION(name, what) REL_##name,
	RELATIONS(RELATION)
#undef RELATION
	REL_COUNT
} Relation;

/* Text on stdout says what is wrong, or why the program was left out. */
typedef enum { VERDICT_PASSED, VERDICT_FAILED, VERDICT_SKIPPED } Verdict;
typedef struct {
	int     config, call;           /* at work now: numbers of settings */
	long    configs, calls;         /* compiled; compared with the interpreter */
	long    refused;                /* configurations that the backend has no code for */
	long    held[REL_COUNT];        /* how often each relation held */
	int64_t tokens, rerouted;       /* tokens, and those of another routing */
	int64_t lenient;                /* tokens for which an expert decided otherwise */
	double  worst;                  /* largest error / bound */
} Outcome;
/* compare.c: n settings of one text: each is compiled and compared on all calls. */
Verdict programs_run(Arena *, const Program *, int n, const char *scratch, Outcome *);

#endif
