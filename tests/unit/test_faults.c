// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_faults: the runtime's interface where the machine gives nothing: each allocation,
 * mapping, thread and file call fails in turn.  An error is returned, nothing is kept, nothing
 * is left behind, and what was opened before goes on.
 *
 * The functions below stand in front of the C library's; only calls of an armed round that
 * come from this program count. */
#include "../../runtime/moert.h"
#include "../../ir/ir.h"
#include "unit.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { H = 6, E = 2, TOKENS = 5, THREADS = 3 };

/* ---- faults ---- */

static struct {
	atomic_int armed, count, at;    /* the at-th counted call fails */
	atomic_int blocks, maps, files; /* held by those who were armed */
} fault;

#ifndef SANITIZED
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
     *__libc_memalign(size_t, size_t), __libc_free(void *);

static bool hits(void)
{
	return fault.armed && ++fault.count == fault.at;
}

static void *block(void *p)
{
	if (p && fault.armed)
		fault.blocks++;
	return p;
}

void *malloc(size_t n)
{
	return hits() ? NULL : block(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return hits() ? NULL : block(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	if (hits())
		return NULL;
	return p ? __libc_realloc(p, n) : block(__libc_realloc(p, n));
}

void *aligned_alloc(size_t to, size_t n)
{
	return hits() ? NULL : block(__libc_memalign(to, n));
}

void free(void *p)
{
	if (p && fault.armed)
		fault.blocks--;
	__libc_free(p);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
	void *p = hits() ? MAP_FAILED : REAL(mmap)(at, n, prot, flags, fd, from);

	if (p != MAP_FAILED && fault.armed)
		fault.maps++;
	return p;
}

int munmap(void *at, size_t n)
{
	if (fault.armed)
		fault.maps--;
	return REAL(munmap)(at, n);
}

int open(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	int fd = hits() ? -1 : REAL(open)(path, flags, mode);
	if (fd >= 0 && fault.armed)
		fault.files++;
	return fd;
}

int close(int fd)
{
	if (fault.armed)
		fault.files--;
	int result = REAL(close)(fd);
	return hits() ? -1 : result;
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
	return hits() ? -1 : REAL(pread)(fd, to, n, at);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
	return hits() ? -1 : REAL(pwrite)(fd, from, n, at);
}

int fsync(int fd)
{
	return hits() ? -1 : REAL(fsync)(fd);
}

int rename(const char *from, const char *to)
{
	return hits() ? -1 : REAL(rename)(from, to);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
		   void *arg)
{
	if (hits())
		return 11;
	int armed = atomic_exchange(&fault.armed, 0);   /* its stack is the C library's */
	int error = REAL(pthread_create)(thread, attr, run, arg);
	fault.armed = armed;
	return error;
}
#endif

/* ---- a layer: y = x + a weight, by token ---- */

static void add(const moert_call *call, int64_t row0, int64_t row1, void *scratch)
{
	const float *w = call->weight[0];

	for (int64_t t = row0; t < row1; t++) {
		const float *x = (const float *)(call->buf[0].at + t * call->buf[0].stride);
		float *y = (float *)(call->buf[1].at + t * call->buf[1].stride);
		for (int i = 0; i < H; i++)
			y[i] = x[i] + w[i];
	}
}

static const char *const once_names[] = {"once"}, *const each_names[] = {"each"};
static const moert_weight weights[] = {
	{"once", -1, DT_f32, 0, 0, H, 1, 1, once_names, H * 4},
	{"each", 0, DT_f32, 4, 1, 8, 3, 1, each_names, 8 * 3 * 4},
};
static const moert_range ranges[] = {{0, E}};
static const moert_buf bufs[] = {
	{.name = "x", .role = MOERT_INPUT, .dtype = DT_f32, .level = MOERT_TOKEN, .elems = H},
	{.name = "y", .role = MOERT_OUTPUT, .dtype = DT_f32, .level = MOERT_TOKEN, .elems = H},
};
static const moert_step steps[] = {
	{.name = "add", .kind = MOERT_MAP, .over = MOERT_TOKEN, .map = add, .scratch = 100},
};
static const moert_layer layer = {
	.name = "added", .target = "any", .needs = "", .fingerprint = 5, .width = H,
	.experts = E, .nbufs = 2, .nweights = 2, .nranges = 1, .nsteps = 1, .bufs = bufs,
	.weights = weights, .ranges = ranges, .steps = steps,
};

static const void *natural(void *ctx, const moert_layer *l, const char *name, int64_t range,
			   int64_t expert)
{
	static const float numbers[8 * 3] = {1, 2, 3, 4, 5, 6, 7, 8};

	return numbers;
}

/* ---- one use of the interface; each gives an error or 0 ---- */

static char folder[] = "/tmp/moec-faults-XXXXXX", path[64];
static moert_session *lasting;          /* opened before anything failed */

static int run(moert_session *s)
{
	static const float x[TOKENS * H] = {1, 1, 1, 1, 1, 1, -1};
	float y[TOKENS * H] = {0};
	moert_args a = {.size = sizeof a, .x = x, .tokens = TOKENS, .y = y};
	int error = moert_run(s, &a);

	return error ? error : y[5] == 7 && y[6] == 0 && y[7] == 2 ? 0 : -1;
}

static int use_model(moert_model *m)
{
	moert_session_options o = {.size = sizeof o, .threads = THREADS};
	moert_session *s = NULL;
	int error = moert_start(m, &o, &s);

	CHECK((error == 0) == (s != NULL));
	if (!error && (error = run(s)) != 0)
		CHECK(run(s) == 0);             /* usable after an error */
	moert_end(s);
	moert_close(m);
	return error;
}

static int from_memory(void)
{
	moert_model *m;
	int error = moert_open_memory(&layer, natural, NULL, NULL, &m);

	CHECK((error == 0) == (m != NULL));
	return error ? error : use_model(m);
}

static int from_file(uint64_t flags)
{
	char why[100] = "";
	moert_options o = {.size = sizeof o, .flags = flags, .why = why,
			   .why_size = sizeof why};
	moert_model *m;
	int error = moert_open(&layer, path, &o, &m);

	CHECK((error == 0) == (m != NULL));
	CHECK((error == 0) == (*why == '\0'));
	return error ? error : use_model(m);
}

static int read_file(void)
{
	return from_file(0);
}

static int map_file(void)
{
	return from_file(MOERT_MMAP);
}

static int pack_file(void)
{
	static const moert_layer *const layers[] = {&layer};

	return moert_pack(layers, 1, natural, NULL, path, NULL);
}

/* ---- every call of it fails in turn ---- */

static off_t file_size(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static int armed_round(int (*use)(void), int at)
{
	fault.count = fault.blocks = fault.maps = fault.files = 0;
	fault.at = at;
	fault.armed = 1;
	int error = use();
	fault.armed = 0;
	return error;
}

static void each_fails(int (*use)(void), int least)
{
#ifdef SANITIZED
	SKIP("sanitizers stand in front of the C library themselves");
#endif
	off_t size = file_size();
	int n, errors = 0;

	CHECK(armed_round(use, 0) == 0);
	CHECK(fault.blocks == 0 && fault.maps == 0 && fault.files == 0);
	n = fault.count;
	CHECK(n >= least);
	for (int at = 1; at <= n; at++) {
		int error = armed_round(use, at);
		CHECK(error >= 0 && error < MOERT_INTERNAL);
		CHECK(fault.blocks == 0 && fault.maps == 0 && fault.files == 0);
		if (fault.blocks || fault.maps || fault.files || error < 0)
			printf("call %d: error %d, holds %d blocks, %d maps, %d files\n", at,
			       error, fault.blocks, fault.maps, fault.files);
		CHECK(file_size() == size);
		CHECK(run(lasting) == 0);
		errors += error != 0;
	}
	CHECK(errors >= n - 4);                 /* closing what was only read may fail */
}

static void test_memory(void)
{
	each_fails(from_memory, 15);
}

static void test_read(void)
{
	each_fails(read_file, 20);
}

static void test_map(void)
{
	each_fails(map_file, 20);
}

static void test_pack(void)
{
	each_fails(pack_file, 8);
	unlink(path);
	CHECK(rmdir(folder) == 0);              /* no other file is left */
	CHECK(mkdir(folder, 0700) == 0);
}

static void test_prepared(void)
{
	moert_model *m;

	MUST(mkdtemp(folder) != NULL);
	snprintf(path, sizeof path, "%s/w.moew", folder);
	MUST(pack_file() == 0);
	MUST(moert_open(&layer, path, NULL, &m) == 0 && moert_start(m, NULL, &lasting) == 0);
	moert_close(m);
	CHECK(run(lasting) == 0);
}

static void test_ended(void)
{
	moert_end(lasting);
	CHECK(rmdir(folder) == 0);
}

SUITE("faults", {"without any", test_prepared}, {"weights from memory", test_memory},
      {"weights read", test_read}, {"weights mapped", test_map}, {"packing", test_pack},
      {"the folder is empty", test_ended})
