/* SPDX-License-Identifier: Apache-2.0
 * policies: calls of the policies of std.moe, with arguments that fit. */
#include "gen.h"
#include <string.h>

static int64_t pick_k(Gen *g, int64_t most)
{
	/* mostly few, as in life */
	return rng_chance(&g->rng, 70) ? rng_between(&g->rng, 1, MIN(most, 3))
				       : rng_between(&g->rng, 1, most);
}

static const char *yes_no(Gen *g)
{
	return rng_chance(&g->rng, 50) ? "true" : "false";
}

/* A divisor of n with at least `least` entries a part. */
static int64_t divisor(Gen *g, int64_t n, int64_t least)
{
	int64_t found[32], count = 0;

	for (int64_t d = 1; d <= n && count < (int64_t)COUNT(found); d++)
		if (n % d == 0 && n / d >= least)
			found[count++] = d;
	return count ? found[rng_below(&g->rng, count)] : 0;
}

static const char *capacity(Gen *g)
{
	static const char *const rules[] = {
		"ceil(1.25 * T / experts)", "ceil(2 * T / experts / 4) * 4", "1", "3",
		"floor(0.8 * ceil(T / experts))", "max(round(1.5 * T / experts), 4)", "64",
	};
	return RNG_PICK(&g->rng, rules);
}

static const char *softmax_topk(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->alike = true;
	return arena_printf(g->a, "softmax_topk(%jd, norm: %s)", (intmax_t)g->k, yes_no(g));
}

static const char *topk_softmax(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->alike = true;
	return arena_printf(g->a, "topk_softmax(%jd, bias: %s)", (intmax_t)g->k, yes_no(g));
}

static const char *switch_(Gen *g)
{
	g->k = 1;
	return arena_printf(g->a, "switch(jitter: 0.01, bias: %s)", yes_no(g));
}

static const char *top2(Gen *g)
{
	static const char *const second[] = {"all", "sampling", "random"};
	const char *which = RNG_PICK(&g->rng, second);

	if (g->e < 2)
		return NULL;
	g->k = 2;
	g->cross = true;
	return arena_printf(g->a, "top2(%s, second: \"%s\", before: %s, kept: %s)",
			    capacity(g), which, yes_no(g), yes_no(g));
}

static const char *noisy_topk(Gen *g)
{
	if (g->e < 2)
		return NULL;
	g->k = pick_k(g, g->e - 1);
	return arena_printf(g->a, "noisy_topk(%jd)", (intmax_t)g->k);
}

static const char *top_p(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->alike = true;
	return arena_printf(g->a, "top_p(0.%jd, %jd)", (intmax_t)rng_between(&g->rng, 1, 9),
			    (intmax_t)g->k);
}

static const char *threshold(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->alike = true;
	return arena_printf(g->a, "threshold(0.%jd, %jd)",
			    (intmax_t)rng_between(&g->rng, 1, 4), (intmax_t)g->k);
}

static const char *two_level(Gen *g)
{
	int64_t groups = divisor(g, g->e, 1), each = g->e / groups;
	int64_t k1 = pick_k(g, groups), k2 = pick_k(g, each);

	g->k = k1 * k2;
	g->p = false;                   /* p is of the inner routers */
	g->logits = false;
	return arena_printf(g->a, "two_level(%jd, %jd, %jd)", (intmax_t)groups,
			    (intmax_t)k1, (intmax_t)k2);
}

static const char *sparsemixer(Gen *g)
{
	if (g->e < 2)
		return NULL;
	g->k = 2;
	return rng_chance(&g->rng, 50) ? "sparsemixer()" : "sparsemixer(eps: 0.2)";
}

static const char *residual_router(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "residual_router(%jd)", (intmax_t)g->k);
}

static const char *ternary_topk(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "ternary_topk(%jd)", (intmax_t)g->k);
}

static const char *sigmoid_top(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "sigmoid_top(%jd)", (intmax_t)g->k);
}

static const char *noaux_tc(Gen *g)
{
	int64_t groups = divisor(g, g->e, 2), keep;

	if (!groups)
		return NULL;
	keep = rng_between(&g->rng, 1, groups);
	g->k = pick_k(g, g->e / groups * keep);
	return arena_printf(g->a, "noaux_tc(%jd, groups: %jd, keep: %jd, scale: 2.5, norm: %s)",
			    (intmax_t)g->k, (intmax_t)groups, (intmax_t)keep, yes_no(g));
}

static const char *group_limited(Gen *g)
{
	int64_t groups = divisor(g, g->e, 1), keep = rng_between(&g->rng, 1, groups);

	g->k = pick_k(g, g->e / groups * keep);
	return arena_printf(g->a, "group_limited(%jd, groups: %jd, keep: %jd, scale: 16, "
			    "norm: %s)", (intmax_t)g->k, (intmax_t)groups, (intmax_t)keep,
			    yes_no(g));
}

static const char *biased_softmax(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "biased_softmax(%jd, %jd, %jd, scale: 6)", (intmax_t)g->k,
			    (intmax_t)rng_between(&g->rng, 1, g->e), (intmax_t)g->k);
}

static const char *expert_choice(Gen *g)
{
	g->k = g->e;
	g->cross = true;
	return arena_printf(g->a, "expert_choice(%s)", capacity(g));
}

static const char *sinkhorn(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "sinkhorn(%jd)", (intmax_t)g->k);
}

static const char *base(Gen *g)
{
	g->k = 1;
	return "base()";
}

static const char *hash(Gen *g)
{
	g->k = 1;
	g->logits = g->p = false;
	text_add(&g->inputs, "  input   token: i32[T]\n");
	return arena_printf(g->a, "hash(token, %jd)", (intmax_t)rng_between(&g->rng, 1, 99));
}

static const char *table_scored(Gen *g)
{
	g->k = pick_k(g, g->e);
	text_add(&g->inputs, "  input   token: i32[T]\n");
	return arena_printf(g->a, "table_scored(token, %jd, %jd, 1.5)",
			    (intmax_t)rng_between(&g->rng, 1, 99), (intmax_t)g->k);
}

static const char *by_attention(Gen *g)
{
	g->k = pick_k(g, g->e);
	text_add(&g->inputs, "  input   attention: f32[T]\n");
	return arena_printf(g->a, "by_attention(attention, %jd, %jd)",
			    (intmax_t)rng_between(&g->rng, 0, g->k), (intmax_t)g->k);
}

static const char *warm_up(Gen *g)
{
	g->k = g->e;
	return arena_printf(g->a, "warm_up(%jd, 1000)", (intmax_t)pick_k(g, g->e));
}

static const char *cascade(Gen *g)
{
	g->k = pick_k(g, g->e);
	return arena_printf(g->a, "cascade(%jd, 0.4, low: %jd)", (intmax_t)g->k,
			    (intmax_t)gen_size(g));
}

static const char *hysteresis(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->placed = g->states = true;
	return arena_printf(g->a, "hysteresis(%jd, 0.3)", (intmax_t)g->k);
}

static const char *sticky(Gen *g)
{
	g->k = pick_k(g, g->e);
	g->placed = g->states = true;
	return arena_printf(g->a, "sticky(%jd, 0.9)", (intmax_t)g->k);
}

static const char *next_choice(Gen *g)
{
	g->k = 1;
	g->cross = true;
	return "next_choice(ceil(1.25 * T / experts))";
}

static const struct { const char *(*make)(Gen *); int weight; } policies[] = {
	{softmax_topk, 8}, {topk_softmax, 6}, {switch_, 6}, {top2, 6}, {noisy_topk, 3},
	{top_p, 4}, {threshold, 3}, {two_level, 4}, {sparsemixer, 4}, {residual_router, 4},
	{ternary_topk, 3}, {sigmoid_top, 4}, {noaux_tc, 6}, {group_limited, 5},
	{biased_softmax, 4}, {expert_choice, 4}, {sinkhorn, 2}, {base, 2}, {hash, 2},
	{table_scored, 3}, {by_attention, 3}, {warm_up, 2}, {cascade, 3}, {hysteresis, 2},
	{sticky, 2}, {next_choice, 2},
};

const char *gen_policy(Gen *g)
{
	int64_t total = 0;

	for (size_t i = 0; i < COUNT(policies); i++)
		total += policies[i].weight;
	for (;;) {
		int64_t at = rng_below(&g->rng, total);
		size_t i = 0;
		while (at >= policies[i].weight)
			at -= policies[i++].weight;
		g->logits = g->p = true;
		const char *call = policies[i].make(g);
		if (call)
			return call;
	}
}
