/* SPDX-License-Identifier: Apache-2.0
 * expand: quantised weights multiplied out while they are read, with the interpreter's
 * bits (each product in double, rounded once) but not its pace. */
#include "weights.h"

enum { AT_ONCE = 512 };                 /* entries */

/* Both are matrices; each scale stands for a block of a x b. */
void expand_scaled(const View *w, const View *scales, int64_t a, int64_t b, Dtype to,
		   void *out)
{
	int64_t rows = w->dim[0], cols = w->dim[1], n;
	double x[AT_ONCE], scale;

	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < cols; j += n) {
			n = MIN(MIN(AT_ONCE, b - j % b), cols - j);
			view_doubles(w, i * cols + j, n, x);
			view_doubles(scales, i / a * scales->dim[1] + j / b, 1, &scale);
			for (int64_t k = 0; k < n; k++)
				x[k] *= scale;
			store_doubles(to, x, n,
				      (char *)out + (size_t)(i * cols + j) * entry_size(to));
		}
}

/* Blocks of 16 bytes, an exponent each: 32 numbers. */
void expand_mxfp4(const View *blocks, const View *scales, Dtype to, void *out)
{
	const unsigned char *byte = (const unsigned char *)blocks->data;
	const unsigned char *exponent = (const unsigned char *)scales->data;
	int64_t n = view_entries(scales);
	double x[32], scale, value[16];

	for (unsigned code = 0; code < 16; code++)
		value[code] = fp4_value(code);
	for (int64_t i = 0; i < n; i++, byte += 16) {
		scale = e8m0_value(exponent[i]);
		for (int k = 0; k < 16; k++) {
			x[2 * k] = scale * value[byte[k] & 15];
			x[2 * k + 1] = scale * value[byte[k] >> 4];
		}
		store_doubles(to, x, 32, (char *)out + (size_t)i * 32 * entry_size(to));
	}
}
