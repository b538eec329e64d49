/* SPDX-License-Identifier: Apache-2.0
 * verify_region: rules of the ops that carry regions, end them, or call.
 *
 * What a region of if, where, repeat or scan yields may exist less often than the result:
 * it is broadcast.  A kernel's yields and a function's results have exactly the types. */
#include "verify.h"

#include <string.h>

const Op *region_yield(const Region *r)
{
	return r->last && r->last->kind == OP_yield ? r->last : NULL;
}

/* Yield i .. of the region give results 0 .. n-1. */
static bool yields_serve(Verify *v, const Op *op, int region, int n)
{
	const Op *yield = region_yield(op->regions[region]);

	for (int i = 0; i < n; i++)
		if (!rule(v, serves(&yield->args[i]->type, &op->outs[i]->type),
			  "region %d yields %s for result %d", region,
			  type_text(v, &yield->args[i]->type), i))
			return false;
	return true;
}

static bool yields_count(Verify *v, const Op *op, int region, int n)
{
	const Op *yield = region_yield(op->regions[region]);

	return rule(v, yield && yield->nargs == n, "region %d must yield %d values",
		    region, n);
}

static bool two_ways(Verify *v, const Op *op)
{
	for (int i = 0; i < 2; i++)
		if (!rule(v, op->regions[i]->nargs == 0,
			  "its regions have no arguments") ||
		    !yields_count(v, op, i, op->nouts) ||
		    !yields_serve(v, op, i, op->nouts))
			return false;
	return true;
}

bool verify_if(Verify *v, const Op *op)
{
	const Type *c = &op->args[0]->type;

	return rule(v, c->dtype == DT_bool && c->rank == 0 && c->level == LV_ONCE,
		    "the condition must be one bool") &&
	       two_ways(v, op);
}

bool verify_where(Verify *v, const Op *op)
{
	const Type *c = &op->args[0]->type;

	return rule(v, c->dtype == DT_bool && c->rank == 0 &&
			   (c->level == LV_TOKEN || c->level == LV_ROW),
		    "the condition must be one bool a token") &&
	       two_ways(v, op);
}

bool verify_repeat(Verify *v, const Op *op)
{
	const Region *r = op->regions[0];
	const Attr *max = attr_find(op, "max");
	int n = op->nargs;

	if (!rule(v, max && max->kind == AT_INT && max->i >= 1,
		  "has no {max} of rounds") ||
	    !rule(v, op->nouts == n && r->nargs == n,
		  "carries as many values as it gives") ||
	    !yields_count(v, op, 0, n + 1) || !yields_serve(v, op, 0, n))
		return false;
	for (int i = 0; i < n; i++)
		if (!rule(v, type_equal(&r->args[i]->type, &op->outs[i]->type) &&
				 serves(&op->args[i]->type, &op->outs[i]->type),
			  "value %d changes its type", i))
			return false;
	const Type *until = &region_yield(r)->args[n]->type;
	return rule(
	    v, until->dtype == DT_bool && until->rank == 0 && until->level == LV_ONCE,
	    "the last value must be one bool: whether to end");
}

/* Inside, a state is the token's: the region's arguments are of level T. */
bool verify_scan(Verify *v, const Op *op)
{
	const Region *r = op->regions[0];
	int n = op->nargs;

	if (!rule(v, n >= 1 && op->nouts >= n && r->nargs == n,
		  "takes states, and gives them and token values") ||
	    !yields_count(v, op, 0, op->nouts))
		return false;
	for (int i = 0; i < op->nouts; i++) {
		const Type *given = &op->outs[i]->type;
		Type token = *given;
		token.level = LV_TOKEN;
		if (!rule(v, given->level == (i < n ? LV_SEQ : LV_TOKEN),
			  "result %d must be of level %c", i, i < n ? 'S' : 'T') ||
		    !rule(v, i >= n || (type_equal(&r->args[i]->type, &token) &&
					serves(&op->args[i]->type, given)),
			  "state %d changes its type", i) ||
		    !rule(v, serves(&region_yield(r)->args[i]->type, &token),
			  "yields %s for result %d",
			  type_text(v, &region_yield(r)->args[i]->type), i))
			return false;
	}
	return true;
}

static bool is_over(const Module *m, const char *over)
{
	size_t n = strspn(over + (*over != '\0'), "0123456789");

	if (strcmp(over, "T") == 0 || strcmp(over, "S") == 0 || strcmp(over, "once") == 0)
		return true;
	if ((*over != 'R' && *over != 'E') || n == 0 || n > 6 || over[n + 1])
		return false;
	int range = 0;
	for (const char *s = over + 1; *s; s++)
		range = range * 10 + (*s - '0');
	return range < m->ranges.n;
}

static bool is_group(const Region *r)
{
	return r->first && r->first->kind == OP_group && r->first->next == r->last;
}

bool verify_kernel(Verify *v, const Op *op)
{
	static const char *const kinds[] = {"map", "contract", "cross", "group"};
	const char *kind = attr_get_str(op, "kind", "");
	const Op *yield = region_yield(op->regions[0]);
	bool known = false;

	for (size_t i = 0; i < COUNT(kinds); i++)
		known |= strcmp(kind, kinds[i]) == 0;
	if (!rule(v, known, "{kind} must be map, contract, cross or group") ||
	    !rule(v, is_over(v->m, attr_get_str(op, "over", "")),
		  "{over} must be T, S, once, or R or E of a range") ||
	    !rule(v, op->regions[0]->nargs == 0, "its region has no arguments") ||
	    !rule(v, strcmp(kind, "group") != 0 || is_group(op->regions[0]),
		  "a kernel of kind group holds one group") ||
	    !yields_count(v, op, 0, op->nouts))
		return false;
	for (int i = 0; i < op->nouts; i++)
		if (!rule(v, type_equal(&yield->args[i]->type, &op->outs[i]->type),
			  "yields %s for result %d", type_text(v, &yield->args[i]->type),
			  i))
			return false;
	return true;
}

bool verify_call(Verify *v, const Op *op)
{
	const char *name = attr_get_str(op, "fn", NULL);
	const Fn *fn = rule(v, name, "has no {fn}") ? verify_fn_named(v, name) : NULL;

	if (!fn ||
	    !rule(v, fn->body->nargs == op->nargs && fn->nouts == op->nouts,
		  "@%s takes %d values and gives %d", name, fn->body->nargs, fn->nouts))
		return false;
	for (int i = 0; i < op->nargs; i++)
		if (!rule(v, type_equal(&op->args[i]->type, &fn->body->args[i]->type),
			  "argument %d must be %s", i,
			  type_text(v, &fn->body->args[i]->type)))
			return false;
	for (int i = 0; i < op->nouts; i++)
		if (!rule(v, type_equal(&op->outs[i]->type, &fn->outs[i]),
			  "result %d is %s", i, type_text(v, &fn->outs[i])))
			return false;
	return true;
}

/* Types and number are the rule of the op that owns the region. */
bool verify_yield(Verify *v, const Op *op)
{
	return rule(v, op->in->op, "ends regions, not functions");
}

bool verify_return(Verify *v, const Op *op)
{
	if (!rule(v, !op->in->op, "ends functions, not regions") ||
	    !rule(v, op->nargs == v->fn->nouts, "the function gives %d values",
		  v->fn->nouts))
		return false;
	for (int i = 0; i < op->nargs; i++)
		if (!rule(v, type_equal(&op->args[i]->type, &v->fn->outs[i]),
			  "result %d must be %s, not %s", i,
			  type_text(v, &v->fn->outs[i]),
			  type_text(v, &op->args[i]->type)))
			return false;
	return true;
}
