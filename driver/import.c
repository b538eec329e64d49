/* SPDX-License-Identifier: Apache-2.0
 * import: a model's layer as a .moe of its own. */
#include "moec.h"

#include <string.h>

/* Where it comes from, above what the frontend writes. */
static const char *with_head(const Job *job, const char *layer)
{
	const char *name = job->opt->layer;
	const char *from = printable(job->arena, job->opt->src);

	return arena_printf(job->arena, "// %s%s of %s, written by `moec import`.\n%s",
			    name ? "Layer " : "The first layer with experts",
			    name ? printable(job->arena, name) : "", from, layer);
}

/* What was written must compile to the same module. */
static bool compiles(const Job *job, const Source *s, const char *text)
{
	FeOptions fe = s->fe;

	fe.file = job->opt->out;
	fe.text = text;
	fe.layer = NULL;
	fe.config = NULL;
	return fe_compile(job->arena, job->diag, &fe) != NULL;
}

int command_import(const Job *job)
{
	const char *text = NULL;
	Source s;
	bool ok = false;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	if (!s.fe.config)
		diag_error(job->diag, E_file_kind, (Loc){.file = job->opt->src},
			   "not a model's folder");
	else if (source_module(&s))
		text = fe_import(job->arena, job->diag, &s.fe);
	if (text) {
		text = with_head(job, text);
		if (!compiles(job, &s, text))
			diag_error(job->diag, E_no_config, (Loc){.file = s.fe.file},
				   "this layer cannot be written without config.json");
		else
			ok = file_write(job->diag, job->opt->out, text, strlen(text));
	}
	source_close(&s);
	return ok ? EXIT_OK : EXIT_INPUT;
}
