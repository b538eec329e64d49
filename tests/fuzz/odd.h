/* SPDX-License-Identifier: Apache-2.0
 * odd: a call's arguments out of a fuzzer's bytes, right ones or not, in arrays that end
 * where a page begins that faults. */
#ifndef MOEC_ODD_H
#define MOEC_ODD_H

#include "fuzz.h"
#include "../../runtime/internal.h"

enum { MOST_TOKENS = 9, MOST_SEQUENCES = 5, MORE = 4, LARGEST = 1 << 14 };
/* MORE further inputs and outputs; picks and gates, in and out, of layer and calls */
enum { A_X, A_Y, A_SEQ, A_SEEN, A_LOSSES, A_ROWS, A_STRUCT, A_IN, A_OUT = A_IN + MORE,
       A_ROUTING = A_OUT + MORE, ARRAYS = A_ROUTING + 4 * (1 + MORE) };

/* The input, byte by byte; zeros when it has ended. */
typedef struct {
	const uint8_t *at, *end;
} Bytes;

typedef struct {
	moert_args    a;
	const void   *inputs[MORE];
	void         *outputs[MORE];
	moert_routing routing[MORE];
	double        step;
} Call;

static char *array_end[ARRAYS];         /* where a page begins that faults */

static unsigned next(Bytes *b)
{
	return b->at < b->end ? *b->at++ : 0;
}

static int64_t odd(Bytes *b)
{
	static const int64_t numbers[] = {0, -1, 1, 2, INT32_MAX, -INT32_MAX - 1ll, 1ll << 31,
					  1ll << 32, 1ll << 62, INT64_MAX, INT64_MIN};
	unsigned which = next(b);

	return which < COUNT(numbers) ? numbers[which] : (int64_t)which - 128;
}

/* An array flush with its end, filled with the same numbers each time. */
static void *array(int which, int64_t bytes, int fill)
{
	HOLDS(bytes <= LARGEST, "the arrays are too small\n");
	char *at = array_end[which] - bytes;

	for (int64_t i = 0; i < bytes; i++)
		at[i] = (char)(fill && i % 2 ? 0x3f : (i * 29 + fill) & 0x3f);
	return at;
}

static void make_arrays(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < ARRAYS; i++) {
		char *at = mmap(NULL, LARGEST + page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		HOLDS(at != MAP_FAILED && mprotect(at + LARGEST, page, PROT_NONE) == 0,
		      "no memory\n");
		array_end[i] = at + LARGEST;
	}
}

/* Buffer number `skip` of those of a role. */
static const moert_buf *buffer(const moert_layer *l, int role, int64_t skip)
{
	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].role == role && skip-- == 0)
			return &l->bufs[i];
	return NULL;
}

static int64_t row_bytes(const moert_buf *b)
{
	return b->elems * moert_entry_bytes(b->dtype);
}

/* Of a call that is refused: any. */
static int64_t rows_of(const moert_buf *b, const moert_args *a)
{
	int64_t sequences = a->nseq > 0 && a->nseq <= MOST_SEQUENCES ? a->nseq : 1;

	return b->level == MOERT_TOKEN ? a->tokens : b->level == MOERT_SEQ ? sequences : 1;
}

/* All dense, and all that there is. */
static void tensors(const moert_layer *l, Call *c)
{
	const moert_buf *x = buffer(l, MOERT_INPUT, 0), *y = buffer(l, MOERT_OUTPUT, 0), *b;

	c->a.x = array(A_X, c->a.tokens * row_bytes(x), 1);
	c->a.y = array(A_Y, c->a.tokens * row_bytes(y), 0);
	for (int i = 0; (b = buffer(l, MOERT_INPUT, i + 1)); i++) {
		HOLDS(i < MORE, "more inputs than arrays\n");
		c->inputs[i] = array(A_IN + i, rows_of(b, &c->a) * row_bytes(b), 1);
	}
	for (int i = 0; (b = buffer(l, MOERT_OUTPUT, i + 1)); i++) {
		HOLDS(i < MORE, "more outputs than arrays\n");
		c->outputs[i] = array(A_OUT + i, rows_of(b, &c->a) * row_bytes(b), 0);
	}
	c->a.inputs = c->inputs;
	c->a.outputs = c->outputs;
}

/* Some are missing: no tensor is, mostly. */
static void odd_tensors(Bytes *b, const moert_layer *l, Call *c)
{
	unsigned has = next(b);

	tensors(l, c);
	switch (has % 32) {
	case 1: c->a.outputs = NULL; break;
	case 2: c->outputs[has / 64] = NULL; break;
	case 3: c->a.inputs = NULL; break;
	case 4: c->inputs[has / 64] = NULL; break;
	case 5: c->a.x = NULL; break;
	case 6: c->a.y = NULL; break;
	}
}

static int64_t odd_stride(Bytes *b, const moert_buf *of)
{
	int64_t row = row_bytes(of), entry = moert_entry_bytes(of->dtype);
	const int64_t strides[] = {0, row, row + entry, 2 * row, row - 1, row + 1, -row,
				   INT64_MAX - 7, INT64_MIN};
	unsigned which = next(b);

	return which < COUNT(strides) ? strides[which] : 0;
}

/* Rows apart in arrays that have no more than that; y may lie on x. */
static void odd_rows(Bytes *b, const moert_layer *l, moert_args *a)
{
	const moert_buf *x = buffer(l, MOERT_INPUT, 0), *y = buffer(l, MOERT_OUTPUT, 0);
	int64_t behind = MAX(a->tokens - 1, 0);

	a->x_stride = odd_stride(b, x);
	a->y_stride = odd_stride(b, y);
	if (a->x && a->x_stride > row_bytes(x) && a->x_stride <= 2 * row_bytes(x))
		a->x = array(A_X, behind * a->x_stride + row_bytes(x), 1);
	if (a->y && a->y_stride > row_bytes(y) && a->y_stride <= 2 * row_bytes(y))
		a->y = array(A_Y, behind * a->y_stride + row_bytes(y), 0);
	if (next(b) % 16 == 15 && a->x)
		a->y = (char *)a->x - next(b) / 4 * 4;
}

static void odd_sequences(Bytes *b, moert_args *a)
{
	unsigned how = next(b);
	int64_t n = how % (MOST_SEQUENCES + 1);

	int64_t *seq = array(A_SEQ, (n + 1) * 8, 0);
	for (int64_t i = 0; i <= n; i++)
		seq[i] = how >= 208 ? odd(b) : i == n ? a->tokens : MIN(i, a->tokens);
	a->nseq = how % 64 == 63 ? (next(b) % 2 ? -1 : 1ll << 31) : n;
	a->seq = a->nseq == n && how % 32 != 31 ? seq : NULL;
	if (next(b) % 4)
		return;
	int64_t *seen = array(A_SEEN, MAX(n, 1) * 8, 0);
	for (int64_t i = 0; i < MAX(n, 1); i++)
		seen[i] = how % 8 == 7 ? odd(b) : next(b);
	a->seen = seen;
}

/* As layer.h numbers them: entries a token, or 0. */
static int64_t given_width(const moert_layer *l, int64_t given)
{
	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].given == given)
			return l->bufs[i].elems;
	return 0;
}

/* The routing of the layer, slot 0, or of call slot - 1: what there is, and sometimes
 * what there is not, or half of it, or experts that there are not. */
static moert_routing odd_slot(Bytes *b, const moert_layer *l, int64_t slot, int64_t tokens)
{
	unsigned which = next(b), wrong = which / 16;
	int64_t experts = slot ? l->calls[slot - 1].layer->experts : l->experts;
	int64_t n = tokens * given_width(l, 2 * slot + 1);
	int64_t gates = tokens * given_width(l, 2 * slot + 2);
	bool picked = given_width(l, 2 * slot + 1) || wrong == 15;
	bool gated = given_width(l, 2 * slot + 2) || wrong == 14;
	int at = A_ROUTING + 4 * (int)slot;
	moert_routing r = {0};

	if (which & 1 && picked) {
		int32_t *picks = array(at, n * 4, 0);
		for (int64_t i = 0; i < n; i++)
			picks[i] = (int32_t)(next(b) % (experts + (wrong == 13 ? 4 : 1))) - 1;
		r.picks_in = picks;
	}
	if ((which & 1) != (wrong == 12) && gated)
		r.gates_in = array(at + 1, gates * 4, 1);
	if (which & 2 && picked)
		r.picks_out = array(at + 2, n * 4, 0);
	if (which & 4 && gated)
		r.gates_out = array(at + 3, gates * 4, 0);
	return r;
}

/* Routing of each layer given and read, losses, rows of experts. */
static void odd_results(Bytes *b, const moert_layer *l, Call *c)
{
	moert_args *a = &c->a;
	moert_routing own = odd_slot(b, l, 0, a->tokens);
	unsigned which = next(b);
	int64_t losses = 0;

	HOLDS(l->ncalls <= MORE, "more calls than arrays\n");
	for (int64_t i = 0; i < l->ncalls; i++)
		c->routing[i] = odd_slot(b, l, i + 1, a->tokens);
	a->picks_in = own.picks_in;
	a->gates_in = own.gates_in;
	a->picks_out = own.picks_out;
	a->gates_out = own.gates_out;
	a->routing = which & 1 ? c->routing : NULL;
	while (buffer(l, MOERT_LOSS, losses))
		losses++;
	a->losses = which & 2 ? array(A_LOSSES, losses * 4, 0) : NULL;
	int64_t rows = moert_rows_before(l, l->nsteps);
	a->expert_rows = which & 4 ? array(A_ROWS, rows * 8, 0) : NULL;
}

/* A structure that says it is so long is that long: behind what is known there are zeros,
 * or something that this runtime cannot know. */
static const void *lengthened(Bytes *b, const void *from, size_t known, size_t said)
{
	size_t size = said > known && said <= 4096 ? said : known;
	char *at = array(A_STRUCT, (int64_t)size, 0);

	memset(at, 0, size);
	memcpy(at, from, known);
	if (size > known && next(b) % 2)
		at[known + next(b) % (size - known)] = 1;
	return at;
}

/* The arguments, as the runtime is handed them; now and then none. */
static const void *odd_args(Bytes *b, const moert_layer *l, Call *c)
{
	int64_t tokens = next(b) % (MOST_TOKENS + 1);
	unsigned how = next(b);

	*c = (Call){.a = {.size = sizeof c->a, .tokens = tokens, .seed = next(b)}};
	odd_sequences(b, &c->a);
	odd_tensors(b, l, c);
	odd_rows(b, l, &c->a);
	odd_results(b, l, c);
	c->step = (double)odd(b);
	c->a.step = how & 64 ? &c->step : NULL;
	if (how % 16 == 1)
		c->a.tokens = next(b) % 2 ? -1 - (int64_t)next(b) : INT32_MAX + 1ll + odd(b) % 2;
	if (how % 16 == 2)
		c->a.size = how % 32 == 2 ? next(b) % sizeof c->a : (size_t)odd(b);
	return how == 255 ? NULL : lengthened(b, &c->a, sizeof c->a, c->a.size);
}

#endif
