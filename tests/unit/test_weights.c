/* SPDX-License-Identifier: Apache-2.0
 * Weights: seeded ones are the same always, a checkpoint's lie where load functions say.
 */
// libs: io
#include "../../driver/weights.c"
#include "../../driver/expand.c"
#include "../../driver/layout.c"
#include "../../driver/view.c"
#include "files.h"
#include "unit.h"

#define T(dtype, shape, from, to)                                                        \
	"{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from        \
	"," #to "]}"

static Module *module(Said *s, const char *params, const char *fns)
{
	const char *text = arena_printf(
	    s->arena,
	    "module \"m\" {\n  layer {width=4, experts=4, picks=1, group=0, losses=0}\n"
	    "  experts E0 = 0..3\n  experts E1 = 3..4\n%s"
	    "  fn @layer() -> () {\n    return\n  }\n%s}\n",
	    params, fns);
	Module *m = parse_module(s->arena, s->diag, "t.mir", text);

	SAME_TEXT(said(s), "");
	MUST(m != NULL);
	return m;
}

static const Param *param(const Module *m, int i)
{
	return &m->params.at[i];
}

static const void *matrix(Weights *w, const Module *m, int i, int64_t expert)
{
	return weights_source(w)->get(weights_source(w), param(m, i), expert);
}

static void test_random(void)
{
	Said *s = said_new();
	Module *m = module(s, "  param router: f32[4,4]\n  param gate: bf16[E0,2,4]\n"
			      "  param gate: bf16[E1,3,4]\n  param scale: f32[4] init=1\n"
			      "  param table: index<4>[100]\n", "");
	Weights *w = weights_random(s->arena, s->diag, m, 7);
	Weights *again = weights_random(s->arena, s->diag, m, 7);
	Weights *other = weights_random(s->arena, s->diag, m, 8);
	float router[16];
	uint16_t gate[12];

	CHECK(weights_load(w, 2));
	random_normals(DT_f32, router, 0, 16, 7, name_hash("router"), 0.02);
	CHECK(memcmp(matrix(w, m, 0, -1), router, sizeof router) == 0);
	random_normals(DT_bf16, gate, 0, 8, 7, name_hash("experts.2.gate"), 0.02);
	CHECK(memcmp(matrix(w, m, 1, 2), gate, 16) == 0);
	random_normals(DT_bf16, gate, 0, 12, 7, name_hash("experts.3.gate"), 0.02);
	CHECK(memcmp(matrix(w, m, 2, 3), gate, 24) == 0);
	CHECK(memcmp(matrix(w, m, 1, 0), matrix(w, m, 1, 1), 16) != 0);
	CHECK(memcmp(matrix(w, m, 0, -1), matrix(again, m, 0, -1), 64) == 0);
	CHECK(memcmp(matrix(w, m, 0, -1), matrix(other, m, 0, -1), 64) != 0);
	for (int i = 0; i < 4; i++)
		CHECK(((const float *)matrix(w, m, 3, -1))[i] == 1);
	const int32_t *table = matrix(w, m, 4, -1);
	int count[4] = {0};
	for (int i = 0; i < 100; i++) {
		MUST(table[i] >= 0 && table[i] < 4);
		count[table[i]]++;
	}
	for (int i = 0; i < 4; i++)
		CHECK(count[i] > 10);
	CHECK(matrix(w, m, 1, 4) == NULL && matrix(w, m, 0, 0) == NULL);
	uint16_t kept[8];
	memcpy(kept, matrix(w, m, 1, 2), 16);
	weights_release(w, param(m, 1), 2);
	CHECK(memcmp(matrix(w, m, 1, 2), kept, 16) == 0);
	SAME_TEXT(said(s), "");
	weights_close(w);
	weights_close(again);
	weights_close(other);
	said_free(s);
}

/* Many matrices, two threads: the same as one thread. */
static void test_threads(void)
{
	Said *s = said_new();
	Module *m = module(s, "  param gate: f32[E0,2048,2048]\n", "");
	Weights *one = weights_random(s->arena, s->diag, m, 1);
	Weights *two = weights_random(s->arena, s->diag, m, 1);

	CHECK(weights_load(one, 1));
	CHECK(weights_load(two, 2));
	for (int e = 0; e < 3; e++)
		CHECK(memcmp(matrix(one, m, 0, e), matrix(two, m, 0, e), 4 << 22) == 0);
	weights_close(one);
	weights_close(two);
	said_free(s);
}

/* A checkpoint of floats 0, 1, 2, .. from the header's tensors. */
static Checkpoint *floats(Said *s, const char *header, size_t n)
{
	size_t h = (strlen(header) + 7) / 8 * 8;
	unsigned char *b = calloc(1, 8 + h + 4 * n);

	enter_folder();
	b[0] = (unsigned char)h;
	b[1] = (unsigned char)(h >> 8);
	memset(b + 8, ' ', h);
	memcpy(b + 8, header, strlen(header));
	for (size_t i = 0; i < n; i++)
		memcpy(b + 8 + h + 4 * i, &(float){(float)i}, 4);
	put_file("w.safetensors", b, 8 + h + 4 * n);
	free(b);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "w.safetensors");
	SAME_TEXT(said(s), "");
	MUST(c != NULL);
	return c;
}

static void test_paths(void)
{
	static const char header[] = "{\"router\":" T(
	    "F32", "4,4", 0, 64) ",\"experts.3.gate\":" T("F32", "2", 64, 72) "}";
	Said *s = said_new();
	Module *m = module(s, "  param router: f32[4,4]\n  param gate: bf16[E1,2]\n", "");
	Checkpoint *c = floats(s, header, 18);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);

	CHECK(weights_load(w, 2));
	for (int i = 0; i < 16; i++)
		CHECK(((const float *)matrix(w, m, 0, -1))[i] == (float)i);
	CHECK(bf16_to_double(((const uint16_t *)matrix(w, m, 1, 3))[1]) == 17);
	SAME_SAID(said(s),
		  "t.mir:6:9: perf: `gate` of expert 3 is bf16[2], the checkpoint "
		  "stores f32: such weights are converted while they are read\n");
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

/* A layout that computes from tensors of another type converts them as well. */
static void test_computed(void)
{
	static const char header[] = "{\"w\":" T("F32", "2,3", 0, 24) "}";
	static const char fn[] =
		"  fn @f() -> (bf16[2,3]) {\n    %w = tensor {name=\"w\"} : f32[2,3]\n"
		"    %d = add %w, %w : f32[2,3]\n    %c = cast %d : bf16[2,3]\n"
		"    return %c\n  }\n";
	Said *s = said_new();
	Module *m = module(s, "  param v: bf16[2,3] load=@f\n", fn);
	Checkpoint *c = floats(s, header, 6);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);

	CHECK(weights_load(w, 1));
	CHECK(bf16_to_double(((const uint16_t *)matrix(w, m, 0, -1))[5]) == 10);
	CHECK(strstr(said(s), "perf: `v` is bf16[2, 3], the checkpoint stores f32") != NULL);
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

#define STACKED "{\"w\":" T("F32", "3,4,6", 0, 288) "}"
#define FN(body) "  fn @f.0() -> (f32[2,3]) {\n" body "  }\n" \
		 "  fn @f.1() -> (f32[2,3]) {\n" body "  }\n" \
		 "  fn @f.2() -> (f32[2,3]) {\n" body "  }\n"

/* Entry (i, j) of the [2, 3] matrix that the load function gives; in place: no copy. */
static void layout(const char *fns, float at(int, int), bool in_place)
{
	Said *s = said_new();
	Module *m = module(s, "  param gate: f32[E0,2,3] load=@f\n", fns);
	Checkpoint *c = floats(s, STACKED, 72);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);
	bool bad;

	CHECK(weights_load(w, 1));
	SAME_TEXT(said(s), "");
	const float *y = matrix(w, m, 0, 1);
	MUST(y != NULL);
	for (int i = 0; i < 6; i++)
		CHECK(y[i] == at(i / 3, i % 3));
	const TensorInfo *t = checkpoint_find(c, s->diag, "w", &bad);
	const float *file = checkpoint_data(c, s->diag, t);
	CHECK((y >= file && y < file + 72) == in_place);
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

#define W    "    %w = tensor {name=\"w\"} : f32[3,4,6]\n"
#define MORE "    %z = const {value=[0]} : f32\n"

static float one_row(int i, int j)
{
	return (float)(24 + 6 + 3 * i + j);
}

static float turned(int i, int j)
{
	return (float)(24 + 6 * j + i);
}

static float doubled(int i, int j)
{
	return 2 * turned(i, j);
}

static void test_layouts(void)
{
	/* one expert's row, as [2, 3]: contiguous, so nothing is copied */
	layout(
	    FN(W
	       "    %s = slice %w {start=[1, 1], size=[1, 1], step=[1, 1]} : f32[1,1,6]\n"
	       "    %r = reshape %s : f32[2,3]\n    return %r\n"),
	    one_row, true);
	/* rows 0..2 of every column, transposed, two columns: "w"[1, 0:3, 0:2] */
	layout(FN(W
		  "    %s = slice %w {start=[1, 0, 0], size=[1, 3, 2], step=[1, 1, 1]} : "
		  "f32[1,3,2]\n    %r = reshape %s : f32[3,2]\n"
		  "    %t = transpose %r : f32[2,3]\n    return %t\n"),
	       turned, false);
	/* the same through arithmetic: evaluated */
	layout(FN(W
		  "    %s = slice %w {start=[1, 0, 0], size=[1, 3, 2], step=[1, 1, 1]} : "
		  "f32[1,3,2]\n    %r = reshape %s : f32[3,2]\n"
		  "    %t = transpose %r : f32[2,3]\n    %d = add %t, %t : f32[2,3]\n"
		  "    return %d\n"),
	       doubled, false);
}

static float odd_columns(int i, int j)
{
	return (float)(24 + 6 * i + 2 * j + 1);
}

static void test_interleaved(void)
{
	layout(FN(W
		  "    %s = slice %w {start=[1, 0, 1], size=[1, 2, 3], step=[1, 1, 2]} : "
		  "f32[1,2,3]\n    %r = reshape %s : f32[2,3]\n    return %r\n"),
	       odd_columns, false);
}

/* What was said, without the source lines and carets. */
static const char *lines(Said *s)
{
	Text t = text_new(s->arena);

	for (const char *p = said(s), *end; *p; p = end + 1) {
		end = strchr(p, '\n');
		if (strncmp(p, "    ", 4) != 0)
			text_addn(&t, p, (size_t)(end - p) + 1);
	}
	return t.s;
}

/* Transposed, and larger than the tiles that the copy works in. */
static void test_tiles(void)
{
	enum { K = 3, N = 70, M = 45 };
	static float file[K * N * M], y[K * M * N];
	View v = {
	    .data = (const char *)file, .dtype = DT_f32, .rank = 3, .dim = {K, N, M}};

	for (int i = 0; i < K * N * M; i++)
		file[i] = (float)i;
	view_row_major(&v);
	CHECK(view_contiguous(&v) && view_transpose(&v) && !view_contiguous(&v));
	view_copy(&v, y);
	bool same = true;
	for (int k = 0; k < K; k++)
		for (int i = 0; i < M; i++)
			for (int j = 0; j < N; j++)
				same &=
				    y[(k * M + i) * N + j] == file[(k * N + j) * M + i];
	CHECK(same);
}

/* Two threads convert what lies in a (sparse) file of 48 MiB. */
static void test_threads_convert(void)
{
	static const char h[] = "{\"w\":" T("F32", "3,2048,2048", 0, 50331648) "}";
	static const char body[] =
	    "    %w = tensor {name=\"w\"} : f32[3,2048,2048]\n"
	    "    %s = slice %w {start=[0], size=[1], step=[1]} : f32[1,2048,2048]\n"
	    "    %r = reshape %s : f32[2048,2048]\n    %c = cast %r : bf16[2048,2048]\n"
	    "    return %c\n  }\n";
	Said *s = said_new();
	Text fns = text_new(s->arena);

	for (int e = 0; e < 3; e++)
		text_printf(&fns, "  fn @f.%d() -> (bf16[2048,2048]) {\n%s", e, body);
	Module *m = module(s, "  param gate: bf16[E0,2048,2048] load=@f\n", fns.s);
	enter_folder();
	put_safetensors("s.safetensors", h, strlen(h), 0);
	if (truncate("s.safetensors", (off_t)(8 + strlen(h) + 50331648)) != 0)
		SKIP("no sparse files here");
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "s.safetensors");
	MUST(c != NULL);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);
	CHECK(weights_load(w, 2));
	CHECK(strstr(said(s), ": perf: ") && !strstr(strchr(said(s), '\n'), ": perf: "));
	for (int e = 0; e < 3; e++)
		CHECK(((const uint16_t *)matrix(w, m, 0, e))[4194303] == 0);
	weights_close(w);
	checkpoint_close(c);
	unlink("s.safetensors");
	said_free(s);
}

/* A parameter that cannot be loaded, and what is said. */
static void refused(const char *header, const char *params, const char *fns,
		    const char *message)
{
	Said *s = said_new();
	Module *m = module(s, params, fns);
	Checkpoint *c = floats(s, header, 72);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);

	CHECK(!weights_load(w, 1));
	SAME_SAID(lines(s), message);
	CHECK(matrix(w, m, 0, -1) == NULL && diag_errors(s->diag) == 1);
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

static void test_messages(void)
{
	refused(STACKED, "  param router: f32[4,4]\n", "",
		"t.mir:5:9: error: no tensor `router` in the file: `router` is read from it\n");
	refused("{\"routers\":" T("F32", "72", 0, 288) "}", "  param router: f32[4,4]\n",
		"",
		"t.mir:5:9: error: no tensor `router` in the file: `router` is read from it\n"
		"  fix: did you mean `routers`?\n");
	refused("{\"router\":" T("F32", "12,6", 0, 288) "}",
		"  param router: f32[6,12]\n", "",
		"t.mir:5:9: error: `router` is f32[6, 12], the file's `router` [12, 6]\n"
		"  fix: write `transpose(..)`\n");
	refused("{\"router\":" T("F32", "72", 0, 288) "}", "  param router: f32\n", "",
		"t.mir:5:9: error: `router` is f32, the file's `router` [72]\n");
	refused("{\"router\":" T("I64", "6,6", 0, 288) "}", "  param router: f32[6,6]\n",
		"",
		"t.mir:5:9: error: `router` is f32[6, 6], but `router` is stored as I64, "
		"which "
		"moec does not read into f32\n");
	refused(
	    "{\"router\":" T("I32", "72", 0, 288) "}", "  param router: f32[72]\n", "",
	    "t.mir:5:9: error: `router` is f32[72], but `router` is stored as I32, which "
	    "moec does not read into f32\n");
	refused(STACKED, "  param gate: f32[E1,2] load=@f\n",
		"  fn @f.3() -> (f32[2]) {\n    %v = tensor {name=\"v\"} : f32[2]\n"
		"    return %v\n  }\n",
		"t.mir:10:10: error: no tensor `v` in the file: `gate` of expert 3 is "
		"read from it\n");
	refused(STACKED, "  param gate: f32[E1,6] load=@f\n",
		"  fn @f.3() -> (f32[3,4,6]) {\n" W "    return %w\n  }\n",
		"t.mir:10:10: error: `gate` of expert 3 is f32[6], the layout gives "
		"[3, 4, 6]\n");
}

/* One message for each parameter, not for each expert. */
static void test_one_message(void)
{
	Said *s = said_new();
	Module *m = module(s, "  param gate: f32[E0,2]\n  param up: f32[E0,2]\n", "");
	Checkpoint *c = floats(s, STACKED, 72);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);

	CHECK(!weights_load(w, 1));
	CHECK(diag_errors(s->diag) == 2);
	CHECK(strstr(said(s), "`experts.0.up` in the file: `up` of expert 0 is") != NULL);
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

static void test_tamed(void)
{
	static const char header[] = "{\"flag\":" T("BOOL", "4", 0, 4) ",\"table\":"
		T("I32", "3", 4, 16) "}  ";
	Said *s = said_new();
	Module *m = module(s, "  param flag: bool[4]\n  param table: index<4>[3]\n", "");
	unsigned char b[200] = {(unsigned char)strlen(header)};
	static const unsigned char flags[4] = {0, 1, 2, 255};
	static const int32_t table[3] = {3, 4, INT32_MIN};

	enter_folder();
	memcpy(b + 8, header, strlen(header));
	memcpy(b + 8 + strlen(header), flags, 4);
	memcpy(b + 12 + strlen(header), table, 12);
	put_file("w.safetensors", b, 24 + strlen(header));
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "w.safetensors");
	MUST(c != NULL);
	Weights *w = weights_checkpoint(s->arena, s->diag, m, c);
	CHECK(weights_load(w, 1));
	CHECK(memcmp(matrix(w, m, 0, -1), "\0\1\1\1", 4) == 0);
	CHECK(memcmp(matrix(w, m, 1, -1), (int32_t[]){3, -1, -1}, 12) == 0);
	SAME_TEXT(said(s), "");
	weights_close(w);
	checkpoint_close(c);
	said_free(s);
}

SUITE("weights",
	{"random", test_random},
	{"two threads", test_threads},
	{"by path", test_paths},
	{"computed", test_computed},
	{"layouts", test_layouts},
	{"interleaved", test_interleaved},
	{"transposed", test_tiles},
	{"two threads convert", test_threads_convert},
	{"messages", test_messages},
	{"one message a parameter", test_one_message},
	{"hostile bools and choices", test_tamed})
