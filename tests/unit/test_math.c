/* SPDX-License-Identifier: Apache-2.0
 * test_math: the functions of backend/math.c as kernels compute them, on floats of every
 * size, against libm in double; the bounds are those of backend/emit.h. */
// libs: guarded foreign backend passes moert dl pthread
#include "native.h"
#include "unit.h"
#include <float.h>

enum { LANES = 16, TOKENS = 4096, SAMPLES = LANES * TOKENS };

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static double softplus(double x)
{
	return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static const struct {
	const char *name;
	double (*truth)(double);
	double ulps;
} functions[] = {
	{"exp", exp, 1}, {"log", log, 2}, {"sigmoid", sigmoid, 2.5},
	{"tanh", tanh, 3}, {"erf", erf, 3}, {"softplus", softplus, 3},
};

/* Bit patterns from 2^-60 to 2^8 of both signs; in front what is special. */
WRAPS static void fill(float *x)
{
	static const float special[] = {
		0, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN,
		1e-45f, 1, -1, 0.5f, -0.5f, 88.5f, 88.8f, -87, -88, -103, -104, 128, -150,
		0.70710677f, 0.70710684f, 1.4142135f, 1.4142137f, 0.99999994f, 1.0000001f,
	};
	uint32_t bits = 1;

	for (size_t i = 0; i < SAMPLES; i++) {
		bits = bits * 1664525 + 1013904223;
		x[i] = ldexpf(1 + (float)(bits >> 9 & 0x7FFF) * 0x1p-15f,
			      (int)(i % 69) - 60) * (bits >> 31 ? -1.0f : 1.0f);
	}
	memcpy(x, special, sizeof special);
}

/* Beyond the range of normal floats any neighbour will do. */
static double error_in_ulps(double got, double truth)
{
	int exponent;

	if (isnan(truth) || isnan(got))
		return isnan(truth) && isnan(got) ? 0 : INFINITY;
	if (fabs(truth) > FLT_MAX)
		return got == (float)truth ? 0 : INFINITY;
	frexp(truth, &exponent);
	return fmax(fabs(got - truth) - FLT_MIN, 0) / ldexp(1, exponent - 24);
}

static void check(const char *target, size_t f, const float *x, const float *y)
{
	double worst = 0;
	float at = 0;

	for (size_t i = 0; i < SAMPLES; i++) {
		double e = error_in_ulps(y[i], functions[f].truth(x[i]));
		if (e > worst) {
			worst = e;
			at = x[i];
		}
	}
	CHECK(worst <= functions[f].ulps);
	if (worst > functions[f].ulps)
		printf("%s: %s(%a) is off by %g ulp\n", target, functions[f].name, (double)at,
		       worst);
}

static void check_target(const Target *t, size_t f)
{
	Arena *a = arena_new();
	Diag *diag = diag_new(a, stderr);
	const char *text = arena_printf(a,
		"module \"m\" {\n"
		"  layer {width=%d, experts=0, picks=0, group=0, losses=0}\n"
		"  fn @layer(%%x: f32[T, %d]) -> (y: f32[T, %d]) {\n"
		"    %%y = %s %%x : f32[T, %d]\n"
		"    return %%y\n"
		"  }\n"
		"}\n", LANES, LANES, LANES, functions[f].name, LANES);
	const PassOptions verified = {.verify = true};
	Native n = {.arena = a, .target = t, .options = &verified,
		    .m = parse_module(a, diag, "math", text),
		    .reference = parse_module(a, diag, "math", text)};
	float *x = NEWN(a, float, SAMPLES), *y = NEWN(a, float, SAMPLES);
	moert_session_options options = {.size = sizeof options, .threads = 1};
	moert_args args = {.size = sizeof args, .x = x, .tokens = TOKENS, .y = y};

	MUST(n.m && n.reference);
	fill(x);
	MUST(native_open(&n));
	CHECK((n.there ? foreign_run(n.there, n.model, &options, &args, NULL)
		       : loaded_call(&n.here, n.model, &options, &args)) == 0);
	native_close(&n);
	check(t->name, f, x, y);
	arena_free(a);
}

static void test_functions(void)
{
	for (int t = 0; t < target_count; t++)
		for (size_t f = 0; f < COUNT(functions); f++)
			if (target_is_host(&targets[t]) && target_host_has(&targets[t]))
				check_target(&targets[t], f);
}

SUITE("math", {"ulps against libm", test_functions})
