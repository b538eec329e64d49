/* SPDX-License-Identifier: Apache-2.0
 * view: strides over the bytes of a tensor, so that picking and turning cost nothing
 * until the one copy at the end. */
#include "weights.h"
#include <string.h>

enum { TILE = 32 };                     /* rows and columns copied at once */

size_t entry_size(Dtype d)
{
	return (size_t)dtype_info[d].bits / 8;
}

size_t view_size(const View *v)
{
	return v->value ? 1 : entry_size(v->dtype);
}

void view_row_major(View *v)
{
	int64_t n = 1;

	for (int i = v->rank; i-- > 0; n *= v->dim[i])
		v->stride[i] = n;
}

bool view_contiguous(const View *v)
{
	int64_t n = 1;

	for (int i = v->rank; i-- > 0; n *= v->dim[i])
		if (v->dim[i] != 1 && v->stride[i] != n)
			return false;
	return true;
}

int64_t view_entries(const View *v)
{
	int64_t n = 1;

	for (int i = 0; i < v->rank; i++)
		n *= v->dim[i];
	return n;
}

/* An [n, m] matrix, tile by tile: where it lies transposed, each cache line that is
 * fetched serves a whole tile. */
static void copy_matrix(const char *from, const int64_t dim[2], const int64_t stride[2],
			size_t size, char *to)
{
	for (int64_t i0 = 0; i0 < dim[0]; i0 += TILE)
		for (int64_t j0 = 0; j0 < dim[1]; j0 += TILE)
			for (int64_t i = i0; i < MIN(i0 + TILE, dim[0]); i++)
				for (int64_t j = j0; j < MIN(j0 + TILE, dim[1]); j++)
					memcpy(to + (size_t)(i * dim[1] + j) * size,
					       from + (size_t)(i * stride[0] +
							       j * stride[1]) * size,
					       size);
}

static void copy_rows(const char *from, const int64_t dim[2], const int64_t stride[2],
		      size_t size, char *to)
{
	for (int64_t i = 0; i < dim[0]; i++)
		memcpy(to + (size_t)(i * dim[1]) * size,
		       from + (size_t)(i * stride[0]) * size, (size_t)dim[1] * size);
}

/* Row-major entries of the view into `to`, which has its type. */
void view_copy(const View *v, void *to)
{
	size_t size = view_size(v);
	int64_t at[8] = {0}, matrices = 1;
	int outer = MAX(v->rank - 2, 0);
	int64_t dim[2] = {v->rank > 1 ? v->dim[outer] : 1,
			  v->rank ? v->dim[v->rank - 1] : 1};
	int64_t stride[2] = {v->rank > 1 ? v->stride[outer] : 0,
			     v->rank ? v->stride[v->rank - 1] : 1};

	for (int i = 0; i < outer; i++)
		matrices *= v->dim[i];
	for (int64_t k = 0; k < matrices; k++) {
		int64_t from = 0;
		for (int i = 0; i < outer; i++)
			from += at[i] * v->stride[i];
		(stride[1] == 1 ? copy_rows : copy_matrix)(
			v->data + (size_t)from * size, dim, stride, size,
			(char *)to + (size_t)(k * dim[0] * dim[1]) * size);
		for (int i = outer - 1; i >= 0 && ++at[i] == v->dim[i]; i--)
			at[i] = 0;
	}
}

void view_doubles(const View *v, int64_t from, int64_t n, double *to)
{
	const char *data = v->data + (size_t)from * view_size(v);

	if (v->value)
		for (int64_t i = 0; i < n; i++)
			to[i] = v->value[(unsigned char)data[i]];
	else
		load_doubles(v->dtype, data, n, to);
}

bool view_slice(const Op *op, View *v)
{
	const Attr *start = attr_find(op, "start"), *size = attr_find(op, "size");
	const Attr *step = attr_find(op, "step");

	for (int i = 0; i < start->n; i++) {
		int64_t end = start->is[i] + (size->is[i] - 1) * step->is[i];
		if (i >= v->rank || size->is[i] < 1 || start->is[i] < 0 ||
		    end >= v->dim[i])
			return false;
		v->data += start->is[i] * v->stride[i] * (int64_t)view_size(v);
		v->stride[i] *= step->is[i];
		v->dim[i] = size->is[i];
	}
	return true;
}

bool view_transpose(View *v)
{
	if (v->rank < 2)
		return false;
	int64_t *d = v->dim + v->rank - 2, *s = v->stride + v->rank - 2;
	int64_t dim = d[0], stride = s[0];
	d[0] = d[1], s[0] = s[1];
	d[1] = dim, s[1] = stride;
	return true;
}

/* [1, n, k] to [n, k] and back: the usual reshape, and free. */
bool view_drop_ones(const Type *t, View *v)
{
	View to = *v;
	int from = 0;

	to.rank = t->rank;
	for (int i = 0; i < t->rank; i++) {
		to.dim[i] = t->dim[i];
		to.stride[i] = 1;
		if (t->dim[i] == 1)
			continue;
		while (from < v->rank && v->dim[from] == 1)
			from++;
		if (from == v->rank || v->dim[from] != t->dim[i])
			return false;
		to.stride[i] = v->stride[from++];
	}
	while (from < v->rank && v->dim[from] == 1)
		from++;
	if (from < v->rank)
		return false;
	*v = to;
	return true;
}
