/* SPDX-License-Identifier: Apache-2.0
 * share: which kernels are the same code.  A stack of layers has the same few kernels in
 * every layer, on other buffers, weights and experts: numbers in code count from the step's
 * bases, and a kernel whose ops, types and relative numbers were met before is not emitted
 * again. */
#include "emit.h"
#include <string.h>

typedef struct {
	Emit *e;
	Text  t;
	const Step *base;
	Vec(const Value *) inside;
} Signature;

void kernel_bases(Emit *e, const Op *kernel, Step *s)
{
	bool weight = false, range = false;

	for (int i = kernel->nouts - 1; i >= 0; i--)
		if (kernel->outs[i]->id >= 0)
			s->buf_base = kernel->outs[i]->id;
	for (const Op *op = kernel->regions[0]->first; op; op = op->next) {
		if (!weight && (op->kind == OP_param || op->kind == OP_unpack)) {
			s->weight_base = emit_weight_of(e, op);
			weight = true;
		}
		for (int i = 0; i < op->nouts && !range; i++) {
			const Type *t = &op->outs[i]->type;
			range = t->level == LV_ROW || t->level == LV_EXPERT;
			if (range)
				s->range_base = t->range;
		}
	}
}

static void add_type(Signature *s, const Type *t)
{
	text_printf(&s->t, ":%d,%d", (int)t->dtype, (int)t->level);
	if (t->level == LV_ROW || t->level == LV_EXPERT)
		text_printf(&s->t, "(%d)", t->range - s->base->range_base);
	if (t->dtype == DT_index)
		text_printf(&s->t, "<%lld>", (long long)t->axis);
	for (int i = 0; i < t->rank; i++)
		text_printf(&s->t, "[%lld]", (long long)t->dim[i]);
}

static void add_operand(Signature *s, const Value *v)
{
	for (int i = 0; i < s->inside.n; i++)
		if (s->inside.at[i] == v) {
			text_printf(&s->t, " %%%d", i);
			return;
		}
	if (v->type.dtype == DT_rows)
		text_add(&s->t, " rows");
	else
		text_printf(&s->t, " b%d", v->id - s->base->buf_base);
	add_type(s, &v->type);
}

static void add_weight(Signature *s, const Op *op)
{
	int number = emit_weight_of(s->e, op);
	const Panel *p = s->e->weights.at[number].panel;

	text_printf(&s->t, " w%d", number - s->base->weight_base);
	if (p)
		text_printf(&s->t, "/%lld,%lld,%lld,%lld,%d", (long long)p->n, (long long)p->k,
			    (long long)p->cols, (long long)p->kpack, p->nstreams);
}

static void add_attr(Signature *s, const Attr *a)
{
	text_printf(&s->t, " %s=%lld,%a,%s", a->name, (long long)a->i, a->f, a->s ? a->s : "");
	for (int i = 0; i < a->n; i++)
		text_printf(&s->t, ";%lld,%a,%s", a->is ? (long long)a->is[i] : 0,
			    a->fs ? a->fs[i] : 0, a->ss ? a->ss[i] : "");
}

/* Names say who a kernel is, not what it does; weights stand for themselves. */
static bool is_name(const Op *op, const Attr *a)
{
	static const char *const names[] = {"name", "panel", "loss", "first", "call"};

	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(a->name, names[i]) == 0)
			return true;
	return op->kind == OP_kernel && strcmp(a->name, "over") == 0;
}

static void add_op(Signature *s, const Op *op)
{
	text_printf(&s->t, "\n%s", op_info[op->kind].name);
	if (op->kind == OP_param || op->kind == OP_unpack)
		add_weight(s, op);
	for (int i = 0; i < op->nattrs; i++)
		if (!is_name(op, &op->attrs[i]))
			add_attr(s, &op->attrs[i]);
	for (int i = 0; i < op->nargs; i++)
		add_operand(s, op->args[i]);
	for (int i = 0; i < op->nouts; i++) {
		const Value *v = op->outs[i];
		add_type(s, &v->type);
		if (v->id >= 0)
			text_printf(&s->t, " to b%d", v->id - s->base->buf_base);
		vec_push(s->e->arena, &s->inside, v);
	}
}

const char *kernel_signature(Emit *e, const Op *kernel, const Step *bases)
{
	Signature s = {.e = e, .t = text_new(e->arena), .base = bases};

	add_op(&s, kernel);
	s.inside.n = 0;
	for (const Op *op = kernel->regions[0]->first; op; op = op->next)
		add_op(&s, op);
	return s.t.s;
}
