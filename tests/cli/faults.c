/* SPDX-License-Identifier: Apache-2.0
 * faults: preloaded by test_faults.py, makes the n-th call of a kind fail, or the process die
 * in its place.  Programs that moec starts are left alone; what it forks counts with it.
 *
 *     FAULT=alloc:17      the 17th allocation of moec and of the C library for it
 *     FAULT=llvm:1000     the 1000th of LLVM, counted from the first file that is opened
 *     FAULT=write:2       the second write; FAULT=file:2: of any kind but allocations
 *     FAULT=file:9:kill   dies by SIGKILL before the ninth
 *     FAULT_COUNT=FILE    how many calls of the kind there were is written there at the end */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
     *__libc_memalign(size_t, size_t);

enum { MOST_LIBRARIES = 16 };

static struct {
	char        kind[16];
	long        n;                  /* 0: none is to fail */
	int         kill;
	pid_t       owner;
	_Atomic long *count;            /* shared with forked children; NULL: not counting */
	const char *count_file;
	uintptr_t   other[MOST_LIBRARIES][2];   /* code of LLVM and C++ */
	int         others;
	int         opened;             /* a file: main() runs */
} fault;

/* Whether this call is the one. */
static int hits(const char *kind, int error)
{
	int is_file = strcmp(kind, "alloc") != 0 && strcmp(kind, "llvm") != 0;

	fault.opened |= is_file;
	if (!fault.count || (strcmp(fault.kind, kind) != 0 &&
			     (strcmp(fault.kind, "file") != 0 || !is_file)))
		return 0;
	if (++*fault.count != fault.n)
		return 0;
	if (fault.kill)
		raise(SIGKILL);
	errno = error;
	return 1;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *data)
{
	static const char *const names[] = {"libLLVM", "libstdc++", "ld-linux", "libgcc"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		for (int k = 0; strstr(info->dlpi_name, names[i]) && k < info->dlpi_phnum; k++) {
			const ElfW(Phdr) *p = &info->dlpi_phdr[k];
			if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) ||
			    fault.others == MOST_LIBRARIES)
				continue;
			uintptr_t at = info->dlpi_addr + p->p_vaddr;
			fault.other[fault.others][0] = at;
			fault.other[fault.others++][1] = at + p->p_memsz;
		}
	return 0;
}

static int alloc_hits(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	for (int i = 0; i < fault.others; i++)
		if (at >= fault.other[i][0] && at < fault.other[i][1])
			return fault.opened && hits("llvm", ENOMEM);
	return hits("alloc", ENOMEM);
}

static __attribute__((constructor)) void begin(void)
{
	const char *what = getenv("FAULT");

	if (!what || sscanf(what, "%15[a-z]:%ld", fault.kind, &fault.n) < 1)
		return;
	fault.kill = strstr(what, ":kill") != NULL;
	fault.count_file = getenv("FAULT_COUNT");
	fault.owner = getpid();
	unsetenv("LD_PRELOAD");
	dl_iterate_phdr(look_at, NULL);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fault.count = page == MAP_FAILED ? NULL : page;
}

static __attribute__((destructor)) void end(void)
{
	_Atomic long *count = fault.count;

	fault.count = NULL;
	if (!count || !fault.count_file || getpid() != fault.owner)
		return;
	FILE *f = fopen(fault.count_file, "w");
	if (f) {
		fprintf(f, "%ld\n", (long)*count);
		fclose(f);
	}
}

void *malloc(size_t n)
{
	return alloc_hits(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return alloc_hits(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return alloc_hits(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t to, size_t n)
{
	return alloc_hits(__builtin_return_address(0)) ? NULL : __libc_memalign(to, n);
}

/* A function of the C library with its kind, and what it says when it fails. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(result, name, kind, error, failed, params, ...)                       \
	result name params                                                         \
	{                                                                          \
		return hits(kind, error) ? failed : REAL(name)(__VA_ARGS__);       \
	}

WRAP(ssize_t, read, "read", EIO, -1, (int fd, void *to, size_t n), fd, to, n)
WRAP(ssize_t, pread, "read", EIO, -1, (int fd, void *to, size_t n, off_t at), fd, to, n, at)
WRAP(ssize_t, write, "write", ENOSPC, -1, (int fd, const void *from, size_t n), fd, from, n)
WRAP(ssize_t, pwrite, "write", ENOSPC, -1, (int fd, const void *from, size_t n, off_t at), fd,
     from, n, at)
WRAP(int, fsync, "sync", EIO, -1, (int fd), fd)
WRAP(int, fchmod, "mode", EPERM, -1, (int fd, mode_t mode), fd, mode)
WRAP(int, chmod, "mode", EPERM, -1, (const char *path, mode_t mode), path, mode)
WRAP(int, rename, "rename", EIO, -1, (const char *from, const char *to), from, to)
WRAP(int, mkostemp, "open", EMFILE, -1, (char *path, int flags), path, flags)
WRAP(int, mkostemps, "open", EMFILE, -1, (char *path, int tail, int flags), path, tail, flags)
WRAP(char *, mkdtemp, "open", EACCES, NULL, (char *path), path)
WRAP(DIR *, opendir, "open", EMFILE, NULL, (const char *path), path)
WRAP(FILE *, fopen, "open", EMFILE, NULL, (const char *path, const char *how), path, how)
WRAP(void *, mmap, "mmap", ENOMEM, MAP_FAILED,
     (void *at, size_t n, int prot, int flags, int fd, off_t from), at, n, prot, flags, fd, from)
WRAP(pid_t, fork, "start", EAGAIN, -1, (void))
WRAP(int, posix_spawnp, "start", EAGAIN, EAGAIN,
     (pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attr, char *const argv[], char *const envp[]),
     pid, file, actions, attr, argv, envp)

/* It happens all the same: what fails is the news of the last write. */
int close(int fd)
{
	int result = REAL(close)(fd);

	return hits("close", EIO) ? -1 : result;
}

int open(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	bool counts = !strstr(path, ".gcda");   /* scripts/coverage.sh: gcov's own, at the end */
	return counts && hits("open", EMFILE) ? -1 : REAL(open)(path, flags, mode);
}
