/* SPDX-License-Identifier: Apache-2.0
 * call: one call of the compiled layer, its arrays guarded at their ends. */
#include "native.h"

#include <string.h>

static int64_t rows_of(const Type *t, const Question *q, const Program *p)
{
	return t->level == LV_TOKEN ? q->tokens
	       : t->level == LV_SEQ ? MAX(q->order ? q->nseq : p->nseq, 1) : 1;
}

static void make_answer(Native *n, const Question *q, Answer *a)
{
	const Module *m = n->reference;
	const Fn *fn = m->fns;
	size_t slots = (size_t)(q->tokens * m->picks);

	*a = (Answer){.tokens = q->tokens, .nouts = fn->nouts - m->nlosses, .k = m->picks};
	a->outs = NEWN(n->arena, void *, (size_t)a->nouts + 1);
	a->bytes = NEWN(n->arena, size_t, (size_t)a->nouts + 1);
	for (int i = 0; i < a->nouts; i++) {
		const Type *t = &fn->outs[i];
		a->bytes[i] = (size_t)(rows_of(t, q, n->at->p) * type_elems(t)) *
			      entry_bytes(t->dtype);
		a->outs[i] = guarded(&n->pages, a->bytes[i]);
		memset(a->outs[i], 0xa5, a->bytes[i]);
	}
	if (q->picks)
		a->picks = guarded(&n->pages, slots * 4);
	if (q->gates)
		a->gates = guarded(&n->pages, slots * 4);
	if (m->nlosses)
		a->losses = NEWN(n->arena, float, (size_t)m->nlosses);
}

/* The tokens that are asked about, in an array of their own. */
static const void *gather(Native *n, const Question *q, const GenInput *in)
{
	bool each = in->type.level == LV_TOKEN;
	size_t row = (size_t)type_elems(&in->type) * entry_bytes(in->type.dtype);
	int64_t rows = each ? q->tokens : 1;
	char *raw = guarded(&n->pages, (size_t)rows * row);

	for (int64_t t = 0; t < rows; t++) {
		int64_t from = each && q->order ? q->order[t] : t;
		memcpy(raw + (size_t)t * row, (const char *)in->raw + (size_t)from * row, row);
	}
	return raw;
}

static const void *copied(Native *n, const void *data, size_t bytes)
{
	return data ? memcpy(guarded(&n->pages, bytes), data, bytes) : NULL;
}

/* The worst pool there is: one piece after the other, the last one first. */
static void serial_pool(void *ctx, int n, void (*fn)(void *arg, int i), void *arg)
{
	while (n > 0)
		fn(arg, --n);
}

/* x and y with room between their rows; what y's room held must stay. */
typedef struct { size_t row[2], stride[2]; char *x, *y; } Padded;

static void pad_rows(Native *n, const Question *q, moert_args *args, Padded *p)
{
	const Type *x = &n->at->inputs[0].type, *y = &n->reference->fns->outs[0];

	p->row[0] = (size_t)type_elems(x) * entry_bytes(x->dtype);
	p->row[1] = (size_t)type_elems(y) * entry_bytes(y->dtype);
	p->stride[0] = p->row[0] + 3 * entry_bytes(x->dtype);
	p->stride[1] = p->row[1] + 5 * entry_bytes(y->dtype);
	p->x = guarded(&n->pages, (size_t)q->tokens * p->stride[0]);
	p->y = guarded(&n->pages, (size_t)q->tokens * p->stride[1]);
	memset(p->y, 0x5a, (size_t)q->tokens * p->stride[1]);
	for (size_t t = 0; t < (size_t)q->tokens; t++)
		memcpy(p->x + t * p->stride[0], (char *)args->x + t * p->row[0], p->row[0]);
	args->x = p->x;
	args->y = p->y;
	args->x_stride = (int64_t)p->stride[0];
	args->y_stride = (int64_t)p->stride[1];
}

static bool unpad_rows(const Question *q, const Padded *p, char *y)
{
	bool kept = true;

	for (size_t t = 0; t < (size_t)q->tokens; t++) {
		const char *row = p->y + t * p->stride[1];
		memcpy(y + t * p->row[1], row, p->row[1]);
		for (size_t i = p->row[1]; i < p->stride[1]; i++)
			kept = kept && row[i] == 0x5a;
	}
	if (!kept)
		printf("y is written between its rows\n");
	return kept;
}

bool native_call(Native *n, const Question *q, Answer *a)
{
	moert_session_options so = {.size = sizeof so, .threads = q->threads,
				    .parallel_for = q->pool ? serial_pool : NULL};
	Padded padded = {0};
	moert_model *model = q->model ? q->model : n->model;
	const void *inputs[COUNT(n->at->inputs)] = {0};
	size_t slots = (size_t)(q->tokens * n->reference->picks);

	make_answer(n, q, a);
	for (int i = 0; i < n->ninputs; i++)
		inputs[i] = gather(n, q, &n->at->inputs[i]);
	moert_args args = {.size = sizeof args, .x = inputs[0], .tokens = q->tokens,
			   .y = a->outs[0], .inputs = inputs + 1, .outputs = a->outs + 1,
			   .picks_in = copied(n, q->picks_in, slots * 4),
			   .gates_in = copied(n, q->gates_in, slots * 4),
			   .picks_out = a->picks, .gates_out = a->gates,
			   .losses = q->no_losses ? NULL : a->losses, .seed = 5};
	args.nseq = q->order ? q->nseq : n->at->p->nseq;
	args.seq = q->order ? q->seq : n->at->p->seq;
	args.seen = q->seen;
	if (q->padded)
		pad_rows(n, q, &args, &padded);
	int error = n->foreign ? foreign_run(n->foreign, model, &so, &args, NULL)
		    : q->session ? n->library.run(q->session, &args)
				 : loaded_call(&n->library, model, &so, &args);
	if (error)
		printf("run: %s\n", moert_error(error));
	return !error && (!q->padded || unpad_rows(q, &padded, a->outs[0]));
}
