/* SPDX-License-Identifier: Apache-2.0
 * schedule-blocks: how each contraction goes through registers and caches:
 *
 *   rows x vectors accumulators; each stream has cols = vectors / streams * lanes columns
 *   in a panel; kblock entries of k at a time where a panel would not stay in L2. */
#include "kernel.h"

static int64_t streams_of(const Op *k, const Type **a, const Type **w)
{
	int64_t n = 0;

	for (const Op *op = k->regions[0]->first; op; op = op->next)
		if (op->kind == OP_linear) {
			n++;
			*a = &op->args[0]->type;
			*w = &op->args[1]->type;
		}
	return n;
}

/* As many vectors a stream as the tile holds, fewer where panels would be mostly padding:
 * the count that wastes least, the larger of equals. */
static int64_t vectors_each(int64_t n, int64_t most, int64_t lanes)
{
	int64_t best = 1, least = INT64_MAX;

	for (int64_t v = most; v >= 1; v--) {
		int64_t cols = v * lanes, padded = (n + cols - 1) / cols * cols;
		if (padded < least) {
			least = padded;
			best = v;
		}
	}
	/* a narrow tile loads row entries more often: an eighth of padding is cheaper */
	int64_t wide = most * lanes, padded = (n + wide - 1) / wide * wide;
	return padded - n <= n / 8 ? most : best;
}

/* The largest multiple of 64 entries whose block of a panel leaves half of L2 to rows. */
static int64_t block_of(int64_t k, int64_t bytes_per_k, int64_t l2_bytes)
{
	int64_t block = l2_bytes / 2 / bytes_per_k / 64 * 64;

	if (k <= block || block == 0)
		return block || k <= 64 ? 0 : 64;
	/* blocks of one size: the last would otherwise be a stub */
	int64_t blocks = (k + block - 1) / block, even = (k + blocks - 1) / blocks;
	return (even + 63) / 64 * 64;
}

static void schedule(Module *m, const Target *t, Op *k)
{
	const Type *a, *w;
	int rows, vectors;
	int64_t lanes = t->vector_bits / 32, streams = streams_of(k, &a, &w);

	if (streams == 0)
		ice("a contract kernel without linear");
	target_tile(t, &rows, &vectors);
	int64_t each = vectors_each(w->dim[0], MAX(vectors / streams, 1), lanes);
	int64_t cols = each * lanes;
	int64_t bytes = streams * cols * (dtype_info[w->dtype].bits / 8);
	attr_int(m, k, "rows", rows);
	attr_int(m, k, "vectors", each * streams);
	attr_int(m, k, "cols", cols);
	attr_int(m, k, "kblock", block_of(w->dim[1], bytes, (int64_t)t->l2_kib * 1024));
}

static bool schedule_region(Module *m, const Target *t, Region *r)
{
	bool changed = false;

	for (Op *op = r->first; op; op = op->next) {
		if (kernel_is(op, "contract")) {
			schedule(m, t, op);
			changed = true;
		} else if (op->kind != OP_kernel) {
			for (int i = 0; i < op->nregions; i++)
				changed |= schedule_region(m, t, op->regions[i]);
		}
	}
	return changed;
}

bool schedule_blocks(Module *m, PassContext *ctx)
{
	if (!ctx->target)
		ice("schedule-blocks without a target");
	return m->fns && schedule_region(m, ctx->target, m->fns->body);
}
