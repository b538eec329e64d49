/* SPDX-License-Identifier: Apache-2.0
 * loaded: a compiled layer in this process, linked with a runtime that puts its workspace and
 * its weights between guard pages (gen/guard), or as users link it. */
#ifndef MOEC_LOADED_H
#define MOEC_LOADED_H

#include "../runtime/moert.h"

#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
	void *handle;
	int (*open)(moert_weight_fn *, void *, const moert_options *, moert_model **);
	int (*start)(moert_model *, const moert_session_options *, moert_session **);
	int (*run)(moert_session *, const moert_args *);
	void (*end)(moert_session *);
	void (*close)(moert_model *);
	/* NULL: a runtime without guards */
	int (*guard)(moert_model *, int64_t under);
} Loaded;

static inline bool loaded_link(const char *object, const char *library)
{
	char *argv[] = {"ld", "-shared", "--gc-sections", "-Bsymbolic", "-o", (char *)library,
			(char *)object, GUARDED, NULL};
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline void *loaded_symbol(void *handle, const char *layer, const char *what)
{
	char name[256];

	snprintf(name, sizeof name, "%s_%s", layer, what);
	return dlsym(handle, name);
}

static inline bool loaded_open(Loaded *l, const char *path, const char *layer)
{
	l->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!l->handle) {
		printf("%s\n", dlerror());
		return false;
	}
	*(void **)&l->open = loaded_symbol(l->handle, layer, "open_memory");
	*(void **)&l->start = loaded_symbol(l->handle, layer, "start");
	*(void **)&l->run = loaded_symbol(l->handle, layer, "run");
	*(void **)&l->end = loaded_symbol(l->handle, layer, "end");
	*(void **)&l->close = loaded_symbol(l->handle, layer, "close");
	*(void **)&l->guard = dlsym(l->handle, "moert_guard");
	return l->open && l->start && l->run && l->end && l->close;
}

/* One call in a session of its own. */
static inline int loaded_call(const Loaded *l, moert_model *model,
			      const moert_session_options *so, const moert_args *args)
{
	moert_session *session;
	int error = l->start(model, so, &session);

	if (error)
		return error;
	error = l->run(session, args);
	l->end(session);
	return error;
}

static inline void loaded_close(Loaded *l)
{
	if (l->handle)
		dlclose(l->handle);
	*l = (Loaded){0};
}

#endif
