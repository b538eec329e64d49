/* SPDX-License-Identifier: Apache-2.0
 * eval_tensor: memory and tensors of the reference interpreter. */
#include "eval_ops.h"

#include <stdlib.h>
#include <string.h>

/* All memory hangs on one list, so that a failure anywhere leaks nothing. */
struct Block {
	Block *prev, *next;
	size_t size;
	_Alignas(max_align_t) unsigned char data[];
};

void eval_fail(Eval *ev, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	ev->why = arena_vprintf(ev->arena, fmt, ap);
	va_end(ap);
	longjmp(ev->failed, 1);
}

void *eval_alloc(Eval *ev, int64_t n, size_t size)
{
	size_t bytes, all;
	if (n < 0 || !size_mul((size_t)n, size, &bytes) ||
	    !size_add(bytes, sizeof(Block), &all) || all > ev->limit - ev->live)
		eval_fail(ev, "out of memory: a value of %lld entries", (long long)n);
	Block *b = calloc(1, all);
	if (!b)
		eval_fail(ev, "out of memory: %zu bytes", all);
	b->size = all;
	b->next = ev->blocks;
	if (b->next)
		b->next->prev = b;
	ev->blocks = b;
	ev->live += all;
	return b->data;
}

void eval_free(Eval *ev, void *p)
{
	if (!p)
		return;
	Block *b = (Block *)((unsigned char *)p - offsetof(Block, data));
	if (b->prev)
		b->prev->next = b->next;
	else
		ev->blocks = b->next;
	if (b->next)
		b->next->prev = b->prev;
	ev->live -= b->size;
	free(b);
}

void eval_free_all(Eval *ev)
{
	while (ev->blocks)
		eval_free(ev, ev->blocks->data);
}

double *eval_doubles(Eval *ev, int64_t n)
{
	return eval_alloc(ev, n, sizeof(double));
}

void tensor_free(Eval *ev, Tensor *t)
{
	eval_free(ev, t->v);
	eval_free(ev, t->err);
	t->v = t->err = NULL;
}

const Rows *rows_of(const Tensor *args, int nargs)
{
	for (int i = 0; i < nargs; i++)
		if (args[i].at)
			return args[i].at;
	return NULL;
}

bool any_err(const Tensor *args, int nargs)
{
	for (int i = 0; i < nargs; i++)
		if (args[i].err)
			return true;
	return false;
}

static int64_t level_rows(Eval *ev, const Type *type, const Rows *at)
{
	switch (type->level) {
	case LV_ONCE:
		return 1;
	case LV_SEQ:
		return ev->ctx->nseq;
	case LV_TOKEN:
		return ev->ctx->tokens;
	case LV_EXPERT:
		if (type->range < 0 || type->range >= ev->m->ranges.n)
			ice("a value of expert range %d", type->range);
		return ev->m->ranges.at[type->range].count;
	case LV_ROW:
		if (!at)
			eval_fail(ev, "rows of range %d before a group made them",
				  type->range);
		return at->n;
	}
	ice("level %d", type->level);
}

void tensor_new(Eval *ev, Type type, const Tensor *args, int nargs, Tensor *out)
{
	int64_t each;
	*out = (Tensor){.type = type};
	if (type.level == LV_ROW) {
		out->at = rows_of(args, nargs);
		if (!out->at && type.range < ev->m->ranges.n)
			out->at = ev->rows[type.range];
	}
	out->rows = level_rows(ev, &type, out->at);
	if (!shape_elems(type.dim, type.rank, &each) ||
	    __builtin_mul_overflow(out->rows, each, &out->n))
		eval_fail(ev, "out of memory: a value has too many entries");
	out->v = eval_doubles(ev, out->n);
}

void out_new(Eval *ev, const Op *op, int i, const Tensor *args, Tensor *out, bool err)
{
	tensor_new(ev, op->outs[i]->type, args, op->nargs, out);
	if (err && ev->bounds)
		out->err = eval_doubles(ev, out->n);
}

Tensor tensor_copy(Eval *ev, const Tensor *t)
{
	Tensor y = *t;
	if (unread(t) || t->type.dtype == DT_rows)
		return y;
	y.v = eval_doubles(ev, t->n);
	memcpy(y.v, t->v, (size_t)t->n * sizeof *y.v);
	if (t->err) {
		y.err = eval_doubles(ev, t->n);
		memcpy(y.err, t->err, (size_t)t->n * sizeof *y.err);
	}
	return y;
}

/* The chosen rows, in the given order, as a value of as many. */
Tensor tensor_rows(Eval *ev, const Tensor *t, const int64_t *pick, int64_t n,
		   const Rows *at)
{
	int64_t each = type_elems(&t->type);
	size_t bytes = (size_t)each * sizeof(double);
	Tensor y = {.type = t->type, .rows = n, .n = n * each, .at = at};

	if (t->type.dtype == DT_rows)
		return y;
	y.v = eval_doubles(ev, y.n);
	if (t->err)
		y.err = eval_doubles(ev, y.n);
	for (int64_t i = 0; i < n; i++) {
		memcpy(y.v + i * each, t->v + pick[i] * each, bytes);
		if (t->err)
			memcpy(y.err + i * each, t->err + pick[i] * each, bytes);
	}
	return y;
}

/* A weight's matrix is asked for at every use: a source may hold one at a time. */
static const void *weight_data(Eval *ev, const Tensor *t, int64_t row)
{
	const Param *p = t->param;
	WeightSource *w = ev->call->weights;
	int64_t expert = -1;

	if (p->type.level == LV_EXPERT)
		expert = ev->m->ranges.at[p->type.range].first + row;
	const void *data = w ? w->get(w, p, expert) : NULL;
	if (!data && expert >= 0)
		eval_fail(ev, "no weight '%s' of expert %lld", p->name,
			  (long long)expert);
	if (!data)
		eval_fail(ev, "no weight '%s'", p->name);
	return data;
}

void read_entries(Eval *ev, const Tensor *t, int64_t row, int64_t from, int64_t n,
		  double *to)
{
	if (!unread(t)) {
		memcpy(to, t->v + row * type_elems(&t->type) + from,
		       (size_t)n * sizeof *to);
		return;
	}
	Dtype dtype = t->param ? t->param->type.dtype : t->stored;
	size_t size = (size_t)dtype_info[dtype].bits / 8;
	const unsigned char *data = t->param ? weight_data(ev, t, row) : t->raw;
	load_doubles(dtype, data + (size_t)from * size, n, to);
	if (t->stored != dtype)
		for (int64_t i = 0; i < n; i++)
			to[i] = round_to(t->stored, to[i]);
}

void tensor_read(Eval *ev, Tensor *t)
{
	int64_t each = type_elems(&t->type);
	double *v = eval_doubles(ev, t->n);
	for (int64_t r = 0; r < t->rows; r++)
		read_entries(ev, t, r, 0, each, v + r * each);
	t->v = v;
	t->param = NULL;
	t->raw = NULL;
}

int64_t row_in(const Eval *ev, const Tensor *out, int64_t r, const Tensor *a)
{
	if (a->type.level == out->type.level)
		return r;
	bool row = out->type.level == LV_ROW;
	switch (a->type.level) {
	case LV_ONCE:
		return 0;
	case LV_EXPERT:
		if (row)
			return out->at->expert[r] - out->at->first;
		ice("an expert's value where there is no expert");
	case LV_SEQ:
		return ev->ctx->seq[row ? out->at->token[r] : r];
	case LV_TOKEN:
		return out->at->token[r];
	default:
		ice("a routed value where there are no rows");
	}
}
