// libs: passes
/* SPDX-License-Identifier: Apache-2.0
 * test_runner: which passes run, what is printed of them; targets and their dots. */
#include "../../passes/pass.h"
#include "unit.h"
#include <stdlib.h>

static const char source[] =
	"module \"m\" {\n"
	"  layer {width=8, experts=0, picks=0, group=0, losses=0}\n"
	"  param w: f32[4, 8]\n"
	"  fn @layer(%x: f32[T, 8]) -> (y: f32[T, 4]) {\n"
	"    %w = param {name=\"w\"} : f32[4, 8]\n"
	"    %y = matmul %w, %x : f32[T, 4]\n"
	"    return %y\n"
	"  }\n"
	"}\n";

typedef struct {
	Arena *arena;
	Module *m;
	char *out;
	size_t n;
} Run;

static Run run(PassOptions o)
{
	Run r = {.arena = arena_new()};
	Diag *diag = diag_new(r.arena, stderr);
	PassContext ctx = {.arena = r.arena, .diag = diag,
			   .target = target_find("x86-64-v3")};

	o.out = open_memstream(&r.out, &r.n);
	o.verify = true;
	r.m = parse_module(r.arena, diag, "m.mir", source);
	MUST(r.m != NULL);
	run_passes(r.m, &ctx, &o);
	fclose(o.out);
	return r;
}

static void end(Run *r)
{
	free(r->out);
	arena_free(r->arena);
}

static const Op *first_op(const Run *r, OpKind kind)
{
	for (const Op *op = r->m->fns->body->first; op; op = op->next)
		if (op->kind == kind)
			return op;
	return NULL;
}

static void test_whole(void)
{
	Run r = run((PassOptions){0});

	SAME_TEXT(r.out, "");
	SAME_TEXT(r.m->target, "x86-64-v3");
	CHECK(panel_find(r.m, "w") != NULL);
	CHECK(attr_get_int(first_op(&r, OP_kernel), "rows", 0) == 6);
	end(&r);
}

static void test_print(void)
{
	Run one = run((PassOptions){.print_after = "simplify", .stop_after = "simplify"});
	CHECK(strncmp(one.out, "// after simplify\nmodule", 24) == 0);
	CHECK(one.m->target == NULL);
	end(&one);

	Run all = run((PassOptions){.print_after = "all"});
	CHECK(strncmp(all.out, "// after inline-std (unchanged)\nmodule", 38) == 0);
	CHECK(strstr(all.out, "// after form-kernels\n") != NULL);
	CHECK(strstr(all.out, "// after pack\n") != NULL);
	CHECK(strstr(all.out, "// after lower") == NULL);
	end(&all);
}

static void test_stop(void)
{
	Run r = run((PassOptions){.stop_after = "form-kernels"});

	CHECK(first_op(&r, OP_kernel) != NULL);
	CHECK(r.m->panels.n == 0);
	end(&r);
}

static void test_skip(void)
{
	const char *skip[] = {"schedule-blocks", "pack"};
	Run r = run((PassOptions){.skip = skip, .nskip = 2});

	CHECK(attr_get_int(first_op(&r, OP_kernel), "rows", 0) == 1);
	CHECK(r.m->panels.n == 1);      /* pack is needed: it runs all the same */
	end(&r);
}

static void test_only(void)
{
	const char *only[] = {"simplify"};
	Run r = run((PassOptions){.only = only, .nonly = 1});
	CHECK(first_op(&r, OP_linear) != NULL && first_op(&r, OP_matmul) == NULL);
	end(&r);

	Run none = run((PassOptions){.only = only, .nonly = 0});
	CHECK(first_op(&none, OP_matmul) != NULL);
	end(&none);
}

static void test_from(void)
{
	Run r = run((PassOptions){.from = "simplify"});

	const Op *kernel = first_op(&r, OP_kernel);
	MUST(kernel != NULL);
	SAME_TEXT(attr_get_str(kernel, "kind", ""), "map");     /* matmul stayed */
	end(&r);
}

static void test_order(void)
{
	/* what each pass gives and needs, as the pipeline has it */
	Facts facts = 0;
	const char *after, *before;

	for (int i = 0; i < pass_count; i++) {
		CHECK(pass_allowed(&passes[i], facts, &after, &before));
		facts |= passes[i].gives;
	}
	CHECK(!pass_allowed(pass_find("pack"), NO_CALL, &after, &before));
	SAME_TEXT(after, "form-kernels");
	CHECK(!pass_allowed(pass_find("simplify"), facts, &after, &before));
	CHECK(after == NULL);
	SAME_TEXT(before, "form-kernels");
}

static void test_table(void)
{
	CHECK(pass_find("pack") && pass_find("pack")->flags & PASS_NEEDED);
	CHECK(pass_find("simplify") && !(pass_find("simplify")->flags & PASS_NEEDED));
	CHECK(pass_find("Pack") == NULL);
	for (int i = 0; i < pass_count; i++)
		CHECK(pass_find(passes[i].name) == &passes[i]);
}

/* ---- modules that passes refuse ---- */

/* What is said when the passes of `only` meet this layer. */
static void check_refused(const char *body, const char *only, const char *message)
{
	Arena *a = arena_new();
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	Diag *diag = diag_new(a, out);
	PassContext ctx = {.arena = a, .diag = diag,
			   .target = target_find("x86-64-v3")};
	PassOptions o = {.only = &only, .nonly = 1, .verify = true};
	const char *source_text = arena_printf(a,
		"module \"m\" {\n%s"
		"  layer {width=8, experts=0, picks=0, group=0, losses=0}\n"
		"  param w: f32[4, 8]\n"
		"  fn @layer(%%x: f32[T, 8]) -> (f32[T, 4]) {\n%s    return %%y\n  }\n"
		"  fn @f(%%x: f32[T, 8]) -> (f32[T, 4]) {\n"
		"    %%w = param {name=\"w\"} : f32[4, 8]\n"
		"    %%y = linear %%x, %%w : f32[T, 4]\n    return %%y\n  }\n}\n",
		strstr(body, "kernel") ? "  target \"x86-64-v3\"\n" : "", body);
	Module *m = parse_module(a, diag, "m.mir", source_text);

	MUST(m != NULL);
	run_passes(m, &ctx, &o);
	fflush(out);
	CHECK(diag_errors(diag) == 1);
	CHECK(strstr(text, message) != NULL);
	fclose(out);
	free(text);
	arena_free(a);
}

static void test_refused(void)
{
	check_refused("    %y = call %x {fn=@f} : f32[T, 4]\n", "form-kernels",
		      "form-kernels wants inline-std");
	check_refused("    %y = kernel {kind=contract, over=T} : f32[T, 4] {\n"
		      "      %p = softmax %x {over=0} : f32[T, 8]\n"
		      "      %c = slice %p {start=[0], size=[4], step=[1]} : f32[T, 4]\n"
		      "      yield %c\n    }\n",
		      "pack", "it has no linear");
	check_refused("    %y = slice %x {start=[0], size=[4], step=[1]} : f32[T, 4]\n",
		      "schedule-blocks",
		      "schedule-blocks wants form-kernels before it");
	check_refused("    %y = kernel {kind=map, over=T} : f32[T, 4] {\n"
		      "      %c = slice %x {start=[0], size=[4], step=[1]} : f32[T, 4]\n"
		      "      yield %c\n    }\n",
		      "simplify", "simplify comes too late: form-kernels is done already");
	check_refused("    %v = kernel {kind=map, over=once} : f32[4, 8] {\n"
		      "      %c = tokens : f64\n"
		      "      %w = param {name=\"w\"} : f32[4, 8]\n"
		      "      %u = mul %c, %w : f32[4, 8]\n"
		      "      yield %u\n    }\n"
		      "    %y = kernel {kind=contract, over=T} : f32[T, 4] {\n"
		      "      %l = linear %x, %v : f32[T, 4]\n"
		      "      yield %l\n    }\n",
		      "pack", "its matrix is no weight");
}

/* ---- targets ---- */

static void test_targets(void)
{
	int rows, vectors;

	for (int i = 0; i < target_count; i++)
		CHECK(target_find(targets[i].name) == &targets[i]);
	CHECK(target_find("x86-64-v9") == NULL);
	target_tile(target_find("x86-64-v3"), &rows, &vectors);
	CHECK(rows == 6 && vectors == 2);
	target_tile(target_find("x86-64-v4"), &rows, &vectors);
	CHECK(rows == 6 && vectors == 4);
}

static void test_native(void)
{
	const Target *t = target_find("native");

	if (!t)
		SKIP("no target fits this machine");
	CHECK(target_host_has(t));
	CHECK(target_find(t->name) != NULL);
	CHECK(t->l2_kib >= 128);
	for (int i = 0; i < target_count; i++)
		CHECK(!target_host_has(&targets[i]) ||
		      targets[i].vector_bits <= t->vector_bits);
}

static void test_dots(void)
{
	const Target *v3 = target_find("x86-64-v3"), *v4 = target_find("x86-64-v4");
	const Target *bf = target_find("x86-64-v4-bf16");

	SAME_TEXT(target_dot(v3, DT_f32, DT_bf16)->how, "fma");
	SAME_TEXT(target_dot(v4, DT_f32, DT_bf16)->how, "fma");
	CHECK(target_dot(v3, DT_bf16, DT_bf16) == NULL);
	CHECK(target_dot(v4, DT_f16, DT_f16) == NULL);
	CHECK(strstr(target_dot(bf, DT_bf16, DT_bf16)->how, "dpbf16ps") != NULL);
	CHECK(target_dot(bf, DT_bf16, DT_bf16)->kpack == 2);
	for (int i = 0; i < target_count; i++)
		CHECK(target_dot(&targets[i], DT_f32, DT_f32) != NULL);
	CHECK(target_dot(v3, DT_bool, DT_f32) == NULL);
}

SUITE("runner", {"the whole pipeline", test_whole}, {"print after", test_print},
      {"stop after", test_stop}, {"skip", test_skip}, {"only some", test_only},
      {"from the middle", test_from}, {"table", test_table}, {"order", test_order},
      {"refused", test_refused},
      {"targets", test_targets},
      {"native", test_native}, {"dots", test_dots})
