/* SPDX-License-Identifier: Apache-2.0
 * pass: the pipeline and what a pass may call.
 *
 * A pass is one file with one function and one row in passes.def; the order of the rows is
 * the pipeline.  True means changed.
 *
 * Up to `simplify` a module is at tensor level.  From `form-kernels` on @layer holds only
 * `kernel`, `state`, `next` and control ops, and module->target is set.  A kernel:
 *
 *   kernel {name="gate_up", kind=contract, over=R0, ...} : types { ops; yield .. }
 *
 *   kind=map       its ops are computed row after row of `over` (T, R<i>, S or once); any op
 *                  of the families SRC, EW, ROW, matmul and linear on small operands
 *   kind=contract  one or more `linear` (the streams) of one common left operand a over
 *                  weights of one shape; around them, in this order:
 *                    dispatch   (optional) a = dispatch of a T-level value: rows by pointer
 *                    linear..   over = T or R<i> (once, S possible)
 *                    epilogue   EW ops at `over` on [n] or scalars; operands: the linears, row
 *                               scalars, [n] values of `over`, weights [n], constants,
 *                               dispatch {slot} of a T-level [k] value (a row's gate)
 *                    combine    (optional, over R<i>) the sink; then EW finish ops at T on [n]
 *                    tail       (attribute tail=1, over=T or S) all behind the linears: any
 *                               map ops of the finished row, a router's softmax and
 *                               top-k; what it captures besides exists once
 *                  The left operand has the dot's type already (casts stand in map kernels).
 *   kind=cross     one op with over=tokens or over=sequence; over: its operand's level
 *   kind=group     one `group`
 *   kind=draw      nothing: uniform and normal may stand in any map kernel
 *
 * Sources (param, const, iota, tokens, step, position) are repeated in each kernel, in
 * front of its other ops; what matters is the order of these.  `collect` and an unfused
 * `combine` stand in maps over T and read rows of R from memory.  Marks: loss=1 only losses
 * need it, weights=1 computes weights from weights (until pack).
 *
 *   form-kernels gives each contraction a legal schedule: rows=1, one vector a stream
 *   schedule-blocks adds  rows, vectors (register tile), cols (columns of each stream in a
 *                  panel), kblock (k entries a block; 0: all), together (panels whose
 *                  blocks pass the same rows in turn), rblock (at most so many rows at a
 *                  time; 0: all), dot (row of dots.def)
 *   pack adds      panel="p0" and turns the streams' `param` into `unpack {panel, stream}`;
 *                  weight-level computations become derived params (a load function that
 *                  reads other params) */
#ifndef MOEC_PASS_H
#define MOEC_PASS_H

#include "../ir/ir.h"
#include "../ir/plan.h"
#include "../ir/target.h"

typedef struct {
	Arena        *arena;
	Diag         *diag;             /* performance notes */
	const Target *target;
	Plan         *plan;             /* NULL: none */
} PassContext;

enum { PASS_NEEDED = 1 };               /* cannot be skipped */

/* What passes make true, and others rely on. */
typedef enum {
	NO_CALL = 1,            /* no call and no `experts` in @layer */
	KERNELS = 2,            /* @layer is kernels for module->target */
	PACKED  = 4,            /* weights have panels */
} Facts;

typedef struct {
	const char *name;
	bool      (*run)(Module *, PassContext *);
	int         flags;
	Facts       needs, before, gives;       /* the contract: see passes.def */
	const char *help;
} Pass;
extern const Pass passes[];
extern const int  pass_count;
const Pass *pass_find(const char *name);

/* contract.c */
Facts module_facts(const Module *);
/* Whether a pass may run where these facts hold; if not, the pass that must come before it
 * or that it must come before. */
bool  pass_allowed(const Pass *, Facts, const char **after, const char **before);

typedef struct {
	const char *const *only;        /* run just these, in this order; NULL: the pipeline */
	int         nonly;
	const char *const *skip;        /* --no-pass */
	int         nskip;
	const char *print_after;        /* a pass, "all" or NULL; text goes to `out` */
	const char *stop_after;         /* a pass or NULL */
	const char *from;               /* start behind this pass (opt on a .mir); NULL: begin */
	bool        time;               /* table on stderr */
	bool        verify;             /* verify after every pass */
	FILE       *out;
	const char *command;            /* how to reproduce, for internal errors */
} PassOptions;
/* The runner: prints "// after NAME" (and "(unchanged)") before each dump. */
void run_passes(Module *, PassContext *, const PassOptions *);

#endif
