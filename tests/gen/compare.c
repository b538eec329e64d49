/* SPDX-License-Identifier: Apache-2.0
 * compare: compiled code against the interpreter, other threads, and tokens alone.
 *
 * Each entry keeps to the interpreter's bound.  Picks are the interpreter's unless its gap
 * says that they stand within bounds of a change: then it follows the compiled ones. */
#include "native.h"

#include <math.h>
#include <string.h>

#define MAY_CHANGE 4.0                  /* bounds between a choice and another */

static bool interpret(Native *n, const Module *m, const Answer *given, EvalResult *r)
{
	EvalInput inputs[COUNT(n->inputs)];
	const char *why = "";

	for (int i = 0; i < n->ninputs; i++)
		inputs[i] = (EvalInput){n->inputs[i].name, n->inputs[i].v};
	EvalCall call = {.tokens = n->p->tokens, .nseq = n->p->nseq, .seq = n->p->seq,
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
	int64_t other = 0, tokens = n->p->tokens;
	double nearest = nearest_gap(own, tokens);

	for (int64_t t = 0; own->picks && t < tokens; t++) {
		const int32_t *x = own->picks + t * a->k, *y = a->picks + t * a->k;
		if (memcmp(x, y, (size_t)a->k * 4) == 0)
			continue;
		other++;
		double gap = n->p->cross ? nearest : own->gap[t];
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

static bool compare_results(Native *n, const EvalResult *r, const Answer *a, bool followed,
			    Outcome *out)
{
	int64_t bad = 0;
	int nouts = followed ? 1 : r->nouts;    /* others may look at the policy's own */

	/* weights that are not given belong to the policy's own picks */
	if (followed && !a->gates)
		return true;

	for (int i = 0; i < nouts; i++) {
		const Tensor *t = &r->outs[i];
		bool loss = i >= a->nouts;
		double *got = NEWN(n->arena, double, (size_t)t->n + 1), bound;
		if (loss && n->p->tokens == 0)
			continue;       /* the API's losses of no token are 0 */
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
	if (bad == 1 && n->p->decides && n->p->tokens > 1)
		out->lenient = bad--;
	return bad == 0;
}

/* The same bits with any number of threads, the host's pool, padded rows, no losses. */
static bool same_otherwise(Native *n, const Question *asked, const Answer *a)
{
	const struct { const char *what; Question q; } ways[] = {
		{"2 threads", {.threads = 2}},
		{"3 threads", {.threads = 3}},
		{"7 threads", {.threads = 7}},
		{"a pool of its own", {.threads = 3, .pool = true}},
		{"rows apart", {.threads = 2, .padded = true}},
		{"no losses", {.threads = 1, .no_losses = true}},
	};
	bool rows = n->reference->fns->outs[0].level == LV_TOKEN;
	Answer b;

	for (size_t i = 0; i < COUNT(ways); i++) {
		Question q = ways[i].q;
		if (q.padded && !rows)
			continue;
		q.tokens = asked->tokens;
		q.picks = asked->picks;
		q.gates = asked->gates;
		if (!native_call(n, &q, &b))
			return false;
		if (!answers_same(a, &b)) {
			printf("other bits with %s\n", ways[i].what);
			return false;
		}
	}
	return true;
}

/* The same bits for tokens alone, and for the second half of them. */
static bool same_alone(Native *n, const Question *asked, const Answer *a)
{
	const Type *y = &n->reference->fns->outs[0];
	size_t row = (size_t)type_elems(y) * entry_bytes(y->dtype);
	int64_t all = n->p->tokens, half = all / 2;
	const int64_t parts[][2] = {{0, 1}, {half, 1}, {all - 1, 1}, {half, all - half}};
	Answer b;

	if (n->p->cross || n->p->placed || y->level != LV_TOKEN || all < 2)
		return true;
	for (size_t i = 0; i < COUNT(parts); i++) {
		Question q = *asked;
		q.first = parts[i][0];
		q.tokens = parts[i][1];
		if (!native_call(n, &q, &b))
			return false;
		if (memcmp((char *)a->outs[0] + (size_t)q.first * row, b.outs[0],
			   (size_t)q.tokens * row)) {
			printf("tokens %jd to %jd alone have other bits\n", (intmax_t)q.first,
			       (intmax_t)(q.first + q.tokens - 1));
			return false;
		}
	}
	return true;
}

/* Given its own routing, the layer does the same. */
static bool same_given(Native *n, const Question *asked, Answer *a)
{
	Question q = *asked;
	Answer b;
	const Type *y = &n->reference->fns->outs[0];

	if (!a->picks || !a->gates || n->p->tokens == 0)
		return true;
	q.given = a;
	if (!native_call(n, &q, &b))
		return false;
	if (memcmp(a->outs[0], b.outs[0], a->bytes[0]) == 0 || y->level != LV_TOKEN)
		return true;
	printf("other bits when its own routing is given\n");
	return false;
}

bool native_compare(Native *n, Outcome *out)
{
	Question q = {.threads = 1, .tokens = n->p->tokens};
	EvalResult own, followed;
	Answer a;

	*out = (Outcome){.tokens = n->p->tokens};
	if (!interpret(n, n->reference, NULL, &own))
		return false;
	q.picks = own.picks != NULL;
	q.gates = own.gates != NULL;
	n->weights.m = n->m;
	if (!native_call(n, &q, &a))
		return false;
	out->rerouted = compare_routing(n, &own, &a);
	if (out->rerouted < 0)
		return false;
	if (out->rerouted && !interpret(n, n->reference, &a, &followed))
		return false;
	return compare_results(n, out->rerouted ? &followed : &own, &a, out->rerouted > 0,
			       out) &&
	       same_otherwise(n, &q, &a) && same_alone(n, &q, &a) && same_given(n, &q, &a);
}

/* The largest difference between two modules, interpreted, in bounds of the first. */
static double modules_differ(Native *n, const Module *x, const Module *y, double *gap)
{
	EvalResult a, b;
	double worst = 0;

	if (!interpret(n, x, NULL, &a) || !interpret(n, y, NULL, &b))
		return INFINITY;
	*gap = nearest_gap(&a, n->p->tokens);
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

	if (worst <= 1 || gap < MAY_CHANGE)
		return VERDICT_SKIPPED;
	native_pipeline(n, blame);
	return VERDICT_FAILED;
}

Verdict program_run(Arena *arena, const Program *p, const char *scratch, Outcome *out)
{
	Native n = {.arena = arena, .p = p, .scratch = scratch};

	*out = (Outcome){0};
	if (!target_host_has(p->target)) {
		printf("%s cannot run here\n", p->target->name);
		return VERDICT_SKIPPED;
	}
	Verdict v = native_compile(&n);
	if (v == VERDICT_SKIPPED)
		return passes_alone(&n);
	if (v != VERDICT_PASSED || native_compare(&n, out))
		return v;
	native_pipeline(&n, blame);
	return VERDICT_FAILED;
}
