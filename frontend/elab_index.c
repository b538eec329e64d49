/* SPDX-License-Identifier: Apache-2.0
 * elab_index: v[i], v[a:b:s, ..]: numbers and slices first, then choices. */
#include "elab.h"

typedef struct {
	int64_t start[MAX_RANK], size[MAX_RANK], step[MAX_RANK];
	bool    drop[MAX_RANK];         /* a number: the axis goes */
	int     n;
	bool    choose;                 /* the first one is a choice */
	Val     choice;
	Loc     choice_loc;
} Subs;

static bool off(Elab *e, DiagCode code, Loc loc, const char *fmt, ...) PRINTF(4, 5);

/* A wrong subscript; left of `??` that is a reason to take the right side. */
static bool off(Elab *e, DiagCode code, Loc loc, const char *fmt, ...)
{
	va_list args;

	if (e->probe) {
		e->absent = true;
		return false;
	}
	va_start(args, fmt);
	say(e, code, loc, NULL, "%s", arena_vprintf(e->a, fmt, args));
	va_end(args);
	return false;
}

static bool slice_end(Elab *e, const Node *k, const char *what, int64_t high,
		      int64_t *out)
{
	return !k || need_int(e, eval(e, k), k->loc, what, 0, high, out);
}

static bool read_slice(Elab *e, const Node *k, int64_t n, Subs *s)
{
	int64_t from = 0, to = n, step = 1;

	if (!slice_end(e, k->kids[0], "the start of a slice", MAX_DIM, &from) ||
	    !slice_end(e, k->kids[1], "the end of a slice", MAX_DIM, &to) ||
	    !slice_end(e, k->kids[2], "the step of a slice", MAX_DIM, &step))
		return false;
	if (step < 1 || from >= to || to > n)
		return off(e, E_index_range, k->loc,
			   "the slice %jd:%jd:%jd does not fit an axis of %jd",
			   (intmax_t)from, (intmax_t)to, (intmax_t)step, (intmax_t)n);
	s->start[s->n] = from;
	s->step[s->n] = step;
	s->size[s->n++] = (to - from + step - 1) / step;
	return true;
}

static bool read_number(Elab *e, Val v, int64_t n, Subs *s, Loc loc)
{
	if (!is_whole(v.f, 0, (double)n - 1))
		return off(e, E_index_range, loc,
			   "there is no entry %.17g in an axis of %jd", v.f, (intmax_t)n);
	s->start[s->n] = (int64_t)v.f;
	s->step[s->n] = s->size[s->n] = 1;
	s->drop[s->n++] = true;
	return true;
}

static bool read_subs(Elab *e, const Node *n, const Type *t, Subs *s)
{
	for (int i = 1; i < n->nkids; i++) {
		const Node *k = n->kids[i];
		int64_t dim = t->dim[i - 1];
		if (i > t->rank)
			return off(e, E_axes, k->loc, "%s has %d ax%s, not %d",
				   type_words(e, t), t->rank, t->rank == 1 ? "is" : "es",
				   n->nkids - 1);
		if (k->kind == N_SLICE) {
			if (!read_slice(e, k, dim, s))
				return false;
			continue;
		}
		Val v = eval(e, k);
		if (v.kind == V_POISON)
			return false;
		if (v.kind == V_NUM) {
			if (!read_number(e, v, dim, s, k->loc))
				return false;
			continue;
		}
		if (i > 1) {
			say(e, E_runtime_index, k->loc, "use `take`, or transpose first",
			    "only the first axis can be chosen at run time");
			return false;
		}
		s->choose = true;
		s->choice = v;
		s->choice_loc = k->loc;
		s->start[s->n] = 0;
		s->step[s->n] = 1;
		s->size[s->n++] = dim;
	}
	return true;
}

Val gather_op(Elab *e, Value *v, Val index, Loc loc)
{
	Value *args[2] = {v, NULL};

	if (!v || index.kind == V_POISON)
		return val_poison();
	if (v->type.rank == 0) {
		say(e, E_not_indexable, loc, NULL, "a single %s cannot be indexed",
		    type_words(e, &v->type));
		return val_poison();
	}
	args[1] = as_tensor(e, index, DT_index, v->type.dim[0], loc);
	if (!args[1])
		return val_poison();
	const Type *t = &args[1]->type;
	if (t->dtype == DT_index && t->axis && t->axis != v->type.dim[0]) {
		say(e, E_index_kind, loc, NULL,
		    "this chooses one of %jd, the axis has %jd", (intmax_t)t->axis,
		    (intmax_t)v->type.dim[0]);
		return val_poison();
	}
	if (t->dtype != DT_index && t->dtype != DT_i32) {
		say(e, E_index_kind, loc, NULL, "%s is no index", type_words(e, t));
		return val_poison();
	}
	return val_ir(emit(e, OP_gather, 2, args, loc));
}

static Val index_tensor(Elab *e, const Node *n, Value *v)
{
	Subs s = {0};
	int64_t dims[MAX_RANK];
	int rank = 0;

	if (!v || !read_subs(e, n, &v->type, &s))
		return val_poison();
	Value *part = slice_op(e, v, s.start, s.size, s.step, s.n, n->loc);
	if (!part)
		return val_poison();
	for (int i = 0; i < part->type.rank; i++)
		if (i >= s.n || !s.drop[i])
			dims[rank++] = part->type.dim[i];
	part = reshape_op(e, part, rank, dims, n->loc);
	return s.choose ? gather_op(e, part, s.choice, s.choice_loc) : val_ir(part);
}

Val eval_subscript(Elab *e, const Node *n)
{
	Val v = eval(e, n->kids[0]);
	bool plain = n->nkids == 2 && n->kids[1]->kind != N_SLICE;
	int64_t i;

	if (v.kind == V_POISON)
		return v;
	if (v.kind == V_IR)
		return index_tensor(e, n, v.v);
	if (v.kind == V_STR && e->frame->layout)
		return index_tensor(e, n, layout_tensor(e, v.s, n->kids[0]->loc));
	if (v.kind == V_LIST && !plain)
		return index_tensor(e, n, as_tensor(e, v, DT_f32, 0, n->loc));
	Val at = plain ? eval(e, n->kids[1]) : val_poison();
	if (at.kind == V_POISON && plain)
		return at;
	if (v.kind == V_LIST && at.kind != V_NUM)
		return gather_op(e, as_tensor(e, v, DT_f32, 0, n->loc), at, n->loc);
	if (!plain || (v.kind != V_LIST && v.kind != V_JSON)) {
		off(e, E_not_indexable, n->loc, "%s cannot be indexed", val_words(e, &v));
		return val_poison();
	}
	if (!need_int(e, at, n->kids[1]->loc, "an index", 0,
		      v.kind == V_LIST ? v.n - 1 : MAX_DIM, &i))
		return val_poison();
	return v.kind == V_LIST ? v.item[i] : json_item(e, v, i, n->loc);
}
