// libs: frontend passes
/* SPDX-License-Identifier: Apache-2.0
 * test_memory: what a layer remembers does not depend on how its tokens are cut into
 * calls. */
#include "../../frontend/frontend.h"
#include "../../ir/eval.h"
#include "../../passes/pass.h"
#include "unit.h"

#include <stdlib.h>

enum { T = 23, H = 12 };

static const char text[] =
	"policy sticky(x, k) {\n"
	"  state last: index[k] per sequence\n"
	"  state runs: f32 per sequence\n"
	"  p     = softmax(router(x))\n"
	"  fresh = top(k, p)\n"
	"  stay  = all(last != none) and runs < 3 and sum(p[last]) > 0.6 * sum(p[fresh])\n"
	"  pick  = where(stay, last, fresh)\n"
	"  next  last = pick\n"
	"  next  runs = where(stay, runs + 1, 0)\n"
	"  return pick, p[pick]\n"
	"}\n"
	"layer stuck {\n"
	"  input   x: f32[T, 12]\n"
	"  experts 5 of relu_ffn(7)\n"
	"  route   sticky(2)\n"
	"  state   sum: f32[width] per sequence\n"
	"  next    sum = sum + x\n"
	"  output  weight @ experts(pick, x) + 0.01 * sum\n"
	"}\n";

typedef struct {
	WeightSource s;
	void        *last;
} Random;

static const void *random_weight(WeightSource *s, const Param *p, int64_t expert)
{
	Random *r = (Random *)s;
	int64_t n = type_elems(&p->type);

	free(r->last);
	r->last = malloc((size_t)n * 4);
	random_normals(p->type.dtype, r->last, 0, n, 2,
		       name_hash(p->name) + (uint64_t)(expert + 1), 0.3);
	return r->last;
}

static Module *layer(Arena *a)
{
	FeOptions o = {.file = "stuck.moe", .text = text};
	Diag *d = diag_new(a, stdout);
	Module *m = fe_compile(a, d, &o);
	PassContext ctx = {.arena = a, .diag = d};
	const char *const only[] = {"inline-std"};

	if (m)
		run_passes(m, &ctx, &(PassOptions){.only = only, .nonly = 1, .verify = true});
	return m;
}

/* The results of calls of `cut` tokens each, one after another. */
static bool run_in(Arena *a, const Module *m, const double *x, int n, int cut,
		   double *y)
{
	Random r = {.s = {random_weight}};
	EvalState *state = eval_state_new();
	bool ok = true;

	for (int t = 0; ok && t < n; t += cut) {
		EvalInput in = {"x", x + t * H};
		EvalCall call = {.tokens = MIN(cut, n - t), .inputs = &in, .ninputs = 1,
				 .weights = &r.s, .step = -1, .state = state};
		EvalResult out;
		const char *why = "";
		ok = eval_fn(a, m, m->fns, &call, &out, &why);
		if (ok)
			memcpy(y + t * H, out.outs[0].v, (size_t)out.outs[0].n * sizeof *y);
		else
			printf("%s\n", why);
	}
	eval_state_free(state);
	free(r.last);
	return ok;
}

static void test_cuts(void)
{
	static const int cuts[] = {1, 2, 7, 22};
	Arena *a = arena_new();
	Module *m = layer(a);
	double x[T * H], once[T * H], cut[T * H];

	MUST(m != NULL);
	for (int i = 0; i < T * H; i++)
		x[i] = (float)((i * 7919 % 1013) / 1013.0 - 0.5);
	MUST(run_in(a, m, x, T, T, once));
	for (size_t i = 0; i < COUNT(cuts); i++) {
		memset(cut, 0, sizeof cut);
		MUST(run_in(a, m, x, T, cuts[i], cut));
		CHECK(memcmp(once, cut, sizeof cut) == 0);
	}
	MUST(run_in(a, m, x + H, 1, 1, cut));
	CHECK(memcmp(once + H, cut, H * sizeof *cut) != 0);     /* memory matters */
	arena_free(a);
}

SUITE("memory", {"calls of any length give the same", test_cuts})
