// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_team: threads that go through phases together, come late, and sleep. */
#include <stdbool.h>
#include "unit.h"
#include "../../runtime/internal.h"

#include <signal.h>
#include <unistd.h>

enum { MOST = 9, PHASES = 300, ITEMS = 5 };

/* Of each phase there are ITEMS to claim; `turn` is written between phases. */
typedef struct {
	_Atomic int claimed[PHASES], bad;
	uint32_t    turn;               /* a wrong order shows here, or as a race */
	int         done;               /* phases */
	_Atomic int seen[MOST];
	int         late_us;            /* worker 1 waits so long before it works */
} Work;

static void claim_items(void *arg, int worker, uint32_t phase)
{
	Work *w = arg;

	if (worker == 1 && w->late_us)
		usleep((useconds_t)w->late_us);
	if (w->turn != phase)
		atomic_fetch_add(&w->bad, 1);
	while (atomic_fetch_add(&w->claimed[phase], 1) < ITEMS)
		atomic_fetch_add(&w->seen[worker], 1);
}

static uint32_t next_turn(void *arg, int worker, uint32_t done)
{
	Work *w = arg;

	(void)worker;
	w->turn = done == MOERT_END ? 0 : done + 1;
	if (done != MOERT_END && w->claimed[done] < ITEMS)
		atomic_fetch_add(&w->bad, 1);
	w->done += done != MOERT_END;
	return w->turn < PHASES ? w->turn : MOERT_END;
}

static const moert_job job = {claim_items, next_turn};

static int all_seen(const Work *w)
{
	int n = 0;

	for (int i = 0; i < MOST; i++)
		n += w->seen[i];
	return n;
}

static void test_phases(void)
{
	for (int n = 1; n <= MOST; n += n < 3 ? 1 : 3) {
		moert_team *team;
		MUST(moert_team_new(n, &team) == 0);
		for (int i = 0; i < 20; i++) {
			Work w = {0};
			if (i % 5 == 0)
				usleep(2000);   /* longer than they spin */
			moert_team_run(team, &job, &w);
			CHECK(w.bad == 0);
			CHECK(w.done == PHASES);
			CHECK(all_seen(&w) == PHASES * ITEMS);
		}
		moert_team_free(team);
	}
}

static void test_alone(void)
{
	Work w = {0};

	moert_run_alone(&job, &w);
	CHECK(w.bad == 0 && w.done == PHASES && w.seen[0] == PHASES * ITEMS);
}

static uint32_t none(void *arg, int worker, uint32_t done)
{
	(void)arg, (void)worker, (void)done;
	return MOERT_END;
}

static void test_nothing(void)
{
	static const moert_job nothing = {claim_items, none};
	moert_team *team;
	Work w = {0};

	MUST(moert_team_new(2, &team) == 0);
	moert_team_run(team, &nothing, &w);
	moert_team_free(team);
	CHECK(all_seen(&w) == 0);
}

/* Who entered and is slow is waited for, at most once a phase. */
static void test_late(void)
{
	moert_team *team;

	MUST(moert_team_new(2, &team) == 0);
	for (int i = 0; i < 3; i++) {
		Work w = {.late_us = 200};
		moert_team_run(team, &job, &w);
		CHECK(w.bad == 0);
		CHECK(w.done == PHASES);
	}
	moert_team_free(team);
}

static void test_unused(void)
{
	moert_team *team;
	MUST(moert_team_new(4, &team) == 0);
	moert_team_free(team);
	moert_team_free(NULL);
	CHECK(moert_cpus() >= 1);
}

/* The caller waits until the other one was there. */
static void look_at_mask(void *arg, int worker, uint32_t phase)
{
	Work *w = arg;
	sigset_t mask;

	(void)phase;
	for (int i = 0; worker == 0 && !w->seen[0] && i < 10000; i++)
		usleep(1000);
	if (worker == 0 || pthread_sigmask(SIG_SETMASK, NULL, &mask) != 0)
		return;
	w->seen[worker] = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGALRM) &&
			  !sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGBUS);
	w->seen[0] = 1;
}

static uint32_t once(void *arg, int worker, uint32_t done)
{
	(void)arg, (void)worker;
	return done == MOERT_END ? 0 : MOERT_END;
}

/* What is the host's affair does not reach members; what is their own fault does. */
static void test_signals(void)
{
	static const moert_job look = {look_at_mask, once};
	moert_team *team;
	Work w = {0};

	MUST(moert_team_new(2, &team) == 0);
	moert_team_run(team, &look, &w);
	CHECK(w.seen[1] == 1);
	moert_team_free(team);
}

SUITE("team", {"phases", test_phases}, {"alone", test_alone}, {"nothing to do", test_nothing},
      {"late", test_late}, {"never run", test_unused}, {"signals", test_signals})
