/* SPDX-License-Identifier: Apache-2.0
 * target: the machines kernels are made for, as numbers and tables; no LLVM here. */
#ifndef MOEC_TARGET_H
#define MOEC_TARGET_H

#include "ir.h"

typedef struct {
	const char *name, *triple, *cpu;
	const char *needs;              /* features, separated by spaces */
	int         vector_bits, registers;
	int         l1_kib, l2_kib;     /* of one core */
	int         l2_part;            /* a panel's block takes 1 / l2_part of L2 */
	int         l1_ahead;           /* bytes a panel is fetched into L1 ahead; 0: not */
	const char *tune;               /* further LLVM features, or "" */
} Target;

typedef struct {
	const char *feature;            /* "": none needed */
	int         bits;               /* vector width it is for; 0: any */
	Dtype       a, b;
	int         kpack;
	const char *how;                /* an LLVM intrinsic, or "fma" */
} Dot;

extern const Target targets[];
extern const int    target_count;
/* NULL: no such target.  "native" is the widest row that the host has. */
const Target *target_find(const char *name);
int           target_rank(const Target *);      /* its place in the table */
bool          target_is_host(const Target *);   /* this machine's kind of CPU */
bool          target_host_has(const Target *);  /* can run here */
const Dot    *target_dot(const Target *, Dtype a, Dtype b);     /* NULL: none */
/* The register tile: rows x vectors accumulators, `vectors` weight vectors, two to spare. */
void          target_tile(const Target *, int *rows, int *vectors);

#endif
