/* SPDX-License-Identifier: Apache-2.0
 * microkernel: each contraction of a compiled layer alone, one panel that stays in L2
 * against a few rows, beside the rate of its dot instruction from registers.
 *
 *     build/bench/microkernel LIBRARY.so LAYER
 *
 * One line a step and number of rows: tiles of each height, then many tiles that fetch the
 * next panel meanwhile, as calls with many tokens have them.  Last, a call of one token beside
 * the sum of its panels, each alone: what is left is the call's own.  It calls kernels as
 * runtime/steps.c does, so it looks into a session. */
#include "../driver/moec.h"
#include "../driver/probe.h"
#include "../runtime/internal.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 256, SAMPLES = 25, MANY_TILES = 12, PEAK_ROUNDS = 1000, CALLS = 500 };
#define SAMPLE_MS 0.5

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Any weight is the start of the same random numbers. */
typedef struct { Arena *arena; void *of[DT_COUNT]; int64_t most; } Random;

static void *some_numbers(Random *w, Dtype t)
{
	enum { BLOCK = 4096 };
	size_t bytes = (size_t)entry_bytes(t);
	double block[BLOCK];
	char *to = arena_alloc(w->arena, (size_t)w->most * bytes);

	for (int64_t i = 0; i < BLOCK; i++)
		block[i] = t == DT_i32 ? 0 : (double)(i * 2654435761u % 1000) * 1e-4 - 0.05;
	for (int64_t i = 0; i < w->most; i += BLOCK)
		entries_store(t, block, MIN(BLOCK, w->most - i), to + (size_t)i * bytes);
	return to;
}

static const void *any_weight(void *ctx, const moert_layer *l, const char *name,
			      int64_t range, int64_t expert)
{
	Random *w = ctx;

	for (int64_t i = 0; i < l->nweights; i++)
		for (int64_t s = 0; s < l->weights[i].nstreams; s++) {
			if (strcmp(l->weights[i].streams[s], name) != 0)
				continue;
			Dtype t = (Dtype)l->weights[i].dtype;
			if (!w->of[t])
				w->of[t] = some_numbers(w, t);
			return w->of[t];
		}
	return NULL;
}

/* Arguments of a call with the most tokens. */
static moert_args make_args(Arena *a, const moert_layer *l)
{
	moert_args args = {.size = sizeof args, .tokens = TOKENS};
	const void **inputs = NEWN(a, const void *, (size_t)l->nbufs + 1);
	void **outputs = NEWN(a, void *, (size_t)l->nbufs + 1);
	int nin = 0, nout = 0;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		Random row = {.arena = a, .most = b->elems * TOKENS};
		if (b->role == MOERT_INPUT)
			inputs[nin++] = some_numbers(&row, (Dtype)b->dtype);
		if (b->role == MOERT_OUTPUT)
			outputs[nout++] = some_numbers(&row, (Dtype)b->dtype);
	}
	args.x = inputs[0];
	args.y = outputs[0];
	args.inputs = inputs + 1;
	args.outputs = outputs + 1;
	return args;
}

static void run_layer(moert_session *s, const moert_args *args)
{
	int error = moert_run(s, args);

	if (error) {
		fprintf(stderr, "microkernel: run: %s\n", moert_error(error));
		exit(1);
	}
}

/* One panel: what one item of runtime/steps.c does.  task.next: the panel behind it, whose
 * first block is fetched while this one's last passes. */
static void run_panel(const moert_session *s, const moert_step *st, moert_task task)
{
	const moert_call *call = &s->calls[st - s->model->layer->steps];
	bool once = task.row1 - task.row0 <= st->tile_rows;
	int64_t block = st->kblock && !once ? st->kblock : st->k;
	int64_t entry = st->width * moert_stored_bytes(s->model->layer->weights[st->weight].dtype);
	const char *next = task.next;

	for (int64_t k = 0; k < st->k; k += block) {
		bool last = k + block >= st->k;
		task.k0 = k;
		task.k1 = MIN(k + block, st->k);
		if (next) {
			task.next = last ? next : (const char *)task.panel + task.k1 * entry;
			task.next_bytes = MIN(block, last ? st->k : st->k - task.k1) * entry;
		}
		st->contract(call, &task, 1);
	}
}

static double best_ms(const moert_session *s, const moert_step *st, const moert_task *task)
{
	double best = 1e9;

	for (int i = 0; i < SAMPLES; i++) {
		double begin = now_ms(), end;
		int n = 0;
		do {
			run_panel(s, st, *task);
			n++;
			end = now_ms();
		} while (end - begin < SAMPLE_MS);
		best = MIN(best, (end - begin) / n);
	}
	return best;
}

/* In short samples as well: the longer one is, the likelier something else runs in it. */
static double peak_of(probe_loop *loop)
{
	double best = 0;

	for (int i = 0; loop && i < SAMPLES; i++) {
		double begin = now_ms(), done = 0, end;
		do {
			done += loop(PEAK_ROUNDS);
			end = now_ms();
		} while (end - begin < SAMPLE_MS);
		best = MAX(best, done / (end - begin) * 1e-6);
	}
	return best;
}

static DotKind kind_of(const moert_session *s, const moert_step *st)
{
	const moert_weight *w = &s->model->layer->weights[st->weight];

	return w->dtype == DT_bf16 && w->kpack == 2 &&
	       strstr(s->model->layer->needs, "bf16") ? DOT_BF16 : DOT_F32;
}

static void measure_rows(const moert_session *s, const moert_step *st, moert_task task,
			 int bits)
{
	const moert_weight *w = &s->model->layer->weights[st->weight];
	double peak = peak_of(probe_find(kind_of(s, st), bits)), ms = best_ms(s, st, &task);

	double flops = 2.0 * (double)(task.row1 - task.row0) * (double)(st->width * w->k);
	printf("%-28s %5jd %6jd %9.1f us %8.0f GFLOP/s  %5.2f of %.0f\n", st->name,
	       (intmax_t)st->k, (intmax_t)(task.row1 - task.row0), ms * 1e3,
	       flops / ms * 1e-6, flops / ms * 1e-6 / peak, peak);
}

/* Where a line of cache begins, as the runtime has them. */
static float *floats(Arena *a, int64_t n)
{
	enum { LINE = 64 };
	char *p = arena_alloc(a, (size_t)n * sizeof(float) + LINE);

	return (float *)(p + LINE - (uintptr_t)p % LINE);
}

static moert_task panel_task(Arena *a, const moert_session *s, const moert_step *st)
{
	int64_t range = s->model->layer->weights[st->weight].range;
	int64_t many = MANY_TILES * st->tile_rows;
	const void *const *weight = range < 0 ? s->call.weight
					      : s->call.expert[range][0].weight;

	return (moert_task){
		.panel = weight[st->weight], .weight = weight + st->weight_base,
		.sink = floats(a, TOKENS * st->width),
		.acc = floats(a, many * st->width),
	};
}

static void measure_step(Arena *a, const moert_session *s, const moert_step *st,
			 int bits)
{
	int64_t many = MANY_TILES * st->tile_rows;
	int64_t rows = st->over == MOERT_ROW ? s->rows[st->range].n
		       : st->over == MOERT_TOKEN ? s->call.tokens : 1;
	moert_task task = panel_task(a, s, st);

	for (int64_t n = 1; n <= MIN(rows, st->tile_rows); n++) {
		task.row1 = n;
		measure_rows(s, st, task, bits);
	}
	task.row1 = MIN(rows, many);
	task.next = (const char *)task.panel + (st->panels > 1) * st->panel_bytes;
	if (task.row1 > st->tile_rows)
		measure_rows(s, st, task, bits);
}

/* A call of one token again and again, and its panels. */
static void measure_call(Arena *a, moert_session *s, moert_args args)
{
	const moert_layer *l = s->model->layer;
	double call = 1e9, panels = 0;

	args.tokens = 1;
	for (int i = 0; i < CALLS; i++) {
		double begin = now_ms();
		run_layer(s, &args);
		call = MIN(call, now_ms() - begin);
	}
	for (int64_t i = 0; i < l->nsteps; i++) {
		const moert_step *st = &l->steps[i];
		if (st->kind != MOERT_CONTRACT)
			continue;
		int64_t range = l->weights[st->weight].range;
		moert_task task = panel_task(a, s, st);
		task.row1 = 1;
		panels += (double)(range < 0 ? 1 : s->rows[range].nactive) *
			  (double)st->panels * best_ms(s, st, &task);
	}
	printf("a call of 1 token: %.1f us, its panels %.1f us, beyond them %.1f us\n",
	       call * 1e3, panels * 1e3, (call - panels) * 1e3);
}

static const moert_layer *load(const char *path, const char *name)
{
	char symbol[512];
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	snprintf(symbol, sizeof symbol, "%s_layer", name);
	const moert_layer *(*layer)(void) =
		library ? (const moert_layer *(*)(void))dlsym(library, symbol) : NULL;
	if (!layer) {
		fprintf(stderr, "microkernel: %s\n", dlerror());
		exit(1);
	}
	return layer();
}

static int vector_bits(const moert_layer *l)
{
	const Target *t = target_find(l->target);

	return t ? t->vector_bits : 512;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: microkernel LIBRARY.so LAYER\n");
		return 2;
	}
	Arena *a = arena_new();
	const moert_layer *l = load(argv[1], argv[2]);
	Random w = {.arena = a};
	moert_session_options options = {.size = sizeof options, .threads = 1};
	moert_session *s = NULL;
	moert_model *model;

	for (int64_t i = 0; i < l->nweights; i++)
		w.most = MAX(w.most, l->weights[i].n * l->weights[i].k);
	int error = moert_open_memory(l, any_weight, &w, NULL, &model);
	if (!error)
		error = moert_start(model, &options, &s);
	if (error) {
		fprintf(stderr, "microkernel: %s\n", moert_error(error));
		return 1;
	}
	moert_args args = make_args(a, l);
	run_layer(s, &args);
	printf("%-28s %5s %6s\n", l->target, "k", "rows");
	for (int64_t i = 0; i < l->nsteps; i++)
		if (l->steps[i].kind == MOERT_CONTRACT)
			measure_step(a, s, &l->steps[i], vector_bits(l));
	measure_call(a, s, args);
	moert_end(s);
	moert_close(model);
	arena_free(a);
	return 0;
}
