/* SPDX-License-Identifier: Apache-2.0
 * The verifier: for each rule a module that breaks it and the words it is refused with.
 */
#include "../../ir/ir.h"
#include "unit.h"

#include <stdlib.h>

typedef struct { const char *text, *why; } Case;        /* why NULL: it is fine */

static void check_text(Arena *a, const char *text, const char *wanted)
{
	Module *m = parse_module(a, diag_new(a, stdout), "case.mir", text);
	const char *why;

	if (!m)
		printf("%s\n", text);
	MUST(m != NULL);
	Text before = text_new(a), after = text_new(a);
	print_module(&before, m);
	bool ok = verify(m, &why);
	bool right = wanted ? !ok && strstr(why, wanted) != NULL : ok;
	if (!right)
		printf("%s\n--- wanted: %s\n--- said: %s\n", text, wanted ? wanted : "ok",
		       why);
	CHECK(right);
	print_module(&after, m);
	SAME_TEXT(after.s, before.s);           /* verifying changes nothing */
}

static void check(const char *before, const char *behind, const Case *cases, size_t n)
{
	Arena *a = arena_new();

	for (size_t i = 0; i < n; i++)
		check_text(a, arena_printf(a, "%s%s%s", before, cases[i].text, behind),
			   cases[i].why);
	arena_free(a);
}

#define RUN(before, behind, ...)                                \
	do {                                                    \
		static const Case cases[] = {__VA_ARGS__};      \
		check(before, behind, cases, COUNT(cases));     \
	} while (0)

static const char layer[] = " layer {width=4, experts=8, picks=2, group=0, losses=0} ";

static void calls(void)
{
	char head[200];

	snprintf(head, sizeof head, "module \"m\" {%s", layer);
	RUN(head,
	    " fn @layer(%x: f32[T, 4]) -> (f32[T, 4]) { return %x }"
	    " fn @a(%x: f32[T, 4]) -> (f32[T, 4]) { %0 = stop %x {call=0} : f32[T, 4]"
	    " return %0 }"
	    " fn @b(%x: f32[T, 4]) -> (f32[T, 4], f32) { %0 = mean %x {over=0} : f32[T]"
	    " %1 = mean %0 {over=tokens} : f32 return %x, %1 } }",
	    {"call m of a = @a {width=4}", NULL}, {"", "no call of that number"},
	    {"call m of a = @a {width=4} call n of b = @b {losses=1}", NULL},
	    {"call m of a = @a {losses=1}", "1 losses of 1 results"},
	    {"call m of b = @b {losses=2}", "2 losses of 2 results"},
	    {"call m of l = @layer {width=4}", "call m is of no function"},
	    {"call m of a = @a {picks=1} call n of a = @a {picks=1}",
	     "call n stands there twice"});
}

static void declarations(void)
{
	char head[200];

	snprintf(head, sizeof head,
		 "module \"m\" {%s experts E0 = 0..4 experts E1 = 4..8 ", layer);
	RUN(head,
	    " fn @layer() -> () { return }"
	    " fn @w() -> (f32[2]) { %0 = tensor {name=\"t\"} : f32[2] return %0 }"
	    " fn @g.0() -> (f32[2]) { %0 = tensor {name=\"t\"} : f32[2] return %0 }"
	    " fn @e() -> (f32[E1, 2]) { %0 = param {name=\"e\"} : f32[E1, 2] return %0 }"
	    " param e: f32[E1, 2] }",
	    {"", NULL}, {"experts E2 = 7..8", "E2 is empty or meets"},
	    {"experts E2 = 8..9", "experts up to 9, but the layer has 8"},
	    {"param a: f32[E2, 2]", "an expert range that does not exist"},
	    {"param a: f32[T, 2]", "parameter a is neither once nor"},
	    {"param a: rows[R0]", "parameter a is neither once nor"},
	    {"param a: rows", "rows are of a range"},
	    {"param a: f64[E0, 2]", "f64 is for what exists once"},
	    {"param a: f32 param a: f32[E0] param a: f32[E1]", NULL},
	    {"param a: f32 load=@none", "there is no function @none"},
	    {"param a: f32[2] load=@w", NULL},
	    {"param a: f32[3] load=@w", "@w must take nothing and give f32[3]"},
	    {"param a: f32[E0, 2] load=@g", "there is no function @g.1"},
	    {"param a: f32[E1, 2] load=@e", NULL},
	    {"param a: f32[E0, 2] load=@e", "@e is of another range"},
	    {"state s: f32[S, 2] per sequence init=0", NULL},
	    {"state s: f32[2] per sequence init=0", "must be of level S per sequence"},
	    {"state s: f32[S, 2] per call init=0", "must be of level S per sequence"},
	    {"param w: f32[3, 2] panel p: f32 streams=[w, w] n=3 k=2 cols=1 kpack=1",
	     NULL},
	    {"param w: f32[3, 2] panel p: f32 streams=[w] n=2 k=2 cols=1 kpack=1",
	     "stream w is no parameter [2, 2]"},
	    {"param w: f32[3, 2] panel p: f32 E0 streams=[w] n=3 k=2 cols=1 kpack=1",
	     "stream w is no parameter"},
	    {"panel p: f32 E2 streams=[w] n=3 k=2 cols=1 kpack=1",
	     "panel p is of no range"});
	RUN("module \"m\" {", "}",
	    {"", "the first function must be @layer"},
	    {"fn @f() -> () { return } fn @layer() -> () { return }", "must be @layer"},
	    {"layer {losses=1} fn @layer() -> () { return }", "1 losses of 0 results"});
}

#define ARGS "%x: f32[T, 4], %b: bool[T], %c: bool, %n: f32, %i: i32[T, 2]," \
	     " %p: index<8>[T, 2], %b16: bf16[T, 4], %s: f32[S, 4], %k: f32[T, 2, 4]," \
	     " %m: i32[3, 2, 16], %ms: i32[3, 2]"
#define DECLARATIONS                                                                     \
	" experts E0 = 0..4 experts E1 = 4..8 param w: bf16[3, 4] param g: f32[E0, 3, "  \
	"4]"                                                                             \
	" state st: f32[S, 4] per sequence init=0 state cnt: i32 per call init=0 "
#define FNS                                                                         \
	" fn @f(%a: f32[T, 4]) -> (f32[T], f32) { %0 = sum %a {over=0} : f32[T]"      \
	" %1 = mean %0 {over=tokens} : f32 return %0, %1 }"                          \
	" fn @e0(%a: f32[R0, 4]) -> (f32[R0, 4]) { return %a }"                      \
	" fn @e1(%a: f32[R1, 4]) -> (f32[R1, 4]) { return %a }"                      \
	" fn @wide(%a: f32[R1, 5]) -> (f32[R1, 4]) { %0 = slice %a {start=[0],"       \
	" size=[4], step=[1]} : f32[R1, 4] return %0 }"

static void sources(void)
{
	RUN("module \"m\" {" DECLARATIONS "fn @layer(" ARGS ") -> () {",
	    " return }" FNS
	    " fn @load() -> (f32) { %0 = tensor {name=\"t\"} : f32 return %0 } }",
	    {"%y = param {name=\"w\"} : bf16[3, 4]", NULL},
	    {"%y = param {name=\"g\"} : f32[E0, 3, 4]", NULL},
	    {"%y = param {name=\"g\"} : f32[E1, 3, 4]",
	     "no such parameter once an expert"},
	    {"%y = param {name=\"w\"} : f32[3, 4]", "must give bf16[3, 4]"},
	    {"%y = param {name=\"q\"} : f32", "no such parameter"},
	    {"%y = param {name=3} : f32", "has no name"},
	    {"%y = const {value=[1, 2]} : f32[2]", NULL},
	    {"%y = const {value=[1]} : f32[2, 3]", NULL},
	    {"%y = const {value=[1, 2]} : f32[3]", "2 numbers for f32[3]"},
	    {"%y = const {value=floats[]} : f32[3]", "0 numbers"},
	    {"%y = const {value=1} : f32", "no list of numbers"},
	    {"%y = const {value=[1]} : f32[T]", "numbers exist once"},
	    {"%y = const {value=[2]} : bool", "2 is no bool"},
	    {"%y = const {value=[0.5]} : i32", "0.5 is no i32"},
	    {"%y = const {value=[4]} : index<4>", "4 is no index<4>"},
	    {"%y = const {value=[-1]} : index<0>", NULL},
	    {"%y = const {value=[-2]} : index<4>", "-2 is no index"},
	    {"%y = iota : i32[4]", NULL}, {"%y = iota : i32", "gives one axis"},
	    {"%y = iota : index<3>[4]", "cannot count in"}, {"%y = tokens : f64", NULL},
	    {"%y = tokens : f32", "must give f64"},
	    {"%y = step : f64[2]", "must give f64"}, {"%y = position : i32[T]", NULL},
	    {"%y = position : i32", "must give i32[T]"},
	    {"%y = uniform {site=1} : f32[T, 3]", NULL},
	    {"%y = uniform {site=1, over=tokens} : f32[3]", NULL},
	    {"%y = uniform {site=1, over=tokens} : f32[T, 3]", "draws are one a token"},
	    {"%y = uniform {site=1, over=0} : f32[T, 3]", "over may only be tokens"},
	    {"%y = normal {site=1} : f32[3]", "draws are one a token"},
	    {"%y = normal : f32[T, 3]", "has no draw {site}"},
	    {"%y = normal {site=1} : bf16[T, 3]", "draws are f32"},
	    {"%y = tensor {name=\"t\"} : f32", "only load functions"},
	    {"%y = state {name=\"st\"} : f32[S, 4]", NULL},
	    {"%y = state {name=\"st\"} : f32[T, 4]", NULL},
	    {"%y = state {name=\"st\"} : f32[4]", "must give f32[S, 4]"},
	    {"%y = state {name=\"cnt\"} : i32[T]", "must give i32"},
	    {"%y = state {name=\"no\"} : i32", "no such state"},
	    {"next %s {name=\"st\"}", NULL}, {"next %x {name=\"st\"}", NULL},
	    {"next %n {name=\"st\"}", "the state holds f32[S, 4]"},
	    {"next %i {name=\"cnt\"}", "the state holds i32"},
	    {"defer %b {rows=3}", NULL}, {"defer %b", "has no {rows}"},
	    {"defer %b {rows=0}", "has no {rows}"},
	    {"defer %c {rows=3}", "one bool a token"}, {"defer %n {rows=3}", "one bool a token"},
	    {"defer %b {rows=3} defer %b {rows=4}", "stands twice"},
	    {"%y = repeat %n {max=2} : f32 { (%a: f32): defer %b {rows=1} yield %a, %c }",
	     "alone"});
}

static void types(void)
{
	RUN("module \"m\" {" DECLARATIONS "fn @layer(" ARGS ") -> () {", " return } }",
	    {"%y = add %x, %n : f32[T, 4]", NULL},
	    {"%y = add %x, %n : f32[T, 5]", "must give f32[T, 4]"},
	    {"%y = add %x, %n : bf16[T, 4]", "must give f32[T, 4]"},
	    {"%y = add %x : f32[T, 4]", "takes 2 operands"},
	    {"%y, %z = add %x, %x : f32, f32", "gives 1 results"},
	    {"%y = sum %x {over=3} : f32[T]", "has no axis 3"},
	    {"%y = concat %x, %x : f32[T, 8]", NULL}, {"%y = cast %x : bf16[T, 4]", NULL},
	    {"%y = cast %x : bf16[4]", "must give bf16[T, 4]"},
	    {"%y = cast %p : i32[T, 2]", NULL},
	    {"%y = cast %p {given=pick} : index<8>[T, 2]", NULL},
	    {"%y = cast %p : index<4>[T, 2]", "only `index` makes a choice"},
	    {"%y = cast %i : index<4>[T, 2]", "only `index` makes a choice"},
	    {"%y = cast %x : f64[T, 4]", "f64 is for what exists once"},
	    {"%y = index %i : index<8>[T, 2]", NULL},
	    {"%y = index %i : i32[T, 2]", "the axis must be known"},
	    {"%y = index %i : index<0>[T, 2]", "the axis must be known"},
	    {"%y = index %x : index<8>[T, 4]", "must be i32"},
	    {"%y = reshape %x : f32[T, 2, 2]", NULL},
	    {"%y = reshape %x : f32[T, 5]", "another number of entries"},
	    {"%y = reshape %x : f32[4]", "must give f32[T, 4]"},
	    {"%y = reshape %x : bf16[T, 4]", "must give f32[T, 4]"},
	    {"%y = blockwise %k {a=3, b=2} : f32[T, 4, 7]", NULL},
	    {"%y = blockwise %k {a=3, b=2} : f32[T, 3, 7]", "do not cover"},
	    {"%y = blockwise %k {a=3, b=2} : f32[T, 4, 9]", "do not cover"},
	    {"%y = blockwise %k {b=2} : f32[T, 4, 7]", "do not cover"},
	    {"%y = blockwise %k {a=9223372036854775807, b=2} : f32[T, 4, 7]",
	     "do not cover"},
	    {"%y = blockwise %x {a=1, b=1} : f32[T, 4]", "the two axes"},
	    {"%y = mxfp4 %m, %ms : f32[3, 64]", NULL},
	    {"%y = mxfp4 %m, %ms : f32[3, 32]", "must give f32[3, 64]"},
	    {"%y = mxfp4 %ms, %m : f32[3, 64]", "blocks of 16 bytes"},
	    {"%y = mxfp4 %x, %ms : f32[3, 64]", "blocks of 16 bytes"},
	    {"%y = mxfp4 %m, %m : f32[3, 64]", "an exponent for each block"},
	    {"%y = neg %x : f32[R2, 4]", "an expert range that does not exist"},
	    {"%y = neg %x : f64[T, 4]", "f64 is for what exists once"},
	    {"kernel {kind=map, over=T} { yield }", "a kernel, but no target"},
	    {"%y = unpack {panel=\"p\", stream=0} : f32", "no such {panel}"});
}

static void routing(void)
{
	RUN("module \"m\" {" DECLARATIONS "fn @layer(" ARGS ") -> () {"
	    " %r = group %p {first=0, count=4} : rows[R0]"
	    " %r1 = group %p {first=4, count=4} : rows[R1]"
	    " %v = dispatch %x, %r : f32[R0, 4]",
	    " return }" FNS " }",
	    {"%y = experts %p, %x {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 2, 4]", NULL},
	    {"%y = experts %p, %k {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 2, 4]", NULL},
	    {"%y = experts %p, %x {fns=[@e0], counts=[4]} : f32[T, 2, 4]",
	     "choices of 8"},
	    {"%y = experts %p, %x {fns=[@e0, @e1], counts=[4]} : f32[T, 2, 4]",
	     "one length"},
	    {"%y = experts %p, %x {fns=[@e0, @e1], counts=[4, 0]} : f32[T, 2, 4]",
	     "positive"},
	    {"%y = experts %p, %x {fns=[@e1, @e0], counts=[4, 4]} : f32[T, 2, 4]",
	     "@e1 must take rows of the range 0 .. 4"},
	    {"%y = experts %p, %x {fns=[@e0, @wide], counts=[4, 4]} : f32[T, 2, 4]",
	     "@wide takes f32[R1, 5]"},
	    {"%y = experts %p, %x {fns=[@e0, @f], counts=[4, 4]} : f32[T, 2, 4]",
	     "take one value and give one"},
	    {"%y = experts %p, %x {fns=[@e0, @no], counts=[4, 4]} : f32[T, 2, 4]",
	     "no function @no"},
	    {"%y = experts %p, %x {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 2, 5]",
	     "gives f32"},
	    {"%y = experts %p, %x {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 3, 4]",
	     "a vector for each choice"},
	    {"%y = experts %i, %x {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 2, 4]",
	     "must be choices"},
	    {"%y = experts %p, %n {fns=[@e0, @e1], counts=[4, 4]} : f32[T, 2, 4]",
	     "one vector, or one for each"},
	    {"%y = group %p {first=0, count=5} : rows[R0]", "{first} and {count}"},
	    {"%y = group %i {first=0, count=4} : rows[R0]", "a token's choices"},
	    {"%y = group %p {first=0, count=4} : f32[R0]", "gives rows"},
	    {"%y = dispatch %k, %r {slot=1} : f32[R0, 4]", NULL},
	    {"%y = dispatch %k, %r : f32[R0, 4]", "must give f32[R0, 2, 4]"},
	    {"%y = dispatch %x, %x : f32[R0, 4]", "operand 1 must be rows"},
	    {"%y = dispatch %x, %r1 : f32[R0, 4]", "is not of the rows"},
	    {"%y = dispatch %v, %r : f32[R0, 4]", "takes what tokens have"},
	    {"%y = dispatch %b, %r {slot=1} : bool[R0]", "an axis of slots"},
	    {"%y = collect %v, %r : f32[T, 2, 4]", NULL},
	    {"%y = collect %v, %r : f32[T, 2, 5]", "rows are f32[R0, 4]"},
	    {"%y = collect %v, %r : f32[T, 4]", "gives [T, k, ..]"},
	    {"%y = collect %v, %r1 : f32[T, 2, 4]", "is not of the rows"},
	    {"%w = cast %p : f32[T, 2] %y = combine %v, %w, %r : f32[T, 4]", NULL},
	    {"%w = cast %p : f32[T, 2] %y = combine %v, %w, %r : bf16[T, 4]",
	     "must give f32"},
	    {"%y = combine %v, %n, %r : f32[T, 4]", "weights must be [T, k]"},
	    {"%y = combine %v, %p, %r : f32[T, 4]", "choices cannot be summed"},
	    {"%y = combine %x, %i, %r : f32[T, 4]", "is not of the rows"});
}

static void regions(void)
{
	RUN("module \"m\" {" DECLARATIONS "fn @layer(" ARGS ") -> () {", " return } }",
	    {"%y = if %c : f32[T, 4] { yield %x } { yield %x }", NULL},
	    {"%y = if %b : f32[T, 4] { yield %x } { yield %x }", "must be one bool"},
	    {"%y = if %c : f32[T, 4] { yield %x }", "has 2 regions, not 1"},
	    {"%y = if %c : f32[T, 4] { yield %x } { yield }", "region 1 must yield 1"},
	    {"%y = if %c : f32[T, 4] { yield %x } { yield %b16 }",
	     "region 1 yields bf16"},
	    {"%y = if %c : f32[T, 4] { (%q: f32): yield %x } { yield %x }",
	     "no arguments"},
	    {"%y = if %c : f32[T, 4] { } { yield %x }", "must end in yield"},
	    {"%y = if %c : f32[T, 4] { %q = neg %x : f32[T, 4] } { yield %x }",
	     "must end in yield"},
	    {"%y = if %c : f32[T, 4] { yield %x yield %x } { yield %x }", "ops follow"},
	    {"%y = if %c : f32[T, 4] { return } { yield %x }", "not regions"},
	    {"%y = where %b : f32[T, 4] { yield %x } { yield %x }", NULL},
	    {"%y = where %b : f32[T, 4] { %o = const {value=[1]} : f32[4] yield %o }"
	     " { yield %x }",
	     NULL},
	    {"%y = where %b : f32[4] { %o = const {value=[1]} : f32[4] yield %o }"
	     " { yield %x }",
	     "region 1 yields f32[T, 4]"},
	    {"%y = where %c : f32[T, 4] { yield %x } { yield %x }", "one bool a token"},
	    {"%y = repeat %x {max=3} : f32[T, 4] { (%v: f32[T, 4]): yield %v, %c }",
	     NULL},
	    {"%y = repeat %n {max=3} : f32[T, 4] { (%v: f32[T, 4]):"
	     " %s1 = sum %v {over=0} : f32[T] yield %v, %c }",
	     "value 0 changes its type"},
	    {"%y = repeat %x : f32[T, 4] { (%v: f32[T, 4]): yield %v, %c }", "no {max}"},
	    {"%y = repeat %x {max=0} : f32[T, 4] { (%v: f32[T, 4]): yield %v, %c }",
	     "no {max}"},
	    {"%y = repeat %x {max=3} : f32[T, 4] { yield %x, %c }", "as many values"},
	    {"%y = repeat %x {max=3} : f32[T, 4] { (%v: f32[T, 4]): yield %v }",
	     "must yield 2 values"},
	    {"%y = repeat %x {max=3} : f32[T, 4] { (%v: f32[T, 4]): yield %v, %b }",
	     "must be one bool"},
	    {"%y = repeat %x {max=3} : f32[T, 4] { (%v: f32[T, 5]): yield %x, %c }",
	     "value 0 changes its type"},
	    {"%f, %o = scan %s : f32[S, 4], f32[T, 4] { (%v: f32[T, 4]): yield %x, %v }",
	     NULL},
	    {"%f = scan %s : f32[S, 4] { (%v: f32[S, 4]): yield %v }", "state 0 changes"},
	    {"%f = scan %x : f32[S, 4] { (%v: f32[T, 4]): yield %v }", "state 0 changes"},
	    {"%f = scan %s : f32[T, 4] { (%v: f32[T, 4]): yield %v }",
	     "must be of level S"},
	    {"%f, %o = scan %s : f32[S, 4], f32[S, 4] { (%v: f32[T, 4]): yield %v, %v }",
	     "result 1 must be of level T"},
	    {"%f = scan %s : f32[S, 4] { (%v: f32[T, 4]): yield %b16 }", "yields bf16"},
	    {"scan { yield }", "takes states"}, {"yield", "ends regions, not functions"},
	    {"return", "ops follow"}, {"%y = neg %x : f32[T, 4] return", "ops follow"});
}

static void calls_and_returns(void)
{
	RUN("module \"m\" {" DECLARATIONS "fn @layer(" ARGS ") -> (f32[T, 4]) {",
	    "}" FNS "}", {"return %x", NULL}, {"return", "the function gives 1 values"},
	    {"return %b16", "result 0 must be f32[T, 4], not bf16[T, 4]"},
	    {"return %s", "result 0 must be"},
	    {"yield %x", "ends regions, not functions"},
	    {"", "a function must end in return"},
	    {"%y, %z = call %x {fn=@f} : f32[T], f32 return %x", NULL},
	    {"%y, %z = call %x {fn=@q} : f32[T], f32 return %x", "no function @q"},
	    {"%y, %z = call %x : f32[T], f32 return %x", "has no {fn}"},
	    {"%y = call %x {fn=@f} : f32[T] return %x", "@f takes 1 values and gives 2"},
	    {"%y, %z = call %b16 {fn=@f} : f32[T], f32 return %x", "argument 0 must be"},
	    {"%y, %z = call %x {fn=@f} : f32[T], f32[T] return %x", "result 1 is f32"});
	RUN("module \"m\" { fn @layer() -> () { call {fn=@a} return }", "}",
	    {"fn @a() -> () { call {fn=@b} return } fn @b() -> () { return }", NULL},
	    {"fn @a() -> () { call {fn=@b} return } fn @b() -> () { call {fn=@a} return "
	     "}",
	     "calls itself"},
	    {"fn @a() -> () { call {fn=@layer} return }", "@layer calls itself"});
}

/* Each calls the next twice: 2^30 ops when inlined. */
static void calls_do_not_explode(void)
{
	Arena *a = arena_new();
	Text t = text_new(a);

	text_add(&t, "module \"m\" { fn @layer() -> () { call {fn=@f0} return }");
	for (int i = 0; i < 30; i++)
		text_printf(&t,
			    "fn @f%d() -> () { call {fn=@f%d} call {fn=@f%d} return }", i,
			    i + 1, i + 1);
	text_add(&t, "fn @f30() -> () { return } }");
	check_text(a, t.s, "is of more than 2^24 ops");
	t = text_new(a);
	text_add(&t, "module \"m\" { fn @layer() -> () { call {fn=@f0} return }");
	for (int i = 0; i < 1000; i++)
		text_printf(&t, "fn @f%d() -> () { call {fn=@f%d} return }", i, i + 1);
	text_add(&t, "fn @f1000() -> () { return } }");
	check_text(a, t.s, "nested more than 256 deep");
	arena_free(a);
}

static void kernels(void)
{
	RUN("module \"m\" { target \"x86-64-v3\"" DECLARATIONS
	    "panel p: f32 E0 streams=[g] n=3 k=4 cols=16 kpack=1 "
	    "fn @layer(" ARGS ") -> () {",
	    " return }" FNS " }",
	    {"%y = kernel {kind=map, over=T} : f32[T, 4] { %v = neg %x : f32[T, 4] yield "
	     "%v }",
	     NULL},
	    {"%y = kernel {kind=map, over=R1} : f32[T, 4] { yield %x }", NULL},
	    {"%y = kernel {kind=map, over=R2} : f32[T, 4] { yield %x }",
	     "{over} must be"},
	    {"%y = kernel {kind=map, over=Q} : f32[T, 4] { yield %x }", "{over} must be"},
	    {"%y = kernel {kind=map} : f32[T, 4] { yield %x }", "{over} must be"},
	    {"%y = kernel {kind=magic, over=T} : f32[T, 4] { yield %x }",
	     "{kind} must be"},
	    {"%y = kernel {kind=map, over=T} : f32[T, 4] { yield %n }", "yields f32 for"},
	    {"%y = kernel {kind=map, over=T} : f32[T, 4] { yield }", "must yield 1"},
	    {"%y = kernel {kind=map, over=T} : f32[T, 4] { (%q: f32): yield %x }",
	     "no arguments"},
	    {"kernel {kind=map, over=T} { kernel {kind=map, over=T} { yield } yield }",
	     "a kernel in a kernel"},
	    {"%y = neg %x : f32[T, 4]", "stands outside of a kernel"},
	    {"%y = if %c : f32[T, 4] { %z = neg %x : f32[T, 4] yield %z } { yield %x }",
	     "stands outside of a kernel"},
	    {"%y = state {name=\"cnt\"} : i32 next %y {name=\"cnt\"}", NULL},
	    {"kernel {kind=map, over=T} { %u = unpack {panel=\"p\", stream=0} :"
	     " f32[E0, 3, 4] yield }",
	     NULL},
	    {"kernel {kind=map, over=T} { %u = unpack {panel=\"p\", stream=\"g\"} :"
	     " f32[E0, 3, 4] yield }",
	     NULL},
	    {"kernel {kind=map, over=T} { %u = unpack {panel=\"p\", stream=1} :"
	     " f32[E0, 3, 4] yield }",
	     "has no such {stream}"},
	    {"kernel {kind=map, over=T} { %u = unpack {panel=\"p\", stream=0} :"
	     " f32[3, 4] yield }",
	     "must give f32[E0, 3, 4]"});
}

/* ---- what no text can say ---- */

typedef struct {
	Arena  *a;
	Module *m;
	Fn     *fn;
	Value  *x;
	Op     *neg, *inner, *branch, *end;
} Built;

/* layer(x, c): n = neg x;  if c { e = exp n; yield } { yield };  return */
static Built build(void)
{
	Built b = {.a = arena_new()};
	Loc loc = {0};

	b.m = module_new(b.a, "built");
	b.fn = fn_new(b.m, "layer");
	Region *body = b.fn->body;
	b.x = region_arg(b.m, body, type_scalar(DT_f32, LV_TOKEN), "x");
	Value *c = region_arg(b.m, body, type_scalar(DT_bool, LV_ONCE), "c");
	b.neg = emit1(b.m, body, OP_neg, b.x, loc)->def;
	b.branch = op_new(b.m, OP_if, 1, &c, 0);
	op_append(body, b.branch);
	Region *then = op_add_region(b.m, b.fn, b.branch);
	b.inner = emit1(b.m, then, OP_exp, b.neg->outs[0], loc)->def;
	emit_op(b.m, then, OP_yield, 0, NULL, loc);
	emit_op(b.m, op_add_region(b.m, b.fn, b.branch), OP_yield, 0, NULL, loc);
	emit_op(b.m, body, OP_return, 0, NULL, loc);
	b.end = body->last;
	return b;
}

static void refused(Built *b, const char *wanted)
{
	const char *why = "";
	bool ok = verify(b->m, &why);

	if (ok || !strstr(why, wanted))
		printf("wanted: %s\nsaid: %s\n", wanted, why);
	CHECK(!ok && strstr(why, wanted) != NULL);
	arena_free(b->a);
}

static void broken_structure(void)
{
	const char *why;
	Built b = build();

	CHECK(verify(b.m, &why));
	op_unlink(b.neg);
	op_insert_before(b.end, b.neg);
	refused(&b, "operand 0 is not defined here");
	b = build();
	b.end->nargs = 1;
	b.end->args = &b.inner->outs[0];
	refused(&b, "operand 0 is not defined here");
	b = build();
	b.neg->args[0] = NULL;
	refused(&b, "operand 0 is not defined here");
	b = build();
	b.neg->args[0] = b.neg->outs[0];
	refused(&b, "operand 0 is not defined here");
	b = build();
	b.neg->outs[0]->def = b.inner;
	refused(&b, "result 0 is not its own");
	b = build();
	b.inner->in = b.fn->body;
	refused(&b, "its ops are not linked");
	b = build();
	b.branch->prev = NULL;
	refused(&b, "its ops are not linked");
	b = build();
	b.branch->regions[0]->op = NULL;
	refused(&b, "a region that is another's");
	b = build();
	b.x->index = 1;
	refused(&b, "argument 0 of a region is not its own");
	b = build();
	fn_new(b.m, "layer");
	refused(&b, "two functions @layer");
	b = build();
	attr_int(b.m, b.neg, "a", 1);
	attr_int(b.m, b.neg, "b", 1);
	b.neg->attrs[1].name = "a";
	refused(&b, "two attributes 'a'");
	b = build();
	b.neg->outs[0]->type.dtype = DT_COUNT;
	refused(&b, "a type that is none");
	b = build();
	b.x->type = type_of(DT_f32, LV_TOKEN, 0, 1, (int64_t[]){0});
	refused(&b, "an axis without entries");
}

static void messages_name_function_and_op(void)
{
	Built b = build();
	const char *why;

	b.neg->outs[0]->type.dtype = DT_i32;
	CHECK(!verify(b.m, &why));
	SAME_TEXT(why, "@layer: %0 = neg %x : i32[T]: must give f32[T]");
	arena_free(b.a);
}

SUITE("verify", {"declarations", declarations}, {"sources", sources}, {"types", types},
      {"routing", routing}, {"regions", regions},
      {"calls and returns", calls_and_returns},
      {"layers that a model calls", calls},
      {"calls do not explode", calls_do_not_explode}, {"kernels", kernels},
      {"broken structure", broken_structure},
      {"messages name function and op", messages_name_function_and_op})
