/* SPDX-License-Identifier: Apache-2.0
 * moe_gen: random valid programs, compiled and compared with the interpreter.
 *
 *     moe_gen [FILE..] --count 500 --seed 1 [--jobs 2] [-v] [--print]
 *
 * Files hold programs as --print writes them.  Program i has seed + i, whatever the count:
 * `--seed 17 --count 1 -v` is program 17 alone.  Each runs in a child of its own, of 20
 * seconds. */
#include "gen.h"

#include "../../backend/backend.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 20, PATIENCE = 6, MAX_JOBS = 16, MAX_REASONS = 32 };

/* One program: a file's, or a seed's. */
typedef struct { const char *file; uint64_t seed; } Item;
typedef struct { pid_t pid; Item item; } Child;

typedef struct {
	long count, jobs;
	uint64_t seed;
	char **files;
	int nfiles;
	bool verbose, print;
	const char *self, *scratch;
	Child child[MAX_JOBS];
	int running;
	long passed, failed, skipped;
	struct { char text[96]; long n; } reason[MAX_REASONS];
	int nreasons;
	Outcome *outcome;               /* shared with the children: [MAX_JOBS] */
	long tokens, rerouted, lenient;
} Run;

static const char *item_name(Arena *a, Item item)
{
	return item.file ? item.file
			 : arena_printf(a, "seed %llu", (unsigned long long)item.seed);
}

static void item_program(Arena *a, Item item, Program *p)
{
	if (!item.file)
		program_make(a, item.seed, p);
	else if (!program_read(a, item.file, p))
		ice("%s is not a program of moe_gen", item.file);
}

static char *log_path(const Run *r, Arena *a, int slot)
{
	return arena_printf(a, "%s/%d.log", r->scratch, slot);
}

static NORETURN void run_child(const Run *r, Item item, int slot)
{
	Arena *arena = arena_new();
	Program p;
	int fd = open(log_path(r, arena, slot), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(VERDICT_FAILED);
	setvbuf(stdout, NULL, _IONBF, 0);
	setrlimit(RLIMIT_CPU, &(struct rlimit){SECONDS, SECONDS + 1});
	alarm(PATIENCE * SECONDS);       /* on a machine with other work */
	item_program(arena, item, &p);
	Verdict v = program_run(arena, &p, r->scratch, &r->outcome[slot]);
	_exit(v);
}

static void count_reason(Run *r, const char *log)
{
	char text[sizeof r->reason[0].text];
	const char *at = strstr(log, "error: ");

	at = at ? at + 7 : log;
	snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "\n"), at);
	for (int i = 0; i < r->nreasons; i++)
		if (strcmp(r->reason[i].text, text) == 0) {
			r->reason[i].n++;
			return;
		}
	if (r->nreasons == MAX_REASONS)
		return;
	memcpy(r->reason[r->nreasons].text, text, sizeof text);
	r->reason[r->nreasons++].n = 1;
}

static void report_failure(const Run *r, Item item, int status, const char *log)
{
	Arena *a = arena_new();
	const char *name = item_name(a, item);
	Program p;

	printf("FAILED: %s", name);
	if (WIFSIGNALED(status))
		printf(", %s", WTERMSIG(status) == SIGALRM ||
				WTERMSIG(status) == SIGXCPU ? "too slow"
							    : strsignal(WTERMSIG(status)));
	else
		printf(", exit status %d", WEXITSTATUS(status));
	printf("\n%s", log);
	item_program(a, item, &p);
	program_print(&p);
	printf("reproduce with: %s %s%s --count %d -v\n\n", r->self, item.file ? "" : "--",
	       name, !item.file);
	arena_free(a);
}

static void finish(Run *r, int slot, int status)
{
	Arena *a = arena_new();
	Item item = r->child[slot].item;
	const Outcome *out = &r->outcome[slot];
	size_t n;
	char *path = log_path(r, a, slot);
	char *log = file_read(a, diag_new(a, stderr), path, 1 << 24, &n);
	int verdict = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	log = log ? log : "";
	if (verdict == VERDICT_PASSED) {
		r->passed++;
		r->tokens += out->tokens;
		r->rerouted += out->rerouted;
		r->lenient += out->lenient;
	} else if (verdict == VERDICT_SKIPPED) {
		r->skipped++;
		count_reason(r, log);
	} else {
		r->failed++;
		report_failure(r, item, status, log);
	}
	if (r->verbose && verdict >= 0)
		printf("%s%s: %s, worst %.3g of the bound, %jd rerouted\n", log,
		       item_name(a, item),
		       verdict == VERDICT_PASSED ? "passed"
		       : verdict == VERDICT_SKIPPED ? "skipped" : "failed",
		       out->worst, (intmax_t)out->rerouted);
	fflush(stdout);
	unlink(path);
	arena_free(a);
}

/* Waits for one child. */
static void reap(Run *r)
{
	int status;
	pid_t pid = wait(&status);

	for (int i = 0; i < MAX_JOBS; i++)
		if (pid > 0 && r->child[i].pid == pid) {
			finish(r, i, status);
			r->child[i].pid = 0;
			r->running--;
			return;
		}
	if (pid < 0 && errno != EINTR)
		ice("waiting for a child: %m");
}

static void start(Run *r, Item item)
{
	int slot = 0;

	while (r->child[slot].pid)
		slot++;
	r->outcome[slot] = (Outcome){0};
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		ice("cannot start a process: %m");
	if (pid == 0)
		run_child(r, item, slot);
	r->child[slot] = (Child){pid, item};
	r->running++;
}

static void run_all(Run *r)
{
	for (long i = 0; i < r->nfiles + r->count; i++) {
		Item item = {NULL, r->seed + (uint64_t)(i - r->nfiles)};
		if (i < r->nfiles)
			item = (Item){r->files[i], 0};
		if (r->print) {
			Arena *a = arena_new();
			Program p;
			item_program(a, item, &p);
			program_print(&p);
			arena_free(a);
			continue;
		}
		while (r->running >= r->jobs)
			reap(r);
		start(r, item);
	}
	while (r->running > 0)
		reap(r);
}

static int usage(void)
{
	fprintf(stderr, "usage: moe_gen [FILE..] [--count N] [--seed S] [--jobs J] [-v] [--print]\n");
	return 2;
}

static bool read_options(int argc, char **argv, Run *r)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(argv[i], "-v") == 0)
			r->verbose = true;
		else if (strcmp(argv[i], "--print") == 0)
			r->print = true;
		else if (argv[i][0] != '-')
			r->files[r->nfiles++] = argv[i];
		else if (!value)
			return false;
		else if (strcmp(argv[i], "--count") == 0)
			r->count = strtol(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0)
			r->seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--jobs") == 0)
			r->jobs = strtol(argv[++i], NULL, 10);
		else
			return false;
	}
	return r->count >= 0 && r->jobs >= 1 && r->jobs <= MAX_JOBS;
}

int main(int argc, char **argv)
{
	Run r = {.count = 500, .seed = 1, .jobs = 2, .self = argv[0]};
	char scratch[] = "/tmp/moe_gen.XXXXXX";
	Arena *a = arena_new();

	r.files = NEWN(a, char *, (size_t)argc);
	if (!read_options(argc, argv, &r))
		return usage();
	r.outcome = mmap(NULL, MAX_JOBS * sizeof *r.outcome, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.outcome == MAP_FAILED || !mkdtemp(scratch))
		ice("no place for objects: %m");
	r.scratch = scratch;
	const char *archive = arena_printf(a, "%s/libmoert.a", scratch);
	const Machine *host = machine_for(diag_new(a, stderr), target_find("native"));
	bool ok = host && file_write(diag_new(a, stderr), archive, host->runtime.data,
				     host->runtime.size);
	if (ok)
		run_all(&r);
	unlink(archive);
	rmdir(scratch);
	arena_free(a);
	for (int i = 0; i < r.nreasons; i++)
		printf("skipped %ld: %s\n", r.reason[i].n, r.reason[i].text);
	if (!r.print)
		printf("%ld of %ld tokens took another routing within the bounds; in %ld an "
		       "expert decided otherwise\n"
		       "moe_gen: %ld passed, %ld failed, %ld skipped\n",
		       r.rerouted, r.tokens, r.lenient, r.passed, r.failed, r.skipped);
	return !ok || r.failed > 0;
}
