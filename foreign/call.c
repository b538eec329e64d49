/* SPDX-License-Identifier: Apache-2.0
 * call: weights and calls for a layer over there, as wire.h says. */
#include "end.h"

static void tell_why(const moert_options *o, const char *why)
{
	if (o && o->why && o->why_size)
		snprintf(o->why, o->why_size, "%s", why);
}

/* Hands out weights until the result comes. */
static int await(Foreign *f, moert_weight_fn *give, void *ctx, const moert_options *o)
{
	Reader r = {f, true};
	const char *why = "";

	for (;;) {
		int64_t what = reader_word(&r);
		if (r.ok && what == WIRE_WEIGHT) {
			moert_layer asks = f->layer;
			asks.target = reader_text(&r);
			const char *name = reader_text(&r);
			int64_t range = reader_word(&r), expert = reader_word(&r);
			int64_t bytes = reader_word(&r);
			const void *data = r.ok ? give(ctx, &asks, name, range, expert) : NULL;
			r.ok = r.ok && wire_put_array(f->fd, data, bytes);
			continue;
		}
		int error = (int)reader_word(&r);
		why = reader_text(&r);
		if (!r.ok)
			error = foreign_lost(f, &why);
		tell_why(o, why);
		return error;
	}
}

/* Handle 0 would be NULL. */
static moert_model *handle(int64_t number)
{
	return (moert_model *)(uintptr_t)(number + 1);
}

static int64_t number_of(const moert_model *m)
{
	return (int64_t)(uintptr_t)m - 1;
}

static int opened(Foreign *f, int error, moert_model **model)
{
	Reader r = {f, error == MOERT_OK};
	int64_t number = reader_word(&r);

	f->target = reader_text(&r);
	*model = r.ok ? handle(number) : NULL;
	return error || r.ok ? error : MOERT_INTERNAL;
}

void foreign_close(Foreign *f, moert_model *m)
{
	if (m)
		(void)(wire_put(f->fd, WIRE_CLOSE) && wire_put(f->fd, number_of(m)));
}

const char *foreign_target(const Foreign *f)
{
	return f->target;
}

int foreign_open(Foreign *f, const char *path, const moert_options *o, moert_model **m)
{
	(void)(wire_put(f->fd, WIRE_OPEN) && wire_put(f->fd, o ? (int64_t)o->flags : 0) &&
	       wire_put_text(f->fd, path));
	return opened(f, await(f, NULL, NULL, o), m);
}

int foreign_open_memory(Foreign *f, moert_weight_fn *give, void *ctx,
			const moert_options *o, moert_model **m)
{
	(void)wire_put(f->fd, WIRE_OPEN_MEMORY);
	return opened(f, await(f, give, ctx, o), m);
}

typedef struct { const void *at; int64_t bytes; } Array;

/* `stride` 0: dense */
static Array array_of(const moert_buf *b, const moert_args *a, const void *at, int64_t stride)
{
	int64_t row = b->elems * entry_bytes((Dtype)b->dtype);
	int64_t rows = b->level == MOERT_TOKEN ? a->tokens
		       : b->level == MOERT_SEQ ? MAX(a->nseq, 1) : 1;

	return (Array){at, rows ? (rows - 1) * (stride ? stride : row) + row : 0};
}

/* The arrays of a call in the wire's order.  False below: more than fit. */
typedef struct {
	Array in[WIRE_MOST_ARRAYS], out[WIRE_MOST_ARRAYS];
	int   nin, nout;
} Arrays;

/* x and y, further inputs and outputs */
static bool tensors_of(const moert_layer *l, const moert_args *a, Arrays *s)
{
	int inputs = 0, outputs = 0;

	s->nin = WIRE_ARRAYS_READ;
	s->nout = WIRE_ARRAYS_WRITTEN;
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		if (MAX(s->nin, s->nout) == WIRE_MOST_ARRAYS)
			return false;
		if (b->role == MOERT_INPUT && inputs++ == 0)
			s->in[0] = array_of(b, a, a->x, a->x_stride);
		else if (b->role == MOERT_INPUT)
			s->in[s->nin++] = array_of(b, a, a->inputs[inputs - 2], 0);
		else if (b->role == MOERT_OUTPUT && outputs++ == 0)
			s->out[0] = array_of(b, a, a->y, a->y_stride);
		else if (b->role == MOERT_OUTPUT)
			s->out[s->nout++] =
			    array_of(b, a, a->outputs ? a->outputs[outputs - 2] : NULL, 0);
	}
	return true;
}

/* The width of slot `given`'s routing, as layer.h numbers them. */
static int64_t picks_of(const moert_layer *l, int64_t given)
{
	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].given == given)
			return l->bufs[i].elems;
	return 0;
}

/* The routing of slot 0, the layer's own, or of call `slot` - 1. */
static void routing_of(const moert_layer *l, const moert_args *a, int64_t slot, Array *in,
		       Array *out)
{
	moert_routing r = {a->picks_in, a->gates_in, a->picks_out, a->gates_out};
	int64_t bytes = a->tokens * 4;

	if (slot)
		r = a->routing ? a->routing[slot - 1] : (moert_routing){0};
	in[0] = (Array){r.picks_in, bytes * picks_of(l, 2 * slot + 1)};
	in[1] = (Array){r.gates_in, bytes * picks_of(l, 2 * slot + 2)};
	out[0] = (Array){r.picks_out, bytes * picks_of(l, 2 * slot + 1)};
	out[1] = (Array){r.gates_out, bytes * picks_of(l, 2 * slot + 2)};
}

static bool arrays_of(const moert_layer *l, const moert_args *a, Arrays *s)
{
	int64_t losses = 0;

	if (!tensors_of(l, a, s) ||
	    MAX(s->nin, s->nout) + 2 * l->ncalls > WIRE_MOST_ARRAYS)
		return false;
	for (int64_t i = 0; i < l->nbufs; i++)
		losses += l->bufs[i].role == MOERT_LOSS;
	s->in[1] = (Array){a->nseq ? a->seq : NULL, (a->nseq + 1) * 8};
	s->in[2] = (Array){a->seen, MAX(a->nseq, 1) * 8};
	s->in[3] = (Array){a->step, 8};
	s->out[3] = (Array){a->losses, losses * 4};
	routing_of(l, a, 0, s->in + 4, s->out + 1);
	for (int64_t i = 0; i < l->ncalls; i++)
		routing_of(l, a, i + 1, s->in + s->nin + 2 * i, s->out + s->nout + 2 * i);
	return true;
}

static bool put_arrays(Foreign *f, const Array *a, int64_t n)
{
	bool ok = true;

	for (int64_t i = 0; i < n && ok; i++)
		ok = wire_put_array(f->fd, a[i].at, a[i].bytes);
	return ok;
}

int foreign_run(Foreign *f, moert_model *m, const moert_session_options *o,
		const moert_args *a, double *ms)
{
	Arrays s = {0};
	int64_t ns = 0, more = 2 * f->layer.ncalls;

	/* rows of experts are counted by steps, which are over there */
	if (a->expert_rows || !arrays_of(&f->layer, a, &s))
		return MOERT_ARGS;
	const int64_t words[] = {
		WIRE_RUN, number_of(m), o ? o->threads : 0, o && o->parallel_for, a->tokens,
		a->x_stride, a->y_stride, a->nseq, (int64_t)a->seed,
		s.nin - WIRE_ARRAYS_READ, s.nout - WIRE_ARRAYS_WRITTEN,
	};
	(void)(wire_write(f->fd, words, sizeof words) && put_arrays(f, s.in, s.nin + more) &&
	       put_arrays(f, s.out, s.nout + more));
	int error = await(f, NULL, NULL, NULL);
	bool ok = error != MOERT_INTERNAL && wire_get(f->fd, &ns);
	for (int64_t i = 0; ok && i < s.nout + more; i++)
		ok = !s.out[i].at ||
		     wire_read(f->fd, (void *)s.out[i].at, (size_t)s.out[i].bytes);
	if (ms)
		*ms = (double)ns * 1e-6;
	return ok ? error : MOERT_INTERNAL;
}
