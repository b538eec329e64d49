/* SPDX-License-Identifier: Apache-2.0
 * elab_reduce: functions along an axis, the tokens or a sequence; and the choices. */
#include "elab.h"

#include <string.h>

typedef enum { ALONG_AXIS, ALONG_TOKENS, ALONG_SEQUENCE } Along;

/* Whether this place may look at other tokens. */
static bool may_cross(Elab *e, const Node *over)
{
	Frame *f = e->frame;

	if (f->token_if) {
		say(e, E_over, over->loc, "compute it before the `if`, or use `where`",
		    "`over: %s` inside an `if` that differs from token to token "
		    "(line %d)",
		    over->s, f->token_if);
		return false;
	}
	if (f->range >= 0) {
		say(e, E_over, over->loc, "compute it in the layer",
		    "`over: %s` inside an expert, which sees one token", over->s);
		return false;
	}
	return true;
}

/* A name behind `over:` that is nobody's: perhaps one of its words was meant. */
static bool near_word(Elab *e, const Node *over)
{
	static const char *const words[] = {"tokens", "sequence"};
	const char *fix;

	if (over->kind != N_NAME || is_known(e, over->s))
		return false;
	fix = fix_near(e, over->s, words, COUNT(words));
	if (fix)
		say(e, E_unknown_name, over->loc, fix, "there is no `%s` here", over->s);
	return fix != NULL;
}

static bool read_over(Elab *e, const Args *a, const Node *over, const Type *t,
		      Along *along, int64_t *axis)
{
	*along = ALONG_AXIS;
	if (over && over->kind == N_NAME && strcmp(over->s, "tokens") == 0)
		*along = ALONG_TOKENS;
	else if (over && over->kind == N_NAME && strcmp(over->s, "sequence") == 0)
		*along = ALONG_SEQUENCE;
	if (*along != ALONG_AXIS)
		return may_cross(e, over);
	if (over && near_word(e, over))
		return false;
	if (t->rank == 0) {
		say(e, E_axes, a->call->loc,
		    arena_printf(e->a, "`%s(.., over: tokens)`?", a->name),
		    "%s of a single number: it has no axis", a->name);
		return false;
	}
	*axis = t->rank - 1;
	return !over || need_int(e, eval(e, over), over->loc, "the axis of `over:`", 0,
				 t->rank - 1, axis);
}

static Value *along(Elab *e, Args *a, Value *x, const Node *over)
{
	Along how;
	int64_t axis;

	if (!read_over(e, a, over, &x->type, &how, &axis))
		return NULL;
	Op *op = op_start(e, a->op, 1, &x, 1, a->call->loc);
	if (how == ALONG_AXIS)
		attr_int(e->layer->m, op, "over", axis);
	else
		attr_word(e->layer->m, op, "over", over->s);
	return op_finish(e, op);
}

static bool is_cross(const Node *over)
{
	return over && over->kind == N_NAME &&
	       (strcmp(over->s, "tokens") == 0 || strcmp(over->s, "sequence") == 0);
}

/* Over the tokens, of a value that is the same for all of them. */
static Val reduce_same(Elab *e, Args *a, Val v)
{
	bool itself = a->op == OP_mean || a->op == OP_amin || a->op == OP_amax ||
		      a->op == OP_any || a->op == OP_all;
	bool found;

	if (!may_cross(e, a->node[1]))
		return val_poison();
	if (itself)
		return v;
	if (a->op == OP_sum && strcmp(a->node[1]->s, "tokens") == 0)
		return binary_op(e, OP_mul, builtin_value(e, "T", a->call->loc, &found),
				 v, a->call);
	say(e, E_over, a->call->loc, NULL,
	    "%s over the tokens of a value that is the same for all", a->name);
	return val_poison();
}

Val do_reduce(Elab *e, Args *a)
{
	bool logic = a->op == OP_any || a->op == OP_all;
	Val v = a->arg[0];
	Dtype d = DT_bool;

	if (!logic)
		arith_types(e, &v, 1, a->op == OP_mean || a->op == OP_logsumexp, &d);
	if (is_cross(a->node[1]) &&
	    (v.kind != V_IR || v.v->type.level == LV_ONCE))
		return reduce_same(e, a, v);
	Value *x = as_tensor(e, v, d, 0, a->call->loc);
	if (!x)
		return val_poison();
	if (logic && x->type.dtype != DT_bool) {
		say(e, E_types, a->call->loc, NULL, "%s takes true or false, not %s",
		    a->name, type_words(e, &x->type));
		return val_poison();
	}
	return val_ir(along(e, a, x, a->node[1]));
}

Val do_along(Elab *e, Args *a)
{
	Val v = a->arg[0];
	Dtype d;

	arith_types(e, &v, 1, a->op == OP_softmax, &d);
	Value *x = as_tensor(e, v, d, 0, a->call->loc);
	if (!x)
		return val_poison();
	if (is_cross(a->node[1]) && x->type.level == LV_ONCE) {
		say(e, E_over, a->call->loc, NULL,
		    "%s over the tokens of a value that is the same for all", a->name);
		return val_poison();
	}
	return val_ir(along(e, a, x, a->node[1]));
}

static const char *picker(Elab *e, int64_t n)
{
	for (Frame *f = e->frame; f; f = f->caller)
		if (f->def && f->def->kind == N_POLICY && e->layer->has_experts &&
		    n == e->layer->experts)
			return f->name;
	return NULL;
}

static bool read_k(Elab *e, Args *a, int64_t n, int64_t *k)
{
	Val v = a->arg[0];
	Loc loc = a->node[0]->loc;
	const char *who = picker(e, n);
	int64_t most = MIN(n, MAX_PICKS);

	if (v.kind == V_IR) {
		const char *p = a->node[1]->kind == N_NAME ? a->node[1]->s : "p";
		say(e, E_not_constant, loc,
		    arena_printf(e->a,
				 "pick as many as there may be and leave slots "
				 "empty: `where(range(K) < n, top(K, %s), none)`",
				 p),
		    "the number of picks must be a constant, this one %s",
		    level_text(&v.v->type));
		return false;
	}
	if (v.kind == V_NUM && is_whole(v.f, -9e15, 9e15) &&
	    (v.f < 1 || v.f > (double)most)) {
		const char *fix = arena_printf(e->a, "k may be 1 to %jd", (intmax_t)most);
		if (who)
			say(e, E_pick_count, loc, fix, "%s picks %.17g of %jd experts",
			    who, v.f, (intmax_t)n);
		else
			say(e, E_pick_count, loc, fix, "top picks %.17g of %jd", v.f,
			    (intmax_t)n);
		return false;
	}
	return need_int(e, v, loc, "the number of picks", 1, most, k);
}

static Value *vector(Elab *e, Args *a, int i)
{
	Val v = a->arg[i];
	Dtype d;

	arith_types(e, &v, 1, false, &d);
	Value *x = as_tensor(e, v, d, 0, a->node[i]->loc);
	if (x && x->type.rank == 0) {
		say(e, E_axes, a->node[i]->loc, NULL,
		    "%s chooses along an axis; this is a single number", a->name);
		return NULL;
	}
	return x;
}

Val do_top(Elab *e, Args *a)
{
	Value *x = vector(e, a, 1);
	int64_t k;

	if (!x || !read_k(e, a, x->type.dim[x->type.rank - 1], &k))
		return val_poison();
	Op *op = op_start(e, OP_topk, 1, &x, 1, a->call->loc);
	attr_int(e->layer->m, op, "k", k);
	return val_ir(op_finish(e, op));
}

Val do_argmax(Elab *e, Args *a)
{
	Value *x = vector(e, a, 0);

	return val_ir(x ? emit(e, OP_argmax, 1, &x, a->call->loc) : NULL);
}
