/* SPDX-License-Identifier: Apache-2.0
 * cpu: what this machine has. */
#ifndef MOERT_CPU_H
#define MOERT_CPU_H

/* cpu.c: whether this machine has every feature of a list separated by spaces. */
int moert_cpu_has(const char *features);

#endif
