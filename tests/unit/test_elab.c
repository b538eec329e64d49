// libs: frontend
/* SPDX-License-Identifier: Apache-2.0
 * The elaborator: every program of ours checks and lowers to IR that verifies and reads
 * back; goldens tests/golden/frontend/NAME.moe -> .mir (`test_elab bless` rewrites). */
#include "../../frontend/frontend.h"
#include "unit.h"

#include <glob.h>
#include <limits.h>
#include <stdlib.h>

enum { LONGEST = 1 << 20 };

static bool bless;

/* A program, what became of it, and what was said. */
typedef struct {
	Arena     *arena;
	Diag      *diag;
	FILE      *out;
	char      *said;
	size_t     n;
	FeOptions  opt;
	FeContents contents;
	bool       checked;
} Program;

static Program *program(const char *file, const char *text)
{
	Arena *a = arena_new();
	Program *p = NEW(a, Program);

	p->arena = a;
	p->out = open_memstream(&p->said, &p->n);
	p->diag = diag_new(a, p->out);
	p->opt = (FeOptions){.file = file, .text = text, .losses = true,
			     .config_file = "config.json"};
	MUST(fe_contents(a, p->diag, file, text, &p->contents));
	return p;
}

static void finish(Program *p)
{
	json_decref(p->opt.config);
	fclose(p->out);
	free(p->said);
	arena_free(p->arena);
}

static char *read_text(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = calloc(1, LONGEST + 1);

	MUST(f != NULL);
	MUST(fread(text, 1, LONGEST, f) > 0);
	fclose(f);
	return text;
}

static glob_t files_in(const char *folder)
{
	const char *slash = strrchr(__FILE__, '/');
	char pattern[PATH_MAX];
	glob_t g;

	snprintf(pattern, sizeof pattern, "%.*s/../../%s/*.moe", (int)(slash - __FILE__),
		 __FILE__, folder);
	MUST(glob(pattern, 0, NULL, &g) == 0);
	return g;
}

static bool print_said(Program *p, const char *what)
{
	fflush(p->out);
	printf("%s: %s\n%s", p->opt.file, what, p->said);
	return false;
}

/* Lowered, it verifies, and its text reads back to the same text. */
static bool lowers(Program *p, Text *text)
{
	const char *why = "", *name;
	Module *m = fe_compile(p->arena, p->diag, &p->opt);

	if (!m)
		return print_said(p, p->opt.layer ? p->opt.layer : "no module");
	name = arena_printf(p->arena, "%s.mir", m->name);
	if (!verify(m, &why))
		return print_said(p, why);
	*text = text_new(p->arena);
	print_module(text, m);
	Module *again = parse_module(p->arena, p->diag, name, text->s);
	if (!again)
		return print_said(p, "does not read back");
	Text second = text_new(p->arena);
	print_module(&second, again);
	return strcmp(text->s, second.s) == 0 ||
	       print_said(p, "reads back to another text");
}

static void check_programs(const char *folder)
{
	glob_t g = files_in(folder);
	Text text;

	for (size_t i = 0; i < g.gl_pathc; i++) {
		char *source = read_text(g.gl_pathv[i]);
		Program *p = program(g.gl_pathv[i], source);
		CHECK(fe_check(p->arena, p->diag, &p->opt) || print_said(p, "check"));
		for (int k = 0; k < p->contents.layers.n; k++) {
			p->opt.layer = p->contents.layers.at[k];
			CHECK(lowers(p, &text));
		}
		finish(p);
		free(source);
	}
	CHECK(g.gl_pathc > 20);
	globfree(&g);
}

static void test_examples(void) { check_programs("examples"); }
static void test_programs(void) { check_programs("tests/programs"); }

static void test_goldens(void)
{
	glob_t g = files_in("tests/golden/frontend");
	Text text;

	for (size_t i = 0; i < g.gl_pathc; i++) {
		char *source = read_text(g.gl_pathv[i]), *wanted = NULL;
		Program *p = program(strrchr(g.gl_pathv[i], '/') + 1, source);
		const char *path = arena_printf(
		    p->arena, "%.*s.mir", (int)strlen(g.gl_pathv[i]) - 4, g.gl_pathv[i]);
		CHECK(fe_check(p->arena, p->diag, &p->opt) || print_said(p, "check"));
		if (lowers(p, &text) && bless) {
			FILE *f = fopen(path, "wb");
			MUST(f && fputs(text.s, f) >= 0 && fclose(f) == 0);
		} else if (text.s) {
			wanted = read_text(path);
			SAME_TEXT(text.s, wanted);
		}
		free(wanted);
		finish(p);
		free(source);
	}
	CHECK(g.gl_pathc >= 11);
	globfree(&g);
}

/* The program with the `require` at this line turned round: (c, ..) is (not (c), ..). */
static const char *turned(Arena *a, const char *text, const char *at)
{
	const char *c = at + strlen("\n  require("), *comma = c;

	for (const char *s = c; *s && *s != '\n'; s++)
		if (strncmp(s, ", \"", 3) == 0)
			comma = s;
	return arena_printf(a, "%.*s\n  require(not (%.*s)%s", (int)(at - text), text,
			    (int)(comma - c), c, comma);
}

/* What is known at compile time: all `require`s of rules.moe hold, and none by chance. */
static void test_constants(void)
{
	const char *slash = strrchr(__FILE__, '/');
	char path[PATH_MAX];
	int rules = 0, by_chance = 0;

	snprintf(path, sizeof path, "%.*s/../golden/frontend/rules.moe",
		 (int)(slash - __FILE__), __FILE__);
	char *text = read_text(path);
	for (const char *at = text; (at = strstr(at, "\n  require(")); at++, rules++) {
		Arena *a = arena_new();
		FILE *none = fopen("/dev/null", "w");
		FeOptions opt = {.file = "rules.moe", .text = turned(a, text, at)};
		Diag *d = diag_new(a, none);
		by_chance += fe_check(a, d, &opt);
		CHECK(diag_errors(d) == 1);
		fclose(none);
		arena_free(a);
	}
	CHECK(rules > 20);
	CHECK(by_chance == 0);
	free(text);
}

static Module *compile_with(Program *p, const char *config, const char *layer)
{
	json_error_t error;

	json_decref(p->opt.config);
	p->opt.config = json_loads(config, 0, &error);
	p->opt.layer = layer;
	return fe_compile(p->arena, p->diag, &p->opt);
}

static const char family[] =
    "family tiny {\n"
    "  layers first: config.n, second: 2\n"
    "  layer dense when layer < (config.dense ?? 1) and stack == \"first\" {\n"
    "    input x: stored[T, 8]\n"
    "    output relu_ffn(x, 16)\n"
    "    weights \"{stack}.{layer}.\" { up = \"wi\"  down = transpose(\"wo\") }\n"
    "  }\n"
    "  layer moe {\n"
    "    input   x: stored[T, 8]\n"
    "    experts config.e of relu_ffn(16)\n"
    "    route   softmax_topk(config.k ?? 1)\n"
    "    weights \"{stack}.{layer}.\" {\n"
    "      router = \"r\"  up = \"up\"[expert]\n"
    "      down = \"scaled\"[expert] * blockwise(\"s\"[expert], 4, 8)\n"
	"             ?? \"down{expert}\"\n"
    "    }\n"
    "  }\n"
    "}\n";

static void test_families(void)
{
	Program *p = program("tiny.moe", family);
	Module *m;

	m = compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4}", NULL);
	MUST(m != NULL);                /* the first layer that has experts */
	SAME_TEXT(m->name, "moe");
	CHECK(m->experts == 4 && m->picks == 1);
	CHECK(m->params.at[0].type.dtype == DT_bf16 && !m->params.at[0].load);
	m = compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4, \"k\": 2, "
			 "\"dtype\": \"float32\"}", "second.0");
	MUST(m != NULL);
	CHECK(m->picks == 2 && m->params.at[0].type.dtype == DT_f32);
	m = compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4, "
			 "\"text_config\": {\"torch_dtype\": \"float32\"}}", "first.0");
	MUST(m != NULL);
	SAME_TEXT(m->name, "dense");
	CHECK(m->params.n == 2 && m->params.at[0].type.dtype == DT_f32);
	CHECK(!compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4}",
			    "first.3"));
	CHECK(!compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4}",
			    "third.0"));
	CHECK(!compile_with(p, "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 4}", "1"));
	CHECK(!compile_with(p, "{\"model_type\": \"big\", \"n\": 3, \"e\": 4}", NULL));
	finish(p);
}

/* One checkpoint with scales, one without. */
static bool find_tensor(void *ctx, const char *name, FeTensor *t)
{
	static const struct {
		const char *name;
		int scaled, rank;
		int64_t dims[3];
	} all[] = {
	    {"first.1.r", -1, 2, {2, 8}},         {"first.1.up", -1, 3, {2, 16, 8}},
	    {"first.1.scaled", 1, 3, {2, 8, 16}}, {"first.1.s", 1, 3, {2, 2, 2}},
	    {"first.1.down0", 0, 2, {8, 16}},     {"first.1.down1", 0, 2, {8, 16}},
	};

	for (size_t i = 0; i < COUNT(all); i++) {
		if (strcmp(all[i].name, name) != 0 ||
		    (all[i].scaled >= 0 && all[i].scaled != *(int *)ctx))
			continue;
		*t = (FeTensor){.dtype = DT_f32, .rank = all[i].rank};
		memcpy(t->dims, all[i].dims, sizeof all[i].dims);
		return true;
	}
	return false;
}

static int count_ops(const Fn *fn, OpKind kind)
{
	int n = 0;

	for (const Op *op = fn->body->first; op; op = op->next)
		n += op->kind == kind;
	return n;
}

static void test_layouts(void)
{
	static const char config[] = "{\"model_type\": \"tiny\", \"n\": 3, \"e\": 2}";
	Program *p = program("tiny.moe", family);
	int scaled = 0;
	FeTensors t = {.ctx = &scaled, .find = find_tensor, .nfiles = 1};
	const char *why = "";

	p->opt.tensors = &t;
	for (scaled = 0; scaled < 2; scaled++) {
		Module *m = compile_with(p, config, NULL);
		MUST(m != NULL);
		CHECK(verify(m, &why));
		SAME_TEXT(why, "");
		CHECK(m->params.at[0].type.dtype == DT_f32);      /* as stored */
		SAME_TEXT(param_find(m, "down", 0)->load, "load.down");
		const Fn *fn = fn_find(m, "load.down.1");
		MUST(fn != NULL);
		CHECK(count_ops(fn, OP_tensor) == 1 + scaled);   /* none in vain */
		CHECK(count_ops(fn, OP_blockwise) == scaled);
		CHECK(count_ops(fn_find(m, "load.up.0"), OP_slice) == 1);
		MUST(fn_find(m, "load.router") != NULL);
	}
	finish(p);
}

/* Losses cost nothing where they are not asked for. */
static void test_losses(void)
{
	Program *p = program(
	    "l.moe", "layer l { input x: f32[T, 8]\n experts 4 of relu_ffn(8)\n"
		     "route softmax_topk(2)\n"
		     "loss balance(route.pick, route.p)\n loss z(route.logits) }");
	Module *m = fe_compile(p->arena, p->diag, &p->opt);

	MUST(m != NULL);
	CHECK(m->nlosses == 2 && m->fns->nouts == 3 && fn_find(m, "balance") != NULL);
	p->opt.losses = false;
	m = fe_compile(p->arena, p->diag, &p->opt);
	MUST(m != NULL);
	CHECK(m->nlosses == 0 && m->fns->nouts == 1 && fn_find(m, "balance") == NULL);
	finish(p);
}

WRAPS static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Pieces of one program in another: no crash, and what passes the check lowers. */
static void test_mixed(void)
{
	glob_t g = files_in("tests/programs");
	uint32_t seed = 7;
	int silent = 0, wrong = 0;

	for (int i = 0; i < 400; i++) {
		char *a = read_text(g.gl_pathv[next_random(&seed) % g.gl_pathc]);
		char *b = read_text(g.gl_pathv[next_random(&seed) % g.gl_pathc]);
		size_t from = next_random(&seed) % strlen(a),
		       to = next_random(&seed) % strlen(b);
		Arena *arena = arena_new();
		FILE *none = fopen("/dev/null", "w");
		Diag *d = diag_new(arena, none);
		const char *why;
		FeOptions opt = {.file = "t.moe", .losses = true};
		while (from && a[from] != '\n')
			from--;
		while (to && b[to] != '\n')
			to--;
		opt.text = arena_printf(arena, "%.*s%.*s%s", (int)from, a,
					(int)(next_random(&seed) % 60), b + to, a + from);
		bool ok = fe_check(arena, d, &opt);
		silent += !ok && diag_errors(d) == 0;
		Module *m = ok ? fe_compile(arena, d, &opt) : NULL;
		wrong += m && !verify(m, &why);
		fclose(none);
		arena_free(arena);
		free(a);
		free(b);
	}
	CHECK(silent == 0);
	CHECK(wrong == 0);
	globfree(&g);
}

int main(int argc, char **argv)
{
	static const UnitTest tests[] = {
		{"examples", test_examples}, {"programs", test_programs},
		{"goldens", test_goldens}, {"constants", test_constants},
		{"families", test_families}, {"layouts", test_layouts},
		{"losses", test_losses}, {"mixed", test_mixed},
	};

	bless = argc > 1 && strcmp(argv[1], "bless") == 0;
	return unit_main("elab", tests, (int)COUNT(tests));
}
