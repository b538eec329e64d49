/* SPDX-License-Identifier: Apache-2.0
 * Result types: for every rule what fits, what it gives, and what it refuses. */
#include "../../ir/ir.h"
#include "unit.h"

#include <stdlib.h>

typedef struct { const char *op, *gives; } Case;

/* The types of %a .. are declared by their letters in the head of a module. */
static const char head[] =
    "module \"m\" { layer {width=4, experts=8, picks=2, group=0, losses=0}\n"
    "experts E0 = 0..4 experts E1 = 4..8\n"
    "fn @layer(%t: f32[T, 4], %b16: bf16[T, 4], %h: f16[4], %i: i32[T, 4], %b: bool[T, "
    "4],\n"
    " %c: f32[4], %d: f64, %d4: f64[4], %s: f32[S, 4], %r: f32[R0, 4], %r1: f32[R1, 4],\n"
    " %e: f32[E0, 4], %p: index<8>[T, 2], %q: index<4>[T, 2], %none: index<0>, %m: "
    "f32[T, 2, 4],\n"
    " %w: bf16[3, 4], %we: bf16[E0, 3, 4], %one: f32, %ti: i32[T], %c1: bool, %rows: "
    "rows[R0],\n"
    " %deep: f32[1, 1, 1, 1, 1, 2], %col: f32[T, 4, 1], %b1: bool[4], %i1: i32[4],\n"
    " %huge: index<1048576>[1048576, 512], %c8: f32[8], %v8: f32[T, 8, 3], %up: "
    "index<8>) -> () {\n"
    "%y = ";

/* The inferred type as text, or "no: why". */
static const char *gives(Arena *a, const char *op)
{
	const char *text = arena_printf(a, "%s%s : f32 return } }", head, op), *why;
	Module *m = parse_module(a, diag_new(a, stdout), "case.mir", text);
	Text t = text_new(a);

	MUST(m != NULL);
	Op *first = m->fns->body->first;
	if (!infer_op(m, first, &why))
		return arena_printf(a, "no: %s", why);
	print_type(&t, &first->outs[0]->type);
	return t.s;
}

static void check(const Case *cases, size_t n)
{
	Arena *a = arena_new();

	for (size_t i = 0; i < n; i++) {
		const char *got = gives(a, cases[i].op);
		bool refused = strncmp(cases[i].gives, "no: ", 4) == 0;
		bool same = refused ? strncmp(got, "no: ", 4) == 0 &&
					      strstr(got, cases[i].gives + 4) != NULL
				    : strcmp(got, cases[i].gives) == 0;
		if (!same)
			printf("%s\n  gives   %s\n  not     %s\n", cases[i].op, got,
			       cases[i].gives);
		CHECK(same);
	}
	arena_free(a);
}

#define RUN(...)                                        \
	do {                                            \
		static const Case cases[] = {__VA_ARGS__}; \
		check(cases, COUNT(cases));             \
	} while (0)

static void one_operand(void)
{
	RUN({"neg %b16", "f32[T, 4]"}, {"neg %b", "i32[T, 4]"}, {"abs %i", "i32[T, 4]"},
	    {"square %h", "f32[4]"}, {"sign %d", "f64"}, {"stop %b16", "bf16[T, 4]"},
	    {"stop %p", "index<8>[T, 2]"}, {"stop %b", "bool[T, 4]"},
	    {"neg %p", "no: a number is wanted, not index<8>[T, 2]"},
	    {"exp %b16", "f32[T, 4]"}, {"exp %i", "f32[T, 4]"}, {"floor %d", "f64"},
	    {"tanh %b", "f32[T, 4]"}, {"erf %p", "no: a number"},
	    {"sigmoid %r", "f32[R0, 4]"}, {"not %b", "bool[T, 4]"},
	    {"not %t", "no: a bool is wanted"}, {"isnone %p", "bool[T, 2]"},
	    {"isnone %i", "no: an index is wanted"}, {"exp %rows", "no: a number"},
	    {"exp", "no: takes 1 operand, not 0"},
	    {"exp %t, %t", "no: takes 1 operand, not 2"});
}

static void two_operands(void)
{
	RUN({"add %b16, %t", "f32[T, 4]"}, {"add %b16, %b16", "f32[T, 4]"},
	    {"add %i, %i", "i32[T, 4]"}, {"add %b, %b", "i32[T, 4]"},
	    {"mul %i, %b", "i32[T, 4]"}, {"add %i, %t", "f32[T, 4]"},
	    {"add %d, %d4", "f64[4]"}, {"add %d, %c", "f64[4]"},
	    {"add %d, %t", "f32[T, 4]"}, {"add %d, %i", "f32[T, 4]"},
	    {"add %d, %i1", "f64[4]"}, {"add %c, %t", "f32[T, 4]"},
	    {"add %m, %t", "f32[T, 2, 4]"},
	    {"add %m, %c8", "no: shapes of f32[T, 2, 4] and f32[8]"},
	    {"add %m, %c", "f32[T, 2, 4]"}, {"add %col, %c", "f32[T, 4, 4]"},
	    {"add %one, %m", "f32[T, 2, 4]"}, {"add %t, %p", "no: a number"},
	    {"div %i, %i", "f32[T, 4]"}, {"div %d, %d", "f64"},
	    {"div %d, %t", "f32[T, 4]"}, {"div %b1, %i1", "f32[4]"},
	    {"mod %i, %i", "i32[T, 4]"}, {"max %b, %i", "i32[T, 4]"},
	    {"min %b16, %c", "f32[T, 4]"});
}

static void comparisons(void)
{
	RUN({"lt %i, %t", "bool[T, 4]"}, {"eq %b, %b", "bool[T, 4]"},
	    {"eq %p, %p", "bool[T, 2]"}, {"ne %p, %none", "bool[T, 2]"},
	    {"eq %p, %q", "no: choose from different axes"},
	    {"eq %p, %i", "no: an index meets only an index"},
	    {"lt %p, %p", "no: a number"}, {"and %b, %b1", "bool[T, 4]"},
	    {"or %b, %t", "no: a bool"}, {"select %b, %t, %c", "f32[T, 4]"},
	    {"select %c1, %p, %none", "index<8>[T, 2]"},
	    {"select %c1, %none, %p", "index<8>[T, 2]"},
	    {"select %c1, %p, %q", "no: different axes"},
	    {"select %c1, %p, %ti", "no: an index meets only"},
	    {"select %t, %t, %t", "no: the condition must be a bool"},
	    {"select %b, %b, %b1", "bool[T, 4]"}, {"select %b, %b, %i", "i32[T, 4]"},
	    {"select %b1, %d, %d4", "f64[4]"}, {"select %b, %d, %d4", "f32[T, 4]"},
	    {"select %c1, %b16, %b16", "f32[T, 4]"},
	    {"select %c1, %rows, %rows", "no: cannot choose"});
}

static void levels(void)
{
	RUN({"add %s, %t", "f32[T, 4]"}, {"add %s, %c", "f32[S, 4]"},
	    {"add %e, %r", "f32[R0, 4]"}, {"add %e, %c", "f32[E0, 4]"},
	    {"add %r, %c", "f32[R0, 4]"}, {"add %r, %r1", "no: levels that do not meet"},
	    {"add %e, %r1", "no: levels that do not meet"},
	    {"add %r, %t", "no: levels that do not meet"},
	    {"add %e, %t", "no: levels that do not meet"},
	    {"add %s, %e", "no: levels that do not meet"},
	    {"select %c1, %e, %r", "f32[R0, 4]"});
}

static void reductions(void)
{
	RUN({"sum %m {over=0}", "f32[T, 4]"}, {"sum %m {over=-1}", "f32[T, 2]"},
	    {"sum %m {over=2}", "no: has no axis 2"},
	    {"sum %m {over=-3}", "no: no axis -3"}, {"sum %m", "no: over must be"},
	    {"sum %m {over=rows}", "no: over must be"}, {"sum %b {over=0}", "i32[T]"},
	    {"sum %i {over=0}", "i32[T]"}, {"mean %i {over=0}", "f32[T]"},
	    {"sum %d4 {over=0}", "f64"}, {"mean %b {over=tokens}", "f32[4]"},
	    {"sum %t {over=tokens}", "f32[4]"}, {"sum %s {over=tokens}", "f32[4]"},
	    {"sum %t {over=sequence}", "f32[S, 4]"},
	    {"sum %s {over=sequence}", "no: a value of every token"},
	    {"sum %c {over=tokens}", "no: a value of every token"},
	    {"sum %r {over=tokens}", "no: a value of every token"},
	    {"amax %b16 {over=0}", "f32[T]"}, {"amin %i {over=0}", "i32[T]"},
	    {"any %b {over=0}", "bool[T]"}, {"all %b {over=tokens}", "bool[4]"},
	    {"any %t {over=0}", "no: a bool"}, {"logsumexp %i {over=0}", "f32[T]"},
	    {"sum %p {over=0}", "no: a number"}, {"softmax %b16 {over=0}", "f32[T, 4]"},
	    {"softmax %t {over=tokens}", "f32[T, 4]"},
	    {"cumsum %b {over=tokens}", "i32[T, 4]"}, {"cumsum %t {over=0}", "f32[T, 4]"},
	    {"rank %t {over=tokens}", "i32[T, 4]"}, {"rank %b16 {over=0}", "i32[T, 4]"},
	    {"rank %p {over=0}", "no: a number"});
}

static void choices(void)
{
	RUN({"topk %t {k=2}", "index<4>[T, 2]"}, {"topk %m {k=4}", "index<4>[T, 2, 4]"},
	    {"topk %t {k=5}", "no: k = 5 of an axis of 4"},
	    {"topk %t {k=0}", "no: k = 0"}, {"topk %t", "no: k = 0"},
	    {"topk %one {k=1}", "no: at least 1 axis"}, {"argmax %m", "index<4>[T, 2]"},
	    {"argmax %t", "index<4>[T]"}, {"argmax %one", "no: at least 1"},
	    {"gather %c8, %p", "f32[T, 2]"}, {"gather %v8, %p", "f32[T, 2, 3]"},
	    {"gather %t, %ti", "f32[T]"}, {"gather %c, %p", "no: another axis"},
	    {"gather %c, %none", "f32"}, {"gather %t, %t", "no: an index is wanted"},
	    {"gather %one, %ti", "no: at least 1"}, {"gather %d4, %q", "f32[T, 2]"},
	    {"gather %w, %ti", "bf16[T, 4]"}, {"take %m, %q", "no: differ before"},
	    {"take %t, %q", "f32[T, 2]"}, {"take %c, %p", "no: another axis"},
	    {"onehot %p", "bool[T, 2, 8]"}, {"mask %p", "bool[T, 8]"},
	    {"mask %up", "bool[8]"}, {"onehot %up", "bool[8]"},
	    {"onehot %none", "no: known axis"}, {"mask %i", "no: known axis"},
	    {"onehot %huge", "no: more than 2^48"});
}

static void movements(void)
{
	RUN({"transpose %m", "f32[T, 4, 2]"}, {"transpose %t", "no: at least 2"},
	    {"transpose %w", "bf16[4, 3]"},
	    {"slice %m {start=[1], size=[1], step=[1]}", "f32[T, 1, 4]"},
	    {"slice %b16 {start=[1], size=[2], step=[2]}", "bf16[T, 2]"},
	    {"slice %b16 {start=[1], size=[3], step=[2]}", "no: leaves"},
	    {"slice %b16 {start=[-1], size=[1], step=[1]}", "no: leaves"},
	    {"slice %b16 {start=[0], size=[0], step=[1]}", "no: leaves"},
	    {"slice %b16 {start=[0], size=[1], step=[0]}", "no: leaves"},
	    {"slice %b16 {start=[1], size=[9223372036854775807], step=[2]}",
	     "no: leaves"},
	    {"slice %b16 {start=[0, 0], size=[1, 1], step=[1, 1]}", "no: 2 slices"},
	    {"slice %b16 {start=[0], size=[1]}", "no: must be lists"},
	    {"concat %t, %c", "f32[T, 8]"}, {"concat %b16, %b16", "bf16[T, 8]"},
	    {"concat %b16, %t", "f32[T, 8]"}, {"concat %i, %b", "i32[T, 8]"},
	    {"concat %p, %p, %p", "index<8>[T, 6]"},
	    {"concat %p, %q", "no: different axes"},
	    {"concat %m, %t", "no: differ behind"}, {"concat", "no: of nothing"},
	    {"concat %one", "no: at least 1"}, {"concat %t, %r", "no: levels"},
	    {"concat %d4, %t", "f32[T, 8]"});
}

static void contractions(void)
{
	RUN({"linear %b16, %w", "f32[T, 3]"}, {"linear %m, %w", "f32[T, 2, 3]"},
	    {"linear %r, %we", "f32[R0, 3]"}, {"linear %r1, %we", "no: levels"},
	    {"linear %t, %we", "no: levels"}, {"linear %v8, %w", "no: must be [n, k]"},
	    {"linear %t, %c", "no: must be [n, k]"}, {"linear %p, %w", "no: a number"},
	    {"linear %one, %w", "no: at least 1"}, {"matmul %t, %t", "f32[T]"},
	    {"matmul %c8, %v8", "f32[T, 3]"}, {"matmul %m, %c", "f32[T, 2]"},
	    {"matmul %t, %m", "no: the inner axes differ"}, {"matmul %c, %t", "f32[T]"},
	    {"matmul %b, %t", "f32[T]"}, {"matmul %one, %t", "no: at least 1"});
}

static void broadcast_joins_all(void)
{
	Type t[3] = {type_of(DT_f32, LV_ONCE, 0, 1, (int64_t[]){4}),
		     type_of(DT_f32, LV_EXPERT, 1, 2, (int64_t[]){3, 1}),
		     type_of(DT_f32, LV_ROW, 1, 0, NULL)}, out;
	Type wanted = type_of(DT_f32, LV_ROW, 1, 2, (int64_t[]){3, 4});

	CHECK(infer_broadcast(t, 3, &out) && type_equal(&out, &wanted));
	t[2].range = 0;
	CHECK(!infer_broadcast(t, 3, &out));
	t[1].level = LV_TOKEN;
	CHECK(!infer_broadcast(t, 3, &out));
	t[2].level = LV_SEQ;
	CHECK(infer_broadcast(t, 3, &out) && out.level == LV_TOKEN);
}

static void emitting_infers(void)
{
	Arena *a = arena_new();
	Module *m = module_new(a, "m");
	Fn *fn = fn_new(m, "layer");
	Value *x = region_arg(m, fn->body,
			      type_of(DT_bf16, LV_TOKEN, 0, 1, (int64_t[]){4}), "x");
	Loc loc = {"a.moe", 3, 4, 5};
	Value *c =
	    emit_const(m, fn->body, type_scalar(DT_f32, LV_ONCE), (double[]){2}, 1, loc);
	Value *y = emit2(m, fn->body, OP_mul, x, c, loc);
	Value *z = emit3(m, fn->body, OP_select, emit2(m, fn->body, OP_lt, x, y, loc), x,
			 y, loc);
	const char *why;

	fn->outs = &z->type;
	fn->nouts = 1;
	CHECK(emit_op(m, fn->body, OP_return, 1, &z, loc) == NULL);
	CHECK(fn->body->last->loc.line == 3 && z->def->in == fn->body);
	CHECK(verify(m, &why));
	Text t = text_new(a);
	print_type(&t, &z->type);
	SAME_TEXT(t.s, "f32[T, 4]");
	arena_free(a);
}

SUITE("infer",
      {"one operand", one_operand}, {"two operands", two_operands},
      {"comparisons and select", comparisons}, {"levels", levels},
      {"reductions", reductions}, {"choices", choices}, {"movements", movements},
      {"contractions", contractions}, {"broadcast of several", broadcast_joins_all},
      {"emitting infers", emitting_infers})
