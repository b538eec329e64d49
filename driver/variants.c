/* SPDX-License-Identifier: Apache-2.0
 * variants: a source through the pipeline, once for each target of its library. */
#include "moec.h"
#include "../passes/pass.h"

/* The last pass that IR text certainly has behind it; NULL: none.  Those between the two
 * leave what they have done already as it is. */
static const char *passes_done(const Module *m)
{
	return m->panels.n > 0 ? "pack" : m->target ? "form-kernels" : NULL;
}

static const Target *target_of(const Job *job, const Module *m, int number)
{
	const Targets *list = &job->opt->targets;
	const Target *t = m->target ? target_find(m->target)
			  : list->n ? list->at[number] : NULL;

	if (!t && m->target) {
		const char **names = NEWN(job->arena, const char *, (size_t)target_count);
		for (int i = 0; i < target_count; i++)
			names[i] = targets[i].name;
		const char *near = nearest_name(m->target, names, target_count);
		diag_error(job->diag, E_target, (Loc){.file = job->opt->src}, "no target `%s`",
			   m->target);
		if (near)
			diag_fix(job->diag, "did you mean `%s`?", near);
	} else if (!t)
		diag_error(job->diag, E_target, (Loc){0},
			   "this machine is none that moec compiles for");
	return t;
}

bool compile_module(const Source *s, Module *m, int number, FILE *dumps)
{
	const Job *job = s->job;
	const Options *o = job->opt;
	const Target *target = target_of(job, m, number);
	PassContext ctx = {.arena = job->arena, .diag = job->diag, .target = target,
			   .plan = s->plan};
	PassOptions options = {
		.only = o->passes ? (const char *const[]){NULL} : NULL,
		.skip = (const char *const *)o->no_pass.at, .nskip = o->no_pass.n,
		.print_after = o->print_after, .stop_after = o->stop_after,
		.from = passes_done(m), .time = o->time_passes, .verify = true,
		.out = dumps, .command = job->command,
	};

	if (!target)
		return false;
	if (o->passes) {
		options.only = o->passes->n ? o->passes->at : options.only;
		options.nonly = o->passes->n;
	}
	int errors = diag_errors(job->diag);
	run_passes(m, &ctx, &options);
	if (s->plan && !s->plan->applied && !o->stop_after &&
	    diag_errors(job->diag) == errors)
		diag_error(job->diag, E_plan_setting, (Loc){.file = o->src},
			   "the plan has no effect: schedule-blocks does not run");
	return diag_errors(job->diag) == errors;
}

bool compile_variants(Source *s, Modules *list, FILE *dumps)
{
	int n = 1;

	*list = (Modules){0};
	for (int i = 0; i < n; i++) {
		Module *m = source_module(s);
		if (!m)
			return false;
		if (!m->target)                 /* IR text may name its own */
			n = MAX(s->job->opt->targets.n, 1);
		if (!compile_module(s, m, i, dumps))
			return false;
		vec_push(s->job->arena, list, m);
	}
	return true;
}

EmitOptions emit_options(const Modules *list, EmitKind what, const char *out)
{
	return (EmitOptions){.target = target_find(list->at[0]->target), .what = what,
			     .out = out, .verify = true, .others = list->at + 1,
			     .nothers = list->n - 1};
}
