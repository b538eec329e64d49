/* SPDX-License-Identifier: Apache-2.0
 * The interpreter as a whole: bounds, given routing, groups, states, failures.  What
 * single ops mean is test_ops_numpy's. */
#include "../../ir/eval.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>

static Arena *arena;

static Module *module_of(const char *text)
{
	const char *why;
	Module *m = parse_module(arena, diag_new(arena, stdout), "test", text);
	MUST(m != NULL);
	bool ok = verify(m, &why);
	if (!ok)
		printf("%s\n", why);
	MUST(ok);
	return m;
}

static double *numbers(int64_t n, uint64_t stream)
{
	float *f = NEWN(arena, float, (size_t)n);
	double *v = NEWN(arena, double, (size_t)n);
	random_normals(DT_f32, f, 0, n, 1, stream, 1);
	load_doubles(DT_f32, f, n, v);
	return v;
}

/* Weights N(0, 0.1) by name and expert, the last one asked for at hand. */
typedef struct {
	WeightSource s;
	void        *last;
	const Param *of;
	int64_t      expert;
	int          gets;
} Random;

static const void *random_weight(WeightSource *s, const Param *p, int64_t expert)
{
	Random *r = (Random *)s;
	r->gets++;
	if (strcmp(p->name, "missing") == 0)
		return NULL;
	if (r->of == p && r->expert == expert)
		return r->last;
	int64_t n = type_elems(&p->type);
	free(r->last);
	r->last = malloc((size_t)n * 4);
	r->of = p;
	r->expert = expert;
	random_normals(p->type.dtype, r->last, 0, n, 2,
		       name_hash(p->name) + (uint64_t)(expert + 1), 0.1);
	return r->last;
}

static Random random_source(void)
{
	return (Random){.s.get = random_weight, .expert = -2};
}

static const char *moe =
	"module \"moe\" { layer {width=64, experts=8, picks=2, group=0, losses=0}\n"
	"experts E0 = 0..8\n"
	"param router: f32[8, 64]\n param gate: bf16[E0, 96, 64]\n"
	"param down: bf16[E0, 64, 96]\n"
	"fn @layer(%x: bf16[T, 64]) -> (bf16[T, 64], f32[T, 64]) {\n"
	"  %rw = param {name=\"router\"} : f32[8, 64]\n"
	"  %l = linear %x, %rw : f32[T, 8]\n"
	"  %p = softmax %l {over=0} : f32[T, 8]\n"
	"  %t = topk %p {k=2} : index<8>[T, 2]\n"
	"  %pick = stop %t {given=pick} : index<8>[T, 2]\n"
	"  %pw = gather %p, %pick : f32[T, 2]\n"
	"  %weight = stop %pw {given=gate} : f32[T, 2]\n"
	"  %g = group %pick {first=0, count=8} : rows[R0]\n"
	"  %d = dispatch %x, %g : bf16[R0, 64]\n"
	"  %gw = param {name=\"gate\"} : bf16[E0, 96, 64]\n"
	"  %h = linear %d, %gw : f32[R0, 96]\n"
	"  %s = sigmoid %h : f32[R0, 96]\n"
	"  %a = mul %h, %s : f32[R0, 96]\n"
	"  %b = cast %a : bf16[R0, 96]\n"
	"  %dw = param {name=\"down\"} : bf16[E0, 64, 96]\n"
	"  %o = linear %b, %dw : f32[R0, 64]\n"
	"  %c = combine %o, %weight, %g : f32[T, 64]\n"
	"  %y = cast %c : bf16[T, 64]\n"
	"  return %y, %c\n} }";

/* The same layer in float32, as a kernel would: chains over k, each operation rounds. */
static float dot32(const float *x, const void *w, int64_t k)
{
	float sum = 0;
	for (int64_t i = 0; i < k; i++)
		sum += x[i] * (float)bf16_to_double(((const uint16_t *)w)[i]);
	return sum;
}

static void token32(Random *r, const Module *m, const float *x, const int32_t *pick,
		    const float *gate, double *y)
{
	float sum[64] = {0};
	int first = pick[0] < pick[1] ? 0 : 1;
	for (int i = 0; i < 2; i++) {
		int slot = i ? 1 - first : first;
		float h[96];
		const Param *gw = param_find(m, "gate", 0);
		const Param *dw = param_find(m, "down", 0);
		const uint16_t *w = random_weight(&r->s, gw, pick[slot]);
		for (int c = 0; c < 96; c++) {
			float a = dot32(x, w + c * 64, 64);
			h[c] = (float)round_to(DT_bf16, a * (1 / (1 + expf(-a))));
		}
		w = random_weight(&r->s, dw, pick[slot]);
		for (int c = 0; c < 64; c++)
			sum[c] += gate[slot] * dot32(h, w + c * 96, 96);
	}
	for (int c = 0; c < 64; c++)
		y[c] = (double)sum[c];
}

static EvalInput bf16_input(int64_t n)
{
	double *x = numbers(n, 9);
	for (int64_t i = 0; i < n; i++)
		x[i] = round_to(DT_bf16, x[i]);
	return (EvalInput){"x", x};
}

static void test_bounds(void)
{
	enum { T = 50 };
	Module *m = module_of(moe);
	Random r = random_source();
	EvalInput in = bf16_input(T * 64);
	EvalCall call = {.tokens = T, .inputs = &in, .ninputs = 1, .weights = &r.s,
			 .step = -1, .bounds = true};
	EvalResult res;
	const char *why;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	MUST(res.picks != NULL && res.gates != NULL && res.outs[0].err != NULL);
	double inside = 0, size = 0;
	for (int t = 0; t < T; t++) {
		float x[64];
		double y[64];
		for (int i = 0; i < 64; i++)
			x[i] = (float)in.v[t * 64 + i];
		token32(&r, m, x, res.picks + 2 * t, res.gates + 2 * t, y);
		for (int i = 0; i < 64; i++) {
			const Tensor *rounded = &res.outs[0], *exact = &res.outs[1];
			double off = fabs(y[i] - exact->v[t * 64 + i]);
			double err = exact->err[t * 64 + i];
			CHECK(off <= err);
			CHECK(fabs(round_to(DT_bf16, y[i]) - rounded->v[t * 64 + i]) <=
			      rounded->err[t * 64 + i]);
			inside += off;
			size += err;
		}
		CHECK(res.gap[t] > 1);
	}
	CHECK(inside > 0);              /* the two really differ .. */
	CHECK(size / (T * 64) < 0.2);   /* .. and the bound says something: |y| is 1 */
	free(r.last);
}

static void test_given_routing(void)
{
	Module *m = module_of(moe);
	Random r = random_source();
	EvalInput in = bf16_input(3 * 64);
	int32_t picks[6] = {1, 7, -1, -1, 3, 99};
	float gates[6] = {0.5f, 0.25f, 1, 1, 2, 2};
	EvalCall call = {.tokens = 3, .inputs = &in, .ninputs = 1, .weights = &r.s,
			 .step = -1, .picks = picks, .gates = gates};
	EvalResult res;
	const char *why;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	for (int i = 0; i < 5; i++)
		CHECK(res.picks[i] == picks[i] && res.gates[i] == gates[i]);
	CHECK(res.picks[5] == -1);      /* no such expert */
	for (int t = 0; t < 3; t++) {
		float x[64];
		double y[64];
		if (t == 1) {
			for (int i = 0; i < 64; i++)
				CHECK(res.outs[0].v[64 + i] == 0);
			continue;
		}
		for (int i = 0; i < 64; i++)
			x[i] = (float)in.v[t * 64 + i];
		int32_t pick[2] = {picks[2 * t], t ? 3 : 7};
		float gate[2] = {gates[2 * t], t ? 0 : gates[1]};
		token32(&r, m, x, pick, gate, y);
		for (int i = 0; i < 64; i++)
			CHECK(fabs(y[i] - res.outs[0].v[t * 64 + i]) <= 0.02);
	}
	free(r.last);
}

/* Two of three logits closer than their bounds: the gap says so, for that token alone. */
static void test_gap(void)
{
	Module *m = module_of("module \"g\" {\n"
			      "fn @layer(%x: f32[T, 3]) -> (index<3>[T, 1]) {\n"
			      "%e = exp %x : f32[T, 3]\n"
			      "%t = topk %e {k=1} : index<3>[T, 1]\nreturn %t\n} }");
	double x[6] = {1, 1 + 1e-8, 0, 1, 2, 0};
	EvalInput in = {"x", x};
	EvalCall call = {.tokens = 2, .inputs = &in, .ninputs = 1, .step = -1,
			 .bounds = true};
	EvalResult res;
	const char *why;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	CHECK(res.outs[0].v[0] == 1 && res.outs[0].v[1] == 1);
	CHECK(res.gap[0] < 1);
	CHECK(res.gap[1] > 1e5 && res.gap[1] < 1e7);
}

static void test_groups(void)
{
	const char *body = "fn @layer(%x: f32[T]) -> (f32[T], f32) {\n"
			   "%s = sum %x {over=tokens} : f32\n%y = add %x, %s : f32[T]\n"
			   "return %y, %s\n} }";
	double x[7] = {1, 2, 3, 4, 5, 6, 7};
	int64_t seq[5] = {0, 3, 3, 4, 7};
	EvalInput in = {"x", x};
	EvalCall call = {.tokens = 7, .nseq = 4, .seq = seq, .inputs = &in, .ninputs = 1,
			 .step = -1};
	struct { const char *group; double y[7], loss; } cases[] = {
		{"0", {29, 30, 31, 32, 33, 34, 35}, 28},
		{"3", {7, 8, 9, 19, 20, 21, 14}, 28 / 3.0},
		{"100", {29, 30, 31, 32, 33, 34, 35}, 28},
		{"-1", {7, 8, 9, 8, 23, 24, 25}, 28 / 3.0},     /* the empty one is none */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		EvalResult res;
		const char *why;
		Module *m = module_of(arena_printf(arena, "module \"g\" {\n"
			"layer {width=1, experts=0, picks=0, group=%s, losses=1}\n%s",
			cases[i].group, body));
		MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
		for (int t = 0; t < 7; t++)
			CHECK(res.outs[0].v[t] == cases[i].y[t]);
		CHECK(fabs(res.outs[1].v[0] - cases[i].loss) < 1e-12);
		EvalCall none = call;
		none.tokens = none.nseq = 0;
		MUST(eval_fn(arena, m, m->fns, &none, &res, &why));
		CHECK(res.outs[0].rows == 0 && res.outs[1].v[0] == 0);
	}
}

static const char *counter =
	"module \"c\" { state n: f32[S] per sequence init=5\nparam missing: f32[2]\n"
	"fn @layer(%x: f32[T]) -> (f32[S]) {\n"
	"%n = state {name=\"n\"} : f32[S]\n%s = sum %x {over=sequence} : f32[S]\n"
	"%m = add %n, %s : f32[S]\nnext %m {name=\"n\"}\nreturn %n\n}\n"
	"fn @fails(%x: f32[T]) -> (f32) {\n"
	"%s = sum %x {over=sequence} : f32[S]\nnext %s {name=\"n\"}\n"
	"%w = param {name=\"missing\"} : f32[2]\n%y = sum %w {over=0} : f32\n"
	"return %y\n}\n"
	"fn @reads() -> (f32[S]) {\n%n = state {name=\"n\"} : f32[S]\nreturn %n\n} }";

/* Sequences are known by number; a call that fails leaves no trace. */
static void test_states(void)
{
	Module *m = module_of(counter);
	double x[3] = {1, 2, 3};
	int64_t seq[3] = {0, 1, 3};
	EvalInput in = {"x", x};
	Random r = random_source();
	EvalState *state = eval_state_new();
	EvalCall call = {.tokens = 3, .inputs = &in, .ninputs = 1, .step = -1,
			 .state = state, .weights = &r.s};
	EvalResult res;
	const char *why = NULL;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	CHECK(res.outs[0].v[0] == 5);
	CHECK(!eval_fn(arena, m, fn_find(m, "fails"), &call, &res, &why));
	SAME_TEXT(why, "no weight 'missing'");
	for (int i = 0; i < 2; i++) {
		MUST(eval_fn(arena, m, fn_find(m, "reads"), &call, &res, &why));
		CHECK(res.outs[0].v[0] == 11);
	}
	call.nseq = 2;
	call.seq = seq;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	CHECK(res.outs[0].v[0] == 11 && res.outs[0].v[1] == 5);
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	CHECK(res.outs[0].v[0] == 12 && res.outs[0].v[1] == 10);
	eval_state_free(state);
}

static void test_failures(void)
{
	Module *m = module_of(counter);
	double x[1] = {1};
	int64_t seq[3] = {0, 5, 1}, *huge = seq;
	EvalInput in = {"y", x};
	EvalCall call = {.tokens = 1, .inputs = &in, .ninputs = 1, .step = -1};
	EvalResult res;
	const char *why = NULL;
	CHECK(!eval_fn(arena, m, m->fns, &call, &res, &why));
	SAME_TEXT(why, "no input 'x'");
	in.name = "x";
	CHECK(!eval_fn(arena, m, fn_find(m, "fails"), &call, &res, &why));
	SAME_TEXT(why, "no weight 'missing'");
	call.nseq = 2;
	call.seq = huge;
	CHECK(!eval_fn(arena, m, m->fns, &call, &res, &why));
	SAME_TEXT(why, "sequence 0 does not lie within the call");
	seq[2] = 7;
	CHECK(!eval_fn(arena, m, m->fns, &call, &res, &why));
	SAME_TEXT(why, "the sequences do not cover the 1 tokens");
	m = module_of("module \"big\" { fn @layer() -> (f32) {\n"
		      "%a = iota : f32[70368744177664]\n%s = sum %a {over=0} : f32\n"
		      "return %s\n} }");
	CHECK(!eval_fn(arena, m, m->fns, &(EvalCall){.step = -1}, &res, &why));
	CHECK(strncmp(why, "out of memory", 13) == 0);
}

/* What types cannot tell apart is found when it runs. */
static void test_wrong_rows(void)
{
	static const struct { const char *body, *why; } wrong[] = {
		{"%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%h = group %q {first=0, count=4} : rows[R0]\n"
		 "%d = dispatch %x, %g : f32[R0]\n%e = dispatch %x, %h : f32[R0]\n"
		 "%a = add %d, %e : f32[R0]\n%c = collect %a, %g : f32[T, 1]\n",
		 "add: rows of two groups"},
		{"%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%h = group %q {first=0, count=4} : rows[R0]\n"
		 "%d = dispatch %x, %h : f32[R0]\n%c = collect %d, %g : f32[T, 1]\n",
		 "collect: rows of two groups"},
		{"%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%h = group %q {first=0, count=4} : rows[R0]\n"
		 "%d = dispatch %x, %g : f32[R0]\n%e = dispatch %x, %h : f32[R0]\n"
		 "%z = const {value=[0]} : f32\n%b = lt %z, %d : bool[R0]\n"
		 "%w = where %b : f32[R0] {\nyield %e\n} {\nyield %d\n}\n"
		 "%c = collect %w, %g : f32[T, 1]\n",
		 "where: a region yields rows of another group"},
		{"%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%d = dispatch %x, %g : f32[R0]\n%e = collect %d, %g : f32[T, 2]\n"
		 "%c = slice %e {start=[0], size=[1], step=[1]} : f32[T, 1]\n",
		 "collect: 2 slots, but the group's tokens have 1 picks"},
		{"%g = group %p {first=0, count=4} : rows[R0]\n%pp = concat %p, %p : "
		 "index<4>[T, 2]\n%o = onehot %pp : bool[T, 2, 4]\n"
		 "%d = dispatch %o, %g {slot=1} : bool[R0, 4]\n"
		 "%e = sum %d {over=0} : i32[R0]\n%f = cast %e : f32[R0]\n"
		 "%c = collect %f, %g : f32[T, 1]\n",
		 "dispatch: 2 slots, but the group's tokens have 1 picks"},
		{"%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%d = dispatch %x, %g : f32[R0]\n"
		 "%ww = mul %x, %x : f32[T]\n%w1 = reshape %ww : f32[T, 1]\n"
		 "%w2 = concat %w1, %w1 : f32[T, 2]\n%s = combine %d, %w2, %g : f32[T]\n"
		 "%c = reshape %s : f32[T, 1]\n",
		 "combine: 2 slots, but the group's tokens have 1 picks"},
		{"%u = uniform {site=0} : f32[R0]\n"
		 "%g = group %p {first=0, count=4} : rows[R0]\n"
		 "%c = collect %u, %g : f32[T, 1]\n",
		 "rows of range 0 before a group made them"},
	};
	double x[3] = {1, 2, 3}, p[3] = {0, 1, 2}, q[3] = {0, -1, 3};
	EvalInput in[3] = {{"x", x}, {"p", p}, {"q", q}};
	EvalCall call = {.tokens = 3, .inputs = in, .ninputs = 3, .step = -1};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		EvalResult res;
		const char *why = "";
		Module *m = module_of(arena_printf(arena,
			"module \"w\" { experts E0 = 0..4\nfn @layer(%%x: f32[T], "
			"%%p: index<4>[T, 1], %%q: index<4>[T, 1]) -> (f32[T, 1]) {\n"
			"%sreturn %%c\n} }", wrong[i].body));
		CHECK(!eval_fn(arena, m, m->fns, &call, &res, &why));
		SAME_TEXT(why, wrong[i].why);
	}
}

static void test_one_op(void)
{
	Module *m = module_of("module \"o\" {\n"
			      "fn @layer(%a: f32[T, 2], %b: f32[2]) -> (f32[T, 2]) {\n"
			      "%y = add %a, %b : f32[T, 2]\nreturn %y\n} }");
	double a[4] = {1, 2, 3, 4}, b[2] = {10, 20};
	Region *r = m->fns->body;
	Tensor args[2] = {{.type = r->args[0]->type, .rows = 2, .n = 4, .v = a},
			  {.type = r->args[1]->type, .rows = 1, .n = 2, .v = b}}, y;
	const char *why;
	MUST(eval_op(arena, m, r->first, args, &y, &why));
	CHECK(y.n == 4 && y.v[0] == 11 && y.v[1] == 22 && y.v[2] == 13 && y.v[3] == 24);
}

/* Matrices of published size: read a block of rows at a time, each matrix once a call for
 * each expert, and fast enough to be an oracle. */
static void test_big_linear(void)
{
	enum { N = 1024, K = 2048, T = 8 };
	Module *m = module_of(arena_printf(arena,
		"module \"l\" { experts E0 = 0..8\nparam w: bf16[E0, %d, %d]\n"
		"fn @layer(%%x: f32[T, %d], %%p: index<8>[T, 1]) -> (f32[T, 1, %d]) {\n"
		"%%g = group %%p {first=0, count=8} : rows[R0]\n"
		"%%d = dispatch %%x, %%g : f32[R0, %d]\n"
		"%%w = param {name=\"w\"} : bf16[E0, %d, %d]\n"
		"%%y = linear %%d, %%w : f32[R0, %d]\n"
		"%%c = collect %%y, %%g : f32[T, 1, %d]\nreturn %%c\n} }",
		N, K, K, N, K, N, K, N, N));
	Random r = random_source();
	double pick[T] = {3, 5, 3, 5, -1, 3, 3, 5};
	EvalInput in[2] = {{"x", numbers(T * K, 4)}, {"p", pick}};
	EvalCall call = {.tokens = T, .inputs = in, .ninputs = 2, .weights = &r.s,
			 .step = -1};
	EvalResult res;
	const char *why;
	MUST(eval_fn(arena, m, m->fns, &call, &res, &why));
	CHECK(r.gets == 2 * N / 4);
	for (int t = 0; t < T; t += 3) {
		const uint16_t *w = random_weight(&r.s, param_find(m, "w", 0),
						  (int64_t)pick[t]);
		for (int c = 0; c < N; c += 97) {
			double sum = 0;
			for (int k = 0; k < K; k++)
				sum += in[0].v[t * K + k] * bf16_to_double(w[c * K + k]);
			CHECK(fabs(res.outs[0].v[t * N + c] - sum) < 1e-11);
		}
	}
	free(r.last);
}

static const uint16_t stored[6] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0};

static const void *one_tensor(void *ctx, const char *name, const Type *type)
{
	return strcmp(name, "t") == 0 && type->dtype == DT_bf16 ? stored : NULL;
}

static void test_raw_result(void)
{
	Module *m = module_of(
		"module \"r\" { fn @layer() -> () {\nreturn\n}\n"
		"fn @as_it_is() -> (bf16[2, 3]) {\n%t = tensor {name=\"t\"} : bf16[6]\n"
		"%r = reshape %t : bf16[2, 3]\nreturn %r\n}\n"
		"fn @changed() -> (bf16[3, 2]) {\n%t = tensor {name=\"t\"} : bf16[2, 3]\n"
		"%r = transpose %t : bf16[3, 2]\nreturn %r\n}\n"
		"fn @none() -> (f32[6]) {\n%t = tensor {name=\"t\"} : f32[6]\n"
		"return %t\n} }");
	EvalCall call = {.step = -1, .tensor = one_tensor, .keep_raw = true};
	EvalResult res;
	const char *why;
	MUST(eval_fn(arena, m, fn_find(m, "as_it_is"), &call, &res, &why));
	CHECK(res.outs[0].raw == stored && !res.outs[0].v && res.outs[0].n == 6);
	MUST(eval_fn(arena, m, fn_find(m, "changed"), &call, &res, &why));
	CHECK(!res.outs[0].raw && res.outs[0].v[1] == 4 && res.outs[0].v[2] == 2);
	call.keep_raw = false;
	MUST(eval_fn(arena, m, fn_find(m, "as_it_is"), &call, &res, &why));
	CHECK(!res.outs[0].raw && res.outs[0].v[5] == 6);
	CHECK(!eval_fn(arena, m, fn_find(m, "none"), &call, &res, &why));
	SAME_TEXT(why, "the checkpoint has no tensor 't' of this type");
}

#define WITH_ARENA(test)                                                    \
	static void run_##test(void)                                        \
	{                                                                   \
		arena = arena_new();                                        \
		test();                                                     \
		arena_free(arena);                                          \
	}
WITH_ARENA(test_bounds)
WITH_ARENA(test_given_routing)
WITH_ARENA(test_gap)
WITH_ARENA(test_groups)
WITH_ARENA(test_states)
WITH_ARENA(test_failures)
WITH_ARENA(test_wrong_rows)
WITH_ARENA(test_one_op)
WITH_ARENA(test_big_linear)
WITH_ARENA(test_raw_result)

SUITE("eval",
      {"a float32 layer keeps to the bounds", run_test_bounds},
      {"routing given and reported", run_test_given_routing},
      {"the gap of a routing", run_test_gap},
      {"groups", run_test_groups},
      {"states", run_test_states},
      {"failures say what failed", run_test_failures},
      {"rows of two groups", run_test_wrong_rows},
      {"one op", run_test_one_op},
      {"large matrices", run_test_big_linear},
      {"a stored tensor passes through unread", run_test_raw_result})
