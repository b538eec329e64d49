/* SPDX-License-Identifier: Apache-2.0
 * Bad JSON and bad index.json files: what is said about each, and that memory stays
 * bounded. */
// libs: io
#include "files.h"
#include "unit.h"

typedef struct { const char *text, *message; } Case;

#define BAD(line, col, what)                                                             \
	"c.json:" #line ":" #col ": error: not valid JSON: " what "\n"

static const Case texts[] = {
    {"", BAD(1, 1, "'[' or '{' expected near end of file")},
    {" \n ", BAD(2, 1, "'[' or '{' expected near end of file")},
    {"1", BAD(1, 1, "'[' or '{' expected near '1'")},
    {"\"a\"", BAD(1, 3, "'[' or '{' expected near '\"a\"'")},
    {"null", BAD(1, 4, "'[' or '{' expected near 'null'")},
    {"\xef\xbb\xbf{}", BAD(1, 1, "'[' or '{' expected near '\xef\xbb\xbf'")},
    {"{\n  \"a\": 1\n  \"b\": 2\n}", BAD(3, 5, "'}' expected near '\"b\"'")},
    {"{\"a\": 1,\n}", BAD(2, 1, "string or '}' expected near '}'")},
    {"[1, 2", BAD(1, 5, "']' expected near end of file")},
    {"[1, 2]]", BAD(1, 7, "end of file expected near ']'")},
    {"[1 2]", BAD(1, 4, "']' expected near '2'")},
    {"{a: 1}", BAD(1, 2, "string or '}' expected near 'a'")},
    {"{\"a\" 1}", BAD(1, 6, "':' expected near '1'")},
    {"{\"a\": }", BAD(1, 7, "unexpected token near '}'")},
    {"{\"a\": tru}", BAD(1, 9, "invalid token near 'tru'")},
    {"{\"a\": +1}", BAD(1, 7, "invalid token near '+'")},
    {"{\"a\": 01}", BAD(1, 7, "invalid token near '0'")},
    {"{\"a\": .5}", BAD(1, 7, "invalid token near '.'")},
    {"{\"a\": 1.}", BAD(1, 8, "invalid token near '1.'")},
    {"{\"a\": 1e}", BAD(1, 8, "invalid token near '1e'")},
    {"{\"a\": 0x10}", BAD(1, 8, "'}' expected near 'x'")},
    {"{\"a\": Infinity}", BAD(1, 14, "invalid token near 'Infinity'")},
    {"{\"a\": 1e400}", BAD(1, 11, "real number overflow near '1e400'")},
    {"{\"a\": -9999999999999999999}", BAD(1, 26,
					  "too big negative integer near "
					  "'-9999999999999999999'")},
    {"{\"a\": \"b\n\"}", BAD(1, 8, "unexpected newline near '\"b'")},
    {"{\"a\": \"\\x\"}", BAD(1, 9, "invalid escape near '\"\\x'")},
    {"{\"a\": \"\\u12g4\"}", BAD(1, 12, "invalid escape near '\"\\u12g'")},
    {"{\"a\": \"b", BAD(1, 8, "premature end of input near '\"b'")},
    {"{\"a\": \"\xc0\x80\"}", BAD(1, 7, "unable to decode byte 0xc0 near '\"'")},
    {"{\"a\": \"\xed\xa0\x80\"}", BAD(1, 7, "unable to decode byte 0xed near '\"'")},
    {"{\"a\": \"\xf5\x80\x80\x80\"}", BAD(1, 7, "unable to decode byte 0xf5 near '\"'")},
    {"{\"a\": \"\\u0000\"}", BAD(1, 14, "a NUL in a string")},
    {"{\"a\": 1, \"b\": 2, \"a\": 3}", BAD(1, 20, "duplicate object key near '\"a\"'")},
    {"{\"a\": {\"b\": 1, \"b\": 1}}", BAD(1, 18, "duplicate object key near '\"b\"'")},
    {"{} // comment", BAD(1, 4, "end of file expected near '/'")},
};

static void test_texts(void)
{
	enter_folder();
	for (size_t i = 0; i < COUNT(texts); i++) {
		Said *s = said_new();
		put_file("c.json", texts[i].text, strlen(texts[i].text));
		CHECK(json_file(s->arena, s->diag, "c.json") == NULL);
		CHECK(diag_errors(s->diag) == 1);
		SAME_SAID(said(s), texts[i].message);
		said_free(s);
	}
	CHECK(COUNT(texts) >= 30);
}

#define I "model.safetensors.index.json: error: "
#define MAP(entries) "{\"weight_map\":{" entries "}}"

static const Case indexes[] = {
    {"[]", I "not an index: not an object\n"},
    {"{}", I "not an index: it has no `weight_map`\n"},
    {"{\"metadata\":{}}", I "not an index: it has no `weight_map`\n"},
    {"{\"weight_map\":[]}", I "`weight_map` is not an object\n"},
    {"{\"weight_map\":null}", I "`weight_map` is not an object\n"},
    {"{\"weight_map\":\"x\"}", I "`weight_map` is not an object\n"},
    {MAP("\"a\":1"), I "tensor `a`: its file name is not a string\n"},
    {MAP("\"a\":null"), I "tensor `a`: its file name is not a string\n"},
    {MAP("\"a\":[\"x.safetensors\"]"), I "tensor `a`: its file name is not a string\n"},
    {MAP("\"a\":\"\""), I "tensor `a`: `` is not a plain file name\n"},
    {MAP("\"a\":\".\""), I "tensor `a`: `.` is not a plain file name\n"},
    {MAP("\"a\":\"..\""), I "tensor `a`: `..` is not a plain file name\n"},
    {MAP("\"a\":\"../x.safetensors\""),
     I "tensor `a`: `../x.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"b/../x.safetensors\""),
     I "tensor `a`: `b/../x.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"./x.safetensors\""),
     I "tensor `a`: `./x.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"/etc/x.safetensors\""),
     I "tensor `a`: `/etc/x.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"sub\\/x.safetensors\""),
     I "tensor `a`: `sub/x.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"x\\n.safetensors\""),
     I "tensor `a`: `x\\x0a.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"\\u001b[2J.safetensors\""),
     I "tensor `a`: `\\x1b[2J.safetensors` is not a plain file name\n"},
    {MAP("\"a\":\"\\u007f.safetensors\""),
     I "tensor `a`: `\\x7f.safetensors` is not a plain file name\n"},
    {MAP("\"\\u001b[2J\":1"), I "tensor `\\x1b[2J`: its file name is not a string\n"},
    {MAP("\"a\":\"pytorch_model.bin\""),
     I "tensor `a`: `pytorch_model.bin` is not a .safetensors file\n"},
    {MAP("\"a\":\"passwd\""), I "tensor `a`: `passwd` is not a .safetensors file\n"},
    {MAP("\"a\":7,\"b\":\"x.safetensors\""),
     I "tensor `a`: its file name is not a string\n"},
    {MAP("\"a\":\"x.safetensors\",\"b\":7"),
     I "tensor `b`: its file name is not a string\n"},
    {MAP("\"a\":\"x.safetensors\\u0000\""),
     "model.safetensors.index.json:1:40: error: not valid JSON: a NUL in a string\n"},
    {MAP("\"a\":\"x.safetensors\",\"a\":\"y.safetensors\""),
     "model.safetensors.index.json:1:38: error: not valid JSON: duplicate object key "
     "near "
     "'\"a\"'\n"},
    {"{\"weight_map\":{},\"weight_map\":{}}", "model.safetensors.index.json:1:29: error: "
					      "not valid JSON: duplicate object key near "
					      "'\"weight_map\"'\n"},
};

static void test_indexes(void)
{
	enter_folder();
	for (size_t i = 0; i < COUNT(indexes); i++) {
		Said *s = said_new();
		put_file("model.safetensors.index.json", indexes[i].text,
			 strlen(indexes[i].text));
		CHECK(checkpoint_open(s->arena, s->diag,
				      "model.safetensors.index.json") == NULL);
		CHECK(diag_errors(s->diag) == 1);
		SAME_SAID(said(s), indexes[i].message);
		said_free(s);
	}
}

static void test_good(void)
{
	static const char text[] =
	    "{\"a\": 9007199254740993, \"b\": [1.5, true, null, \"\\u00e9\"]}";
	Said *s = said_new();

	json_t *j = json_text(s->arena, s->diag, "c.json", "", text, strlen(text));
	MUST(j != NULL);
	CHECK(json_integer_value(json_object_get(j, "a")) == 9007199254740993);
	SAME_TEXT(json_string_value(json_array_get(json_object_get(j, "b"), 3)),
		  "\xc3\xa9");
	SAME_TEXT(said(s), "");
	json_decref(j);
	said_free(s);
}

static void test_depth(void)
{
	Said *s = said_new();
	Text ok = text_new(s->arena), deep = text_new(s->arena);

	for (int i = 0; i < 256; i++)
		text_add(&ok, "[");
	for (int i = 0; i < 256; i++)
		text_add(&ok, "]");
	text_printf(&deep, "\n[\"[[[\\\"[[[\", %s]", ok.s);
	json_t *j = json_text(s->arena, s->diag, "c.json", "", ok.s, ok.n);
	CHECK(j != NULL);
	json_decref(j);
	CHECK(json_text(s->arena, s->diag, "c.json", "", deep.s, deep.n) == NULL);
	SAME_SAID(said(s), "c.json:2:1: error: JSON nested more than 256 deep\n");
	said_free(s);
}

/* jansson takes over 200 bytes for the three of `,{}`: over the budget, unlike `,0`. */
static void test_budget(void)
{
	enum { N = 300000 };
	static const struct { const char *entry, *message; } kinds[] = {
		{",0", ""},
		{",{}", "c.json:1:1: error: more memory is needed than JSON of this size "
			"justifies\n"},
	};

	for (size_t k = 0; k < COUNT(kinds); k++) {
		Said *s = said_new();
		Text t = text_new(s->arena);
		text_add(&t, "[0");
		for (int i = 1; i < N; i++)
			text_add(&t, kinds[k].entry);
		text_add(&t, "]");
		json_t *j = json_text(s->arena, s->diag, "c.json", "", t.s, t.n);
		SAME_SAID(said(s), kinds[k].message);
		CHECK(json_array_size(j) == (k == 0 ? N : 0));
		json_decref(j);
		said_free(s);
	}
}

static void test_no_file(void)
{
	Said *s = said_new();

	/* longer than a text may be: not looked at */
	CHECK(json_text(s->arena, s->diag, "c.json", "x: ", "", 100000001) == NULL);
	SAME_SAID(said(s), "c.json: error: x: 100000001 bytes of JSON; the limit is 100000000\n");
	said_free(s);
	s = said_new();

	enter_folder();
	CHECK(json_file(s->arena, s->diag, "nowhere.json") == NULL);
	mkfifo("fifo.json", 0600);
	CHECK(json_file(s->arena, s->diag, "fifo.json") == NULL);
	CHECK(json_file(s->arena, s->diag, ".") == NULL);
	CHECK(diag_errors(s->diag) == 3);
	CHECK(strstr(said(s), "nowhere.json: error: ") == said(s));
	CHECK(strstr(said(s), "fifo.json: error: ") != NULL);
	said_free(s);
}

SUITE("json",
	{"bad JSON", test_texts},
	{"bad indexes", test_indexes},
	{"good JSON", test_good},
	{"depth", test_depth},
	{"memory budget", test_budget},
	{"too long, no file, a FIFO, a folder", test_no_file})
