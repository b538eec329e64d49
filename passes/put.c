/* SPDX-License-Identifier: Apache-2.0
 * put: one new op in front of another, as passes make them. */
#include "kernel.h"

Op *put_op(Op *before, OpKind kind, int nargs, Value **args, const Type *type)
{
	Module *m = before->in->fn->module;
	Op *op = op_new(m, kind, nargs, args, op_info[kind].outs);
	const char *why;

	op->loc = before->loc;
	if (type)
		op->outs[0]->type = *type;
	else if (!infer_op(m, op, &why))
		ice("%s", why);
	op_insert_before(before, op);
	return op;
}

Value *put1(Op *before, OpKind kind, Value *a, const Type *type)
{
	return put_op(before, kind, 1, &a, type)->outs[0];
}

Value *put2(Op *before, OpKind kind, Value *a, Value *b, const Type *type)
{
	return put_op(before, kind, 2, (Value *[]){a, b}, type)->outs[0];
}

Value *put_const(Op *before, const Type *type, const double *values, int n)
{
	Op *op = put_op(before, OP_const, 0, NULL, type);

	attr_floats(before->in->fn->module, op, "value", values, n);
	return op->outs[0];
}

/* What is the same for all tokens, repeated for each: routing is by token. */
Value *per_token(Op *before, Value *v)
{
	const Type place = {.dtype = DT_i32, .level = LV_TOKEN};

	if (v->type.level == LV_TOKEN)
		return v;
	Value *position = put_op(before, OP_position, 0, NULL, &place)->outs[0];
	Value *yes = put2(before, OP_eq, position, position, NULL);
	Value *each = put_op(before, OP_select, 3, (Value *[]){yes, v, v}, NULL)->outs[0];
	Type type = v->type;
	type.level = LV_TOKEN;
	return type.dtype == each->type.dtype ? each : put1(before, OP_cast, each, &type);
}
