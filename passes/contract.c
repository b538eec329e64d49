/* SPDX-License-Identifier: Apache-2.0
 * contract: which facts hold of a module, and whether a pass may run on it. */
#include "kernel.h"

static const struct { Facts fact; const char *after; } makers[] = {
#define PASS(name, run, flags, needs, before, gives, help)     {gives, name},
#define BACKEND(name, flags, needs, help)
#include "passes.def"
#undef PASS
#undef BACKEND
};

static const Op *find_call(const Region *r)
{
	const Op *found = NULL;

	for (const Op *op = r->first; op && !found; op = op->next) {
		if (op->kind == OP_call || op->kind == OP_experts)
			found = op;
		for (int i = 0; i < op->nregions && !found; i++)
			found = find_call(op->regions[i]);
	}
	return found;
}

Facts module_facts(const Module *m)
{
	Facts facts = NO_CALL;

	for (int i = 0; fn_compiled(m, i); i++)
		if (find_call(fn_compiled(m, i)->body))
			facts &= (Facts)~NO_CALL;
	if (m->target)
		facts |= KERNELS;
	if (m->panels.n > 0)
		facts |= PACKED;
	return facts;
}

/* The pass after which a fact holds. */
static const char *maker_of(Facts fact)
{
	for (size_t i = 0; i < COUNT(makers); i++)
		if (makers[i].fact & fact)
			return makers[i].after;
	return "?";
}

bool pass_allowed(const Pass *p, Facts facts, const char **after, const char **before)
{
	Facts missing = p->needs & ~facts, past = p->before & facts;

	*after = missing ? maker_of(missing) : NULL;
	*before = past ? maker_of(past) : NULL;
	return !missing && !past;
}

bool check_order(Diag *diag, const Pass *p, const Module *m)
{
	const Op *call = find_call(m->fns->body), *first = call ? call : m->fns->body->first;
	Loc at = first ? first->loc : (Loc){0};
	const char *after, *before;

	if (pass_allowed(p, module_facts(m), &after, &before))
		return true;
	if (after) {
		diag_error(diag, E_pass_order, at, "%s wants %s before it", p->name, after);
		diag_fix(diag, "put %s in front of %s", after, p->name);
	} else {
		diag_error(diag, E_pass_order, at, "%s comes too late: %s is done already",
			   p->name, before);
		diag_fix(diag, "run it before %s", before);
	}
	return false;
}
