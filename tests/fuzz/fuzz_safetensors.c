// libs: io
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors: one file.  Every tensor that it is found to hold can be read to its
 * last byte. */
#include "fuzz.h"
#include "../../io/io.h"

static void read_all(Fuzz *f, Checkpoint *c)
{
	int n;
	const char **names = checkpoint_names(c, f->arena, &n);

	for (int i = 0; i < n; i++) {
		bool bad;
		HOLDS(checkpoint_has(c, names[i]), "named, but not there\n");
		const TensorInfo *t = checkpoint_find(c, f->diag, names[i], &bad);
		HOLDS(t && !bad, "not found: %s\n", names[i]);
		const char *bytes = checkpoint_data(c, f->diag, t);
		HOLDS(bytes, "no bytes: %s\n", names[i]);
		volatile char sum = 0;
		for (uint64_t k = 0; k < t->bytes; k++)
			sum ^= bytes[k];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fuzz f = fuzz_begin();
	FuzzFile file = fuzz_file(data, size);
	Checkpoint *c = checkpoint_open(f.arena, f.diag, file.path);

	if (c)
		read_all(&f, c);
	HOLDS(diag_errors(f.diag) == (c ? 0 : 1), "%d errors\n", diag_errors(f.diag));
	checkpoint_close(c);
	close(file.fd);
	fuzz_end(&f);
	return 0;
}
