/* SPDX-License-Identifier: Apache-2.0
 * run: one call of a layer: compiled, interpreted, or both compared. */
#include "moec.h"

#include <sched.h>

int cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
		return 1;
	return CPU_COUNT(&set);
}

int64_t thread_count(const Job *job)
{
	return job->opt->threads ? job->opt->threads : cpu_count();
}

/* y as float32, whatever the layer's type. */
static bool write_output(const Job *job, const Module *m, const Outcome *out)
{
	const Output *y = &out->outs[0];
	const Type *t = &m->fns->outs[0];
	float *v = NEWN(job->arena, float, (size_t)y->n);
	int64_t dims[MAX_RANK + 1];
	int rank = 0;

	if (t->level != LV_ONCE)
		dims[rank++] = y->rows;
	for (int i = 0; i < t->rank; i++)
		dims[rank++] = t->dim[i];
	for (int64_t i = 0; i < y->n; i++)
		v[i] = (float)y->v[i];
	return npy_write(job->diag, job->opt->output, rank, dims, v);
}

static int finish(const Job *job, const Module *m, const Inputs *in, const Outcome *out,
		  const char *how)
{
	print_summary(job, m, in, out, how);
	if (job->opt->output && !write_output(job, m, out))
		return EXIT_INPUT;
	return EXIT_OK;
}

static int run_reference(const Job *job, const Module *m, const Inputs *in,
			 Server *server)
{
	Outcome out;

	if (!run_interpreter(job, m, in, &server->source, NULL, false, &out))
		return EXIT_INPUT;
	return finish(job, m, in, &out, "interpreted");
}

static int run_compiled(const Job *job, Source *s, const Module *m, const Inputs *in,
			Server *server)
{
	Layer layer;
	Outcome out;
	bool within = true;
	int status = EXIT_INPUT;

	if (!layer_load(job, s, &layer))
		return status;
	int64_t threads = thread_count(job);
	server->variants = &layer.variants;
	bool ok = !job->opt->time_trace || layer_measurable(job, &layer);
	if (ok && run_native(job, s, in, &layer, server, &out))
		status = finish(job, m, in, &out, arena_printf(job->arena,
				"compiled for %s, %jd thread%s", out.target,
				(intmax_t)threads, threads == 1 ? "" : "s"));
	if (status == EXIT_OK && job->opt->check &&
	    !check_outcome(job, m, in, &server->source, &out, &within))
		status = EXIT_INPUT;
	layer_unload(&layer);
	return status == EXIT_OK && !within ? EXIT_BUG : status;
}

int command_run(const Job *job)
{
	const Options *o = job->opt;
	Source s;
	Inputs in;
	Server server;
	int status = EXIT_INPUT;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	Module *m = source_module(&s);
	if (m && s.moew && (o->reference || o->check)) {
		diag_error(job->diag, E_file_kind, (Loc){.file = s.moew},
			   "packed weights cannot be interpreted");
		diag_fix(job->diag, "give the model's own files with --weights");
		m = NULL;
	}
	if (m && (o->reference || o->check))
		interpretable(job, m);
	if (m && inputs_make(job, m, &in)) {
		server_open(&server, job, m, source_weights(&s, m),
			    o->reference || o->check);
		status = o->reference ? run_reference(job, m, &in, &server)
				      : run_compiled(job, &s, m, &in, &server);
		server_close(&server);
	}
	source_close(&s);
	return status;
}
