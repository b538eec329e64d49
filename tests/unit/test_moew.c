// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_moew: packed files there and back, and hostile ones: cut short anywhere, bits
 * flipped, fields forged under a right checksum. */
#include "../../ir/ir.h"
#include "unit.h"
#include "../../runtime/moew.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { E = 3, N = 5, KK = 6 };

static const char *const router_names[] = {"router"}, *const gate_up[] = {"gate", "up"},
			 *const bias_names[] = {"bias"};
static const moert_weight weights[] = {
	{"router", -1, DT_f32, 4, 1, N, KK, 1, router_names, 8 * KK * 4},
	{"gate+up", 0, DT_bf16, 4, 2, N, KK, 2, gate_up, 8 * KK * 2 * 2},
	{"bias", 0, DT_f32, 0, 0, 7, 1, 1, bias_names, 28},
};
static const moert_range ranges[] = {{0, E}};
static const moert_layer first = {
	.name = "first", .target = "any", .needs = "", .fingerprint = 11, .nweights = 3,
	.nranges = 1, .weights = weights, .ranges = ranges,
}, second = {
	.name = "second", .target = "any", .needs = "", .fingerprint = 12, .nweights = 2,
	.nranges = 1, .weights = weights + 1, .ranges = ranges,
}, bare = {.name = "bare", .target = "any", .needs = ""};

static const void *natural(void *ctx, const moert_layer *l, const char *name,
			   int64_t range, int64_t expert)
{
	static unsigned char bytes[N * KK * 4];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] =
		    (unsigned char)(l->name[0] + name[0] * 3 + expert * 7 + (int)i * 5);
	return bytes;
}

/* A folder of its own, the good file in it, and its bytes. */
static char folder[] = "/tmp/moew-XXXXXX", path[64];
static unsigned char *good;
static size_t size;

/* Not truncated before it is written: some file systems flush such files at close. */
static void put_file(const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	MUST(fd >= 0);
	MUST(pwrite(fd, data, n, 0) == (ssize_t)n && ftruncate(fd, (off_t)n) == 0);
	close(fd);
}

static void make_file(void)
{
	static const moert_layer *const layers[] = {&first, &second, &bare};
	char why[200] = "";
	moert_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
	struct stat st;

	if (good) {
		put_file(good, size);
		return;
	}
	MUST(mkdtemp(folder) != NULL);
	snprintf(path, sizeof path, "%s/w.moew", folder);
	MUST(moert_pack(layers, 3, natural, NULL, path, &o) == 0);
	SAME_TEXT(why, "");
	MUST(stat(path, &st) == 0);
	size = (size_t)st.st_size;
	good = malloc(size);
	FILE *f = fopen(path, "rb");
	MUST(f && fread(good, 1, size, f) == size);
	fclose(f);
}

static int open_with(const moert_layer *l, uint64_t flags, char why[200])
{
	moert_options o = {.size = sizeof o, .flags = flags, .why = why, .why_size = 200};
	moert_model *m;
	int error = moert_open(l, path, &o, &m);
	CHECK((error == 0) == (m != NULL));
	CHECK(error == 0 || *why);
	moert_close(m);
	return error;
}

static bool same_weights(const moert_layer *l, uint64_t flags)
{
	moert_options o = {.size = sizeof o, .flags = flags};
	moert_model *a, *b;
	bool same;

	MUST(moert_open(l, path, &o, &a) == 0);
	MUST(moert_open_memory(l, natural, NULL, NULL, &b) == 0);
	same = moert_bytes(a) == moert_bytes(b) &&
	       memcmp(a->image, b->image, (size_t)moert_bytes(a)) == 0;
	for (int64_t e = 0; e < E && l->nranges; e++)
		same =
		    same && (uintptr_t)a->range[0][e].weight[l->nweights - 2] % 4096 == 0;
	moert_close(a);
	moert_close(b);
	return same;
}

static void test_round_trip(void)
{
	make_file();
	for (uint64_t flags = 0; flags < 4; flags++) {
		CHECK(same_weights(&first, flags));
		CHECK(same_weights(&second, flags));
		CHECK(same_weights(&bare, flags));
	}
}

static void test_wrong_layer(void)
{
	char why[200], want[200];
	moert_layer l = first;
	moert_weight w[3];

	make_file();
	l.name = "third";
	CHECK(open_with(&l, 0, why) == MOERT_LAYER);
	snprintf(want, sizeof want, "%s: holds no layer third", path);
	SAME_TEXT(why, want);
	l = first, l.fingerprint = 99;
	CHECK(open_with(&l, 0, why) == MOERT_LAYOUT);
	l = first, l.nweights = 2;
	CHECK(open_with(&l, 0, why) == MOERT_FORMAT);
	l = second, l.weights = weights, l.nweights = 3;
	CHECK(open_with(&l, 0, why) == MOERT_LAYOUT);
	memcpy(w, weights, sizeof w);
	w[1].cols = 8;
	l = first, l.weights = w;
	CHECK(open_with(&l, 0, why) == MOERT_LAYOUT);
	w[1].bytes++;
	CHECK(open_with(&l, 0, why) == MOERT_INTERNAL);
}

/* The layer is there as another target packed it: what differs first is said. */
static void test_other_layout(void)
{
	static const struct { int weights; const char *name, *said; int dtype, cols;
	} cases[] = {
		{3, "router", " in another layout than this library's", DT_f32, 4},
		{3, "gate", ", with a weight router where this library has gate", DT_f32, 4},
		{3, "router", ": weight router has f32, this library's bf16", DT_bf16, 4},
		{3, "router", ": weight router has f32, this library's no type", 99, 4},
		{3, "router", ": weight router has 4 columns in a panel, this library's 8 "
		 "columns in a panel", DT_f32, 8},
		{4, "router", ", without the weight late of this library", DT_f32, 4},
	};
	char why[200], want[200];

	make_file();
	for (size_t i = 0; i < COUNT(cases); i++) {
		moert_weight w[4];
		memcpy(w, weights, sizeof weights);
		w[3] = w[2], w[3].name = "late";
		w[0].name = cases[i].name, w[0].dtype = cases[i].dtype;
		w[0].cols = cases[i].cols;
		moert_layer l = first;
		l.fingerprint = 99, l.weights = w, l.nweights = cases[i].weights;
		char *image = NULL;
		CHECK(moert_moew_read(&l, &(moert_places){0}, path, 0, &image,
				      (moert_why){why, sizeof why}) == MOERT_LAYOUT);
		snprintf(want, sizeof want, "%s: layer first is packed for any%s", path,
			 cases[i].said);
		SAME_TEXT(why, want);
	}
}

static void test_files(void)
{
	char why[200], keep[sizeof path];

	make_file();
	memcpy(keep, path, sizeof path);
	snprintf(path, sizeof path, "%s/none", folder);
	CHECK(open_with(&first, 0, why) == MOERT_OPEN);
	snprintf(path, sizeof path, "%s", folder);
	CHECK(open_with(&first, 0, why) == MOERT_OPEN);
	snprintf(path, sizeof path, "%s/pipe", folder);
	MUST(mkfifo(path, 0600) == 0);
	CHECK(open_with(&first, 0, why) == MOERT_OPEN);
	unlink(path);
	memcpy(path, keep, sizeof path);
	const moert_layer *one = &first;
	CHECK(moert_pack(&one, 1, natural, NULL, "/nowhere/at/all", NULL) == MOERT_WRITE);
	CHECK(moert_pack(&one, 1, natural, NULL, folder, NULL) == MOERT_WRITE);
	char left[80];
	snprintf(left, sizeof left, "%s.%ld-0.tmp", folder, (long)getpid());
	CHECK(access(left, F_OK) != 0);         /* nothing partial stays behind */
}

static const void *nothing(void *ctx, const moert_layer *l, const char *name,
			   int64_t range, int64_t expert)
{
	return NULL;
}

static void test_missing(void)
{
	char why[200], other[80];
	moert_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
	const moert_layer *one = &first;

	make_file();
	snprintf(other, sizeof other, "%s/other", folder);
	CHECK(moert_pack(&one, 1, nothing, NULL, other, &o) == MOERT_WEIGHT);
	SAME_TEXT(why, "layer first: weight router is missing");
	CHECK(access(other, F_OK) != 0);
}

static void test_truncated(void)
{
	char why[200];

	make_file();
	for (size_t n = 0; n < size; n += n < 128 || n + 600 > size ? 1 : 997) {
		put_file(good, n);
		CHECK(open_with(&first, 0, why) != 0);
	}
	put_file(good, size);
	FILE *f = fopen(path, "ab");
	fputc(0, f);
	fclose(f);
	CHECK(open_with(&first, 0, why) == MOERT_FORMAT);
}

/* Every bit of header and table counts, and every bit of a weight. */
static void test_flipped(void)
{
	unsigned char *bad = malloc(size);
	char why[200];
	size_t table = (size_t)((moew_header *)good)->table_at;

	make_file();
	for (size_t i = 0; i < size; i++) {
		bool weight = i >= 4096 && i < 4096 + 8 * KK * 4;
		if (i >= sizeof(moew_header) && i < table && !(weight && i % 31 == 0))
			continue;
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, good, size);
			bad[i] ^= (unsigned char)(1 << bit);
			put_file(bad, size);
			CHECK(open_with(&first, 0, why) != 0);
			if (weight)
				CHECK(open_with(&first, MOERT_TRUST, why) == 0);
		}
	}
	free(bad);
}

static void seal(unsigned char *file, size_t n)
{
	moew_header *h = (moew_header *)file;
	if (h->table_at <= n && h->table_bytes <= n - h->table_at)
		h->table_checksum =
		    moert_checksum(file + h->table_at, (int64_t)h->table_bytes);
	h->checksum = moert_checksum(h, offsetof(moew_header, checksum));
}

/* A file of right checksums and wrong numbers: each 8 bytes of header and table in turn
 * becomes something nasty. */
static void test_forged(void)
{
	static const uint64_t nasty[] = {0,
					 1,
					 UINT64_MAX,
					 INT64_MAX,
					 (uint64_t)1 << 63,
					 4096,
					 (uint64_t)1 << 32,
					 UINT64_MAX - 4095};
	unsigned char *bad = malloc(size);
	char why[200];
	size_t table = (size_t)((moew_header *)good)->table_at;

	make_file();
	for (size_t i = 16; i + 8 <= size; i += i < 48 ? 8 : 1) {
		if (i == 56)
			i = table;
		for (size_t j = 0; j < COUNT(nasty); j++) {
			memcpy(bad, good, size);
			memcpy(bad + i, &nasty[j], 8);
			seal(bad, size);
			put_file(bad, size);
			for (uint64_t flags = 0; flags < 2; flags++)
				if (open_with(&first, flags, why) == 0 && !flags)
					CHECK(same_weights(&first, flags));
		}
	}
	free(bad);
}

/* The good file with n bytes of this table instead of its own, under right checksums. */
static int open_table(const unsigned char *table, size_t n, uint64_t layers, char why[200])
{
	size_t at = (size_t)((moew_header *)good)->table_at;
	unsigned char *file = malloc(at + n);
	moew_header *h = (moew_header *)file;

	memcpy(file, good, at);
	memcpy(file + at, table, n);
	h->table_bytes = n, h->file_bytes = at + n, h->layers = layers;
	seal(file, at + n);
	put_file(file, at + n);
	free(file);
	return open_with(&first, 0, why);
}

/* The table with the places of the first layer's weights moved. */
static int open_moved(const moert_layer *l, int64_t by, char why[200])
{
	moew_header *h = (moew_header *)good;
	unsigned char *table = malloc((size_t)h->table_bytes), *at = table;
	uint32_t text;
	uint64_t entries;
	int64_t place;

	memcpy(table, good + h->table_at, (size_t)h->table_bytes);
	for (int i = 0; i < 2; i++) {           /* its name and target */
		memcpy(&text, at, sizeof text);
		at += sizeof text + text;
	}
	memcpy(&entries, at + 8, sizeof entries);
	at += 16;
	for (uint64_t i = 0; i < entries; i++, at += 8 * MOEW_NUMBERS) {
		memcpy(&text, at, sizeof text);
		at += sizeof text + text;
		memcpy(&place, at + 8 * MOEW_OFFSET, sizeof place);
		place += by;
		memcpy(at + 8 * MOEW_OFFSET, &place, sizeof place);
	}
	open_table(table, (size_t)h->table_bytes, h->layers, why);
	free(table);
	return open_with(l, 0, why);
}

static void test_places(void)
{
	const char *outside = ": a weight lies outside the file";
	moert_weight w[4] = {weights[1], weights[0], weights[2], weights[2]};
	moert_layer l = first;
	char why[200];

	make_file();
	CHECK(open_moved(&first, 0, why) == 0);
	int64_t most = (int64_t)((moew_header *)good)->table_at - MOEW_PAGE;
	const int64_t by[] = {8, most / MOEW_PAGE * MOEW_PAGE, -MOEW_PAGE};
	for (size_t i = 0; i < COUNT(by); i++) {
		l.weights = i < 2 ? weights : w;        /* those once in memory come first */
		CHECK(open_moved(&l, by[i], why) == MOERT_FORMAT);
		CHECK(strstr(why, outside) != NULL);
	}
	l = first, l.weights = w, l.nweights = 4;
	memcpy(w, weights, sizeof weights);
	CHECK(open_moved(&l, 0, why) == MOERT_FORMAT);
	CHECK(strstr(why, ": a weight is missing from the table") != NULL);
	put_file(good, size);
}

static void test_tables(void)
{
	enum { TOO_LONG = (1 << 28) + 1 };
	char why[200];

	make_file();
	const moew_header *h = (moew_header *)good;
	const unsigned char *table = good + h->table_at;
	size_t n = (size_t)h->table_bytes;
	for (size_t cut = 0; cut < n; cut++)
		CHECK(open_table(table, cut, 3, why) == MOERT_FORMAT);
	unsigned char *twice = malloc(2 * n);
	memcpy(twice, table, n);
	memcpy(twice + n, table, n);
	CHECK(open_table(twice, n, 3, why) == 0);
	CHECK(open_table(twice, 2 * n, 6, why) == 0);   /* the first of a name counts */
	CHECK(same_weights(&first, 0));
	CHECK(open_table(twice, 2 * n, 5, why) == MOERT_FORMAT);
	free(twice);

	moew_header longer = *h;
	longer.table_at = sizeof longer, longer.table_bytes = TOO_LONG;
	longer.file_bytes = sizeof longer + TOO_LONG;
	longer.checksum = moert_checksum(&longer, offsetof(moew_header, checksum));
	put_file(&longer, sizeof longer);
	if (truncate(path, (off_t)longer.file_bytes) != 0)
		SKIP("no sparse files here");
	CHECK(open_with(&first, 0, why) == MOERT_FORMAT);
	CHECK(strstr(why, ": the table is too long") != NULL);
	put_file(good, size);
}

static void test_version(void)
{
	unsigned char *bad = malloc(size);
	char why[200], want[200];

	make_file();
	memcpy(bad, good, size);
	((moew_header *)bad)->version = 2;
	seal(bad, size);
	put_file(bad, size);
	CHECK(open_with(&first, 0, why) == MOERT_VERSION);
	snprintf(want, sizeof want, "%s: version 2, expected 1", path);
	SAME_TEXT(why, want);
	free(bad);
	put_file("GGUF is something else, but long enough for a header of this kind", 64);
	CHECK(open_with(&first, 0, why) == MOERT_FORMAT);
	unlink(path);
	rmdir(folder);
}

static void test_checksum(void)
{
	unsigned char a[100] = {0};
	for (int64_t n = 0; n < 99; n++) {
		uint64_t sum = moert_checksum(a, n);
		CHECK(sum != moert_checksum(a, n + 1));
		for (int64_t i = 0; i < n; i++) {
			a[i] ^= 1;
			CHECK(sum != moert_checksum(a, n));
			a[i] ^= 1;
		}
	}
}

SUITE("moew", {"checksum", test_checksum}, {"round trip", test_round_trip},
      {"wrong layer", test_wrong_layer}, {"another layout", test_other_layout},
      {"wrong files", test_files}, {"wrong tables", test_tables},
      {"wrong places", test_places},
      {"missing weights", test_missing}, {"cut short", test_truncated},
      {"bits flipped", test_flipped}, {"forged", test_forged},
      {"other versions", test_version})
