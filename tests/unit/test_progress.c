/* SPDX-License-Identifier: Apache-2.0
 * Progress on a terminal (a pseudo one): late, rare, and gone at the end. */
// libs: io
#include "files.h"
#include "unit.h"
#include <fcntl.h>
#include <poll.h>
#include <time.h>

static int terminal(int *other)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0)
		return -1;
	*other = open(ptsname(fd), O_RDWR | O_NOCTTY);
	return *other < 0 ? -1 : fd;
}

/* Steps of 10 ms: each a percent or so of the whole. */
static void in_steps(int ms)
{
	Progress *p = progress_new("reading", (uint64_t)ms << 20, "B");

	for (int i = 0; i < ms; i += 10) {
		usleep(10000);
		progress_add(p, 10u << 20);
	}
	progress_end(p);
}

/* Done at once after a second; too little and too much for the numbers shown. */
static void at_once(int ms)
{
	static const struct { uint64_t total, first, then; const char *unit; } kinds[] = {
		{0, 0, 0, "rows"}, {5, 0, 7, "rows"}, {UINT64_MAX, 1, 1, "B"},
	};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		Progress *p = progress_new("reading", kinds[i].total, kinds[i].unit);
		usleep((useconds_t)ms * 1000);
		progress_add(p, kinds[i].first);
		usleep(110000);
		progress_add(p, kinds[i].then);
		progress_end(p);
	}
}

/* Runs with stderr on a terminal; what the terminal saw. */
static bool watch(void (*run)(int ms), int ms, char *seen, size_t size)
{
	int other, fd = terminal(&other), saved = dup(STDERR_FILENO);

	if (fd < 0)
		return false;
	dup2(other, STDERR_FILENO);
	run(ms);
	dup2(saved, STDERR_FILENO);
	size_t have = 0;
	for (struct pollfd ready = {fd, POLLIN, 0}; poll(&ready, 1, 100) > 0;) {
		ssize_t n = read(fd, seen + have, size - 1 - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	seen[have] = '\0';
	close(saved);
	close(other);
	close(fd);
	return true;
}

static void test_short(void)
{
	char seen[4096];

	if (!watch(in_steps, 200, seen, sizeof seen))
		SKIP("no pseudo terminal");
	SAME_TEXT(seen, "");
}

static void test_long(void)
{
	char seen[4096];
	int lines = 0;
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	if (!watch(in_steps, 1500, seen, sizeof seen))
		SKIP("no pseudo terminal");
	clock_gettime(CLOCK_MONOTONIC, &to);
	int64_t tenths = (to.tv_sec - from.tv_sec) * 10 + (to.tv_nsec - from.tv_nsec) / 100000000;
	for (const char *s = seen; (s = strstr(s, "reading: ")); s++)
		lines++;
	CHECK(lines >= 1 && lines <= tenths + 1);
	CHECK(strstr(seen, "% , ") == NULL &&
	      strstr(seen, " MiB of 1.5 GiB, 0:0") != NULL);
	CHECK(strlen(seen) > 4 && strcmp(seen + strlen(seen) - 4, "\r\x1b[K") == 0);
}

static void test_odd_amounts(void)
{
	char seen[4096];

	if (!watch(at_once, 1010, seen, sizeof seen))
		SKIP("no pseudo terminal");
	CHECK(strstr(seen, "reading: 0%, 0 rows of 0 rows\r") != NULL);
	CHECK(strstr(seen, "reading: 0%, 0 rows of 5 rows\r") != NULL);
	CHECK(strstr(seen, "reading: 100%, 7 rows of 5 rows\r") != NULL);
	CHECK(strstr(seen, "reading: 0%, 1 B of 16777216.0 TiB, 5999:59 left") != NULL);
}

static void test_no_terminal(void)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

	dup2(null, STDERR_FILENO);
	Progress *p = progress_new("reading", 1, "B");
	dup2(saved, STDERR_FILENO);
	CHECK(p == NULL);
	progress_add(p, 1);
	progress_end(p);
	close(saved);
	close(null);
}

SUITE("progress",
	{"nothing in the first second", test_short},
	{"then a line", test_long},
	{"odd amounts", test_odd_amounts},
	{"nothing without a terminal", test_no_terminal})
