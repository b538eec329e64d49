/* SPDX-License-Identifier: Apache-2.0
 * bench: times calls of a layer beside the limits of the machine.
 *
 * Every call has tokens of its own, so that it routes anew, and takes the next copy of
 * the weights; the copies together are larger than four last-level caches. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LEAST_RUNS = 7, MOST_RUNS = 2000, MOST_COPIES = 2048, MOST_SETS = 512, TRIES = 4,
	MACHINE_WINDOWS = 4,
	POOL_BYTES = 64 << 20, DEFAULT_LLC = 32 << 20,
};
#define ENOUGH_MS 800.0
#define BETWEEN_MS 60.0
#define BAD_FRACTION 1.03

typedef struct {
	const Job         *job;
	const Module      *m;           /* tensor level: the inputs' types */
	Layer              layer;
	Server             server;
	moert_model      **models;
	moert_session     *session;
	Probe              probe;
	probe_loop        *dot;         /* the target's fastest for the layer's types */
	Bench              b;
	int64_t            calls;       /* so far: which copy is next */
} Runner;

/* The inputs of `sets` calls, and where one call writes. */
typedef struct {
	int64_t     tokens, sets;
	char      **raw;                /* [inputs] */
	size_t     *each;               /* [inputs] bytes of one call */
	int         n;
	const void **inputs;            /* of this call, from the second on */
	void      **outputs;
	int64_t    *expert_rows;
	int32_t    *picks;              /* [sets][tokens][K] given, or NULL */
	float      *gates;
	moert_args  args;
} Calls;

/* The last-level cache that a core can use.  The C library may name the sum of several
 * (those of all dies of a package), so the kernel is asked first. */
static size_t cache_bytes(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
	long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
	unsigned kib = 0;

	if (f && fscanf(f, "%uK", &kib) != 1)
		kib = 0;
	if (f)
		fclose(f);
	if (kib)
		return (size_t)kib << 10;
	return (size_t)(l3 > 0 ? l3 : l2 > 0 ? l2 : DEFAULT_LLC);
}

/* Random entries for all sets, block by block. */
static char *fill_pool(const Job *job, Arena *a, const Input *in, int64_t n)
{
	size_t size = entry_bytes(in->type.dtype);
	char *to = arena_array(a, (size_t)n, size);
	double block[4096];

	for (int64_t i = 0; i < n; i += (int64_t)COUNT(block)) {
		int64_t m = MIN((int64_t)COUNT(block), n - i);
		random_entries(&in->type, job->opt->seed, name_hash(in->name), i, m,
			       block);
		entries_store(in->type.dtype, block, m, to + (size_t)i * size);
	}
	return to;
}

static bool make_inputs(const Runner *r, Arena *a, Calls *c)
{
	const Region *body = r->m->fns->body;
	int64_t row = 0;

	for (int i = 0; i < body->nargs; i++)
		row += type_elems(&body->args[i]->type);
	c->sets = MIN(MAX(POOL_BYTES / (8 * MAX(row, 1) * c->tokens), 2), MOST_SETS);
	c->n = body->nargs;
	c->raw = NEWN(a, char *, (size_t)c->n + 1);
	c->each = NEWN(a, size_t, (size_t)c->n + 1);
	c->inputs = NEWN(a, const void *, (size_t)c->n + 1);
	for (int i = 0; i < c->n; i++) {
		Input in = input_of(r->m, i);
		const Type *t = &in.type;
		int64_t n = type_elems(t), all;
		if (__builtin_mul_overflow(n, t->level == LV_TOKEN ? c->tokens : 1, &n) ||
		    __builtin_mul_overflow(n, c->sets, &all) || all > INT64_MAX / 16) {
			diag_error(r->job->diag, E_token_count, (Loc){0},
				   "%jd tokens are too many", (intmax_t)c->tokens);
			return false;
		}
		c->each[i] = (size_t)n * entry_bytes(t->dtype);
		c->raw[i] = fill_pool(r->job, a, &in, all);
	}
	return true;
}

static void make_outputs(const Runner *r, Arena *a, Calls *c)
{
	const moert_layer *l = r->layer.layer;
	int n = 0;

	c->outputs = NEWN(a, void *, (size_t)l->nbufs + 1);
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		size_t rows = b->level == MOERT_TOKEN ? (size_t)c->tokens : 1;
		if (b->role == MOERT_OUTPUT)
			c->outputs[n++] = arena_array(a, rows * (size_t)b->elems,
						      entry_bytes((Dtype)b->dtype));
	}
	c->expert_rows = NEWN(a, int64_t, (size_t)moert_rows_before(l, l->nsteps) + 1);
	c->args = (moert_args){.size = sizeof c->args, .tokens = c->tokens,
			       .y = c->outputs[0], .outputs = c->outputs + 1,
			       .inputs = c->inputs, .expert_rows = c->expert_rows};
}

/* One call with the next tokens and the next weights; its time, or -1. */
static double call_once(Runner *r, Calls *c)
{
	int64_t set = r->calls % c->sets;
	int error = moert_use(r->session, r->models[r->calls++ % r->b.copies]);

	for (int i = 0; i < c->n; i++) {
		const void *at = c->raw[i] + (size_t)set * c->each[i];
		if (i)
			c->inputs[i - 1] = at;
		else
			c->args.x = at;
	}
	if (c->picks) {
		int64_t first = set * c->tokens * r->layer.layer->picks;
		c->args.picks_in = c->picks + first;
		c->args.gates_in = c->gates + first;
	}
	double begin = now_ms();
	if (!error)
		error = moert_run(r->session, &c->args);
	double ms = now_ms() - begin;
	if (!error)
		return ms;
	layer_failed(r->job, "run", error, "");
	return -1;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

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
		call_cost(r->layer.layer, c->tokens, c->expert_rows, &bytes, &flops);
		row->bytes += bytes;
		row->flops += flops;
		if (sum - probed > BETWEEN_MS) {
			probed = sum;
			probe_once(r, row);
		}
	}
	probe_once(r, row);
	qsort(ms, (size_t)n, sizeof *ms, compare_doubles);
	row->repetitions = n;
	row->ms_min = ms[0];
	row->ms_median = n % 2 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2;
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
	bool ok = make_inputs(r, a, &c);

	*row = (BenchRow){.tokens = tokens};
	if (ok)
		make_outputs(r, a, &c);
	if (ok && r->job->opt->skew >= 0)
		draw_routing(a, r->layer.layer, r->job->opt->skew, c.sets * tokens, &c.picks,
			     &c.gates);
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

/* The layer's fastest kind of dot, from the instructions that its kernels name. */
static DotKind dot_kind(const Module *m)
{
	DotKind kind = DOT_F32;

	for (const Op *op = m->fns->body->first; op; op = op->next) {
		const char *dot =
		    op->kind == OP_kernel ? attr_get_str(op, "dot", "") : "";
		if (strstr(dot, "bf16") || strstr(dot, "bfdot"))
			kind = MAX(kind, DOT_BF16);
		if (strstr(dot, "dpbusd"))
			kind = DOT_I8;
	}
	return kind;
}

static bool open_copies(Runner *r, Source *s)
{
	double four = 4.0 * (double)cache_bytes(), one = stored_bytes(r->layer.layer);

	r->b.bytes = (int64_t)one;
	r->b.copies = one < 1 ? 1 : (int64_t)MIN(four / one + 1, MOST_COPIES);
	if (one >= four)
		r->b.copies = 1;
	r->models = NEWN(r->job->arena, moert_model *, (size_t)r->b.copies);
	r->server.keep = r->b.copies > 1;
	for (int64_t i = 0; i < r->b.copies; i++)
		if (!layer_open(r->job, s, &r->layer, &r->server, &r->models[i]))
			return false;
	return true;
}

static bool can_be_skewed(const Runner *r)
{
	const moert_layer *l = r->layer.layer;

	if (r->job->opt->skew < 0 || (l->picks > 0 && l->ncalls == 0))
		return true;
	diag_error(r->job->diag, E_option_value, (Loc){0},
		   "%s has no routing of its own that --skew could give", l->name);
	return false;
}

static bool prepare(Runner *r, Source *s)
{
	const Job *job = r->job;
	const moert_layer *l = r->layer.layer;

	if (!can_be_skewed(r))
		return false;

	r->b.layer = r->layer.m->name;
	r->b.target = r->layer.m->target;
	r->b.weights = dtype_info[weights_dtype(l)].name;
	r->b.threads = thread_count(job);
	r->dot = probe_find(dot_kind(r->layer.m), target_find(r->b.target)->vector_bits);
	server_open(&r->server, job, r->layer.m, source_weights(s, r->m), false);
	r->server.variants = &r->layer.variants;
	if (!open_copies(r, s))
		return false;
	moert_session_options options = {.size = sizeof options, .threads = r->b.threads};
	int error = moert_start(r->models[0], &options, &r->session);
	if (error)
		return layer_failed(job, "start", error, "");
	if (probe_open(&r->probe, (int)r->b.threads, cache_bytes()))
		return true;
	diag_error(job->diag, E_no_memory, (Loc){0}, "no memory for the probes");
	return false;
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

int command_bench(const Job *job)
{
	Source s;
	Runner r = {.job = job};
	bool ok = false;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	r.m = source_module(&s);
	if (r.m && layer_load(job, &s, &r.layer))
		ok = layer_measurable(job, &r.layer) && prepare(&r, &s) && run_all(&r);
	moert_end(r.session);
	for (int64_t i = 0; r.models && i < r.b.copies; i++)
		moert_close(r.models[i]);
	probe_close(&r.probe);
	if (r.server.natural)
		server_close(&r.server);
	layer_unload(&r.layer);
	source_close(&s);
	return ok ? EXIT_OK : EXIT_INPUT;
}
