/* SPDX-License-Identifier: Apache-2.0
 * child: one program in a process of its own. */
#include "run.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 20, PATIENCE = 6 };    /* of CPU, a configuration; of time, a second of CPU */
static const rlim_t MEMORY = (rlim_t)6 << 30;

static char *log_path(const Place *p, Arena *a, int slot)
{
	return arena_printf(a, "%s/%d.log", p->scratch, slot);
}

static NORETURN void run(const Place *place, int slot, const Program *p, int n)
{
	Arena *arena = arena_new();
	const char *slack = getenv("MOEC_TEST_SLACK");
	rlim_t seconds = SECONDS * (rlim_t)n * (rlim_t)(slack ? atoi(slack) : 1);
	int fd = open(log_path(place, arena, slot), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(VERDICT_FAILED);
	setvbuf(stdout, NULL, _IONBF, 0);
	setrlimit(RLIMIT_CPU, &(struct rlimit){seconds, seconds + 1});
	if (!slack)                     /* sanitizers reserve terabytes */
		setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY, MEMORY});
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	alarm((unsigned)(PATIENCE * seconds));  /* on a machine with other work */
	_exit(programs_run(arena, p, n, place->scratch, &place->outcome[slot]));
}

pid_t child_start(const Place *place, int slot, const Program *p, int n)
{
	place->outcome[slot] = (Outcome){0};
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		ice("cannot start a process: %m");
	if (pid == 0)
		run(place, slot, p, n);
	return pid;
}

const char *child_log(const Place *place, Arena *a, int slot)
{
	char *path = log_path(place, a, slot);
	size_t n;
	char *log = file_read(a, diag_new(a, stderr), path, 1 << 24, &n);

	unlink(path);
	return log ? log : "";
}

Verdict child_verdict(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	return code == VERDICT_PASSED || code == VERDICT_SKIPPED ? (Verdict)code
								 : VERDICT_FAILED;
}

/* A warning or a note on a program or the standard library, and the lines shown for it. */
static bool is_remark(const char *line)
{
	size_t n = strcspn(line, ": \n");

	return *line == ' ' || (n > 4 && strncmp(line + n - 4, ".moe:", 5) == 0);
}

const char *child_failure(Arena *a, int status, const char *log)
{
	Text t = text_new(a);

	if (child_verdict(status) != VERDICT_FAILED)
		return "";
	if (WIFSIGNALED(status)) {
		int sig = WTERMSIG(status);
		return sig == SIGALRM || sig == SIGXCPU || sig == SIGKILL ? "too slow"
									  : strsignal(sig);
	}
	/* in "token 3, entry 4 is 5, not 6" only the words are the same next time */
	const char *line = strstr(log, "error: ");
	for (line = line ? line : log; is_remark(line);) {
		const char *next = strchr(line, '\n');
		if (!next || !next[1])
			break;
		line = next + 1;
	}
	for (; *line && *line != '\n' && t.n < 90; line++)
		if (isdigit((unsigned char)line[*line == '-']))
			line += strspn(line, "0123456789.e+-") - 1;
		else
			text_addn(&t, line, 1);
	return *t.s ? t.s : arena_printf(a, "exit status %d", WEXITSTATUS(status));
}
