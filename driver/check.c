/* SPDX-License-Identifier: Apache-2.0
 * check: what compiled code gave against what the interpreter allows.
 *
 * Where the routing stands within the error bounds of changing, either choice is right:
 * then the interpreter follows the compiled code's routing, and how many tokens is told.
 */
#include "moec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Error bounds between the routing and a change of it, below which it may be either. */
#define MAY_CHANGE 4.0

static int compare_picks(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static bool same_set(const int32_t *a, const int32_t *b, int64_t k)
{
	int32_t x[64], y[64];

	if (k > (int64_t)COUNT(x))
		return memcmp(a, b, (size_t)k * sizeof *a) == 0;
	memcpy(x, a, (size_t)k * sizeof *a);
	memcpy(y, b, (size_t)k * sizeof *b);
	qsort(x, (size_t)k, sizeof *x, compare_picks);
	qsort(y, (size_t)k, sizeof *y, compare_picks);
	return memcmp(x, y, (size_t)k * sizeof *x) == 0;
}

/* Over all layers of a model: tokens that were routed, those with another set of experts,
 * those of them where that is wrong, and whether any slot differs at all. */
typedef struct { int64_t tokens, other, wrong; bool slots; } Routing;

static void compare_picks_of(Routing *r, const int32_t *a, const int32_t *b, int64_t k,
			     int64_t tokens, const double *gap)
{
	if (!a || !b || !k)
		return;
	r->tokens += tokens;
	for (int64_t t = 0; t < tokens; t++, a += k, b += k) {
		if (memcmp(a, b, (size_t)k * sizeof *a) == 0)
			continue;
		r->slots = true;
		if (same_set(a, b, k))
			continue;
		r->other++;
		r->wrong += !gap || gap[t] >= MAY_CHANGE;
	}
}

static Routing compare_routing(const Module *m, const Outcome *compiled,
			       const Outcome *own, int64_t tokens)
{
	Routing r = {0};

	compare_picks_of(&r, compiled->picks, own->picks, compiled->k, tokens, own->gap);
	for (int i = 0; compiled->calls && own->calls && i < m->calls.n; i++)
		compare_picks_of(&r, compiled->calls[i].picks, own->calls[i].picks,
				 compiled->calls[i].k, tokens, own->gap);
	return r;
}

typedef struct {
	double  difference, bound, worst;       /* worst: difference / bound */
	int64_t at;
} Worst;

/* NaN and infinities must be the same; they have no bound. */
static double excess(double y, double r, double bound)
{
	if (y == r || (isnan(y) && isnan(r)))
		return 0;
	double difference = fabs(y - r);
	if (!isfinite(difference) && !isfinite(bound))
		return 0;
	if (!isfinite(difference))
		return INFINITY;
	return bound > 0 ? difference / bound : INFINITY;
}

static Worst compare_output(const Output *y, const Output *r)
{
	Worst w = {.at = -1};

	if (y->n != r->n)
		ice("%jd entries against %jd", (intmax_t)y->n, (intmax_t)r->n);
	for (int64_t i = 0; i < y->n; i++) {
		double bound = r->err ? r->err[i] : 0;
		double x = excess(y->v[i], r->v[i], bound);
		if (w.at >= 0 && x <= w.worst)
			continue;
		w = (Worst){x == 0 ? 0 : fabs(y->v[i] - r->v[i]), bound, x, i};
	}
	return w;
}

static bool report(const Output *y, const Output *r, const char *name)
{
	Worst w = compare_output(y, r);
	int64_t each = y->rows ? y->n / y->rows : 0;

	if (w.at < 0) {
		printf("check     %s: nothing to compare\n", name);
		return true;
	}
	printf("check     %s: %s, at worst %.3g of the bound (%.3g of %.3g, token %jd, "
	       "entry %jd)\n",
	       name, w.worst <= 1 ? "within the bound" : "BEYOND THE BOUND", w.worst,
	       w.difference, w.bound, (intmax_t)(w.at / each), (intmax_t)(w.at % each));
	return w.worst <= 1;
}

bool check_outcome(const Job *job, const Module *m, const Inputs *in,
		   WeightSource *weights, const Outcome *compiled, bool *within)
{
	Outcome own, followed;
	const Outcome *reference = &own;

	if (!run_interpreter(job, m, in, weights, NULL, true, &own))
		return false;
	Routing r = compare_routing(m, compiled, &own, in->tokens);
	if (r.slots) {
		if (!run_interpreter(job, m, in, weights, compiled, true, &followed))
			return false;
		reference = &followed;
	}
	if (r.tokens || compiled->picks)
		printf(
		    "check     routing: %jd of %jd tokens chose otherwise, %jd wrongly\n",
		    (intmax_t)r.other, (intmax_t)r.tokens, (intmax_t)r.wrong);
	if (compiled->nouts != own.nouts || compiled->nlosses != own.nlosses)
		ice("%d results against %d", compiled->nouts + compiled->nlosses,
		    own.nouts + own.nlosses);
	*within = r.wrong == 0;
	for (int i = 0; i < compiled->nouts; i++)
		*within = report(&compiled->outs[i], &reference->outs[i],
				 own.outs[i].name ? own.outs[i].name : "y") && *within;
	/* losses count the layer's own choices, which the interpreter cannot follow */
	for (int i = 0; i < compiled->nlosses && !r.slots; i++)
		*within = report(&compiled->losses[i], &own.losses[i], "loss") && *within;
	return true;
}
