/* SPDX-License-Identifier: Apache-2.0
 * The text form: golden modules print as they stand, hostile texts are refused in one
 * diagnostic and never crash. */
#include "../../ir/ir.h"
#include "unit.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>

static const char *golden_folder(Arena *a)
{
	const char *slash = strrchr(__FILE__, '/');

	return arena_printf(a, "%.*s/../golden/ir", (int)(slash - __FILE__), __FILE__);
}

static char *read_golden(Arena *a, const char *name)
{
	Diag *d = diag_new(a, stderr);
	char *text = file_read(a, d, arena_printf(a, "%s/%s", golden_folder(a), name),
			       1 << 20, NULL);

	MUST(text != NULL);
	return text;
}

static const char *printed(Arena *a, const Module *m)
{
	Text t = text_new(a);

	print_module(&t, m);
	return t.s;
}

/* The module, or NULL with what was said in *said. */
static Module *parse(Arena *a, const char *text, const char **said)
{
	char *heard;
	size_t n;
	FILE *f = open_memstream(&heard, &n);
	Diag *d = diag_new(a, f);
	Module *m = parse_module(a, d, "a.mir", text);

	fclose(f);
	CHECK(diag_errors(d) == (m ? 0 : 1));
	*said = arena_strdup(a, heard);
	free(heard);
	return m;
}

static void golden_files_print_as_they_are(void)
{
	Arena *a = arena_new();
	DIR *folder = opendir(golden_folder(a));
	int n = 0;

	MUST(folder != NULL);
	for (struct dirent *e; (e = readdir(folder));) {
		const char *dot = strrchr(e->d_name, '.'), *said, *why;
		if (!dot || strcmp(dot, ".mir") != 0)
			continue;
		char *text = read_golden(a, e->d_name);
		Module *m = parse(a, text, &said);
		if (!m)
			printf("%s", said);
		MUST(m != NULL);
		SAME_TEXT(printed(a, m), text);
		if (!verify(m, &why)) {
			printf("%s: %s\n", e->d_name, why);
			CU_FAIL("a golden module does not verify");
		}
		n++;
	}
	closedir(folder);
	CHECK(n >= 5);
	arena_free(a);
}

static void parsing_keeps_what_was_said(void)
{
	Arena *a = arena_new();
	const char *said;
	Module *m = parse(a, read_golden(a, "numbers.mir"), &said);

	MUST(m != NULL);
	SAME_TEXT(m->name, "numbers \"odd\" \\ \x01\xff");
	CHECK(m->group == 128 && m->params.n == 2 && m->params.at[1].step);
	CHECK(m->params.at[0].has_init && m->params.at[0].init == 0.1);
	SAME_TEXT(m->params.at[0].load, "load.bias");
	const Attr *value = attr_find(m->fns->body->first, "value");
	MUST(value && value->kind == AT_FLOATS && value->n == 6);
	CHECK(isinf(value->fs[3]) && value->fs[3] < 0 && isnan(value->fs[4]));
	CHECK(value->fs[5] == 0 && signbit(value->fs[5]));
	Op *last = m->fns->body->last;
	CHECK(last->kind == OP_return && last->loc.line == 16 && last->loc.col == 5);
	const Op *add = last->args[0]->def;
	SAME_TEXT(last->args[0]->name, "y.2");
	CHECK(attr_get_int(add, "n", 0) == INT64_MIN);
	SAME_TEXT(attr_get_str(add, "j", ""), "f");
	SAME_TEXT(attr_get_str(add, "k", ""), "word");
	m = parse(a, read_golden(a, "regions.mir"), &said);
	MUST(m != NULL);
	CHECK(m->nlosses == 1 && m->fns->nouts == 3 && m->states.at[1].init == -1);
	SAME_TEXT(m->fns->out_names[1], "odd name");
	m = parse(a, read_golden(a, "kernels.mir"), &said);
	MUST(m != NULL);
	SAME_TEXT(m->target, "x86-64-v4");
	CHECK(m->ranges.n == 1 && m->ranges.at[0].count == 8);
	CHECK(m->panels.at[0].range == 0 && m->panels.at[1].range == -1);
	CHECK(m->panels.at[0].nstreams == 2 && m->panels.at[0].kpack == 2);
	arena_free(a);
}

static void names_are_made_unique(void)
{
	Arena *a = arena_new();
	Module *m = module_new(a, "names");
	Fn *fn = fn_new(m, "layer");
	const char *names[] = {"x", "x",   "x.1",      "x", NULL,
			       "0", "a b", "\xc3\xa4", "",  NULL};
	const char *said;

	for (size_t i = 0; i < COUNT(names); i++)
		region_arg(m, fn->body, type_scalar(DT_f32, LV_TOKEN), names[i]);
	op_append(fn->body, op_new(m, OP_return, 0, NULL, 0));
	const char *text = printed(a, m);
	CHECK(strstr(text, "(%x: f32[T], %x.1: f32[T], %x.1.1: f32[T], %x.2: f32[T], "
			   "%0: f32[T], %_0: f32[T], %a_b: f32[T], %__: f32[T], "
			   "%_: f32[T], %1: f32[T])") != NULL);
	m = parse(a, text, &said);
	MUST(m != NULL);
	SAME_TEXT(printed(a, m), text);
	arena_free(a);
}

static void long_names_stay(void)
{
	Arena *a = arena_new();
	Module *m = module_new(a, "long");
	Fn *fn = fn_new(m, "layer");
	char name[2000];
	const char *said;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	for (int i = 0; i < 12; i++)
		region_arg(m, fn->body, type_scalar(DT_f32, LV_TOKEN), name);
	const char *text = printed(a, m);
	m = parse(a, text, &said);
	MUST(m != NULL);
	SAME_TEXT(printed(a, m), text);
	arena_free(a);
}

static void one_op_prints_on_one_line(void)
{
	Arena *a = arena_new();
	const char *said;
	Module *m = parse(a, read_golden(a, "regions.mir"), &said);
	Text t = text_new(a);

	MUST(m != NULL);
	print_op(&t, m->fns->body->first->next);
	SAME_TEXT(t.s, "%last, %seen = scan %ema : f32[S, 8], f32[T, 8]");
	Op *loose = op_new(m, OP_add, 2, (Value *[]){m->fns->body->args[0], NULL}, 1);
	t = text_new(a);
	print_op(&t, loose);
	SAME_TEXT(t.s, "%? = add %?, %? : f32");
	arena_free(a);
}

/* ---- refusals ---- */

#define HEAD "module \"m\" {\n  fn @layer(%x: f32[T, 4]) -> (f32) {\n"

static void refusals(void)
{
	static const struct { const char *text, *said;
	} cases[] = {
	    {"", "a.mir:1:1: error: expected 'module'"},
	    {"module m", "expected the module's name as text"},
	    {"module \"m\" {", "expected target, layer, experts"},
	    {"module \"m\" {} x", "expected the end of the text"},
	    {"module \"m\" { $ }", "unexpected character '$'"},
	    {"module \"m\" { \x01 }", "unexpected character '\\x01'"},
	    {"module \"m", "does not end in its line"},
	    {"module \"\\q\" {}", "may be escaped"},
	    {"module \"\\x00\" {}", "may be escaped"},
	    {"module \"m\" { layer {foo=1} }", "a layer has no 'foo'"},
	    {"module \"m\" { layer {width=-1} }", "-1 is not in 0 .. "},
	    {"module \"m\" { layer {width=99999999999999999999} }",
	     "does not fit 64 bits"},
	    {"module \"m\" { experts E1 = 0..8 }", "expected 'E0'"},
	    {"module \"m\" { experts E0 = 8..8 }", "8 is not in 9 .. "},
	    {"module \"m\" { param a: f23 }", "did you mean 'f32'?"},
	    {"module \"m\" { param a: f32[0] }", "0 is not in 1 .. "},
	    {"module \"m\" { param a: f32[] }", "expected a whole number"},
	    {"module \"m\" { param a: f32[Q] }", "expected a size, T, S, E<range>"},
	    {"module \"m\" { param a: f32[E] }", "expected a size, T, S, E<range>"},
	    {"module \"m\" { param a: f32[T1] }", "expected a size, T, S, E<range>"},
	    {"module \"m\" { param a: f32[1,1,1,1,1,1,1] }", "more than 6 axes"},
	    {"module \"m\" { param a: f32[281474976710656, 2] }",
	     "more than 2^48 entries"},
	    {"module \"m\" { param a: f32[9999999, 9999999, 9999999] }", "2^48 entries"},
	    {"module \"m\" { param a: f32 init=1e999 }", "is no number"},
	    {"module \"m\" { param a: f32 init=0x }", "is no number"},
	    {"module \"m\" { param a: f32 init=1x }", "is no number"},
	    {"module \"m\" { param a: f32 param a: f32 }", "a second param 'a'"},
	    {"module \"m\" { call a of b = @c {losses=0} }", "no function @c"},
	    {"module \"m\" { call a of b = @c {group=0} }", "a layer has no 'group'"},
	    {"module \"m\" { call a of b = @c {picks=1} call a of b = @c {picks=1} }",
	     "a second call 'a'"},
	    {"module \"m\" { state a: f32[S] per year init=0 }", "expected 'call'"},
	    {"module \"m\" { state a: f32[S] per call }", "expected init="},
	    {"module \"m\" { panel p: f32 T streams=[a] n=1 k=1 cols=1 kpack=1 }", "(E)"},
	    {"module \"m\" { panel p: f32 streams=[a] n=0 k=1 cols=1 kpack=1 }",
	     "0 is not"},
	    {"module \"m\" { fn @a() -> () {} fn @a() -> () {} }",
	     "a second function 'a'"},
	    {HEAD "%y = add %x, %z : f32 } }", "%z is not defined before this"},
	    {HEAD "%y = add %y, %x : f32 } }", "%y is not defined before this"},
	    {HEAD "%foo = neg %x : f32 return %fo } }", "did you mean %foo?"},
	    {HEAD "%x = neg %x : f32 } }", "a second value %x"},
	    {HEAD "%y = ad %x : f32 } }", "did you mean 'add'?"},
	    {HEAD "%y = neg %x : f32, f32 } }", "1 results of 2 types"},
	    {HEAD "%y = neg %x } }", "expected ':'"},
	    {HEAD "%y = neg %x : f32 { yield } } }", "neg has no regions"},
	    {HEAD "return {a=1, a=2} } }", "a second attribute 'a'"},
	    {HEAD "return {a=[1, x]} } }", "expected a number"},
	    {HEAD "return {a=[\"s\", 1]} } }", "expected the same again"},
	    {HEAD "return {a=foo[]} } }", "expected ints, floats, strs or fns before []"},
	    {HEAD "if %x { %y = neg %x : f32 yield } { yield } return %y } }",
	     "%y is of a region that has ended"},
	    {HEAD "if %x {", "the text ends in a region"},
	    {HEAD "return %", "a name must follow '%'"},
	    {HEAD "return {\"a", "return has no regions"},
	    {HEAD "return {\"a\\", "return has no regions"},
	    {HEAD "return {\"a\n\"=1} } }", "return has no regions"},
	    {HEAD "return {a=-i} } }", "'-..' is no number"},
	    {"module \"m\" { param a: f32[281474976710657] }", " is not in 1 .. "},
	    {"module \"m\" { target \"a\" target \"b\" }", "a second part 'target'"},
	    {"module \"m\" { // a / comment\n target 3 }", "a.mir:2:9: "},
	    {"module \"m\" { / }", "unexpected character '/'"},
	    {"module \"m\" { param a: f32[E1234567] }", "expected a size, T, S, E<range>"},
	    {"module \"m\" { state a: f32[S] per call init=0 state a: f32[S] per call "
	     "init=0 }", "a second state 'a'"},
	};
	Arena *a = arena_new();

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *said;
		CHECK(parse(a, cases[i].text, &said) == NULL);
		if (!strstr(said, cases[i].said) || strncmp(said, "a.mir:", 6) != 0)
			printf("%s\n--- wanted: %s\n--- said: %s\n", cases[i].text,
			       cases[i].said, said);
		CHECK(strstr(said, cases[i].said) != NULL);
		CHECK(strncmp(said, "a.mir:", 6) == 0);
	}
	arena_free(a);
}

/* As many attributes as an op may have, with names that need quotes; and one more. */
static void attributes_are_bounded(void)
{
	Arena *a = arena_new();
	const char *said;

	for (int n = 64; n <= 65; n++) {
		Text t = text_new(a);
		text_add(&t, "module \"m\" {\n  layer {width=0, experts=0, picks=0, group=0, "
			     "losses=0}\n  fn @layer(%x: f32[T, 4]) -> () {\n    return {");
		for (int i = 0; i < n; i++)
			text_printf(&t, "%s\"a \\\"%d\"=%d", i ? ", " : "", i, i);
		text_add(&t, "}\n  }\n}\n");
		Module *m = parse(a, t.s, &said);
		if (n == 64) {
			MUST(m != NULL);
			CHECK(attr_get_int(m->fns->body->last, "a \"63", 0) == 63);
			SAME_TEXT(printed(a, m), t.s);
		} else {
			CHECK(m == NULL && strstr(said, "more than 64 attributes") != NULL);
		}
	}
	arena_free(a);
}

static void nesting_is_bounded(void)
{
	Arena *a = arena_new();
	Text t = text_new(a);
	const char *said;

	text_add(&t, HEAD);
	for (int i = 0; i < 100000; i++)
		text_add(&t, "if %x {\n");
	CHECK(parse(a, t.s, &said) == NULL);
	CHECK(strstr(said, "nested more than 64 deep") != NULL);
	arena_free(a);
}

/* Many short strings on one line, many names: linear, in time and in memory. */
static void long_texts_stay_linear(void)
{
	Arena *a = arena_new();
	Text t = text_new(a);
	const char *said;

	text_add(&t, HEAD "return {a=[");
	for (int i = 0; i < 100000; i++)
		text_add(&t, i ? ",\"a\"" : "\"a\"");
	text_add(&t, "]} } }");
	CHECK(parse(a, t.s, &said) != NULL);
	t = text_new(a);
	text_add(&t, HEAD);
	for (int i = 0; i < 50000; i++)
		text_printf(&t, "%%v%d = neg %%x : f32[T, 4]\n", i);
	text_add(&t, "return } }");
	Module *m = parse(a, t.s, &said);
	MUST(m != NULL);
	CHECK(strlen(printed(a, m)) > 50000 * 20);
	arena_free(a);
}

/* Whatever comes out of a damaged text: no crash, one error or a module that prints as
 * itself and that the verifier judges. */
static void survives(const char *text)
{
	Arena *a = arena_new();
	const char *said, *why;
	Module *m = parse(a, text, &said);

	if (m) {
		const char *once = printed(a, m);
		Module *again = parse(a, once, &said);
		if (!again)
			printf("%s\n%s\n", once, said);
		MUST(again != NULL);
		SAME_TEXT(printed(a, again), once);
		verify(m, &why);
	}
	arena_free(a);
}

static void truncated_texts(void)
{
	Arena *a = arena_new();
	static const char *const files[] = {"numbers.mir", "kernels.mir", "regions.mir"};

	for (size_t f = 0; f < COUNT(files); f++) {
		char *text = read_golden(a, files[f]);
		for (size_t n = strlen(text); n > 0; n--) {
			text[n - 1] = '\0';
			survives(text);
		}
	}
	arena_free(a);
}

static void flipped_bits(void)
{
	Arena *a = arena_new();
	static const char *const files[] = {"numbers.mir", "kernels.mir", "shapes.mir"};

	for (size_t f = 0; f < COUNT(files); f++) {
		char *text = read_golden(a, files[f]);
		for (size_t i = 0; text[i]; i++)
			for (int bit = 0; bit < 8; bit++) {
				text[i] ^= (char)(1 << bit);
				survives(text);
				text[i] ^= (char)(1 << bit);
			}
	}
	arena_free(a);
}

SUITE("ir_text",
      {"golden files print as they are", golden_files_print_as_they_are},
      {"parsing keeps what was said", parsing_keeps_what_was_said},
      {"names are made unique", names_are_made_unique},
      {"long names stay", long_names_stay},
      {"one op prints on one line", one_op_prints_on_one_line},
      {"refusals", refusals},
      {"attributes are bounded", attributes_are_bounded},
      {"nesting is bounded", nesting_is_bounded},
      {"long texts stay linear", long_texts_stay_linear},
      {"truncated texts", truncated_texts},
      {"flipped bits", flipped_bits})
