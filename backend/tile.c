/* SPDX-License-Identifier: Apache-2.0
 * tile: the micro-kernel, a register tile of rows x vectors.
 *
 *     acc[i][v] += sum_j a[row i][k + j] * panel[k + j][v]      k ascending, one chain each
 *
 * The chain of an entry is the same whatever the tile's height, its prefetching and its
 * blocks of k, and so are its bits.  A tile knows neither where its rows lie nor what
 * becomes of its sums, so that contractions of one shape share it. */
#include "contract.h"
#include <string.h>

enum {
	UNROLL = 2,             /* k-steps a loop round: 4 gave nothing more on Zen 5 */
	AHEAD = 3072,           /* bytes that a streamed panel is fetched ahead: 1 to 16 KiB
				   measured alike on qwen3_30b_a3b at 1, 16 and 64 tokens; into
				   L1 it is 4 to 6 % faster than into L2 on Cascade Lake, alike
				   on Zen 5 */
	AHEAD_BESIDE = 1536,    /* .. and each of several side by side: 768 is slower by 1 to
				   5 % at 1 token, 3072 alike */
	LINE = 64,
	TO_L1 = 1, TO_L2 = 2,
};

typedef struct {
	Contract *c;
	Ll  *l;
	int  rows, panels;
	bool far, blocks;               /* it may be one of several blocks of k */
	Val  call, task, row, next, stride;
	Val  view, list, epilogue;      /* moert_view, moert_rows of the left operand */
	Val  a[MAX_TILE_ROWS];          /* row pointers at k0 */
	Val  panel;                     /* at k0 */
	Val  acc[MAX_TILE_ROWS][MAX_TILE_VECTORS];
	Ty   vec;
	int64_t step_bytes, left_bytes; /* of the panel and of a row, a k-step */
	Val  fetched;                   /* far: where the next line to fetch is kept */
} Tile;

/* The k-steps of a round: `number` from where these offsets into rows and panel point to. */
typedef struct { Val left, right; int number; } Steps;

static Val from_list(Tile *t, size_t field, Val row)
{
	return emit_list_entry(t->c->e, ll_field(t->l, t->l->ptr, t->list, field), row);
}

static void load_rows(Tile *t)
{
	Contract *c = t->c;
	Ll *l = t->l;
	Val k0 = ll_field(l, l->i64, t->task, offsetof(moert_task, k0));
	Val skip = ll_mul(l, k0, ll_i64(l, entry_bytes(c->at)));
	Val first = ll_field(l, l->ptr, t->view, offsetof(moert_view, at));
	Val stride = ll_field(l, l->i64, t->view, offsetof(moert_view, stride));

	for (int i = 0; i < t->rows; i++) {
		Val row = ll_add(l, t->row, ll_i64(l, i)), slot = NULL;
		if (c->slotted)
			slot = from_list(t, offsetof(moert_rows, slot), row);
		if (c->dispatched)
			row = from_list(t, offsetof(moert_rows, token), row);
		Val at = c->a->type.level == LV_ONCE ? first
						     : ll_at(l, first, ll_mul(l, row, stride));
		if (slot)
			at = ll_at(l, at, ll_mul(l, slot, ll_i64(l, c->k * entry_bytes(c->at))));
		t->a[i] = t->blocks ? ll_at(l, at, skip) : at;
	}
	t->panel = ll_field(l, l->ptr, t->task, offsetof(moert_task, panel));
	if (t->blocks) {
		Val steps = LLVMBuildUDiv(l->b, k0, ll_i64(l, c->dot->kpack), "");
		t->panel = ll_at(l, t->panel, ll_mul(l, steps, ll_i64(l, t->step_bytes)));
	}
}

/* Where accumulator (i, v) waits between blocks of k. */
static Val waiting(Tile *t, int i, int v)
{
	Contract *c = t->c;
	Ll *l = t->l;
	Val acc = ll_field(l, l->ptr, t->task, offsetof(moert_task, acc));
	Val row0 = ll_field(l, l->i64, t->task, offsetof(moert_task, row0));
	Val row = LLVMBuildSub(l->b, ll_add(l, t->row, ll_i64(l, i)), row0, "");
	int64_t width = c->streams * c->cols * 4;

	return ll_at_const(l, ll_at(l, acc, ll_mul(l, row, ll_i64(l, width))),
			   (int64_t)v * c->e->lanes * 4);
}

static void start_accumulators(Tile *t)
{
	Contract *c = t->c;
	Ll *l = t->l;
	Val zero = ll_const_f32(l, 0, c->e->lanes);

	for (int i = 0; i < t->rows; i++)
		for (int v = 0; v < t->panels * c->vectors; v++) {
			t->acc[i][v] = ll_alloca(l, t->vec, "acc");
			ll_store(l, zero, t->acc[i][v], 4);
		}
	if (!t->blocks)
		return;
	LLVMBasicBlockRef resume = ll_block(l, "resume"), go = ll_block(l, "go");
	Val k0 = ll_field(l, l->i64, t->task, offsetof(moert_task, k0));
	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntEQ, k0, ll_i64(l, 0), ""), go, resume);
	ll_here(l, resume);
	for (int i = 0; i < t->rows; i++)
		for (int v = 0; v < c->vectors; v++)
			ll_store(l, ll_load(l, t->vec, waiting(t, i, v), 4), t->acc[i][v], 4);
	ll_goto(l, go);
}

static void accumulate(Tile *t, int i, int v, Val a, Val b)
{
	Contract *c = t->c;
	Ll *l = t->l;
	Val acc = ll_load(l, t->vec, t->acc[i][v], 4);

	if (strcmp(c->dot->how, "fma") == 0) {
		acc = ll_fma(l, a, b, acc);
	} else {
		Ty in = LLVMVectorType(LLVMBFloatTypeInContext(l->ctx),
				       (unsigned)(c->e->lanes * c->dot->kpack));
		a = LLVMBuildBitCast(l->b, a, in, "");
		b = LLVMBuildBitCast(l->b, b, in, "");
		acc = ll_call_intrinsic2(l, c->dot->how, t->vec, in, (Val[]){acc, a, b}, 3);
	}
	ll_store(l, acc, t->acc[i][v], 4);
}

/* The two halves of a pair of bf16 in each 32-bit lane, widened. */
static Val half_of(Ll *l, Val pairs, int j)
{
	int lanes = ll_lanes(pairs);

	if (j == 0)
		return ll_float(l, LLVMBuildShl(l->b, pairs, ll_const_i32(l, 16, lanes), ""));
	return ll_float(l, LLVMBuildAnd(l->b, pairs,
					ll_const_i32(l, (int32_t)0xFFFF0000, lanes), ""));
}

/* Entry j of a k-step of row i as all lanes of an f32 vector. */
static Val left_entry(Tile *t, Val at, int j)
{
	Contract *c = t->c;
	Val here = ll_at_const(t->l, at, (int64_t)j * entry_bytes(c->at));

	return ll_splat(t->l, emit_load_lanes(c->e, c->at, here, 1, NULL).v, c->e->lanes);
}

/* A whole k-step of row i for a dot instruction: kpack entries repeated in every lane. */
static Val left_group(Tile *t, Val at, bool last_only)
{
	Ll *l = t->l;

	if (!last_only)
		return ll_splat(l, ll_load(l, l->i32, at, 2), t->c->e->lanes);
	Val one = LLVMBuildZExt(l->b, ll_load(l, l->i16, at, 2), l->i32, "");
	return ll_splat(l, one, t->c->e->lanes);
}

/* Entry j of one of the panel's vectors at `at`, widened to f32.  Pairs are loaded again for
 * the second entry (volatile, or LLVM would keep them): accumulators need the registers. */
static Val right_entry(Tile *t, Val at, int j)
{
	Contract *c = t->c;
	Ll *l = t->l;

	if (c->dot->kpack == 1)
		return emit_load_lanes(c->e, c->bt, at, c->e->lanes, NULL).v;
	Val pairs = ll_load(l, ll_vec(l->i32, c->e->lanes), at, 4);
	LLVMSetVolatile(pairs, j > 0);
	return half_of(l, pairs, j);
}

/* last_only: the summed axis ends inside the step, after its first entry. */
static void emit_step(Tile *t, Steps at, bool last_only)
{
	Contract *c = t->c;
	Ll *l = t->l;
	int lanes = c->e->lanes, kpack = c->dot->kpack;
	bool fma = strcmp(c->dot->how, "fma") == 0;
	int entries = last_only || !fma ? 1 : kpack;
	int64_t bytes = (int64_t)lanes * kpack * entry_bytes(c->bt);
	Val panel = ll_at(l, t->panel, at.right), w[MAX_TILE_VECTORS], row[MAX_TILE_ROWS];

	panel = ll_at_const(l, panel, at.number * t->step_bytes);
	for (int i = 0; i < t->rows; i++)
		row[i] = ll_at_const(l, ll_at(l, t->a[i], at.left), at.number * t->left_bytes);
	for (int n = 0; n < entries * t->panels; n++) {
		int j = n / t->panels, p = n % t->panels;
		for (int v = 0; v < c->vectors; v++) {
			Val from = ll_at_const(l, panel, p * contract_panel_bytes(c) + v * bytes);
			w[v] = fma ? right_entry(t, from, j)
				   : ll_load(l, ll_vec(l->i32, lanes), from, 4);
		}
		for (int i = 0; i < t->rows; i++) {
			Val a = fma ? left_entry(t, row[i], j) : left_group(t, row[i], last_only);
			for (int v = 0; v < c->vectors; v++)
				accumulate(t, i, p * c->vectors + v, a, w[v]);
		}
	}
}

/* As many lines as a step consumes, from `ahead` on, and so in each panel. */
static void fetch_step(Tile *t, Steps step, Val ahead, int level)
{
	Ll *l = t->l;
	Val at = ll_at(l, ahead, step.right);

	for (int p = 0; p < t->panels; p++)
		for (int64_t line = 0; line < t->step_bytes; line += LINE)
			ll_prefetch(l, ll_at_const(l, at, p * contract_panel_bytes(t->c) + line +
						   step.number * t->step_bytes), level);
}

/* far: `stride` bytes of the next panel a step, and this one's from L2 into L1 where the
 * machine does not do that well by itself; near: this panel's own lines from memory. */
static void emit_prefetch(Tile *t, Steps step, Val ahead)
{
	Ll *l = t->l;
	int l1_ahead = t->c->e->t->l1_ahead;

	if (!t->far) {
		fetch_step(t, step, ahead, TO_L1);
		return;
	}
	Val line = ll_load(l, l->ptr, t->fetched, 8);
	ll_prefetch(l, line, TO_L2);
	ll_store(l, ll_at(l, line, t->stride), t->fetched, 8);
	if (l1_ahead)
		fetch_step(t, step, ll_at_const(l, t->panel, l1_ahead), TO_L1);
}

/* k-steps first .. until-1, `unroll` a round */
static void emit_rounds(Tile *t, Val first, Val until, int unroll, Val ahead)
{
	Ll *l = t->l;
	Loop loop = ll_for(l, first, until, unroll, "k");
	Steps at = {ll_mul(l, loop.i, ll_i64(l, t->left_bytes)),
		    ll_mul(l, loop.i, ll_i64(l, t->step_bytes)), 0};

	for (; at.number < unroll; at.number++) {
		emit_prefetch(t, at, ahead);
		emit_step(t, at, false);
	}
	ll_end_for(l, &loop);
}

static Val whole_rounds(Ll *l, Val steps)
{
	return LLVMBuildAnd(l->b, steps, ll_i64(l, -UNROLL), "");
}

/* A streamed panel is fetched ahead; its last steps fetch the start of what comes next.  Both
 * legs are one loop's code: it is most of a layer's. */
static void emit_near_rounds(Tile *t, Val steps)
{
	Ll *l = t->l;
	int64_t bytes = t->panels > 1 ? AHEAD_BESIDE : AHEAD;
	Val ahead = ll_i64(l, bytes / t->step_bytes);
	Val more = LLVMBuildICmp(l->b, LLVMIntSGT, steps, ahead, "");
	Val until = ll_select(l, more, LLVMBuildSub(l->b, steps, ahead, ""), ll_i64(l, 0));
	Val middle = whole_rounds(l, until), whole = whole_rounds(l, steps);
	Val known = LLVMBuildIsNotNull(l->b, t->next, "");
	Val next = ll_select(l, known, t->next, t->panel);
	Val behind = ll_at(l, next, ll_mul(l, middle, ll_i64(l, -t->step_bytes)));
	Loop leg = ll_for(l, ll_i64(l, 0), ll_i64(l, 2), 1, "leg");
	Val last = LLVMBuildTrunc(l->b, leg.i, l->i1, "");

	emit_rounds(t, ll_select(l, last, middle, ll_i64(l, 0)),
		    ll_select(l, last, whole, middle), UNROLL,
		    ll_select(l, last, behind, ll_at_const(l, t->panel, bytes)));
	ll_end_for(l, &leg);
}

/* Whether a block of k ever has steps beside whole rounds. */
static bool has_single_steps(const Contract *c)
{
	return c->k / c->dot->kpack % UNROLL || c->kblock / c->dot->kpack % UNROLL;
}

static void emit_sum(Tile *t)
{
	Contract *c = t->c;
	Ll *l = t->l;
	int64_t kpack = c->dot->kpack;
	Val k0 = ll_field(l, l->i64, t->task, offsetof(moert_task, k0));
	Val k1 = ll_field(l, l->i64, t->task, offsetof(moert_task, k1));
	Val steps = t->blocks ? LLVMBuildUDiv(l->b, LLVMBuildSub(l->b, k1, k0, ""),
					      ll_i64(l, kpack), "")
			      : ll_i64(l, c->k / kpack);
	Val whole = whole_rounds(l, steps);

	if (t->far) {
		t->fetched = ll_alloca(l, l->ptr, "fetched");
		ll_store(l, t->next, t->fetched, 8);
		emit_rounds(t, ll_i64(l, 0), whole, UNROLL, NULL);
	} else {
		emit_near_rounds(t, steps);
	}
	if (has_single_steps(c))
		emit_rounds(t, whole, steps, 1, t->panel);
	if (c->k % kpack == 0)
		return;
	LLVMBasicBlockRef odd = ll_block(l, "odd"), done = ll_block(l, "done");
	ll_branch(l, t->blocks ? LLVMBuildICmp(l->b, LLVMIntEQ, k1, ll_i64(l, c->k), "")
			       : LLVMConstInt(l->i1, 1, 0), odd, done);
	ll_here(l, odd);
	emit_step(t, (Steps){ll_mul(l, steps, ll_i64(l, t->left_bytes)),
			     ll_mul(l, steps, ll_i64(l, t->step_bytes)), 0}, true);
	ll_goto(l, done);
}

/* All but the last block of k leaves its sums for the next one and returns. */
static void leave_unfinished(Tile *t)
{
	Contract *c = t->c;
	Ll *l = t->l;
	LLVMBasicBlockRef wait = ll_block(l, "wait"), finish = ll_block(l, "finish");
	Val k1 = ll_field(l, l->i64, t->task, offsetof(moert_task, k1));

	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSLT, k1, ll_i64(l, c->k), ""), wait, finish);
	ll_here(l, wait);
	for (int i = 0; i < t->rows; i++)
		for (int v = 0; v < c->vectors; v++) {
			Val to = waiting(t, i, v);
			ll_store(l, ll_load(l, t->vec, t->acc[i][v], 4), to, 4);
		}
	LLVMBuildRetVoid(l->b);
	ll_here(l, finish);
}

/* The sums go through memory into the epilogue, which all heights share: next to the loop
 * over k that costs nothing, and one copy of the epilogue is emitted instead of dozens. */
static void call_epilogue(Tile *t, int panel)
{
	Contract *c = t->c;
	Ll *l = t->l;
	int64_t bytes = (int64_t)c->e->lanes * 4;
	Val sums = ll_alloca(l, LLVMArrayType2(t->vec, (uint64_t)(t->rows * c->vectors)), "sums");
	Val task = ll_at_const(l, t->task, panel * (int64_t)sizeof(moert_task));

	for (int i = 0; i < t->rows; i++)
		for (int v = 0; v < c->vectors; v++) {
			Val to = ll_at_const(l, sums, (i * c->vectors + v) * bytes);
			Val acc = t->acc[i][panel * c->vectors + v];
			ll_store(l, ll_load(l, t->vec, acc, 4), to, 4);
		}
	Ty types[] = {l->ptr, l->ptr, l->i64, l->i64, l->ptr};
	Ty type = LLVMFunctionType(l->none, types, COUNT(types), 0);
	LLVMBuildCall2(l->b, type, t->epilogue,
		       (Val[]){t->call, task, t->row,
			       ll_add(l, t->row, ll_i64(l, t->rows)), sums}, 5, "");
}

static Val tile_function(Contract *c, TileShape shape, const char *name)
{
	Ll *l = &c->e->l;
	Ty args[TILE_ARGS] = {[CALL] = l->ptr, [TASK] = l->ptr, [ROW] = l->i64,
			      [NEXT] = l->ptr, [STRIDE] = l->i64, [VIEW] = l->ptr,
			      [LIST] = l->ptr, [EPILOGUE] = l->ptr};
	Val fn = ll_function(l, name, l->none, args, COUNT(args), true);
	Tile t = {.c = c, .l = l, .rows = shape.rows, .panels = shape.panels, .far = shape.far,
		  .blocks = c->kblock && shape.panels == 1,
		  .call = LLVMGetParam(fn, CALL), .task = LLVMGetParam(fn, TASK),
		  .row = LLVMGetParam(fn, ROW), .next = LLVMGetParam(fn, NEXT),
		  .stride = LLVMGetParam(fn, STRIDE), .view = LLVMGetParam(fn, VIEW),
		  .list = LLVMGetParam(fn, LIST), .epilogue = LLVMGetParam(fn, EPILOGUE),
		  .vec = ll_vec(l->f32, c->e->lanes), .step_bytes = contract_step_bytes(c),
		  .left_bytes = (int64_t)c->dot->kpack * entry_bytes(c->at)};

	ll_attr(l, fn, OF_FUNCTION, "noinline", 0);
	load_rows(&t);
	start_accumulators(&t);
	emit_sum(&t);
	if (t.blocks)
		leave_unfinished(&t);
	for (int p = 0; p < t.panels; p++)
		call_epilogue(&t, p);
	LLVMBuildRetVoid(l->b);
	return fn;
}

/* All that the code above asks of the contraction; its dot follows from the types. */
static const char *tile_name(const Contract *c, TileShape t)
{
	const char *blocks = !c->kblock ? "" : has_single_steps(c) ? ".odd_blocks" : ".blocks";
	const char *from = c->a->type.level == LV_ONCE ? "once" : c->slotted ? "slots"
			   : c->dispatched ? "tokens" : "rows";
	const char *beside = t.panels > 1 ? arena_printf(c->e->arena, "x%d", t.panels) : "";

	return arena_printf(c->e->arena, "%s.%s.k%lld%s.%s.%dx%d%s.%s", dtype_info[c->at].name,
			    dtype_info[c->bt].name, (long long)c->k,
			    blocks, from, t.rows, c->vectors, beside,
			    t.far ? "far" : "near");
}

Val emit_tile(Contract *c, TileShape shape)
{
	struct Tiled tile = {.name = tile_name(c, shape)};

	for (int i = 0; i < c->e->tiles.n; i++)
		if (strcmp(c->e->tiles.at[i].name, tile.name) == 0)
			return c->e->tiles.at[i].fn;
	tile.fn = tile_function(c, shape, tile.name);
	vec_push(c->e->arena, &c->e->tiles, tile);
	return tile.fn;
}
