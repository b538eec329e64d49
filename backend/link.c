/* SPDX-License-Identifier: Apache-2.0
 * link: object and runtime to one shared library, by the system's cc.
 *
 * Foreign machines have a cc of their own, named as Debian names it.  The runtimes'
 * archives are carried inside moec; only the layer's own functions are exported,
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

static bool not_written(Diag *diag, const char *path, const char *why)
{
	diag_error(diag, E_cannot_write, (Loc){.file = path}, "cannot be written: %s", why);
	return false;
}

const char *library_place(Arena *arena, Diag *diag, const char *out)
{
	struct stat st;

	if (stat(out, &st) != 0)        /* nothing yet, or its folder will say what */
		return out;
	if (!S_ISREG(st.st_mode)) {
		not_written(diag, out, S_ISDIR(st.st_mode) ? "it is a folder"
							   : "not a regular file");
		return NULL;
	}
	char *real = realpath(out, NULL);
	const char *place = real ? arena_strdup(arena, real) : out;
	free(real);
	return place;
}

char *temporary(Arena *arena, Diag *diag, const char *out, const char *suffix,
		const void *data, size_t n)
{
	char *path = arena_printf(arena, "%s.XXXXXX%s", out, suffix);

	cleanup_file(path);             /* before it exists: a signal may come at once */
	int fd = mkostemps(path, (int)strlen(suffix), O_CLOEXEC);
	if (fd < 0) {
		not_written(diag, out, strerror(errno));
		cleanup_forget(path);
		return NULL;
	}
	bool ok = file_put(fd, data, n);
	if (close(fd) != 0 || !ok) {
		not_written(diag, out, strerror(errno));
		temporary_end(path);
		return NULL;
	}
	return path;
}

void temporary_end(char *path)
{
	if (!path)
		return;
	unlink(path);
	cleanup_forget(path);
}

const Machine *machine_find(const Target *t)
{
	for (int i = 0; i < machine_count; i++)
		if (strcmp(machines[i].triple, t->triple) == 0)
			return &machines[i];
	return NULL;
}

const Machine *machine_for(Diag *diag, const Target *t)
{
	const Machine *m = machine_find(t);

	if (m)
		return m;
	diag_error(diag, E_target, (Loc){0},
		   "this moec has no runtime for %s: there was no %s-gcc when "
		   "it was built",
		   t->name, t->triple);
	diag_fix(diag, "install it and build moec again, or use --emit=obj");
	return NULL;
}

/* Debian's package of a foreign compiler has no `_` in its name. */
static char *package_of(Arena *arena, const char *cc)
{
	char *name = arena_printf(arena, "gcc-%.*s", (int)(strlen(cc) - strlen("-gcc")), cc);

	for (char *s = name; *s; s++)
		*s = *s == '_' ? '-' : *s;
	return name;
}

static void no_cc(Arena *arena, Diag *diag, const char *cc, int error)
{
	diag_error(diag, E_linker, (Loc){0},
		   "linking needs the C compiler driver `%s`: %s", cc, strerror(error));
	diag_fix(diag, "install %s, or use --emit=obj and link yourself",
		 strcmp(cc, "cc") == 0 ? "gcc or clang"
				       : arena_printf(arena, "%s (Debian)",
						      package_of(arena, cc)));
}

/* What the compiler said goes behind what it means. */
static void pass_on(Diag *diag, FILE *said)
{
	char line[1000];
	int most = 20;

	for (rewind(said); most-- && fgets(line, sizeof line, said);) {
		line[strcspn(line, "\n")] = '\0';
		diag_note(diag, (Loc){0}, "%s", line);
	}
}

static bool run_cc(Arena *arena, Diag *diag, char *const *argv)
{
	pid_t pid;
	posix_spawnattr_t group;
	posix_spawn_file_actions_t files;
	FILE *said = tmpfile();
	int status, failed = posix_spawnattr_init(&group);

	/* a process group: cc has children, and they have temporary files of their own */
	if (!failed) {
		posix_spawnattr_setflags(&group, POSIX_SPAWN_SETPGROUP);
		failed = posix_spawn_file_actions_init(&files);
		if (!failed && said)
			failed = posix_spawn_file_actions_adddup2(&files, fileno(said), 2);
		if (!failed)
			failed = posix_spawnp(&pid, argv[0], &files, &group, argv, environ);
		posix_spawnattr_destroy(&group);
		posix_spawn_file_actions_destroy(&files);
	}
	if (failed) {
		if (said)
			fclose(said);
		no_cc(arena, diag, argv[0], failed);
		return false;
	}
	cleanup_child(-pid);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	cleanup_child(0);
	bool linked = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (!linked)
		diag_error(diag, E_linker, (Loc){0}, "`%s` could not link the library",
			   argv[0]);
	if (said) {
		pass_on(diag, said);
		fclose(said);
	}
	return linked;
}

static mode_t mask(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

/* What cc wrote, before it takes the place of what there was. */
static bool on_disk(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

bool link_library(Arena *arena, Diag *diag, const Target *t, const char *object,
		  const char *out, const char *name)
{
	char *exports = arena_printf(arena, "{ global: %s_*; local: *; };\n", name);
	const Machine *machine = machine_for(diag, t);
	char *archive = !machine ? NULL : temporary(arena, diag, out, ".a",
						    machine->runtime.data,
						    machine->runtime.size);
	char *script = archive ? temporary(arena, diag, out, ".map", exports, strlen(exports))
			       : NULL;
	char *library = script ? temporary(arena, diag, out, ".so", "", 0) : NULL;
	bool ok = false;

	if (library) {
		char *cc = target_is_host(t) ? "cc" : arena_printf(arena, "%s-gcc", t->triple);
		char *argv[] = {cc, "-shared", "-Wl,-S", "-o", library, (char *)object, archive,
				"-Wl,--gc-sections", "-Wl,-Bsymbolic", "-Wl,-z,relro,-z,now",
				arena_printf(arena, "-Wl,--version-script=%s", script),
				"-Wl,--build-id=none", "-lm", "-lpthread", NULL};
		ok = run_cc(arena, diag, argv);
		if (ok && (chmod(library, 0777 & ~mask()) || !on_disk(library) ||
			   rename(library, out)))
			ok = not_written(diag, out, strerror(errno));
	}
	temporary_end(library);
	temporary_end(script);
	temporary_end(archive);
	return ok;
}
