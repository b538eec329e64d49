/* SPDX-License-Identifier: Apache-2.0
 * sizes: checked arithmetic, sizes of entries, and what errors say. */
#include "internal.h"

#include <stdarg.h>
#include <string.h>

bool moert_mul(int64_t a, int64_t b, int64_t *out)
{
	int64_t r;
	if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

bool moert_add(int64_t a, int64_t b, int64_t *out)
{
	int64_t r;
	if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

bool moert_round_up(int64_t a, int64_t to, int64_t *out)
{
	int64_t r;
	if (!moert_add(a, to - 1, &r))
		return false;
	*out = r & -to;
	return true;
}

int64_t moert_stored_bytes(int64_t dtype)
{
	static const int bits[] = {
#define DTYPE(name, bits, computed, st, meaning) bits,
#include "../ir/dtypes.def"
#undef DTYPE
	};
	return dtype < 0 || dtype >= MT_COUNT ? 0 : bits[dtype] / 8;
}

int64_t moert_entry_bytes(int64_t dtype)
{
	return dtype == MT_bool ? 4 : moert_stored_bytes(dtype);
}

const char *moert_error(int error)
{
	switch (error) {
#define ERROR(name, number, sentence) case number: return sentence;
#include "errors.def"
#undef ERROR
	}
	return "no error of a compiled layer";
}

int moert_fail(moert_why why, int error, const char *fmt, ...)
{
	va_list ap;

	if (why.at && why.size) {
		va_start(ap, fmt);
		vsnprintf(why.at, why.size, fmt, ap);
		va_end(ap);
	}
	return error;
}

/* A structure from outside: short ones are filled up with zeros, longer ones must hold
 * nothing but zeros where we know no field.  Fields take 8 bytes: none is cut in two. */
bool moert_read_struct(void *to, size_t known, size_t least, const void *from)
{
	size_t size;
	enum { LARGEST = 4096 };

	memcpy(&size, from, sizeof size);
	if (size < least || size > LARGEST || size % 8)
		return false;
	for (size_t i = known; i < size; i++)
		if (((const char *)from)[i])
			return false;
	memset(to, 0, known);
	memcpy(to, from, MIN(size, known));
	return true;
}

int moert_options_read(const moert_options *from, moert_options *to)
{
	memset(to, 0, sizeof *to);
	if (from &&
	    !moert_read_struct(to, sizeof *to, offsetof(moert_options, why), from))
		return MOERT_ARGS;
	if (to->flags & ~(uint64_t)(MOERT_MMAP | MOERT_TRUST))
		return MOERT_ARGS;
	if (!to->why_size)
		to->why = NULL;
	if (to->why)
		*to->why = '\0';
	return MOERT_OK;
}

moert_why moert_options_why(const moert_options *o)
{
	return (moert_why){o->why, o->why_size};
}
