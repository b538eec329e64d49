/* SPDX-License-Identifier: Apache-2.0
 * verify_route: rules of the ops between tokens and the rows of experts. */
#include "verify.h"

static const Type *out(const Op *op)
{
	return &op->outs[0]->type;
}

static const Type *arg(const Op *op, int i)
{
	return &op->args[i]->type;
}

static bool range_is(const Module *m, int range, int64_t first, int64_t count)
{
	return range >= 0 && range < m->ranges.n && m->ranges.at[range].first == first &&
	       m->ranges.at[range].count == count;
}

static bool one_expert_fn(Verify *v, const Op *op, const char *name, int64_t first,
			  int64_t count)
{
	const Fn *fn = verify_fn_named(v, name);
	const Type *x = arg(op, 1), *y = out(op);

	if (!fn || !rule(v, fn->body->nargs == 1 && fn->nouts == 1,
			 "@%s must take one value and give one", name))
		return false;
	const Type *row = &fn->body->args[0]->type;
	const Type *given = &fn->outs[0];
	int slots = x->rank == 2;
	if (!rule(v, row->level == LV_ROW && range_is(v->m, row->range, first, count),
		  "@%s must take rows of the range %jd .. %jd", name, (intmax_t)first,
		  (intmax_t)(first + count)))
		return false;
	return rule(v, row->dtype == x->dtype && row->rank == x->rank - slots &&
			   (row->rank != 1 || row->dim[0] == x->dim[slots]),
		    "@%s takes %s", name, type_text(v, row)) &&
	       rule(v, given->rank == 1 && y->rank == 2 && given->dim[0] == y->dim[1],
		    "@%s gives %s", name, type_text(v, given));
}

bool verify_experts(Verify *v, const Op *op)
{
	const Attr *fns = attr_find(op, "fns"), *counts = attr_find(op, "counts");
	const Type *pick = arg(op, 0), *x = arg(op, 1), *y = out(op);
	int64_t first = 0;

	if (!rule(v, fns && counts && fns->kind == AT_FNS && counts->kind == AT_INTS &&
			 fns->n == counts->n && fns->n > 0,
		  "fns and counts must be lists of one length") ||
	    !rule(v, pick->dtype == DT_index && pick->rank == 1,
		  "the first operand must be choices index[k]") ||
	    !rule(v, x->rank == 1 || (x->rank == 2 && x->dim[0] == pick->dim[0]),
		  "the second operand must be one vector, or one for each choice") ||
	    !rule(v, y->rank == 2 && y->dim[0] == pick->dim[0] && y->level == LV_TOKEN,
		  "gives a vector for each choice of a token"))
		return false;
	for (int i = 0; i < fns->n; i++) {
		if (!rule(v, counts->is[i] > 0 && counts->is[i] <= INT32_MAX,
			  "every count must be positive") ||
		    !one_expert_fn(v, op, fns->ss[i], first, counts->is[i]))
			return false;
		first += counts->is[i];
	}
	return rule(v, pick->axis == first || pick->axis == 0,
		    "%jd experts, but choices of %jd", (intmax_t)first,
		    (intmax_t)pick->axis);
}

bool verify_group(Verify *v, const Op *op)
{
	const Type *pick = arg(op, 0), *rows = out(op);

	return rule(v,
		    pick->dtype == DT_index && pick->rank == 1 && pick->level == LV_TOKEN,
		    "the operand must be a token's choices index[T, k]") &&
	       rule(v, rows->dtype == DT_rows, "gives rows") &&
	       rule(v,
		    range_is(v->m, rows->range, attr_get_int(op, "first", -1),
			     attr_get_int(op, "count", -1)),
		    "{first} and {count} must be those of the range of %s",
		    type_text(v, rows));
}

/* Operand i is a group; the op's rows, of level R, are its rows. */
static bool of_group(Verify *v, const Op *op, int i, const Type *rows)
{
	return rule(v, arg(op, i)->dtype == DT_rows, "operand %d must be rows of a group",
		    i) &&
	       rule(v, rows->level == LV_ROW && rows->range == arg(op, i)->range,
		    "%s is not of the rows %s", type_text(v, rows),
		    type_text(v, arg(op, i)));
}

bool verify_dispatch(Verify *v, const Op *op)
{
	const Type *x = arg(op, 0);
	Type wanted = *x;

	if (!of_group(v, op, 1, out(op)) ||
	    !rule(v, x->level != LV_ROW && x->level != LV_EXPERT,
		  "takes what tokens have"))
		return false;
	if (attr_get_int(op, "slot", 0)) {
		if (!rule(v, x->rank >= 1, "with {slot} needs an axis of slots"))
			return false;
		wanted.rank--;
		for (int i = 0; i < wanted.rank; i++)
			wanted.dim[i] = x->dim[i + 1];
	}
	wanted.level = LV_ROW;
	wanted.range = arg(op, 1)->range;
	return rule(v, type_equal(out(op), &wanted), "must give %s",
		    type_text(v, &wanted));
}

bool verify_collect(Verify *v, const Op *op)
{
	const Type *x = arg(op, 0), *y = out(op);
	Type rest = *y;

	if (!of_group(v, op, 1, x) ||
	    !rule(v, y->level == LV_TOKEN && y->rank == x->rank + 1, "gives [T, k, ..]"))
		return false;
	rest.rank--;
	for (int i = 0; i < rest.rank; i++)
		rest.dim[i] = y->dim[i + 1];
	return rule(v, shape_equal(&rest, x) && y->dtype == x->dtype, "rows are %s",
		    type_text(v, x));
}

bool verify_combine(Verify *v, const Op *op)
{
	const Type *x = arg(op, 0), *weight = arg(op, 1);
	Type wanted = *x;

	wanted.level = LV_TOKEN;
	wanted.dtype = DT_f32;
	return of_group(v, op, 2, x) &&
	       rule(v, weight->rank == 1 && weight->level == LV_TOKEN,
		    "weights must be [T, k]") &&
	       rule(v, x->dtype != DT_index && weight->dtype != DT_index,
		    "choices cannot be summed") &&
	       rule(v, type_equal(out(op), &wanted), "must give %s",
		    type_text(v, &wanted));
}
