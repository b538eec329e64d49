/* SPDX-License-Identifier: Apache-2.0
 * eval_frame: running regions and functions.
 *
 * A frame holds the values of one run of a region.  A value is freed after its last use
 * in the region (uses in nested regions count), so that a layer of thousands of tokens
 * keeps only what is alive.  A frame of a `where` or `scan` holds some tokens or rows of
 * the frame around it: what it reads from there is gathered at the first read. */
#include "eval_ops.h"

#include <stdlib.h>
#include <string.h>

static OpMeaning *const meaning[OP_COUNT] = {
#define OP(name, ...) [OP_##name] = ref_##name,
#include "ops.def"
#undef OP
};

static bool same_rows(const Rows *a, const Rows *b)
{
	size_t bytes = (size_t)a->n * sizeof(int64_t);

	return a == b || (a->n == b->n && !memcmp(a->token, b->token, bytes) &&
			  !memcmp(a->slot, b->slot, bytes) &&
			  !memcmp(a->expert, b->expert, bytes));
}

/* Types tell ranges apart, not two groups of one range: their rows differ in number. */
static void check_rows(Eval *ev, const Op *op, const Tensor *args)
{
	const Rows *at = NULL;
	bool passes_on = op->kind == OP_call || op->kind == OP_yield ||
			 op->kind == OP_return || op->kind == OP_repeat;

	for (int i = 0; i < op->nargs && !passes_on; i++) {
		if (at && args[i].at && !same_rows(at, args[i].at))
			eval_fail(ev, "%s: rows of two groups", op_info[op->kind].name);
		at = args[i].at ? args[i].at : at;
	}
}

void op_meaning(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	check_rows(ev, op, args);
	meaning[op->kind](ev, op, args, outs);
}

typedef struct {
	Tensor t;
	bool   owned;
} Slot;

struct Frame {
	Frame         *up;              /* of the region around; NULL: a function */
	Part           part;            /* of what `up` sees */
	Map            slots;           /* Value -> Slot */
	Tensor        *results;
	int            nresults;
};

/* When each value is last used: entries sorted by op number. */
struct Plan {
	struct Last { const Value *value; int op; } *last;
	int n;
};

/* ---- map ---- */

WRAPS static int map_place(const Map *m, const void *key)
{
	uint64_t h = (uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15;
	int i = (int)(h >> 40) & (m->cap - 1);
	while (m->key[i] && m->key[i] != key)
		i = (i + 1) & (m->cap - 1);
	return i;
}

void *map_get(const Map *m, const void *key)
{
	return m->cap ? m->value[map_place(m, key)] : NULL;
}

static void map_grow(Eval *ev, Map *m)
{
	Map big = {.cap = m->cap ? 2 * m->cap : 32};
	big.key = eval_alloc(ev, big.cap, sizeof *big.key);
	big.value = eval_alloc(ev, big.cap, sizeof *big.value);
	for (int i = 0; i < m->cap; i++)
		if (m->key[i])
			map_put(ev, &big, m->key[i], m->value[i]);
	map_free(ev, m);
	*m = big;
}

void map_put(Eval *ev, Map *m, const void *key, void *value)
{
	if (2 * m->n >= m->cap)
		map_grow(ev, m);
	int i = map_place(m, key);
	m->n += !m->key[i];
	m->key[i] = key;
	m->value[i] = value;
}

void map_free(Eval *ev, Map *m)
{
	eval_free(ev, m->key);
	eval_free(ev, m->value);
	*m = (Map){0};
}

/* ---- plans ---- */

typedef struct {
	Eval *ev;
	Map   number;                   /* Value -> its entry + 1 */
	Vec(struct Last) last;
	int   op;
} Planner;

static void plan_touch(Planner *p, const Value *v)
{
	uintptr_t at = (uintptr_t)map_get(&p->number, v);
	if (!at) {
		struct Last entry = {v, p->op};
		vec_push(p->ev->arena, &p->last, entry);
		map_put(p->ev, &p->number, v, (void *)(uintptr_t)p->last.n);
	} else {
		p->last.at[at - 1].op = p->op;
	}
}

static void plan_uses(Op *op, void *planner)
{
	for (int i = 0; i < op->nargs; i++)
		plan_touch(planner, op->args[i]);
}

static int by_op(const void *a, const void *b)
{
	return ((const struct Last *)a)->op - ((const struct Last *)b)->op;
}

static Plan *plan_of(Eval *ev, const Region *r)
{
	Plan *plan = map_get(&ev->plans, r);
	if (plan)
		return plan;
	Planner p = {.ev = ev};
	for (Op *op = r->first; op; op = op->next, p.op++) {
		plan_uses(op, &p);
		for (int i = 0; i < op->nregions; i++)
			region_walk(op->regions[i], plan_uses, &p);
		for (int i = 0; i < op->nouts; i++)
			plan_touch(&p, op->outs[i]);
	}
	map_free(ev, &p.number);
	if (p.last.n > 0)
		qsort(p.last.at, (size_t)p.last.n, sizeof *p.last.at, by_op);
	plan = NEW(ev->arena, Plan);
	*plan = (Plan){p.last.at, p.last.n};
	map_put(ev, &ev->plans, r, plan);
	return plan;
}

/* ---- frames ---- */

static Slot *frame_put(Eval *ev, Frame *f, const Value *v, Tensor t, bool owned)
{
	Slot *slot = eval_alloc(ev, 1, sizeof *slot);
	*slot = (Slot){t, owned};
	map_put(ev, &f->slots, v, slot);
	return slot;
}

static void slot_free(Eval *ev, Slot *slot)
{
	if (slot && slot->owned)
		tensor_free(ev, &slot->t);
	eval_free(ev, slot);
}

static Slot *frame_get(Eval *ev, Frame *f, const Value *v)
{
	Slot *slot = map_get(&f->slots, v);
	if (slot)
		return slot;
	if (!f->up)
		ice("%s is read before it is computed", v->name ? v->name : "a value");
	slot = frame_get(ev, f->up, v);
	const Part *p = &f->part;
	Tensor *t = &slot->t;
	if (t->at && p->token)
		eval_fail(ev, "a `where` or `scan` of tokens reads routed rows");
	if (t->type.level == LV_TOKEN && p->token)
		return frame_put(ev, f, v, tensor_rows(ev, t, p->token, p->ctx->tokens,
						       NULL), true);
	if (t->at && t->at == p->from)
		return frame_put(ev, f, v, tensor_rows(ev, t, p->row, p->to->n, p->to),
				 true);
	return slot;
}

/* Ops that pass a weight on, or read it piece by piece. */
static bool takes_unread(OpKind kind)
{
	switch (kind) {
	case OP_linear: case OP_cast: case OP_stop: case OP_reshape: case OP_slice:
	case OP_gather: case OP_call: case OP_yield: case OP_return:
		return true;
	default:
		return false;
	}
}

static void run_op(Eval *ev, const Op *op)
{
	Frame *f = ev->frame;
	Tensor *args = eval_alloc(ev, op->nargs + op->nouts, sizeof *args);
	Tensor *outs = args + op->nargs;

	for (int i = 0; i < op->nargs; i++) {
		Slot *slot = frame_get(ev, f, op->args[i]);
		if (unread(&slot->t) && !takes_unread(op->kind)) {
			tensor_read(ev, &slot->t);
			slot->owned = true;
		}
		args[i] = slot->t;
	}
	op_meaning(ev, op, args, outs);
	for (int i = 0; i < op->nouts; i++)
		frame_put(ev, f, op->outs[i], outs[i], true);
	eval_free(ev, args);
}

/* What yield and return give: copies, since the frame goes. */
void frame_results(Eval *ev, const Op *op, const Tensor *args)
{
	Frame *f = ev->frame;
	f->nresults = op->nargs;
	f->results = eval_alloc(ev, op->nargs, sizeof *f->results);
	for (int i = 0; i < op->nargs; i++)
		f->results[i] = tensor_copy(ev, &args[i]);
}

static void run(Eval *ev, const Region *r, Frame *f, const Tensor *args, Tensor *outs)
{
	Frame *caller = ev->frame;
	const Ctx *around = ev->ctx;
	const Plan *plan = plan_of(ev, r);
	int number = 0, at = 0;

	if (++ev->depth > 200)
		eval_fail(ev, "functions call each other without end");
	ev->frame = f;
	ev->ctx = f->part.ctx;
	for (int i = 0; i < r->nargs; i++)
		frame_put(ev, f, r->args[i], args[i], false);
	for (const Op *op = r->first; op; op = op->next, number++) {
		run_op(ev, op);
		for (; at < plan->n && plan->last[at].op == number; at++) {
			slot_free(ev, map_get(&f->slots, plan->last[at].value));
			if (map_get(&f->slots, plan->last[at].value))
				map_put(ev, &f->slots, plan->last[at].value, NULL);
		}
	}
	for (int i = 0; i < f->nresults; i++)
		outs[i] = f->results[i];
	for (int i = 0; i < f->slots.cap; i++)
		slot_free(ev, f->slots.value[i]);
	map_free(ev, &f->slots);
	eval_free(ev, f->results);
	ev->frame = caller;
	ev->ctx = around;
	ev->depth--;
}

void run_region(Eval *ev, const Region *r, const Part *part, const Tensor *args,
		Tensor *outs)
{
	Frame f = {.up = ev->frame, .part = {.ctx = ev->ctx}};
	if (part)
		f.part = *part;
	run(ev, r, &f, args, outs);
}

void run_fn(Eval *ev, const Fn *fn, const Tensor *args, int nargs, Tensor *outs)
{
	Frame f = {.part = {.ctx = ev->ctx}};
	if (nargs != fn->body->nargs)
		ice("@%s takes %d arguments, not %d", fn->name, fn->body->nargs, nargs);
	run(ev, fn->body, &f, args, outs);
}

/* ---- tokens ---- */

Ctx ctx_pick(Eval *ev, const Ctx *c, const int64_t *pick, int64_t n)
{
	Ctx y = *c;
	y.tokens = n;
	y.origin = eval_alloc(ev, n, sizeof(int64_t));
	y.seq = eval_alloc(ev, n, sizeof(int64_t));
	y.pos = eval_alloc(ev, n, sizeof(int64_t));
	y.seq_id = eval_alloc(ev, c->nseq, sizeof(int64_t));
	memcpy(y.seq_id, c->seq_id, (size_t)c->nseq * sizeof(int64_t));
	for (int64_t i = 0; i < n; i++) {
		y.origin[i] = c->origin[pick[i]];
		y.seq[i] = c->seq[pick[i]];
		y.pos[i] = c->pos[pick[i]];
	}
	return y;
}

void ctx_free(Eval *ev, Ctx *c)
{
	eval_free(ev, c->origin);
	eval_free(ev, c->seq);
	eval_free(ev, c->pos);
	eval_free(ev, c->seq_id);
}

Tensor tensor_at_level(Eval *ev, Tensor t, const Type *type)
{
	if (t.type.level == type->level)
		return t;
	if (unread(&t))
		tensor_read(ev, &t);
	Tensor y;
	Type to = t.type;
	to.level = type->level;
	to.range = type->range;
	tensor_new(ev, to, &t, 1, &y);
	if (t.err)
		y.err = eval_doubles(ev, y.n);
	int64_t each = type_elems(&t.type);
	for (int64_t r = 0; r < y.rows; r++) {
		int64_t from = row_in(ev, &y, r, &t) * each;
		memcpy(y.v + r * each, t.v + from, (size_t)each * sizeof *y.v);
		if (t.err)
			memcpy(y.err + r * each, t.err + from,
			       (size_t)each * sizeof *y.err);
	}
	tensor_free(ev, &t);
	return y;
}
