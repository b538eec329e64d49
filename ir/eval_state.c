/* SPDX-License-Identifier: Apache-2.0
 * eval_state: what layers remember between calls.
 *
 * `next` writes beside the old values, which every `state` of the call reads; only a call
 * that ends well makes them current. */
#include "eval_ops.h"

#include <stdlib.h>
#include <string.h>

/* rows: sequences, or 1.  The new values begin as copies of the old. */
typedef struct Memory {
	struct Memory *next;
	char    *name;
	int64_t  each, rows;
	double   init;
	double  *old, *new, *old_err, *new_err;
} Memory;

struct EvalState { Memory *first; };

EvalState *eval_state_new(void)
{
	EvalState *s = calloc(1, sizeof *s);
	if (!s)
		ice("out of memory");
	return s;
}

static void memory_free(Memory *m)
{
	free(m->name);
	free(m->old);
	free(m->new);
	free(m->old_err);
	free(m->new_err);
	free(m);
}

void eval_state_free(EvalState *s)
{
	for (Memory *m = s ? s->first : NULL, *next; m; m = next) {
		next = m->next;
		memory_free(m);
	}
	free(s);
}

static bool memory_grow(double **v, int64_t from, int64_t to, double with)
{
	double *p = realloc(*v, (size_t)to * sizeof *p);
	if (!p)
		return false;
	for (int64_t i = from; i < to; i++)
		p[i] = with;
	*v = p;
	return true;
}

/* The memory of a state with room for `rows` sequences; new ones have the first value. */
static Memory *memory_of(Eval *ev, const State *st, int64_t rows)
{
	Memory *m = ev->state->first;
	while (m && strcmp(m->name, st->name) != 0)
		m = m->next;
	int64_t each = type_elems(&st->type), to;
	if (!m) {
		m = calloc(1, sizeof *m);
		if (!m || !(m->name = strdup(st->name))) {
			free(m);
			eval_fail(ev, "out of memory: state '%s'", st->name);
		}
		m->each = each;
		m->next = ev->state->first;
		ev->state->first = m;
	}
	if (m->each != each)
		eval_fail(ev, "state '%s' is another layer's", st->name);
	if (m->rows >= rows)
		return m;
	int64_t from = m->rows * each;
	if (__builtin_mul_overflow(rows, each, &to) || to > INT64_MAX / 8 ||
	    !memory_grow(&m->old, from, to, st->init) ||
	    !memory_grow(&m->new, from, to, st->init) ||
	    !memory_grow(&m->old_err, from, to, 0) ||
	    !memory_grow(&m->new_err, from, to, 0))
		eval_fail(ev, "out of memory: state '%s'", st->name);
	m->rows = rows;
	return m;
}

void states_end(EvalState *s, bool well)
{
	for (Memory *m = s->first; m; m = m->next) {
		size_t bytes = (size_t)(m->rows * m->each) * sizeof *m->old;
		memcpy(well ? m->old : m->new, well ? m->new : m->old, bytes);
		memcpy(well ? m->old_err : m->new_err, well ? m->new_err : m->old_err,
		       bytes);
	}
}

/* Row r of a value of the state's level is this row of its memory. */
static int64_t memory_row(const Eval *ev, const State *st, int64_t r)
{
	return st->scope == PER_SEQUENCE ? ev->ctx->seq_id[r] : 0;
}

static const State *state_of(Eval *ev, const Op *op, int64_t *rows)
{
	const char *name = attr_get_str(op, "name", "");
	const State *st = state_find(ev->m, name);
	if (!st)
		ice("state '%s' is not in the module's list", name);
	*rows = st->scope == PER_SEQUENCE ? MAX(ev->call->nseq, 1) : 1;
	return st;
}

void ref_state(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t rows;
	const State *st = state_of(ev, op, &rows);
	const Memory *m = memory_of(ev, st, rows);

	if (op->outs[0]->type.level > LV_SEQ)
		eval_fail(ev, "state '%s' is read token by token: run inline-std first",
			  st->name);

	out_new(ev, op, 0, args, outs, true);
	for (int64_t r = 0; r < outs->rows; r++) {
		int64_t from = memory_row(ev, st, r) * m->each, to = r * m->each;
		memcpy(outs->v + to, m->old + from, (size_t)m->each * sizeof *m->old);
		if (outs->err)
			memcpy(outs->err + to, m->old_err + from,
			       (size_t)m->each * sizeof *m->old);
	}
}

void ref_next(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t rows, n = 1;
	const State *st = state_of(ev, op, &rows);
	Memory *m = memory_of(ev, st, rows);
	const Tensor *x = &args[0];
	int64_t each = type_elems(&x->type);
	Tensor like = {.type = type_scalar(DT_f32, LV_SEQ)};

	if (x->type.level > (st->scope == PER_SEQUENCE ? LV_SEQ : LV_ONCE))
		eval_fail(ev,
			  "state '%s' is written token by token: run inline-std first",
			  st->name);
	if (st->scope == PER_SEQUENCE)
		n = ev->ctx->nseq;
	for (int64_t r = 0; r < n; r++) {
		int64_t row = st->scope == PER_SEQUENCE ? row_in(ev, &like, r, x) : 0;
		for (int64_t i = 0; i < m->each; i++) {
			int64_t to = memory_row(ev, st, r) * m->each + i;
			int64_t from = row * each + (each == 1 ? 0 : i);
			m->new[to] = x->v[from];
			m->new_err[to] = err_at(x, from);
		}
	}
}

/* The interpreter runs one call, which nobody leads. */
void ref_defer(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
}
