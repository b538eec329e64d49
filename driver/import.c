/* SPDX-License-Identifier: Apache-2.0
 * import: a model's layer as a .moe of its own. */
#include "moec.h"

int command_import(const Job *job)
{
	diag_error(job->diag, (Loc){.file = job->opt->src}, "cannot be imported yet");
	diag_fix(job->diag, "compile, run and bench take the model itself");
	return EXIT_INPUT;
}
