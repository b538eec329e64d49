/* SPDX-License-Identifier: Apache-2.0
 * compare: compiled code against the interpreter, for each configuration and each call.
 *
 * Each entry keeps to the interpreter's bound.  Picks are the interpreter's unless its gap
 * says that they stand within bounds of a change: then it follows the compiled ones. */
#include "native.h"

#include <math.h>
#include <string.h>

#define MAY_CHANGE 4.0                  /* bounds between a choice and another */

static bool interpret(Native *n, const Module *m, const Answer *given, EvalResult *r)
{
	EvalInput inputs[COUNT(n->at->inputs)];
	const Program *p = n->at->p;
	const char *why = "";

	for (int i = 0; i < n->ninputs; i++)
		inputs[i] = (EvalInput){n->at->inputs[i].name, n->at->inputs[i].v};
	EvalCall call = {.tokens = p->tokens, .nseq = p->nseq, .seq = p->seq,
			 .inputs = inputs, .ninputs = n->ninputs,
			 .weights = &n->weights.source, .seed = 5, .step = -1,
			 .bounds = true, .picks = given ? given->picks : NULL,
			 .gates = given ? given->gates : NULL};
	n->weights.m = m;
	if (eval_fn(n->arena, m, m->fns, &call, r, &why))
		return true;
	printf("the interpreter: %s\n", why);
	return false;
}

/* NaN and infinities must be the same; they have no bound. */
static double excess(double y, double r, double bound)
{
	if (y == r || (isnan(y) && isnan(r)))
		return 0;
	double d = fabs(y - r);
	if (!isfinite(d))
		return isinf(bound) ? 0 : INFINITY;
	return bound > 0 ? d / bound : INFINITY;
}

/* The tokens whose entries of one result are beyond their bounds. */
static int64_t compare_entries(const char *name, const Tensor *t, const double *got,
			       double *worst)
{
	int64_t each = t->rows ? t->n / t->rows : 0, bad = 0, last = -1;

	for (int64_t i = 0; i < t->n; i++) {
		double x = excess(got[i], t->v[i], t->err ? t->err[i] : 0);
		if (x > 1 && i / each != last) {
			last = i / each;
			if (bad++ < 4)
				printf("%s: token %jd, entry %jd is %.9g, not %.9g within %.3g\n",
				       name, (intmax_t)last, (intmax_t)(i % each), got[i],
				       t->v[i], t->err ? t->err[i] : 0);
		}
		*worst = fmax(*worst, x);
	}
	return bad;
}

static double nearest_gap(const EvalResult *r, int64_t tokens)
{
	double least = INFINITY;

	for (int64_t t = 0; r->gap && t < tokens; t++)
		least = fmin(least, r->gap[t]);
	return least;
}

/* The tokens of another routing; negative: one has no excuse. */
static int64_t compare_routing(Native *n, const EvalResult *own, const Answer *a)
{
	int64_t other = 0, tokens = n->at->p->tokens;
	double nearest = nearest_gap(own, tokens);

	for (int64_t t = 0; own->picks && t < tokens; t++) {
		const int32_t *x = own->picks + t * a->k, *y = a->picks + t * a->k;
		if (memcmp(x, y, (size_t)a->k * 4) == 0)
			continue;
		other++;
		double gap = n->at->p->cross ? nearest : own->gap[t];
		if (gap < MAY_CHANGE)
			continue;
		printf("token %jd: other picks, though the gap is %g:", (intmax_t)t, gap);
		for (int64_t i = 0; i < a->k; i++)
			printf(" %d/%d", y[i], x[i]);
		printf("\n");
		return -1;
	}
	return other;
}

static bool compare_results(Native *n, const EvalResult *r, const Answer *a, bool followed)
{
	Outcome *out = n->out;
	int64_t bad = 0;
	int nouts = followed ? 1 : r->nouts;    /* others may look at the policy's own */

	/* weights that are not given belong to the policy's own picks */
	if (followed && !a->gates)
		return true;

	for (int i = 0; i < nouts; i++) {
		const Tensor *t = &r->outs[i];
		bool loss = i >= a->nouts;
		double *got = NEWN(n->arena, double, (size_t)t->n + 1), bound;
		if (loss) {
			got[0] = a->losses[i - a->nouts];
			bound = (t->err ? *t->err : 0) + fabs(t->v[0]) * 0x1p-23;
			bad += compare_entries("loss", &(Tensor){.rows = 1, .n = 1, .v = t->v,
					       .err = &bound}, got, &out->worst);
			continue;
		}
		entries_load(t->type.dtype, a->outs[i], t->n, got);
		bad += compare_entries(i ? "further output" : "y", t, got, &out->worst);
	}
	/* an expert that compares may have decided otherwise for a row, rarely */
	if (bad == 1 && n->at->p->decides && n->at->p->tokens > 1)
		out->lenient += bad--;
	return bad == 0;
}

/* What the interpreter says of this call is found out once for all configurations. */
static bool interpret_case(Native *n)
{
	Case *c = n->at;

	if (!c->interpreted)
		c->interpreted = interpret(n, n->reference, NULL, &c->own);
	return c->interpreted;
}

/* One call; its relations to others only where it is the configuration's own. */
static bool compare_call(Native *n, Case *c, bool own_call)
{
	Question q = {.threads = own_call ? 1 : 3, .tokens = c->p->tokens};
	EvalResult followed;
	Answer a;

	n->at = c;
	if (!interpret_case(n))
		return false;
	q.picks = c->own.picks != NULL;
	q.gates = c->own.gates != NULL;
	n->weights.m = n->m;
	if (!native_call(n, &q, &a))
		return false;
	int64_t rerouted = compare_routing(n, &c->own, &a);
	if (rerouted < 0)
		return false;
	if (rerouted || !compare_results(n, &c->own, &a, false)) {
		/* the same picks, but a rank or so beside them that may be another */
		if (!rerouted && nearest_gap(&c->own, c->p->tokens) >= MAY_CHANGE)
			return false;
		if (!interpret(n, n->reference, &a, &followed) ||
		    !compare_results(n, &followed, &a, true))
			return false;
	}
	n->out->calls++;
	n->out->tokens += c->p->tokens;
	n->out->rerouted += rerouted;
	return !own_call || relations_hold(n, &q, &a);
}

/* The largest difference between two modules, interpreted, in bounds of the first. */
static double modules_differ(Native *n, const Module *x, const Module *y, double *gap)
{
	EvalResult a, b;
	double worst = 0;

	if (!interpret(n, x, NULL, &a) || !interpret(n, y, NULL, &b))
		return INFINITY;
	*gap = nearest_gap(&a, n->at->p->tokens);
	for (int i = 0; i < a.nouts; i++)
		for (int64_t j = 0; j < a.outs[i].n; j++)
			worst = fmax(worst, excess(b.outs[i].v[j], a.outs[i].v[j],
						   a.outs[i].err ? a.outs[i].err[j] : 0));
	return worst;
}

static void blame(void *native, const char *pass)
{
	Native *n = native;
	double gap, worst = modules_differ(n, n->reference, n->m, &gap);

	printf("interpreted after %s: largest difference %g of the bound\n", pass, worst);
}

/* What the backend has no code for yet: the passes at least keep what it computes. */
static Verdict passes_alone(Native *n)
{
	double gap, worst = modules_differ(n, n->reference, n->m, &gap);

	n->out->refused++;
	if (worst <= 1 || gap < MAY_CHANGE)
		return VERDICT_SKIPPED;
	native_pipeline(n, blame);
	return VERDICT_FAILED;
}

/* One configuration on all calls, its own first. */
static Verdict run_configuration(Native *n, const Program *p, int number)
{
	n->out->config = n->out->call = number;
	n->at = &n->cases[number];
	Verdict v = native_compile(n, p);
	if (v == VERDICT_SKIPPED)
		return passes_alone(n);
	if (v != VERDICT_PASSED)
		return v;
	n->out->configs++;
	for (int i = 0; i < n->ncases; i++) {
		n->out->call = (number + i) % n->ncases;
		if (compare_call(n, &n->cases[n->out->call], i == 0))
			continue;
		native_pipeline(n, blame);
		return VERDICT_FAILED;
	}
	return VERDICT_PASSED;
}

Verdict programs_run(Arena *arena, const Program *p, int count, const char *scratch,
		     Outcome *out)
{
	Native *n = NEW(arena, Native);
	Verdict all = VERDICT_SKIPPED;

	*out = (Outcome){0};
	*n = (Native){.arena = arena, .scratch = scratch, .out = out};
	if (!native_frontend(n, p, count))
		return VERDICT_FAILED;
	for (int i = 0; i < count; i++) {
		if (!native_runs(n->arena, p[i].target)) {
			printf("%s cannot run here\n", p[i].target->name);
			continue;
		}
		Verdict v = run_configuration(n, &p[i], i);
		native_close(n);
		if (v == VERDICT_FAILED)
			return v;
		if (v == VERDICT_PASSED)
			all = v;
	}
	return all;
}
