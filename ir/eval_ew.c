/* SPDX-License-Identifier: Apache-2.0
 * eval_ew: the elementwise ops, and how error bounds pass through them.
 *
 * A bound passes an op by evaluating it at the corners x +- err; then the kernel's own
 * rounding of the result is added, in units of roundoff. */
#include "eval_ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

double err_between(double y, double other)
{
	if (y == other || (isnan(y) && isnan(other)))
		return 0;
	double d = fabs(y - other);
	return isnan(d) ? INFINITY : d;
}

/* FLT_MIN: a kernel may flush what is smaller. */
double err_rounding(Dtype dtype, double y, double ulps)
{
	if (dtype != DT_f32 || ulps == 0 || y == 0 || !isfinite(y))
		return 0;
	return fabs(y) > FLT_MAX ? INFINITY : ulps * U_F32 * fabs(y) + FLT_MIN;
}

/* Only decisions of whole tokens count: those of routed rows change no routing. */
void gap_note(Eval *ev, const Tensor *t, int64_t row, double difference, double err)
{
	if (!ev->result->gap || t->type.level != LV_TOKEN || !(err > 0))
		return;
	double gap = isinf(err) ? 0 : fabs(difference) / err;
	double *least = &ev->result->gap[ev->ctx->origin[row]];
	if (gap < *least)
		*least = gap;
}

/* Which entry of an operand's row serves entry i of the result's, by NumPy's rule. */
static int64_t *broadcast_map(Eval *ev, const Type *out, const Type *in)
{
	int64_t n = type_elems(out), *map = eval_alloc(ev, n, sizeof *map);

	for (int64_t i = 0; i < n; i++) {
		int64_t rest = i, stride = 1;
		for (int d = out->rank - 1, e = in->rank - 1; e >= 0; d--, e--) {
			if (in->dim[e] != 1)
				map[i] += rest % out->dim[d] * stride;
			stride *= in->dim[e];
			rest /= out->dim[d];
		}
	}
	return map;
}

typedef struct {
	const Tensor *t;
	int64_t *map, each, base;
	bool     narrow;                /* an f64 scalar that the kernel reads as f32 */
} In;

static void ins_open(Eval *ev, const Tensor *out, const Tensor *args, int n, In *in)
{
	for (int i = 0; i < n; i++)
		in[i] = (In){&args[i], broadcast_map(ev, &out->type, &args[i].type),
			     type_elems(&args[i].type), 0,
			     args[i].type.dtype == DT_f64 && out->type.level != LV_ONCE};
}

static double in_err(const In *in, int64_t at)
{
	double x = in->t->v[at], e = err_at(in->t, at);
	return in->narrow ? e + err_between(x, (float)x) : e;
}

static void ins_row(Eval *ev, const Tensor *out, int64_t r, int n, In *in)
{
	for (int i = 0; i < n; i++)
		in[i].base = row_in(ev, out, r, in[i].t) * in[i].each;
}

static void ins_close(Eval *ev, int n, In *in)
{
	for (int i = 0; i < n; i++)
		eval_free(ev, in[i].map);
}

typedef double Scalar(double a, double b);

/* The bound of f(a, b): its corners, then its own rounding.  A correctly rounded op whose
 * exact operands give a float exactly gives that float. */
static double err_scalar(Scalar *f, Dtype dtype, double ulps, double y, const double x[2],
			 const double e[2])
{
	double err = 0;
	if (e[0] == 0 && e[1] == 0 && ulps == 1 && (float)y == y)
		return 0;
	for (int i = 0; i < 4 && (e[0] > 0 || e[1] > 0); i++) {
		double a = x[0] + (i & 1 ? e[0] : -e[0]);
		double b = x[1] + (i & 2 ? e[1] : -e[1]);
		err = fmax(err, err_between(y, f(a, b)));
	}
	return err + err_rounding(dtype, fabs(y) + (isfinite(err) ? err : 0), ulps);
}

static void elementwise(Eval *ev, const Op *op, const Tensor *args, Tensor *outs,
			Scalar *f, double ulps)
{
	Tensor *out = outs;
	Dtype dtype = op->outs[0]->type.dtype;
	bool rounds = ulps > 0 && dtype == DT_f32;
	In in[2];

	out_new(ev, op, 0, args, out, rounds || any_err(args, op->nargs));
	ins_open(ev, out, args, op->nargs, in);
	int64_t each = type_elems(&out->type);
	for (int64_t r = 0, at = 0; r < out->rows; r++) {
		ins_row(ev, out, r, op->nargs, in);
		for (int64_t i = 0; i < each; i++, at++) {
			double x[2] = {0}, e[2] = {0};
			for (int a = 0; a < op->nargs; a++) {
				int64_t from = in[a].base + in[a].map[i];
				x[a] = in[a].t->v[from];
				e[a] = in_err(&in[a], from);
			}
			out->v[at] = f(x[0], x[1]);
			if (out->err)
				out->err[at] = err_scalar(f, dtype, ulps, out->v[at],
							  x, e);
		}
	}
	ins_close(ev, op->nargs, in);
}

/* How far a comparison of tokens' values is from turning out otherwise. */
static void compare_gaps(Eval *ev, const Tensor *args, const Tensor *out)
{
	In in[2];
	if (out->type.level != LV_TOKEN || !out->err)
		return;
	ins_open(ev, out, args, 2, in);
	int64_t each = type_elems(&out->type);
	for (int64_t r = 0; r < out->rows; r++) {
		ins_row(ev, out, r, 2, in);
		for (int64_t i = 0; i < each; i++) {
			int64_t a = in[0].base + in[0].map[i];
			int64_t b = in[1].base + in[1].map[i];
			gap_note(ev, out, r, args[0].v[a] - args[1].v[b],
				 in_err(&in[0], a) + in_err(&in[1], b));
		}
	}
	ins_close(ev, 2, in);
}

static double floor_mod(double a, double b)
{
	return a - b * floor(a / b);
}

/* Without overflow or cancellation for large |x|. */
static double soft_plus(double x)
{
	return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* A divisor whose interval holds 0 has no corners that bound the quotient. */
static double quotient(double a, double b)
{
	return a / b;
}

/* name, roundings of an f32 kernel in units of roundoff, meaning of a and b */
#define EW(name, ulps, expr)                                                          \
	static double scalar_##name(double a, double b)                               \
	{                                                                             \
		(void)b;                                                              \
		return expr;                                                          \
	}                                                                             \
	void ref_##name(Eval *ev, const Op *op, Tensor *args, Tensor *outs)           \
	{                                                                             \
		elementwise(ev, op, args, outs, scalar_##name, ulps);                 \
	}
EW(neg,      0, -a)
EW(abs,      0, fabs(a))
EW(exp,      4, exp(a))
EW(log,      4, log(a))
EW(sqrt,     1, sqrt(a))
EW(square,   1, a * a)
EW(sign,     0, isnan(a) ? a : (a > 0) - (a < 0))
EW(floor,    0, floor(a))
EW(ceil,     0, ceil(a))
EW(round,    0, rint(a))
EW(tanh,     4, tanh(a))
EW(erf,      4, erf(a))
EW(sigmoid,  4, 1 / (1 + exp(-a)))
EW(softplus, 4, soft_plus(a))
EW(not,      0, a == 0)
EW(isnone,   0, a < 0)
EW(add,      1, a + b)
EW(sub,      1, a - b)
EW(mul,      1, a * b)
EW(min,      0, isnan(a) || a < b ? a : b)
EW(max,      0, isnan(a) || a > b ? a : b)
EW(and,      0, a != 0 && b != 0)
EW(or,       0, a != 0 || b != 0)
#undef EW

#define COMPARE(name, sign)                                                           \
	static double scalar_##name(double a, double b)                               \
	{                                                                             \
		return a sign b;                                                      \
	}                                                                             \
	void ref_##name(Eval *ev, const Op *op, Tensor *args, Tensor *outs)           \
	{                                                                             \
		elementwise(ev, op, args, outs, scalar_##name, 0);                    \
		compare_gaps(ev, args, outs);                                         \
	}
COMPARE(lt, <)
COMPARE(le, <=)
COMPARE(eq, ==)
COMPARE(ne, !=)
#undef COMPARE

/* Where the operands' intervals hold a divisor of 0, or a step of floor. */
static void widen_quotient(Eval *ev, const Op *op, const Tensor *args, Tensor *out)
{
	In in[2];
	if (!out->err)
		return;
	ins_open(ev, out, args, 2, in);
	int64_t each = type_elems(&out->type);
	for (int64_t at = 0; at < out->n; at++) {
		ins_row(ev, out, at / each, 2, in);
		int64_t a = in[0].base + in[0].map[at % each];
		int64_t b = in[1].base + in[1].map[at % each];
		if (in_err(&in[1], b) > 0 && fabs(args[1].v[b]) <= in_err(&in[1], b))
			out->err[at] = INFINITY;
		if (op->kind == OP_mod && out->type.dtype == DT_f32 &&
		    isfinite(out->v[at]))
			out->err[at] += 2 * U_F32 * fabs(args[0].v[a]);
	}
	ins_close(ev, 2, in);
}

void ref_div(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	elementwise(ev, op, args, outs, quotient, 1);
	widen_quotient(ev, op, args, outs);
}

void ref_mod(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	elementwise(ev, op, args, outs, floor_mod, 1);
	widen_quotient(ev, op, args, outs);
}

/* Routing as it is marked: what is given, or NULL; and where it is reported. */
typedef struct {
	const int32_t *picks;
	const float   *gates;
	int32_t      **picks_out;
	float        **gates_out;
	int64_t        k;
} Marked;

static Marked marked_routing(Eval *ev, int64_t number)
{
	const EvalCall *call = ev->call;
	EvalResult *res = ev->result;
	int n = ev->m->calls.n;

	if (number < 0)
		return (Marked){call->picks, call->gates, &res->picks, &res->gates,
				ev->m->picks};
	if (!res->calls)
		res->calls = NEWN(ev->arena, EvalRouting, (size_t)n);
	EvalRouting *to = &res->calls[number];
	to->k = ev->m->calls.at[number].picks;
	return (Marked){call->calls ? call->calls[number].picks : NULL,
			call->calls ? call->calls[number].gates : NULL, &to->picks, &to->gates,
			to->k};
}

/* The routing given in the call takes the place of the value marked {given}; else the
 * value is reported as the routing. */
static void given_routing(Eval *ev, const Tensor *t, bool pick, int64_t number)
{
	Marked r = marked_routing(ev, number);
	size_t all = (size_t)(ev->call->tokens * r.k);
	int64_t k = type_elems(&t->type);

	if (t->type.level != LV_TOKEN || k != r.k)
		eval_fail(ev, "the value marked as routing is not [T, %lld]", (long long)r.k);
	if (pick && !*r.picks_out)
		*r.picks_out = NEWN(ev->arena, int32_t, all);
	if (!pick && !*r.gates_out)
		*r.gates_out = NEWN(ev->arena, float, all);
	for (int64_t i = 0; i < t->n; i++) {
		int64_t at = ev->ctx->origin[i / k] * k + i % k;
		bool given = pick ? r.picks != NULL : r.gates != NULL;
		if (given) {
			t->v[i] = pick ? (double)r.picks[at] : (double)r.gates[at];
			if (pick && !(t->v[i] >= 0 && t->v[i] < (double)t->type.axis))
				t->v[i] = -1;
			if (t->err)
				t->err[i] = 0;
		}
		if (pick)
			(*r.picks_out)[at] = (int32_t)t->v[i];
		else
			(*r.gates_out)[at] = (float)t->v[i];
	}
}

void ref_stop(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const char *given = attr_get_str(op, "given", NULL);

	outs[0] = tensor_copy(ev, &args[0]);
	outs[0].type = op->outs[0]->type;
	if (given)
		given_routing(ev, &outs[0], strcmp(given, "pick") == 0,
			      attr_get_int(op, "call", -1));
}

static double ulp_of(Dtype dtype, double y)
{
	int e;
	if (isinf(y))
		return INFINITY;
	frexp(y, &e);
	if (dtype == DT_bf16)
		return ldexp(1, MAX(e - 1, -126) - 7);
	if (dtype == DT_f16)
		return ldexp(1, MAX(e - 1, -14) - 10);
	return ldexp(1, MAX(e - 1, -126) - 23);
}

/* A weight read as a wider type stays unread: no entry changes. */
static bool widens(Dtype from, Dtype to)
{
	return from == to || (to == DT_f32 && (from == DT_bf16 || from == DT_f16));
}

void ref_cast(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	Tensor x = args[0];
	Dtype to = op->outs[0]->type.dtype;
	bool rounds = to == DT_f32 || to == DT_bf16 || to == DT_f16;

	if (unread(&x)) {
		if (widens(x.type.dtype, to)) {
			outs[0] = x;
			outs[0].type = op->outs[0]->type;
			return;
		}
		tensor_read(ev, &x);
	}
	out_new(ev, op, 0, args, outs, x.err != NULL);
	for (int64_t i = 0; i < x.n; i++) {
		double y = outs->v[i] = round_to(to, x.v[i]), e = err_at(&x, i);
		if (!outs->err || !(e > 0))
			continue;
		if (rounds)
			outs->err[i] = isnan(y) ? 0 : e + ulp_of(to, y);
		else
			outs->err[i] = fmax(err_between(y, round_to(to, x.v[i] + e)),
					    err_between(y, round_to(to, x.v[i] - e)));
	}
	if (unread(&args[0]))
		tensor_free(ev, &x);
}

void ref_index(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	double axis = (double)op->outs[0]->type.axis;
	for (int64_t i = 0; i < outs->n; i++) {
		double x = args[0].v[i];
		outs->v[i] = x >= 0 && x < axis ? x : -1;
	}
}

void ref_select(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	In in[3];

	out_new(ev, op, 0, args, outs,
		any_err(args, 3) || op->outs[0]->type.dtype == DT_f32);
	ins_open(ev, outs, args, 3, in);
	int64_t each = type_elems(&outs->type);
	for (int64_t at = 0; at < outs->n; at++) {
		int64_t from[3];
		if (at % each == 0)
			ins_row(ev, outs, at / each, 3, in);
		for (int i = 0; i < 3; i++)
			from[i] = in[i].base + in[i].map[at % each];
		int yes = args[0].v[from[0]] != 0 ? 1 : 2, no = 3 - yes;
		double y = outs->v[at] = args[yes].v[from[yes]];
		if (!outs->err)
			continue;
		outs->err[at] = in_err(&in[yes], from[yes]);
		if (in_err(&in[0], from[0]) > 0)
			outs->err[at] = fmax(outs->err[at],
					     err_between(y, args[no].v[from[no]]) +
						     in_err(&in[no], from[no]));
	}
	ins_close(ev, 3, in);
}
