/* SPDX-License-Identifier: Apache-2.0
 * bodies: policies made of random operations: scores of the experts, picks of the best
 * scores, gates of the picks. */
#include "gen.h"

#include <string.h>

typedef struct {
	Gen *g;
	Text *body;
	int  values;                    /* s0, s1, ..: f32[experts] */
	bool infinite;                  /* some may hold -inf */
} Policy;

static int bind(Policy *p, const char *form, int a, int b, const char *c)
{
	Arena *arena = p->g->a;
	const char *x = arena_printf(arena, "s%d", a), *y = arena_printf(arena, "s%d", b);

	text_printf(p->body, "  s%d = %s\n", p->values, gen_fill(arena, form, x, y, c));
	return p->values++;
}

static int some(Policy *p)
{
	return rng_chance(&p->g->rng, 60) ? p->values - 1
					  : (int)rng_below(&p->g->rng, p->values);
}

static int own_step(Policy *p)
{
	static const char *const steps[] = {
		"softmax($)", "sigmoid($)", "tanh($)", "$ + 0.25", "0.5 * $", "$ + #", "$ - #",
		"$ * #", "max($, #)", "min($, #)", "where($ > 0.1, $, #)",
		"where($ < #, $, 0.5 * #)", "$ - max($)", "$ - mean($)", "$ / (abs($) + 1)",
		"exp($ - max($))", "log(abs($) + 0.1)", "sqrt(abs($))", "square($)",
		"clamp($, -1, 1)", "softplus($)", "erf($)", "cumsum($)", "rms($)",
		"normalize(abs($))", "where(range(experts) % 2 == 0, $, #)", "0.1 * rank($) + #",
		"$ - logsumexp($)", "round($ * 4) / 4 + 0.001 * #", "sign($) + 0.5 * #",
		"where($ >= mean($), $, 0)", "cast($, bf16) + 0.001 * #", "abs($)", "-$",
		"$ + 0.01 * range(experts)", "where(mask(top(1, $)), #, $)", "$ - min($)",
		"where(onehot(argmax($)), 0.5 * $, $)", "$ / sqrt(sum(square($)) + 0.01)",
		"gelu($)", "silu($)", "where($ > 0 and # > 0, $ * #, -1)",
		"where(not ($ > #), #, 0.3)", "max($) - $", "$ * (1 + mean(square(x)))",
		"$ + sum(x * x) / width", "where(any($ > 0), $, # + 1)",
	};
	const char *form = RNG_PICK(&p->g->rng, steps);
	int a = some(p);

	return bind(p, form, a, some(p), "");
}

static int param_step(Policy *p)
{
	static const char *const steps[] = {"$ + ~", "$ * ~", "max($, ~)", "$ * sigmoid(~)"};
	const char *name = arena_printf(p->g->a, "b%d", p->values);
	int a = some(p);

	text_printf(p->body, "  param %s: f32[experts]%s\n", name,
		    rng_chance(&p->g->rng, 30) ? " = 0.5" : "");
	return bind(p, RNG_PICK(&p->g->rng, steps), a, a, name);
}

static int group_step(Policy *p)
{
	static const char *const steps[] = {
		"within($, top(1, max(split($, ~))))",
		"within($, top(1, sum(split($, ~))), fill: 0)",
		"flatten(split($, ~) - column(mean(split($, ~))))",
		"flatten(softmax(split($, ~)))",
		"flatten(column(max(split($, ~))) * split(#, ~))",
		"flatten(transpose(split($, experts / ~)))",
	};
	int64_t groups = 1;

	for (int64_t d = p->g->e; d > 1; d--)
		if (p->g->e % d == 0 && rng_chance(&p->g->rng, 50))
			groups = d;
	const char *form = RNG_PICK(&p->g->rng, steps);
	int a = some(p);

	p->infinite |= strncmp(form, "within", 6) == 0 && !strstr(form, "fill");
	return bind(p, form, a, some(p), arena_printf(p->g->a, "%jd", (intmax_t)groups));
}

static int cross_step(Policy *p)
{
	static const char *const steps[] = {
		"$ - mean($, over: tokens)", "softmax($, over: tokens)",
		"$ / (sum(abs($), over: tokens) + 1)", "$ - max($, over: tokens)",
		"$ + min(#, over: tokens)", "where(rank($, over: tokens) < 3, $, -1)",
		"0.1 * cumsum($, over: tokens)", "$ - 0.1 * logsumexp($, over: tokens)",
		"where(any($ > 1, over: tokens), $, #)", "$ - 0.5 * sum($, over: tokens) / T",
		"$ + mean(softmax(#), over: sequence)", "where(all(# > 0, over: tokens), #, $)",
		"$ + 0.01 * rank(#, over: tokens)",
	};
	int a = some(p);

	p->g->cross = true;
	return bind(p, RNG_PICK(&p->g->rng, steps), a, some(p), "");
}

/* What depends on the token's place. */
static int placed_step(Policy *p)
{
	static const char *const steps[] = {
		"$ + 0.3 * uniform([experts])", "$ + 0.1 * normal([experts])",
		"$ + gumbel([experts])", "$ + 0.01 * (position % 3)",
		"where(uniform() > 0.5, $, #)", "where(position < 4, $, #)",
		"$ + 0.2 * uniform([experts], over: tokens)",
	};
	int a = some(p);

	p->g->placed = true;
	return bind(p, RNG_PICK(&p->g->rng, steps), a, some(p), "");
}

/* A block around s = ..: unrolled, at run time, for some tokens, for some calls. */
static int block_step(Policy *p)
{
	static const struct { const char *form; bool cross; } blocks[] = {
		{"  for i in 3 { $ = 0.5 * $ + tanh(linear(x, experts, \"~\")) }\n", false},
		{"  for i in 2 { $ = where($ > 0.1 * i, 0.5 * $, #) }\n", false},
		{"  for i in 2 { $ = where($ > 0.1 * i, 0.5 * $, #) }\n", false},
		{"  if experts > 5 { $ = 0.5 * $ } else { $ = $ + 1 }\n", false},
		{"  if experts % 2 == 1 { $ = $ - # }\n", false},
		{"  if max($) < 0.5 { $ = 0.5 * linear(x, experts, \"~\") }\n", false},
		{"  if $[0] > 0 { $ = softmax($) } else { $ = $ - # }\n", false},
		{"  if T > 5 { $ = 0.5 * $ } else { $ = $ + # }\n", true},
		{"  if any(sum($) > 0, over: tokens) { $ = 0.5 * $ }\n", true},
		{"  repeat 3 { $ = 0.5 * $ + 0.1 * # }\n", false},
		{"  repeat 4 until all(max($) < 0.3, over: tokens) { $ = 0.5 * $ }\n", true},
	};
	const char *name = arena_printf(p->g->a, "w%d", p->values);
	int a = some(p), b = some(p), v = bind(p, "$", a, a, "");
	int64_t which = rng_below(&p->g->rng, COUNT(blocks));

	p->g->cross |= blocks[which].cross;
	text_add(p->body, gen_fill(p->g->a, blocks[which].form, arena_printf(p->g->a, "s%d", v),
				   arena_printf(p->g->a, "s%d", b), name));
	return v;
}

/* What a sequence remembers; one of a program, so that no `next` waits for later tokens. */
static int memory_step(Policy *p)
{
	static const struct { const char *form; bool cross; } forms[] = {
		{"  state ~: f32[experts] per sequence\n  $ = $ + 0.3 * ~\n"
		 "  next ~ = 0.5 * $\n", false},
		{"  state ~: f32[experts] = 0.2 per sequence\n"
		 "  if max($) > max(~) { $ = 0.5 * linear(x, experts, \"~.w\") }\n"
		 "  next ~ = $\n", false},
		{"  state ~: index[1] per sequence\n  $ = where(mask(~), # + 0.1, $)\n"
		 "  next ~ = top(1, $)\n", false},
		{"  state ~: i32 = 2 per sequence\n  $ = where(range(experts) < ~, $ + 0.2, $)\n"
		 "  next ~ = ~ + 1\n", false},
		{"  state ~: f32[experts] per sequence\n"
		 "  $ = $ + linear(~, experts, \"~.w\")\n  next ~ = tanh($)\n", false},
		{"  state ~: f32[experts] = 0.1 per call\n  $ = $ + ~\n"
		 "  next ~ = mean($, over: tokens)\n", true},
	};
	const char *name = arena_printf(p->g->a, "m%d", p->values);
	int a = some(p), b = some(p), v = bind(p, "$", a, a, "");
	int64_t which = rng_below(&p->g->rng, COUNT(forms));

	if (p->g->states)
		return v;
	p->g->states = p->g->placed = true;
	p->g->cross |= forms[which].cross;
	text_add(p->body, gen_fill(p->g->a, forms[which].form, arena_printf(p->g->a, "s%d", v),
				   arena_printf(p->g->a, "s%d", b), name));
	return v;
}

static int any_step(Policy *p)
{
	int64_t which = rng_below(&p->g->rng, 102);

	if (which < 8)
		return param_step(p);
	if (which < 18)
		return group_step(p);
	if (which < 26)
		return cross_step(p);
	if (which < 29)
		return placed_step(p);
	if (which < 34)
		return block_step(p);
	if (which >= 100)
		return memory_step(p);
	return own_step(p);
}

/* pick = ..; sets k */
static void picks(Policy *p, int scores)
{
	Gen *g = p->g;
	int64_t k = rng_chance(&g->rng, 70) ? rng_between(&g->rng, 1, MIN(g->e, 3))
					    : rng_between(&g->rng, 1, g->e);
	const char *s = arena_printf(g->a, "s%d", scores);
	const char *n = arena_printf(g->a, "%jd", (intmax_t)k);
	static const char *const narrow[] = {
		"where($[best] > 0.1, best, none)", "where(range(~) < 1, best, none)",
		"where($[best] > mean($), best, none)", "where($[best] >= max($), best, none)",
		"where(range(~) < 1 or $[best] > 0.2, best, none)",
		"where(cumsum(softmax($)[best]) < 0.8, best, none)",
	};

	switch (rng_below(&g->rng, 8)) {
	case 0:
		text_printf(p->body, "  pick = which(%s > %s)\n", s,
			    rng_chance(&g->rng, 50) ? "0.1" : arena_printf(g->a, "mean(%s)", s));
		k = g->e;
		break;
	case 1:
		text_printf(p->body, "  pick = [argmax(%s)]\n", s);
		k = 1;
		break;
	case 2:
	case 3:
		text_printf(p->body, "  best = top(%s, %s)\n  pick = %s\n", n, s,
			    gen_fill(g->a, RNG_PICK(&g->rng, narrow), s, "", n));
		break;
	case 4:
		text_printf(p->body, "  e1 = argmax(%s)\n  pick = [e1, "
			    "argmax(where(onehot(e1), -inf, %s))]\n", s, s);
		k = 2;
		break;
	default:
		text_printf(p->body, "  pick = top(%s, %s)\n", n, s);
	}
	g->k = k;
}

static const char *gates(Policy *p, int scores)
{
	static const char *const forms[] = {
		"$[pick]", "softmax($[pick])", "normalize(sigmoid($)[pick])", "sigmoid($[pick])",
		"#[pick]", "tanh($[pick]) + 0.1", "normalize(abs(#[pick]), 1e-6)",
		"where(pick == none, 0, #[pick])", "0.5 * $[pick]", "clamp($[pick], -1, 1)",
		"normalize(softmax($)[pick])", "softmax($[pick]) / ~", "take($, pick)",
		"$[pick] - 0.5 * mean($[pick])", "cumsum(softmax($)[pick])",
	};
	int other = some(p);
	const char *form = RNG_PICK(&p->g->rng, forms);

	/* an infinite weight of an empty slot: 0 times it is nobody's wish */
	if (p->infinite)
		form = "clamp(where($[pick] == $[pick], $[pick], 0), -9, 9)";
	return gen_fill(p->g->a, form,
			arena_printf(p->g->a, "s%d", scores),
			arena_printf(p->g->a, "s%d", other),
			arena_printf(p->g->a, "%jd", (intmax_t)p->g->k));
}

const char *gen_own_policy(Gen *g)
{
	const char *name = arena_printf(g->a, "own%d", g->names++);
	Policy p = {.g = g, .body = &g->defs};

	text_printf(p.body, "policy %s(x) {\n  logits = router(x%s)\n", name,
		    rng_chance(&g->rng, 25) ? ", bias: true" : "");
	bind(&p, "logits", 0, 0, "");
	if (rng_chance(&g->rng, 25))
		bind(&p, "linear(x, experts, \"second\")", 0, 0, "");
	if (rng_chance(&g->rng, 10))
		bind(&p, arena_printf(g->a, "linear(tanh(linear(x, %jd, \"low\")), experts, "
				      "\"high\")", (intmax_t)gen_size(g)), 0, 0, "");
	for (int64_t n = rng_between(&g->rng, 0, 6); n > 0; n--)
		any_step(&p);
	int scores = some(&p);
	text_printf(p.body, "  p = softmax(s%d)\n", some(&p));
	picks(&p, scores);
	text_printf(p.body, "  return pick, %s\n}\n", gates(&p, scores));
	g->logits = g->p = true;
	return arena_printf(g->a, "%s()", name);
}
