/* SPDX-License-Identifier: Apache-2.0
 * pack: a layer's weights in the layout that its compiled library streams, as a .moew. */
#include "moec.h"

#include <unistd.h>

static const moert_layer *layouts(const Job *job, const Modules *list)
{
	const moert_layer *l = NULL;

	for (int i = list->n - 1; i >= 0; i--)
		if (!(l = backend_layout(job->arena, job->diag, list->at[i], l)))
			return NULL;
	return l;
}

static bool write_moew(const Job *job, Source *s, Server *server)
{
	char why[512] = "";
	moert_options options = {
	    .size = sizeof options, .why = why, .why_size = sizeof why};
	Modules list;
	int errors = diag_errors(job->diag);

	if (!compile_variants(s, &list, NULL))
		return false;
	const moert_layer *layer = layouts(job, &list);
	if (!layer)
		return false;
	server->variants = &list;
	const char *beside = arena_printf(job->arena, "%s.%ld-0.tmp", job->opt->out,
					  (long)getpid());      /* as moert.h promises */
	cleanup_file(beside);
	int error = moert_pack(&layer, 1, server_get, server, job->opt->out, &options);
	cleanup_forget(beside);
	if (error && diag_errors(job->diag) == errors)
		diag_error(job->diag, E_cannot_write, (Loc){.file = job->opt->out}, "%s",
			   without_path(*why ? why : moert_error(error), job->opt->out));
	return !error;
}

int command_pack(const Job *job)
{
	Source s;
	Server server;
	bool ok = false;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	const Module *m = source_module(&s);
	if (m && s.moew) {
		diag_error(job->diag, E_file_kind, (Loc){.file = s.moew},
			   "it is packed already");
	} else if (m) {
		server_open(&server, job, m, source_weights(&s, m), false);
		ok = write_moew(job, &s, &server);
		server_close(&server);
	}
	source_close(&s);
	return ok ? EXIT_OK : EXIT_INPUT;
}
