// libs: moert
// layers: dense turns
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_run: the calls of the runtime's interface in any order, with odd arguments, on
 * compiled layers.  Each call returns 0 or an error of the list; whatever came before, a
 * plain call gives the same bits as ever; no array is left by a byte. */
#include "fuzz.h"
#include "../../runtime/internal.h"

const moert_layer *dense_layer(void);
const moert_layer *turns_layer(void);

enum { LAYERS = 2, SLOTS = 3, MOST_TOKENS = 9, MOST_SEQUENCES = 5, LARGEST = 1 << 14 };
enum { A_X, A_Y, A_SEQ, A_SEEN, A_PICKS, A_GATES, A_PICKS_OUT, A_GATES_OUT, A_LOSSES, A_MORE,
       A_Y1, A_STRUCT, ARRAYS };

/* The input, byte by byte; zeros when it has ended. */
typedef struct {
	const uint8_t *at, *end;
} Bytes;

typedef struct {
	moert_model   *model[SLOTS];
	moert_session *session[SLOTS];
	int            of[SLOTS];       /* the session's layer */
	int            model_of[SLOTS];
} Held;

static struct {
	const moert_layer *layer[LAYERS];
	char              *end[ARRAYS]; /* of an array, where a page begins that faults */
	char               plain[LAYERS][LARGEST];
	char               path[40];
} all;

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

/* The last `bytes` before a page that faults. */
static void *flush_at(int array, int64_t bytes)
{
	return all.end[array] - bytes;
}

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

static const moert_buf *buffer(int layer, int role, int skip)
{
	const moert_layer *l = all.layer[layer];

	for (int64_t i = 0; i < l->nbufs; i++)
		if (l->bufs[i].role == role && skip-- == 0)
			return &l->bufs[i];
	return NULL;
}

static int64_t row_bytes(const moert_buf *b)
{
	return b ? b->elems * moert_entry_bytes(b->dtype) : 0;
}

/* An array flush with its end, filled with the same numbers each time, or NULL. */
static void *array(int which, int64_t bytes, int fill)
{
	char *at = flush_at(which, bytes);

	for (int64_t i = 0; i < bytes; i++)
		at[i] = (char)(fill && i % 2 ? 0x3f : (i * 29 + fill) & 0x3f);
	return at;
}

static moert_args plain_args(int layer, const void **more)
{
	const moert_buf *x = buffer(layer, MOERT_INPUT, 0), *y = buffer(layer, MOERT_OUTPUT, 0);
	int64_t tokens = 4;

	*more = array(A_MORE, tokens * 4, 1);
	return (moert_args){
		.size = sizeof(moert_args), .tokens = tokens,
		.x = array(A_X, tokens * row_bytes(x), 1),
		.y = array(A_Y, tokens * row_bytes(y), 0),
		.inputs = buffer(layer, MOERT_INPUT, 1) ? more : NULL,
	};
}

/* The bits that they gave the first time. */
static void plain_run(moert_session *s, int layer, bool first)
{
	const void *more;
	moert_args a = plain_args(layer, &more);
	size_t bytes = (size_t)(a.tokens * row_bytes(buffer(layer, MOERT_OUTPUT, 0)));
	int error = moert_run(s, &a);

	HOLDS(error == 0, "a plain call: %s\n", moert_error(error));
	if (first)
		memcpy(all.plain[layer], a.y, bytes);
	HOLDS(memcmp(all.plain[layer], a.y, bytes) == 0, "a plain call has other bits\n");
}

static void is_listed(int error)
{
	HOLDS(error >= 0 && error < MOERT_INTERNAL, "error %d\n", error);
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

static int64_t odd_stride(Bytes *b, int64_t row, int64_t entry)
{
	const int64_t strides[] = {0, row, row + entry, 2 * row, row - 1, row + 1, -row,
				   INT64_MAX - 7, INT64_MIN};
	unsigned which = next(b);

	return which < COUNT(strides) ? strides[which] : 0;
}

static void odd_rows(Bytes *b, int layer, int64_t tokens, moert_args *a)
{
	const moert_buf *x = buffer(layer, MOERT_INPUT, 0), *y = buffer(layer, MOERT_OUTPUT, 0);

	a->x_stride = odd_stride(b, row_bytes(x), moert_entry_bytes(x->dtype));
	a->y_stride = odd_stride(b, row_bytes(y), moert_entry_bytes(y->dtype));
	int64_t wide = a->x_stride == 2 * row_bytes(x) ? 2 : 1;
	int64_t more = a->x_stride == row_bytes(x) + moert_entry_bytes(x->dtype) ? 64 : 0;
	a->x = array(A_X, tokens * (wide * row_bytes(x) + more), 1);
	a->y = array(A_Y, tokens * (2 * row_bytes(y) + 64), 0);
	if (next(b) % 8 == 7)
		a->y = (char *)a->x - next(b) / 4 * 4;
}

static void odd_sequences(Bytes *b, moert_args *a)
{
	unsigned how = next(b);
	int64_t n = how % (MOST_SEQUENCES + 1);

	int64_t *seq = array(A_SEQ, (n + 1) * 8, 0);
	for (int64_t i = 0; i <= n; i++)
		seq[i] = i == n && how < 128 ? a->tokens : i == 0 ? 0 : odd(b);
	a->nseq = how % 64 == 63 ? (next(b) % 2 ? -1 : 1ll << 31) : n;
	a->seq = a->nseq == n && how % 32 != 31 ? seq : NULL;
	if (next(b) % 2)
		return;
	int64_t *seen = array(A_SEEN, MAX(n, 1) * 8, 0);
	for (int64_t i = 0; i < MAX(n, 1); i++)
		seen[i] = odd(b);
	a->seen = seen;
}

static void odd_routing(Bytes *b, int layer, int64_t tokens, moert_args *a)
{
	const moert_layer *l = all.layer[layer];
	int64_t n = tokens * l->picks;
	unsigned which = next(b);

	int32_t *picks = array(A_PICKS, n * 4, 0);
	for (int64_t i = 0; i < n && which & 1; i++)
		picks[i] = (int32_t)(next(b) % (unsigned)(l->experts + 4)) - 2;
	a->picks_in = which & 1 ? picks : NULL;
	a->gates_in = which & 2 ? array(A_GATES, n * 4, 1) : NULL;
	a->picks_out = which & 4 ? array(A_PICKS_OUT, n * 4, 0) : NULL;
	a->gates_out = which & 8 ? array(A_GATES_OUT, n * 4, 0) : NULL;
	a->losses = which & 16 ? array(A_LOSSES, 4, 0) : NULL;
}

static void odd_run(Bytes *b, moert_session *s, int layer)
{
	int64_t tokens = next(b) % (MOST_TOKENS + 1);
	const void *more = array(A_MORE, tokens * 4, 1);
	void *y1 = array(A_Y1, tokens * 4, 0);
	double step = (double)odd(b);
	unsigned has = next(b), how = next(b);
	moert_args a = {.size = sizeof a, .tokens = tokens, .seed = next(b)};

	odd_rows(b, layer, tokens, &a);
	odd_routing(b, layer, tokens, &a);
	odd_sequences(b, &a);
	a.step = has & 1 ? &step : NULL;
	a.inputs = has & 2 ? NULL : &more;
	more = has & 4 ? NULL : more;
	a.outputs = has & 8 ? &y1 : NULL;
	a.x = has & 16 && has & 32 ? NULL : a.x;
	a.y = has & 64 && has & 32 ? NULL : a.y;
	if (how % 16 == 1)
		a.tokens = next(b) % 2 ? -1 - (int64_t)next(b) : INT32_MAX + 1ll + odd(b) % 2;
	if (how % 16 == 2)
		a.size = how % 32 == 2 ? next(b) % sizeof a : (size_t)odd(b);
	const void *said = lengthened(b, &a, sizeof a, a.size);
	is_listed(moert_run(s, how == 255 ? NULL : said));
	plain_run(s, layer, false);
}

static void odd_open(Bytes *b, Held *st, int slot)
{
	char why[16] = "";
	int layer = next(b) % LAYERS;
	unsigned how = next(b);
	moert_options o = {.size = how % 16 == 1 ? (size_t)odd(b) : sizeof o,
			   .flags = how % 16 == 2 ? (uint64_t)odd(b) : how / 64,
			   .why = why, .why_size = next(b) % (sizeof why + 1)};
	const moert_options *options =
	    how % 16 == 3 ? NULL : lengthened(b, &o, sizeof o, o.size);
	moert_model *m;
	int error = how % 16 == 4 ? moert_open(all.layer[layer], all.path, options, &m)
		  : how % 16 == 5 ? moert_open(all.layer[layer], "/nonexistent", options, &m)
		  : moert_open_memory(all.layer[layer], natural, how % 16 == 6 ? &o : NULL,
				      options, &m);

	is_listed(error);
	HOLDS((error == 0) == (m != NULL), "error %d\n", error);
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
		.threads = how % 16 == 2 ? MIN(odd(b), 3) : how % 3,
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
	int model = what / 8 % SLOTS, slot = what / 32 % SLOTS;
	moert_model *m = st->model[model];
	moert_session *s = st->session[slot];

	switch (what % 8) {
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
		if (s)
			moert_reset(s);
		break;
	case 5:
		is_listed(moert_use(s, m));
		break;
	default:
		if (s)
			odd_run(b, s, st->of[slot]);
		break;
	}
}

static void prepare(void)
{
	const void *more;
	long page = sysconf(_SC_PAGESIZE);
	moert_model *m;
	moert_session *s;

	all.layer[0] = dense_layer();
	all.layer[1] = turns_layer();
	for (int i = 0; i < ARRAYS; i++) {
		char *at = mmap(NULL, LARGEST + (size_t)page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		HOLDS(at != MAP_FAILED && mprotect(at + LARGEST, (size_t)page, PROT_NONE) == 0,
		      "no memory\n");
		all.end[i] = at + LARGEST;
	}
	snprintf(all.path, sizeof all.path, "/tmp/moec-fuzz-%ld.moew", (long)getpid());
	HOLDS(moert_pack(all.layer, LAYERS, natural, NULL, all.path, NULL) == 0, "no file\n");
	for (int i = 0; i < LAYERS; i++) {
		moert_args a = plain_args(i, &more);
		HOLDS(a.tokens <= MOST_TOKENS, "the arrays are too small\n");
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
