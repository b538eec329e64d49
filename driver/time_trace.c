/* SPDX-License-Identifier: Apache-2.0
 * time_trace: what each thread did in a call, as a file for chrome://tracing or Perfetto. */
#include "moec.h"

#include <stdlib.h>

enum { MOST_SPANS = 1 << 20 };          /* of a thread */

typedef struct { const char *step; int64_t begin, end; } Span;

/* Each thread writes to a list of its own. */
typedef struct { _Alignas(64) Span *at; int64_t n, room; } Lane;

struct TimeTrace { Lane *lanes; int n; bool on; };

TimeTrace *time_trace_new(int threads)
{
	TimeTrace *t = calloc(1, sizeof *t);

	if (t)
		t->lanes = aligned_alloc(64, (size_t)threads * sizeof *t->lanes);
	if (!t || !t->lanes)
		out_of_memory((size_t)threads * sizeof *t->lanes);
	t->n = threads;
	for (int i = 0; i < threads; i++)
		t->lanes[i] = (Lane){0};
	return t;
}

void time_trace_on(TimeTrace *t)
{
	t->on = true;
}

void time_trace_span(void *ctx, int worker, const char *step, int64_t begin, int64_t end)
{
	TimeTrace *t = ctx;
	Lane *lane = &t->lanes[worker];

	if (!t->on || lane->n == MOST_SPANS)
		return;
	if (lane->n == lane->room) {
		lane->room = MAX(64, 2 * lane->room);
		lane->at = realloc(lane->at, (size_t)lane->room * sizeof *lane->at);
		if (!lane->at)
			out_of_memory((size_t)lane->room * sizeof *lane->at);
	}
	lane->at[lane->n++] = (Span){step, begin, end};
}

static int64_t first_of(const TimeTrace *t)
{
	int64_t first = INT64_MAX;

	for (int i = 0; i < t->n; i++)
		if (t->lanes[i].n)
			first = MIN(first, t->lanes[i].at[0].begin);
	return first;
}

/* Complete events ("X") in microseconds since the first; their order within a thread. */
bool time_trace_write(const Job *job, const TimeTrace *t, const char *layer)
{
	int64_t first = first_of(t);
	Text text = text_new(job->arena);

	text_add(&text, "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n");
	text_printf(&text, "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, "
		    "\"args\": {\"name\": \"%s\"}}", layer);
	for (int i = 0; i < t->n; i++)
		for (int64_t j = 0; j < t->lanes[i].n; j++) {
			const Span *s = &t->lanes[i].at[j];
			text_printf(&text, ",\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, "
				    "\"tid\": %d, \"ts\": %.3f, \"dur\": %.3f}",
				    s->step ? s->step : "wait", i,
				    (double)(s->begin - first) * 1e-3,
				    (double)(s->end - s->begin) * 1e-3);
		}
	text_add(&text, "\n]}\n");
	return file_write(job->diag, job->opt->time_trace, text.s, text.n);
}

void time_trace_free(TimeTrace *t)
{
	for (int i = 0; t && i < t->n; i++)
		free(t->lanes[i].at);
	if (t)
		free(t->lanes);
	free(t);
}
