/* SPDX-License-Identifier: Apache-2.0
 * contract: one contraction kernel.  A function of panel and rows that cuts its rows into
 * tiles of nearly equal height and runs the micro-kernel of each height. */
#include "contract.h"
#include <string.h>

static const Op *find_op(const Op *kernel, OpKind kind)
{
	for (const Op *op = kernel->regions[0]->first; op; op = op->next)
		if (op->kind == kind)
			return op;
	return NULL;
}

/* The first op that is no linear nor elementwise nor a source: where the tail begins. */
static const Op *behind_linears(const Contract *c)
{
	const Op *last = c->linears.at[c->linears.n - 1];
	return last->next;
}

static Contract read_kernel(Emit *e, const Op *kernel)
{
	Contract c = {.e = e, .kernel = kernel};

	for (const Op *op = kernel->regions[0]->first; op; op = op->next)
		if (op->kind == OP_linear)
			vec_push(e->arena, &c.linears, op);
	if (c.linears.n == 0)
		ice("kernel %s contracts nothing", attr_get_str(kernel, "name", "?"));
	const Op *linear = c.linears.at[0];
	const Value *a = linear->args[0];
	const Type *w = &linear->args[1]->type;
	c.dispatched = a->def && a->def->kind == OP_dispatch && a->def->in->op == kernel;
	c.slotted = c.dispatched && attr_get_int(a->def, "slot", 0);
	c.a = c.dispatched ? a->def->args[0] : a;
	c.level = linear->outs[0]->type.level;
	c.range = linear->outs[0]->type.range;
	c.n = w->dim[0];
	c.k = w->dim[1];
	c.at = c.a->type.dtype;
	c.bt = w->dtype;
	c.dot = target_dot(e->t, c.at, c.bt);
	if (!c.dot)
		ice("no dot product of %s and %s", dtype_info[c.at].name, dtype_info[c.bt].name);
	c.combine = find_op(kernel, OP_combine);
	c.tail = attr_get_int(kernel, "tail", 0) ? behind_linears(&c) : NULL;
	c.rows = (int)MIN(attr_get_int(kernel, "rows", 1), MAX_TILE_ROWS + 1);
	c.cols = MAX(0, MIN(attr_get_int(kernel, "cols", e->lanes),
			    (MAX_TILE_VECTORS + 1) * e->lanes));
	c.kblock = attr_get_int(kernel, "kblock", 0);
	if (c.kblock >= c.k)
		c.kblock = 0;
	c.rblock = attr_get_int(kernel, "rblock", 0);
	c.together = attr_get_int(kernel, "together", 1);
	c.streams = c.linears.n;
	c.stream_vectors = (int)(c.cols / e->lanes);
	c.vectors = c.streams * c.stream_vectors;
	check_contract(&c);
	return c;
}

static int64_t steps_of(const Contract *c)
{
	int64_t k = c->kblock ? c->kblock : c->k;

	return (k + c->dot->kpack - 1) / c->dot->kpack;
}

/* How far to go in the next panel a k-step, so that all tiles fetch alike: at most a line. */
static Val stride_of(Contract *c, Val task, Val tiles)
{
	Ll *l = &c->e->l;
	Val bytes = ll_field(l, l->i64, task, offsetof(moert_task, next_bytes));
	Val steps = ll_mul(l, tiles, ll_i64(l, steps_of(c)));
	Val up = ll_add(l, bytes, LLVMBuildSub(l->b, steps, ll_i64(l, 1), ""));
	Val even = LLVMBuildUDiv(l->b, up, steps, ""), line = ll_i64(l, 64);

	return ll_select(l, LLVMBuildICmp(l->b, LLVMIntULT, even, line, ""), even, line);
}

/* The sums that these rows go to, on their way while the tile computes. */
static void fetch_sums(Contract *c, Val call, Val task, Val row, Val height)
{
	Ll *l = &c->e->l;
	Val sink = ll_field(l, l->ptr, task, offsetof(moert_task, sink));
	Loop rows = ll_for(l, row, ll_add(l, row, height), 1, "sums");
	Val token = epilogue_row_token(c, call, rows.i);
	Val at = ll_at(l, sink, ll_mul(l, token, ll_i64(l, c->cols * 4)));

	for (int64_t byte = 0; byte < c->cols * 4; byte += 64)
		ll_prefetch(l, ll_at_const(l, at, byte), 1);
	ll_end_for(l, &rows);
}

/* Several tiles are never lower than half of the highest: MR + 1 rows are cut in two. */
static int lowest_far(const Contract *c)
{
	return MAX(1, (c->rows + 1) / 2);
}

/* What all tiles of a panel are handed, in their order; row and next change. */
enum { CALL, TASK, ROW, NEXT, STRIDE, VIEW, LIST, EPILOGUE, TILE_ARGS };

/* tiles[h] of every height that occurs; NULL where one does not */
static void call_tiles(Contract *c, Val *tiles, Val height, Val args[TILE_ARGS])
{
	Ll *l = &c->e->l;
	LLVMBasicBlockRef done = ll_block(l, "done"), other = ll_block(l, "none");
	Val choose = LLVMBuildSwitch(l->b, height, other, (unsigned)c->rows);

	ll_here(l, other);
	LLVMBuildUnreachable(l->b);
	for (int h = 1; h <= c->rows; h++) {
		if (!tiles[h])
			continue;
		LLVMBasicBlockRef here = ll_block(l, "height");
		LLVMAddCase(choose, ll_i64(l, h), here);
		ll_here(l, here);
		ll_call(l, tiles[h], args, TILE_ARGS);
		LLVMBuildBr(l->b, done);
	}
	ll_here(l, done);
}

/* ceil(rows / tile rows) tiles, the first rows % tiles of them one row higher. */
static Val emit_driver(Contract *c, const char *name, Val *far, Val *near, Val epilogue)
{
	Ll *l = &c->e->l;
	Val fn = ll_function(l, name, l->none, (Ty[]){l->ptr, l->ptr}, 2, true);
	Val call = LLVMGetParam(fn, 0), task = LLVMGetParam(fn, 1);
	Val row0 = ll_field(l, l->i64, task, offsetof(moert_task, row0));
	Val row1 = ll_field(l, l->i64, task, offsetof(moert_task, row1));
	Val rows = LLVMBuildSub(l->b, row1, row0, "");
	Val up = ll_add(l, rows, ll_i64(l, c->rows - 1));
	Val tiles = LLVMBuildSDiv(l->b, up, ll_i64(l, c->rows), "");
	Val next = ll_field(l, l->ptr, task, offsetof(moert_task, next));
	Val several = LLVMBuildICmp(l->b, LLVMIntSGT, tiles, ll_i64(l, 1), "");
	Val known = LLVMBuildIsNotNull(l->b, next, "");
	LLVMBasicBlockRef many = ll_block(l, "many"), few = ll_block(l, "few");
	LLVMBasicBlockRef end = ll_block(l, "end");
	Val at = ll_alloca(l, l->i64, "at");
	Val args[TILE_ARGS] = {
		[CALL] = call, [TASK] = task, [EPILOGUE] = epilogue,
		[VIEW] = emit_view(c->e, call, emit_buffer_of(c->e, c->a)),
		[LIST] = c->dispatched ? emit_rows_at(c->e, call, c->range)
				       : LLVMConstNull(l->ptr),
	};

	ll_store(l, row0, at, 8);
	Val low = LLVMBuildSDiv(l->b, rows, LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSGT,
		tiles, ll_i64(l, 0), ""), tiles, ll_i64(l, 1), ""), "");
	Val higher = LLVMBuildSub(l->b, rows, ll_mul(l, low, tiles), "");
	ll_branch(l, LLVMBuildAnd(l->b, several, known, ""), many, few);
	for (int f = 0; f < 2; f++) {
		ll_here(l, f ? many : few);
		args[STRIDE] = f ? stride_of(c, task, tiles) : ll_i64(l, 0);
		Val share = ll_mul(l, args[STRIDE], ll_i64(l, steps_of(c)));
		Loop tile = ll_for(l, ll_i64(l, 0), tiles, 1, "tile");
		Val one_more = LLVMBuildICmp(l->b, LLVMIntSLT, tile.i, higher, "");
		Val height = ll_add(l, low, LLVMBuildZExt(l->b, one_more, l->i64, ""));
		args[ROW] = ll_load(l, l->i64, at, 8);
		args[NEXT] = f ? ll_at(l, next, ll_mul(l, tile.i, share)) : next;
		if (c->combine)
			fetch_sums(c, call, task, args[ROW], height);
		call_tiles(c, f ? far : near, height, args);
		ll_store(l, ll_add(l, args[ROW], height), at, 8);
		ll_end_for(l, &tile);
		LLVMBuildBr(l->b, end);
	}
	ll_here(l, end);
	LLVMBuildRetVoid(l->b);
	return fn;
}

static void emit_functions(Contract *c, Step *step)
{
	Emit *e = c->e;
	Val far[MAX_TILE_ROWS + 1], near[MAX_TILE_ROWS + 1];
	Val epilogue = emit_epilogue(c);

	for (int h = 1; h <= c->rows; h++) {
		far[h] = h < lowest_far(c) ? NULL : emit_tile(c, h, true);
		near[h] = emit_tile(c, h, false);
	}
	step->contract = emit_driver(c, step->name, far, near, epilogue);
	step->finish = c->combine ? emit_finish(c) : NULL;
	if (c->tail) {
		const Type over = {.level = c->level, .range = c->range};
		const char *name = arena_printf(e->arena, "%s.tail", step->name);
		step->map = emit_map(e, name, &over, c->kernel->regions[0], &step->scratch);
	}
}

void emit_contract(Emit *e, const Op *kernel, Step *step)
{
	Contract c = read_kernel(e, kernel);
	int64_t steps = (c.k + c.dot->kpack - 1) / c.dot->kpack;

	if (!step->ready)
		emit_functions(&c, step);
	step->over.level = c.level;
	step->over.range = c.range;
	step->weight = emit_weight_of(e, c.linears.at[0]->args[1]->def);
	step->panels = (c.n + c.cols - 1) / c.cols;
	step->panel_bytes = steps * c.vectors * e->lanes * c.dot->kpack * entry_bytes(c.bt);
	step->width = c.streams * c.cols;
	step->k = c.k;
	step->kblock = c.kblock;
	step->rows = c.rows;
	step->rblock = c.rblock;
	step->together = c.together;
}
