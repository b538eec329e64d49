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

int64_t contract_step_bytes(const Contract *c)
{
	return (int64_t)c->vectors * c->e->lanes * c->dot->kpack * entry_bytes(c->bt);
}

int64_t contract_panel_bytes(const Contract *c)
{
	return (c->k + c->dot->kpack - 1) / c->dot->kpack * contract_step_bytes(c);
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

static int64_t panels_of(const Contract *c)
{
	return (c->n + c->cols - 1) / c->cols;
}

/* As many panels side by side as there are, and registers for them: accumulators, the vectors
 * of one panel, an entry of each row, and one to spare. */
static int beside(const Contract *c, int rows)
{
	int panels = MOERT_BESIDE;

	while (panels > 1 && (panels > panels_of(c) || panels * c->vectors > MAX_TILE_VECTORS ||
			      panels * c->vectors * rows + c->vectors + rows >= c->e->t->registers))
		panels /= 2;
	return panels;
}

/* The tiles of each height; NULL where one does not occur. */
typedef struct { Val near[MAX_TILE_ROWS + 1], several[MAX_TILE_ROWS + 1],
		     far[MAX_TILE_ROWS + 1]; } Tiles;

static Tiles emit_all_tiles(Contract *c)
{
	Tiles t = {.near = {NULL}};

	for (int h = 1; h <= c->rows; h++) {
		t.near[h] = emit_tile(c, (TileShape){h, 1, false});
		if (beside(c, h) > 1)
			t.several[h] = emit_tile(c, (TileShape){h, beside(c, h), false});
		if (h >= lowest_far(c))
			t.far[h] = emit_tile(c, (TileShape){h, 1, true});
	}
	return t;
}

/* The function that cuts the rows of a task into tiles, while it is emitted. */
typedef struct {
	Contract *c;
	Tiles     tiles;
	Val       task, rows;
	Val       counter;              /* of rows, or of panels, that are done */
	Val       args[TILE_ARGS];      /* of the next tile */
} Driver;

/* A switch over the heights of which `tiles` has any: the block for what is emitted next is
 * height h's; all go to `done`. */
typedef struct { Val choose; LLVMBasicBlockRef done; } Choice;

static Choice choose_height(Driver *d, Val height)
{
	Ll *l = &d->c->e->l;
	LLVMBasicBlockRef none = ll_block(l, "none");
	Choice c = {.done = ll_block(l, "done")};

	c.choose = LLVMBuildSwitch(l->b, height, none, (unsigned)d->c->rows);
	ll_here(l, none);
	LLVMBuildUnreachable(l->b);
	return c;
}

static void at_height(Driver *d, const Choice *c, int h)
{
	Ll *l = &d->c->e->l;
	LLVMBasicBlockRef here = ll_block(l, "height");

	LLVMAddCase(c->choose, ll_i64(l, h), here);
	ll_here(l, here);
}

static Val task_at(Ll *l, Val tasks, Val number)
{
	return ll_at(l, tasks, ll_mul(l, number, ll_i64(l, sizeof(moert_task))));
}

/* One tile of n panels from the next one on. */
static void call_near(Driver *d, Val tile, int h, int n)
{
	Contract *c = d->c;
	Ll *l = &c->e->l;
	Val panel = ll_load(l, l->i64, d->counter, 8);

	for (int i = n - 1; i >= 0; i--) {
		Val task = task_at(l, d->task, ll_add(l, panel, ll_i64(l, i)));
		if (i == n - 1)
			d->args[NEXT] = ll_field(l, l->ptr, task, offsetof(moert_task, next));
		if (c->combine)
			fetch_sums(c, d->args[CALL], task, d->args[ROW], ll_i64(l, h));
		d->args[TASK] = task;
	}
	ll_call(l, tile, d->args, TILE_ARGS);
	ll_store(l, ll_add(l, panel, ll_i64(l, n)), d->counter, 8);
}

/* One tile's rows through n panels, several of them side by side while there are as many. */
static void emit_few(Driver *d, Val n)
{
	Ll *l = &d->c->e->l;
	LLVMBasicBlockRef more = ll_block(l, "panels"), end = ll_block(l, "end");
	LLVMBasicBlockRef head = ll_block(l, "more");

	ll_store(l, ll_i64(l, 0), d->counter, 8);
	ll_goto(l, head);
	Val left = LLVMBuildSub(l->b, n, ll_load(l, l->i64, d->counter, 8), "");
	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSGT, left, ll_i64(l, 0), ""), more, end);
	ll_here(l, more);
	Choice choice = choose_height(d, d->rows);
	for (int h = 1; h <= d->c->rows; h++) {
		at_height(d, &choice, h);
		if (d->tiles.several[h]) {
			Val width = ll_i64(l, beside(d->c, h));
			LLVMBasicBlockRef many = ll_block(l, "several"), one = ll_block(l, "one");
			ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSGE, left, width, ""), many, one);
			ll_here(l, many);
			call_near(d, d->tiles.several[h], h, beside(d->c, h));
			LLVMBuildBr(l->b, choice.done);
			ll_here(l, one);
		}
		call_near(d, d->tiles.near[h], h, 1);
		LLVMBuildBr(l->b, choice.done);
	}
	ll_here(l, choice.done);
	LLVMBuildBr(l->b, head);
	ll_here(l, end);
}

/* ceil(rows / tile rows) tiles, the first rows % tiles of them one row higher; each fetches a
 * part of what comes next, if that is known. */
static void emit_many(Driver *d, Val tiles)
{
	Contract *c = d->c;
	Ll *l = &c->e->l;
	Val next = ll_field(l, l->ptr, d->task, offsetof(moert_task, next)), none = ll_i64(l, 0);
	Val known = LLVMBuildIsNotNull(l->b, next, "");
	Val stride = ll_select(l, known, stride_of(c, d->task, tiles), none);
	Val part = ll_mul(l, stride, ll_i64(l, steps_of(c)));
	Val low = LLVMBuildSDiv(l->b, d->rows, tiles, "");
	Val higher = LLVMBuildSub(l->b, d->rows, ll_mul(l, low, tiles), "");

	next = ll_select(l, known, next, ll_field(l, l->ptr, d->task, offsetof(moert_task, panel)));
	ll_store(l, d->args[ROW], d->counter, 8);
	Loop tile = ll_for(l, none, tiles, 1, "tile");
	Val one_more = LLVMBuildICmp(l->b, LLVMIntSLT, tile.i, higher, "");
	Val height = ll_add(l, low, LLVMBuildZExt(l->b, one_more, l->i64, ""));
	d->args[ROW] = ll_load(l, l->i64, d->counter, 8);
	d->args[NEXT] = ll_at(l, next, ll_mul(l, tile.i, part));
	d->args[STRIDE] = stride;
	if (c->combine)
		fetch_sums(c, d->args[CALL], d->task, d->args[ROW], height);
	Choice choice = choose_height(d, height);
	for (int h = lowest_far(c); h <= c->rows; h++) {
		at_height(d, &choice, h);
		ll_call(l, d->tiles.far[h], d->args, TILE_ARGS);
		LLVMBuildBr(l->b, choice.done);
	}
	ll_here(l, choice.done);
	ll_store(l, ll_add(l, d->args[ROW], height), d->counter, 8);
	ll_end_for(l, &tile);
}

/* void contract(call, task, n) */
static Val emit_driver(Contract *c, const char *name, Val epilogue)
{
	Ll *l = &c->e->l;
	Driver d = {.c = c, .tiles = emit_all_tiles(c)};
	Val fn = ll_function(l, name, l->none, (Ty[]){l->ptr, l->ptr, l->i64}, 3, true);
	Val call = LLVMGetParam(fn, 0), n = LLVMGetParam(fn, 2), none = ll_i64(l, 0);
	LLVMBasicBlockRef many = ll_block(l, "many"), few = ll_block(l, "few");

	d.task = LLVMGetParam(fn, 1);
	d.counter = ll_alloca(l, l->i64, "done");
	Val row0 = ll_field(l, l->i64, d.task, offsetof(moert_task, row0));
	Val row1 = ll_field(l, l->i64, d.task, offsetof(moert_task, row1));
	d.rows = LLVMBuildSub(l->b, row1, row0, "");
	Val args[TILE_ARGS] = {
		[CALL] = call, [TASK] = d.task, [ROW] = row0, [STRIDE] = none,
		[EPILOGUE] = epilogue,
		[VIEW] = emit_view(c->e, call, emit_buffer_of(c->e, c->a)),
		[LIST] = c->dispatched ? emit_rows_at(c->e, call, c->range)
				       : LLVMConstNull(l->ptr),
	};
	memcpy(d.args, args, sizeof args);
	Val up = ll_add(l, d.rows, ll_i64(l, c->rows - 1));
	Val tiles = LLVMBuildSDiv(l->b, up, ll_i64(l, c->rows), "");
	ll_branch(l, LLVMBuildICmp(l->b, LLVMIntSGT, tiles, ll_i64(l, 1), ""), many, few);
	ll_here(l, few);
	Val any = LLVMBuildICmp(l->b, LLVMIntSGT, d.rows, none, "");
	emit_few(&d, ll_select(l, any, n, none));
	LLVMBuildRetVoid(l->b);
	memcpy(d.args, args, sizeof args);
	ll_here(l, many);
	emit_many(&d, tiles);
	LLVMBuildRetVoid(l->b);
	return fn;
}

static void emit_functions(Contract *c, Step *step)
{
	Emit *e = c->e;

	step->contract = emit_driver(c, step->name, emit_epilogue(c));
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

	if (!step->ready)
		emit_functions(&c, step);
	step->over.level = c.level;
	step->over.range = c.range;
	step->weight = emit_weight_of(e, c.linears.at[0]->args[1]->def);
	step->panels = panels_of(&c);
	step->panel_bytes = contract_panel_bytes(&c);
	step->width = c.streams * c.cols;
	step->k = c.k;
	step->kblock = c.kblock;
	step->rows = c.rows;
	step->rblock = c.rblock;
	step->together = c.together;
}
