/* SPDX-License-Identifier: Apache-2.0
 * pack: gives every contraction's weights the panel layout that its kernel streams:
 *
 *   %w = param {name="gate"} : bf16[E0, 12, 8]
 *   %u = param {name="up"} : bf16[E0, 12, 8]
 *
 *   panel "gate+up": bf16 E0 streams=["gate", "up"] n=12 k=8 cols=32 kpack=2
 *   %w = unpack {panel="gate+up", stream=0} : bf16[E0, 12, 8]
 *   %u = unpack {panel="gate+up", stream=1} : bf16[E0, 12, 8]
 *
 * Weights that are computed from weights become derived params first (derive.c). */
#include "kernel.h"

#include <string.h>

typedef struct {
	Module *m;
	const Target *target;
	bool    changed;
} Pack;

static bool same_panel(const Panel *a, const Panel *b)
{
	if (a->range != b->range || a->nstreams != b->nstreams || a->dtype != b->dtype ||
	    a->n != b->n || a->k != b->k || a->cols != b->cols || a->kpack != b->kpack)
		return false;
	for (int i = 0; i < a->nstreams; i++)
		if (strcmp(a->streams[i], b->streams[i]))
			return false;
	return true;
}

/* The module's panel like p, made if there is none.  Two ranges may own params of one
 * name, and two kernels may want one weight in different columns: names get a number. */
static const char *panel_name(Module *m, Panel *p)
{
	const char *base = p->streams[0];

	for (int i = 1; i < p->nstreams; i++)
		base = arena_printf(m->arena, "%s+%s", base, p->streams[i]);
	p->name = base;
	for (int i = 2;; i++) {
		const Panel *old = panel_find(m, p->name);
		if (!old)
			break;
		if (same_panel(old, p))
			return old->name;
		p->name = arena_printf(m->arena, "%s.%d", base, i);
	}
	vec_push(m->arena, &m->panels, *p);
	return p->name;
}

static void to_unpack(Module *m, Fn *fn, Op *linear, const char *panel, int stream)
{
	Value *w = linear->args[1];
	Op *unpack = put_op(w->def, OP_unpack, 0, NULL, &w->type);

	unpack->outs[0]->name = w->name;
	attr_str(m, unpack, "panel", panel);
	attr_int(m, unpack, "stream", stream);
	linear->args[1] = unpack->outs[0];
}

static void pack_kernel(Pack *p, Fn *fn, Op *k)
{
	Module *m = p->m;
	Vec(Op *) linears = {0};
	Vec(const char *) streams = {0};

	for (Op *op = k->regions[0]->first; op; op = op->next) {
		const Op *w = op->kind == OP_linear ? op->args[1]->def : NULL;
		if (op->kind != OP_linear)
			continue;
		if (w && w->kind == OP_unpack)
			return;
		if (!w || w->kind != OP_param)
			ice("a contraction with no weight");
		vec_push(m->arena, &linears, op);
		vec_push(m->arena, &streams, attr_get_str(w, "name", ""));
	}
	const Type *a = &linears.at[0]->args[0]->type, *w = &linears.at[0]->args[1]->type;
	const Dot *dot = target_dot(p->target, a->dtype, w->dtype);
	if (!dot)
		ice("no dot of %s takes %s and %s", p->target->name,
		    dtype_info[a->dtype].name, dtype_info[w->dtype].name);
	Panel panel = {.range = w->level == LV_EXPERT ? w->range : -1,
		       .nstreams = streams.n, .streams = streams.at, .dtype = w->dtype,
		       .n = w->dim[0], .k = w->dim[1], .kpack = dot->kpack,
		       .cols = attr_get_int(k, "cols", p->target->vector_bits / 32)};
	const char *name = panel_name(m, &panel);
	attr_str(m, k, "panel", name);
	for (int i = 0; i < linears.n; i++)
		to_unpack(m, fn, linears.at[i], name, i);
	kernel_tidy(fn, k);
	p->changed = true;
}

static void pack_region(Pack *p, Fn *fn, Region *r)
{
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		if (kernel_is(op, "contract"))
			pack_kernel(p, fn, op);
		else if (op->kind != OP_kernel)
			for (int i = 0; i < op->nregions; i++)
				pack_region(p, fn, op->regions[i]);
	}
}

bool pack(Module *m, PassContext *ctx)
{
	Pack p = {.m = m, .target = ctx->target};

	if (!ctx->target)
		ice("pack without a target");
	for (int i = 0; fn_compiled(m, i); i++) {
		Fn *fn = fn_compiled(m, i);
		kernels_drop_unread(fn);
		p.changed |= derive_params(fn);
		pack_region(&p, fn, fn->body);
	}
	return p.changed;
}
