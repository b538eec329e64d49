/* SPDX-License-Identifier: Apache-2.0
 * layer: a source as code in this process, or where it can run. */
#include "moec.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void remove_folder(Arena *a, const char *folder)
{
	DIR *dir = opendir(folder);

	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.')
			unlink(arena_printf(a, "%s/%s", folder, e->d_name));
	if (dir)
		closedir(dir);
	rmdir(folder);
}

/* In a child, so that whatever becomes of it, the folder can be removed. */
static int emit_apart(const Job *job, const Modules *list, const char *path)
{
	EmitOptions emit = emit_options(list, EMIT_LIB, path);
	int status;

	fflush(NULL);
	pid_t child = fork();
	if (child < 0) {
		diag_error(job->diag, E_process, (Loc){0}, "cannot start a process: %m");
		return EXIT_INPUT;
	}
	if (child == 0) {
		bool ok = backend_emit(job->arena, job->diag, list->at[0], &emit);
		fflush(NULL);
		_exit(ok ? EXIT_OK : EXIT_INPUT);
	}
	cleanup_child(child);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			ice("waiting for a child: %m");
	cleanup_child(0);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM) {
		diag_error(job->diag, E_process, (Loc){0},
			   "the compilation was ended from outside: %s",
			   strsignal(WTERMSIG(status)));
		return EXIT_INPUT;
	}
	fprintf(stderr, "moec: internal error in pass 'lower': ended by signal %d\n"
			"  reproduce with: %s\n", WTERMSIG(status), job->command);
	return EXIT_BUG;
}

static bool load(const Job *job, const char *path, Layer *l)
{
	l->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!l->library) {
		diag_error(job->diag, E_process, (Loc){0},
			   "cannot load the compiled layer: %s", dlerror());
		return false;
	}
	const char *symbol = arena_printf(job->arena, "%s_layer", l->m->name);
	const moert_layer *(*layer)(void) =
		(const moert_layer *(*)(void))dlsym(l->library, symbol);
	if (!layer)
		ice("the library has no %s", symbol);
	l->layer = layer();
	return true;
}

/* Here, or where it can run. */
static bool start(const Job *job, const char *path, Layer *l)
{
	const Target *t = target_find(l->m->target);

	if (target_is_host(t))
		return load(job, path, l);
	l->foreign = foreign_start(job->arena, job->diag, t, path, l->m->name);
	l->layer = l->foreign ? foreign_layer(l->foreign) : NULL;
	return l->foreign != NULL;
}

bool layer_load(const Job *job, Source *s, Layer *l)
{
	const char *tmp = getenv("TMPDIR");
	char *folder =
	    arena_printf(job->arena, "%s/moec.XXXXXX", tmp && *tmp ? tmp : "/tmp");

	*l = (Layer){0};
	if (!compile_variants(s, &l->variants, NULL))
		return false;
	l->m = l->variants.at[0];
	cleanup_file(folder);           /* before it exists: a signal may come at once */
	if (!mkdtemp(folder)) {
		cleanup_forget(folder);
		diag_error(job->diag, E_cannot_write, (Loc){.file = folder},
			   "cannot create: %m");
		return false;
	}
	const char *path = arena_printf(job->arena, "%s/layer.so", folder);
	cleanup_file(path);
	int status = emit_apart(job, &l->variants, path);
	bool ok = status == EXIT_OK && start(job, path, l);
	remove_folder(job->arena, folder);
	cleanup_forget(path);
	cleanup_forget(folder);
	if (status == EXIT_BUG)
		exit(EXIT_BUG);
	return ok;
}

void layer_unload(Layer *l)
{
	foreign_end(l->foreign);
	if (l->library)
		dlclose(l->library);
	*l = (Layer){0};
}

bool layer_failed(const Job *job, const char *what, int error, const char *why)
{
	if (error == MOERT_INTERNAL)
		ice("%s: %s", what, *why ? why : moert_error(error));
	diag_error(job->diag, E_refused_call, (Loc){.file = job->opt->src}, "%s: %s",
		   what, *why ? why : moert_error(error));
	return false;
}

static uint64_t weight_bytes(const moert_layer *l)
{
	uint64_t bytes = 0;

	for (int64_t i = 0; i < l->nweights; i++)
		bytes += (uint64_t)l->weights[i].bytes *
			 (l->weights[i].range < 0 ? 1
			  : (uint64_t)l->ranges[l->weights[i].range].count);
	return bytes;
}

/* Bytes that the machine can give without taking them from others; 0: it does not say. */
static uint64_t free_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long long kib = 0;
	char line[128];

	while (f && !kib && fgets(line, sizeof line, f))
		sscanf(line, "MemAvailable: %llu kB", &kib);
	if (f)
		fclose(f);
	return (uint64_t)kib * 1024;
}

bool enough_memory(const Job *job, const char *what, double need)
{
	double have = (double)free_memory();

	if (have == 0 || need < have - have / 16)
		return true;
	diag_error(job->diag, E_no_memory, (Loc){.file = job->opt->src},
		   "%s need %.1f GB of memory, %.1f GB are free", what, need * 1e-9,
		   have * 1e-9);
	return false;
}

const char *layer_target(const Layer *l, const moert_model *model)
{
	return l->foreign ? foreign_target(l->foreign) : moert_target(model);
}

void layer_close(const Layer *l, moert_model *model)
{
	if (l->foreign)
		foreign_close(l->foreign, model);
	else
		moert_close(model);
}

static int open_packed(const Layer *l, const char *path, const moert_options *o,
		       moert_model **model)
{
	return l->foreign ? foreign_open(l->foreign, path, o, model)
			  : moert_open(l->layer, path, o, model);
}

static int open_natural(const Layer *l, Server *server, const moert_options *o,
			moert_model **model)
{
	return l->foreign ? foreign_open_memory(l->foreign, server_get, server, o, model)
			  : moert_open_memory(l->layer, server_get, server, o, model);
}

/* server: NULL when the weights are packed already. */
bool layer_open(const Job *job, Source *s, const Layer *l, Server *server,
		moert_model **model)
{
	char why[512] = "";
	moert_options options = {
	    .size = sizeof options, .why = why, .why_size = sizeof why};
	int errors = diag_errors(job->diag), error;

	*model = NULL;
	if (s->moew) {
		error = open_packed(l, s->moew, &options, model);
		if (error)
			diag_error(job->diag, E_moew, (Loc){.file = s->moew}, "%s",
				   without_path(*why ? why : moert_error(error),
						s->moew));
		return !error;
	}
	double bytes = (double)weight_bytes(l->layer) * (server->keep ? 2 : 1);
	if (!enough_memory(job, "its weights", bytes))
		return false;
	server->progress = progress_new("packing weights", weight_bytes(l->layer), "B");
	error = open_natural(l, server, &options, model);
	progress_end(server->progress);
	server->progress = NULL;
	if (error && diag_errors(job->diag) == errors)
		return layer_failed(job, "weights", error, why);
	return !error;
}

bool layer_measurable(const Job *job, const Layer *l)
{
	if (l->foreign)
		diag_error(job->diag, E_target, (Loc){0},
			   "%s is played by qemu here: its times say nothing", l->m->target);
	return !l->foreign;
}
