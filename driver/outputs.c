/* SPDX-License-Identifier: Apache-2.0
 * outputs: what can be known of the files to write before the work is done. */
#include "moec.h"

#include <sys/stat.h>

static bool same(const struct stat *st, const char *path)
{
	struct stat other;

	return path && stat(path, &other) == 0 && st->st_dev == other.st_dev &&
	       st->st_ino == other.st_ino;
}

/* IR text may be rewritten in place: it was read whole. */
static bool fits(const Job *job, const char *path)
{
	const Options *o = job->opt;
	struct stat st;

	if (!path || stat(path, &st) != 0)
		return true;
	if (S_ISDIR(st.st_mode)) {
		diag_error(job->diag, E_cannot_write, (Loc){.file = path},
			   "cannot be written: it is a folder");
		return false;
	}
	bool input = (job->number != COMMAND_opt && same(&st, o->src)) || same(&st, o->weights);
	if (S_ISREG(st.st_mode) && input)
		diag_error(job->diag, E_cannot_write, (Loc){.file = path},
			   "cannot be written: it is what is read");
	return !(S_ISREG(st.st_mode) && input);
}

bool outputs_fit(const Job *job)
{
	const Options *o = job->opt;

	return fits(job, o->out) && fits(job, o->output) && fits(job, o->json) &&
	       fits(job, o->time_trace);
}
