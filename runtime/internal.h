/* SPDX-License-Identifier: Apache-2.0
 * internal: what the runtime's own files share. */
#ifndef MOERT_INTERNAL_H
#define MOERT_INTERNAL_H

#include "moert.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define MIN(a, b)  ((a) < (b) ? (a) : (b))
#define MAX(a, b)  ((a) > (b) ? (a) : (b))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Where unsigned numbers are meant to wrap: hashes and random numbers.  Anywhere else
 * scripts/sanitize.sh takes it for a mistake. */
#ifdef __clang__
#define WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define WRAPS
#endif

enum {
#define DTYPE(name, bits, computed, st, meaning) MT_##name,
#include "../ir/dtypes.def"
#undef DTYPE
	MT_COUNT
};

/* sizes.c: all sizes are int64_t and not negative; false: overflow */
bool    moert_mul(int64_t a, int64_t b, int64_t *out);
bool    moert_add(int64_t a, int64_t b, int64_t *out);
bool    moert_round_up(int64_t a, int64_t to, int64_t *out);    /* to: a power of two */
int64_t moert_stored_bytes(int64_t dtype);      /* of an entry in a file; 0: no type */
int64_t moert_entry_bytes(int64_t dtype);       /* of an entry of a buffer */

/* Where an error's text goes: the caller's buffer, or nowhere. */
typedef struct { char *at; size_t size; } moert_why;
int moert_fail(moert_why, int error, const char *fmt, ...) PRINTF(3, 4);
moert_why moert_options_why(const moert_options *);
bool      moert_read_struct(void *to, size_t known, size_t least, const void *from);
int       moert_options_read(const moert_options *, moert_options *);

/* memory.c: zeroed pages, huge where the kernel has them; NULL: out of memory */
void *moert_pages(int64_t bytes);
void  moert_unpage(void *, int64_t bytes);

/* team.c: n threads, of which the caller of team_run is number 0.  A job is phases one after
 * another; in each, those who are awake claim work until none is left, and the last to leave
 * asks for the next phase while no other is at work.  Whoever is late is not waited for. */
typedef struct moert_team moert_team;
typedef struct {
	void     (*work)(void *arg, int worker, uint32_t phase);
	/* The phase behind `done`, or MOERT_END; done is MOERT_END at the beginning. */
	uint32_t (*next)(void *arg, int worker, uint32_t done);
} moert_job;
enum { MOERT_END = UINT32_MAX };
int  moert_team_new(int n, moert_team **);
void moert_team_run(moert_team *, const moert_job *, void *arg);
void moert_run_alone(const moert_job *, void *arg);     /* in this thread only */
void moert_team_free(moert_team *);
int  moert_cpus(void);                          /* that this process may run on */

/* pack.c: stream s of a panelled weight from its natural [n, k] matrix */
void moert_pack_stream(const moert_weight *, int64_t s, const void *natural,
		       void *panels);
int64_t moert_weight_bytes(const moert_weight *);       /* as layout says; -1: overflow */

/* place.c: where each copy of each weight lies in a layer's image: first the weights that
 * exist once, then range by range each expert's, together and 4 KiB-aligned. */
typedef struct {
	int64_t *within;                /* [nweights] offset in its block */
	int64_t *block;                 /* [nranges] bytes of one expert's block */
	int64_t *first;                 /* [nranges] where the first expert's begins */
	int64_t  bytes;                 /* of all */
} moert_places;
int     moert_place(const moert_layer *, moert_places *, moert_why);
void    moert_unplace(moert_places *);
int64_t moert_copies(const moert_layer *, const moert_weight *);
int64_t moert_where(const moert_layer *, const moert_places *, int64_t weight,
		    int64_t copy);
/* One copy packed from its natural weights. */
int     moert_fill(const moert_layer *, int64_t weight, int64_t copy, moert_weight_fn *,
		   void *ctx, void *to, moert_why);

/* checksum.c: of any bytes, the same everywhere */
uint64_t moert_checksum(const void *, int64_t bytes);

/* moew.c: one layer's weights out of a file, at their places in *image (made here) */
int     moert_moew_read(const moert_layer *, const moert_places *, const char *path,
			uint64_t flags, char **image, moert_why);

struct moert_model {
	const moert_layer   *layer;
	_Atomic int          users;     /* the opener and each session */
	char                *image;
	int64_t              bytes;
	bool                 trace;
	const void         **weight;    /* [nweights] those that exist once */
	const void         **copies;    /* experts' tables of [nweights] pointers */
	moert_expert        *expert;
	const moert_expert **range;     /* [nranges] */
	struct moert_model  *calls;     /* [ncalls] other layers on the same weights */
};
void moert_release(moert_model *);

/* A counter a phase of a step: items are claimed one after another. */
enum { MOERT_PHASES = 3 };
typedef struct { _Alignas(64) _Atomic int64_t next[MOERT_PHASES]; } moert_claims;

/* A branch or loop that is being run: the tokens that take part, by their numbers around it,
 * where they stand, and what there was before. */
typedef struct moert_flow {
	int32_t       *token, *position, *sequence;
	int64_t       *starts;          /* [nseq + 1] */
	int64_t        round;
	struct moert_flow *around;      /* NULL: the whole group */
	moert_call     call_around;
	const int64_t *first_around;
	int64_t        t0_around;
} moert_flow;

/* Tokens that wait: each input's rows, their places, their numbers; room for `most`. */
typedef struct {
	char    *rows;
	int32_t *position;
	int64_t *arrival;
	int64_t  n, most;
} moert_queue;

/* The buffers of picks and gates, or -1. */
typedef struct { int64_t picks, gates; } moert_slot;

struct moert_session {
	moert_model        *model;
	moert_team         *team;       /* NULL: parallel_for */
	int                 workers;
	bool                alone;      /* this call is one thread's: small, or there is one */
	moert_parallel_for *parallel_for;
	void               *ctx;
	moert_span         *span;       /* or NULL */
	void               *span_ctx;
	int64_t            *told;       /* [workers] when each told its last span */
	_Atomic int         busy;

	char               *work;       /* all that follows with T rows lies here */
	int64_t             work_bytes;
	char              **state;      /* [nbufs] rows of MOERT_STATE buffers */
	int64_t            *state_rows;
	moert_queue         waiting, later;     /* from the call before; for the next one */
	int64_t             led;        /* tokens of this call that had waited */
	int64_t             arrived, processed, dropped;
	moert_view         *joined;     /* [nbufs] inputs with those that waited */
	moert_view         *base;       /* [nbufs] whole call */
	moert_view         *view;       /* [nbufs] this group */
	moert_rows         *rows;       /* [nranges] */
	moert_claims       *claims;     /* [nsteps] */
	moert_call         *calls;      /* [nsteps] the call, shifted to each step's bases */
	double             *loss;       /* sums over groups */
	int64_t            *trace_ns;   /* [nsteps], or NULL */
	int64_t             phase_ns;   /* when this phase began, if traced */

	char               *scratch;    /* worker w: scratch + w * scratch_bytes */
	int64_t             scratch_bytes, acc_bytes;
	int64_t             sink_at, sink_bytes;        /* behind scratch and acc */
	int32_t            *position, *sequence;
	int64_t            *starts;     /* [nseq + 1] */
	const int64_t      *first;      /* the same of the tokens at work, counted from t0 */
	moert_flow         *flows;      /* [nsteps] of those that need one */
	int64_t            *counts;     /* [workers][largest range] for grouping */

	moert_session     **calls_of;   /* [ncalls] of the model's layers; NULL: not yet */

	/* this call, this group */
	moert_args          args;
	int64_t             nseq, t0, s0, s1;
	int64_t             step;       /* at work, */
	int                 phase;      /* and its phase */
	moert_flow         *flow;       /* the innermost one, or NULL */
	moert_slot         *slots;      /* [1 + ncalls] where routing may be given */
	moert_call          call;
};

/* routing.c: of slot i as the arguments give it and ask for it: 0 is the layer's own */
bool          moert_slots(moert_session *);             /* made; false: no memory */
moert_routing moert_routing_of(const moert_session *, int64_t slot);
bool          moert_gives(const moert_session *, int64_t step);
void          moert_give(const moert_session *, int64_t step);
void          moert_report(const moert_session *);      /* what ran, to the host */
void          moert_clear_rows(const moert_session *);  /* args.expert_rows */
void          moert_count_rows(const moert_session *, const moert_step *);

/* session.c: calls_of[number] */
int  moert_start_call(moert_session *, int64_t number);

/* check.c: the arguments; dense strides are filled in */
int  moert_check(moert_session *);

/* workspace.c: memory and views for a call of args.tokens */
int  moert_workspace(moert_session *, int64_t group_tokens);
int64_t moert_stride_of(const moert_buf *);     /* bytes from row to row */

/* queue.c: before the workspace is laid out; behind the host's arrays; when all has run */
int  moert_queue_begin(moert_session *);
void moert_queue_lead(moert_session *);
void moert_queue_end(moert_session *);
void moert_queue_forget(moert_session *);

/* state.c: what is remembered from call to call; nseq sequences have room, 0 or an error */
int  moert_states(moert_session *);
void moert_states_go_on(moert_session *);       /* what was next is now */
void moert_states_forget(moert_session *, int64_t sequence, int64_t n);

/* steps.c: a step is one or more phases, of which each is done before the next */
int  moert_phases(const moert_session *, const moert_step *);
void moert_phase(moert_session *, int64_t step, int phase, int worker);
int64_t moert_claim(moert_session *, const moert_step *, int phase);
void *moert_scratch(const moert_session *, int worker);
bool  moert_is_small(const moert_session *);    /* done before another thread wakes up */

/* flow.c: the first step from this one on that is work, or nsteps; told of those it passes */
typedef void moert_passed(moert_session *, int worker, int64_t step);
int64_t moert_flow_on(moert_session *, int worker, int64_t step, moert_passed *);
void    moert_tokens_of(const moert_session *, int64_t sequence, int64_t *t0, int64_t *t1);
void    moert_move_rows(const moert_session *, const moert_step *, int64_t row0, int64_t row1);
void    moert_along(moert_session *, const moert_step *, int worker);
const moert_call *moert_call_of(const moert_session *, const moert_step *);
bool    moert_skips(const moert_session *, const moert_step *);

/* cross.c, group.c */
void moert_cross(moert_session *, const moert_step *, int worker);
int64_t moert_cross_scratch(const moert_step *, int64_t rows);
int  moert_group_phases(const moert_session *, const moert_step *);
void moert_group(moert_session *, const moert_step *, int phase);

/* maths.c: the same bits on every machine */
float  moert_exp(float);
double moert_log(double);                       /* of a float, or of a small double */

/* draw.c */
float moert_draw_uniform(const moert_call *, int64_t token, int64_t site, int64_t entry);
float moert_draw_normal(const moert_call *, int64_t token, int64_t site, int64_t entry);

#endif
