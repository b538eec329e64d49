/* SPDX-License-Identifier: Apache-2.0
 * math: exp and its kin as polynomials on scalars or vectors of f32.
 *
 * Only + - * / fma and bit operations are emitted, so that every machine of a target gives
 * the same bits.  Integers are read off a float that had 1.5 * 2^23 added: unlike a
 * conversion that is defined for NaN too, which then passes through the polynomial. */
#include "emit.h"

static Val k(Ll *l, Val like, double v)
{
	return ll_const_f32(l, v, ll_lanes(like));
}

static Val ki(Ll *l, Val like, int64_t v)
{
	return ll_const_i32(l, v, ll_lanes(like));
}

static Val add(Ll *l, Val a, Val b)
{
	return LLVMBuildFAdd(l->b, a, b, "");
}

static Val sub(Ll *l, Val a, Val b)
{
	return LLVMBuildFSub(l->b, a, b, "");
}

static Val mul(Ll *l, Val a, Val b)
{
	return LLVMBuildFMul(l->b, a, b, "");
}

static Val divide(Ll *l, Val a, Val b)
{
	return LLVMBuildFDiv(l->b, a, b, "");
}

static Val when(Ll *l, LLVMRealPredicate p, Val a, Val b, Val yes, Val no)
{
	return ll_select(l, LLVMBuildFCmp(l->b, p, a, b, ""), yes, no);
}

/* sum of c[i] * x^i by Horner's rule; c[n-1] is the highest power's. */
static Val poly(Ll *l, Val x, const double *c, int n)
{
	Val y = k(l, x, c[n - 1]);

	for (int i = n - 2; i >= 0; i--)
		y = ll_fma(l, y, x, k(l, x, c[i]));
	return y;
}

/* x = n ln 2 + r, |r| <= ln 2 / 2.  n comes as an integer; NaN stays in r. */
static Val reduce_ln2(Ll *l, Val x, Val *n)
{
	const double magic = 12582912.0;        /* 1.5 * 2^23 */
	Val t = ll_fma(l, x, k(l, x, 1.4426950408889634), k(l, x, magic));
	Val nf = sub(l, t, k(l, x, magic));
	Val r = ll_fma(l, nf, k(l, x, -0.693145751953125), x);

	*n = LLVMBuildSub(l->b, ll_bits(l, t), ki(l, x, 0x4B400000), "");
	return ll_fma(l, nf, k(l, x, -1.4286068203094172e-6), r);
}

static Val power_of_two(Ll *l, Val n)
{
	Val biased = LLVMBuildAdd(l->b, n, ki(l, n, 127), "");
	return ll_float(l, LLVMBuildShl(l->b, biased, ki(l, n, 23), ""));
}

/* (e^r - 1) on the reduced range: r + r^2 / 2! + .. + r^7 / 7! */
static Val expm1_reduced(Ll *l, Val r)
{
	static const double c[] = {1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720,
				   1.0 / 5040};
	Val square = mul(l, r, r);
	return ll_fma(l, square, poly(l, r, c, 6), r);
}

Val math_exp(Ll *l, Val x)
{
	Val n;

	/* beyond these the result is inf or 0; a NaN fails both comparisons and stays */
	x = when(l, LLVMRealOGT, x, k(l, x, 89.0), k(l, x, 89.0), x);
	x = when(l, LLVMRealOLT, x, k(l, x, -104.0), k(l, x, -104.0), x);
	Val r = reduce_ln2(l, x, &n);
	Val y = add(l, expm1_reduced(l, r), k(l, x, 1.0));
	/* two steps: 2^n alone would leave the range before the result does */
	Val half = LLVMBuildAShr(l->b, n, ki(l, n, 1), "");
	y = mul(l, y, power_of_two(l, half));
	return mul(l, y, power_of_two(l, LLVMBuildSub(l->b, n, half, "")));
}

Val math_sigmoid(Ll *l, Val x)
{
	Val e = math_exp(l, LLVMBuildFNeg(l->b, x, ""));
	return divide(l, k(l, x, 1.0), add(l, e, k(l, x, 1.0)));
}

/* 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ..), returned without its leading 2 s: the rest */
static Val atanh_rest(Ll *l, Val s, int terms)
{
	double c[10];

	for (int i = 0; i < terms; i++)
		c[i] = 2.0 / (2 * i + 3);
	Val s2 = mul(l, s, s), s3 = mul(l, s, s2);
	return mul(l, s3, poly(l, s2, c, terms));
}

Val math_log(Ll *l, Val x)
{
	/* subnormals are scaled up; m lies in [sqrt(1/2), sqrt(2)) */
	Val tiny = LLVMBuildFCmp(l->b, LLVMRealOLT, x, k(l, x, 0x1p-126), "");
	Val big = ll_select(l, tiny, mul(l, x, k(l, x, 0x1p23)), x);
	Val bits = ll_bits(l, big);
	Val up = LLVMBuildAdd(l->b, bits, ki(l, bits, 0x3F800000 - 0x3F3504F3), "");
	Val e = LLVMBuildSub(l->b, LLVMBuildAShr(l->b, up, ki(l, up, 23), ""),
			     ki(l, up, 127), "");
	Val m = ll_float(l, LLVMBuildAdd(l->b, LLVMBuildAnd(l->b, up, ki(l, up, 0x7FFFFF), ""),
					 ki(l, up, 0x3F3504F3), ""));
	e = ll_select(l, tiny, LLVMBuildSub(l->b, e, ki(l, e, 23), ""), e);
	Val ef = LLVMBuildSIToFP(l->b, e, LLVMTypeOf(x), "");

	Val f = sub(l, m, k(l, x, 1.0));
	Val s = divide(l, f, add(l, m, k(l, x, 1.0)));
	Val low = ll_fma(l, ef, k(l, x, 1.4286068203094172e-6), atanh_rest(l, s, 5));
	Val y = ll_fma(l, ef, k(l, x, 0.693145751953125),
		       ll_fma(l, s, k(l, x, 2.0), low));

	y = when(l, LLVMRealOEQ, x, k(l, x, __builtin_inf()), x, y);
	y = when(l, LLVMRealOEQ, x, k(l, x, 0.0), k(l, x, -__builtin_inf()), y);
	return when(l, LLVMRealOGE, x, k(l, x, 0.0), y, k(l, x, __builtin_nan("")));
}

/* t / (t + 2) with t = e^(2|x|) - 1: no cancellation near 0 */
Val math_tanh(Ll *l, Val x)
{
	Val sign = LLVMBuildAnd(l->b, ll_bits(l, x), ki(l, x, (int32_t)0x80000000), "");
	Val a = ll_float(l, LLVMBuildXor(l->b, ll_bits(l, x), sign, ""));
	Val n;

	a = when(l, LLVMRealOGT, a, k(l, a, 10.0), k(l, a, 10.0), a);
	Val r = reduce_ln2(l, add(l, a, a), &n);
	Val scale = power_of_two(l, n);
	Val less = sub(l, scale, k(l, a, 1.0));
	Val t = ll_fma(l, scale, expm1_reduced(l, r), less);
	Val y = divide(l, t, add(l, t, k(l, a, 2.0)));
	return ll_float(l, LLVMBuildOr(l->b, ll_bits(l, y), sign, ""));
}

/* max(x, 0) + log(1 + u), u = e^-|x|, by log(1 + u) = 2 atanh(u / (2 + u)) */
Val math_softplus(Ll *l, Val x)
{
	Val neg = LLVMBuildFNeg(l->b, x, "");
	Val minus_abs = when(l, LLVMRealOGT, x, k(l, x, 0.0), neg, x);
	Val u = math_exp(l, minus_abs);
	Val s = divide(l, u, add(l, u, k(l, x, 2.0)));
	Val positive = when(l, LLVMRealOGT, x, k(l, x, 0.0), x, k(l, x, 0.0));
	Val tail = ll_fma(l, s, k(l, x, 2.0), atanh_rest(l, s, 9));
	return add(l, positive, tail);
}

/* |x| < 1: x times a polynomial in x^2.  Above: 1 - exp(-g(|x|)), g of degree 9 about 2.5.
 * Both are Chebyshev fits of ours: 1e-12 and 1.2e-9 relative before rounding. */
Val math_erf(Ll *l, Val x)
{
	static const double small[] = {
		1.1283791670947365, -0.3761263888988927, 0.1128379131385815,
		-0.026866133652788626, 0.005223785113681345, -0.0008542672876263562,
		0.0001195697483146483, -1.39118791637157e-05, 1.0595737026606487e-06};
	static const double large[] = {
		7.806815277053518, 5.352680740382932, 0.9438936402504713,
		0.01085816554842127, -0.002165160250995196, 0.00042070690549541614,
		-7.739447423077752e-05, 1.29761559159297e-05, -1.6140492484351033e-06,
		6.582353112546236e-08};
	Val sign = LLVMBuildAnd(l->b, ll_bits(l, x), ki(l, x, (int32_t)0x80000000), "");
	Val a = ll_float(l, LLVMBuildXor(l->b, ll_bits(l, x), sign, ""));
	Val near = mul(l, a, poly(l, mul(l, a, a), small, 9));
	Val capped = when(l, LLVMRealOGT, a, k(l, a, 4.0), k(l, a, 4.0), a);
	Val g = poly(l, sub(l, capped, k(l, a, 2.5)), large, 10);
	Val far = sub(l, k(l, a, 1.0), math_exp(l, LLVMBuildFNeg(l->b, g, "")));
	Val y = when(l, LLVMRealOLT, a, k(l, a, 1.0), near, far);

	return ll_float(l, LLVMBuildOr(l->b, ll_bits(l, y), sign, ""));
}
