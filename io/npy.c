/* SPDX-License-Identifier: Apache-2.0
 * npy: NumPy's array files, of the one kind that moec computes with.
 *
 *     "\x93NUMPY" major minor | u16 (1.0) or u32 (2.0, 3.0) n | n bytes of header | data
 *
 * The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 64)}
 */
#include "io.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 65535, MAX_FILE_GIB = 64 };

/* What people have instead of float32. */
static const struct { const char *descr, *name; } others[] = {
	{"<f8", "float64"},        {"<f2", "float16"},       {"<f16", "longdouble"},
	{">f4", "big-endian float32"}, {">f8", "big-endian float64"},
	{">i4", "big-endian int32"},   {"<i8", "int64"},     {">i8", "big-endian int64"},
	{"<i2", "int16"},          {"|i1", "int8"},          {"|u1", "uint8"},
	{"<u2", "uint16"},         {"<u4", "uint32"},        {"<u8", "uint64"},
	{"|b1", "bool"},           {"<c8", "complex64"},     {"<c16", "complex128"},
	{"|O", "Python objects"},  {"|V2", "bfloat16 or raw bytes"},
};

/* One walk over the header's text. */
typedef struct {
	Arena      *arena;
	Diag       *diag;
	const char *file;
	const char *at, *end;
	bool        fortran;
	bool        seen[3];            /* descr, fortran_order, shape */
	Npy        *npy;
} Header;

static PRINTF(2, 3) bool wrong(Header *h, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	diag_error(h->diag, E_npy, (Loc){.file = h->file}, "%s",
		   arena_vprintf(h->arena, fmt, args));
	va_end(args);
	return false;
}

static void skip_blanks(Header *h)
{
	while (h->at < h->end && (*h->at == ' ' || *h->at == '\n' || *h->at == '\t'))
		h->at++;
}

/* Takes one character if it comes next. */
static bool take(Header *h, char c)
{
	skip_blanks(h);
	if (h->at == h->end || *h->at != c)
		return false;
	h->at++;
	return true;
}

static bool take_word(Header *h, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(h);
	if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n) != 0)
		return false;
	h->at += n;
	return true;
}

/* 'text' or "text", without escapes; NULL: no string comes next. */
static const char *take_string(Header *h)
{
	skip_blanks(h);
	if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
		return NULL;
	const char *from = h->at + 1;
	const char *to = memchr(from, *h->at, (size_t)(h->end - from));
	if (!to)
		return NULL;
	h->at = to + 1;
	return arena_strndup(h->arena, from, (size_t)(to - from));
}

static bool read_descr(Header *h)
{
	const char *s = take_string(h);

	if (!s)
		return wrong(h, "a structured array; moec reads float32 and int32");
	h->npy->is_int = strcmp(s, "<i4") == 0;
	if (h->npy->is_int || strcmp(s, "<f4") == 0)
		return true;
	for (size_t i = 0; i < COUNT(others); i++)
		if (strcmp(others[i].descr, s) == 0)
			return wrong(h, "%s ('%s'); moec reads float32 and int32", others[i].name,
				     s);
	return wrong(h, "the type '%.40s'; moec reads float32 and int32", s);
}

static bool read_order(Header *h)
{
	h->fortran = take_word(h, "True");
	if (h->fortran)
		return wrong(h, "Fortran order; moec reads C order");
	return take_word(h, "False") ||
	       wrong(h, "fortran_order is neither True nor False");
}

static bool read_dim(Header *h, int64_t *dim)
{
	size_t n = 0;

	skip_blanks(h);
	if (h->at == h->end || *h->at < '0' || *h->at > '9')
		return wrong(h, "the shape holds something that is no whole number");
	for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++)
		if (!size_mul(n, 10, &n) || !size_add(n, (size_t)(*h->at - '0'), &n) ||
		    n > INT64_MAX)
			return wrong(h, "a dimension is too large");
	*dim = (int64_t)n;
	return true;
}

static bool read_shape(Header *h)
{
	Npy *y = h->npy;
	bool comma = true;

	if (!take(h, '('))
		return wrong(h, "the shape is not a tuple");
	for (y->rank = 0; !take(h, ')'); y->rank++) {
		if (y->rank == (int)COUNT(y->dims))
			return wrong(h, "more than %zu dimensions", COUNT(y->dims));
		if (!comma)
			return wrong(h, "the shape is not a tuple");
		if (!read_dim(h, &y->dims[y->rank]))
			return false;
		comma = take(h, ',');
	}
	return y->rank != 1 || comma || wrong(h, "the shape is not a tuple");
}

static bool read_header(Header *h)
{
	static const char *const keys[] = {"descr", "fortran_order", "shape"};
	static bool (*const read[])(Header *) = {read_descr, read_order, read_shape};
	bool comma = true;

	if (!take(h, '{'))
		return wrong(h, "the header is not a dict");
	while (!take(h, '}')) {
		const char *key = comma ? take_string(h) : NULL;
		size_t k = 0;

		if (!key || !take(h, ':'))
			return wrong(h, "the header is not a dict");
		while (k < COUNT(keys) && strcmp(keys[k], key) != 0)
			k++;
		if (k == COUNT(keys))
			return wrong(h, "the header has an unknown key '%.40s'", key);
		if (h->seen[k])
			return wrong(h, "the header has '%s' twice", key);
		h->seen[k] = true;
		if (!read[k](h))
			return false;
		comma = take(h, ',');
	}
	for (size_t k = 0; k < COUNT(keys); k++)
		if (!h->seen[k])
			return wrong(h, "the header has no '%s'", keys[k]);
	skip_blanks(h);
	return h->at == h->end || wrong(h, "the header goes on after its dict");
}

/* Finds the header in the file's bytes; where the data begin through *data. */
static bool find_header(Header *h, const unsigned char *b, size_t n, size_t *data)
{
	if (n < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
		return wrong(h, "not a .npy file");
	if (b[6] < 1 || b[6] > 3 || b[7] != 0)
		return wrong(h,
			     "version %d.%d of the format; moec reads 1.0, 2.0 and 3.0",
			     b[6], b[7]);
	size_t start = b[6] == 1 ? 10 : 12;
	if (n < start)
		return wrong(h, "cut short in its header");
	uint32_t size = b[8] | (uint32_t)b[9] << 8;
	if (b[6] > 1)
		size |= (uint32_t)b[10] << 16 | (uint32_t)b[11] << 24;
	if (size > n - start)
		return wrong(h, "cut short in its header");
	if (size > MAX_HEADER)
		return wrong(h, "a header of %u bytes; the limit is %d", size,
			     MAX_HEADER);
	h->at = (const char *)b + start;
	h->end = h->at + size;
	*data = start + size;
	return true;
}

static const char *shape_text(Arena *a, int rank, const int64_t *dims)
{
	Text t = text_new(a);

	text_add(&t, "[");
	for (int i = 0; i < rank; i++)
		text_printf(&t, "%s%jd", i ? ", " : "", (intmax_t)dims[i]);
	text_add(&t, "]");
	return t.s;
}

bool npy_read(Arena *a, Diag *d, const char *path, Npy *y)
{
	size_t n, data = 0, bytes;
	int64_t elems;
	char *b = file_read(a, d, path, (size_t)MAX_FILE_GIB << 30, &n);
	Header h = {.arena = a, .diag = d, .file = path, .npy = y};

	*y = (Npy){0};
	if (!b || !find_header(&h, (unsigned char *)b, n, &data) || !read_header(&h))
		return false;
	const char *shape = shape_text(a, y->rank, y->dims);
	if (!shape_elems(y->dims, y->rank, &elems) || !size_mul((size_t)elems, 4, &bytes))
		return wrong(&h, "the shape %s has more entries than can be counted",
			     shape);
	if (bytes != n - data)
		return wrong(&h, "the shape %s takes %zu bytes, the file holds %zu",
			     shape, bytes, n - data);
	memmove(b, b + data, bytes);    /* to the front, which is aligned */
	y->f = (float *)(void *)b;
	return true;
}

bool npy_write(Diag *d, const char *path, int rank, const int64_t *dims,
	       const float *data)
{
	int64_t elems;
	size_t bytes, total;

	if (!shape_elems(dims, rank, &elems) || !size_mul((size_t)elems, 4, &bytes))
		ice("an array of uncountable size for %s", path);
	Arena *a = arena_new();
	Text t = text_new(a);
	text_add(&t, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
	for (int i = 0; i < rank; i++)
		text_printf(&t, "%jd%s", (intmax_t)dims[i], rank == 1 ? "," :
			    i + 1 < rank ? ", " : "");
	text_add(&t, "), }");
	size_t pad = 63 - (10 + t.n) % 64;      /* and the newline: a multiple of 64 */
	text_printf(&t, "%*s\n", (int)pad, "");

	bool ok = size_add(10 + t.n, bytes, &total);
	unsigned char *b = ok ? malloc(total) : NULL;
	if (b) {
		memcpy(b, "\x93NUMPY\1", 8);
		b[8] = t.n & 255;
		b[9] = t.n >> 8 & 255;
		memcpy(b + 10, t.s, t.n);
		if (bytes)
			memcpy(b + 10 + t.n, data, bytes);
		ok = file_write(d, path, b, total);
	} else {
		ok = false;
		diag_error(d, E_no_memory, (Loc){.file = path},
			   "no memory to write %zu bytes", bytes);
	}
	free(b);
	arena_free(a);
	return ok;
}
