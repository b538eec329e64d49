// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * test_cross: operations across tokens and sequences, draws, and the host's features. */
#include "../../ir/eval.h"
#include "unit.h"
#include "../../runtime/internal.h"

#include <math.h>
#include <stdlib.h>

enum { T = 50, C = 37 };

static const void *no_weight(void *ctx, const moert_layer *l, const char *name,
			     int64_t range, int64_t expert)
{
	return NULL;
}

/* One cross step from x [T, C] to y. */
static int run_cross(int op, bool by_sequence, Dtype in, Dtype out, int threads,
		     const void *from, void *to)
{
	static const int64_t seq[] = {0, 20, 20, 50};
	int64_t level = op >= MOERT_SOFTMAX ? MOERT_TOKEN
			: by_sequence	    ? MOERT_SEQ
					    : MOERT_ONCE;
	moert_buf bufs[] = {{"x", MOERT_INPUT, in, MOERT_TOKEN, 0, C, 0, 0, 0, NULL},
			    {"y", MOERT_OUTPUT, out, level, 0, C, 0, 0, 0, NULL}};
	moert_step step = {.name = "cross",
			   .kind = MOERT_CROSS,
			   .op = op,
			   .in = 0,
			   .out = 1,
			   .by_sequence = by_sequence};
	moert_layer l = {.name = "cross",
			 .target = "any",
			 .needs = "",
			 .nbufs = 2,
			 .nsteps = 1,
			 .bufs = bufs,
			 .steps = &step};
	moert_session_options o = {.size = sizeof o, .threads = threads};
	moert_args a = {
	    .size = sizeof a, .x = from, .tokens = T, .y = to, .nseq = 3, .seq = seq};
	moert_model *m;
	moert_session *s;
	int error = moert_open_memory(&l, no_weight, NULL, NULL, &m);
	MUST(error == 0);
	error = moert_start(m, &o, &s);
	if (!error)
		error = moert_run(s, &a);
	moert_end(s);
	moert_close(m);
	return error;
}

static float x[T][C], y[T][C];
static int32_t xi[T][C], yi[T][C];

static void fill(void)
{
	for (int t = 0; t < T; t++)
		for (int c = 0; c < C; c++) {
			x[t][c] = moert_normal(1, 0, 0, (uint32_t)t, 0, (uint32_t)c);
			xi[t][c] = (t * 7 + c * 3) % 5 == 0;
			if (c % 6 == 5)
				x[t][c] = (float)((t * 5 + c) % 4) - 2; /* equal values */
			if (c == 4)
				x[t][c] = t % 3 ? -0.0f : 0.0f;
		}
	x[7][3] = NAN;
	x[8][3] = -NAN;
	x[9][3] = -INFINITY;
}

static bool before(float a, float b, bool earlier)
{
	if (isnan(a) || isnan(b))
		return isnan(b) && (!isnan(a) || earlier);
	return a > b || (a == b && earlier);
}

static void test_rank(void)
{
	fill();
	for (int threads = 1; threads < 4; threads += 2)
		for (int by = 0; by < 2; by++) {
			CHECK(run_cross(MOERT_RANK, by, DT_f32, DT_i32, threads, x, yi) ==
			      0);
			for (int t = 0; t < T; t++)
				for (int c = 0; c < C; c++) {
					int n = 0, t0 = by && t >= 20 ? 20 : 0;
					int t1 = by && t < 20 ? 20 : T;
					for (int u = t0; u < t1; u++)
						n += u != t &&
						     before(x[u][c], x[t][c], u < t);
					CHECK(n == yi[t][c]);
				}
		}
	CHECK(run_cross(MOERT_RANK, 0, DT_bool, DT_i32, 1, xi, yi) == 0);
	for (int c = 0, n = 0; c < C; c++, n = 0)
		for (int t = 0; t < T; t++)
			if (xi[t][c])
				CHECK(yi[t][c] == n++);
}

static void test_sums(void)
{
	float sum[C] = {0}, mean[C];
	int32_t count[C] = {0};

	fill();
	for (int t = 0; t < T; t++)
		for (int c = 0; c < C; c++) {
			sum[c] += x[t][c];
			count[c] += xi[t][c];
		}
	CHECK(run_cross(MOERT_SUM, 0, DT_f32, DT_f32, 2, x, y) == 0);
	for (int c = 0; c < C; c++)
		CHECK(y[0][c] == sum[c] || (isnan(sum[c]) && isnan(y[0][c])));
	CHECK(run_cross(MOERT_SUM, 0, DT_bool, DT_i32, 2, xi, yi) == 0);
	CHECK(memcmp(yi[0], count, sizeof count) == 0);
	CHECK(run_cross(MOERT_MEAN, 0, DT_bool, DT_f32, 2, xi, mean) == 0);
	CHECK(mean[1] == (float)count[1] / T);
	CHECK(run_cross(MOERT_MEAN, 1, DT_f32, DT_f32, 2, x, y) == 0);
	CHECK(y[1][0] == 0);                    /* the empty sequence */
	CHECK(run_cross(MOERT_CUMSUM, 0, DT_f32, DT_f32, 2, x, y) == 0);
	CHECK(y[T - 1][0] == sum[0]);
	CHECK(run_cross(MOERT_CUMSUM, 1, DT_bool, DT_i32, 2, xi, yi) == 0);
	CHECK(yi[19][2] + yi[T - 1][2] == count[2]);
}

/* A value that exists once a sequence counts once over all tokens, an empty one's too. */
static void test_sequences_count_once(void)
{
	moert_buf bufs[] = {{"x", MOERT_INPUT, DT_f32, MOERT_TOKEN, 0, C, 0, 0, 0, NULL},
			    {"y", MOERT_OUTPUT, DT_f32, MOERT_ONCE, 0, C, 0, 0, 0, NULL},
			    {"each", MOERT_TEMP, DT_f32, MOERT_SEQ, 0, C, 0, 0, 0, NULL}};
	moert_step steps[] = {{.name = "each", .kind = MOERT_CROSS, .op = MOERT_AMAX,
			       .in = 0, .out = 2, .by_sequence = 1},
			      {.name = "all", .kind = MOERT_CROSS, .op = MOERT_SUM,
			       .in = 2, .out = 1}};
	moert_layer l = {.name = "cross", .target = "any", .needs = "", .nbufs = 3,
			 .nsteps = 2, .bufs = bufs, .steps = steps};
	const int64_t seq[] = {0, 20, T};
	moert_args a = {.size = sizeof a, .x = x, .tokens = T, .y = y, .nseq = 2,
			.seq = seq};
	moert_model *m;
	moert_session *s;

	for (int t = 0; t < T; t++)
		for (int c = 0; c < C; c++)
			x[t][c] = (float)(t * c);
	MUST(moert_open_memory(&l, no_weight, NULL, NULL, &m) == 0);
	MUST(moert_start(m, NULL, &s) == 0);
	CHECK(moert_run(s, &a) == 0);
	for (int c = 0; c < C; c++)
		CHECK(y[0][c] == (float)(19 * c + (T - 1) * c));
	moert_end(s);
	moert_close(m);
}

static void test_extremes(void)
{
	fill();
	CHECK(run_cross(MOERT_AMAX, 1, DT_f32, DT_f32, 1, x, y) == 0);
	CHECK(y[1][0] == -INFINITY && isnan(y[0][3]) && y[0][5] == 1);
	CHECK(run_cross(MOERT_AMIN, 1, DT_f32, DT_f32, 1, x, y) == 0);
	CHECK(y[1][0] == INFINITY && isnan(y[0][3]) && y[0][5] == -2);
	CHECK(run_cross(MOERT_AMAX, 0, DT_i32, DT_i32, 1, xi, yi) == 0);
	CHECK(yi[0][0] == 1);
	CHECK(run_cross(MOERT_ANY, 1, DT_bool, DT_bool, 1, xi, yi) == 0);
	CHECK(yi[0][0] == 1 && yi[1][0] == 0);
	CHECK(run_cross(MOERT_ALL, 1, DT_bool, DT_bool, 1, xi, yi) == 0);
	CHECK(yi[0][0] == 0 && yi[1][0] == 1);
}

static void test_exps(void)
{
	fill();
	CHECK(run_cross(MOERT_SOFTMAX, 0, DT_f32, DT_f32, 2, x, y) == 0);
	for (int c = 0; c < 3; c++) {
		double sum = 0, all = 0;
		for (int t = 0; t < T; t++) {
			sum += exp((double)x[t][c]);
			all += (double)y[t][c];
		}
		CHECK(fabs(all - 1) < 1e-5);
		CHECK(fabs((double)y[5][c] - exp((double)x[5][c]) / sum) < 1e-7);
		float lse[C];
		CHECK(run_cross(MOERT_LOGSUMEXP, 0, DT_f32, DT_f32, 2, x, lse) == 0);
		CHECK(fabs((double)lse[c] - log(sum)) < 1e-5);
	}
}

static void test_maths(void)
{
	for (int i = -110000; i < 95000; i += 7) {
		float v = (float)i / 1000;
		double e = exp((double)v), l = log(e);
		double got = (double)moert_exp(v);
		CHECK(got == (double)(float)e || fabs(got - e) <= 1e-7 * e);
		CHECK(e > 1e300 || e == 0 ||
		      fabs(moert_log(e) - l) <= 1e-14 * (1 + fabs(l)));
	}
	CHECK(moert_exp(INFINITY) == INFINITY && moert_exp(-INFINITY) == 0);
	CHECK(isnan(moert_exp(NAN)) && isnan(moert_log(-1)));
	CHECK(moert_log(0) == -INFINITY && moert_log(INFINITY) == INFINITY);
}

/* Kernels and interpreter draw the same bits. */
static void test_draws(void)
{
	int32_t position[] = {5, 900}, sequence[] = {0, 3};
	moert_call call = {.position = position, .sequence = sequence, .step = 17,
			   .seed = 0x123456789abc};
	for (int t = 0; t < 2; t++)
		for (uint32_t i = 0; i < 200; i++) {
			uint32_t s = (uint32_t)sequence[t], p = (uint32_t)position[t];
			CHECK(moert_draw_uniform(&call, t, 2, i) ==
			      moert_uniform(call.seed, s, 2, p, 17, i));
			CHECK(moert_draw_normal(&call, t, 2, i) ==
			      moert_normal(call.seed, s, 2, p, 17, i));
		}
	call.step = 0x1p53;
	CHECK(moert_draw_normal(&call, -1, 1, 3) ==
	      moert_normal(call.seed, 0, 1, 0, moert_draw_step(-1), 3));
}

static void test_cpu(void)
{
	CHECK(moert_cpu_has("") && moert_cpu_has(NULL));
	CHECK(!moert_cpu_has("avx1024"));
#if defined __x86_64__
	CHECK(moert_cpu_has("avx2 fma") ==
	      (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
	CHECK(!moert_cpu_has("avx512f") == !__builtin_cpu_supports("avx512f"));
	CHECK(!moert_cpu_has("avx512f avx512bf16") ==
	      !__builtin_cpu_supports("avx512bf16"));
	CHECK(!moert_cpu_has("avx2 avx1024"));
#endif
}

SUITE("cross", {"rank", test_rank}, {"sums", test_sums},
      {"sequences count once", test_sequences_count_once}, {"extremes", test_extremes},
      {"softmax and logsumexp", test_exps}, {"exp and log", test_maths},
      {"draws", test_draws}, {"cpu features", test_cpu})
