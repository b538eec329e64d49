/* SPDX-License-Identifier: Apache-2.0
 * experts: calls of std's experts, and experts of random elementwise chains between their
 * matrices. */
#include "gen.h"
#include <string.h>

static const int64_t sizes[] = {1,  2,  3,  5,  8,  15, 16,  17,
				31, 33, 48, 64, 65, 100, 127, 130};

int64_t gen_size(Gen *g)
{
	return RNG_PICK(&g->rng, sizes);
}

/* An expert of the program's own while it is written: a value a line. */
typedef struct {
	Gen  *g;
	Text *body;
	int   values;                   /* v0, v1, .. */
} Chain;

/* The next value: form of the values a and b. */
static int bind(Chain *c, const char *form, int a, int b)
{
	Arena *arena = c->g->a;
	const char *x = arena_printf(arena, "v%d", a), *y = arena_printf(arena, "v%d", b);

	text_printf(c->body, "  v%d = %s\n", c->values, gen_fill(arena, form, x, y, ""));
	return c->values++;
}

static int own_param(Chain *c, int v, const char *length)
{
	int name = c->values;

	text_printf(c->body, "  param s%d: f32[%s]%s\n", name, length,
		    rng_chance(&c->g->rng, 30) ? " = 0.5" : "");
	return bind(c, arena_printf(c->g->a, rng_chance(&c->g->rng, 50) ? "$ * s%d"
									 : "$ + s%d",
				    name), v, v);
}

static int step(Chain *c, int v, int other, const char *length)
{
	static const char *const steps[] = {
		"relu($)", "silu($)", "gelu($)", "gelu_tanh($)", "tanh($)", "sigmoid($)",
		"softplus($)", "square($)", "abs($)", "-$", "clamp($, -1.5, 2)",
		"min($, 0.75)", "max(-0.5, $)", "erf($)", "exp(min($, 2))",
		"log(abs($) + 0.5)", "sqrt(abs($))", "0.5 * $", "$ + 0.25", "1 - $",
		"rms($)", "softmax($)", "$ / (1 + abs($))", "$ - mean($)",
		"$ * sigmoid(1.702 * $)", "cast($, bf16)", "cast($, f16)",
		"$ / sqrt(sum(square($)) + 0.5)", "cumsum($)", "$ * #", "$ + #", "$ - 0.5 * #",
		"max($, #)", "min($, #)", "where($ > 0, $, #)", "where($ < #, $, 0.5 * #)",
		"$ / (abs(#) + 0.5)", "$ * sum(#)", "sign($) * #", "round($ * 8) / 8 + 0 * #",
		"floor($ + 0.5)", "where(isfinite($), $, 0)", "$ % 1.5",
	};
	const char *form = RNG_PICK(&c->g->rng, steps);

	if (rng_chance(&c->g->rng, 10))
		return own_param(c, v, length);
	if (strstr(form, "isfinite"))
		form = "where($ == $, $, 0)";
	c->g->decides |= strstr(form, "where") || strstr(form, "round") ||
			 strstr(form, "floor") || strstr(form, "%") || strstr(form, "sign");
	return bind(c, form, v, other);
}

static int some_steps(Chain *c, int v, int other, const char *length)
{
	for (int64_t n = rng_below(&c->g->rng, 4); n > 0; n--)
		v = step(c, v, rng_chance(&c->g->rng, 70) ? other : v, length);
	return v;
}

static int linear(Chain *c, int v, const char *length, const char *name)
{
	const char *bias = rng_chance(&c->g->rng, 25) ? ", bias: true" : "";

	return bind(c, arena_printf(c->g->a, "linear($, %s, \"%s\"%s)", length, name, bias), v,
		    v);
}

/* expert own3(x, hidden) { .. }: one or two branches into the hidden vector, perhaps a
 * second matrix there, and one matrix back. */
static const char *own_expert(Gen *g)
{
	const char *name = arena_printf(g->a, "own%d", g->names++);
	Chain c = {.g = g, .body = &g->defs};
	bool two = rng_chance(&g->rng, 60);

	text_printf(&g->defs, "expert %s(x, hidden) {\n", name);
	int x = bind(&c, rng_chance(&g->rng, 15) ? "rms(x)" : rng_chance(&g->rng, 10)
			     ? "0.5 * x" : "x", 0, 0);
	int h = linear(&c, x, "hidden", "up"), gate = h;
	if (two)
		gate = linear(&c, rng_chance(&g->rng, 90) ? x : h,
			      "hidden", "gate");
	h = some_steps(&c, h, gate, "hidden");
	if (two)
		h = bind(&c, "$ * #", h, some_steps(&c, gate, gate, "hidden"));
	if (rng_chance(&g->rng, 20)) {
		int64_t inner = gen_size(g);
		const char *length = arena_printf(g->a, "%jd", (intmax_t)inner);
		h = linear(&c, h, length, "inner");
		h = some_steps(&c, h, h, length);
	}
	int y = linear(&c, h, "width", "down");
	y = some_steps(&c, y, rng_chance(&g->rng, 20) ? x : y, "width");
	text_printf(&g->defs, "  return v%d\n}\n", y);
	return name;
}

/* NAME(ARGUMENTS after x) of an expert of std or of the program's own. */
static const char *make_call(Gen *g, const char **name)
{
	static const char *const plain[] = {
		"swiglu", "geglu_tanh", "geglu", "reglu", "glu", "squared_relu_ffn",
		"silu_ffn", "gelu_ffn", "relu_ffn",
	};
	intmax_t hidden = gen_size(g);
	int64_t which = rng_below(&g->rng, 20);

	if (which < 7) {
		*name = RNG_PICK(&g->rng, plain);
		bool bias = strstr(*name, "_ffn") && **name != 's' && **name != 'q' &&
			    rng_chance(&g->rng, 50);
		return arena_printf(g->a, "%jd%s", hidden, bias ? ", bias: true" : "");
	}
	if (which < 9) {
		*name = "clamped_swiglu";
		return arena_printf(g->a, "%jd, 1.5, 1.702, bias: %s", hidden,
				    rng_chance(&g->rng, 50) ? "true" : "false");
	}
	if (which == 9) {
		*name = "lora_swiglu";
		return arena_printf(g->a, "%jd, %jd, 0.5", hidden,
				    (intmax_t)rng_between(&g->rng, 1, 9));
	}
	if (which == 10) {
		*name = "partial_swiglu";
		g->decides = true;
		return arena_printf(g->a, "%jd, %jd", hidden,
				    (intmax_t)rng_between(&g->rng, 1, hidden));
	}
	if (which == 11) {
		*name = rng_chance(&g->rng, 70) ? "identity" : "zero";
		return "";
	}
	*name = own_expert(g);
	return arena_printf(g->a, "%jd", hidden);
}

const char *gen_expert(Gen *g)
{
	const char *name, *args = make_call(g, &name);

	return arena_printf(g->a, "%s(%s)", name, args);
}

const char *gen_shared(Gen *g, const char *prefix)
{
	const char *name, *args = make_call(g, &name);

	return arena_printf(g->a, "%s(x%s%s%s)", name, *args ? ", " : "", args,
			    *args ? arena_printf(g->a, ", name: \"%s\"", prefix) : "");
}
