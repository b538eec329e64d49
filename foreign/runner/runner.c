/* SPDX-License-Identifier: Apache-2.0
 * runner: loads a compiled layer where it can run (a machine that qemu plays, say) and does
 * what moec says over the socket that is its standard input.
 *
 * Arrays of a call end where a page ends that must not be touched: kernels that read or
 * write behind a row's end do not get away with it. */
#include "../wire.h"
#include "../../runtime/moert.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { FD = 0, MOST_ARRAYS = WIRE_MOST_ARRAYS, LINE = 4096 };

typedef struct {
	int (*open)(const char *, const moert_options *, moert_model **);
	int (*open_memory)(moert_weight_fn *, void *, const moert_options *, moert_model **);
	int (*start)(moert_model *, const moert_session_options *, moert_session **);
	int (*run)(moert_session *, const moert_args *);
	void (*end)(moert_session *);
	void (*close)(moert_model *);
	const char *(*target)(const moert_model *);
	const moert_layer *(*layer)(void);
} library;

/* Whoever has no more to say to us is gone. */
static void must(bool ok)
{
	if (!ok)
		exit(0);
}

static int64_t word(void)
{
	int64_t w = 0;
	must(wire_get(FD, &w));
	return w;
}

static void put(int64_t w)
{
	must(wire_put(FD, w));
}

static void put_text(const char *text)
{
	must(wire_put_text(FD, text));
}

/* ---- the layer ------------------------------------------------------------------------ */

static void *symbol(void *handle, const char *layer, const char *what)
{
	char name[LINE];

	snprintf(name, sizeof name, "%s_%s", layer, what);
	return dlsym(handle, name);
}

static bool load(library *l, const char *path, const char *layer)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		put_text(dlerror());
		return false;
	}
	*(void **)&l->open = symbol(handle, layer, "open");
	*(void **)&l->open_memory = symbol(handle, layer, "open_memory");
	*(void **)&l->start = symbol(handle, layer, "start");
	*(void **)&l->run = symbol(handle, layer, "run");
	*(void **)&l->end = symbol(handle, layer, "end");
	*(void **)&l->close = symbol(handle, layer, "close");
	*(void **)&l->target = symbol(handle, layer, "target");
	*(void **)&l->layer = symbol(handle, layer, "layer");
	bool whole = l->open && l->open_memory && l->start && l->run && l->end && l->close &&
		     l->target && l->layer;
	put_text(whole ? "" : "it lacks a function");
	return whole;
}

#define TEXT(field) put_text(of->field);
#define WORD(field) put((int64_t)of->field);

static void tell_buf(const moert_buf *of)
{
	WIRE_BUF(TEXT, WORD)
}

static void tell_weight(const moert_weight *of)
{
	WIRE_STORED(TEXT, WORD, WORD)
	for (int64_t s = 0; s < of->nstreams; s++)
		put_text(of->streams[s]);
}

static void tell_range(const moert_range *of)
{
	WIRE_RANGE(WORD)
}

static void tell_layer(const moert_layer *of)
{
	WIRE_LAYER(TEXT, WORD, WORD)
	for (int64_t i = 0; i < of->nbufs; i++)
		tell_buf(&of->bufs[i]);
	for (int64_t i = 0; i < of->nweights; i++)
		tell_weight(&of->weights[i]);
	for (int64_t i = 0; i < of->nranges; i++)
		tell_range(&of->ranges[i]);
}

#undef TEXT
#undef WORD

/* ---- weights -------------------------------------------------------------------------- */

static int64_t stream_bytes(const moert_layer *l, const char *name, int64_t range)
{
	static const int bits[] = {
#define DTYPE(name, bits, computed, st, meaning) bits,
#include "../../ir/dtypes.def"
#undef DTYPE
	};

	for (int64_t i = 0; i < l->nweights; i++)
		for (int64_t s = 0; s < l->weights[i].nstreams; s++)
			if (l->weights[i].range == range &&
			    strcmp(l->weights[i].streams[s], name) == 0)
				return l->weights[i].n * l->weights[i].k *
				       bits[l->weights[i].dtype] / 8;
	return 0;
}

/* One matrix at a time, in memory that grows. */
static const void *ask_weight(void *ctx, const moert_layer *l, const char *name,
			      int64_t range, int64_t expert)
{
	static struct { char *at; int64_t size; } memory;
	(void)ctx;

	put(WIRE_WEIGHT);
	put_text(l->target);
	put_text(name);
	put(range);
	put(expert);
	put(stream_bytes(l, name, range));
	int64_t bytes = word();
	if (bytes < 0)
		return NULL;
	if (bytes >= memory.size) {
		free(memory.at);
		memory.size = bytes + 1;
		memory.at = malloc((size_t)memory.size);
	}
	must(memory.at && wire_read(FD, memory.at, (size_t)bytes));
	return memory.at;
}

static void result(int error, const char *why)
{
	put(WIRE_RESULT);
	put(error);
	put_text(why);
}

static moert_model **free_model(moert_model **models)
{
	for (int i = 0; i < WIRE_MOST_MODELS; i++)
		if (!models[i])
			return &models[i];
	exit(1);
}

static moert_model **model_of(moert_model **models)
{
	int64_t number = word();

	must(number >= 0 && number < WIRE_MOST_MODELS && models[number]);
	return &models[number];
}

static void open_layer(const library *l, bool from_file, moert_model **models)
{
	moert_model **model = free_model(models);
	char why[LINE] = "", path[LINE];
	moert_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
	int error;

	if (from_file) {
		o.flags = (uint64_t)word();
		int64_t n = word();
		must(n >= 0 && n < LINE && wire_read(FD, path, (size_t)n));
		path[n] = '\0';
		error = l->open(path, &o, model);
	} else {
		error = l->open_memory(ask_weight, NULL, &o, model);
	}
	result(error, why);
	if (error)
		return;
	put(model - models);
	put_text(l->target(*model));
}

/* ---- calls ---------------------------------------------------------------------------- */

typedef struct { char *pages, *at; int64_t bytes, mapped; } array;      /* at NULL: none */

static array get_array(void)
{
	int64_t page = sysconf(_SC_PAGESIZE);
	array a = {.bytes = word()};

	if (a.bytes < 0)
		return a;
	a.mapped = (a.bytes + page - 1) / page * page + page;
	a.pages = mmap(NULL, (size_t)a.mapped, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(a.pages != MAP_FAILED);
	must(mprotect(a.pages + a.mapped - page, (size_t)page, PROT_NONE) == 0);
	a.at = a.pages + a.mapped - page - a.bytes;
	must(wire_read(FD, a.at, (size_t)a.bytes));
	return a;
}

static void free_arrays(array *a, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		if (a[i].at)
			munmap(a[i].pages, (size_t)a[i].mapped);
}

/* The worst pool there is: one piece after the other, the last one first. */
static void serial_pool(void *ctx, int n, void (*fn)(void *arg, int i), void *arg)
{
	(void)ctx;
	while (n > 0)
		fn(arg, --n);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

typedef struct {
	moert_session_options options;
	moert_args  args;
	array       in[MOST_ARRAYS], out[MOST_ARRAYS];
	int64_t     nin, nout;
	const void *inputs[MOST_ARRAYS];
	void       *outputs[MOST_ARRAYS];
	moert_routing routing[MOST_ARRAYS];
} call;

static void get_arrays(call *c, int64_t ncalls)
{
	int64_t inputs = WIRE_ARRAYS_READ + word(), outputs = WIRE_ARRAYS_WRITTEN + word();

	c->nin = inputs + 2 * ncalls;
	c->nout = outputs + 2 * ncalls;
	must(c->nin <= MOST_ARRAYS && c->nout <= MOST_ARRAYS);
	for (int64_t i = 0; i < c->nin; i++)
		c->in[i] = get_array();
	for (int64_t i = 0; i < c->nout; i++)
		c->out[i] = get_array();
	for (int64_t i = WIRE_ARRAYS_READ; i < inputs; i++)
		c->inputs[i - WIRE_ARRAYS_READ] = c->in[i].at;
	for (int64_t i = WIRE_ARRAYS_WRITTEN; i < outputs; i++)
		c->outputs[i - WIRE_ARRAYS_WRITTEN] = c->out[i].at;
	for (int64_t i = 0; i < ncalls; i++)
		c->routing[i] = (moert_routing){
			(const int32_t *)c->in[inputs + 2 * i].at,
			(const float *)c->in[inputs + 2 * i + 1].at,
			(int32_t *)c->out[outputs + 2 * i].at,
			(float *)c->out[outputs + 2 * i + 1].at,
		};
}

static void get_call(call *c, int64_t ncalls)
{
	moert_args *a = &c->args;

	c->options = (moert_session_options){.size = sizeof c->options, .threads = word()};
	c->options.parallel_for = word() ? serial_pool : NULL;
	*a = (moert_args){.size = sizeof *a, .tokens = word()};
	a->x_stride = word();
	a->y_stride = word();
	a->nseq = word();
	a->seed = (uint64_t)word();
	get_arrays(c, ncalls);
	a->x = c->in[0].at;
	a->seq = (const int64_t *)c->in[1].at;
	a->seen = (const int64_t *)c->in[2].at;
	a->step = (const double *)c->in[3].at;
	a->picks_in = (const int32_t *)c->in[4].at;
	a->gates_in = (const float *)c->in[5].at;
	a->inputs = c->inputs;
	a->y = c->out[0].at;
	a->picks_out = (int32_t *)c->out[1].at;
	a->gates_out = (float *)c->out[2].at;
	a->losses = (float *)c->out[3].at;
	a->outputs = c->outputs;
	a->routing = ncalls ? c->routing : NULL;
}

static void run(const library *l, moert_model *model)
{
	static call c;
	moert_session *session;

	get_call(&c, l->layer()->ncalls);
	int error = l->start(model, &c.options, &session);
	int64_t begin = now_ns();
	if (!error)
		error = l->run(session, &c.args);
	int64_t end = now_ns();
	if (session)
		l->end(session);
	result(error, "");
	put(end - begin);
	for (int64_t i = 0; i < c.nout; i++)
		must(!c.out[i].at ||
		     wire_write(FD, c.out[i].at, (size_t)c.out[i].bytes));
	free_arrays(c.in, c.nin);
	free_arrays(c.out, c.nout);
}

/* LIBRARY LAYER */
int main(int argc, char **argv)
{
	library l;
	moert_model *models[WIRE_MOST_MODELS] = {0}, **m;

	if (argc != 3 || !load(&l, argv[1], argv[2]))
		return 1;
	tell_layer(l.layer());
	for (;;)
		switch (word()) {
		case WIRE_OPEN:        open_layer(&l, true, models); break;
		case WIRE_OPEN_MEMORY: open_layer(&l, false, models); break;
		case WIRE_RUN:         run(&l, *model_of(models)); break;
		case WIRE_CLOSE:
			m = model_of(models);
			l.close(*m);
			*m = NULL;
			break;
		default:
			return 1;
		}
}
