/* SPDX-License-Identifier: Apache-2.0
 * check: whether kernels that were read from a file are what pass.h says.
 *
 * The verifier knows what kernels mean, not what can be made of them; passes and backend
 * rely on both. */
#include "kernel.h"

static const char *operands_wrong(const Op *linear, const Op *first, const Target *t)
{
	const Type *a = &linear->args[0]->type, *w = &linear->args[1]->type;
	const Op *def = linear->args[1]->def;
	bool weight = def && (def->kind == OP_param || def->kind == OP_unpack ||
			      kernel_of_weights(def));

	if (linear->args[0] != first->args[0])
		return "its linears have different left operands";
	if (!type_equal(w, &first->args[1]->type))
		return "its weights are of different types";
	if (a->rank != 1 || a->level == LV_ONCE || a->level == LV_EXPERT || w->rank != 2)
		return "it is not of rows and a matrix";
	if (!weight)
		return "its matrix is no weight";
	if (!target_dot(t, a->dtype, w->dtype))
		return "the target has no dot of its types";
	return NULL;
}

static const char *contraction_wrong(const Op *k, const Target *t)
{
	const Op *first = kernel_first(k, OP_linear);
	int combines = 0;

	if (!first)
		return "it has no linear";
	for (const Op *op = k->regions[0]->first; op; op = op->next) {
		const char *wrong = NULL;
		if (op->kind == OP_linear)
			wrong = operands_wrong(op, first, t);
		if (wrong)
			return wrong;
		combines += op->kind == OP_combine;
	}
	return combines > 1 ? "it has two combines" : NULL;
}

static bool check_contractions(Diag *diag, const Region *r, const Target *t)
{
	bool right = true;

	for (const Op *op = r->first; op; op = op->next) {
		const char *wrong = NULL;
		if (kernel_is(op, "contract"))
			wrong = contraction_wrong(op, t);
		if (wrong)
			diag_error(diag, E_ir_rule, op->loc, "not a contraction: %s",
				   wrong);
		right &= !wrong;
		for (int i = 0; i < op->nregions; i++)
			right &= check_contractions(diag, op->regions[i], t);
	}
	return right;
}

/* A kernel for losses alone does not run when none is asked for. */
static const Op *reads_loss_kernel(const Op *op, int nargs)
{
	const Op *found = NULL;

	for (int i = 0; i < nargs && !found; i++) {
		const Op *def = op->args[i]->def;
		if (def && def->kind == OP_kernel && attr_get_int(def, "loss", 0))
			found = def;
	}
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at && !found; at = at->next)
			found = reads_loss_kernel(at, at->nargs);
	return found;
}

static bool check_losses(Diag *diag, const Region *r, int nlosses)
{
	bool right = true;

	for (const Op *op = r->first; op; op = op->next) {
		bool loss = op->kind == OP_kernel && attr_get_int(op, "loss", 0);
		int needed = op->nargs - (op->kind == OP_return ? nlosses : 0);
		const Op *wrong = loss && kernel_yields_routing(op) ? op : NULL;

		if (!loss)              /* what is no kernel runs always */
			wrong = reads_loss_kernel(op, needed);
		if (wrong)
			diag_error(diag, E_ir_rule, wrong->loc,
				   "loss=1, but more than the losses need it");
		right &= !wrong;
	}
	return right;
}

/* A kernel finds the rows of a range in one order. */
static bool has_two_orders(const Op *kernel)
{
	const Region *r = kernel->regions[0];

	for (const Op *op = r->first; op; op = op->next)
		for (int i = 0; i < op->nargs; i++) {
			const Value *v = op->args[i];
			if (v->type.dtype == DT_rows && !value_inside(v, r) &&
			    kernel_rows(kernel, v->type.range) != v)
				return true;
		}
	return false;
}

static bool check_rows(Diag *diag, const Region *r)
{
	bool right = true;

	for (const Op *op = r->first; op; op = op->next) {
		bool two = op->kind == OP_kernel && has_two_orders(op);
		if (two)
			diag_error(diag, E_ir_rule, op->loc,
				   "reads the rows of a range in two orders");
		right &= !two;
		for (int i = 0; i < op->nregions && op->kind != OP_kernel; i++)
			right &= check_rows(diag, op->regions[i]);
	}
	return right;
}

bool check_kernels(Diag *diag, const Module *m, const Target *t)
{
	bool right = true;

	for (int i = 0; fn_compiled(m, i); i++) {
		const Region *body = fn_compiled(m, i)->body;
		right &= check_contractions(diag, body, t);
		right &= check_rows(diag, body);
		right &= check_losses(diag, body, i ? m->calls.at[i - 1].nlosses : m->nlosses);
	}
	return right;
}
