/* SPDX-License-Identifier: Apache-2.0
 * routing_only: which steps do nothing but find picks and gates: all that needs them are
 * others of their kind and losses.  Where a host gives the routing they do not run. */
#include "emit.h"
#include <string.h>

typedef struct {
	const Emit *e;
	bool       *needed;             /* piece by piece */
} Search;

/* Picks and gates may come from the host. */
static bool is_given(const Search *s, const Value *v)
{
	return v->id >= 0 && (s->e->bufs.at[v->id].given == 1 || s->e->bufs.at[v->id].given == 2);
}

static void need(Search *s, const Value *v)
{
	for (int i = 0; i < s->e->pieces.n; i++)
		if (v->def == s->e->pieces.at[i].op && !is_given(s, v))
			s->needed[i] = true;
}

static void need_operands(Op *op, void *ctx)
{
	for (int i = 0; i < op->nargs; i++)
		need(ctx, op->args[i]);
}

/* Groups read the picks, given or not; the next call reads states and who waits. */
static bool is_root(const Op *op)
{
	return op->kind == OP_next || op->kind == OP_defer ||
	       strcmp(attr_get_str(op, "kind", ""), "group") == 0;
}

void mark_routing_only(Emit *e, int nlosses)
{
	Search s = {.e = e, .needed = NEWN(e->arena, bool, (size_t)e->pieces.n + 1)};
	const Op *ret = e->layer->body->last;

	for (int i = 0; i < ret->nargs - nlosses; i++)
		need(&s, ret->args[i]);
	for (int i = e->pieces.n - 1; i >= 0; i--) {
		const Piece *p = &e->pieces.at[i];
		s.needed[i] = s.needed[i] || is_root(p->op);
		if (s.needed[i]) {
			need_operands(p->op, &s);
			for (int r = 0; r < p->op->nregions; r++)
				region_walk(p->op->regions[r], need_operands, &s);
		}
		for (int j = p->first; j < p->behind; j++)
			e->steps.at[j].routing_only = !s.needed[i];
	}
}
