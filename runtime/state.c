/* SPDX-License-Identifier: Apache-2.0
 * state: what a session remembers from call to call, a row a sequence or one for all.
 *
 * A call reads what was before it and writes what will be beside it. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static void fill(const moert_buf *b, char *row)
{
	int64_t bytes = moert_entry_bytes(b->dtype);

	for (int64_t i = 0; i < b->elems; i++)
		memcpy(row + i * bytes, b->init, (size_t)bytes);
}

/* More rows than before: the old ones, and new ones as they are at first. */
static int grow(moert_session *s, int64_t buf, int64_t rows)
{
	const moert_buf *b = &s->model->layer->bufs[buf];
	int64_t stride = moert_stride_of(b), bytes;

	if (!moert_mul(rows, stride, &bytes) || !moert_round_up(bytes, 64, &bytes))
		return MOERT_MEMORY;
	char *p = aligned_alloc(64, (size_t)bytes);
	if (!p)
		return MOERT_MEMORY;
	int64_t old = s->state_rows[buf];
	if (old)
		memcpy(p, s->state[buf], (size_t)(old * stride));
	for (int64_t r = old; r < rows; r++)
		fill(b, p + r * stride);
	free(s->state[buf]);
	s->state[buf] = p;
	s->state_rows[buf] = rows;
	return MOERT_OK;
}

int moert_states(moert_session *s)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t rows = b->level == MOERT_SEQ ? s->nseq : 1;
		if (b->role != MOERT_STATE)
			continue;
		int error = rows > s->state_rows[i] ? grow(s, i, rows) : MOERT_OK;
		if (error)
			return error;
		s->base[i] = (moert_view){s->state[i], moert_stride_of(b)};
	}
	return MOERT_OK;
}

void moert_states_go_on(moert_session *s)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t rows = b->level == MOERT_SEQ ? s->nseq : 1, stride = moert_stride_of(b);
		for (int64_t r = 0; b->role == MOERT_STATE && r < rows; r++)
			memcpy(s->state[i] + r * stride, s->base[b->next].at + r * stride,
			       (size_t)(b->elems * moert_entry_bytes(b->dtype)));
	}
}

/* What there is once a call is forgotten with all sequences. */
void moert_states_forget(moert_session *s, int64_t sequence, int64_t n)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t rows = s->state_rows[i], stride = moert_stride_of(b);
		if (b->level != MOERT_SEQ && n == 1)
			continue;
		for (int64_t r = sequence; r < rows && r - sequence < n; r++)
			fill(b, s->state[i] + r * stride);
	}
}
