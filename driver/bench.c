/* SPDX-License-Identifier: Apache-2.0
 * bench: times calls of a layer beside the limits of the machine. */
#include "bench.h"

#include <stdlib.h>

enum { LEAST_RUNS = 7, MOST_RUNS = 2000, TRIES = 4, MACHINE_WINDOWS = 4 };
#define ENOUGH_MS 800.0
#define BETWEEN_MS 60.0
#define BAD_FRACTION 1.03

/* One more window of each probe that the layer's roofline is made of. */
static void probe_once(Runner *r, BenchRow *row)
{
	row->read = MAX(row->read, probe_read(&r->probe));
	row->peak = MAX(row->peak, probe_dot(&r->probe, r->dot));
	r->b.read = MAX(r->b.read, row->read);
}

static void probe_machine(Runner *r)
{
	for (int k = 0; k < DOT_KINDS; k++)
		for (int i = 0; i < MACHINE_WINDOWS; i++) {
			probe_loop *loop = probe_find((DotKind)k, 512);
			r->b.dot[k] = MAX(r->b.dot[k], probe_dot(&r->probe, loop));
		}
}

/* Probes stand between the calls, so that both see the same machine. */
static bool time_calls(Runner *r, Calls *c, BenchRow *row)
{
	double ms[MOST_RUNS], sum = 0, probed = 0, bytes, flops;
	int n = 0;

	row->bytes = row->flops = 0;
	for (int i = 0; i < 2; i++)     /* the workspace grows, threads wake */
		if (call_once(r, c) < 0)
			return false;
	probe_once(r, row);
	while (n < MOST_RUNS && (n < LEAST_RUNS || sum < ENOUGH_MS)) {
		if ((ms[n] = call_once(r, c)) < 0)
			return false;
		sum += ms[n++];
		call_cost(r->layer.layer, c->tokens, c->expert_rows, c->picks, &bytes, &flops);
		row->bytes += bytes;
		row->flops += flops;
		if (sum - probed > BETWEEN_MS) {
			probed = sum;
			probe_once(r, row);
		}
	}
	probe_once(r, row);
	row->repetitions = n;
	row->ms_median = median_of(ms, n);
	row->ms_min = ms[0];
	row->bytes /= n;
	row->flops /= n;
	return true;
}

static void finish_row(BenchRow *row)
{
	double memory = row->read > 0 ? row->bytes / row->read * 1e-6 : 0;
	double work = row->peak > 0 ? row->flops / row->peak * 1e-6 : 0;

	row->roofline = MAX(memory, work) / row->ms_median;
}

static bool measure(Runner *r, int64_t tokens, BenchRow *row)
{
	Arena *a = arena_new();
	Calls c = {.tokens = tokens};
	bool ok = runner_calls(r, a, &c);

	*row = (BenchRow){.tokens = tokens};
	probe_machine(r);
	for (int i = 0; ok && i < TRIES; i++) {
		ok = time_calls(r, &c, row);
		if (ok)
			finish_row(row);
		if (row->roofline <= BAD_FRACTION)
			break;
	}
	arena_free(a);
	return ok;
}

static bool run_all(Runner *r)
{
	static int64_t usual[] = {1, 64, 2048};
	const Options *o = r->job->opt;
	int n = o->token_list.n ? o->token_list.n : (int)COUNT(usual);

	r->b.rows = NEWN(r->job->arena, BenchRow, (size_t)n);
	bench_head(&r->b);
	for (int i = 0; i < n; i++) {
		BenchRow *row = &r->b.rows[r->b.nrows];
		if (!measure(r, o->token_list.n ? o->token_list.at[i] : usual[i], row))
			return false;
		bench_row(row);
		r->b.nrows++;
	}
	return !o->json || bench_json(r->job, &r->b);
}

static bool open_probe(Runner *r)
{
	if (probe_open(&r->probe, (int)r->b.threads, cache_bytes()))
		return true;
	diag_error(r->job->diag, E_no_memory, (Loc){0}, "no memory for the probes");
	return false;
}

int command_bench(const Job *job)
{
	Runner r;
	bool ok = runner_open(&r, job) && open_probe(&r) && run_all(&r);

	probe_close(&r.probe);
	runner_close(&r);
	return ok ? EXIT_OK : EXIT_INPUT;
}
