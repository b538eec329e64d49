/* SPDX-License-Identifier: Apache-2.0
 * kernel: the passes of this folder, and making, merging and reading kernel ops. */
#ifndef MOEC_KERNEL_H
#define MOEC_KERNEL_H

#include "pass.h"

#define PASS(name, run, flags, needs, before, gives, help)   bool run(Module *, PassContext *);
#define BACKEND(name, flags, needs, help)
#include "passes.def"
#undef PASS
#undef BACKEND

/* kernel.c */
bool    op_is_source(const Op *);       /* cheaper to repeat a kernel than to keep */
bool    kernel_is(const Op *, const char *kind);
bool    kernel_yields_routing(const Op *);      /* which a host may ask for */
bool    kernels_alike(const Op *, const Op *);          /* over the same rows */
bool    kernel_of_weights(const Op *);  /* computes weights from weights alone */
bool    value_of_weights(const Value *);                /* a param or such a kernel's */
const char *over_word(Arena *, const Type *);           /* T, R0, S, once, E0 */
/* The kernel of one op, in its place.  Operands that are sources are copied inside. */
Op     *kernel_wrap(Fn *, Op *, const char *kind, const Type *over);
/* The ops of `from` in front of those of `into`, which yields what is read of both. */
void    kernel_merge(Fn *, Op *from, Op *into);
void    kernel_take_schedule(Op *kernel, const Op *from);       /* all attributes */
/* Drops results that nobody reads, copies of one source, and ops left without a reader;
 * the kernel itself when nothing of it is read. */
void    kernel_tidy(Fn *, Op *);
void    kernel_drop_unread(Op *);               /* tidy, but for the sources */
/* The same for every kernel: a contraction is laid out by what is left of it. */
void    kernels_drop_unread(Fn *);
Op     *kernel_yield(const Op *);
Value  *kernel_inside(const Value *out);        /* what a kernel's result is inside it */
Op     *kernel_first(const Op *kernel, OpKind); /* the first op of that kind, or NULL */
void    region_replace(Region *, Value *old, Value *new);

/* order.c: a region's ops as a graph.  From clear_numbers on, all that is said here of
 * kernels and order finds every Value.id 0 and leaves it so. */
void    clear_numbers(Fn *);
bool    op_reads(const Op *, const Op *def);    /* in operands or inside its regions */
/* A bit of Value.id of all that an op reads, there too. */
void    mark_operands(const Op *, int bit);
void    unmark_operands(const Op *, int bit);
/* Whether `to` reads from `from` by way of a third op, so that the two cannot become one;
 * `from` stands before `to`. */
bool    path_between(Op *from, const Op *to);
/* Definitions before uses again, changing the order as little as possible. */
void    region_sort(Arena *, Region *);
void    range_sort(Arena *, Op *first, Op *last);       /* of ops that stand in a row */

/* cse.c */
bool    ops_equal(const Op *, const Op *);      /* kind, operands, attributes, types */
bool    ops_alike(const Op *, const Op *);      /* the same but for their operands */

/* contract.c: false: said */
bool    check_order(Diag *, const Pass *, const Module *);

/* check.c: a module that comes with kernels; false: said */
bool    check_kernels(Diag *, const Module *, const Target *);

/* put.c: a new op in front of another; type NULL: inferred */
Op     *put_op(Op *before, OpKind, int nargs, Value **args, const Type *);
Value  *put1(Op *before, OpKind, Value *, const Type *);
Value  *put2(Op *before, OpKind, Value *, Value *, const Type *);
Value  *per_token(Op *before, Value *);
Value  *put_const(Op *before, const Type *, const double *values, int n);

/* scan.c: inline-std's second half */
bool    form_scans(Fn *);

/* fold.c, cse.c, dead.c, identity.c, contraction.c: simplify's parts; true: changed */
bool    const_value(const Value *, double *);     /* a constant of equal entries */
bool    fold_constants(Fn *);
bool    merge_equal(Fn *);
bool    drop_dead(Fn *);
bool    use_identities(Fn *);
bool    form_contractions(Fn *);

/* branch.c, widen.c: form-kernels' first two steps */
bool    choose_branches(Fn *, PassContext *);
bool    widen_operands(Fn *, const Target *);

/* derive.c: pack's first half */
bool    derive_params(Fn *);

#endif
