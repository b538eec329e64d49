// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_moew: packed weights.  Checksums are mended in most inputs, so that what lies behind
 * them is reached; whatever is opened can be read to its last byte. */
#include "fuzz.h"
#include "../../ir/ir.h"
#include "../../runtime/moew.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

enum { E = 3, N = 5, K = 6 };

static const char *const router_names[] = {"router"}, *const gate_up[] = {"gate", "up"};
static const moert_weight weights[] = {
	{"router", -1, DT_f32, 4, 1, N, K, 1, router_names, 8 * K * 4},
	{"gate+up", 0, DT_bf16, 4, 2, N, K, 2, gate_up, 8 * K * 2 * 2},
};
static const moert_range ranges[] = {{0, E}};
static const moert_layer layer = {
	.name = "first", .target = "any", .needs = "", .fingerprint = 11, .nweights = 2,
	.nranges = 1, .weights = weights, .ranges = ranges,
};

static const void *natural(void *ctx, const moert_layer *l, const char *name, int64_t range,
			   int64_t expert)
{
	static const unsigned char bytes[N * K * 4] = {1, 2, 3};

	return bytes;
}

static void mend(uint8_t *data, size_t size)
{
	moew_header h;

	if (size < sizeof h)
		return;
	memcpy(&h, data, sizeof h);
	h.file_bytes = size;
	if (h.table_at <= size && h.table_bytes <= size - h.table_at)
		h.table_checksum =
		    moert_checksum(data + h.table_at, (int64_t)h.table_bytes);
	h.checksum = moert_checksum(&h, offsetof(moew_header, checksum));
	memcpy(data, &h, sizeof h);
}

/* The file that there should be; too short ones become it. */
static size_t good_file(uint8_t *data, size_t most)
{
	static const moert_layer *const layers[] = {&layer};
	char path[40];

	snprintf(path, sizeof path, "/tmp/moec-fuzz-%ld.moew", (long)getpid());
	HOLDS(moert_pack(layers, 1, natural, NULL, path, NULL) == 0, "no file\n");
	FILE *f = fopen(path, "rb");
	HOLDS(f, "no file\n");
	size_t n = fread(data, 1, most, f);
	fclose(f);
	unlink(path);
	return n;
}

/* Most of a file is weights, which may be anything: header and table are what to change. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
	moew_header h;

	if (size < sizeof h)
		return good_file(data, most);
	memcpy(&h, data, sizeof h);
	if (seed % 4 == 0)
		LLVMFuzzerMutate(data, sizeof h, sizeof h);
	else if (seed % 4 < 3 && h.table_at < size)
		size = h.table_at + LLVMFuzzerMutate(data + h.table_at, size - h.table_at,
						     most - h.table_at);
	else
		size = LLVMFuzzerMutate(data, size, most);
	if (seed / 4 % 8)
		mend(data, size);
	return size;
}

static void open_with(const char *path, uint64_t flags)
{
	char why[64] = "";
	moert_options o = {.size = sizeof o, .flags = flags, .why = why,
			   .why_size = sizeof why};
	moert_model *m;
	int error = moert_open(&layer, path, &o, &m);

	HOLDS((error == 0) == (m != NULL), "error %d\n", error);
	HOLDS(!error || (*why && strlen(why) < sizeof why), "error %d without a word\n", error);
	volatile char sum = 0;
	for (int64_t i = 0; m && i < moert_bytes(m); i += flags & MOERT_MMAP ? 64 : 1)
		sum ^= m->image[i];
	moert_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzFile file = fuzz_file(data, size);

	open_with(file.path, 0);
	open_with(file.path, MOERT_TRUST);
	open_with(file.path, MOERT_MMAP);
	close(file.fd);
	return 0;
}
