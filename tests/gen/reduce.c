/* SPDX-License-Identifier: Apache-2.0
 * reduce: a failing program becomes a small one that fails in the same way.
 *
 * Settings first, each to its plainest; then the text, by whatever shrink.c finds next to it,
 * until nothing smaller fails.  Every candidate runs in a child with limits. */
#include "run.h"

#include "../../passes/pass.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
	Arena *a;
	const Place *place;
	const char *command, *failure;
	int left;                       /* tries */
	Program best;
} Reduce;

/* Runs a child to its end. */
static int finished(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			ice("waiting for a child: %m");
	return status;
}

static bool wanted(const Reduce *r, const Program *p)
{
	const char *path = arena_printf(r->a, "%s/candidate.moe", r->place->scratch);
	FILE *out = fopen(path, "w");

	if (!out)
		ice("%s: %m", path);
	program_print(out, p);
	fclose(out);
	int status = system(arena_printf(r->a, "timeout 60 %s %s >/dev/null 2>&1", r->command,
					 path));
	unlink(path);
	return status == 0;
}

static const char *fails(const Reduce *r, const Program *p)
{
	int status = finished(child_start(r->place, MAX_JOBS, p, 1));

	return child_failure(r->a, status, child_log(r->place, r->a, MAX_JOBS));
}

static bool keep(Reduce *r, const Program *p)
{
	if (r->left-- <= 0)
		return false;
	bool ok = r->command ? wanted(r, p) : strcmp(fails(r, p), r->failure) == 0;
	if (ok)
		r->best = *p;
	return ok;
}

/* ---- settings ---- */

static bool fewer_tokens(Reduce *r)
{
	static const int64_t counts[] = {1, 2, 3, 5, 8, 16};
	Program p = r->best;
	bool changed = false;

	p.nseq = 0;
	if (r->best.nseq)
		changed |= keep(r, &p);
	for (size_t i = 0; i < COUNT(counts) && counts[i] < r->best.tokens; i++) {
		p = r->best;
		p.tokens = counts[i];
		for (int s = 0; s <= p.nseq && p.nseq; s++)
			p.seq[s] = s == p.nseq ? p.tokens : MIN(p.seq[s], p.tokens);
		if (keep(r, &p))
			return true;
	}
	return changed;
}

static bool same_passes(const Program *p, const Program *q)
{
	bool same = p->npasses == q->npasses;

	for (int i = 0; same && i < p->npasses; i++)
		same = p->pass[i] == q->pass[i];
	return same;
}

static bool fewer_passes(Reduce *r)
{
	Program p = r->best;

	pipeline_make(&p);
	if (same_passes(&p, &r->best))
		return false;
	if (keep(r, &p))
		return true;
	for (int i = 0; i < r->best.npasses; i++) {
		p = r->best;
		memmove(&p.pass[i], &p.pass[i + 1],
			(size_t)(--p.npasses - i) * sizeof *p.pass);
		if (p.npasses > 0 && keep(r, &p))
			return true;
	}
	return false;
}

/* One setting less; false: none can go. */
static bool plainer(Reduce *r)
{
	Program p = r->best;

	p.tiles = 0;
	p.rows = 0;
	if (r->best.tiles && keep(r, &p))
		return true;
	p = r->best;
	p.library = false;
	if (r->best.library && keep(r, &p))
		return true;
	p = r->best;
	p.under = false;
	if (r->best.under && keep(r, &p))
		return true;
	p = r->best;
	p.data = DATA_NORMAL;
	if (r->best.data != DATA_NORMAL && keep(r, &p))
		return true;
	for (p = r->best; p.target > targets && p.target--;)
		if (target_host_has(p.target) && keep(r, &p))
			return true;
	return fewer_passes(r) || fewer_tokens(r);
}

/* ---- text ---- */

static bool smaller_text(Reduce *r)
{
	Cursor c = {0};
	bool changed = false;

	for (const char *text; r->left > 0 && (text = shrink(r->a, r->best.text, &c));) {
		Program p = r->best;
		Cursor before = c;
		p.text = text;
		if (strcmp(text, r->best.text) == 0 || !keep(r, &p))
			continue;
		changed = true;
		/* what follows has moved to this place */
		c = before;
		if (c.kind <= SHRINK_LINES && c.i > 0)
			c.i--;
		else
			c.j = 0;
	}
	return changed;
}

const Program *reduce(Arena *a, const Place *place, const Program *p, const char *command,
		      int tries, const char **failure)
{
	Reduce r = {.a = a, .place = place, .command = command, .left = tries, .best = *p};

	r.failure = command ? "worth keeping" : fails(&r, p);
	*failure = r.failure;
	if (command ? !wanted(&r, p) : !*r.failure)
		return NULL;
	for (bool again = true; again && r.left > 0;) {
		again = false;
		while (r.left > 0 && plainer(&r))
			again = true;
		again |= smaller_text(&r);
	}
	Program *best = NEW(a, Program);
	*best = r.best;
	return best;
}
