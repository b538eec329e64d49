/* SPDX-License-Identifier: Apache-2.0
 * foreign: our end of the socket whose other end runner/runner.c has; see wire.h. */
#include "end.h"
#include "../backend/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

static const char *qemu_name(Arena *a, const Target *t)
{
	return arena_printf(a, "qemu-%.*s", (int)strcspn(t->triple, "-"), t->triple);
}

static bool on_path(Arena *a, const char *program)
{
	const char *path = getenv("PATH");

	for (const char *at = path ? path : ""; *at;) {
		size_t n = strcspn(at, ":");
		if (access(arena_printf(a, "%.*s/%s", (int)n, at, program), X_OK) == 0)
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

const char *foreign_lacks(Arena *a, const Target *t)
{
	const char *qemu = qemu_name(a, t), *cc = arena_printf(a, "%s-gcc", t->triple);
	const Machine *m = machine_find(t);

	if (!m || !m->runner.size)
		return arena_printf(a, "there was no %s when moec was built", cc);
	if (!on_path(a, cc))
		return arena_printf(a, "there is no %s", cc);
	return on_path(a, qemu) ? NULL : arena_printf(a, "there is no %s", qemu);
}

/* ---- the process ---------------------------------------------------------------------- */

static bool write_runner(const Machine *m, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	bool ok = fd >= 0 && file_put(fd, m->runner.data, m->runner.size);

	return fd >= 0 && close(fd) == 0 && ok;
}

static int spawn(Foreign *f, char *const *argv, int theirs)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;

	int error = posix_spawn_file_actions_init(&files);
	if (error)
		return error;
	posix_spawnattr_init(&attributes);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_adddup2(&files, theirs, 0);
	error = posix_spawnp(&f->pid, argv[0], &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return error;
}

static bool start_process(Foreign *f, Diag *diag, const Target *t, const char *runner,
			  const char *library, const char *layer)
{
	char *root = arena_printf(f->arena, "/usr/%s", t->triple);
	char *argv[] = {(char *)f->qemu, "-cpu", "max", "-L", root, (char *)runner,
			(char *)library, (char *)layer, NULL};
	int ends[2], error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		diag_error(diag, E_process, (Loc){0}, "cannot start %s: %m", f->qemu);
		return false;
	}
	f->fd = ends[0];
	error = spawn(f, argv, ends[1]);
	close(ends[1]);
	if (!error)
		return true;
	diag_error(diag, E_process, (Loc){0}, "a layer for %s runs here under %s: %s", t->name,
		   f->qemu, strerror(error));
	diag_fix(diag, "install qemu-user (Debian)");
	return false;
}

int foreign_lost(Foreign *f, const char **why)
{
	int status = 0;

	*why = arena_printf(f->arena, "%s does not answer", f->qemu);
	if (f->pid > 0 && waitpid(f->pid, &status, 0) == f->pid) {
		if (WIFSIGNALED(status))
			*why = arena_printf(f->arena, "%s was ended by signal %d (%s)", f->qemu,
					    WTERMSIG(status), strsignal(WTERMSIG(status)));
		else
			*why = arena_printf(f->arena, "%s ended with status %d", f->qemu,
					    WEXITSTATUS(status));
		f->pid = 0;
	}
	return MOERT_INTERNAL;
}

void foreign_end(Foreign *f)
{
	int status;

	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	while (f->pid > 0 && waitpid(f->pid, &status, 0) < 0 && errno == EINTR)
		;
	arena_free(f->arena);
}

/* ---- the layer ------------------------------------------------------------------------ */

int64_t reader_word(Reader *r)
{
	int64_t word = 0;

	r->ok = r->ok && wire_get(r->f->fd, &word);
	return r->ok ? word : 0;
}

const char *reader_text(Reader *r)
{
	int64_t n = reader_word(r);

	r->ok = r->ok && n <= 1 << 24;
	n = r->ok ? MAX(n, 0) : 0;
	char *text = arena_alloc(r->f->arena, (size_t)n + 1);

	r->ok = r->ok && wire_read(r->f->fd, text, (size_t)n);
	text[r->ok ? n : 0] = '\0';
	return text;
}

/* A table's length: none of a layer's is longer than a file of IR could make it. */
static int64_t get_count(Reader *r)
{
	int64_t n = reader_word(r);

	r->ok = r->ok && n >= 0 && n <= 1 << 24;
	return r->ok ? n : 0;
}

#define TEXT(field)  to->field = reader_text(r);
#define WORD(field)  to->field = (__typeof__(to->field))reader_word(r);      /* or unsigned */
#define TABLE(field) to->field = get_count(r);

static void read_weight(Reader *r, moert_weight *to)
{
	WIRE_STORED(TEXT, WORD, TABLE)
	const char **names = NEWN(r->f->arena, const char *, (size_t)to->nstreams + 1);
	for (int64_t s = 0; s < to->nstreams; s++)
		names[s] = reader_text(r);
	to->streams = names;
}

static void read_buf(Reader *r, moert_buf *to)
{
	WIRE_BUF(TEXT, WORD)
}

static void read_range(Reader *r, moert_range *to)
{
	WIRE_RANGE(WORD)
}

static void read_tables(Reader *r, moert_layer *l)
{
	Arena *a = r->f->arena;
	moert_buf *bufs = NEWN(a, moert_buf, (size_t)l->nbufs + 1);
	moert_weight *weights = NEWN(a, moert_weight, (size_t)l->nweights + 1);
	moert_range *ranges = NEWN(a, moert_range, (size_t)l->nranges + 1);

	for (int64_t i = 0; i < l->nbufs; i++)
		read_buf(r, &bufs[i]);
	for (int64_t i = 0; i < l->nweights; i++)
		read_weight(r, &weights[i]);
	for (int64_t i = 0; i < l->nranges; i++)
		read_range(r, &ranges[i]);
	l->bufs = bufs;
	l->weights = weights;
	l->ranges = ranges;
}

static void read_fields(Reader *r, moert_layer *to)
{
	WIRE_LAYER(TEXT, WORD, TABLE)
}

static bool read_layer(Foreign *f, const char **why)
{
	Reader r = {f, true};

	*why = reader_text(&r);
	if (r.ok && **why)
		return false;
	read_fields(&r, &f->layer);
	read_tables(&r, &f->layer);
	if (!r.ok)
		foreign_lost(f, why);
	return r.ok;
}

#undef TEXT
#undef WORD
#undef TABLE

Foreign *foreign_start(Arena *arena, Diag *diag, const Target *t, const char *library,
		       const char *layer)
{
	const Machine *machine = machine_for(diag, t);
	char *runner = arena_printf(arena, "%s.runner", library);
	const char *why = "";

	if (!machine)
		return NULL;
	Arena *own = arena_new();
	Foreign *f = NEW(own, Foreign);
	*f = (Foreign){.arena = own, .fd = -1, .qemu = qemu_name(own, t),
		       .target = ""};
	cleanup_file(runner);
	bool ok = false;
	if (!write_runner(machine, runner))
		diag_error(diag, E_cannot_write, (Loc){.file = runner}, "cannot be written: %m");
	else if (start_process(f, diag, t, runner, library, layer) && !(ok = read_layer(f, &why)))
		diag_error(diag, E_process, (Loc){0}, "cannot load the compiled layer: %s", why);
	unlink(runner);
	cleanup_forget(runner);
	if (ok)
		return f;
	foreign_end(f);
	return NULL;
}

const moert_layer *foreign_layer(const Foreign *f)
{
	return &f->layer;
}
