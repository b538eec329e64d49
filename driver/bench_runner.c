/* SPDX-License-Identifier: Apache-2.0
 * bench_runner: a layer, copies of its weights, and calls that differ, ready to be timed.
 *
 * Every call has tokens of its own, so that it routes anew, and takes the next copy of
 * the weights; the copies together are larger than four last-level caches. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MOST_COPIES = 2048, MOST_SETS = 512, POOL_BYTES = 64 << 20, DEFAULT_LLC = 32 << 20,
};

/* The C library may name the sum of several (those of all dies of a package), so the kernel
 * is asked first. */
size_t cache_bytes(void)
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
double call_once(Runner *r, Calls *c)
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

bool runner_calls(const Runner *r, Arena *a, Calls *c)
{
	if (!make_inputs(r, a, c))
		return false;
	make_outputs(r, a, c);
	if (r->job->opt->skew >= 0)
		draw_routing(a, r->layer.layer, r->job->opt->skew, c->sets * c->tokens,
			     &c->picks, &c->gates);
	return true;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median_of(double *x, int n)
{
	qsort(x, (size_t)n, sizeof *x, compare_doubles);
	return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
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
	return !error || layer_failed(job, "start", error, "");
}

/* The layer's table with steps of its own. */
static void own_steps(Runner *r)
{
	moert_layer *own = NEW(r->job->arena, moert_layer);
	size_t n = (size_t)r->layer.layer->nsteps;

	*own = *r->layer.layer;
	r->steps = NEWN(r->job->arena, moert_step, n + 1);
	memcpy(r->steps, own->steps, n * sizeof *r->steps);
	own->steps = r->steps;
	r->layer.layer = own;
}

bool runner_open(Runner *r, const Job *job)
{
	*r = (Runner){.job = job};
	if (!source_open(job, &r->source))
		return false;
	r->m = source_module(&r->source);
	if (!r->m || !layer_load(job, &r->source, &r->layer) ||
	    !layer_measurable(job, &r->layer))
		return false;
	own_steps(r);
	return prepare(r, &r->source);
}

void runner_close(Runner *r)
{
	moert_end(r->session);
	for (int64_t i = 0; r->models && i < r->b.copies; i++)
		moert_close(r->models[i]);
	if (r->server.natural)
		server_close(&r->server);
	layer_unload(&r->layer);
	source_close(&r->source);
}
