/* SPDX-License-Identifier: Apache-2.0
 * team: a few threads that spin briefly between pieces of work and then sleep.
 *
 * Both waits are the same: a word is read until it changes.  A decode step takes tens of
 * microseconds, so waiting spins that long; a longer pause, or fewer cores than threads,
 * sleeps.  A sleeper counts itself before it looks again, and who changes the word looks
 * at the count afterwards: one of the two sees the other (sequentially consistent
 * accesses). */
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 50000, PAUSES = 32 };

typedef struct {
	_Alignas(64) _Atomic uint32_t word;
	_Alignas(64) _Atomic int      sleepers;
	pthread_mutex_t lock;
	pthread_cond_t  changed;
} signal_word;

typedef struct { moert_team *team; int number; pthread_t thread; } member;

struct moert_team {
	signal_word          go;        /* a change: run fn */
	signal_word          sense;     /* a change: all have arrived at the barrier */
	_Alignas(64) _Atomic int arrived;
	int                  n, started;
	int64_t              spin_ns;
	moert_team_fn       *fn;        /* NULL: end */
	void                *arg;
	member              *members;
};

static inline void pause_cpu(void)
{
#if defined __x86_64__ || defined __i386__
	__builtin_ia32_pause();
#elif defined __aarch64__
	__asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void wait_change(moert_team *team, signal_word *s, uint32_t old)
{
	if (team->spin_ns) {
		int64_t end = now_ns() + team->spin_ns;
		do {
			for (int i = 0; i < PAUSES; i++) {
				if (atomic_load(&s->word) != old)
					return;
				pause_cpu();
			}
		} while (now_ns() < end);
	} else {
		sched_yield();
	}
	pthread_mutex_lock(&s->lock);
	atomic_fetch_add(&s->sleepers, 1);
	while (atomic_load(&s->word) == old)
		pthread_cond_wait(&s->changed, &s->lock);
	atomic_fetch_sub(&s->sleepers, 1);
	pthread_mutex_unlock(&s->lock);
}

static void change(signal_word *s)
{
	atomic_fetch_add(&s->word, 1);
	if (!atomic_load(&s->sleepers))
		return;
	pthread_mutex_lock(&s->lock);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* The last to arrive flips the sense that the others wait for. */
void moert_team_sync(moert_team *team)
{
	if (team->n == 1)
		return;
	uint32_t sense = atomic_load(&team->sense.word);
	if (atomic_fetch_add(&team->arrived, 1) + 1 == team->n) {
		atomic_store(&team->arrived, 0);
		change(&team->sense);
	} else {
		wait_change(team, &team->sense, sense);
	}
}

static void *member_main(void *arg)
{
	member *m = arg;
	moert_team *team = m->team;

	for (uint32_t seen = 0;; seen++) {
		wait_change(team, &team->go, seen);
		if (!team->fn)
			return NULL;
		team->fn(team->arg, m->number);
		moert_team_sync(team);
	}
}

void moert_team_run(moert_team *team, moert_team_fn *fn, void *arg)
{
	if (team->n == 1) {
		fn(arg, 0);
		return;
	}
	team->fn = fn;
	team->arg = arg;
	change(&team->go);
	fn(arg, 0);
	moert_team_sync(team);
}

int moert_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
		return 1;
	return CPU_COUNT(&set);
}

static void signal_init(signal_word *s)
{
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
}

static void signal_free(signal_word *s)
{
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

/* The members take no signals: those are the host program's affair.  Its handlers for
 * faults are called wherever these happen, so they must not be blocked. */
static bool start_members(moert_team *team)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
	sigset_t all, old;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (team->started = 1; team->started < team->n; team->started++) {
		member *m = &team->members[team->started];
		*m = (member){.team = team, .number = team->started};
		if (pthread_create(&m->thread, NULL, member_main, m) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return team->started == team->n;
}

int moert_team_new(int n, moert_team **out)
{
	moert_team *team = aligned_alloc(64, sizeof *team);
	member *members = calloc((size_t)n, sizeof *members);

	*out = NULL;
	if (!team || !members) {
		free(team);
		free(members);
		return MOERT_MEMORY;
	}
	*team = (moert_team){.n = n, .members = members};
	team->spin_ns = n <= moert_cpus() ? SPIN_NS : 0;
	signal_init(&team->go);
	signal_init(&team->sense);
	if (!start_members(team)) {
		moert_team_free(team);
		return MOERT_THREADS;
	}
	*out = team;
	return MOERT_OK;
}

void moert_team_free(moert_team *team)
{
	if (!team)
		return;
	team->fn = NULL;
	change(&team->go);
	for (int i = 1; i < team->started; i++)
		pthread_join(team->members[i].thread, NULL);
	signal_free(&team->go);
	signal_free(&team->sense);
	free(team->members);
	free(team);
}
