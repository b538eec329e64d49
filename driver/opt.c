/* SPDX-License-Identifier: Apache-2.0
 * opt: passes on IR text. */
#include "moec.h"

#include <string.h>

int command_opt(const Job *job)
{
	Source s;
	bool ok = false;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	Module *m = NULL;
	if (s.is_mir)
		m = source_module(&s);
	else
		diag_error(job->diag, E_file_kind, (Loc){.file = job->opt->src},
			   "not a .mir file");
	if (m && compile_module(&s, m, 0, NULL))
		ok = write_ir(job, m);
	source_close(&s);
	return ok ? EXIT_OK : EXIT_INPUT;
}
