/* SPDX-License-Identifier: Apache-2.0
 * simplify: computes, merges, recognises and drops what it can before kernels are formed.
 *
 *   %y = matmul %w, %e                 %e = collect %rows, %g
 *   %y = combine %rows, %w, %g
 *
 * Its parts enable each other: they run until nothing changes. */
#include "kernel.h"

enum { MAX_ROUNDS = 16 };

bool simplify(Module *m, PassContext *ctx)
{
	bool changed = false;

	if (m->target)
		return false;           /* kernels have a form of their own */
	for (Fn *fn = m->fns; fn; fn = fn->next) {
		bool again = true;
		for (int round = 0; again && round < MAX_ROUNDS; round++) {
			again = fold_constants(fn);
			again |= use_identities(fn);
			again |= form_contractions(fn);
			again |= merge_equal(fn);
			again |= drop_dead(fn);
			changed |= again;
		}
	}
	return changed;
}
