/* SPDX-License-Identifier: Apache-2.0
 * file: whole files in and out; nothing half-written stays behind. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Loc whole_file(const char *path)
{
	return (Loc){.file = path};
}

static bool failed(Diag *d, const char *path, const char *what)
{
	diag_error(d, E_cannot_read, whole_file(path), "%s: %s", what, strerror(errno));
	return false;
}

/* A FIFO would block in open and a device may never end: neither is read. */
static int open_regular(Diag *d, const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) != 0) {
		failed(d, path, "cannot open");
	} else if (!S_ISREG(st->st_mode)) {
		diag_error(d, E_cannot_read, whole_file(path), "cannot read: %s",
			   S_ISDIR(st->st_mode) ? "it is a folder"
						: "not a regular file");
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

char *file_read(Arena *arena, Diag *d, const char *path, size_t limit, size_t *n)
{
	struct stat st;
	int fd = open_regular(d, path, &st);

	if (fd < 0)
		return NULL;
	if ((uintmax_t)st.st_size > limit) {
		diag_error(d, E_file_size, whole_file(path),
			   "%jd bytes are more than the %zu allowed here",
			   (intmax_t)st.st_size, limit);
		close(fd);
		return NULL;
	}
	size_t size = (size_t)st.st_size, got = 0;
	char *data = arena_alloc(arena, size + 1);
	while (got < size) {
		ssize_t r = read(fd, data + got, size - got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			failed(d, path, "cannot read");
			close(fd);
			return NULL;
		}
		if (r == 0)             /* it shrank meanwhile */
			break;
		got += (size_t)r;
	}
	close(fd);
	data[got] = '\0';
	if (n)
		*n = got;
	return data;
}

char *file_text(Arena *arena, Diag *d, const char *path, size_t limit)
{
	size_t n;
	char *text = file_read(arena, d, path, limit, &n);

	if (!text || strlen(text) == n)
		return text;
	Loc at = {path, 1, 1, 0};
	for (const char *s = text; *s; s++) {
		at.line += *s == '\n';
		at.col = *s == '\n' ? 1 : at.col + 1;
	}
	diag_error(d, E_encoding, at, "a NUL byte: this is not a text file");
	return NULL;
}

bool file_put(int fd, const void *data, size_t n)
{
	const char *at = data;

	while (n) {
		ssize_t w = write(fd, at, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return false;
		at += w;
		n -= (size_t)w;
	}
	return true;
}

/* /dev/stdout, a pipe, a terminal: there is nothing to rename.  What standard output
 * already holds stays. */
static bool write_through(Diag *d, const char *path, const void *data, size_t n)
{
	fflush(stdout);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return failed(d, path, "cannot open for writing");
	bool ok = file_put(fd, data, n);
	if (!ok)
		failed(d, path, "cannot write");
	if (close(fd) != 0 && ok)
		ok = failed(d, path, "cannot write");
	return ok;
}

static mode_t default_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* A link keeps pointing: what it points to is replaced. */
static bool write_beside(Diag *d, const char *path, const char *target, mode_t mode,
			 const void *data, size_t n)
{
	Arena *scratch = arena_new();
	char *temp = arena_printf(scratch, "%s.XXXXXX", target);
	bool ok = false;

	cleanup_file(temp);             /* before it exists: a signal may come at once */
	int fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0) {
		failed(d, path, "cannot create");
	} else {
		ok = file_put(fd, data, n) && fchmod(fd, mode) == 0 && fsync(fd) == 0;
		int why = ok ? 0 : errno;
		ok = close(fd) == 0 && ok && rename(temp, target) == 0;
		if (!ok) {
			why = why ? why : errno;
			unlink(temp);
			errno = why;
			failed(d, path, "cannot write");
		}
	}
	cleanup_forget(temp);
	arena_free(scratch);
	return ok;
}

bool file_write(Diag *d, const char *path, const void *data, size_t n)
{
	struct stat st;
	bool exists = stat(path, &st) == 0;

	if (exists && (!S_ISREG(st.st_mode) || strncmp(path, "/dev/", 5) == 0))
		return write_through(d, path, data, n);
	char *real = exists ? realpath(path, NULL) : NULL;
	mode_t mode = exists ? st.st_mode & 0777 : default_mode();
	bool ok = write_beside(d, path, real ? real : path, mode, data, n);
	free(real);
	return ok;
}
