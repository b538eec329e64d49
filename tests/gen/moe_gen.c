/* SPDX-License-Identifier: Apache-2.0
 * moe_gen: random valid programs, compiled and compared with the interpreter; see README.md.
 *
 *     moe_gen [FILE..] --count 500 --seed 1 [--configs 1] [--jobs 2] [--keep DIR]
 *             [--target NAME,..] [--no-reduce] [-v] [--print]
 *     moe_gen --reduce FILE|SEED [--while COMMAND]
 *
 * Files are layers, or programs as --print writes them.  Program i has seed + i, whatever the
 * count: `--seed 17 --count 1 -v` is program 17 alone.  A failing one is reduced, and kept in
 * DIR. */
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_REASONS = 32, MOST_REDUCED = 3, TRIES = 600, ENOUGH = 300 };

/* One program: a file's, or a seed's. */
typedef struct { const char *file; uint64_t seed; } Item;
typedef struct { pid_t pid; Item item; } Child;

typedef struct {
	long count, jobs, configs;
	uint64_t seed;
	char **files;
	int nfiles;
	bool verbose, print, as_is;
	const char *reduce, *command, *keep, *self, *wanted;
	const Target *target[MAX_CONFIGS];
	int ntargets;                   /* 0: those of this machine */
	Place place;
	Child child[MAX_JOBS];
	int running, reduced;
	long passed, failed, skipped;
	struct { char text[96]; long n; } reason[MAX_REASONS];
	int nreasons;
	Outcome sum;
} Run;

static const char *item_name(Arena *a, Item item)
{
	return item.file ? item.file
			 : arena_printf(a, "%llu", (unsigned long long)item.seed);
}

/* A program in its configurations; files that name theirs have one, other files all that
 * matter.  Returns how many. */
static int item_settings(const Run *r, Arena *a, Item item, Program *p)
{
	if (!item.file) {
		program_make(a, item.seed, p);
	} else if (!program_read(a, item.file, p)) {
		fprintf(stderr, "moe_gen: %s is no program\n", item.file);
		exit(2);
	}
	if (p->target) {
		if (p->npasses == 0)
			pipeline_make(p);
		return 1;
	}
	if (item.file)
		return settings_all(p);
	for (int i = 1; i < r->configs; i++)
		p[i] = p[0];
	for (int i = 0; i < r->configs; i++)
		setting_make(item.seed, i, &p[i]);
	return (int)r->configs;
}

/* .. and for each target of the command line's, one after the other. */
static int item_programs(const Run *r, Arena *a, Item item, Program *p)
{
	int n = item_settings(r, a, item, p), all = r->ntargets;

	if (!all)
		return n;
	n = MIN(n, (int)r->configs);
	for (int i = n; i < all; i++)
		p[i] = p[i - n];
	n = MAX(n, all);
	for (int i = 0; i < n; i++)
		p[i].target = r->target[i % all];
	return n;
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

/* Reduces a program, prints what is left, and keeps it in a file. */
static bool reduce_program(const Run *r, Arena *a, const char *name, const Program *p)
{
	const char *failure, *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	const Program *small = reduce(a, &r->place, p, r->command, TRIES, &failure);
	const char *path = arena_printf(a, "%s/reduced-%.*s.moe", r->keep,
					(int)strcspn(base, "."), base);

	if (!small) {
		printf("%s cannot be reduced: it does not fail alone\n", name);
		return false;
	}
	FILE *out = fopen(path, "w");
	if (out) {
		program_print(out, small);
		fprintf(out, "// %s: %s %s\n", failure, r->self, path);
		fclose(out);
	}
	printf("reduced to:\n");
	program_print(stdout, small);
	printf("reproduce with: %s %s\n\n", r->self, out ? path : "FILE");
	return true;
}

static void report_failure(Run *r, Item item, int status, const Outcome *at, const char *log)
{
	Arena *a = arena_new();
	Program p[MAX_CONFIGS], alone;
	const char *name = item_name(a, item);

	printf("FAILED: %s %s, configuration %d, call %d: %s\n%s", item.file ? "" : "seed",
	       name, at->config, at->call, child_failure(a, status, log), log);
	item_programs(r, a, item, p);
	alone = p[at->config];
	memcpy(alone.seq, p[at->call].seq, sizeof alone.seq);
	alone.nseq = p[at->call].nseq;
	alone.tokens = p[at->call].tokens;
	alone.data = p[at->call].data;
	program_print(stdout, &alone);
	printf("reproduce with: %s %s%s --count %d --configs %ld -v\n\n", r->self,
	       item.file ? "" : "--seed ", name, !item.file, r->configs);
	if (!r->as_is && r->reduced++ < MOST_REDUCED)
		reduce_program(r, a, name, &alone);
	arena_free(a);
}

static void add_outcome(Outcome *sum, const Outcome *out)
{
	sum->configs += out->configs;
	sum->calls += out->calls;
	sum->refused += out->refused;
	sum->tokens += out->tokens;
	sum->rerouted += out->rerouted;
	sum->lenient += out->lenient;
	for (int i = 0; i < REL_COUNT; i++)
		sum->held[i] += out->held[i];
}

static void finish(Run *r, int slot, int status)
{
	static const char *const words[] = {"passed", "failed", "skipped"};
	Arena *a = arena_new();
	Item item = r->child[slot].item;
	const Outcome out = r->place.outcome[slot];
	const char *log = child_log(&r->place, a, slot);
	Verdict verdict = child_verdict(status);

	r->passed += verdict == VERDICT_PASSED;
	r->skipped += verdict == VERDICT_SKIPPED;
	r->failed += verdict == VERDICT_FAILED;
	add_outcome(&r->sum, &out);
	if (verdict == VERDICT_SKIPPED)
		count_reason(r, log);
	if (r->verbose)
		printf("%s%s: %s, worst %.3g of the bound, %jd rerouted\n", log,
		       item_name(a, item), words[verdict], out.worst, (intmax_t)out.rerouted);
	if (verdict == VERDICT_FAILED)
		report_failure(r, item, status, &out, log);
	fflush(stdout);
	arena_free(a);
}

/* Waits for one child. */
static void reap(Run *r)
{
	int status;
	pid_t pid = wait(&status);

	for (int i = 0; i < MAX_JOBS; i++)
		if (pid > 0 && r->child[i].pid == pid) {
			r->child[i].pid = 0;
			r->running--;
			finish(r, i, status);
			return;
		}
	if (pid < 0 && errno != EINTR)
		ice("waiting for a child: %m");
}

static void start(Run *r, Item item)
{
	Arena *a = arena_new();
	Program p[MAX_CONFIGS];
	int slot = 0, n = item_programs(r, a, item, p);

	while (r->child[slot].pid)
		slot++;
	r->child[slot] = (Child){child_start(&r->place, slot, p, n), item};
	r->running++;
	arena_free(a);
}

static void print_item(const Run *r, Item item)
{
	Arena *a = arena_new();
	Program p[MAX_CONFIGS];
	int n = item_programs(r, a, item, p);

	for (int i = 0; i < n; i++)
		program_print(stdout, &p[i]);
	arena_free(a);
}

static void run_all(Run *r)
{
	for (long i = 0; i < r->nfiles + r->count; i++) {
		Item item = i < r->nfiles ? (Item){r->files[i], (uint64_t)i}
					  : (Item){NULL, r->seed + (uint64_t)(i - r->nfiles)};
		if (r->print) {
			print_item(r, item);
			continue;
		}
		while (r->running >= r->jobs)
			reap(r);
		start(r, item);
	}
	while (r->running > 0)
		reap(r);
}

/* A seed's first configuration, or a file. */
static bool reduce_alone(Run *r)
{
	Arena *a = arena_new();
	Program p[MAX_CONFIGS];
	char *end;
	Item item = {NULL, strtoull(r->reduce, &end, 10)};

	if (*end)
		item.file = r->reduce;
	item_programs(r, a, item, p);
	bool ok = reduce_program(r, a, r->reduce, p);
	arena_free(a);
	return ok;
}

/* Relations that were never tried are not tested: with enough programs, that is a failure. */
static bool print_sums(const Run *r)
{
	static const char *const words[] = {
#define RELATION(name, what) what,
		RELATIONS(RELATION)
#undef RELATION
	};
	bool ok = true;

	for (int i = 0; i < r->nreasons; i++)
		printf("skipped %ld: %s\n", r->reason[i].n, r->reason[i].text);
	printf("%ld configurations, %ld calls; %ld were refused\n", r->sum.configs,
	       r->sum.calls, r->sum.refused);
	for (int i = 0; i < REL_COUNT; i++) {
		bool missed = r->sum.held[i] == 0 && r->sum.configs >= ENOUGH;
		printf("%8ld times the same bits with %s%s\n", r->sum.held[i], words[i],
		       missed ? ": FAILED, it was never tried" : "");
		ok = ok && !missed;
	}
	printf("%jd of %jd tokens took another routing within the bounds; in %jd an "
	       "expert decided otherwise\n"
	       "moe_gen: %ld passed, %ld failed, %ld skipped\n",
	       (intmax_t)r->sum.rerouted, (intmax_t)r->sum.tokens, (intmax_t)r->sum.lenient,
	       r->passed, r->failed + !ok, r->skipped);
	return ok && r->failed == 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: moe_gen [FILE..] [--count N] [--seed S] [--configs C] [--jobs J] "
		"[--target T,..] [--keep DIR] [--no-reduce] [-v] [--print]\n"
		"       moe_gen --reduce FILE|SEED [--while COMMAND] [--keep DIR]\n");
	return 2;
}

static bool read_targets(Run *r)
{
	char list[256], *rest, *name;

	snprintf(list, sizeof list, "%s", r->wanted ? r->wanted : "");
	for (name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (r->ntargets == MAX_CONFIGS || !target_find(name))
			return false;
		r->target[r->ntargets++] = target_find(name);
	}
	return true;
}

static bool read_options(int argc, char **argv, Run *r)
{
	const struct { const char *name; bool *flag; } flags[] = {
		{"-v", &r->verbose}, {"--print", &r->print}, {"--no-reduce", &r->as_is},
	};
	const struct { const char *name; long *number; const char **text; } options[] = {
		{"--count", &r->count, NULL}, {"--jobs", &r->jobs, NULL},
		{"--configs", &r->configs, NULL}, {"--reduce", NULL, &r->reduce},
		{"--while", NULL, &r->command}, {"--keep", NULL, &r->keep},
		{"--seed", (long *)&r->seed, NULL}, {"--target", NULL, &r->wanted},
	};

	for (int i = 1; i < argc; i++) {
		size_t o = 0;
		while (o < COUNT(flags) && strcmp(argv[i], flags[o].name) != 0)
			o++;
		if (o < COUNT(flags)) {
			*flags[o].flag = true;
			continue;
		}
		for (o = 0; o < COUNT(options) && strcmp(argv[i], options[o].name) != 0;)
			o++;
		if (o < COUNT(options) && i + 1 == argc)
			return false;
		if (o < COUNT(options) && options[o].number)
			*options[o].number = (long)strtoull(argv[++i], NULL, 10);
		else if (o < COUNT(options))
			*options[o].text = argv[++i];
		else if (argv[i][0] == '-')
			return false;
		else
			r->files[r->nfiles++] = argv[i];
	}
	return read_targets(r) && r->count >= 0 && r->jobs >= 1 && r->jobs <= MAX_JOBS && r->configs >= 1 &&
	       r->configs <= MAX_CONFIGS;
}

int main(int argc, char **argv)
{
	Run r = {.count = 500, .seed = 1, .jobs = 2, .configs = 1, .keep = "/tmp",
		 .self = argv[0]};
	char scratch[] = "/tmp/moe_gen.XXXXXX";
	Arena *a = arena_new();
	bool ok = true;

	r.files = NEWN(a, char *, (size_t)argc);
	if (!read_options(argc, argv, &r)) {
		arena_free(a);
		return usage();
	}
	r.place.outcome = mmap(NULL, (MAX_JOBS + 1) * sizeof *r.place.outcome,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.place.outcome == MAP_FAILED || !mkdtemp(scratch))
		ice("no place for objects: %m");
	r.place.scratch = scratch;
	if (r.reduce) {
		ok = reduce_alone(&r);
	} else {
		run_all(&r);
		ok = r.print || print_sums(&r);
	}
	rmdir(scratch);
	arena_free(a);
	return !ok;
}
