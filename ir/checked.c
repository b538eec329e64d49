/* SPDX-License-Identifier: Apache-2.0
 * checked: size arithmetic on numbers from outside; false on overflow. */
#include "base.h"

bool size_add(size_t a, size_t b, size_t *out)
{
	size_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

bool size_mul(size_t a, size_t b, size_t *out)
{
	size_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

bool size_round_up(size_t a, size_t to, size_t *out)
{
	size_t sum;

	if (to == 0 || (to & (to - 1)) || !size_add(a, to - 1, &sum))
		return false;
	*out = sum & ~(to - 1);
	return true;
}

bool shape_elems(const int64_t *dims, int rank, int64_t *out)
{
	int64_t n = 1;

	for (int i = 0; i < rank; i++)
		if (dims[i] < 0 || __builtin_mul_overflow(n, dims[i], &n))
			return false;
	*out = n;
	return true;
}
