// libs: moert pthread
// layers: dense turns groups stack remembers
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_run: the calls of the runtime's interface in any order, with odd arguments, on
 * compiled layers and a model.  Each call returns 0 or an error of the list; whatever came
 * before, and whatever runs beside it, a plain call gives the same bits as ever; no array is
 * left by a byte. */
#include "odd.h"

#include <pthread.h>

const moert_layer *dense_layer(void);
const moert_layer *turns_layer(void);
const moert_layer *groups_layer(void);
const moert_layer *stack_layer(void);
const moert_layer *remembers_layer(void);

enum { LAYERS = 5, SLOTS = 3 };

typedef struct {
	moert_model   *model[SLOTS];
	moert_session *session[SLOTS];
	int            of[SLOTS];       /* the session's layer */
	int            model_of[SLOTS];
} Held;

static struct {
	const moert_layer *layer[LAYERS];
	char               plain[LAYERS][LARGEST];
	char               path[40];
} all;

static const void *natural(void *ctx, const moert_layer *l, const char *name, int64_t range,
			   int64_t expert)
{
	static float numbers[4096];

	for (size_t i = 0; i < COUNT(numbers); i++)
		numbers[i] = (float)((i * 37 + (size_t)name[0] + (size_t)(expert + 1)) % 61) / 64;
	return ctx ? NULL : numbers;
}

static void backwards(void *ctx, int n, void (*fn)(void *arg, int i), void *arg)
{
	while (n-- > 0)
		fn(arg, n);
}

static void plain_call(int layer, Call *c)
{
	*c = (Call){.a = {.size = sizeof c->a, .tokens = 4}};
	tensors(all.layer[layer], c);
}

static size_t plain_bytes(int layer)
{
	return (size_t)(4 * row_bytes(buffer(all.layer[layer], MOERT_OUTPUT, 0)));
}

/* The bits that they gave the first time, once nothing is remembered. */
static void plain_run(moert_session *s, int layer, bool first)
{
	Call c;

	plain_call(layer, &c);
	moert_reset(s);
	int error = moert_run(s, &c.a);
	HOLDS(error == 0, "a plain call: %s\n", moert_error(error));
	if (first)
		memcpy(all.plain[layer], c.a.y, plain_bytes(layer));
	HOLDS(memcmp(all.plain[layer], c.a.y, plain_bytes(layer)) == 0,
	      "a plain call has other bits\n");
}

static void is_listed(int error)
{
	HOLDS(error >= 0 && error < MOERT_INTERNAL, "error %d\n", error);
}

static void odd_run(Bytes *b, moert_session *s, int layer)
{
	Call c;

	is_listed(moert_run(s, odd_args(b, all.layer[layer], &c)));
	plain_run(s, layer, false);
}

/* A layer of a model alone; one that is none, by its name or its number. */
static void odd_run_call(Bytes *b, moert_session *s, int layer)
{
	const moert_layer *l = all.layer[layer];
	unsigned which = next(b);
	int64_t number = which % 32 == 31 ? odd(b) : l->ncalls ? which % l->ncalls : 0;
	bool is = number >= 0 && number < l->ncalls;
	const char *of = is ? l->calls[number].of : "stack";
	Call c;

	const void *args = odd_args(b, is ? l->calls[number].layer : l, &c);
	int error = moert_run_call(s, which >= 224 ? "narrow" : of, number, args);
	is_listed(error);
	HOLDS(is || error, "a call that there is not\n");
	plain_run(s, layer, false);
}

typedef struct { moert_session *s; moert_args a; int error; } Beside;

static void *run_beside(void *beside)
{
	Beside *r = beside;

	r->error = moert_run(r->s, &r->a);
	return NULL;
}

/* Two plain calls at once; in the same session the second may find it busy, or, where it comes
 * later, that something is remembered. */
static void together(const Held *st, int one, int other)
{
	moert_session *s[] = {st->session[one], st->session[other]};
	Beside r[2];
	bool alike[2];
	pthread_t thread;
	Call c;

	if (!s[0] || !s[1] || st->of[one] != st->of[other])
		return;
	plain_call(st->of[one], &c);
	c.a.outputs = NULL;
	for (int i = 0; i < 2; i++)
		moert_reset(s[i]);
	for (int i = 0; i < 2; i++)
		r[i] = (Beside){.s = s[i], .a = c.a};
	r[1].a.y = array(A_OUT, (int64_t)plain_bytes(st->of[one]), 0);
	HOLDS(pthread_create(&thread, NULL, run_beside, &r[1]) == 0, "no thread\n");
	run_beside(&r[0]);
	pthread_join(thread, NULL);
	for (int i = 0; i < 2; i++) {
		bool busy = s[0] == s[1] && r[i].error == MOERT_BUSY && !r[!i].error;
		HOLDS(busy || r[i].error == 0, "beside another: %d\n", r[i].error);
		alike[i] = !busy && !memcmp(all.plain[st->of[one]], r[i].a.y,
					    plain_bytes(st->of[one]));
	}
	HOLDS(s[0] == s[1] ? alike[0] || alike[1] : alike[0] && alike[1],
	      "other bits beside another call\n");
}

static void odd_open(Bytes *b, Held *st, int slot)
{
	char why[16] = "";
	int layer = next(b) % LAYERS;
	const moert_layer *l = all.layer[layer];
	unsigned how = next(b);
	moert_options o = {.size = how % 16 == 1 ? (size_t)odd(b) : sizeof o,
			   .flags = how % 16 == 2 ? (uint64_t)odd(b) : how / 64,
			   .target = how % 16 == 7 ? "vax" : how & 32 ? l->target : NULL,
			   .why = why, .why_size = next(b) % (sizeof why + 1)};
	const moert_options *options =
	    how % 16 == 3 ? NULL : lengthened(b, &o, sizeof o, o.size);
	moert_model *m;
	int error = how % 16 == 5 ? moert_open(l, "/nonexistent", options, &m)
		  : how & 16 ? moert_open(l, all.path, options, &m)
		  : moert_open_memory(l, natural, how % 16 == 6 ? &o : NULL, options, &m);

	is_listed(error);
	HOLDS((error == 0) == (m != NULL), "error %d\n", error);
	HOLDS(error == 0 || how % 16 != 0, "a plain open: error %d\n", error);
	if (m)
		HOLDS(moert_bytes(m) > 0 && moert_target(m) != NULL, "nothing is open\n");
	if (st->model[slot])
		moert_close(st->model[slot]);
	st->model[slot] = m;
	st->model_of[slot] = layer;
}

static void odd_start(Bytes *b, Held *st, int slot, moert_model *m, int layer)
{
	unsigned how = next(b);
	moert_session_options o = {
		.size = how % 16 == 1 ? (size_t)odd(b) : sizeof o,
		.threads = how % 16 == 2 ? MIN(odd(b), 3) : how & 8 ? how % 4 : 1,
		.parallel_for = how & 64 ? backwards : NULL,
	};
	const void *said = lengthened(b, &o, sizeof o, o.size);
	moert_session *s;
	int error = moert_start(m, how % 16 == 3 ? NULL : said, &s);

	is_listed(error);
	HOLDS((error == 0) == (s != NULL), "error %d\n", error);
	moert_end(st->session[slot]);
	st->session[slot] = s;
	st->of[slot] = layer;
}

static void one_call(Bytes *b, Held *st)
{
	unsigned what = next(b);
	int model = what / 10 % SLOTS, slot = what / 30 % SLOTS;
	moert_model *m = st->model[model];
	moert_session *s = st->session[slot];

	switch (what % 10) {
	case 0:
		odd_open(b, st, model);
		break;
	case 1:
		odd_start(b, st, slot, m, st->model_of[model]);
		break;
	case 2:
		moert_end(s);
		st->session[slot] = NULL;
		break;
	case 3:
		moert_close(m);
		st->model[model] = NULL;
		break;
	case 4:
		if (what < 128)
			moert_reset(s);
		else
			moert_forget(s, odd(b));
		break;
	case 5:
		is_listed(moert_use(s, m));
		break;
	case 6:
		together(st, slot, model);
		break;
	case 7:
		if (s)
			odd_run_call(b, s, st->of[slot]);
		break;
	default:
		if (s)
			odd_run(b, s, st->of[slot]);
		break;
	}
}

static void prepare(void)
{
	moert_model *m;
	moert_session *s;

	all.layer[0] = dense_layer();
	all.layer[1] = turns_layer();
	all.layer[2] = groups_layer();
	all.layer[3] = stack_layer();
	all.layer[4] = remembers_layer();
	make_arrays();
	snprintf(all.path, sizeof all.path, "/tmp/moec-fuzz-%ld.moew", (long)getpid());
	HOLDS(moert_pack(all.layer, LAYERS, natural, NULL, all.path, NULL) == 0, "no file\n");
	for (int i = 0; i < LAYERS; i++) {
		HOLDS(moert_open(all.layer[i], all.path, NULL, &m) == 0 &&
		      moert_start(m, NULL, &s) == 0, "layer %d does not open\n", i);
		plain_run(s, i, true);
		moert_end(s);
		moert_close(m);
	}
}

static void remove_file(void)
{
	unlink(all.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes b = {data, data + size};
	Held st = {0};

	if (!all.layer[0]) {
		prepare();
		atexit(remove_file);
	}
	while (b.at < b.end)
		one_call(&b, &st);
	for (int i = 0; i < SLOTS; i++) {
		moert_close(st.model[i]);
		moert_end(st.session[i]);
	}
	return 0;
}
