/* SPDX-License-Identifier: Apache-2.0
 * foreign: our end of the socket whose other end runner/runner.c has; see wire.h. */
#include "foreign.h"
#include "../backend/backend.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

struct Foreign {
	Arena       *arena;             /* its own */
	const char  *qemu;
	int          fd;
	pid_t        pid;
	moert_layer  layer;
	const char  *target;            /* "": none is open */
};

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

static const Machine *machine_of(const Target *t)
{
	for (int i = 0; i < machine_count; i++)
		if (strcmp(machines[i].triple, t->triple) == 0)
			return &machines[i];
	return NULL;
}

const char *foreign_lacks(Arena *a, const Target *t)
{
	const char *qemu = qemu_name(a, t), *cc = arena_printf(a, "%s-gcc", t->triple);
	const Machine *m = machine_of(t);

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
	size_t done = 0;

	while (fd >= 0 && done < m->runner.size) {
		ssize_t n = write(fd, m->runner.data + done, m->runner.size - done);
		if (n < 0 && errno != EINTR)
			break;
		done += n < 0 ? 0 : (size_t)n;
	}
	return fd >= 0 && close(fd) == 0 && done == m->runner.size;
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

static int lost(Foreign *f, const char **why)
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

typedef struct { Foreign *f; bool ok; } Reader;

static int64_t get(Reader *r)
{
	int64_t word = 0;

	r->ok = r->ok && wire_get(r->f->fd, &word);
	return r->ok ? word : 0;
}

/* "" where there is none or nobody speaks. */
static const char *get_text(Reader *r)
{
	int64_t n = get(r);
	char *text = arena_alloc(r->f->arena, (size_t)MAX(n, 0) + 1);

	r->ok = r->ok && (n <= 0 || wire_read(r->f->fd, text, (size_t)n));
	text[r->ok && n > 0 ? n : 0] = '\0';
	return text;
}

/* A table's length: none of a layer's is longer than a file of IR could make it. */
static int64_t get_count(Reader *r)
{
	int64_t n = get(r);

	r->ok = r->ok && n >= 0 && n <= 1 << 24;
	return r->ok ? n : 0;
}

static void read_weight(Reader *r, moert_weight *w)
{
	w->name = get_text(r);
	w->range = get(r);
	w->dtype = get(r);
	w->cols = get(r);
	w->kpack = get(r);
	w->n = get(r);
	w->k = get(r);
	w->nstreams = get_count(r);
	w->bytes = get(r);
	const char **names = NEWN(r->f->arena, const char *, (size_t)w->nstreams + 1);
	for (int64_t s = 0; s < w->nstreams; s++)
		names[s] = get_text(r);
	w->streams = names;
}

static void read_tables(Reader *r, moert_layer *l)
{
	Arena *a = r->f->arena;
	moert_buf *bufs = NEWN(a, moert_buf, (size_t)l->nbufs + 1);
	moert_weight *weights = NEWN(a, moert_weight, (size_t)l->nweights + 1);
	moert_range *ranges = NEWN(a, moert_range, (size_t)l->nranges + 1);

	for (int64_t i = 0; i < l->nbufs; i++) {
		bufs[i].name = get_text(r);
		bufs[i].role = get(r);
		bufs[i].dtype = get(r);
		bufs[i].level = get(r);
		bufs[i].range = get(r);
		bufs[i].elems = get(r);
		bufs[i].given = get(r);
	}
	for (int64_t i = 0; i < l->nweights; i++)
		read_weight(r, &weights[i]);
	for (int64_t i = 0; i < l->nranges; i++) {
		ranges[i].first = get(r);
		ranges[i].count = get(r);
	}
	l->bufs = bufs;
	l->weights = weights;
	l->ranges = ranges;
}

static bool read_layer(Foreign *f, const char **why)
{
	Reader r = {f, true};
	moert_layer *l = &f->layer;

	*why = get_text(&r);
	if (r.ok && **why)
		return false;
	l->name = get_text(&r);
	l->target = get_text(&r);
	l->needs = get_text(&r);
	l->fingerprint = (uint64_t)get(&r);
	l->width = get(&r);
	l->experts = get(&r);
	l->picks = get(&r);
	l->group = get(&r);
	l->nbufs = get_count(&r);
	l->nweights = get_count(&r);
	l->nranges = get_count(&r);
	read_tables(&r, l);
	if (!r.ok)
		lost(f, why);
	return r.ok;
}

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

/* ---- weights and calls ---------------------------------------------------------------- */

static void tell_why(const moert_options *o, const char *why)
{
	if (o && o->why && o->why_size)
		snprintf(o->why, o->why_size, "%s", why);
}

/* Hands out weights until the result comes. */
static int await(Foreign *f, moert_weight_fn *give, void *ctx, const moert_options *o)
{
	Reader r = {f, true};
	const char *why = "";

	for (;;) {
		int64_t what = get(&r);
		if (r.ok && what == WIRE_WEIGHT) {
			moert_layer asks = f->layer;
			asks.target = get_text(&r);
			const char *name = get_text(&r);
			int64_t range = get(&r), expert = get(&r), bytes = get(&r);
			const void *data = r.ok ? give(ctx, &asks, name, range, expert) : NULL;
			r.ok = r.ok && wire_put_array(f->fd, data, bytes);
			continue;
		}
		int error = (int)get(&r);
		why = get_text(&r);
		if (!r.ok)
			error = lost(f, &why);
		tell_why(o, why);
		return error;
	}
}

static int opened(Foreign *f, int error)
{
	Reader r = {f, error == MOERT_OK};

	f->target = get_text(&r);
	return error || r.ok ? error : MOERT_INTERNAL;
}

const char *foreign_target(const Foreign *f)
{
	return f->target;
}

int foreign_open(Foreign *f, const char *path, const moert_options *o)
{
	(void)(wire_put(f->fd, WIRE_OPEN) && wire_put(f->fd, o ? (int64_t)o->flags : 0) &&
	       wire_put_text(f->fd, path));
	return opened(f, await(f, NULL, NULL, o));
}

int foreign_open_memory(Foreign *f, moert_weight_fn *give, void *ctx,
			const moert_options *o)
{
	(void)wire_put(f->fd, WIRE_OPEN_MEMORY);
	return opened(f, await(f, give, ctx, o));
}

typedef struct { const void *at; int64_t bytes; } Array;

static int64_t row_bytes(const moert_buf *b)
{
	return b->elems * (b->dtype == DT_bool ? 4 : dtype_info[b->dtype].bits / 8);
}

/* `stride` 0: dense */
static Array array_of(const moert_buf *b, const void *at, int64_t tokens, int64_t stride)
{
	int64_t row = row_bytes(b), rows = b->level == MOERT_TOKEN ? tokens : 1;

	return (Array){at, rows ? (rows - 1) * (stride ? stride : row) + row : 0};
}

/* The arrays of a call in the wire's order.  False: more than fit. */
typedef struct { Array in[256], out[256]; int nin, nout; } Arrays;

static bool arrays_of(const moert_layer *l, const moert_args *a, Arrays *s)
{
	int64_t t = a->tokens, picks = 0, losses = 0;
	int inputs = 0, outputs = 0;

	s->nin = WIRE_ARRAYS_READ;
	s->nout = WIRE_ARRAYS_WRITTEN;
	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		if (s->nin == (int)COUNT(s->in) || s->nout == (int)COUNT(s->out))
			return false;
		losses += b->role == MOERT_LOSS;
		picks = b->given ? b->elems : picks;
		if (b->role == MOERT_INPUT && inputs++ == 0)
			s->in[0] = array_of(b, a->x, t, a->x_stride);
		else if (b->role == MOERT_INPUT)
			s->in[s->nin++] = array_of(b, a->inputs[inputs - 2], t, 0);
		else if (b->role == MOERT_OUTPUT && outputs++ == 0)
			s->out[0] = array_of(b, a->y, t, a->y_stride);
		else if (b->role == MOERT_OUTPUT)
			s->out[s->nout++] =
			    array_of(b, a->outputs ? a->outputs[outputs - 2] : NULL, t, 0);
	}
	s->in[1] = (Array){a->nseq ? a->seq : NULL, (a->nseq + 1) * 8};
	s->in[2] = (Array){a->seen, MAX(a->nseq, 1) * 8};
	s->in[3] = (Array){a->step, 8};
	s->in[4] = (Array){a->picks_in, t * picks * 4};
	s->in[5] = (Array){a->gates_in, t * picks * 4};
	s->out[1] = (Array){a->picks_out, t * picks * 4};
	s->out[2] = (Array){a->gates_out, t * picks * 4};
	s->out[3] = (Array){a->losses, losses * 4};
	return true;
}

static bool put_arrays(Foreign *f, const Array *a, int n)
{
	bool ok = true;

	for (int i = 0; i < n && ok; i++)
		ok = wire_put_array(f->fd, a[i].at, a[i].bytes);
	return ok;
}

int foreign_run(Foreign *f, const moert_session_options *o, const moert_args *a, double *ms)
{
	Arrays s = {0};
	int64_t ns = 0;

	if (!arrays_of(&f->layer, a, &s))
		return MOERT_ARGS;
	const int64_t words[] = {
		WIRE_RUN, o ? o->threads : 0, o && o->parallel_for, a->tokens, a->x_stride,
		a->y_stride, a->nseq, (int64_t)a->seed, s.nin - WIRE_ARRAYS_READ,
		s.nout - WIRE_ARRAYS_WRITTEN,
	};
	(void)(wire_write(f->fd, words, sizeof words) && put_arrays(f, s.in, s.nin) &&
	       put_arrays(f, s.out, s.nout));
	int error = await(f, NULL, NULL, NULL);
	bool ok = error != MOERT_INTERNAL && wire_get(f->fd, &ns);
	for (int i = 0; ok && i < s.nout; i++)
		ok = !s.out[i].at ||
		     wire_read(f->fd, (void *)s.out[i].at, (size_t)s.out[i].bytes);
	if (ms)
		*ms = (double)ns * 1e-6;
	return ok ? error : MOERT_INTERNAL;
}
