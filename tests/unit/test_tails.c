/* SPDX-License-Identifier: Apache-2.0
 * Every micro-kernel with every tail: tiles of all heights, panels and rows of all remainders
 * of vectors and k-packs, k in blocks, in arrays that end where memory ends or begin where it
 * begins.  Both experts see every token: as many rows as there are tokens. */
// libs: guarded foreign backend passes moert dl pthread
#include "native.h"
#include "unit.h"

/* Contractions over tokens (the router's with its tail) and over rows, with every sink: a
 * gather, two streams and an activation; a combine; an epilogue that adds. */
static const char source[] =
	"module \"tails\" {\n"
	"  layer {width=H, experts=2, picks=2, group=0, losses=0}\n"
	"  experts E0 = 0..2\n"
	"  param router: B[2, H]\n"
	"  param gate: B[E0, I, H]\n"
	"  param up: B[E0, I, H]\n"
	"  param down: B[E0, H, I]\n"
	"  param side: B[H, H]\n"
	"  fn @layer(%x: A[T, H]) -> (y: A[T, H]) {\n"
	"    %r = param {name=\"router\"} : B[2, H]\n"
	"    %logits = linear %x, %r : f32[T, 2]\n"
	"    %p = softmax %logits {over=-1} : f32[T, 2]\n"
	"    %pick = topk %p {k=2} : index<2>[T, 2]\n"
	"    %weight = gather %p, %pick : f32[T, 2]\n"
	"    %q = stop %pick {given=pick} : index<2>[T, 2]\n"
	"    %w = stop %weight {given=gate} : f32[T, 2]\n"
	"    %e = experts %q, %x {fns=[@expert], counts=[2]} : f32[T, 2, H]\n"
	"    %s = matmul %w, %e : f32[T, H]\n"
	"    %side = param {name=\"side\"} : B[H, H]\n"
	"    %t = linear %x, %side : f32[T, H]\n"
	"    %sum = add %s, %t : f32[T, H]\n"
	"    %y = cast %sum : A[T, H]\n"
	"    return %y\n"
	"  }\n"
	"  fn @expert(%x: A[R0, H]) -> (f32[R0, H]) {\n"
	"    %g = param {name=\"gate\"} : B[E0, I, H]\n"
	"    %a = linear %x, %g : f32[R0, I]\n"
	"    %s = sigmoid %a : f32[R0, I]\n"
	"    %silu = mul %a, %s : f32[R0, I]\n"
	"    %u = param {name=\"up\"} : B[E0, I, H]\n"
	"    %b = linear %x, %u : f32[R0, I]\n"
	"    %h = mul %silu, %b : f32[R0, I]\n"
	"    %c = cast %h : A[R0, I]\n"
	"    %d = param {name=\"down\"} : B[E0, H, I]\n"
	"    %y = linear %c, %d : f32[R0, H]\n"
	"    return %y\n"
	"  }\n"
	"}\n";

typedef struct { int64_t h, i; const char *a, *b; } Shape;

/* A, B, H and I where they stand as words. */
static char *source_of(Arena *arena, const Shape *s)
{
	Text t = text_new(arena);

	for (const char *at = source; *at; at++) {
		bool word = at > source && strchr("[ :=", at[-1]) && strchr("[],", at[1]);
		if (word && *at == 'A')
			text_add(&t, s->a);
		else if (word && *at == 'B')
			text_add(&t, s->b);
		else if (word && (*at == 'H' || *at == 'I'))
			text_printf(&t, "%lld", (long long)(*at == 'H' ? s->h : s->i));
		else
			text_addn(&t, at, 1);
	}
	return t.s;
}

/* Other tiles than the schedule's: rows, vectors a stream, k in a block. */
static void set_tiles(Module *m, const Target *t, int64_t rows, int64_t each, int64_t kblock)
{
	for (Op *k = m->fns->body->first; k; k = k->next) {
		int64_t streams = 0;
		if (k->kind != OP_kernel || !attr_find(k, "rows"))
			continue;
		for (const Op *op = k->regions[0]->first; op; op = op->next)
			streams += op->kind == OP_linear;
		attr_int(m, k, "rows", rows);
		attr_int(m, k, "vectors", each * streams);
		attr_int(m, k, "cols", each * t->vector_bits / 32);
		attr_int(m, k, "kblock", kblock);
		attr_int(m, k, "together", each);
		attr_int(m, k, "rblock", rows * each);
	}
}

static void narrow(Module *m, const Target *t)
{
	set_tiles(m, t, 1, 1, 2);
}

static void medium(Module *m, const Target *t)
{
	set_tiles(m, t, 5, 2, 6);
}

static void compare(const Target *target, const Shape *s, void (*change)(Module *, const Target *),
		    bool under)
{
	enum { MOST = 2 * 6 + 1 };      /* two of the highest tiles, and a row */
	static const PassOptions options = {.verify = true};
	Arena *arena = arena_new();
	Diag *diag = diag_new(arena, stderr);
	char *text = source_of(arena, s);
	Native n = {.arena = arena, .target = target, .options = &options, .change = change,
		    .m = parse_module(arena, diag, "tails.mir", text),
		    .reference = parse_module(arena, diag, "tails.mir", text), .under = under};
	MUST(n.m && n.reference);
	bool ok = native_open(&n);
	for (int64_t t = 0; ok && t <= MOST; t++) {
		NativeCall c = {.tokens = t, .threads = 1 + t % 2, .pad = t % 3};
		NativeReport r;
		ok = native_compare(&n, &c, &r) && r.worst <= 1;
		if (!ok)
			printf("%s, x %s, weights %s, width %lld, hidden %lld, %lld tokens: "
			       "worst %g\n", target->name, s->a, s->b, (long long)s->h,
			       (long long)s->i, (long long)t, r.worst);
	}
	CHECK(ok);
	native_close(&n);
	arena_free(arena);
}

/* Around the vector width and the panels of each stream, which are up to four vectors. */
static void compare_shapes(const Target *target, int from, int step)
{
	static const char *const types[][2] = {{"f32", "f32"}, {"f32", "bf16"}, {"f32", "f16"},
					       {"bf16", "bf16"}};
	static void (*const changes[])(Module *, const Target *) = {NULL, narrow, medium};
	int64_t l = target->vector_bits / 32;
	const int64_t widths[][2] = {{1, 1},         {l - 1, l + 1}, {l + 1, 2 * l - 1},
				     {3, 2 * l + 1}, {3 * l + 2, l}, {4 * l + 1, 3 * l - 1}};
	int number = 0;

	for (size_t i = 0; i < COUNT(types); i++)
		for (size_t j = 0; j < COUNT(widths); j++)
			for (size_t k = 0; k < COUNT(changes); k++) {
				Shape s = {widths[j][0], widths[j][1], types[i][0],
					   types[i][1]};
				if (number++ % step == from)
					compare(target, &s, changes[k], (i + j + k) % 2);
			}
}

static void test_here(void)
{
	for (int t = 0; t < target_count; t++) {
		if (!target_is_host(&targets[t]))
			continue;
		if (target_host_has(&targets[t]))
			compare_shapes(&targets[t], t % 2, 2);
		else
			SKIP_PART(targets[t].name, "the CPU lacks a feature");
	}
}

static void test_there(void)
{
	for (int t = 0; t < target_count; t++) {
		Arena *a = arena_new();
		const char *lacks = target_is_host(&targets[t])
				    ? NULL : foreign_lacks(a, &targets[t]);
		if (lacks)
			SKIP_PART(targets[t].name, lacks);
		else if (!target_is_host(&targets[t]))
			compare_shapes(&targets[t], t % 11, 11);
		arena_free(a);
	}
}

SUITE("tails", {"on this machine", test_here}, {"under qemu", test_there})
