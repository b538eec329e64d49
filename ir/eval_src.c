/* SPDX-License-Identifier: Apache-2.0
 * eval_src: the ops without operands: weights, constants, counts, draws, states. */
#include "eval_ops.h"

#include <math.h>
#include <string.h>

static Tensor unread_weight(Eval *ev, const Type *type, const Param *p, Dtype stored)
{
	Tensor t = {.type = *type, .rows = 1, .param = p, .stored = stored};

	if (p->type.level == LV_EXPERT)
		t.rows = ev->m->ranges.at[p->type.range].count;
	if (__builtin_mul_overflow(t.rows, type_elems(type), &t.n))
		eval_fail(ev, "out of memory: weight '%s' has too many entries", p->name);
	return t;
}

void ref_param(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Type *type = &op->outs[0]->type;
	const char *name = attr_get_str(op, "name", "");
	const Param *p = param_find(ev->m, name,
				    type->level == LV_EXPERT ? type->range : -1);
	if (!p)
		ice("param '%s' is not in the module's list", name);
	outs[0] = unread_weight(ev, type, p, p->type.dtype);
}

/* The packed layout is invertible (panel_at; its test), so what is read back is the
 * natural weight, rounded to the panel's type. */
void ref_unpack(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const char *name = attr_get_str(op, "panel", "");
	const Panel *panel = panel_find(ev->m, name);
	const Attr *which = attr_find(op, "stream");
	int s = which && which->kind == AT_INT ? (int)which->i : -1;

	bool named = panel && which && which->kind != AT_INT;
	for (int i = 0; named && i < panel->nstreams; i++)
		if (strcmp(panel->streams[i], which->s) == 0)
			s = i;
	if (!panel || s < 0 || s >= panel->nstreams)
		ice("unpack: panel '%s' has no such stream", name);
	const Param *p = param_find(ev->m, panel->streams[s], panel->range);
	if (!p)
		ice("unpack: panel '%s' packs what is no param", name);
	outs[0] = unread_weight(ev, &op->outs[0]->type, p, panel->dtype);
}

void ref_tensor(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Type *type = &op->outs[0]->type;
	const char *name = attr_get_str(op, "name", "");
	const EvalCall *call = ev->call;
	const void *raw =
	    call->tensor ? call->tensor(call->tensor_ctx, name, type) : NULL;

	if (!raw)
		eval_fail(ev, "the checkpoint has no tensor '%s' of this type", name);
	outs[0] = (Tensor){.type = *type, .rows = 1, .n = type_elems(type), .raw = raw,
			   .stored = type->dtype};
}

void ref_const(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Attr *value = attr_find(op, "value");

	out_new(ev, op, 0, args, outs, false);
	int64_t each = type_elems(&outs->type);
	if (!value || value->kind != AT_FLOATS || (value->n != 1 && value->n != each))
		ice("const: not one number, nor %lld", (long long)each);
	for (int64_t i = 0; i < outs->n; i++)
		outs->v[i] = value->fs[value->n > 1 ? i % each : 0];
}

void ref_iota(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	int64_t each = type_elems(&outs->type);
	for (int64_t i = 0; i < outs->n; i++)
		outs->v[i] = (double)(i % each);
}

void ref_tokens(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	outs->v[0] = (double)ev->ctx->total;
}

void ref_step(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	outs->v[0] = ev->call->step < 0 ? 0x1p53 : ev->call->step;
}

void ref_position(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	for (int64_t t = 0; t < outs->n; t++)
		outs->v[t] = (double)ev->ctx->pos[t];
}

/* One draw for all tokens is that of the first place of the first sequence; a routed
 * row's is that of its token. */
static void fill_draws(Eval *ev, const Op *op, Tensor *args, Tensor *outs,
		       float draw(uint64_t, uint32_t, uint32_t, uint32_t, uint32_t,
				  uint32_t))
{
	const Ctx *c = ev->ctx;
	uint32_t site = (uint32_t)attr_get_int(op, "site", 0);
	uint32_t step = moert_draw_step(ev->call->step);

	out_new(ev, op, 0, args, outs, false);
	int64_t each = type_elems(&outs->type);
	Level level = outs->type.level;
	for (int64_t i = 0; i < outs->n; i++) {
		int64_t t = i / each, seq = 0, pos = 0;
		if (level == LV_ROW)
			t = outs->at->token[t];
		if (level != LV_ONCE) {
			seq = c->seq_id[c->seq[t]];
			pos = c->pos[t];
		}
		outs->v[i] = (double)draw(ev->call->seed, (uint32_t)seq, site,
					  (uint32_t)pos, step, (uint32_t)(i % each));
	}
}

void ref_uniform(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	fill_draws(ev, op, args, outs, moert_uniform);
}

void ref_normal(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	fill_draws(ev, op, args, outs, moert_normal);
}
