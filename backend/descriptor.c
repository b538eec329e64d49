/* SPDX-License-Identifier: Apache-2.0
 * descriptor: the constant moert_layer of runtime/layer.h, field by field.
 *
 * Every field there is 8 bytes wide, so a structure is a list of words and pointers; the
 * asserts below tie the lists to the C declarations. */
#include "emit.h"
#include <string.h>

typedef struct { Emit *e; Val at[32]; int n; } Fields;

static void word(Fields *f, int64_t v)
{
	f->at[f->n++] = ll_i64(&f->e->l, v);
}

static void pointer(Fields *f, Val v)
{
	f->at[f->n++] = v ? v : LLVMConstNull(f->e->l.ptr);
}

static void text(Fields *f, const char *s)
{
	pointer(f, s ? ll_string(&f->e->l, s) : NULL);
}

static Val structure(Fields *f, size_t size)
{
	if ((size_t)f->n * 8 != size)
		ice("a descriptor has %d fields of %zu", f->n, size / 8);
	return LLVMConstStructInContext(f->e->l.ctx, f->at, (unsigned)f->n, 0);
}

static Val constant_global(Emit *e, Val init, const char *name)
{
	Val g = LLVMAddGlobal(e->l.mod, LLVMTypeOf(init), name);

	LLVMSetInitializer(g, init);
	LLVMSetGlobalConstant(g, 1);
	LLVMSetLinkage(g, LLVMInternalLinkage);
	return g;
}

static Val table(Emit *e, Val *rows, int n, const char *name)
{
	if (!n)
		return NULL;
	return constant_global(e, LLVMConstArray2(LLVMTypeOf(rows[0]), rows, (uint64_t)n), name);
}

static Val first_entry(Emit *e, const Buffer *b)
{
	Dtype t = b->value->type.dtype;
	return constant_global(e, to_memory(e, emit_lanes_const(e, t, b->init, 1)), "init");
}

static Val buffers(Emit *e)
{
	Val *rows = NEWN(e->arena, Val, (size_t)e->bufs.n + 1);

	for (int i = 0; i < e->bufs.n; i++) {
		const Buffer *b = &e->bufs.at[i];
		const Type *t = &b->value->type;
		Fields f = {.e = e};
		text(&f, b->name);
		word(&f, b->role);
		word(&f, t->dtype);
		word(&f, t->level);
		word(&f, t->range);
		word(&f, type_elems(t));
		word(&f, b->given);
		word(&f, b->writer);
		word(&f, b->next);
		pointer(&f, b->role == MOERT_STATE ? first_entry(e, b) : NULL);
		rows[i] = structure(&f, sizeof(moert_buf));
	}
	return table(e, rows, e->bufs.n, "buffers");
}

static Val stream_names(Emit *e, const char *const *names, int n)
{
	Val *at = NEWN(e->arena, Val, (size_t)n);

	for (int i = 0; i < n; i++)
		at[i] = ll_string(&e->l, names[i]);
	return table(e, at, n, "streams");
}

static Val weights(Emit *e)
{
	Val *rows = NEWN(e->arena, Val, (size_t)e->weights.n + 1);

	for (int i = 0; i < e->weights.n; i++) {
		moert_weight w = layout_weight(&e->weights.at[i]);
		Fields f = {.e = e};
		text(&f, w.name);
		word(&f, w.range);
		word(&f, w.dtype);
		word(&f, w.cols);
		word(&f, w.kpack);
		word(&f, w.n);
		word(&f, w.k);
		word(&f, w.nstreams);
		pointer(&f, stream_names(e, w.streams, (int)w.nstreams));
		word(&f, w.bytes);
		rows[i] = structure(&f, sizeof(moert_weight));
	}
	return table(e, rows, e->weights.n, "weights");
}

static Val ranges(Emit *e)
{
	Val *rows = NEWN(e->arena, Val, (size_t)e->m->ranges.n + 1);

	for (int i = 0; i < e->m->ranges.n; i++) {
		Fields f = {.e = e};
		word(&f, e->m->ranges.at[i].first);
		word(&f, e->m->ranges.at[i].count);
		rows[i] = structure(&f, sizeof(moert_range));
	}
	return table(e, rows, e->m->ranges.n, "ranges");
}

static Val steps(Emit *e)
{
	Val *rows = NEWN(e->arena, Val, (size_t)e->steps.n + 1);

	for (int i = 0; i < e->steps.n; i++) {
		const Step *s = &e->steps.at[i];
		Fields f = {.e = e};
		text(&f, s->name);
		word(&f, s->kind);
		word(&f, s->over.level);
		word(&f, s->over.range);
		word(&f, s->loss_only);
		word(&f, s->routing_only);
		word(&f, s->scratch);
		pointer(&f, s->map);
		pointer(&f, s->contract);
		pointer(&f, s->finish);
		word(&f, s->weight);
		word(&f, s->panels);
		word(&f, s->panel_bytes);
		word(&f, s->width);
		word(&f, s->k);
		word(&f, s->kblock);
		word(&f, s->rows);
		word(&f, s->rblock);
		word(&f, s->together);
		word(&f, s->op);
		word(&f, s->by_sequence);
		word(&f, s->in);
		word(&f, s->out);
		word(&f, s->side);
		word(&f, s->to);
		word(&f, s->most);
		word(&f, s->buf_base);
		word(&f, s->weight_base);
		word(&f, s->range_base);
		rows[i] = structure(&f, sizeof(moert_step));
	}
	return table(e, rows, e->steps.n, "steps");
}

void emit_tables(Emit *e)
{
	e->weights_table = weights(e);
	e->ranges_table = ranges(e);
}

Val emit_call_table(Emit *e, const Val *layers, int n)
{
	Val *rows = NEWN(e->arena, Val, (size_t)n + 1);

	for (int i = 0; i < n; i++) {
		Fields f = {.e = e};
		text(&f, e->m->calls.at[i].layer);
		pointer(&f, layers[i]);
		rows[i] = structure(&f, sizeof(moert_layer_call));
	}
	return table(e, rows, n, "calls");
}

Val emit_descriptor(Emit *e, Val calls, int n)
{
	const LayerCall *c = e->call;
	Fields f = {.e = e};

	text(&f, c ? c->path : e->m->name);
	text(&f, e->t->name);
	text(&f, e->t->needs);
	pointer(&f, c ? NULL : e->next);
	word(&f, (int64_t)layout_fingerprint(e));
	word(&f, c ? c->width : e->m->width);
	word(&f, c ? c->experts : e->m->experts);
	word(&f, c ? c->picks : e->m->picks);
	word(&f, c ? 0 : e->m->group);
	word(&f, e->queue);
	word(&f, e->waits);
	word(&f, e->bufs.n);
	word(&f, e->weights.n);
	word(&f, e->m->ranges.n);
	word(&f, e->steps.n);
	pointer(&f, buffers(e));
	pointer(&f, e->weights_table);
	pointer(&f, e->ranges_table);
	pointer(&f, steps(e));
	word(&f, n);
	pointer(&f, calls);
	return constant_global(e, structure(&f, sizeof(moert_layer)), "layer");
}
