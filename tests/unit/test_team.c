// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_team: threads that run together, wait for one another, and sleep. */
#include <stdbool.h>
#include "unit.h"
#include "../../runtime/internal.h"

#include <signal.h>
#include <unistd.h>

enum { MOST = 9, ROUNDS = 300 };

typedef struct {
	moert_team *team;
	int         n, seen[MOST];
	_Atomic int bad;
	int turn; /* written by one worker, read by all behind a barrier */
} Work;

/* Each round a different worker writes; a wrong barrier shows as a wrong turn (or a
 * race). */
static void rounds(void *arg, int worker)
{
	Work *w = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % w->n == worker)
			w->turn = i;
		moert_team_sync(w->team);
		if (w->turn != i)
			atomic_fetch_add(&w->bad, 1);
		moert_team_sync(w->team);
	}
	w->seen[worker]++;
}

static void test_barrier(void)
{
	for (int n = 1; n <= MOST; n += n < 3 ? 1 : 3) {
		Work w = {.n = n};
		MUST(moert_team_new(n, &w.team) == 0);
		moert_team_run(w.team, rounds, &w);
		CHECK(w.bad == 0);
		for (int i = 0; i < n; i++)
			CHECK(w.seen[i] == 1);
		moert_team_free(w.team);
	}
}

static void once(void *arg, int worker)
{
	((Work *)arg)->seen[worker]++;
}

static void test_sleepers(void)
{
	Work w = {.n = 3};
	MUST(moert_team_new(3, &w.team) == 0);
	for (int i = 0; i < 200; i++) {
		if (i % 50 == 0)
			usleep(2000);           /* longer than they spin */
		moert_team_run(w.team, once, &w);
		for (int j = 0; j < 3; j++)
			CHECK(w.seen[j] == i + 1);
	}
	moert_team_free(w.team);
}

static void late(void *arg, int worker)
{
	Work *w = arg;
	if (worker == 1)
		usleep(3000);
	moert_team_sync(w->team);
	w->seen[worker]++;
}

static void test_late(void)
{
	Work w = {.n = 2};
	MUST(moert_team_new(2, &w.team) == 0);
	for (int i = 0; i < 5; i++)
		moert_team_run(w.team, late, &w);
	CHECK(w.seen[0] == 5 && w.seen[1] == 5);
	moert_team_free(w.team);
}

static void test_unused(void)
{
	moert_team *team;
	MUST(moert_team_new(4, &team) == 0);
	moert_team_free(team);
	moert_team_free(NULL);
	CHECK(moert_cpus() >= 1);
}

static void look_at_mask(void *arg, int worker)
{
	Work *w = arg;
	sigset_t mask;

	if (worker == 0 || pthread_sigmask(SIG_SETMASK, NULL, &mask) != 0)
		return;
	w->seen[worker] = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGALRM) &&
			  !sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGBUS);
}

/* What is the host's affair does not reach members; what is their own fault does. */
static void test_signals(void)
{
	Work w = {.n = 2};

	MUST(moert_team_new(2, &w.team) == 0);
	moert_team_run(w.team, look_at_mask, &w);
	CHECK(w.seen[1] == 1);
	moert_team_free(w.team);
}

SUITE("team", {"barrier", test_barrier}, {"sleepers", test_sleepers}, {"late", test_late},
      {"never run", test_unused}, {"signals", test_signals})
