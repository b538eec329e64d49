/* SPDX-License-Identifier: Apache-2.0
 * link: object and runtime to one shared library, by the system's cc.
 *
 * The runtime's archive is carried inside moec; only the layer's own functions are exported,
 * and what no step of the layer calls is dropped. */
#include "backend.h"
#include "emit.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *temporary(Arena *arena, Diag *diag, const char *out, const char *suffix,
		       const void *data, size_t n)
{
	char *path = arena_printf(arena, "%s.XXXXXX%s", out, suffix);
	int fd = mkostemps(path, (int)strlen(suffix), O_CLOEXEC);

	if (fd < 0) {
		diag_error(diag, (Loc){out, 0, 0, 0}, "cannot be written: %s", strerror(errno));
		return NULL;
	}
	for (size_t at = 0; at < n;) {
		ssize_t wrote = write(fd, (const char *)data + at, n - at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0) {
			diag_error(diag, (Loc){path, 0, 0, 0}, "cannot be written: %s",
				   strerror(errno));
			close(fd);
			unlink(path);
			return NULL;
		}
		at += (size_t)wrote;
	}
	close(fd);
	return path;
}

static bool run_cc(Diag *diag, char *const *argv)
{
	pid_t pid;
	int status, failed = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (failed) {
		diag_error(diag, (Loc){0}, "linking needs the C compiler driver `%s`: %s", argv[0],
			   strerror(failed));
		diag_fix(diag, "install gcc or clang, or use --emit=obj and link yourself");
		return false;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	diag_error(diag, (Loc){0}, "`%s` could not link the library", argv[0]);
	return false;
}

bool link_library(Arena *arena, Diag *diag, const char *object, const char *out,
		  const char *name)
{
	char *exports = arena_printf(arena, "{ global: %s_*; local: *; };\n", name);
	char *archive = temporary(arena, diag, out, ".a", runtime_blob, runtime_blob_size);
	char *script = archive ? temporary(arena, diag, out, ".map", exports, strlen(exports))
			       : NULL;
	char *library = script ? temporary(arena, diag, out, ".so", "", 0) : NULL;
	bool ok = false;

	if (library) {
		char *argv[] = {"cc", "-shared", "-s", "-o", library, (char *)object, archive,
				"-Wl,--gc-sections", "-Wl,-Bsymbolic", "-Wl,-z,relro,-z,now",
				arena_printf(arena, "-Wl,--version-script=%s", script),
				"-Wl,--build-id=none", "-lm", "-lpthread", NULL};
		ok = run_cc(diag, argv);
		if (ok && (chmod(library, 0755) || rename(library, out))) {
			diag_error(diag, (Loc){out, 0, 0, 0}, "cannot be written: %s",
				   strerror(errno));
			ok = false;
		}
		if (!ok)
			unlink(library);
	}
	if (script)
		unlink(script);
	if (archive)
		unlink(archive);
	return ok;
}
