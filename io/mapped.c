/* SPDX-License-Identifier: Apache-2.0
 * mapped: files as memory, whose owners may cut them down meanwhile.
 *
 * Weights may be larger than memory, so they are mapped and not read; then pages that are
 * gone are a SIGBUS, on whichever thread.  It ends the process as any bad file does: with a
 * diagnostic, with status 1, with nothing left behind.  The list is static because signals
 * find it; a place in it is taken by writing `end` last, and given back likewise. */
#include "io.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Mapped {
	struct Mapped    *next;
	uintptr_t         from;
	_Atomic uintptr_t end;          /* 0: nothing is mapped here, the entry is free */
	char             *said;         /* what to say, whole */
} Mapped;

static _Atomic(Mapped *) all;
static struct sigaction before;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	for (const Mapped *m = atomic_load(&all); m; m = m->next) {
		if (at < m->from || at >= atomic_load(&m->end))
			continue;
		while (write(STDERR_FILENO, m->said, strlen(m->said)) < 0 &&
		       errno == EINTR)
			;
		cleanup_now();
		_exit(1);
	}
	sigaction(SIGBUS, &before, NULL);       /* not ours: it comes again, to them */
}

static void catch_sigbus(void)
{
	struct sigaction act = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigemptyset(&act.sa_mask);
	sigaction(SIGBUS, &act, &before);
}

/* An entry that stays: it may be asked for at any time. */
static Mapped *free_entry(void)
{
	Mapped *m = atomic_load(&all);

	while (m && atomic_load(&m->end))
		m = m->next;
	if (m)
		return m;
	m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	if (!(m->next = atomic_load(&all)))
		catch_sigbus();
	atomic_store(&all, m);
	return m;
}

static bool watch(const char *path, const void *at, uint64_t size)
{
	Arena *a = arena_new();
	Mapped *m = free_entry();
	char *said = strdup(arena_printf(
	    a, "%s: error: was changed while it was being read [%s]\n", printable(a, path),
	    diag_info[E_file_changed].code));

	arena_free(a);
	if (!m || !said) {
		free(said);
		errno = ENOMEM;
		return false;
	}
	free(m->said);
	m->said = said;
	m->from = (uintptr_t)at;
	atomic_store(&m->end, m->from + (uintptr_t)size);
	return true;
}

const void *file_map(Diag *d, const char *path, int fd, uint64_t size)
{
	void *at = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (at != MAP_FAILED && watch(path, at, size))
		return at;
	diag_error(d, E_cannot_read, (Loc){.file = path}, "cannot map: %s",
		   strerror(errno));
	if (at != MAP_FAILED)
		munmap(at, (size_t)size);
	return NULL;
}

void file_unmap(const void *at, uint64_t size)
{
	for (Mapped *m = atomic_load(&all); m; m = m->next)
		if (m->from == (uintptr_t)at)
			atomic_store(&m->end, 0);
	munmap((void *)at, (size_t)size);
}
