/* SPDX-License-Identifier: Apache-2.0
 * fuse_rules: which kernels may become one, by the form of contractions in pass.h. */
#include "fuse.h"

#include <string.h>

static bool only_linears(const Op *k)
{
	for (const Op *op = k->regions[0]->first; op->next; op = op->next)
		if (op->kind != OP_linear && !op_is_source(op))
			return false;
	return true;
}

static int count_linears(const Op *k)
{
	int n = 0;

	for (const Op *op = k->regions[0]->first; op; op = op->next)
		n += op->kind == OP_linear;
	return n;
}

/* The layer of a model whose weight it is, or is computed from first of all; -1: none. */
static int call_of(const Module *m, const Value *w)
{
	while (w->def && w->def->kind != OP_param) {
		if (w->def->kind == OP_kernel)
			w = kernel_inside((Value *)w);
		else if (w->def->nargs)
			w = w->def->args[0];
		else
			return -1;
	}
	const char *name = w->def ? attr_get_str(w->def, "name", "") : "";
	for (int i = 0; i < m->calls.n; i++) {
		size_t n = strlen(m->calls.at[i].path);
		if (strncmp(name, m->calls.at[i].path, n) == 0 && name[n] == '.')
			return i;
	}
	return -1;
}

/* Every stream holds at least one vector of the register tile.  Layers of a model keep their
 * panels apart: calls of their own read them, too. */
bool streams_fit(Fuse *f, const Op *a, const Op *b)
{
	int rows, vectors;

	if (!kernels_alike(a, b) || !only_linears(a) || !only_linears(b))
		return false;
	const Op *x = kernel_first(a, OP_linear), *y = kernel_first(b, OP_linear);
	target_tile(f->target, &rows, &vectors);
	return x->args[0] == y->args[0] &&
	       type_equal(&x->args[1]->type, &y->args[1]->type) &&
	       call_of(f->m, x->args[1]) == call_of(f->m, y->args[1]) &&
	       count_linears(a) + count_linears(b) <= vectors;
}

static bool is_scalar_or(const Type *t, int64_t n)
{
	return t->rank == 0 || (t->rank == 1 && t->dim[0] == n);
}

/* Elementwise on [n] or on scalars of a row, operands and result. */
static bool is_columnwise(const Op *op, int64_t n)
{
	if (!(op_info[op->kind].flags & EW) || !is_scalar_or(&op->outs[0]->type, n))
		return false;
	for (int i = 0; i < op->nargs; i++)
		if (!is_scalar_or(&op->args[i]->type, n))
			return false;
	return true;
}

static bool is_row_scalar(const Op *op)
{
	return op->kind == OP_dispatch && op->outs[0]->type.rank == 0;
}

/* A map whose ops all go column by column with the contraction. */
static bool map_is_columnwise(const Op *map, int64_t n)
{
	for (const Op *op = map->regions[0]->first; op->next; op = op->next)
		if (!op_is_source(op) && !is_row_scalar(op) && !is_columnwise(op, n))
			return false;
	const Type *out = map->nouts ? &map->outs[0]->type : NULL;
	return out && out->rank == 1 && out->dim[0] == n;
}

/* The map is one combine of rows that the contraction makes and nobody else reads. */
static bool is_sink(const Fuse *f, const Op *contract, const Op *map, int64_t n)
{
	const Op *combine = kernel_first(map, OP_combine);

	if (!combine || combine != map->regions[0]->first || combine->next->next)
		return false;
	const Value *rows = combine->args[0];
	return rows->def == contract && rows->type.rank == 1 && rows->type.dim[0] == n &&
	       contract->outs[rows->index] == rows && contract->nouts == 1 &&
	       value_uses(f->fn, rows) == 1 && combine->args[1]->def != contract;
}

/* What a tail reads of each row comes from the contraction alone. */
static bool reads_rows_of(Fuse *f, const Op *contract, const Op *map)
{
	int n;
	Value **captures = region_captures(f->arena, map->regions[0], &n);

	for (int i = 0; i < n; i++)
		if (captures[i]->def != contract && captures[i]->type.level >= LV_SEQ)
			return false;
	return true;
}

int role_in(Fuse *f, const Op *contract, const Op *map)
{
	const Op *linear = kernel_first(contract, OP_linear);
	int64_t n = linear->outs[0]->type.dim[0];
	bool alike = kernels_alike(contract, map);
	bool tail = attr_get_int(contract, "tail", 0) != 0;
	bool by_rows = linear->outs[0]->type.level == LV_ROW;

	if (kernel_first(contract, OP_combine)) {
		bool tokens = strcmp(attr_get_str(map, "over", ""), "T") == 0;
		return tokens && map_is_columnwise(map, n) ? FINISH : NO_ROLE;
	}
	if (by_rows && is_sink(f, contract, map, n))
		return SINK;
	if (!alike)
		return NO_ROLE;
	if (!tail && map_is_columnwise(map, n))
		return EPILOGUE;
	return !by_rows && reads_rows_of(f, contract, map) ? TAIL : NO_ROLE;
}

/* Routing that may be given passes through memory, where the runtime puts it. */
bool reads_given(Fuse *f, const Op *from, const Op *into)
{
	int n;
	Value **captures = region_captures(f->arena, into->regions[0], &n);

	for (int i = 0; i < n; i++) {
		const Op *def = captures[i]->def == from ? kernel_inside(captures[i])->def : NULL;
		if (def && def->kind == OP_stop && attr_find(def, "given"))
			return true;
	}
	return false;
}

static bool clash_in(const Op *a, const Op *b, int range)
{
	const Value *x = kernel_rows(a, range), *y = x ? kernel_rows(b, range) : NULL;

	return y && x != y;
}

/* Rows of one range in two orders: a kernel finds one of them alone. */
bool rows_clash(const Op *a, const Op *b)
{
	for (const Op *op = a->regions[0]->first; op; op = op->next)
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i]->type.level == LV_ROW &&
			    clash_in(a, b, op->args[i]->type.range))
				return true;
	return false;
}
