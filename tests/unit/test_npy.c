/* SPDX-License-Identifier: Apache-2.0
 * NumPy files: every way to be wrong, and reading back what was written. */
// libs: io
#include "files.h"
#include "unit.h"

#define E "x.npy: error: "
#define H(rest) "{'descr': '<f4', 'fortran_order': False, 'shape': " rest "}\n"
#define D(descr) "{'descr': '" descr "', 'fortran_order': False, 'shape': (2,), }\n"

typedef struct { const char *header; size_t data; const char *message; } Case;

/* The dict of a version 1.0 file, the data bytes behind it, the whole message. */
static const Case headers[] = {
	{"", 0, E "the header is not a dict\n"},
	{"[]", 0, E "the header is not a dict\n"},
	{"{", 0, E "the header is not a dict\n"},
	{"{'descr'}", 0, E "the header is not a dict\n"},
	{"{'descr: '<f4'}", 0, E "the header is not a dict\n"},
	{"{}", 0, E "the header has no 'descr'\n"},
	{"{'descr': '<f4'}", 0, E "the header has no 'fortran_order'\n"},
	{"{'descr': '<f4', 'fortran_order': False}", 0, E "the header has no 'shape'\n"},
	{"{'descr': '<f4' 'shape': (2,)}", 8, E "the header is not a dict\n"},
	{"{'descr': '<f4', 'descr': '<f4'}", 0, E "the header has 'descr' twice\n"},
	{"{'x': 1}", 0, E "the header has an unknown key 'x'\n"},
	{"{'\x1b[2J': 1}", 0, E "the header has an unknown key '\\x1b[2J'\n"},
	{H("(2,), 'more': 1"), 8, E "the header has an unknown key 'more'\n"},
	{H("(2,)") "x", 8, E "the header goes on after its dict\n"},
	{D("<f8"), 16, E "float64 ('<f8'); moec reads float32 and int32\n"},
	{D("<f2"), 4, E "float16 ('<f2'); moec reads float32 and int32\n"},
	{D(">f4"), 8, E "big-endian float32 ('>f4'); moec reads float32 and int32\n"},
	{D("<i8"), 16, E "int64 ('<i8'); moec reads float32 and int32\n"},
	{D("|b1"), 2, E "bool ('|b1'); moec reads float32 and int32\n"},
	{D("|u1"), 2, E "uint8 ('|u1'); moec reads float32 and int32\n"},
	{D("<c8"), 16, E "complex64 ('<c8'); moec reads float32 and int32\n"},
	{D("|O"), 16, E "Python objects ('|O'); moec reads float32 and int32\n"},
	{D("|V2"), 4, E "bfloat16 or raw bytes ('|V2'); moec reads float32 and int32\n"},
	{D("<U7"), 56, E "the type '<U7'; moec reads float32 and int32\n"},
	{"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8,
	 E "a structured array; moec reads float32 and int32\n"},
	{"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", 24,
	 E "Fortran order; moec reads C order\n"},
	{"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", 24,
	 E "fortran_order is neither True nor False\n"},
	{H("2"), 8, E "the shape is not a tuple\n"},
	{H("[2]"), 8, E "the shape is not a tuple\n"},
	{H("(2)"), 8, E "the shape is not a tuple\n"},
	{H("(2 3)"), 24, E "the shape is not a tuple\n"},
	{H("(2, 3"), 24, E "the shape is not a tuple\n"},
	{H("(,)"), 4, E "the shape holds something that is no whole number\n"},
	{H("(-2,)"), 8, E "the shape holds something that is no whole number\n"},
	{H("(2.0,)"), 8, E "the shape is not a tuple\n"},
	{H("(2L,)"), 8, E "the shape is not a tuple\n"},
	{H("(9223372036854775808,)"), 8, E "a dimension is too large\n"},
	{H("(99999999999999999999999,)"), 8, E "a dimension is too large\n"},
	{H("(1,1,1,1,1,1,1,1,1)"), 4, E "more than 8 dimensions\n"},
	{H("(4294967296, 4294967296)"), 8,
	 E "the shape [4294967296, 4294967296] has more entries than can be counted\n"},
	{H("(4611686018427387904, 2)"), 8,
	 E "the shape [4611686018427387904, 2] has more entries than can be counted\n"},
	{H("(4611686018427387905,)"), 4,        /* times 4 would wrap to 4 */
	 E "the shape [4611686018427387905] has more entries than can be counted\n"},
	{H("(90000000000000000000,)"), 4, E "a dimension is too large\n"},
	{H("(18446744073709551616,)"), 4, E "a dimension is too large\n"},
	{H("(9223372036854775808,)"), 4, E "a dimension is too large\n"},
	{"{'descr': '<f4', 'shape': (12", 48, E "the shape is not a tuple\n"},
	{"{'descr': '<f4', 'fortran_order': Fa", 4,
	 E "fortran_order is neither True nor False\n"},
	{H("(2, 3)"), 20, E "the shape [2, 3] takes 24 bytes, the file holds 20\n"},
	{H("(2, 3)"), 28, E "the shape [2, 3] takes 24 bytes, the file holds 28\n"},
	{H("()"), 0, E "the shape [] takes 4 bytes, the file holds 0\n"},
	{H("(0, 3)"), 4, E "the shape [0, 3] takes 0 bytes, the file holds 4\n"},
};

/* A file of version major.0 with floats 0, 1, 2, .. as its data. */
static size_t make(char *b, int major, const char *header, size_t n, size_t data)
{
	size_t start = major == 1 ? 10 : 12;

	memcpy(b, "\x93NUMPY", 6);
	b[6] = (char)major;
	b[7] = 0;
	for (size_t i = 8; i < start; i++)
		b[i] = (char)(n >> 8 * (i - 8));
	memcpy(b + start, header, n);
	for (size_t i = 0; i < data; i++) {
		float f = (float)(i / 4);
		b[start + n + i] = ((const char *)&f)[i % 4];
	}
	return start + n + data;
}

static void test_headers(void)
{
	char b[400];

	enter_folder();
	for (size_t i = 0; i < COUNT(headers); i++) {
		const Case *c = &headers[i];
		Said *s = said_new();
		Npy y;
		put_file("x.npy", b, make(b, 1, c->header, strlen(c->header), c->data));
		CHECK(!npy_read(s->arena, s->diag, "x.npy", &y));
		CHECK(diag_errors(s->diag) == 1);
		SAME_SAID(said(s), c->message);
		said_free(s);
	}
	CHECK(COUNT(headers) >= 40);
}

static const struct { const char *bytes; size_t n; const char *message;
} raw[] = {
    {"", 0, E "not a .npy file\n"},
    {"\x93NUMPY\1\0\0", 9, E "not a .npy file\n"},
    {"\x94NUMPY\1\0\0\0", 10, E "not a .npy file\n"},
    {"PK\3\4\24\0\0\0\10\0\0\0", 12, E "not a .npy file\n"},
    {"\x93NUMPY\0\0\0\0", 10,
     E "version 0.0 of the format; moec reads 1.0, 2.0 and 3.0\n"},
    {"\x93NUMPY\4\0\0\0", 10,
     E "version 4.0 of the format; moec reads 1.0, 2.0 and 3.0\n"},
    {"\x93NUMPY\1\1\0\0", 10,
     E "version 1.1 of the format; moec reads 1.0, 2.0 and 3.0\n"},
    {"\x93NUMPY\1\0\0\0", 10, E "the header is not a dict\n"},
    {"\x93NUMPY\1\0\1\0", 10, E "cut short in its header\n"},
    {"\x93NUMPY\2\0\0\0", 10, E "cut short in its header\n"},
    {"\x93NUMPY\2\0\xff\xff\xff\xff{}", 14, E "cut short in its header\n"},
};

static void test_raw(void)
{
	enter_folder();
	Said *none = said_new();
	CHECK(!npy_read(none->arena, none->diag, "none.npy", &(Npy){0}));
	SAME_SAID(said(none), "none.npy: error: cannot open: No such file or directory\n");
	said_free(none);
	for (size_t i = 0; i < COUNT(raw); i++) {
		Said *s = said_new();
		Npy y;
		put_file("x.npy", raw[i].bytes, raw[i].n);
		CHECK(!npy_read(s->arena, s->diag, "x.npy", &y));
		SAME_SAID(said(s), raw[i].message);
		said_free(s);
	}
}

static void test_long_header(void)
{
	Said *s = said_new();
	size_t n = 70000;
	char *b = malloc(n + 100), *header = malloc(n);
	Npy y;

	enter_folder();
	memset(header, ' ', n);
	memcpy(header, H("()"), strlen(H("()")));
	put_file("x.npy", b, make(b, 2, header, n, 4));
	CHECK(!npy_read(s->arena, s->diag, "x.npy", &y));
	SAME_SAID(said(s), E "a header of 70000 bytes; the limit is 65535\n");
	free(b);
	free(header);
	said_free(s);
}

static void test_good(void)
{
	static const struct {
		int version;
		const char *header;
		int rank;
		int64_t dims[3];
	} ok[] = {
	    {1, H("(2, 3), "), 2, {2, 3}},
	    {2, H("(2, 3)"), 2, {2, 3}},
	    {3, H("(6,)"), 1, {6}},
	    {1,
	     "{ \"shape\":(1,2,3,),'fortran_order':False,\"descr\":\"<f4\"}",
	     3,
	     {1, 2, 3}},
	    {1, H("(3,\n 2)") "    \n", 2, {3, 2}},
	    {1, "{'descr':'<f4','fortran_order':False,'shape':(2,3)} ", 2, {2, 3}},
	};

	enter_folder();
	for (size_t i = 0; i < COUNT(ok); i++) {
		Said *s = said_new();
		char b[400];
		Npy y;
		put_file("x.npy", b, make(b, ok[i].version, ok[i].header,
					  strlen(ok[i].header), 24));
		CHECK(npy_read(s->arena, s->diag, "x.npy", &y));
		SAME_TEXT(said(s), "");
		CHECK(y.rank == ok[i].rank && !y.is_int);
		CHECK(memcmp(y.dims, ok[i].dims, sizeof y.dims[0] * (size_t)y.rank) == 0);
		for (int k = 0; y.f && k < 6; k++)
			CHECK(y.f[k] == (float)k);
		said_free(s);
	}
}

static void test_integers(void)
{
	static const char h[] =
	    "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }";
	Said *s = said_new();
	int32_t two[2] = {-1, 7};
	char b[200];
	Npy y;

	enter_folder();
	size_t n = make(b, 1, h, strlen(h), 8);
	memcpy(b + n - 8, two, 8);
	put_file("x.npy", b, n);
	CHECK(npy_read(s->arena, s->diag, "x.npy", &y));
	CHECK(y.is_int && y.i[0] == -1 && y.i[1] == 7);
	said_free(s);
}

static void test_write(void)
{
	static const struct { int rank; int64_t dims[3]; } shapes[] = {
		{0, {0}}, {1, {6}}, {2, {2, 3}}, {3, {3, 1, 2}}, {2, {0, 7}},
	};
	static const float data[6] = {0, -1.5f, 1e-40f, 3e38f, 4, 5};

	enter_folder();
	for (size_t i = 0; i < COUNT(shapes); i++) {
		Said *s = said_new();
		size_t n;
		Npy y;
		int64_t elems;
		shape_elems(shapes[i].dims, shapes[i].rank, &elems);
		CHECK(npy_write(s->diag, "y.npy", shapes[i].rank, shapes[i].dims, data));
		CHECK(file_read(s->arena, s->diag, "y.npy", 1000, &n) != NULL);
		CHECK((n - (size_t)elems * 4) % 64 == 0);       /* the data are aligned */
		CHECK(npy_read(s->arena, s->diag, "y.npy", &y));
		CHECK(y.rank == shapes[i].rank);
		CHECK(memcmp(y.dims, shapes[i].dims, 8 * (size_t)y.rank) == 0);
		CHECK(memcmp(y.f, data, 4 * (size_t)elems) == 0);
		SAME_TEXT(said(s), "");
		said_free(s);
	}
}

static void test_cut_and_flipped(void)
{
	Said *s = said_new();
	int64_t dims[2] = {2, 3};
	float data[6] = {0};
	size_t n;
	Npy y;

	enter_folder();
	CHECK(npy_write(s->diag, "y.npy", 2, dims, data));
	char *b = file_read(s->arena, s->diag, "y.npy", 1000, &n);
	MUST(b != NULL);
	for (size_t cut = 0; cut < n; cut++) {
		put_file("x.npy", b, cut);
		CHECK(!npy_read(s->arena, s->diag, "x.npy", &y));
	}
	for (size_t bit = 0; bit < 8 * (n - 24); bit++) {
		b[bit / 8] ^= (char)(1 << bit % 8);
		put_file("x.npy", b, n);
		CHECK(!npy_read(s->arena, s->diag, "x.npy", &y) ||
		      (y.rank <= 2 && y.dims[0] * (y.rank > 1 ? y.dims[1] : 1) == 6));
		b[bit / 8] ^= (char)(1 << bit % 8);
	}
	said_free(s);
}

static void test_cannot_write(void)
{
	Said *s = said_new();
	int64_t dims[1] = {0};

	enter_folder();
	CHECK(!npy_write(s->diag, "nowhere/y.npy", 1, dims, NULL));
	CHECK(strstr(said(s), "nowhere/y.npy: error: ") == said(s));
	said_free(s);
}

static void test_no_memory(void)
{
#ifdef SANITIZED
	SKIP("asking a sanitizer for that much ends the process");
#endif
	Said *s = said_new();

	enter_folder();
	/* with its header it cannot be counted; without, there is no such memory */
	CHECK(!npy_write(s->diag, "z.npy", 1, (int64_t[]){INT64_MAX / 2}, NULL));
	CHECK(!npy_write(s->diag, "z.npy", 1, (int64_t[]){(int64_t)1 << 55}, NULL));
	SAME_SAID(said(s), "z.npy: error: no memory to write 18446744073709551612 bytes\n"
			   "z.npy: error: no memory to write 144115188075855872 bytes\n");
	CHECK(access("z.npy", F_OK) != 0);
	said_free(s);
}

SUITE("npy",
	{"bad headers", test_headers},
	{"bad files", test_raw},
	{"long header", test_long_header},
	{"good files", test_good},
	{"integers", test_integers},
	{"written and read", test_write},
	{"cut at every byte, every header bit flipped", test_cut_and_flipped},
	{"cannot write", test_cannot_write},
	{"more than there is memory", test_no_memory})
