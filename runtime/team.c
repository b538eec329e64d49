/* SPDX-License-Identifier: Apache-2.0
 * team: a few threads that go through the phases of a job together, spin briefly when there is
 * nothing to do, and then sleep.
 *
 * One word says which phase is open and how many threads are inside it.  Whoever is awake
 * enters, works until nothing is left to claim, and leaves; the last one inside closes the
 * phase and opens the next.  So nobody waits for a thread that sleeps, or that the machine
 * runs something else in place of: a call is at most as slow as one thread alone, but for an
 * item that was begun elsewhere.
 *
 * A sleeper counts itself before it looks again, and who changes the word looks at the count
 * afterwards: one of the two sees the other (sequentially consistent accesses). */
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 50000, PAUSES = 32 };

/* The word: threads inside, whether it is closed, the phase, and a number of the job, so that
 * equal phases of two jobs differ. */
enum { CLOSED_BIT = 16, PHASE_BIT = 17, JOB_BIT = 49 };
#define INSIDE  ((UINT64_C(1) << CLOSED_BIT) - 1)
#define CLOSED  (UINT64_C(1) << CLOSED_BIT)

typedef struct { moert_team *team; int number; pthread_t thread; } member;

struct moert_team {
	_Alignas(64) _Atomic uint64_t word;
	_Alignas(64) _Atomic int sleepers;
	_Atomic bool        end;
	pthread_mutex_t     lock;
	pthread_cond_t      changed;
	int                 n, started;
	int64_t             spin_ns;
	uint64_t            jobs;       /* so far */
	const moert_job    *job;        /* of the phase that is open */
	void               *arg;
	member             *members;
};

static uint32_t phase_of(uint64_t word)
{
	return (uint32_t)(word >> PHASE_BIT);
}

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

/* Until the word is no longer `old`, whoever comes and goes, or the team ends. */
static bool unchanged(moert_team *team, uint64_t old)
{
	return (atomic_load(&team->word) | INSIDE) == (old | INSIDE) && !atomic_load(&team->end);
}

static void wait_change(moert_team *team, uint64_t old)
{
	if (team->spin_ns) {
		int64_t end = now_ns() + team->spin_ns;
		do {
			for (int i = 0; i < PAUSES; i++) {
				if (!unchanged(team, old))
					return;
				pause_cpu();
			}
		} while (now_ns() < end);
	} else {
		sched_yield();
	}
	pthread_mutex_lock(&team->lock);
	atomic_fetch_add(&team->sleepers, 1);
	while (unchanged(team, old))
		pthread_cond_wait(&team->changed, &team->lock);
	atomic_fetch_sub(&team->sleepers, 1);
	pthread_mutex_unlock(&team->lock);
}

static void wake(moert_team *team)
{
	if (!atomic_load(&team->sleepers))
		return;
	pthread_mutex_lock(&team->lock);
	pthread_cond_broadcast(&team->changed);
	pthread_mutex_unlock(&team->lock);
}

/* Opens a phase with the caller inside, or closes the job; true: opened. */
static bool open_phase(moert_team *team, uint32_t phase)
{
	uint64_t job = team->jobs & (UINT64_MAX >> JOB_BIT);
	uint64_t word = (job << JOB_BIT) | ((uint64_t)phase << PHASE_BIT);

	atomic_store(&team->word, word | (phase == MOERT_END ? CLOSED : 1));
	wake(team);
	return phase != MOERT_END;
}

/* Works in the phase that the caller is inside, and in those that it opens itself; returns the
 * word of the last. */
static uint64_t work_inside(moert_team *team, int worker)
{
	for (;;) {
		uint64_t word = atomic_load(&team->word);
		uint32_t phase = phase_of(word);
		team->job->work(team->arg, worker, phase);
		for (;;) {              /* leave, or be the last */
			word = atomic_load(&team->word);
			bool last = (word & INSIDE) == 1;
			if (atomic_compare_exchange_weak(&team->word, &word,
							 last ? word | CLOSED : word - 1)) {
				if (!last)
					return word;
				break;
			}
		}
		if (!open_phase(team, team->job->next(team->arg, worker, phase)))
			return word;
	}
}

/* The word is `seen`: enters its phase if that is open and was not left before, else waits
 * until it changes. */
static bool enter(moert_team *team, uint64_t seen, uint64_t left)
{
	uint64_t word = seen;

	while (!(word & CLOSED) && (word | INSIDE) != (left | INSIDE))
		if (atomic_compare_exchange_weak(&team->word, &word, word + 1))
			return true;
	wait_change(team, seen);
	return false;
}

static void *member_main(void *arg)
{
	member *m = arg;
	uint64_t left = CLOSED;

	while (!atomic_load(&m->team->end))
		if (enter(m->team, atomic_load(&m->team->word), left))
			left = work_inside(m->team, m->number);
	return NULL;
}

void moert_run_alone(const moert_job *job, void *arg)
{
	for (uint32_t p = MOERT_END; (p = job->next(arg, 0, p)) != MOERT_END;)
		job->work(arg, 0, p);
}

void moert_team_run(moert_team *team, const moert_job *job, void *arg)
{
	if (team->n == 1) {
		moert_run_alone(job, arg);
		return;
	}
	team->job = job;
	team->arg = arg;
	team->jobs++;
	if (!open_phase(team, job->next(arg, 0, MOERT_END)))
		return;
	uint64_t left = work_inside(team, 0), word;
	while (phase_of(word = atomic_load(&team->word)) != MOERT_END)
		if (enter(team, word, left))
			left = work_inside(team, 0);
}

int moert_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
		return 1;
	return CPU_COUNT(&set);
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
	team->word = CLOSED | (uint64_t)MOERT_END << PHASE_BIT;
	pthread_mutex_init(&team->lock, NULL);
	pthread_cond_init(&team->changed, NULL);
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
	atomic_store(&team->end, true);
	wake(team);
	for (int i = 1; i < team->started; i++)
		pthread_join(team->members[i].thread, NULL);
	pthread_cond_destroy(&team->changed);
	pthread_mutex_destroy(&team->lock);
	free(team->members);
	free(team);
}
