/* SPDX-License-Identifier: Apache-2.0
 * address: where captured values and weights lie while a call runs (runtime/layer.h). */
#include "emit.h"
#include <string.h>

int emit_buffer_of(Emit *e, const Value *v)
{
	if (v->id < 0 || v->id >= e->bufs.n)
		ice("value %%%s crosses kernels without a buffer", v->name ? v->name : "?");
	return v->id;
}

int emit_weight_of(Emit *e, const Op *op)
{
	const char *name = op->kind == OP_unpack ? attr_get_str(op, "panel", "")
						 : attr_get_str(op, "name", "");
	const Type *type = &op->outs[0]->type;
	int range = type->level == LV_EXPERT ? type->range : -1;

	for (int i = 0; i < e->weights.n; i++) {
		const Weight *w = &e->weights.at[i];
		bool panel = op->kind == OP_unpack;
		if (w->range == range && (w->panel != NULL) == panel &&
		    strcmp(w->name, name) == 0)
			return i;
	}
	ice("no weight %s", name);
}

static Val pointer_in_table(Emit *e, Val table, Val index)
{
	Ll *l = &e->l;
	return ll_load_constant(l, l->ptr, ll_at(l, table, ll_mul(l, index, ll_i64(l, 8))), 8);
}

Val emit_view(Emit *e, Val call, int buffer)
{
	Val views = ll_field(&e->l, e->l.ptr, call, offsetof(moert_call, buf));

	return ll_at_const(&e->l, views, (int64_t)sizeof(moert_view) *
						 (buffer - e->step->buf_base));
}

Val emit_view_row(Emit *e, Val call, int buffer, Val row)
{
	Ll *l = &e->l;
	Val view = emit_view(e, call, buffer);
	Val at = ll_field(l, l->ptr, view, offsetof(moert_view, at));

	if (!row)
		return at;
	Val stride = ll_field(l, l->i64, view, offsetof(moert_view, stride));
	return ll_at(l, at, ll_mul(l, row, stride));
}

Val emit_rows_at(Emit *e, Val call, int range)
{
	Val rows = ll_field(&e->l, e->l.ptr, call, offsetof(moert_call, rows));

	return ll_at_const(&e->l, rows,
			   (int64_t)sizeof(moert_rows) * (range - e->step->range_base));
}

Val emit_rows_field(Emit *e, Val call, int range, size_t offset)
{
	Ll *l = &e->l;
	Ty type = offset == offsetof(moert_rows, n) || offset == offsetof(moert_rows, nactive)
			  ? l->i64 : l->ptr;

	return ll_field(l, type, emit_rows_at(e, call, range), offset);
}

Val emit_weight_at(Emit *e, Val call, int weight)
{
	Val table = ll_field(&e->l, e->l.ptr, call, offsetof(moert_call, weight));
	return pointer_in_table(e, table, ll_i64(&e->l, weight - e->step->weight_base));
}

Val emit_expert_weight_at(Emit *e, Val call, int weight, Val row)
{
	Ll *l = &e->l;
	int range = e->weights.at[weight].range;
	Val numbers = emit_rows_field(e, call, range, offsetof(moert_rows, expert));
	Val index = emit_list_entry(e, numbers, row);
	Val ranges = ll_field(l, l->ptr, call, offsetof(moert_call, expert));
	Val experts = pointer_in_table(e, ranges, ll_i64(l, range - e->step->range_base));
	Val at = ll_at(l, experts, ll_mul(l, index, ll_i64(l, sizeof(moert_expert))));
	Val table = ll_field(l, l->ptr, at, offsetof(moert_expert, weight));

	Val base = ll_field(l, l->i64, call, offsetof(moert_call, weight_base));
	return pointer_in_table(e, table,
				ll_add(l, base, ll_i64(l, weight - e->step->weight_base)));
}

Val emit_list_entry(Emit *e, Val list, Val index)
{
	Ll *l = &e->l;
	Val v = ll_load_constant(l, l->i32, ll_at(l, list, ll_mul(l, index, ll_i64(l, 4))), 4);
	return LLVMBuildSExt(l->b, v, l->i64, "");
}

Val emit_sequence_of(Emit *e, Val call, Val token)
{
	Val ids = ll_field(&e->l, e->l.ptr, call, offsetof(moert_call, sequence));
	return emit_list_entry(e, ids, token);
}

Val emit_const_array(Emit *e, const Op *op)
{
	const Attr *value = attr_find(op, "value");
	Dtype t = op->outs[0]->type.dtype;
	Val *entries = NEWN(e->arena, Val, (size_t)value->n);

	for (int i = 0; i < value->n; i++)
		entries[i] = to_memory(e, emit_lanes_const(e, t, value->fs[i], 1));
	Val array = LLVMConstArray2(memory_type(e, t, 1), entries, (uint64_t)value->n);
	Val global = LLVMAddGlobal(e->l.mod, LLVMTypeOf(array), "const");
	LLVMSetInitializer(global, array);
	LLVMSetGlobalConstant(global, 1);
	LLVMSetLinkage(global, LLVMPrivateLinkage);
	return global;
}
