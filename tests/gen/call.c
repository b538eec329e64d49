/* SPDX-License-Identifier: Apache-2.0
 * call: one call of the compiled layer, its arrays guarded at their ends. */
#include "native.h"

#include <string.h>

static int64_t rows_of(const Type *t, int64_t tokens)
{
	return t->level == LV_TOKEN ? tokens : 1;
}

static void make_answer(Native *n, const Question *q, Answer *a)
{
	const Module *m = n->reference;
	const Fn *fn = m->fns;
	size_t slots = (size_t)(q->tokens * m->picks);

	*a = (Answer){.nouts = fn->nouts - m->nlosses, .k = m->picks};
	a->outs = NEWN(n->arena, void *, (size_t)a->nouts + 1);
	a->bytes = NEWN(n->arena, size_t, (size_t)a->nouts + 1);
	for (int i = 0; i < a->nouts; i++) {
		const Type *t = &fn->outs[i];
		a->bytes[i] = (size_t)(rows_of(t, q->tokens) * type_elems(t)) *
			      entry_bytes(t->dtype);
		a->outs[i] = guarded(a->bytes[i]);
		memset(a->outs[i], 0xa5, a->bytes[i]);
	}
	if (q->picks)
		a->picks = guarded(slots * 4);
	if (q->gates)
		a->gates = guarded(slots * 4);
	if (m->nlosses)
		a->losses = NEWN(n->arena, float, (size_t)m->nlosses);
}

bool native_call(Native *n, const Question *q, Answer *a)
{
	moert_session_options so = {sizeof so, q->threads, NULL, NULL};
	moert_session *session;
	const void *inputs[COUNT(n->inputs)] = {0};
	bool whole = q->first == 0 && q->tokens == n->p->tokens;

	make_answer(n, q, a);
	for (int i = 0; i < n->ninputs; i++) {
		const GenInput *in = &n->inputs[i];
		int64_t skip = in->type.level == LV_TOKEN
				   ? q->first * type_elems(&in->type) : 0;
		inputs[i] = (char *)in->raw + (size_t)skip * entry_bytes(in->type.dtype);
	}
	moert_args args = {.size = sizeof args, .x = inputs[0], .tokens = q->tokens,
			   .y = a->outs[0], .inputs = inputs + 1, .outputs = a->outs + 1,
			   .picks_out = a->picks, .gates_out = a->gates,
			   .losses = a->losses, .seed = 5};
	if (whole && n->p->nseq) {
		args.nseq = n->p->nseq;
		args.seq = n->p->seq;
	}
	if (q->given) {
		args.picks_in = q->given->picks;
		args.gates_in = q->given->gates;
	}
	int error = n->start(n->model, &so, &session);
	if (!error) {
		error = n->run(session, &args);
		n->end(session);
	}
	if (error)
		printf("run: %s\n", moert_error(error));
	return !error;
}

bool answers_same(const Answer *a, const Answer *b)
{
	for (int i = 0; i < a->nouts; i++)
		if (memcmp(a->outs[i], b->outs[i], a->bytes[i]))
			return false;
	return true;
}
