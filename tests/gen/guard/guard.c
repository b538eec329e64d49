/* SPDX-License-Identifier: Apache-2.0
 * guard: the runtime's workspace with every piece of it between pages that nobody may touch.
 *
 * This file takes the place of workspace.c in the archive that moe_gen links layers with: the
 * workspace is laid out as ever, and then each buffer, table and weight is moved to an array
 * of its own, flush with the page behind it (or in front of it: `under`); kernels count on no
 * alignment but that of entries.  What nobody has written is NaN. */
#define moert_workspace plain_workspace
#include "../../../runtime/workspace.c"
#undef moert_workspace

#include "../../guarded.h"

#define EXPORT __attribute__((visibility("default")))

static Pages call, weights;             /* of the call that runs now; until the library goes */
static bool guarding;

__attribute__((destructor)) static void unload(void)
{
	pages_free(&call);
	pages_free(&weights);
}

static void *piece(int64_t bytes)
{
	return guarded(&call, (size_t)bytes);
}

/* Tables of tokens and rows; the runtime fills them from here on. */
static void guard_tables(moert_session *s, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	s->position = piece(s->args.tokens * (int64_t)sizeof *s->position);
	s->sequence = piece(s->args.tokens * (int64_t)sizeof *s->sequence);
	s->starts = piece((s->nseq + 1) * (int64_t)sizeof *s->starts);
	for (int64_t r = 0; r < l->nranges; r++) {
		int64_t n = tokens * range_picks(l, r) * (int64_t)sizeof(int32_t);
		int64_t count = l->ranges[r].count;
		s->rows[r] = (moert_rows){
			.token = piece(n), .slot = piece(n), .expert = piece(n),
			.row = piece(n),
			.start = piece((count + 1) * (int64_t)sizeof(int64_t)),
			.active = piece(count * (int64_t)sizeof(int32_t)),
		};
	}
}

static void guard_flows(moert_session *s, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nsteps; i++) {
		moert_flow *f = &s->flows[i];
		if (!f->token)
			continue;
		f->token = piece(tokens * (int64_t)sizeof *f->token);
		f->position = piece(tokens * (int64_t)sizeof *f->position);
		f->sequence = piece(tokens * (int64_t)sizeof *f->sequence);
		f->starts = piece((s->nseq + 1) * (int64_t)sizeof *f->starts);
	}
}

/* Kernels may use the rest of a row's last cache line, where rows have whole lines; what a
 * stride has beyond that is nobody's, behind the last row not even there. */
static void guard_buffers(moert_session *s, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t rows = 0, stride = moert_stride_of(b);
		int64_t row = b->elems * moert_entry_bytes(b->dtype);
		if (b->role == MOERT_INPUT || b->role == MOERT_STATE ||
		    !most_rows(s, b, b->role == MOERT_OUTPUT ? s->args.tokens : tokens, &rows))
			continue;
		if (row >= LINE)
			row = (row + LINE - 1) & -LINE;
		s->base[i].at = piece(rows ? (rows - 1) * stride + row : 0);
	}
}

int moert_workspace(moert_session *, int64_t group_tokens);
int moert_workspace(moert_session *s, int64_t group_tokens)
{
	int error = plain_workspace(s, group_tokens);

	if (error || !guarding)
		return error;
	pages_free(&call);
	guard_tables(s, group_tokens);
	guard_flows(s, group_tokens);
	guard_buffers(s, group_tokens);
	s->scratch = piece(s->workers * s->scratch_bytes);
	return 0;
}

static const void *guarded_copy(const moert_weight *w, const void *from)
{
	return memcpy(guarded(&weights, (size_t)w->bytes), from, (size_t)w->bytes);
}

/* From now on calls are guarded, and this model's weights are. */
EXPORT int moert_guard(moert_model *, int64_t under);
EXPORT int moert_guard(moert_model *m, int64_t under)
{
	const moert_layer *l = m->layer;
	const void **copy = m->copies;

	guarding = true;
	call.under = weights.under = under;
	for (int64_t w = 0; w < l->nweights; w++)
		if (l->weights[w].range < 0)
			m->weight[w] = guarded_copy(&l->weights[w], m->weight[w]);
	for (int64_t r = 0; r < l->nranges; r++)
		for (int64_t n = l->ranges[r].count * l->nweights; n--; copy++)
			if (*copy)
				*copy = guarded_copy(&l->weights[(copy - m->copies) %
								 l->nweights], *copy);
	return 0;
}
