/* SPDX-License-Identifier: Apache-2.0
 * cleanup: what must not outlive the process, whatever ends it: files half written, a child
 * that would go on writing them.  The list is static because signals find it. */
#include "base.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 16 };

static _Atomic(const char *) files[MOST];
static atomic_int child;

void cleanup_file(const char *path)
{
	for (int i = 0; i < MOST; i++) {
		const char *none = NULL;
		if (atomic_compare_exchange_strong(&files[i], &none, path))
			return;
	}
}

void cleanup_forget(const char *path)
{
	for (int i = 0; i < MOST; i++) {
		const char *it = path;
		if (atomic_compare_exchange_strong(&files[i], &it, NULL))
			return;
	}
}

void cleanup_child(int pid)
{
	atomic_store(&child, pid);
}

void cleanup_now(void)
{
	int pid = atomic_exchange(&child, 0), saved = errno;

	if (pid && kill(pid, SIGTERM) == 0)
		while (waitpid(pid < 0 ? -pid : pid, NULL, 0) < 0 && errno == EINTR)
			;
	/* the others of a group remove their own files meanwhile */
	for (int i = 0; pid < 0 && i < 1000 && kill(pid, 0) == 0; i++)
		usleep(1000);
	for (int i = MOST - 1; i >= 0; i--) {
		const char *path = atomic_exchange(&files[i], NULL);
		if (path && unlink(path) != 0)
			rmdir(path);
	}
	errno = saved;
}
