/* SPDX-License-Identifier: Apache-2.0
 * fuse: what fuse-experts asks about two kernels. */
#ifndef MOEC_FUSE_H
#define MOEC_FUSE_H

#include "kernel.h"

typedef struct {
	Module *m;
	Fn     *fn;
	Arena  *arena;                  /* of the pass alone */
	const Target *target;
} Fuse;

/* What a map kernel becomes in the contraction whose results it reads. */
enum { NO_ROLE, EPILOGUE, SINK, FINISH, TAIL };

/* fuse_rules.c */
int  role_in(Fuse *, const Op *contract, const Op *map);
bool streams_fit(Fuse *, const Op *a, const Op *b);     /* two bare contractions, one A */
bool reads_given(Fuse *, const Op *from, const Op *into);
bool rows_clash(const Op *a, const Op *b);

#endif
