/* SPDX-License-Identifier: Apache-2.0
 * routing_only: which steps do nothing but find picks and gates: all that needs them are
 * others of their kind and losses.  Where a host gives the routing they do not run. */
#include "emit.h"
#include <string.h>

typedef struct {
	const Emit *e;
	Vec(const Op *) kernels;        /* step i is kernel i */
	bool       *needed;
} Search;

/* Picks and gates may come from the host. */
static bool is_given(const Search *s, const Value *v)
{
	return v->id >= 0 && (s->e->bufs.at[v->id].given == 1 || s->e->bufs.at[v->id].given == 2);
}

static void need(Search *s, const Value *v)
{
	for (int i = 0; i < s->kernels.n; i++)
		if (v->def == s->kernels.at[i] && !is_given(s, v))
			s->needed[i] = true;
}

/* Groups are roots: they read the picks, given or not. */
static bool is_root(const Op *kernel)
{
	return strcmp(attr_get_str(kernel, "kind", ""), "group") == 0;
}

void mark_routing_only(Emit *e, int nlosses)
{
	Search s = {.e = e};
	const Op *ret = e->layer->body->last;

	for (const Op *op = e->layer->body->first; op; op = op->next)
		if (op->kind == OP_kernel)
			vec_push(e->arena, &s.kernels, op);
	s.needed = NEWN(e->arena, bool, (size_t)s.kernels.n + 1);
	for (int i = 0; i < ret->nargs - nlosses; i++)
		need(&s, ret->args[i]);
	for (int i = s.kernels.n - 1; i >= 0; i--) {
		s.needed[i] = s.needed[i] || is_root(s.kernels.at[i]);
		const Op *op = s.needed[i] ? s.kernels.at[i]->regions[0]->first : NULL;
		for (; op; op = op->next)
			for (int a = 0; a < op->nargs; a++)
				need(&s, op->args[a]);
		e->steps.at[i].routing_only = !s.needed[i];
	}
}
