/* SPDX-License-Identifier: Apache-2.0
 * interpret: one call of a layer by the reference interpreter. */
#include "moec.h"
#include "../passes/pass.h"

#include <string.h>

/* Calls and states: the states of a sequence run through a scan, which the interpreter
 * takes token by token.  A file of kernels has its scans. */
void interpretable(const Job *job, Module *m)
{
	PassContext ctx = {.arena = job->arena, .diag = job->diag};
	const char *const only[] = {"inline-std"};
	PassOptions options = {.only = only, .nonly = 1, .command = job->command};

	if (m->states.n && !m->target)
		run_passes(m, &ctx, &options);
}

bool run_interpreter(const Job *job, const Module *m, const Inputs *in,
		     WeightSource *weights, const Outcome *given, bool bounds,
		     Outcome *out)
{
	EvalInput *inputs = NEWN(job->arena, EvalInput, (size_t)in->n + 1);
	EvalCall call = {.tokens = in->tokens, .inputs = inputs, .ninputs = in->n,
			 .weights = weights, .seed = job->opt->seed, .step = -1,
			 .bounds = bounds, .picks = given ? given->picks : NULL,
			 .gates = given ? given->gates : NULL,
			 .calls = given ? given->calls : NULL};
	EvalResult r;
	const char *why = "";
	int errors = diag_errors(job->diag);

	for (int i = 0; i < in->n; i++)
		inputs[i] = (EvalInput){in->at[i].name, in->at[i].v};
	double begin = now_ms();
	if (!eval_fn(job->arena, m, m->fns, &call, &r, &why)) {
		if (diag_errors(job->diag) == errors)
			diag_error(job->diag, E_interpreter, (Loc){.file = job->opt->src},
				   "%s", why);
		return false;
	}
	*out = (Outcome){.nouts = r.nouts - m->nlosses, .nlosses = m->nlosses,
			 .picks = r.picks, .gates = r.gates, .gap = r.gap, .k = m->picks,
			 .calls = r.calls,
			 .ms = now_ms() - begin};
	out->outs = NEWN(job->arena, Output, (size_t)r.nouts + 1);
	out->losses = out->outs + out->nouts;
	for (int i = 0; i < r.nouts; i++) {
		const Tensor *t = &r.outs[i];
		const char *name = m->fns->out_names ? m->fns->out_names[i] : NULL;
		out->outs[i] = (Output){name, t->type, t->rows, t->n, t->v, t->err};
	}
	return true;
}
