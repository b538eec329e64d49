/* SPDX-License-Identifier: Apache-2.0
 * Every op of ops.def against NumPy: tests/ops/ops_numpy.py writes the cases. */
#include "../../ir/eval.h"
#include "unit.h"

#include <libgen.h>
#include <math.h>
#include <stdlib.h>

typedef struct { char *name; int64_t expert; Dtype dtype; void *data; } Stored;
typedef struct { int64_t n; double *v; } List;

typedef struct {
	WeightSource source;            /* first: get() finds the rest behind it */
	Arena  *arena;
	const char *op;
	double  tol;
	int     calls;
	bool    unverified;
	EvalCall call;
	Vec(EvalInput) inputs;
	Vec(Stored) weights, tensors;
	Vec(List) expect, near;
	Text    module;
} Case;

static const void *get_weight(WeightSource *s, const Param *p, int64_t expert)
{
	Case *c = (Case *)s;
	for (int i = 0; i < c->weights.n; i++)
		if (strcmp(c->weights.at[i].name, p->name) == 0 &&
		    c->weights.at[i].expert == expert)
			return c->weights.at[i].data;
	return NULL;
}

static const void *get_tensor(void *ctx, const char *name, const Type *type)
{
	Case *c = ctx;
	for (int i = 0; i < c->tensors.n; i++)
		if (strcmp(c->tensors.at[i].name, name) == 0 &&
		    c->tensors.at[i].dtype == type->dtype)
			return c->tensors.at[i].data;
	return NULL;
}

static List read_list(Case *c, char **rest)
{
	List l = {.n = strtoll(strtok_r(NULL, " ", rest), NULL, 10)};
	l.v = NEWN(c->arena, double, (size_t)l.n);
	for (int64_t i = 0; i < l.n; i++)
		l.v[i] = strtod(strtok_r(NULL, " ", rest), NULL);
	return l;
}

static Stored read_stored(Case *c, char **rest, bool expert)
{
	Stored s = {.expert = -1};
	s.name = arena_strdup(c->arena, strtok_r(NULL, " ", rest));
	if (expert)
		s.expert = strtoll(strtok_r(NULL, " ", rest), NULL, 10);
	const char *dtype = strtok_r(NULL, " ", rest);
	while (strcmp(dtype_info[s.dtype].name, dtype) != 0)
		s.dtype++;
	List l = read_list(c, rest);
	s.data = NEWN(c->arena, double, (size_t)l.n);
	store_doubles(s.dtype, l.v, l.n, s.data);
	return s;
}

static void read_line(Case *c, char *line)
{
	char *rest, *key = strtok_r(line, " ", &rest);
	if (strcmp(key, "op") == 0) {
		c->op = arena_strdup(c->arena, strtok_r(NULL, " ", &rest));
	} else if (strcmp(key, "tokens") == 0) {
		c->call.tokens = atoll(rest);
	} else if (strcmp(key, "seq") == 0) {
		List l = read_list(c, &rest);
		int64_t *seq = NEWN(c->arena, int64_t, (size_t)l.n);
		for (int64_t i = 0; i < l.n; i++)
			seq[i] = (int64_t)l.v[i];
		c->call.nseq = (int)l.n - 1;
		c->call.seq = seq;
	} else if (strcmp(key, "tol") == 0) {
		c->tol = atof(rest);
	} else if (strcmp(key, "seed") == 0) {
		c->call.seed = (uint64_t)atoll(rest);
	} else if (strcmp(key, "step") == 0) {
		c->call.step = atof(rest);
	} else if (strcmp(key, "calls") == 0) {
		c->calls = atoi(rest);
	} else if (strcmp(key, "unverified") == 0) {
		c->unverified = true;
	} else if (strcmp(key, "input") == 0) {
		EvalInput in;
		in.name = arena_strdup(c->arena, strtok_r(NULL, " ", &rest));
		in.v = read_list(c, &rest).v;
		vec_push(c->arena, &c->inputs, in);
	} else if (strcmp(key, "weight") == 0) {
		Stored s = read_stored(c, &rest, true);
		vec_push(c->arena, &c->weights, s);
	} else if (strcmp(key, "tensor") == 0) {
		Stored s = read_stored(c, &rest, false);
		vec_push(c->arena, &c->tensors, s);
	} else if (strcmp(key, "expect") == 0) {
		List l = read_list(c, &rest);
		vec_push(c->arena, &c->expect, l);
	} else if (strcmp(key, "near") == 0) {
		List l = read_list(c, &rest);
		vec_push(c->arena, &c->near, l);
	} else {
		printf("what is '%s'?\n", key);
		CHECK(false);
	}
}

/* The next case; false at the end. */
static bool read_case(FILE *f, Arena *arena, Case *c)
{
	char *line = NULL;
	size_t size = 0;
	bool in_module = false, any = false;

	*c = (Case){.source.get = get_weight, .arena = arena, .calls = 1, .call.step = -1,
		    .module = text_new(arena)};
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		any = true;
		if (strcmp(line, "end") == 0)
			break;
		if (in_module)
			text_printf(&c->module, "%s\n", line);
		else if (strcmp(line, "module") == 0)
			in_module = true;
		else
			read_line(c, line);
	}
	free(line);
	return any;
}

static bool same(double got, double want, double tol)
{
	if (isnan(want) || isinf(want))
		return isnan(want) ? isnan(got) : got == want;
	return fabs(got - want) <= tol * fmax(1, fabs(want));
}

static bool wrong(const Case *c, int out, int64_t i, const char *what, double got,
		  double want)
{
	printf("%s: result %d[%lld]: %s: %.17g, %.17g\n", c->op, out, (long long)i, what,
	       got, want);
	return false;
}

/* `near` is what float32 arithmetic gives: it must keep to the bound. */
static bool check_entry(const Case *c, int out, const Tensor *t, int64_t i, bool bounds)
{
	double y = t->v[i], want = c->expect.at[out].v[i];
	double err = bounds && t->err ? t->err[i] : 0;
	double near = bounds && out < c->near.n ? c->near.at[out].v[i] : y;

	if (!same(y, want, c->tol))
		return wrong(c, out, i, "the interpreter and NumPy say", y, want);
	if (isnan(err) || err < 0)
		return wrong(c, out, i, "this is no bound", err, y);
	if (!isnan(near) && near != y && !(fabs(near - y) <= err))
		return wrong(c, out, i, "float32 is off by more than the bound",
			     fabs(near - y), err);
	return true;
}

static bool check_tensor(const Case *c, int out, const Tensor *t, bool bounds)
{
	if (t->n != c->expect.at[out].n)
		return wrong(c, out, 0, "numbers of entries", (double)t->n,
			     (double)c->expect.at[out].n);
	for (int64_t i = 0; i < t->n; i++)
		if (!check_entry(c, out, t, i, bounds))
			return false;
	return true;
}

static bool holds[OP_COUNT];

static void see_op(Op *op, void *seen)
{
	((bool *)seen)[op->kind] = true;
}

static bool run_case(Case *c, bool bounds)
{
	const char *why = "";
	Diag *diag = diag_new(c->arena, stdout);
	Module *m = parse_module(c->arena, diag, c->op, c->module.s);
	EvalState *state = eval_state_new();
	EvalResult result = {0};
	bool ok = m != NULL;

	if (ok && !c->unverified && !verify(m, &why))
		ok = printf("%s: %s\n", c->op, why) < 0;
	c->call.inputs = c->inputs.at;
	c->call.ninputs = c->inputs.n;
	c->call.weights = &c->source;
	c->call.tensor = get_tensor;
	c->call.tensor_ctx = c;
	c->call.state = state;
	c->call.bounds = bounds;
	for (int i = 0; ok && i < c->calls; i++)
		if (!eval_fn(c->arena, m, m->fns, &c->call, &result, &why))
			ok = printf("%s: %s\n", c->op, why) < 0;
	for (int i = 0; ok && i < result.nouts; i++)
		ok = check_tensor(c, i, &result.outs[i], bounds);
	bool seen[OP_COUNT] = {false};
	if (ok)
		region_walk(m->fns->body, see_op, seen);
	for (int i = 0; ok && i < OP_COUNT; i++)
		if (strcmp(op_info[i].name, c->op) == 0)
			holds[i] |= seen[i];
	if (!ok)
		printf("%s\n", c->module.s);
	eval_state_free(state);
	return ok;
}

static FILE *open_cases(void)
{
	char here[4096], command[8192];
	if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0)
		return NULL;
	snprintf(here, sizeof here, "%s", __FILE__);
	snprintf(command, sizeof command, "/usr/bin/python3 -B '%s/../ops/ops_numpy.py'",
		 dirname(here));
	return popen(command, "r");
}

static void test_every_op(void)
{
	FILE *f = open_cases();
	if (!f)
		SKIP("python3-numpy is not installed");
	int n = 0, failed = 0;
	for (bool more = true; more;) {
		Arena *arena = arena_new();
		Case c;
		more = read_case(f, arena, &c);
		if (more) {
			n++;
			failed += !run_case(&c, false) || !run_case(&c, true);
		}
		arena_free(arena);
	}
	CHECK(pclose(f) == 0);
	CHECK(failed == 0);
	printf("%d cases\n", n);
	for (int i = 0; i < OP_COUNT; i++) {
		if (!holds[i])
			printf("no case of op '%s' passes\n", op_info[i].name);
		CHECK(holds[i]);
	}
}

SUITE("ops_numpy", {"every op means what NumPy says", test_every_op})
