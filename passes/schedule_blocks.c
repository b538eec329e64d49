/* SPDX-License-Identifier: Apache-2.0
 * schedule-blocks: how each contraction goes through registers and caches:
 *
 *   rows x vectors accumulators; each stream has cols = vectors / streams * lanes columns
 *   in a panel; kblock entries of k at a time where a panel would not stay in L2; and while
 *   rblock rows stay there, the blocks of `together` panels pass them in turn.
 *
 * A plan's settings take the place of what is computed here, within what the backend has
 * registers and masks for. */
#include "kernel.h"

#include <string.h>

enum {
	MOST_ROWS = 16, MOST_VECTORS = 16, KBLOCK_STEP = 64, MOST_PANELS = 64,
	PADDING = 16,           /* of so many columns one may be wasted without a word; */
	NARROW = 4,             /* .. and what has fewer vectors than this is a toy */
	WAITING = 256 << 10,    /* bytes of sums that wait between blocks of k */
};

/* How many, and one of them: all have the same shape. */
static int64_t streams_of(const Op *k, const Op **linear)
{
	int64_t n = 0;

	for (const Op *op = k->regions[0]->first; op; op = op->next)
		if (op->kind == OP_linear) {
			n++;
			*linear = op;
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

/* The largest multiple of 64 entries whose block of a panel leaves the rest of L2 to rows and
 * to the block that comes next. */
static int64_t block_of(int64_t k, int64_t bytes_per_k, const Target *t)
{
	int64_t block = (int64_t)t->l2_kib * 1024 / t->l2_part / bytes_per_k / 64 * 64;

	if (k <= block || block == 0)
		return block || k <= 64 ? 0 : 64;
	/* blocks of one size: the last would otherwise be a stub */
	int64_t blocks = (k + block - 1) / block, even = (k + blocks - 1) / blocks;
	return (even + 63) / 64 * 64;
}

static bool reads_param(const Op *k, const char *name)
{
	for (const Op *op = k->regions[0]->first; op; op = op->next) {
		const Op *w = op->kind == OP_linear ? op->args[1]->def : NULL;
		if (w && w->kind == OP_param && !strcmp(attr_get_str(w, "name", ""), name))
			return true;
	}
	return false;
}

/* The last setting for this kernel; one that names a weight goes before one for all. */
static TileSetting *setting_of(const Plan *plan, const Op *k, TileKind kind)
{
	TileSetting *found = NULL;

	for (int i = 0; plan && i < plan->tiles.n; i++) {
		TileSetting *s = &plan->tiles.at[i];
		bool named = s->param && reads_param(k, s->param);
		s->met = s->met || named;
		if (s->kind == kind && (s->param ? named : !found || !found->param))
			found = s;
	}
	return found;
}

static void refuse(PassContext *ctx, TileSetting *s, const char *fix)
{
	if (s->refused)
		return;
	s->refused = true;
	diag_error(ctx->diag, E_plan_setting, s->loc, "`tile.%s%s%s` cannot be %jd",
		   tile_words[s->kind], s->param ? "." : "", s->param ? s->param : "",
		   (intmax_t)s->value);
	diag_fix(ctx->diag, "%s", fix);
}

static int64_t rows_of(PassContext *ctx, const Op *k, int64_t rows)
{
	TileSetting *s = setting_of(ctx->plan, k, TILE_ROWS);

	if (s && s->value <= MOST_ROWS)
		return s->value;
	if (s)
		refuse(ctx, s, arena_printf(ctx->arena, "1 to %d", MOST_ROWS));
	return rows;
}

static int64_t columns_of(PassContext *ctx, const Op *k, int64_t streams, int64_t cols)
{
	TileSetting *s = setting_of(ctx->plan, k, TILE_COLUMNS);
	int64_t lanes = ctx->target->vector_bits / 32;
	int64_t most = MAX(MOST_VECTORS / streams, 1) * lanes;

	if (s && s->value <= most && s->value % lanes == 0)
		return s->value;
	if (s)
		refuse(ctx, s, arena_printf(ctx->arena, "a multiple of %jd up to %jd for %s",
					    (intmax_t)lanes, (intmax_t)most,
					    ctx->target->name));
	return cols;
}

static int64_t kblock_of(PassContext *ctx, const Op *k, int64_t kblock)
{
	TileSetting *s = setting_of(ctx->plan, k, TILE_KBLOCK);

	if (s && s->value % KBLOCK_STEP == 0)
		return s->value;
	if (s)
		refuse(ctx, s, arena_printf(ctx->arena, "a multiple of %d; 0: not cut",
					    KBLOCK_STEP));
	return kblock;
}

/* Blocks of panels fill half of L2 in turn.  Meanwhile rows take a quarter, where panels leave
 * it to them, and no more than have room for their sums. */
static int64_t panels_of(PassContext *ctx, const Op *k)
{
	TileSetting *s = setting_of(ctx->plan, k, TILE_PANELS);

	if (s && s->value <= MOST_PANELS)
		return s->value;
	if (s)
		refuse(ctx, s, arena_printf(ctx->arena, "1 to %d", MOST_PANELS));
	return ctx->target->l2_part / 2;
}

static int64_t rblock_of(PassContext *ctx, const Op *k, int64_t row_bytes, int64_t sum_bytes)
{
	int64_t rows = attr_get_int(k, "rows", 1), panels = attr_get_int(k, "together", 1);
	int64_t most = INT64_MAX;
	TileSetting *s = setting_of(ctx->plan, k, TILE_RBLOCK);

	if (s)
		most = s->value;
	else if (panels > 1)
		most = (int64_t)ctx->target->l2_kib * 1024 / 4 / row_bytes;
	if (attr_get_int(k, "kblock", 0))
		most = MIN(most, WAITING / sum_bytes / panels);
	return most == INT64_MAX ? 0 : MAX(most / rows, 1) * rows;
}

/* Experts' columns that fill no vector are computed all the same. */
static void tell_padding(PassContext *ctx, const Op *k, const Op *linear, int64_t cols)
{
	int64_t n = linear->args[1]->type.dim[0];
	int64_t panels = (n + cols - 1) / cols, waste = panels * cols - n;
	int64_t lanes = ctx->target->vector_bits / 32;

	if (linear->outs[0]->type.level != LV_ROW || n < NARROW * lanes || waste <= n / PADDING)
		return;
	diag_perf(ctx->diag, linear->loc,
		  "%s computes %jd columns as %jd: on %s a multiple of %jd wastes nothing",
		  attr_get_str(k, "name", "?"), (intmax_t)n, (intmax_t)(panels * cols),
		  ctx->target->name, (intmax_t)lanes);
}

static void schedule(Module *m, PassContext *ctx, Op *k)
{
	const Op *linear;
	int rows, vectors;
	const Target *t = ctx->target;
	int64_t lanes = t->vector_bits / 32, streams = streams_of(k, &linear);

	if (streams == 0)
		ice("a contract kernel without linear");
	const Type *a = &linear->args[0]->type, *w = &linear->args[1]->type;
	target_tile(t, &rows, &vectors);
	int64_t each = vectors_each(w->dim[0], MAX(vectors / streams, 1), lanes);
	int64_t cols = columns_of(ctx, k, streams, each * lanes);
	int64_t bytes = streams * cols * (dtype_info[w->dtype].bits / 8);
	int64_t kblock = block_of(w->dim[1], bytes, t);
	tell_padding(ctx, k, linear, cols);
	attr_int(m, k, "rows", rows_of(ctx, k, rows));
	attr_int(m, k, "vectors", cols / lanes * streams);
	attr_int(m, k, "cols", cols);
	kblock = kblock_of(ctx, k, kblock);
	attr_int(m, k, "kblock", kblock);
	attr_int(m, k, "together", panels_of(ctx, k));
	int64_t at_once = kblock && kblock < w->dim[1] ? kblock : w->dim[1];
	attr_int(m, k, "rblock", rblock_of(ctx, k, at_once * (dtype_info[a->dtype].bits / 8),
					   streams * cols * (int64_t)sizeof(float)));
}

static bool schedule_region(Module *m, PassContext *ctx, Region *r)
{
	bool changed = false;

	for (Op *op = r->first; op; op = op->next) {
		if (kernel_is(op, "contract")) {
			schedule(m, ctx, op);
			changed = true;
		} else if (op->kind != OP_kernel) {
			for (int i = 0; i < op->nregions; i++)
				changed |= schedule_region(m, ctx, op->regions[i]);
		}
	}
	return changed;
}

/* A plan that sets what is not there was meant for another layer, or is misspelt. */
static void finish_plan(Module *m, PassContext *ctx)
{
	const char **names = NEWN(ctx->arena, const char *, (size_t)m->params.n + 1);

	for (int i = 0; i < m->params.n; i++)
		names[i] = m->params.at[i].name;
	for (int i = 0; ctx->plan && i < ctx->plan->tiles.n; i++) {
		const TileSetting *s = &ctx->plan->tiles.at[i];
		if (!s->param || s->met)
			continue;
		diag_error(ctx->diag, E_plan_setting, s->loc,
			   "no contraction reads a weight `%s`", s->param);
		const char *near = nearest_name(s->param, names, m->params.n);
		if (near && strcmp(near, s->param) != 0)
			diag_fix(ctx->diag, "did you mean `%s`?", near);
	}
	if (ctx->plan)
		ctx->plan->applied = true;
}

bool schedule_blocks(Module *m, PassContext *ctx)
{
	if (!ctx->target)
		ice("schedule-blocks without a target");
	bool changed = false;
	for (int i = 0; fn_compiled(m, i); i++) {
		Fn *fn = fn_compiled(m, i);
		kernels_drop_unread(fn);
		changed |= schedule_region(m, ctx, fn->body);
	}
	finish_plan(m, ctx);
	return changed;
}
