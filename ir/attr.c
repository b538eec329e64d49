/* SPDX-License-Identifier: Apache-2.0
 * attr: an op's attributes, kept in the order in which they were first set. */
#include "ir.h"

#include <string.h>

const Attr *attr_find(const Op *op, const char *name)
{
	for (int i = 0; i < op->nattrs; i++)
		if (strcmp(op->attrs[i].name, name) == 0)
			return &op->attrs[i];
	return NULL;
}

/* The attribute of that name, emptied: a new one stands last. */
static Attr *attr_set(Module *m, Op *op, const char *name, AttrKind kind)
{
	Attr *a = (Attr *)attr_find(op, name);

	if (!a) {
		Attr *attrs = NEWN(m->arena, Attr, (size_t)op->nattrs + 1);
		if (op->nattrs)
			memcpy(attrs, op->attrs, (size_t)op->nattrs * sizeof *attrs);
		op->attrs = attrs;
		a = &attrs[op->nattrs++];
		a->name = arena_strdup(m->arena, name);
	}
	*a = (Attr){.name = a->name, .kind = kind};
	return a;
}

void attr_int(Module *m, Op *op, const char *name, int64_t i)
{
	attr_set(m, op, name, AT_INT)->i = i;
}

void attr_float(Module *m, Op *op, const char *name, double f)
{
	attr_set(m, op, name, AT_FLOAT)->f = f;
}

void attr_str(Module *m, Op *op, const char *name, const char *s)
{
	const char *copy = arena_strdup(m->arena, s);

	attr_set(m, op, name, AT_STR)->s = copy;
}

void attr_word(Module *m, Op *op, const char *name, const char *s)
{
	const char *copy = arena_strdup(m->arena, s);

	attr_set(m, op, name, AT_WORD)->s = copy;
}

/* The lists are copied before the attribute is emptied: it may be the source. */
void attr_ints(Module *m, Op *op, const char *name, const int64_t *is, int n)
{
	int64_t *copy = NEWN(m->arena, int64_t, (size_t)n);

	if (n)
		memcpy(copy, is, (size_t)n * sizeof *copy);
	Attr *a = attr_set(m, op, name, AT_INTS);
	a->n = n;
	a->is = copy;
}

void attr_floats(Module *m, Op *op, const char *name, const double *fs, int n)
{
	double *copy = NEWN(m->arena, double, (size_t)n);

	if (n)
		memcpy(copy, fs, (size_t)n * sizeof *copy);
	Attr *a = attr_set(m, op, name, AT_FLOATS);
	a->n = n;
	a->fs = copy;
}

static void set_texts(Module *m, Op *op, const char *name, AttrKind kind,
		      const char *const *ss, int n)
{
	const char **copy = NEWN(m->arena, const char *, (size_t)n);

	for (int i = 0; i < n; i++)
		copy[i] = arena_strdup(m->arena, ss[i]);
	Attr *a = attr_set(m, op, name, kind);
	a->n = n;
	a->ss = copy;
}

void attr_strs(Module *m, Op *op, const char *name, const char *const *ss, int n)
{
	set_texts(m, op, name, AT_STRS, ss, n);
}

void attr_fns(Module *m, Op *op, const char *name, const char *const *ss, int n)
{
	set_texts(m, op, name, AT_FNS, ss, n);
}

void attr_drop(Op *op, const char *name)
{
	Attr *a = (Attr *)attr_find(op, name);

	if (!a)
		return;
	op->nattrs--;
	memmove(a, a + 1, (size_t)(op->attrs + op->nattrs - a) * sizeof *a);
}

int64_t attr_get_int(const Op *op, const char *name, int64_t otherwise)
{
	const Attr *a = attr_find(op, name);

	return a && a->kind == AT_INT ? a->i : otherwise;
}

const char *attr_get_str(const Op *op, const char *name, const char *otherwise)
{
	const Attr *a = attr_find(op, name);

	if (a && (a->kind == AT_STR || a->kind == AT_WORD))
		return a->s;
	return a && a->kind == AT_FNS && a->n == 1 ? a->ss[0] : otherwise;
}
