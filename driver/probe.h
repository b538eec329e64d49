/* SPDX-License-Identifier: Apache-2.0
 * probe: what the machine can do at most, measured: memory reads and dot products. */
#ifndef MOEC_PROBE_H
#define MOEC_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { DOT_F32, DOT_BF16, DOT_I8, DOT_KINDS } DotKind;

/* Works from registers alone for `rounds` rounds; returns the operations done. */
typedef double probe_loop(int64_t rounds);

/* probe_x86.c: the host's widest loop for a kind up to `bits` wide, or NULL. */
probe_loop *probe_find(DotKind, int bits);

/* probe.c: GB/s, and billions of operations a second, with that many threads at once, in
 * one short window.  Whatever else runs takes time from some windows: the best of several
 * is the machine's. */
typedef struct {
	int    threads;
	char  *buffer;                  /* larger than any cache */
	size_t bytes;
} Probe;
bool   probe_open(Probe *, int threads, size_t cache_bytes);
void   probe_close(Probe *);
double probe_read(const Probe *);
double probe_dot(const Probe *, probe_loop *);

#endif
