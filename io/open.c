/* SPDX-License-Identifier: Apache-2.0
 * open: regular files only, and links that stay where the model lies. */
#include "io.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool lies_in(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* Whether the open descriptor is a file of the model: in its folder, or in blobs/ beside
 * it; for a cache's snapshots/<revision>, in blobs/ beside snapshots/.  The descriptor
 * itself is asked, not the path again: nobody can exchange the link between check and
 * use. */
static bool stays_inside(Arena *a, int fd, const char *folder)
{
	char at[PATH_MAX], home[PATH_MAX];
	ssize_t n = readlink(arena_printf(a, "/proc/self/fd/%d", fd), at, sizeof at - 1);

	if (n <= 0 || !realpath(folder, home))
		return false;
	at[n] = '\0';
	if (lies_in(at, home))
		return true;
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(home, '/');
		if (slash == home)
			return false;
		bool snapshot = strcmp(slash, "/snapshots") == 0;
		*slash = '\0';
		if ((up == 0 || snapshot) &&
		    lies_in(at, arena_printf(a, "%s/blobs", home)))
			return true;
	}
	return false;
}

int open_regular(Arena *a, Diag *d, const char *path, const char *folder, uint64_t *size)
{
	Loc at = {.file = path};
	int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	int fd = open(path, flags | (folder ? O_NOFOLLOW : 0));
	bool link = fd < 0 && errno == ELOOP && folder;
	struct stat st;

	if (link)
		fd = open(path, flags);
	if (fd < 0) {
		diag_error(d, E_cannot_read, at, "cannot open: %s", strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) != 0)
		diag_error(d, E_cannot_read, at, "cannot open: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		diag_error(d, E_cannot_read, at, "cannot read: %s",
			   S_ISDIR(st.st_mode) ? "it is a folder" : "not a regular file");
	else if (link && !stays_inside(a, fd, folder))
		diag_error(d, E_cannot_read, at,
			   "cannot read: a link that leads out of the model's folder");
	else {
		*size = (uint64_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}
