/* SPDX-License-Identifier: Apache-2.0
 * run: programs in children of their own, what became of them, and smaller ones that fail
 * alike. */
#ifndef MOEC_GEN_RUN_H
#define MOEC_GEN_RUN_H

#include "gen.h"
#include <sys/types.h>

enum { MAX_JOBS = 16 };                 /* slots 0 ..; one more is the reducer's */

/* child.c: a program and its settings in a process with limits of time and memory */
typedef struct {
	const char *scratch;            /* a folder */
	Outcome    *outcome;            /* shared with the children: [slot] */
} Place;
pid_t       child_start(const Place *, int slot, const Program *, int n);
const char *child_log(const Place *, Arena *, int slot);        /* what it said; removed */
Verdict     child_verdict(int status);
/* How it failed, in words without numbers: two failures with one name are taken for the
 * same.  Passed and skipped programs have the name "". */
const char *child_failure(Arena *, int status, const char *log);

/* reduce.c: a smaller program, and settings, that fail the same; command: not NULL, and then
 * what `command FILE` finds worth keeping (exit status 0).  NULL: it does not fail alone. */
const Program *reduce(Arena *, const Place *, const Program *, const char *command,
		      int tries, const char **failure);
/* shrink.c: the next candidate after `at`; NULL: no more */
enum { SHRINK_LINES = 1 };          /* the kind of which i counts chunks of lines */
typedef struct { int kind; size_t i, j; } Cursor;
const char *shrink(Arena *, const char *text, Cursor *);

#endif
