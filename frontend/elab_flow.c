/* SPDX-License-Identifier: Apache-2.0
 * elab_flow: branches and loops.
 *
 * A branch at run time becomes a region; the names around it that it rebinds are its
 * results.  A `repeat` is run in trials first, until the types of what it carries stay: a
 * number may become a tensor, and once may become once a token. */
#include "elab.h"

#include <string.h>

typedef struct {
	Binding *b;
	Val      old, now[2];
	Loc      loc;
	bool     carried;               /* repeat: an argument of the region */
	Type     type;
	Value   *arg;
} Change;

typedef struct {
	Change *at;
	int     n;
} Changes;

static Changes snapshot(Elab *e)
{
	Vec(Change) v = {0};

	for (Scope *s = e->frame->scope; s; s = s == e->frame->root ? NULL : s->up)
		for (Binding *b = s->first; b; b = b->next)
			vec_push(e->a, &v,
				 ((Change){.b = b, .old = b->val, .loc = b->loc}));
	e->ops += v.n;                  /* they are copied: not free */
	return (Changes){v.at, v.n};
}

static void restore(Changes *c)
{
	for (int i = 0; i < c->n; i++) {
		c->at[i].b->val = c->at[i].old;
		c->at[i].b->loc = c->at[i].loc;
	}
}

static void keep(Changes *c, int side)
{
	for (int i = 0; i < c->n; i++)
		c->at[i].now[side] = c->at[i].b->val;
}

static bool changed(const Change *c, int sides)
{
	for (int i = 0; i < sides; i++)
		if (!val_same(&c->old, &c->now[i]))
			return true;
	return false;
}

static void run_scoped(Elab *e, const Node *block, const char *what, int line)
{
	scope_push(e);
	run_stmt(e, block);
	scope_pop(e, what, line);
}

static void run_branch(Elab *e, Op *op, const Node *block, int line)
{
	Frame *f = e->frame;
	Region *outer = f->region;

	f->region = op_add_region(e->layer->m, f->fn, op);
	f->regions++;
	if (block)
		run_scoped(e, block, "if", line);
	f->regions--;
	f->region = outer;
}

/* Both ways bring each changed name to one type; what is bound afterwards. */
static void join_branches(Elab *e, Op *op, Changes *c)
{
	const Type *cond = &op->args[0]->type;
	Frame *f = e->frame;
	Region *outer = f->region;
	Change **which = NEWN(e->a, Change *, (size_t)c->n);
	Type *types = NEWN(e->a, Type, (size_t)c->n);
	Value **yield = NEWN(e->a, Value *, (size_t)c->n);
	int n = 0;

	for (int i = 0; i < c->n; i++) {
		Change *k = &c->at[i];
		if (!changed(k, 2))
			continue;
		k->b->val = val_poison();
		if (!join_vals(e, k->now, 2, op->loc, &types[n]))
			continue;
		if (cond->level != LV_ONCE) {
			types[n].level = cond->level;
			types[n].range = cond->range;
		}
		if (types[n].dtype == DT_f64 && cond->level != LV_ONCE)
			types[n].dtype = DT_f32;
		which[n++] = k;
	}
	bool ok = true;
	for (int side = 0; side < 2; side++) {
		f->region = op->regions[side];
		for (int i = 0; i < n; i++) {
			yield[i] = bring(e, which[i]->now[side], &types[i], op->loc);
			ok = ok && yield[i];
		}
		if (ok)
			op_give(e, OP_yield, n, yield, op->loc);
	}
	f->region = outer;
	if (!ok)
		return;
	op_results(e, op, n, types);
	for (int i = 0; i < n; i++) {
		which[i]->b->val = val_ir(op->outs[i]);
		op->outs[i]->name = which[i]->b->name;
	}
}

static void run_time_if(Elab *e, const Node *n, Value *cond)
{
	bool token = cond->type.level == LV_TOKEN || cond->type.level == LV_ROW;
	int outer = e->frame->token_if;
	Changes c = snapshot(e);
	Op *op = op_start(e, token ? OP_where : OP_if, 1, &cond, 0, n->loc);

	if (++e->ops > e->max_ops)
		return;
	op_append(e->frame->region, op);
	if (token)
		e->frame->token_if = n->loc.line;
	run_branch(e, op, n->kids[1], n->loc.line);
	keep(&c, 0);
	restore(&c);
	run_branch(e, op, n->nkids > 2 ? n->kids[2] : NULL, n->loc.line);
	keep(&c, 1);
	restore(&c);
	e->frame->token_if = outer;
	join_branches(e, op, &c);
}

/* What the branch not taken would have bound, for who looks for it later. */
static void not_bound(Elab *e, const Node *block, int line)
{
	for (int i = 0; block && i < block->nkids; i++) {
		const Node *k = block->kids[i];
		for (int j = 0; k && k->kind == N_BIND && j < k->nnames; j++)
			vec_push(e->a, &e->frame->gone,
				 ((Gone){k->names[j], "if", line}));
	}
}

void run_if(Elab *e, const Node *n)
{
	Val v = eval(e, n->kids[0]);
	const Node *other = n->nkids > 2 ? n->kids[2] : NULL;

	if (v.kind == V_POISON) {
		run_either(e, n->kids[1], other, n->loc.line);
		return;
	}
	if (v.kind == V_BOOL) {
		const Node *taken = v.b ? n->kids[1] : other;
		not_bound(e, v.b ? other : n->kids[1], n->loc.line);
		if (taken)
			run_scoped(e, taken, "if", n->loc.line);
		return;
	}
	if (v.kind != V_IR || v.v->type.dtype != DT_bool || v.v->type.rank) {
		bool vector = v.kind == V_IR && v.v->type.dtype == DT_bool;
		say(e, E_condition, n->kids[0]->loc,
		    vector ? "use `all(..)`, `any(..)` or `where`" : NULL,
		    "the condition of `if` must be true or false, not %s",
		    val_words(e, &v));
		return;
	}
	if (v.v->type.level == LV_SEQ || v.v->type.level == LV_EXPERT) {
		say(e, E_runtime_condition, n->kids[0]->loc, "use `where`",
		    "the condition of this `if` %s", level_text(&v.v->type));
		return;
	}
	run_time_if(e, n, v.v);
}

void run_for(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	const char *prefix = f->prefix;
	int64_t rounds;

	if (!need_int(e, eval(e, n->kids[0]), n->kids[0]->loc, "the number of rounds", 0,
		      MAX_FOR, &rounds)) {
		run_loosely(e, n->kids[1], "for", n->loc.line, n->s);
		return;
	}
	f->in_for++;
	for (int64_t i = 0; i < rounds && !e->fatal && !f->returned; i++) {
		int errors = e->errors;
		f->prefix = arena_printf(e->a, "%s%jd.", prefix, (intmax_t)i);
		scope_push(e);
		scope_add(e, f->scope, n->s, val_num((double)i), n->loc);
		run_block(e, n->kids[1]);
		scope_pop(e, "for", n->loc.line);
		if (e->errors > errors)
			break;                  /* once is enough */
	}
	f->in_for--;
	f->prefix = prefix;
}

/* One run of the body in a new region.  The value of `until` comes back. */
static Val run_round(Elab *e, const Node *n, Op *op, Changes *c)
{
	Frame *f = e->frame;
	Region *outer = f->region;
	Val until = val_bool(false);

	f->region = op_add_region(e->layer->m, f->fn, op);
	for (int i = 0; i < c->n; i++) {
		Change *k = &c->at[i];
		if (!k->carried)
			continue;
		k->arg = region_arg(e->layer->m, f->region, k->type, k->b->name);
		k->b->val = val_ir(k->arg);
	}
	f->regions++;
	scope_push(e);
	run_stmt(e, n->kids[2]);
	if (n->kids[1])
		until = eval(e, n->kids[1]);
	scope_pop(e, "repeat", n->loc.line);
	f->regions--;
	keep(c, 0);
	restore(c);
	f->region = outer;
	return until;
}

/* What the body rebinds is carried, at the type where old and new meet. */
static bool widen(Elab *e, Changes *c, Loc loc)
{
	bool wider = false;

	for (int i = 0; i < c->n; i++) {
		Change *k = &c->at[i];
		Val both[2] = {k->old, k->now[0]};
		Type t;
		if (k->carried ? k->now[0].kind == V_IR && k->now[0].v == k->arg
			       : !changed(k, 1))
			continue;
		if (both[1].kind != V_IR && both[0].kind != V_IR &&
		    both[0].kind != V_NONE &&
		    both[0].kind != V_BOOL) { /* a number that counts rounds */
			t = type_scalar(DT_f64, LV_ONCE);
			if (both[0].kind != V_NUM || both[1].kind != V_NUM)
				continue;
		} else if (!join_vals(e, both, 2, loc, &t)) {
			continue;
		}
		if (k->carried) {
			t.level = MAX(t.level, k->type.level);
			if (t.dtype == DT_i32 || k->type.dtype == DT_f32)
				t.dtype = k->type.dtype;
		}
		if (t.dtype == DT_f64 && (t.level != LV_ONCE || t.rank))
			t.dtype = DT_f32;
		wider = wider || !k->carried || !type_equal(&t, &k->type);
		k->carried = true;
		k->type = t;
	}
	return wider;
}

static bool settle(Elab *e, const Node *n, Changes *c)
{
	for (int round = 0; round < 8; round++) {
		Mark m = trial_begin(e);
		int errors = e->errors;
		Op *op = op_start(e, OP_repeat, 0, NULL, 0, n->loc);
		e->mute++;
		run_round(e, n, op, c);
		bool wider = e->errors == errors && widen(e, c, n->loc);
		bool failed = e->errors != errors;
		e->mute--;
		trial_undo(e, m);
		e->errors = errors;
		if (failed || !wider || e->fatal)
			return !e->fatal;
	}
	say(e, E_repeat_type, n->loc, NULL,
	    "what this `repeat` carries never settles on a type");
	return false;
}

static void close_repeat(Elab *e, const Node *n, Op *op, Changes *c, Val until,
			 int64_t max)
{
	Frame *f = e->frame;
	Region *outer = f->region;
	Value **init = NEWN(e->a, Value *, (size_t)c->n + 1);
	Value **yield = NEWN(e->a, Value *, (size_t)c->n + 1);
	Type *types = NEWN(e->a, Type, (size_t)c->n + 1);
	int k = 0;

	for (int i = 0; i < c->n; i++) {
		if (!c->at[i].carried)
			continue;
		types[k] = c->at[i].type;
		init[k] = bring(e, c->at[i].old, &types[k], n->loc);
		f->region = op->regions[0];
		yield[k] = bring(e, c->at[i].now[0], &types[k], n->loc);
		f->region = outer;
		if (!init[k] || !yield[k++])
			return;
	}
	f->region = op->regions[0];
	yield[k] = as_tensor(e, until, DT_bool, 0, n->loc);
	if (!yield[k]) {
		f->region = outer;
		return;
	}
	op_give(e, OP_yield, k + 1, yield, n->loc);
	f->region = outer;
	op->nargs = k;
	op->args = init;
	attr_int(e->layer->m, op, "max", max);
	op_results(e, op, k, types);
	op_append(outer, op);
	for (int i = 0, j = 0; i < c->n; i++)
		if (c->at[i].carried) {
			op->outs[j]->name = c->at[i].b->name;
			c->at[i].b->val = val_ir(op->outs[j++]);
		}
}

void run_repeat(Elab *e, const Node *n)
{
	Changes c = snapshot(e);
	int64_t max;

	if (!need_int(e, eval(e, n->kids[0]), n->kids[0]->loc, "the number of rounds", 1,
		      (int64_t)1 << 31, &max)) {
		run_loosely(e, n->kids[2], "repeat", n->loc.line, NULL);
		return;
	}
	if (!settle(e, n, &c))
		return;
	int errors = e->errors;
	Op *op = op_start(e, OP_repeat, 0, NULL, 0, n->loc);
	Val until = run_round(e, n, op, &c);
	if (until.kind == V_IR &&
	    (until.v->type.dtype != DT_bool || until.v->type.rank ||
	     until.v->type.level != LV_ONCE))
		say(e, E_condition, n->kids[1]->loc, "`all(.., over: tokens)`",
		    "`until` must be one bool a call; this is %s and %s",
		    type_words(e, &until.v->type), level_text(&until.v->type));
	else if (until.kind != V_IR && until.kind != V_BOOL && until.kind != V_POISON)
		say(e, E_condition, n->kids[1]->loc, NULL,
		    "`until` must be true or false, not %s", val_words(e, &until));
	if (e->errors == errors && !e->fatal) {
		close_repeat(e, n, op, &c, until, max);
		return;
	}
	for (int i = 0; i < c.n; i++)
		if (c.at[i].carried)
			c.at[i].b->val = val_poison();
}
