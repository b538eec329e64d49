/* SPDX-License-Identifier: Apache-2.0
 * test_header: headers of compiled layers, as C and C++ compilers take them: twice,
 * several in one file, and beside ../../runtime/moert.h, whose structures they repeat. */
// libs: frontend passes backend
#include "../../backend/backend.h"
#include "../../frontend/frontend.h"
#include "../../passes/pass.h"
#include "unit.h"
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

/* Names that C or C++ keep for themselves, every element type, every level. */
static const char words[] =
	"layer int {\n"
	"  input   x: bf16[T, 32]\n"
	"  input   class: f32[T, 4]\n"
	"  input   class_: i32[T]\n"
	"  input   double: f32\n"
	"  input   NULL: bool[T]\n"
	"  experts 4 of swiglu(32)\n"
	"  route   softmax_topk(2)\n"
	"  template = route.p + class + cast(class_, f32)\n"
	"  loss    0.01 * balance(route.pick, route.p)\n"
	"  loss    0.5 * z(route.logits)\n"
	"  output  double * (weight @ experts(pick, x)), template, route.pick,\n"
	"          mean(route.p, over: tokens), NULL\n"
	"}\n";
static const char plain[] =
	"layer plain {\n"
	"  input  x: f32[T, 8]\n"
	"  group  16\n"
	"  output linear(x, 24, \"w\")\n"
	"}\n";

/* A model whose layers are called as parts of its own C names are. */
static const char model[] =
	"layer ERROR {\n"
	"  input   x: f32[T, 32]\n"
	"  input   session: i32[T]\n"
	"  experts 4 of swiglu(32)\n"
	"  route   softmax_topk(2)\n"
	"  loss    z(route.logits)\n"
	"  output  weight @ experts(pick, x), route.pick\n"
	"}\n"
	"layer CALL {\n"
	"  input  x: f32[T, 32]\n"
	"  output swiglu(x, 16)\n"
	"}\n"
	"model open {\n"
	"  input x: f32[T, 32]\n"
	"  input session: i32[T]\n"
	"  y    = CALL(x, name: \"args\")\n"
	"  y    = CALL(y, name: \"a.run\")\n"
	"  y, p = ERROR(y, session, name: \"a_run\")\n"
	"  output y\n"
	"}\n";

static const struct {
	const char *file, *text, *layer;        /* text NULL: the file in examples/ */
	const char *name, *x, *y;
	int inputs, outputs, width, experts, picks, losses;
} cases[] = {
	{"words.moe", words, NULL, "int", "uint16_t", "uint16_t", 4, 4, 32, 4, 2, 2},
	{"plain.moe", plain, NULL, "plain", "float", "float", 0, 0, 8, 0, 0, 0},
	{"model.moe", model, "open", "open", "float", "float", 1, 0, 32, 4, 0, 1},
	{"25_hybrid.moe", NULL, "hybrid_24", "hybrid_24", "uint16_t", "uint16_t", 0, 0,
	 1024, 64, 0, 12},
	{"my_policy.moe", NULL, NULL, "my_layer", "float", "float", 0, 0, 512, 16, 4, 0},
	{"mixtral_8x7b.moe", NULL, NULL, "mixtral_8x7b", "uint16_t", "uint16_t", 0, 0,
	 4096, 8, 2, 0},
	{"12_hash.moe", NULL, "hashed", "hashed", "float", "float", 1, 0, 512, 16, 1, 0},
	{"14_attention.moe", NULL, NULL, "attentive", "uint16_t", "uint16_t", 1, 0,
	 1024, 32, 6, 0},
	{"21_gemma4.moe", NULL, NULL, "gemma4", "uint16_t", "uint16_t", 0, 0,
	 2816, 128, 8, 0},
	{"switch_base_8.moe", NULL, NULL, "switch_base_8", "float", "float", 0, 0,
	 768, 8, 1, 1},
};

static const char *source_root(Arena *a)
{
	return arena_printf(a, "%s/../..", dirname(arena_strdup(a, __FILE__)));
}

static Module *compiled_for(Arena *a, const char *target, const char *file, const char *text,
			    const char *layer)
{
	Diag *diag = diag_new(a, stderr);
	FeOptions fe = {.file = file, .text = text, .layer = layer, .losses = true};

	if (!text) {
		fe.file = arena_printf(a, "%s/examples/%s", source_root(a), file);
		fe.text = fe_read(a, diag, fe.file);
	}
	Module *m = fe.text ? fe_compile(a, diag, &fe) : NULL;
	if (!m)
		return NULL;
	PassContext ctx = {.arena = a, .diag = diag, .target = target_find(target)};
	run_passes(m, &ctx, &(PassOptions){.verify = true});
	return m;
}

static Module *compiled(Arena *a, const char *file, const char *text, const char *layer)
{
	return compiled_for(a, "x86-64-v4-bf16", file, text, layer);
}

/* ---- a folder with all headers, and programs that include them --------------------- */

typedef struct { Arena *arena; char path[32]; } Folder;

static void put_text(Folder *f, const char *name, const char *text)
{
	const char *path = arena_printf(f->arena, "%s/%s", f->path, name);

	MUST(file_write(diag_new(f->arena, stderr), path, text, strlen(text)));
}

static void folder_open(Folder *f)
{
	*f = (Folder){.arena = arena_new(), .path = "/tmp/moec-header-XXXXXX"};
	MUST(mkdtemp(f->path) != NULL);
	for (size_t i = 0; i < COUNT(cases); i++) {
		Module *m = compiled(f->arena, cases[i].file, cases[i].text,
				     cases[i].layer);
		MUST(m != NULL);
		SAME_TEXT(m->name, cases[i].name);
		Text t = text_new(f->arena);
		backend_header(&t, (const Module *const[]){m}, 1);
		put_text(f, arena_printf(f->arena, "%s.h", m->name), t.s);
	}
}

static void folder_close(Folder *f)
{
	CHECK(system(arena_printf(f->arena, "rm -r %s", f->path)) == 0);
	arena_free(f->arena);
}

static void compiles(Folder *f, const char *compiler, const char *file)
{
	const char *command = arena_printf(f->arena,
		"%s -Wall -Wextra -Wshadow -pedantic -Werror -fsyntax-only -I %s/runtime "
		"%s/%s >%s/said 2>&1 || { head -20 %s/said; false; }",
		compiler, source_root(f->arena), f->path, file, f->path, f->path);

	fflush(stdout);
	CHECK(system(command) == 0);
}

static const char *program(Folder *f)
{
	Text t = text_new(f->arena);

	for (int twice = 0; twice < 2; twice++)
		for (size_t i = 0; i < COUNT(cases); i++)
			text_printf(&t, "#include \"%s.h\"\n", cases[i].name);
	for (size_t i = 0; i < COUNT(cases); i++)
		text_printf(&t,
			    "int use_%s(%s_session *, const %s *, %s *);\n"
			    "int use_%s(%s_session *s, const %s *x, %s *y)\n{\n"
			    "\t%s_args args = {0};\n"
			    "\targs.size = sizeof args;\n"
			    "\targs.x = x;\n\targs.y = y;\n"
			    "\treturn %s_run(s, &args) == %s_ERROR_BUSY;\n}\n",
			    cases[i].name, cases[i].name, cases[i].x, cases[i].y,
			    cases[i].name, cases[i].name, cases[i].x, cases[i].y,
			    cases[i].name, cases[i].name, cases[i].name);
	return t.s;
}

static void test_c(void)
{
	Folder f;

	folder_open(&f);
	put_text(&f, "host.c", program(&f));
	compiles(&f, "cc -std=c99", "host.c");
	compiles(&f, "cc -std=c11", "host.c");
	compiles(&f, "cc -std=c17", "host.c");
	folder_close(&f);
}

static void test_cpp(void)
{
	Folder f;

	if (system("c++ --version >/dev/null 2>&1") != 0)
		SKIP("no C++ compiler");
	folder_open(&f);
	Text t = text_new(f.arena);
	for (size_t i = 0; i < COUNT(cases); i++)
		text_printf(&t, "#include \"%s.h\"\n"
				"int use_%s(%s_session *s, const %s_args &args)\n"
				"{ return %s_run(s, &args); }\n",
			    cases[i].name, cases[i].name, cases[i].name, cases[i].name,
			    cases[i].name);
	put_text(&f, "host.cpp", t.s);
	compiles(&f, "c++ -std=c++17 -Wno-missing-declarations", "host.cpp");
	folder_close(&f);
}

/* ---- the same structures as the runtime's ------------------------------------------- */

static const char *const structures[][32] = {
	{"options", "size", "flags", "why", "why_size", "target"},
	{"session_options", "size", "threads", "parallel_for", "ctx", "span", "span_ctx"},
	{"args", "size", "x", "tokens", "y", "x_stride", "y_stride", "nseq", "seq",
	 "seen", "seed", "step", "picks_in", "gates_in", "picks_out", "gates_out",
	 "losses", "inputs", "outputs", "routing", "expert_rows"},
};
static const char *const routing[] = {"picks_in", "gates_in", "picks_out", "gates_out"};

/* Layers that the models call, by what their C names begin with. */
static const struct { const char *name; int picks, rows, losses; } called[] = {
	{"hybrid_24_dense", 0, 0, 0}, {"hybrid_24_moe", 8, 64, 1},
	{"open_CALL_", 0, 0, 0},      {"open_ERROR_", 2, 4, 1},
};

static void assert_structure(Text *t, const char *name, const char *const *s)
{
	text_printf(t, "SAME(sizeof(%s_%s), sizeof(moert_%s));\n", name, s[0], s[0]);
	for (int j = 1; s[j]; j++)
		text_printf(t, "SAME(offsetof(%s_%s, %s), offsetof(moert_%s, %s));\n", name,
			    s[0], s[j], s[0], s[j]);
}

static void assert_called(Text *t)
{
	for (size_t i = 0; i < COUNT(called); i++) {
		const char *n = called[i].name;
		assert_structure(t, n, structures[COUNT(structures) - 1]);
		text_printf(t, "SAME(%s_PICKS, %d);\nSAME(%s_EXPERT_ROWS, %d);\n"
			       "SAME(%s_LOSSES, %d);\n",
			    n, called[i].picks, n, called[i].rows, n, called[i].losses);
	}
	for (size_t i = 0; i < COUNT(routing); i++)
		text_printf(t, "SAME(offsetof(open_routing, %s), "
			       "offsetof(moert_routing, %s));\n", routing[i], routing[i]);
	text_add(t, "SAME(sizeof(open_routing), sizeof(moert_routing));\n"
		    "SAME(open_CALL_args, 0);\nSAME(open_CALL_a_run_, 1);\n"
		    "SAME(open_CALL_a_run, 2);\nSAME(open_CALLS, 3);\n"
		    "SAME(hybrid_24_CALL_23_moe, 23);\nSAME(hybrid_24_CALLS, 24);\n"
		    "SAME(sizeof(open_ERROR__inputs), sizeof(void *));\n"
		    "SAME(sizeof(open_ERROR__outputs), sizeof(void *));\n");
}

static void assert_structures(Text *t, const char *name)
{
	for (size_t i = 0; i < COUNT(structures); i++)
		assert_structure(t, name, structures[i]);
#define ERROR(what, number, sentence) \
	text_printf(t, "SAME(%s_%s%s, MOERT_%s);\n", name, number ? "ERROR_" : "", \
		    #what, #what);
#include "../../runtime/errors.def"
#undef ERROR
	text_printf(t, "SAME(%s_MMAP, MOERT_MMAP);\n", name);
	text_printf(t, "SAME(%s_TRUST, MOERT_TRUST);\n", name);
}

static void test_same(void)
{
	Folder f;

	folder_open(&f);
	Text t = text_new(f.arena);
	text_add(&t, "#include \"moert.h\"\n"
		     "#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a)\n");
	for (size_t i = 0; i < COUNT(cases); i++)
		text_printf(&t, "#include \"%s.h\"\n", cases[i].name);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *n = cases[i].name;
		assert_structures(&t, n);
		text_printf(&t, "SAME(%s_WIDTH, %d);\nSAME(%s_EXPERTS, %d);\n"
				"SAME(%s_PICKS, %d);\nSAME(%s_LOSSES, %d);\n",
			    n, cases[i].width, n, cases[i].experts, n, cases[i].picks, n,
			    cases[i].losses);
		if (cases[i].inputs)
			text_printf(&t, "SAME(sizeof(%s_inputs), %d * sizeof(void *));\n",
				    n, cases[i].inputs);
		if (cases[i].outputs)
			text_printf(&t, "SAME(sizeof(%s_outputs), %d * "
				       "sizeof(void *));\n",
				    n, cases[i].outputs);
	}
	assert_called(&t);
	put_text(&f, "same.c", t.s);
	compiles(&f, "cc -std=c11", "same.c");
	folder_close(&f);
}

static void test_words(void)
{
	static const char *const wanted[] = {
		"const float    *class__; ", "const int32_t  *class_; ",
		"const float    *double_; ", "const int32_t  *NULL_; ",
		"[T, 4] f32 */", "[T], 0 or 1 */", "one value f32 */",
		"[T, 2], 0 to 3, -1: none */", "[4] f32 */",
		"x  [T, 32] bf16 -> y  [T, 32] bf16",
	};
	Arena *a = arena_new();
	Module *m = compiled(a, "words.moe", words, NULL);
	Text t = text_new(a);

	MUST(m != NULL);
	backend_header(&t, (const Module *const[]){m}, 1);
	for (size_t i = 0; i < COUNT(wanted); i++) {
		if (!strstr(t.s, wanted[i]))
			printf("not there: %s\n", wanted[i]);
		CHECK(strstr(t.s, wanted[i]) != NULL);
	}
	arena_free(a);
}

/* The texts above as headers, for two targets; MOEC_BLESS=1 rewrites them. */
static void test_golden(void)
{
	for (size_t i = 0; i < COUNT(cases) && cases[i].text; i++) {
		Arena *a = arena_new();
		Diag *diag = diag_new(a, stderr);
		const char *path = arena_printf(a, "%s/tests/golden/header/%s.h",
						source_root(a), cases[i].name);
		const Module *variants[2] = {
			compiled(a, cases[i].file, cases[i].text, cases[i].layer),
			compiled_for(a, "x86-64-v3", cases[i].file, cases[i].text,
				     cases[i].layer),
		};
		Text t = text_new(a);
		size_t n;

		MUST(variants[0] && variants[1]);
		backend_header(&t, variants, 2);
		if (getenv("MOEC_BLESS")) {
			MUST(file_write(diag, path, t.s, t.n));
		} else {
			char *expected = file_read(a, diag, path, 1 << 20, &n);
			MUST(expected != NULL);
			SAME_TEXT(t.s, expected);
		}
		arena_free(a);
	}
}

SUITE("header", {"C99, C11, C17", test_c}, {"C++17", test_cpp},
      {"the runtime's structures", test_same}, {"words of C", test_words},
      {"golden", test_golden})
