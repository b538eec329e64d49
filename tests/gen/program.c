/* SPDX-License-Identifier: Apache-2.0
 * program: a whole layer. */
#include "gen.h"
#include <string.h>

static void experts(Gen *g, Text *t)
{
	int64_t left = g->e;

	text_add(t, "  experts ");
	while (left > 0) {
		int64_t n = rng_chance(&g->rng, 70) ? left : rng_between(&g->rng, 1, left);
		text_printf(t, "%s%jd of %s", left == g->e ? "" : ", ", (intmax_t)n,
			    gen_expert(g));
		left -= n;
	}
	text_add(t, "\n");
}

static void fit(Gen *g, Text *t)
{
	static const char *const rules[] = {
		"ceil(1.25 * T / experts)", "max(round(0.7 * T / experts), 1)", "2",
		"floor(2 * ceil(T / experts))", "4 - 3 * (T > 7)",
		"min(max(sum(mask(pick), over: tokens)), 5)",
	};
	static const char *const priorities[] = {"", "", ", max(route.p)", ", -max(route.p)"};
	const char *priority = RNG_PICK(&g->rng, priorities);

	if (!rng_chance(&g->rng, 18))
		return;
	g->cross = true;
	text_printf(t, "  pick = fit(pick, %s%s)\n", RNG_PICK(&g->rng, rules),
		    g->p ? priority : "");
}

/* What the layer gives for each token; `#` is the shared expert. */
static void outputs(Gen *g, Text *t)
{
	static const char *const forms[] = {
		"", "", "", "", "weight @ experts(pick, x) + #", "weight @ experts(pick, x) + #",
		"weight @ experts(pick, x) + sigmoid(linear(x, 1, \"shared_gate\")) * #",
		"x + weight @ experts(pick, x)", "sum(experts(pick, column(weight) * x), over: 0)",
		"sum(experts(pick, column(weight) * x), over: 0) + #",
		"rms_norm(x + weight @ experts(pick, rms_norm(x, name: \"pre\")), name: \"post\")",
		"0.8 * (weight @ experts(pick, x))", "tanh(weight @ experts(pick, x))",
		"where(any(pick != none), weight @ experts(pick, x), x)",
		"weight @ experts(pick, x) - # * x", "(weight @ experts(pick, 0.5 * x)) * 2 + #",
		"linear(weight @ experts(pick, x), ~, \"back\")",
		"weight @ experts(pick, linear(x, width, \"in\"))",
		"max(experts(pick, x), over: 0) + weight @ experts(pick, x)",
		"flatten(experts(pick, x))", "softmax(weight @ experts(pick, x))",
		"(1 + sum(weight)) * (weight @ experts(pick, x))",
	};
	static const char *const more[] = {
		"", "", "", "", ", route.p", ", route.logits", ", mean(route.p, over: tokens)",
		", sum(mask(pick), over: tokens)", ", weight", ", mask(pick)",
		", max(route.p)", ", sum(weight, over: tokens)",
	};
	const char *form = RNG_PICK(&g->rng, forms);
	const char *size = arena_printf(g->a, "%jd", (intmax_t)gen_size(g));
	g->linear = !*form || strncmp(form, "0.8", 3) == 0 || strncmp(form, "linear(", 7) == 0 ||
		    strncmp(form, "weight @ experts(pick, linear", 29) == 0;
	const char *shared = strchr(form, '#') ? gen_shared(g, "shared") : "";

	if (*form)
		text_printf(t, "  y = %s\n",
			    gen_fill(g->a, form, "", shared, size));
	const char *also = RNG_PICK(&g->rng, more);
	if ((strstr(also, "route.p") && !g->p) || (strstr(also, "route.l") && !g->logits))
		also = "";
	if (*form || *also)
		text_printf(t, "  output  %s%s\n", *form ? "y" : "weight @ experts(pick, x)",
			    also);
}

static void losses(Gen *g, Text *t)
{
	if (g->p && rng_chance(&g->rng, 20))
		text_add(t, "  loss    0.01 * balance(route.pick, route.p)\n");
	if (g->logits && rng_chance(&g->rng, 10))
		text_add(t, "  loss    0.001 * z(route.logits) + 0.5 * entropy(softmax(route.logits))\n");
	if (g->p && rng_chance(&g->rng, 6))
		text_printf(t, "  loss    sequence_balance(route.p, %jd)\n",
			    (intmax_t)MIN(g->k, g->e));
	if (g->p && rng_chance(&g->rng, 6))
		text_add(t, "  loss    squared_balance(route.p) + cv2(mean(route.p, over: tokens))\n");
}

static const char *layer(Gen *g)
{
	static const char *const types[] = {"f32", "f32", "bf16", "bf16", "bf16", "f16"};
	Text t = text_new(g->a), body = text_new(g->a);
	const char *type = RNG_PICK(&g->rng, types);

	const char *route = rng_chance(&g->rng, 55) ? gen_policy(g) : gen_own_policy(g);
	experts(g, &body);
	text_printf(&body, "  route   %s\n", route);
	if (rng_chance(&g->rng, 8)) {
		if (rng_chance(&g->rng, 50) || g->states)
			text_add(&body, "  group   sequence\n");
		else
			text_printf(&body, "  group   %jd\n",
				    (intmax_t)rng_between(&g->rng, 1, 17));
		g->cross = true;
	}
	fit(g, &body);
	outputs(g, &body);
	losses(g, &body);
	text_printf(&t, "%slayer gen {\n  input   x: %s[T, %jd]\n%s%s}\n", g->defs.s, type,
		    (intmax_t)g->h, g->inputs.s, body.s);
	return t.s;
}

void program_make(Arena *a, uint64_t seed, Program *p)
{
	Gen g = {.a = a, .rng = {seed}, .defs = text_new(a), .inputs = text_new(a)};

	g.h = gen_size(&g);
	g.e = rng_between(&g.rng, 1, 17);
	*p = (Program){.text = layer(&g)};
	p->routed = true;
	p->cross = g.cross;
	p->placed = g.placed;
	p->decides = g.decides;
	p->linear = g.linear;
	p->alike = g.alike;
}
