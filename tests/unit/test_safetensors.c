/* SPDX-License-Identifier: Apache-2.0
 * Every way in which a .safetensors file can be wrong, and what is said about it. */
// libs: io
#include "files.h"
#include "unit.h"
#include <sys/resource.h>

#define F "x.safetensors: error: "
#define T(dtype, shape, from, to)                                                        \
	"{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from        \
	"," #to "]}"
#define ONE(dtype, shape, from, to) "{\"a\":" T(dtype, shape, from, to) "}"

typedef struct { const char *header; size_t data; const char *message; } Case;

/* Bad headers, the number of data bytes behind them, the whole message ("": none). */
static const Case headers[] = {
    /* not the JSON of a header */
    {"", 0, F "the header does not begin with {\n"},
    {" {}", 0, F "the header does not begin with {\n"},
    {"[]", 0, F "the header does not begin with {\n"},
    {"null", 0, F "the header does not begin with {\n"},
    {"\xef\xbb\xbf{}", 0, F "the header does not begin with {\n"},
    {"{", 0,
     "x.safetensors:1:1: error: the header: not valid JSON: string or '}' expected"
     " near end of file\n"},
    {"{}}", 0,
     "x.safetensors:1:3: error: the header: not valid JSON: end of file expected"
     " near '}'\n"},
    {"{} {}", 0,
     "x.safetensors:1:4: error: the header: not valid JSON: end of file "
     "expected near '{'\n"},
    {"{\"a\"}", 0,
     "x.safetensors:1:5: error: the header: not valid JSON: ':' expected near"
     " '}'\n"},
    {"{\"\xff\":1}", 0,
     "x.safetensors:1:2: error: the header: not valid JSON: unable to "
     "decode byte 0xff near '\"'\n"},
    {"{\"\x1b[31m\":1}", 0,
     "x.safetensors:1:2: error: the header: not valid JSON: control "
     "character 0x1b near '\"'\n"},
    {"{\"a\\u0000\":1}", 0,
     "x.safetensors:1:10: error: the header: not valid JSON: a NUL "
     "in a string\n"},
    {"{\"\\ud800\":1}", 0,
     "x.safetensors:1:9: error: the header: not valid JSON: invalid "
     "Unicode '\\uD800' near '\"\\ud800\"'\n"},
    {"{\"a\":1,\"a\":1}", 0,
     "x.safetensors:1:10: error: the header: not valid JSON: "
     "duplicate object key near '\"a\"'\n"},
    {"{\"a\":1,}", 0,
     "x.safetensors:1:8: error: the header: not valid JSON: string or '}' "
     "expected near '}'\n"},
    {"{'a':1}", 0,
     "x.safetensors:1:2: error: the header: not valid JSON: string or '}' "
     "expected near '''\n"},
    {"{\"a\":NaN}", 0,
     "x.safetensors:1:8: error: the header: not valid JSON: invalid token"
     " near 'NaN'\n"},
    {"{\"a\":99999999999999999999}", 0,
     "x.safetensors:1:25: error: the header: not valid JSON: too big integer near "
     "'99999999999999999999'\n"},
    {"{\"a\":1e999}", 0,
     "x.safetensors:1:10: error: the header: not valid JSON: real number"
     " overflow near '1e999'\n"},
    /* __metadata__ */
    {"{\"__metadata__\":[]}", 0, F "`__metadata__` is not an object\n"},
    {"{\"__metadata__\":\"pt\"}", 0, F "`__metadata__` is not an object\n"},
    {"{\"__metadata__\":{\"format\":1}}", 0,
     F "`__metadata__`: `format` is not a string\n"},
    {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0,
     F "`__metadata__`: `a` is not a string\n"},
    {"{\"__metadata__\":{\"a\":null}}", 0, F "`__metadata__`: `a` is not a string\n"},
    /* a tensor's description */
    {"{\"a\":1}", 0, F "tensor `a`: its description is not an object\n"},
    {"{\"a\":null}", 0, F "tensor `a`: its description is not an object\n"},
    {"{\"a\":[\"F32\",[],[0,4]]}", 4, F "tensor `a`: its description is not an object\n"},
    {"{\"a\\u001b[0m\":1}", 0,
     F "tensor `a\\x1b[0m`: its description is not an object\n"},
    {"{\"a\":{}}", 0, F "tensor `a`: has no dtype\n"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, F "tensor `a`: has no shape\n"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4,
     F "tensor `a`: has no data_offsets\n"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"strides\":[]}}", 4,
     F "tensor `a`: has more than dtype, shape and data_offsets\n"},
    /* dtype */
    {"{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4,
     F "tensor `a`: its dtype is not a string\n"},
    {ONE("F7", "", 0, 4), 4, F "tensor `a`: `F7` is no dtype of the format\n"},
    {ONE("f32", "", 0, 4), 4, F "tensor `a`: `f32` is no dtype of the format\n"},
    {ONE("", "", 0, 4), 4, F "tensor `a`: `` is no dtype of the format\n"},
    {ONE("F32 ", "", 0, 4), 4, F "tensor `a`: `F32 ` is no dtype of the format\n"},
    /* shape */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4,
     F "tensor `a`: its shape is not a list\n"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4,
     F "tensor `a`: its shape is not a list\n"},
    {ONE("F32", "-1", 0, 4), 4,
     F "tensor `a`: dimension 0 is not a whole number from 0 on\n"},
    {ONE("F32", "1,1.0", 0, 4), 4,
     F "tensor `a`: dimension 1 is not a whole number from 0 on\n"},
    {ONE("F32", "\\\"1\\\"", 0, 4), 4,
     "x.safetensors:1:30: error: the header: not valid JSON: invalid token near '\\'\n"},
    {ONE("F32", "\"1\"", 0, 4), 4,
     F "tensor `a`: dimension 0 is not a whole number from 0 on\n"},
    {ONE("F32", "true", 0, 4), 4,
     F "tensor `a`: dimension 0 is not a whole number from 0 on\n"},
    {ONE("F32", "1,1,1,1,1,1,1,1,1", 0, 4), 4,
     F "tensor `a`: 9 dimensions, at most 8 are supported\n"},
    {ONE("F32", "4294967296,4294967296", 0, 4), 4,
     F "tensor `a`: its shape has more entries than can be counted\n"},
    {ONE("F32", "2305843009213693952", 0, 0), 0,
     F "tensor `a`: its shape has more entries than can be counted\n"},
    {ONE("U8", "9223372036854775807", 0, 0), 0,
     F "tensor `a`: its shape has more entries than can be counted\n"},
    {ONE("F32", "9223372036854775807,9223372036854775807,0", 0, 0), 0,
     F "tensor `a`: its shape has more entries than can be counted\n"},
    /* offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":4}}", 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0]}}", 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,8]}}", 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {ONE("F32", "", 0.0, 4), 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {ONE("F32", "", 0, 4.0), 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {ONE("F32", "", -4, 0), 4,
     F "tensor `a`: its data_offsets are not two whole numbers from 0 on\n"},
    {ONE("F32", "", 4, 0), 4, F "tensor `a`: its data_offsets end before they begin\n"},
    {ONE("F32", "", 0, -4), 4, F "tensor `a`: its data_offsets end before they begin\n"},
    {ONE("F32", "2", 0, 8), 4, F "tensor `a`: ends at byte 8 of the data, which has 4\n"},
    {ONE("F32", "", 9223372036854775803, 9223372036854775807), 4,
     F "tensor `a`: ends at byte 9223372036854775807 of the data, which has 4\n"},
    /* shape against offsets */
    {ONE("F32", "2,3", 0, 20), 20,
     F "tensor `a`: its shape takes 24 bytes of F32, its data_offsets 20\n"},
    {ONE("BF16", "2,3", 0, 24), 24,
     F "tensor `a`: its shape takes 12 bytes of BF16, its data_offsets 24\n"},
    {ONE("F32", "0", 0, 4), 4,
     F "tensor `a`: its shape takes 0 bytes of F32, its data_offsets 4\n"},
    {ONE("F32", "", 0, 0), 0,
     F "tensor `a`: its shape takes 4 bytes of F32, its data_offsets 0\n"},
    {ONE("F8_E4M3", "4611686018427387904,4", 0, 0), 0,
     F "tensor `a`: its shape has more entries than can be counted\n"},
    {ONE("F4", "3", 0, 2), 2, F "tensor `a`: 12 bits of F4 do not fill whole bytes\n"},
    {ONE("F6_E2M3", "5", 0, 4), 4,
     F "tensor `a`: 30 bits of F6_E2M3 do not fill whole bytes\n"},
    {ONE("F6_E3M2", "4", 0, 4), 4,
     F "tensor `a`: its shape takes 3 bytes of F6_E3M2, its data_offsets 4\n"},
    /* cover */
    {"{}", 4, F "the tensors end at byte 0 of the data, which has 4\n"},
    {"{\"__metadata__\":{}}", 1,
     F "the tensors end at byte 0 of the data, which has 1\n"},
    {ONE("F32", "", 0, 4), 5, F "the tensors end at byte 4 of the data, which has 5\n"},
    {ONE("F32", "", 4, 8), 8,
     F "bytes 0 to 4 of the data belong to no tensor (before `a`)\n"},
    {"{\"a\":" T("U8", "4", 0, 4) ",\"b\":" T("U8", "4", 8, 12) "}", 12,
     F "bytes 4 to 8 of the data belong to no tensor (before `b`)\n"},
    {"{\"a\":" T("U8", "4", 0, 4) ",\"b\":" T("U8", "4", 0, 4) "}", 4,
     F "tensors `a` and `b` overlap\n"},
    {"{\"b\":" T("U8", "4", 0, 4) ",\"a\":" T("U8", "4", 2, 6) "}", 6,
     F "tensors `b` and `a` overlap\n"},
    {"{\"a\":" T("U8", "4", 0, 4) ",\"b\":" T("U8", "0", 2, 2) "}", 4,
     F "tensors `a` and `b` overlap\n"},
    {"{\"a\":" T("U8", "0", 9, 9) "}", 4,
     F "tensor `a`: ends at byte 9 of the data, which has 4\n"},
};

static void test_headers(void)
{
	for (size_t i = 0; i < COUNT(headers); i++) {
		const Case *c = &headers[i];
		Said *s = said_new();
		put_safetensors("x.safetensors", c->header, strlen(c->header), c->data);
		CHECK(checkpoint_open(s->arena, s->diag, "x.safetensors") == NULL);
		CHECK(diag_errors(s->diag) == 1);
		SAME_SAID(said(s), c->message);
		said_free(s);
	}
	CHECK(COUNT(headers) >= 60);
}

/* Files that are wrong before their header: bytes, how many, the message. */
static const struct { const char *bytes; size_t n; const char *message;
} raw[] = {
    {"", 0, F "0 bytes are too few for a safetensors file\n"},
    {"\1\0\0\0\0\0\0", 7, F "7 bytes are too few for a safetensors file\n"},
    {"\1\0\0\0\0\0\0\0", 8,
     F "cut short: the header has 1 bytes, the file only 0 more\n"},
    {"\3\0\0\0\0\0\0\0{}", 10,
     F "cut short: the header has 3 bytes, the file only 2 more\n"},
    {"\0\xe1\xf5\5\0\0\0\0{}", 10,
     F "cut short: the header has 100000000 bytes, the file only 2 more\n"},
    {"\1\xe1\xf5\5\0\0\0\0{}", 10,
     F "not a safetensors file: a header of 100000001 bytes, the limit is 100000000\n"},
    {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
     F "not a safetensors file: a header of 18446744073709551615 bytes, the limit is "
       "100000000\n"},
    {"\xf8\xff\xff\xff\xff\xff\xff\x7f{}", 10,
     F "not a safetensors file: a header of 9223372036854775800 bytes, the limit is "
       "100000000\n"},
    {"\0\0\0\0\0\0\0\0", 8, F "the header does not begin with {\n"},
    {"\0\0\0\0\0\0\0\0{}", 10, F "the header does not begin with {\n"},
    {"PK\3\4\24\0\0\0\10\0", 10, F "not a safetensors file but a PyTorch pickle\n"},
    {"\x80\2}q\1X\3\0\0\0", 10, F "not a safetensors file but a PyTorch pickle\n"},
    {"\x80\2\0\0\0\0\0\0", 8,
     F "cut short: the header has 640 bytes, the file only 0 more\n"},
    {"\x80\6\0\0\0\0\0\1", 8,
     F "not a safetensors file: a header of 72057594037929600 bytes, the limit is "
       "100000000\n"},
    {"GGUF\3\0\0\0\1\0", 10, F "not a safetensors file but GGUF\n"},
    {"\x93NUMPY\1\0v\0", 10, F "not a safetensors file but a NumPy array\n"},
    {"\x89HDF\r\n\x1a\n\0\0", 10, F "not a safetensors file but HDF5\n"},
    {"version https://git-lfs", 23,
     F "not a safetensors file but a Git LFS pointer: `git lfs pull` fetches the file\n"},
};

static void test_raw(void)
{
	for (size_t i = 0; i < COUNT(raw); i++) {
		Said *s = said_new();
		put_file("x.safetensors", raw[i].bytes, raw[i].n);
		CHECK(checkpoint_open(s->arena, s->diag, "x.safetensors") == NULL);
		SAME_SAID(said(s), raw[i].message);
		said_free(s);
	}
}

static const Case good[] = {
	{"{}", 0, NULL},
	{"{}   ", 0, NULL},
	{"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"}}", 0, NULL},
	{ONE("F32", "", 0, 4), 4, NULL},
	{ONE("F32", "0", 0, 0), 0, NULL},
	{ONE("F4", "2,3", 0, 3), 3, NULL},
	{ONE("F6_E2M3", "4", 0, 3), 3, NULL},
	{ONE("C64", "2", 0, 16), 16, NULL},
	{"{\"b\":" T("U8", "2", 2, 4) ",\"e\":" T("F64", "0,7", 2, 2) ",\"a\":"
	 T("BOOL", "2", 0, 2) "}  ", 4, NULL},
	{"{\"a\":" T("U8", "2", 0, 2) ",\"b\":" T("U8", "0", 0, 0) ",\"c\":"
	 T("U8", "0", 0, 0) "}", 2, NULL},
	{"{\"c\":" T("U8", "0", 0, 0) ",\"b\":" T("U8", "0", 0, 0) ",\"a\":"
	 T("U8", "2", 0, 2) "}", 2, NULL},
};

static void test_good(void)
{
	for (size_t i = 0; i < COUNT(good); i++) {
		Said *s = said_new();
		put_safetensors("x.safetensors", good[i].header, strlen(good[i].header),
				good[i].data);
		Checkpoint *c = checkpoint_open(s->arena, s->diag, "x.safetensors");
		SAME_TEXT(said(s), "");
		CHECK(c != NULL);
		checkpoint_close(c);
		said_free(s);
	}
}

static void test_every_type(void)
{
	static const struct { const char *name; int bits; Dtype dtype;
	} types[] = {
	    {"BOOL", 8, DT_bool},	  {"F4", 4, DT_COUNT},
	    {"F6_E2M3", 6, DT_COUNT},	  {"F6_E3M2", 6, DT_COUNT},
	    {"U8", 8, DT_COUNT},	  {"I8", 8, DT_COUNT},
	    {"F8_E5M2", 8, DT_COUNT},	  {"F8_E4M3", 8, DT_COUNT},
	    {"F8_E8M0", 8, DT_COUNT},	  {"F8_E4M3FNUZ", 8, DT_COUNT},
	    {"F8_E5M2FNUZ", 8, DT_COUNT}, {"I16", 16, DT_COUNT},
	    {"U16", 16, DT_COUNT},	  {"F16", 16, DT_f16},
	    {"BF16", 16, DT_bf16},	  {"I32", 32, DT_i32},
	    {"U32", 32, DT_COUNT},	  {"F32", 32, DT_f32},
	    {"C64", 64, DT_COUNT},	  {"F64", 64, DT_f64},
	    {"I64", 64, DT_COUNT},	  {"U64", 64, DT_COUNT},
	};

	for (size_t i = 0; i < COUNT(types); i++) {
		Said *s = said_new();
		TensorList list;
		uint64_t bytes = (uint64_t)types[i].bits * 8 / 8;
		const char *h = arena_printf(s->arena,
					     "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],"
					     "\"data_offsets\":[0,%ju]}}",
					     types[i].name, (uintmax_t)bytes);
		MUST(safetensors_header(s->arena, s->diag, "x", h, strlen(h), bytes,
					&list));
		SAME_TEXT(list.at[0].type, types[i].name);
		CHECK(list.at[0].bytes == bytes);
		/* a type that dtypes.def gains later may be known here */
		CHECK(types[i].dtype == DT_COUNT || list.at[0].dtype == types[i].dtype);
		said_free(s);
	}
}

static const char small[] =
    "{\"b\":" T("F32", "2", 8, 16) ",\"a\":" T("BF16", "2,2", 0, 8) "}";

static void test_contents(void)
{
	Said *s = said_new();
	bool bad;

	put_safetensors("x.safetensors", small, strlen(small), 16);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "x.safetensors");
	MUST(c != NULL);
	const TensorInfo *a = checkpoint_find(c, s->diag, "a", &bad);
	const TensorInfo *b = checkpoint_find(c, s->diag, "b", &bad);
	MUST(a && b);
	CHECK(!bad);
	SAME_TEXT(a->name, "a");
	SAME_TEXT(a->file, "x.safetensors");
	CHECK(a->rank == 2 && a->dims[0] == 2 && a->dims[1] == 2 && a->dtype == DT_bf16);
	CHECK(b->rank == 1 && b->dims[0] == 2 && b->dtype == DT_f32 && b->bytes == 8);
	const unsigned char *p = checkpoint_data(c, s->diag, b);
	MUST(p != NULL);
	for (int i = 0; i < 8; i++)
		CHECK(p[i] == 8 + i);
	CHECK(checkpoint_has(c, "a") && !checkpoint_has(c, "c"));
	CHECK(checkpoint_find(c, s->diag, "c", &bad) == NULL && !bad);
	SAME_TEXT(said(s), "");
	checkpoint_close(c);
	said_free(s);
}

/* 1 if it opens, 0 with one error. */
static int opens(const unsigned char *bytes, size_t n)
{
	Said *s = said_new();
	bool bad;

	put_file("x.safetensors", bytes, n);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "x.safetensors");
	CHECK(diag_errors(s->diag) == (c ? 0 : 1));
	for (const char *name = "ab"; c && *name; name++) {
		const char text[2] = {*name};
		const TensorInfo *t = checkpoint_find(c, s->diag, text, &bad);
		const unsigned char *p = t ? checkpoint_data(c, s->diag, t) : NULL;
		for (uint64_t i = 0; p && i < t->bytes; i++)
			CHECK(p[i] <= 15);      /* data only, never header or beyond */
	}
	if (c)
		checkpoint_close(c);
	said_free(s);
	return c != NULL;
}

static void test_cut_and_flipped(void)
{
	size_t n = 8 + strlen(small) + 16;
	unsigned char whole[512], changed[512];
	int good_flips = 0;

	put_safetensors("x.safetensors", small, strlen(small), 16);
	FILE *f = fopen("x.safetensors", "rb");
	MUST(f && fread(whole, 1, sizeof whole, f) == n);
	fclose(f);
	for (size_t cut = 0; cut < n; cut++)
		CHECK(!opens(whole, cut));
	for (size_t bit = 0; bit < 8 * (n - 16); bit++) {
		memcpy(changed, whole, n);
		changed[bit / 8] ^= (unsigned char)(1 << bit % 8);
		good_flips += opens(changed, n);
	}
	/* only another name, or another type or shape of the same size, may pass */
	CHECK(good_flips < 30);
	CHECK(opens(whole, n) == 1);
}

static void test_names_as_they_are(void)
{
	static const char h[] = "{\"\xc3\xa9\":" T("U8", "1", 0, 1) ",\"\":"
		T("U8", "1", 1, 2) ",\"../x\":" T("U8", "1", 2, 3) "}";
	Said *s = said_new();
	bool bad;
	int n;

	put_safetensors("x.safetensors", h, strlen(h), 3);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "x.safetensors");
	MUST(c != NULL);
	CHECK(checkpoint_find(c, s->diag, "\xc3\xa9", &bad) != NULL);
	const char **names = checkpoint_names(c, s->arena, &n);
	CHECK(n == 3);
	SAME_TEXT(names[1], "../x");
	checkpoint_close(c);
	said_free(s);
}

static void test_many_tensors(void)
{
	enum { N = 20000 };
	Said *s = said_new();
	Text t = text_new(s->arena);
	TensorList list;

	text_add(&t, "{");
	for (int i = 0; i < N; i++)             /* backwards in the header */
		text_printf(&t, "%s\"t%d\":" "{\"dtype\":\"F32\",\"shape\":[1,1],"
			    "\"data_offsets\":[%d,%d]}", i ? "," : "", i, 4 * (N - 1 - i),
			    4 * (N - i));
	text_add(&t, "}");
	CHECK(safetensors_header(s->arena, s->diag, "x", t.s, t.n, 4 * N, &list));
	SAME_TEXT(said(s), "");
	CHECK(list.n == N);
	for (int i = 1; i < list.n; i++)
		CHECK(strcmp(list.at[i - 1].name, list.at[i].name) < 0);
	said_free(s);
}

static void test_deep(void)
{
	Said *s = said_new();
	Text t = text_new(s->arena);
	TensorList list;

	text_add(&t, "{\"a\":");
	for (int i = 0; i < 100000; i++)
		text_add(&t, "[");
	CHECK(!safetensors_header(s->arena, s->diag, "x", t.s, t.n, 0, &list));
	SAME_SAID(said(s), "x:1:1: error: the header: JSON nested more than 256 deep\n");
	said_free(s);
}

/* A header within the limit for which there is no memory. */
static void test_no_memory(void)
{
#ifdef SANITIZED
	SKIP("a sanitizer ends the process");
#endif
	static const unsigned char length[8] = {0x00, 0xe1, 0xf5, 0x05};        /* 100 000 000 */
	const off_t size = 100000008;
	Said *s = said_new();
	TensorList list;
	struct rlimit before, low;
	FILE *f = fopen("x.safetensors", "w+");

	MUST(f && fwrite(length, 1, 8, f) == 8 && fflush(f) == 0);
	MUST(ftruncate(fileno(f), size) == 0);
	MUST(getrlimit(RLIMIT_AS, &before) == 0);
	low = before;
	low.rlim_cur = 64 << 20;        /* what there is may be more: then nothing is added */
	MUST(setrlimit(RLIMIT_AS, &low) == 0);
	bool ok = safetensors_read(s->arena, s->diag, "x.safetensors", fileno(f),
				   (uint64_t)size, &list);
	setrlimit(RLIMIT_AS, &before);
	CHECK(!ok);
	SAME_SAID(said(s), F "no memory for a header of 100000000 bytes\n");
	fclose(f);
	said_free(s);
}

/* Each in a folder of its own, since every test may write x.safetensors. */
#define IN_FOLDER(name) static void in_##name(void) { enter_folder(); test_##name(); }
IN_FOLDER(headers)
IN_FOLDER(raw)
IN_FOLDER(good)
IN_FOLDER(contents)
IN_FOLDER(cut_and_flipped)
IN_FOLDER(names_as_they_are)
IN_FOLDER(no_memory)

SUITE("safetensors",
	{"bad headers", in_headers},
	{"bad files", in_raw},
	{"good files", in_good},
	{"every type", test_every_type},
	{"contents", in_contents},
	{"cut at every byte, every header bit flipped", in_cut_and_flipped},
	{"any name", in_names_as_they_are},
	{"no memory", in_no_memory},
	{"many tensors", test_many_tensors},
	{"deep nesting", test_deep})
