/* SPDX-License-Identifier: Apache-2.0
 * progress: one line on stderr for what takes long, and nothing for what does not. */
#include "io.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_MS = 1000, EVERY_MS = 100 };

struct Progress {
	const char      *what, *unit;
	uint64_t         total;
	int64_t          start;         /* ms */
	_Atomic uint64_t done;
	_Atomic int64_t next; /* when the line is due; who moves it on prints it */
	atomic_bool      shown;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 1.4 GiB for bytes, else plain numbers. */
static void amount(char *to, size_t n, uint64_t v, const char *unit)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double x = (double)v;
	size_t i = 0;

	if (strcmp(unit, "B") != 0) {
		snprintf(to, n, "%ju %s", (uintmax_t)v, unit);
		return;
	}
	for (; x >= 1024 && i + 1 < COUNT(names); i++)
		x /= 1024;
	snprintf(to, n, "%.*f %s", i > 2, x, names[i]);
}

static void show(Progress *p, uint64_t done, int64_t ms)
{
	char a[40], b[40], left[40] = "";
	int percent = p->total ? (int)(100.0 * (double)done / (double)p->total) : 0;

	amount(a, sizeof a, done, p->unit);
	amount(b, sizeof b, p->total, p->unit);
	if (done && done < p->total) {
		double s = (double)ms / 1000 * (double)(p->total - done) / (double)done;
		int t = (int)MIN(s + 0.5, 359999.0);
		snprintf(left, sizeof left, ", %d:%02d left", t / 60, t % 60);
	}
	fprintf(stderr, "\r\033[K%s: %d%%, %s of %s%s", p->what, MIN(percent, 100), a, b,
		left);
	fflush(stderr);
	atomic_store(&p->shown, true);
}

/* NULL where there is nobody to look at it; the others take NULL. */
Progress *progress_new(const char *what, uint64_t total, const char *unit)
{
	Progress *p = isatty(STDERR_FILENO) ? calloc(1, sizeof *p) : NULL;

	if (p) {
		p->what = what;
		p->unit = unit;
		p->total = total;
		p->start = now_ms();
		p->next = p->start + FIRST_MS;
	}
	return p;
}

void progress_add(Progress *p, uint64_t n)
{
	if (!p)
		return;
	uint64_t done = atomic_fetch_add(&p->done, n) + n;
	int64_t now = now_ms(), due = atomic_load(&p->next);

	if (now >= due && atomic_compare_exchange_strong(&p->next, &due, now + EVERY_MS))
		show(p, done, now - p->start);
}

void progress_end(Progress *p)
{
	if (p && atomic_load(&p->shown)) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
	free(p);
}
