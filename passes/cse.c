/* SPDX-License-Identifier: Apache-2.0
 * cse: of equal pure ops in one region the first computes for all.
 *
 * Not across regions: inside a `where`, T means other tokens than outside. */
#include "kernel.h"

#include <string.h>

static bool lists_equal(const Attr *a, const Attr *b)
{
	for (int i = 0; i < a->n; i++) {
		bool same = a->kind == AT_INTS     ? a->is[i] == b->is[i]
			    : a->kind == AT_FLOATS ? memcmp(&a->fs[i], &b->fs[i],
							    sizeof a->fs[i]) == 0
						   : strcmp(a->ss[i], b->ss[i]) == 0;
		if (!same)
			return false;
	}
	return true;
}

/* Bits, not values: 0 and -0 differ, and a NaN equals itself. */
static bool attrs_equal(const Attr *a, const Attr *b)
{
	if (strcmp(a->name, b->name) || a->kind != b->kind || a->n != b->n)
		return false;
	switch (a->kind) {
	case AT_INT:   return a->i == b->i;
	case AT_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
	case AT_STR:
	case AT_WORD:  return strcmp(a->s, b->s) == 0;
	default:       return lists_equal(a, b);
	}
}

bool ops_equal(const Op *a, const Op *b)
{
	if (a->nargs != b->nargs)
		return false;
	for (int i = 0; i < a->nargs; i++)
		if (a->args[i] != b->args[i])
			return false;
	return ops_alike(a, b);
}

bool ops_alike(const Op *a, const Op *b)
{
	if (a->kind != b->kind || a->nargs != b->nargs || a->nattrs != b->nattrs ||
	    a->nouts != b->nouts || a->nregions || b->nregions)
		return false;
	for (int i = 0; i < a->nouts; i++)
		if (!type_equal(&a->outs[i]->type, &b->outs[i]->type))
			return false;
	for (int i = 0; i < a->nattrs; i++)
		if (!attrs_equal(&a->attrs[i], &b->attrs[i]))
			return false;
	return true;
}

enum { BUCKETS = 512 };
typedef struct Entry {
	Op *op;
	struct Entry *next;
} Entry;

static size_t bucket_of(const Op *op)
{
	size_t h = (size_t)op->kind;

	for (int i = 0; i < op->nargs; i++)
		h = h * 31 + ((size_t)op->args[i] >> 4);
	return (h ^ h >> 9 ^ h >> 18) % BUCKETS;
}

static bool merge_region(Fn *fn, Region *r)
{
	Arena *scratch = arena_new();
	Entry **table = NEWN(scratch, Entry *, BUCKETS);
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		for (int i = 0; i < op->nregions; i++)
			changed |= merge_region(fn, op->regions[i]);
		if (!(op_info[op->kind].flags & PURE) || op->nregions)
			continue;
		Entry **head = &table[bucket_of(op)], *e = *head;
		while (e && !ops_equal(e->op, op))
			e = e->next;
		if (e) {
			value_replace(fn, op->outs[0], e->op->outs[0]);
			op_unlink(op);
			changed = true;
			continue;
		}
		e = NEW(scratch, Entry);
		*e = (Entry){op, *head};
		*head = e;
	}
	arena_free(scratch);
	return changed;
}

bool merge_equal(Fn *fn)
{
	return merge_region(fn, fn->body);
}
