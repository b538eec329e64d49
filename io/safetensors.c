/* SPDX-License-Identifier: Apache-2.0
 * safetensors: the header of one file, checked whole before anything uses it.
 *
 *     u64 n | n bytes of JSON: {"name": {"dtype", "shape", "data_offsets"}, ..} | data
 *
 * Every tensor's bytes are its shape's, and the tensors together are the data: no
 * overlap, no hole, nothing behind the last one.  So an offset that passed here is inside
 * the file. */
#include "io.h"
#include "../ir/eval.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_HEADER = 100000000 };

static double whole(unsigned byte)
{
	return byte;
}

/* Every type of the format, as of safetensors 0.8.  moec reads those that dtypes.def
 * names as they are, and those that have a value here byte by byte, as `dtype`. */
static const struct {
	const char *name;
	unsigned    bits;
	ByteValue  *value;
	Dtype       dtype;
} types[] = {
	{"BOOL",        8,  NULL,       DT_COUNT},
	{"F4",          4,  NULL,       DT_COUNT},
	{"F6_E2M3",     6,  NULL,       DT_COUNT},
	{"F6_E3M2",     6,  NULL,       DT_COUNT},
	{"U8",          8,  whole,      DT_i32},
	{"I8",          8,  NULL,       DT_COUNT},
	{"F8_E5M2",     8,  e5m2_value, DT_f32},
	{"F8_E4M3",     8,  e4m3_value, DT_f32},
	{"F8_E8M0",     8,  e8m0_value, DT_f32},
	{"F8_E4M3FNUZ", 8,  NULL,       DT_COUNT},
	{"F8_E5M2FNUZ", 8,  NULL,       DT_COUNT},
	{"I16",         16, NULL,       DT_COUNT},
	{"U16",         16, NULL,       DT_COUNT},
	{"F16",         16, NULL,       DT_COUNT},
	{"BF16",        16, NULL,       DT_COUNT},
	{"I32",         32, NULL,       DT_COUNT},
	{"U32",         32, NULL,       DT_COUNT},
	{"F32",         32, NULL,       DT_COUNT},
	{"C64",         64, NULL,       DT_COUNT},
	{"F64",         64, NULL,       DT_COUNT},
	{"I64",         64, NULL,       DT_COUNT},
	{"U64",         64, NULL,       DT_COUNT},
};

typedef struct {
	Arena      *arena;
	Diag       *diag;
	const char *file;
	uint64_t    data;               /* bytes behind the header */
} Reader;

static PRINTF(2, 3) bool wrong(Reader *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	diag_error(r->diag, E_safetensors, (Loc){.file = r->file}, "%s",
		   arena_vprintf(r->arena, fmt, args));
	va_end(args);
	return false;
}

static PRINTF(3, 4) bool bad(Reader *r, const char *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	wrong(r, "tensor `%.120s`: %s", name, arena_vprintf(r->arena, fmt, args));
	va_end(args);
	return false;
}

static bool read_type(Reader *r, const char *name, const json_t *j, TensorInfo *t,
		      unsigned *bits)
{
	const char *s = json_string_value(j);

	if (!s)
		return bad(r, name, "its dtype is not a string");
	for (size_t i = 0; i < COUNT(types); i++) {
		if (strcmp(types[i].name, s) != 0)
			continue;
		t->type = types[i].name;
		*bits = types[i].bits;
		t->value = types[i].value;
		t->dtype = types[i].dtype;
		for (int k = 0; k < DT_COUNT; k++)
			if (strcmp(dtype_info[k].safetensors, s) == 0)
				t->dtype = (Dtype)k;
		return true;
	}
	return bad(r, name, "`%.40s` is no dtype of the format", s);
}

static bool read_shape(Reader *r, const char *name, const json_t *j, TensorInfo *t)
{
	if (!json_is_array(j))
		return bad(r, name, "its shape is not a list");
	if (json_array_size(j) > COUNT(t->dims))
		return bad(r, name, "%zu dimensions, at most %zu are supported",
			   json_array_size(j), COUNT(t->dims));
	t->rank = (int)json_array_size(j);
	for (int i = 0; i < t->rank; i++) {
		const json_t *n = json_array_get(j, (size_t)i);
		if (!json_is_integer(n) || json_integer_value(n) < 0)
			return bad(r, name,
				   "dimension %d is not a whole number from 0 on", i);
		t->dims[i] = json_integer_value(n);
	}
	return true;
}

static bool read_offsets(Reader *r, const char *name, const json_t *j, TensorInfo *t)
{
	const json_t *from = json_array_get(j, 0), *to = json_array_get(j, 1);

	if (json_array_size(j) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
	    json_integer_value(from) < 0)
		return bad(r, name,
			   "its data_offsets are not two whole numbers from 0 on");
	if (json_integer_value(to) < json_integer_value(from))
		return bad(r, name, "its data_offsets end before they begin");
	t->offset = (uint64_t)json_integer_value(from);
	t->bytes = (uint64_t)json_integer_value(to) - t->offset;
	if (t->offset + t->bytes > r->data)
		return bad(r, name, "ends at byte %ju of the data, which has %ju",
			   (uintmax_t)(t->offset + t->bytes), (uintmax_t)r->data);
	return true;
}

/* The bits that a shape takes; false: more than can be counted.  An empty tensor's other
 * dimensions must be countable too: whoever multiplies them need not look for the 0. */
static bool shape_bits(const TensorInfo *t, unsigned bits, size_t *total)
{
	bool empty = false;

	*total = bits;
	for (int i = 0; i < t->rank; i++) {
		empty |= t->dims[i] == 0;
		if (!size_mul(*total, (size_t)MAX(t->dims[i], 1), total))
			return false;
	}
	if (empty)
		*total = 0;
	return true;
}

static bool read_tensor(Reader *r, const char *name, const json_t *j, TensorInfo *t)
{
	static const char *const keys[] = {"dtype", "shape", "data_offsets"};
	unsigned bits = 0;
	size_t total;

	if (!json_is_object(j))
		return bad(r, name, "its description is not an object");
	for (size_t i = 0; i < COUNT(keys); i++)
		if (!json_object_get(j, keys[i]))
			return bad(r, name, "has no %s", keys[i]);
	if (json_object_size(j) != COUNT(keys))
		return bad(r, name, "has more than dtype, shape and data_offsets");
	t->name = arena_strdup(r->arena, name);
	t->file = r->file;
	if (!read_type(r, name, json_object_get(j, "dtype"), t, &bits) ||
	    !read_shape(r, name, json_object_get(j, "shape"), t) ||
	    !read_offsets(r, name, json_object_get(j, "data_offsets"), t))
		return false;
	if (!shape_bits(t, bits, &total))
		return bad(r, name, "its shape has more entries than can be counted");
	if (total % 8)
		return bad(r, name, "%zu bits of %s do not fill whole bytes", total,
			   t->type);
	if (total / 8 != t->bytes)
		return bad(r, name,
			   "its shape takes %zu bytes of %s, its data_offsets %ju",
			   total / 8, t->type, (uintmax_t)t->bytes);
	return true;
}

static bool read_metadata(Reader *r, const json_t *j)
{
	const char *key;
	json_t *value;

	if (!json_is_object(j))
		return wrong(r, "`__metadata__` is not an object");
	json_object_foreach((json_t *)j, key, value)
		if (!json_is_string(value))
			return wrong(r, "`__metadata__`: `%.120s` is not a string", key);
	return true;
}

static int by_offset(const void *a, const void *b)
{
	const TensorInfo *s = a, *t = b;

	if (s->offset != t->offset)
		return s->offset < t->offset ? -1 : 1;
	if (s->bytes != t->bytes)
		return s->bytes < t->bytes ? -1 : 1;
	return strcmp(s->name, t->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const TensorInfo *)a)->name, ((const TensorInfo *)b)->name);
}

/* Sorted by place, each begins where the one before it ended. */
static bool check_cover(Reader *r, const TensorList *list)
{
	uint64_t end = 0;

	for (int i = 0; i < list->n; i++) {
		const TensorInfo *t = &list->at[i];
		if (t->offset < end)
			return wrong(r, "tensors `%.120s` and `%.120s` overlap",
				     list->at[i - 1].name, t->name);
		if (t->offset > end)
			return wrong(r,
				     "bytes %ju to %ju of the data belong to no tensor "
				     "(before `%.120s`)",
				     (uintmax_t)end, (uintmax_t)t->offset, t->name);
		end = t->offset + t->bytes;
	}
	if (end != r->data)
		return wrong(r, "the tensors end at byte %ju of the data, which has %ju",
			     (uintmax_t)end, (uintmax_t)r->data);
	return true;
}

static bool read_tensors(Reader *r, const json_t *header, TensorList *list)
{
	const char *name;
	json_t *j;

	list->n = 0;
	list->at = NEWN(r->arena, TensorInfo, json_object_size(header));
	json_object_foreach((json_t *)header, name, j) {
		if (strcmp(name, "__metadata__") == 0) {
			if (!read_metadata(r, j))
				return false;
		} else if (!read_tensor(r, name, j, &list->at[list->n++])) {
			return false;
		}
	}
	qsort(list->at, (size_t)list->n, sizeof *list->at, by_offset);
	if (!check_cover(r, list))
		return false;
	qsort(list->at, (size_t)list->n, sizeof *list->at, by_name);
	return true;
}

bool safetensors_header(Arena *a, Diag *d, const char *file, const char *text, size_t n,
			uint64_t data, TensorList *list)
{
	Reader r = {a, d, file, data};

	if (n == 0 || text[0] != '{')
		return wrong(&r, "the header does not begin with {");
	json_t *header = json_text(a, d, file, "the header: ", text, n);
	if (!header)
		return false;
	bool ok = read_tensors(&r, header, list);
	json_decref(header);
	return ok;
}

/* What people take for a safetensors file: its length is beyond the file. */
static const char *other_format(const unsigned char *b, uint64_t n)
{
	if (memcmp(b, "PK\3\4", 4) == 0 || (b[0] == 0x80 && b[1] < 6 && n > MAX_HEADER))
		return "a PyTorch pickle";
	if (memcmp(b, "GGUF", 4) == 0)
		return "GGUF";
	if (memcmp(b, "\x93NUMPY", 6) == 0)
		return "a NumPy array";
	if (memcmp(b, "\x89HDF", 4) == 0)
		return "HDF5";
	if (memcmp(b, "version ", 8) == 0)
		return "a Git LFS pointer: `git lfs pull` fetches the file";
	return NULL;
}

static bool read_exactly(int fd, void *to, size_t n, off_t at)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(fd, (char *)to + done, n - done, at + (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = ENODATA;        /* it shrank since it was opened */
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

bool safetensors_read(Arena *a, Diag *d, const char *file, int fd, uint64_t size,
		      TensorList *list)
{
	Reader r = {a, d, file, 0};
	unsigned char b[8];
	uint64_t n = 0;

	if (size < 8)
		return wrong(&r, "%ju bytes are too few for a safetensors file",
			     (uintmax_t)size);
	if (!read_exactly(fd, b, 8, 0))
		return wrong(&r, "cannot read: %s", strerror(errno));
	for (int i = 8; i-- > 0;)
		n = n << 8 | b[i];
	if (n > size - 8 && other_format(b, n))
		return wrong(&r, "not a safetensors file but %s", other_format(b, n));
	if (n > MAX_HEADER)
		return wrong(&r,
			     "not a safetensors file: a header of %ju bytes, the limit "
			     "is 100000000",
			     (uintmax_t)n);
	if (n > size - 8)
		return wrong(
		    &r, "cut short: the header has %ju bytes, the file only %ju more",
		    (uintmax_t)n, (uintmax_t)size - 8);
	char *text = malloc((size_t)n + 1);
	if (!text)
		return wrong(&r, "no memory for a header of %ju bytes", (uintmax_t)n);
	bool ok = read_exactly(fd, text, (size_t)n, 8);
	if (!ok)
		wrong(&r, "cannot read: %s", strerror(errno));
	ok = ok && safetensors_header(a, d, file, text, (size_t)n, size - 8 - n, list);
	free(text);
	for (int i = 0; ok && i < list->n; i++)
		list->at[i].offset += 8 + n;
	return ok;
}
