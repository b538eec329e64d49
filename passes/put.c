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
