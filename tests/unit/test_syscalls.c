// libs: io
/* SPDX-License-Identifier: Apache-2.0
 * test_syscalls: readers and writers of files where a call of the system fails, is interrupted
 * or gives less: one diagnostic with the reason, or the right bytes; nothing stays behind.
 *
 * The functions below stand in front of the C library's. */
#include "files.h"
#include "unit.h"
#include "../../runtime/internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- faults ---- */

static struct {
	const char *call;               /* its name; NULL: nothing is to fail */
	int         error;              /* 0: it gives nothing, as at the end of a file */
	int         at;                 /* the at-th one, from 1 on */
} fault;

static bool hits(const char *call)
{
	if (!fault.call || strcmp(fault.call, call) != 0 || --fault.at != 0)
		return false;
	fault.call = NULL;
	errno = fault.error;
	return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(result, name, failed, params, ...)                                    \
	result name params                                                         \
	{                                                                          \
		return hits(#name) ? failed : REAL(name)(__VA_ARGS__);             \
	}

WRAP(ssize_t, read, fault.error ? -1 : 0, (int fd, void *to, size_t n), fd, to, n)
WRAP(ssize_t, pread, fault.error ? -1 : 0, (int fd, void *to, size_t n, off_t at), fd, to, n,
     at)
WRAP(ssize_t, write, -1, (int fd, const void *from, size_t n), fd, from, n)
WRAP(int, fstat, -1, (int fd, struct stat *st), fd, st)
WRAP(int, fchmod, -1, (int fd, mode_t mode), fd, mode)
WRAP(int, fsync, -1, (int fd), fd)
WRAP(int, rename, -1, (const char *from, const char *to), from, to)
WRAP(int, mkostemp, -1, (char *path, int flags), path, flags)
WRAP(ssize_t, readlink, -1, (const char *path, char *to, size_t n), path, to, n)
WRAP(char *, realpath, NULL, (const char *path, char *to), path, to)
WRAP(char *, strdup, NULL, (const char *s), s)
WRAP(DIR *, opendir, NULL, (const char *path), path)
WRAP(void *, mmap, MAP_FAILED, (void *at, size_t n, int prot, int flags, int fd, off_t from),
     at, n, prot, flags, fd, from)

/* It happens all the same: what fails is the news of the last write. */
int close(int fd)
{
	int result = REAL(close)(fd);

	return hits("close") ? -1 : result;
}

/* ---- what reads and writes ---- */

#define TENSOR "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"

static bool read_text(Said *s)
{
	const char *text = file_text(s->arena, s->diag, "text", 100);

	return text && strcmp(text, "four") == 0;
}

static bool write_beside(Said *s)
{
	return file_write(s->diag, "out", "new", 3);
}

static bool write_through(Said *s)
{
	return file_write(s->diag, "/dev/null", "new", 3);
}

static bool read_tensor(Said *s, const char *path)
{
	bool bad, right = false;
	Checkpoint *c = checkpoint_open(s->arena, s->diag, path);
	const TensorInfo *t = c ? checkpoint_find(c, s->diag, "a", &bad) : NULL;
	const char *bytes = t ? checkpoint_data(c, s->diag, t) : NULL;

	right = bytes && memcmp(bytes, "\0\1\2\3", 4) == 0;
	if (c)
		checkpoint_close(c);
	return right;
}

static bool read_file(Said *s)
{
	return read_tensor(s, "a.safetensors");
}

static bool read_folder(Said *s)
{
	return read_tensor(s, "m");
}

/* What it does, the call that fails, how and when, and what is said ("": it works). */
typedef struct {
	bool      (*run)(Said *);
	const char *call;
	int         error, at;
	const char *said;
} Case;

#define A "a.safetensors: error: "
#define GONE "m/b.safetensors: error: cannot read: a link that leads out of the model's folder\n"

static const Case cases[] = {
	{read_text, "fstat", EIO, 1, "text: error: cannot open: Input/output error\n"},
	{read_text, "read", EIO, 1, "text: error: cannot read: Input/output error\n"},
	{read_text, "read", EINTR, 1, ""},
	{write_beside, "mkostemp", EACCES, 1, "out: error: cannot create: Permission denied\n"},
	{write_beside, "write", EINTR, 1, ""},
	{write_beside, "write", ENOSPC, 1,
	 "out: error: cannot write: No space left on device\n"},
	{write_beside, "fchmod", EPERM, 1,
	 "out: error: cannot write: Operation not permitted\n"},
	{write_beside, "fsync", EIO, 1, "out: error: cannot write: Input/output error\n"},
	{write_beside, "close", EDQUOT, 1, "out: error: cannot write: Disk quota exceeded\n"},
	{write_beside, "rename", EIO, 1, "out: error: cannot write: Input/output error\n"},
	{write_through, "close", EIO, 1,
	 "/dev/null: error: cannot write: Input/output error\n"},
	{read_file, "fstat", EIO, 1, A "cannot open: Input/output error\n"},
	{read_file, "fstat", EIO, 2, A "was changed while it was being read\n"},
	{read_file, "pread", EINTR, 1, ""},
	{read_file, "pread", EIO, 1, A "cannot read: Input/output error\n"},
	{read_file, "pread", 0, 1, A "cannot read: No data available\n"},
	{read_file, "pread", EIO, 2, A "cannot read: Input/output error\n"},
	{read_file, "mmap", ENOMEM, 1, A "cannot map: Cannot allocate memory\n"},
	{read_file, "strdup", ENOMEM, 1, A "cannot map: Cannot allocate memory\n"},
	{read_folder, "", 0, 1, ""},
	{read_folder, "opendir", EMFILE, 1, "m: error: cannot open: Too many open files\n"},
	{read_folder, "readlink", EACCES, 1, GONE},
	{read_folder, "realpath", EACCES, 1, GONE},
};

static void fails_and_says_so(void)
{
	enter_folder();
	put_file("text", "four", 4);
	put_safetensors("a.safetensors", TENSOR, strlen(TENSOR), 4);
	mkdir("m", 0700);
	put_safetensors("m/a", TENSOR, strlen(TENSOR), 4);
	MUST(symlink("a", "m/b.safetensors") == 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const Case *c = &cases[i];
		Said *s = said_new();
		put_file("out", "the old one", 11);
		fault.call = c->call, fault.error = c->error, fault.at = c->at;
		bool done = c->run(s);
		CHECK(fault.call == NULL || !*c->call);
		fault.call = NULL;
		CHECK(done == !*c->said);
		SAME_SAID(said(s), c->said);
		size_t n;
		char *out = file_read(s->arena, s->diag, "out", 100, &n);
		SAME_TEXT(out, c->run == write_beside && done ? "new" : "the old one");
		said_free(s);
	}
	CHECK(system("test \"$(ls -d out*)\" = out") == 0);     /* and nothing beside it */
}

static void a_file_that_shrinks_ends_there(void)
{
	Said *s = said_new();
	size_t n;

	enter_folder();
	put_file("text", "four", 4);
	fault.call = "read", fault.error = 0, fault.at = 1;
	char *text = file_read(s->arena, s->diag, "text", 100, &n);
	CHECK(text && n == 0);
	said_free(s);
}

/* ---- SIGBUS ---- */

static void end_with_7(int number)
{
	_exit(7);
}

/* Two files are mapped, and one of somebody else's; one of them is cut down and read, in a
 * child, which had a handler of its own.  Its status, and what it said. */
static int read_after_cut(int which, char *said_there, size_t size)
{
	static const char *const names[] = {"a.safetensors", "text", "other"};
	const volatile char *bytes[3];
	int ends[2], status = -1;

	MUST(pipe(ends) == 0);
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		Said *s = said_new();
		signal(SIGBUS, end_with_7);
		for (int i = 0; i < 3; i++) {
			int fd = open(names[i], O_RDONLY);
			bytes[i] = i < 2 ? file_map(s->diag, names[i], fd, 4) :
				   mmap(NULL, 4, PROT_READ, MAP_PRIVATE, fd, 0);
		}
		dup2(ends[1], STDERR_FILENO);
		if (truncate(names[which], 0) != 0)
			_exit(9);
		fault.call = "write", fault.error = EINTR, fault.at = 1;
		_exit(bytes[which][0] & 1);
	}
	close(ends[1]);
	ssize_t n = read(ends[0], said_there, size - 1);
	said_there[n > 0 ? n : 0] = '\0';
	close(ends[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void faults_of_mapped_files(void)
{
	char text[200];

	enter_folder();
	for (int which = 0; which < 3; which++) {
		put_safetensors("a.safetensors", TENSOR, strlen(TENSOR), 4);
		put_file("text", "four", 4);
		put_file("other", "more", 4);
		int status = read_after_cut(which, text, sizeof text);
		CHECK(status == (which == 2 ? 7 : 1));  /* that is not ours to report */
		SAME_SAID(text, which == 0 ? A "was changed while it was being read\n" :
				which == 1 ? "text: error: was changed while it was being read\n" :
					     "");
	}
}

/* ---- the runtime's reader ---- */

static const void *natural(void *ctx, const moert_layer *l, const char *name, int64_t range,
			   int64_t expert)
{
	static const float numbers[2] = {1, 2};

	return numbers;
}

static void packed_weights(void)
{
	static const struct { const char *call; int error, at, result; } some[] = {
		{"fstat", EIO, 1, MOERT_OPEN},   {"pread", EIO, 1, MOERT_READ},
		{"pread", 0, 1, MOERT_READ},     {"pread", 0, 2, MOERT_READ},
		{"pread", EINTR, 1, MOERT_OK},   {"pread", EINTR, 2, MOERT_OK},
	};
	static const char *const names[] = {"w"};
	static const moert_weight w = {"w", -1, DT_f32, 0, 0, 2, 1, 1, names, 8};
	static const moert_layer small = {.name = "small", .target = "any", .needs = "",
					  .nweights = 1, .weights = &w};
	const moert_layer *one = &small;

	enter_folder();
	MUST(moert_pack(&one, 1, natural, NULL, "w.moew", NULL) == 0);
	for (size_t i = 0; i < COUNT(some); i++) {
		char why[100] = "";
		moert_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
		moert_model *m = NULL;
		fault.call = some[i].call, fault.error = some[i].error;
		fault.at = some[i].at;
		CHECK(moert_open(&small, "w.moew", &o, &m) == some[i].result);
		CHECK(fault.call == NULL);
		fault.call = NULL;
		CHECK(!*why == (some[i].result == MOERT_OK));
		moert_close(m);
	}
}

SUITE("syscalls",
      {"faults of mapped files", faults_of_mapped_files},
      {"fails and says so", fails_and_says_so},
      {"a file that shrinks ends there", a_file_that_shrinks_ends_there},
      {"packed weights", packed_weights})
