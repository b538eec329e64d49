// libs: io
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_npy: NumPy's files.  What is read has as many entries as its shape says. */
#include "fuzz.h"
#include "../../io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fuzz f = fuzz_begin();
	FuzzFile file = fuzz_file(data, size);
	Npy y;
	int64_t n;

	if (npy_read(f.arena, f.diag, file.path, &y)) {
		HOLDS(shape_elems(y.dims, y.rank, &n), "an uncountable shape\n");
		volatile float sum = 0;
		for (int64_t i = 0; i < n; i++)
			sum += y.f[i];
		HOLDS(diag_errors(f.diag) == 0, "read in spite of an error\n");
	} else {
		HOLDS(diag_errors(f.diag) == 1, "%d errors\n", diag_errors(f.diag));
	}
	close(file.fd);
	fuzz_end(&f);
	return 0;
}
