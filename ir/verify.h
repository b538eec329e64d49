/* SPDX-License-Identifier: Apache-2.0
 * verify: what the parts of the verifier share; verify.c says which rules stand where. */
#ifndef MOEC_VERIFY_H
#define MOEC_VERIFY_H

#include "names.h"

typedef struct {
	Module     *m;
	Arena      *scratch;
	const char *why;                /* the first broken rule; arena text of m */
	const Fn   *fn;
	const Op   *op;                 /* where we are, for the message; or NULL */
	Map         fns;                /* name -> Fn */
	Map         declared;           /* "range sort name" -> Param, State, Panel */
	Map         visible;            /* values that may be used here */
	bool        in_kernel;
	bool        compiled;           /* fn is @layer or one that it calls */
	int         depth;
} Verify;

/* verify.c.  Both are false when the rule is broken, and say so once. */
bool rule(Verify *, bool holds, const char *fmt, ...) PRINTF(3, 4);
bool verify_type(Verify *, const Type *);
const char *type_text(Verify *, const Type *);
Fn  *verify_fn_named(Verify *, const char *name);       /* NULL: there is none, said */
/* A value that is there as often as `to`, or less often and broadcast. */
bool serves(const Type *value, const Type *to);

/* verify_op.c, verify_region.c: one rule for each op whose types are not inferred */
typedef bool OpRule(Verify *, const Op *);
OpRule verify_op;
OpRule verify_experts, verify_group, verify_dispatch, verify_collect, verify_combine,
       verify_call, verify_if, verify_where, verify_repeat, verify_scan, verify_kernel,
       verify_yield, verify_return;
const Op *region_yield(const Region *); /* NULL: it does not end in one */

/* verify_module.c: what stands before the functions, and how functions call each other */
bool verify_declarations(Verify *);
/* sort: parameter, state, panel; range -1: once.  NULL: there is none. */
const void *verify_declared(Verify *, const char *sort, const char *name, int range);
bool verify_calls(Verify *);

#endif
