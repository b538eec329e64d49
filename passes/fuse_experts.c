/* SPDX-License-Identifier: Apache-2.0
 * fuse-experts: merges kernels until no two neighbours fit together:
 *
 *   1  contractions of one input over weights of one shape   one kernel, several streams
 *   2  dispatch                                              the rows its readers fetch
 *   3  elementwise work on a contraction's columns           its epilogue
 *   4  combine of a contraction's rows                       its sink, then finish ops
 *   5  what only reads a contraction's finished rows         its tail: softmax, top-k
 *   6  maps over the same rows                               one map
 *
 * One rule makes all of it legal: two kernels become one only if no third op reads from
 * the first and is read by the second (order.c). */
#include "fuse.h"

#include <string.h>

/* Kernels of a kind in order; the list is taken anew after each merge round. */
typedef Vec(Op *) Kernels;

static Kernels kernels_in(Arena *arena, const Region *r, const char *kind)
{
	Kernels list = {0};

	for (Op *op = r->first; op; op = op->next)
		if (kernel_is(op, kind) && !kernel_of_weights(op))
			vec_push(arena, &list, op);
	return list;
}

static void join_schedules(Module *m, const Op *a, Op *b)
{
	const char *first = attr_get_str(a, "name", "?");
	const char *second = attr_get_str(b, "name", "?");

	attr_str(m, b, "name", arena_printf(m->arena, "%s+%s", first, second));
	attr_int(m, b, "vectors", attr_get_int(a, "vectors", 1) +
				  attr_get_int(b, "vectors", 1));
}

/* Where no loss is asked for, kernels that only lead to losses do not run: they stay
 * apart from those that always do. */
static bool needed_alike(const Op *a, const Op *b)
{
	return attr_get_int(a, "loss", 0) == attr_get_int(b, "loss", 0);
}

/* A merge may have moved b in front of a. */
static bool stands_before(const Op *a, const Op *b)
{
	while (a && a != b)
		a = a->next;
	return a != NULL;
}

/* Only what stands between the two may be out of order then. */
static void merge(Fuse *f, Op *a, Op *b)
{
	Op *since = a->next;

	kernel_merge(f->fn, a, b);
	if (b->nouts)
		range_sort(f->arena, since, b);
}

static bool share_input(Fuse *f, Region *r)
{
	Kernels list = kernels_in(f->arena, r, "contract");
	bool changed = false;

	for (int j = 1; j < list.n; j++)
		for (int i = 0; i < j; i++) {
			Op *a = list.at[i], *b = list.at[j];
			if (a->in != r || !streams_fit(f, a, b) ||
			    !needed_alike(a, b) || op_reads(b, a) ||
			    !stands_before(a, b) || path_between(a, b))
				continue;
			join_schedules(f->m, a, b);
			merge(f, a, b);
			changed = true;
		}
	return changed;
}

/* Whether rows are fetched through pointers: a contraction's left operand, any operand of
 * a map over the same rows.  A combine or collect reads them from memory. */
static bool fetches(const Op *k, const Value *rows)
{
	if (!kernels_alike(k, rows->def))
		return false;
	if (kernel_is(k, "map"))
		return true;
	if (!kernel_is(k, "contract"))
		return false;
	for (const Op *op = k->regions[0]->first; op; op = op->next)
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i] == rows && (op->kind != OP_linear || i != 0))
				return false;
	return true;
}

static bool fetch_inside(Fuse *f, Region *r)
{
	Kernels list = kernels_in(f->arena, r, "map");
	bool changed = false;

	for (int i = 0; i < list.n; i++) {
		Op *dispatch = list.at[i]->regions[0]->first;
		if (dispatch->kind != OP_dispatch || dispatch->next->next)
			continue;
		Value *rows = list.at[i]->outs[0];
		for (Op *op = list.at[i]->next; op; op = op->next) {
			if (op->kind != OP_kernel || !op_reads(op, list.at[i]) ||
			    !fetches(op, rows))
				continue;
			Op *copy = op_clone(f->m, f->fn, dispatch, &(ValueMap){0});
			op_insert_before(op->regions[0]->first, copy);
			region_replace(op->regions[0], rows, copy->outs[0]);
			kernel_tidy(f->fn, op);
			changed = true;
		}
		kernel_tidy(f->fn, list.at[i]);
	}
	return changed;
}

static void number_captures(const Op *k, int id)
{
	for (const Op *op = k->regions[0]->first; op; op = op->next)
		for (int i = 0; i < op->nargs; i++)
			op->args[i]->id = id;
}

static bool is_captured(const Op *k)
{
	for (int i = 0; i < k->nouts; i++)
		if (k->outs[i]->id)
			return true;
	return false;
}

/* The last contraction that the map reads from and that takes it. */
static Op *taker_of(Fuse *f, const Op *map, int *role)
{
	Vec(Op *) read = {0};

	number_captures(map, 1);
	for (Op *op = map->prev; op; op = op->prev)
		if (kernel_is(op, "contract") && is_captured(op) && needed_alike(op, map))
			vec_push(f->arena, &read, op);
	number_captures(map, 0);
	for (int i = 0; i < read.n; i++) {
		*role = role_in(f, read.at[i], map);
		if (*role != NO_ROLE && !path_between(read.at[i], map) &&
		    !reads_given(f, read.at[i], map) && !rows_clash(read.at[i], map))
			return read.at[i];
	}
	return NULL;
}

static bool follow_contractions(Fuse *f, Region *r)
{
	Kernels list = kernels_in(f->arena, r, "map");
	bool changed = false;

	for (int i = 0; i < list.n; i++) {
		int role;
		Op *map = list.at[i], *contract = taker_of(f, map, &role);
		if (!contract)
			continue;
		kernel_take_schedule(map, contract);
		if (role == TAIL)
			attr_int(f->m, map, "tail", 1);
		merge(f, contract, map);
		changed = true;
	}
	return changed;
}

/* How far back a map looks for another one: what stands further off seldom fits, and
 * long unrolled programs must not take quadratic time for it. */
enum { WINDOW = 8 };

static bool merge_maps(Fuse *f, Region *r)
{
	Kernels list = kernels_in(f->arena, r, "map");
	bool changed = false;

	for (int j = 1; j < list.n; j++) {
		int tried = 0;
		for (int i = j - 1; i >= 0 && tried < WINDOW; i--) {
			Op *a = list.at[i], *b = list.at[j];
			if (a->in != r || !kernels_alike(a, b) || !needed_alike(a, b))
				continue;
			tried++;
			if (!stands_before(a, b) || path_between(a, b) ||
			    reads_given(f, a, b) || rows_clash(a, b))
				continue;
			merge(f, a, b);
			changed = true;
		}
	}
	return changed;
}

static bool fuse_region(Fuse *f, Region *r)
{
	bool changed = false;

	for (Op *op = r->first; op; op = op->next)
		if (op->kind != OP_kernel)
			for (int i = 0; i < op->nregions; i++)
				changed |= fuse_region(f, op->regions[i]);
	changed |= share_input(f, r);
	changed |= fetch_inside(f, r);
	changed |= follow_contractions(f, r);
	changed |= merge_maps(f, r);
	return changed;
}

bool fuse_experts(Module *m, PassContext *ctx)
{
	Fuse f = {.m = m, .target = ctx->target};
	bool changed = false;

	if (!ctx->target)
		ice("fuse-experts without a target");
	f.arena = arena_new();
	for (int i = 0; (f.fn = fn_compiled(m, i)); i++) {
		clear_numbers(f.fn);
		changed |= fuse_region(&f, f.fn->body);
	}
	arena_free(f.arena);
	return changed;
}
