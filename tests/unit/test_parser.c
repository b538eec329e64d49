/* SPDX-License-Identifier: Apache-2.0
 * test_parser: trees, places, messages, recovery and hostile texts. */
// libs: frontend
#include "../../frontend/ast.h"
#include "../../frontend/frontend.h"
#include "unit.h"

#include <glob.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

/* The folder of the sources: this file's, two up. */
static const char *root(void)
{
	static char path[4096];
	snprintf(path, sizeof path, "%s", __FILE__);
	for (int i = 0; i < 3; i++)
		dirname(path);
	return path;
}

typedef struct {
	Arena *arena;
	Diag  *diag;
	char  *said;                    /* what was printed */
	size_t n;
	FILE  *out;
	Node  *node;
} Parse;

static Parse *parse_start(void)
{
	Arena *a = arena_new();
	Parse *p = NEW(a, Parse);
	p->arena = a;
	p->out = open_memstream(&p->said, &p->n);
	p->diag = diag_new(a, p->out);
	return p;
}

static Parse *parse(const char *text)
{
	Parse *p = parse_start();
	p->node = parse_moe(p->arena, p->diag, "t.moe", text);
	fflush(p->out);
	return p;
}

static Parse *parse_file(const char *path)
{
	Parse *p = parse_start();
	char *text = fe_read(p->arena, p->diag, path);
	p->node = text ? parse_moe(p->arena, p->diag, path, text) : NULL;
	fflush(p->out);
	return p;
}

static int finish(Parse *p)
{
	int errors = diag_errors(p->diag);
	fclose(p->out);
	free(p->said);
	arena_free(p->arena);
	return errors;
}

static int count_errors(const char *text)
{
	Parse *p = parse(text);
	return finish(p);
}

static void test_numbers(void)
{
	Parse *p = parse("a = [12, 12.0, 1e3, 4GiB, 9007199254740992]");
	static const bool is_int[] = {true, false, false, true, true};
	const Node *list = p->node->kids[0]->kids[0];
	MUST(list->nkids == 5);
	for (int i = 0; i < 5; i++)
		CHECK(list->kids[i]->is_int == is_int[i]);
	CHECK(finish(p) == 0);
}

static void test_strings(void)
{
	Parse *p = parse("a = \"x\\\"y\\\\z {e} \xc3\xa9\" // \xe2\x82\xac\n");
	SAME_TEXT(p->node->kids[0]->kids[0]->s, "x\"y\\z {e} \xc3\xa9");
	CHECK(finish(p) == 0);
	p = parse("\xef\xbb\xbf" "a = 1\r\nb = 2\r\n");
	CHECK(p->node->nkids == 2);
	CHECK(finish(p) == 0);
}

static void test_places(void)
{
	Parse *p = parse("a = 1\n  b, cc = f(x,\n    y) + 2\n");
	const Node *b = p->node->kids[0];
	CHECK(b->loc.line == 1 && b->loc.col == 1 && b->loc.end == 6);
	finish(p);
	p = parse("def f(x) {\n  b, cc = (x + 1) *\n    g(y)\n  return b\n}\n");
	b = p->node->kids[0]->kids[1]->kids[0];
	CHECK(p->node->kids[0]->loc.col == 5 && p->node->kids[0]->loc.end == 6);
	CHECK(b->loc.line == 2 && b->loc.col == 3 && b->loc.end == 20);
	CHECK(b->name_locs[1].col == 6 && b->name_locs[1].end == 8);
	const Node *product = b->kids[0];
	CHECK(product->loc.col == 11 && product->loc.end == 20);
	CHECK(product->kids[0]->loc.col == 11 && product->kids[0]->loc.end == 18);
	CHECK(product->kids[1]->loc.line == 3 && product->kids[1]->loc.col == 5);
	CHECK(finish(p) == 0);
}

/* As many messages as mistakes, and what is right is kept. */
static void test_recovery(void)
{
	CHECK(count_errors("layer a {\n x = )\n y = 2 3\n z = [1\n output z\n}\n"
			   "def f(x = 1\ndef g(x) = x\n") == 4);
	CHECK(count_errors("a = 1;\nb = 2;\nc = 3;\n") == 3);
	CHECK(count_errors("layer a {\n x = f(1, 2\n}\nlayer b {\n y = )\n}\n") == 2);
	CHECK(count_errors("layer a {\n if x {\n  y = 1\nlayer b {\n causal\n}\n") == 1);
	CHECK(count_errors("family f {\n layers = 2\n layer x {}\n c = \n}\n") == 2);
	CHECK(count_errors("plan p {\n a = )\n b[ = 2\n c = 3\n}\n") == 2);
	Parse *p = parse("layer a {\n x = +\n y = 2\n}\ndef f(x) = )\ndef g(x) = x\n");
	MUST(p->node->nkids == 3);
	SAME_TEXT(p->node->kids[0]->s, "a");
	CHECK(p->node->kids[0]->kids[1]->nkids == 2);
	CHECK(p->node->kids[1]->kind == N_LOST && p->node->kids[1]->nnames == 3);
	SAME_TEXT(p->node->kids[1]->names[1], "f");
	SAME_TEXT(p->node->kids[2]->s, "g");
	CHECK(finish(p) == 2);
}

/* Each .moe file of a folder, parsed as from within it; how many there were. */
static int each_file(const char *folder, void (*check)(Parse *, const char *stem))
{
	char path[4200];
	glob_t found = {0};
	snprintf(path, sizeof path, "%s/%s", root(), folder);
	MUST(chdir(path) == 0);
	glob("*.moe", 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *file = found.gl_pathv[i];
		Parse *p = parse_file(file);
		check(p, arena_strndup(p->arena, file, strlen(file) - strlen(".moe")));
		finish(p);
	}
	int count = (int)found.gl_pathc;
	globfree(&found);
	return count;
}

static void check_clean(Parse *p, const char *stem)
{
	SAME_TEXT(p->said, "");
}

static void test_files(void)
{
	CHECK(each_file("frontend", check_clean) == 1);
	CHECK(each_file("models", check_clean) >= 2);
	CHECK(each_file("examples", check_clean) >= 34);
	CHECK(each_file("tests/programs", check_clean) == 26);
	CHECK(count_errors(std_moe) == 0);
	CHECK(family_count >= 2);
}

static void test_contents(void)
{
	Arena *a = arena_new();
	Diag *d = diag_new(a, stderr);
	FeContents c;
	MUST(fe_contents(a, d, "t.moe",
			 "layer a {} model b {} family c, d {} plan e {}", &c));
	CHECK(c.layers.n == 1 && c.models.n == 1 && c.families.n == 2 && c.plans.n == 1);
	SAME_TEXT(c.layers.at[0], "a");
	SAME_TEXT(c.families.at[1], "d");
	FILE *none = fopen("/dev/null", "w");
	CHECK(!fe_contents(a, diag_new(a, none), "t.moe", "layer {}", &c));
	fclose(none);
	arena_free(a);
}

static bool binds(const Node *n, const char *name)
{
	for (int i = 0; i < n->nnames; i++)
		if (n->kind == N_BIND && strcmp(n->names[i], name) == 0)
			return true;
	for (int i = 0; i < n->nkids; i++)
		if (n->kids[i] && binds(n->kids[i], name))
			return true;
	return false;
}

/* Losses read route.logits, route.p and route.pick of any std policy with a router. */
static void test_promised_names(void)
{
	Parse *p = parse(std_moe);
	int policies = 0;
	for (int i = 0; i < p->node->nkids; i++) {
		const Node *f = p->node->kids[i];
		if (f->kind != N_POLICY)
			continue;
		policies++;
		bool table = strcmp(f->s, "hash") == 0;         /* the only one without */
		bool keeps = binds(f, "pick") &&
			     (table || (binds(f, "logits") && binds(f, "p")));
		if (!keeps)
			printf("policy %s lacks a name\n", f->s);
		CHECK(keeps);
	}
	CHECK(policies >= 25);
	CHECK(finish(p) == 0);
}

static const char *beside(Parse *p, const char *stem, const char *ending)
{
	const char *text = fe_read(p->arena, diag_new(p->arena, stderr),
				   arena_printf(p->arena, "%s%s", stem, ending));
	MUST(text != NULL);
	return text;
}

static void check_tree(Parse *p, const char *stem)
{
	Text t = text_new(p->arena);
	print_ast(&t, p->node);
	SAME_TEXT(p->said, "");
	SAME_TEXT(t.s, beside(p, stem, ".ast"));
}

/* What a user in that folder would see. */
static void check_message(Parse *p, const char *stem)
{
	diag_end(p->diag);
	fflush(p->out);
	SAME_TEXT(p->said, beside(p, stem, ".expect"));
	CHECK(diag_errors(p->diag) > 0);
}

static void test_trees(void)
{
	CHECK(each_file("tests/golden/ast", check_tree) >= 7);
}

static void test_messages(void)
{
	CHECK(each_file("tests/errors/syntax", check_message) >= 15);
}

WRAPS static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 5;
}

/* Whatever is cut off or flipped: a clean return. */
static void test_broken_texts(void)
{
	size_t n = strlen(std_moe);
	FILE *none = fopen("/dev/null", "w");
	char *text = malloc(n + 1);
	uint32_t seed = 1;
	int bad = 0;
	memcpy(text, std_moe, n + 1);
	for (size_t cut = 0; cut <= n; cut++) {
		Arena *a = arena_new();
		size_t from = cut > 3000 ? cut - 3000 : 0;
		text[cut] = '\0';
		bad += parse_moe(a, diag_new(a, none), "t.moe", text + from) == NULL;
		text[cut] = std_moe[cut];
		arena_free(a);
	}
	for (int i = 0; i < 2000; i++) {
		Arena *a = arena_new();
		for (int k = 0; k <= i % 4; k++) {
			uint32_t r = next_random(&seed);
			text[(r >> 3) % n] ^= (char)(1 << r % 8);
		}
		bad += parse_moe(a, diag_new(a, none), "t.moe", text) == NULL;
		if (i % 16 == 15)
			memcpy(text, std_moe, n + 1);
		arena_free(a);
	}
	CHECK(bad == 0);
	free(text);
	fclose(none);
}

static void check_repeated(const char *head, const char *part, size_t size)
{
	size_t nh = strlen(head), np = strlen(part), n = nh;
	char *text = malloc(size + np + nh + 1);
	memcpy(text, head, nh);
	for (; n < size; n += np)
		memcpy(text + n, part, np);
	text[n] = '\0';
	Parse *p = parse(text);
	if (diag_errors(p->diag) != 1 || p->n > 2000)
		printf("%s%s..: %d errors\n", head, part, diag_errors(p->diag));
	CHECK(p->n <= 2000);
	CHECK(finish(p) == 1);
	free(text);
}

static void test_nesting(void)
{
	static const char *const parts[] = {"(", "[", "f(", "f[", "-", "not ", "1 + ",
					    "a ?? ", "1 - (", "f(k: "};
	for (size_t i = 0; i < COUNT(parts); i++)
		check_repeated("a = ", parts[i], 1 << 20);
	check_repeated("a = b", ".c", 1 << 20);
	check_repeated("a = b", "()", 1 << 20);
	check_repeated("a = b", "[1]", 1 << 20);
	check_repeated("layer a {", "if c {", 1 << 20);
	check_repeated("layer a { if c {}", "else if c {}", 1 << 20);
	check_repeated("layer a { weights w {", "if c {", 1 << 20);
	check_repeated("", "(", 1 << 20);
	check_repeated("plan p { ", "a.", 1 << 20);
}

/* Just at the bound and beyond it: nothing, or one message. */
static void test_depths(void)
{
	char text[400];
	int before = 0;

	for (int n = 200; n < 300; n++) {
		memcpy(text, "a = ", 4);
		memset(text + 4, '-', (size_t)n);
		memcpy(text + 4 + n, "1", 2);
		int errors = count_errors(text);
		CHECK(errors >= before && errors <= 1);
		before = errors;
	}
	CHECK(before == 1);
}

static void test_many_mistakes(void)
{
	char text[4096];

	memset(text, ';', 1100);                /* reading ends at the thousandth */
	text[1100] = '\0';
	CHECK(count_errors(text) == 1000);
	int n = sprintf(text, "x = f(a");       /* more words than are kept of a lost part */
	for (int i = 0; i < 300; i++)
		n += sprintf(text + n, ", a");
	sprintf(text + n, "\ny = 3\n");
	Parse *p = parse(text);
	MUST(p->node->nkids == 2);
	CHECK(p->node->kids[0]->kind == N_LOST && p->node->kids[0]->nnames == 256);
	CHECK(finish(p) == 1);
}

static void test_long(void)
{
	CHECK(count_errors("") == 0);
	char *text = calloc((17 << 20) + 1, 1);
	memset(text, ' ', 17 << 20);
	Parse *p = parse(text);
	CHECK(p->node == NULL);
	CHECK(finish(p) == 1);
	text[1 << 20] = '\0';
	p = parse(text);
	CHECK(p->node != NULL && finish(p) == 0);
	memset(text, 'a', 1 << 20);
	CHECK(count_errors(text) == 2); /* the name is too long, and alone */
	free(text);
}

SUITE("parser", {"trees", test_trees}, {"numbers", test_numbers},
      {"strings", test_strings}, {"places", test_places},
      {"recovery", test_recovery}, {"files", test_files},
      {"contents", test_contents}, {"promised names", test_promised_names},
      {"messages", test_messages}, {"broken texts", test_broken_texts},
      {"nesting", test_nesting}, {"depths", test_depths},
      {"many mistakes", test_many_mistakes}, {"long", test_long})
