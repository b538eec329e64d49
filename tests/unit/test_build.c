/* SPDX-License-Identifier: Apache-2.0
 * Making and changing: attributes, links between ops, captures, copies of regions. */
#include "../../ir/ir.h"
#include "unit.h"

typedef struct {
	Arena  *a;
	Module *m;
	Fn     *fn;
	Value  *x, *n, *out;
	Op     *loop;
} Built;

/* layer(x, c): n = neg x;  y = repeat x { (v): s = add v, n; t = mul s, s; yield t, c }
 */
static Built build(void)
{
	Built b = {.a = arena_new()};
	Loc loc = {"a.moe", 1, 1, 0};

	b.m = module_new(b.a, "built");
	b.fn = fn_new(b.m, "layer");
	Region *body = b.fn->body;
	b.x = region_arg(b.m, body, type_scalar(DT_f32, LV_TOKEN), "x");
	Value *c = region_arg(b.m, body, type_scalar(DT_bool, LV_ONCE), "c");
	b.n = emit1(b.m, body, OP_neg, b.x, loc);
	b.n->name = "n";
	b.loop = op_new(b.m, OP_repeat, 1, &b.x, 1);
	b.loop->outs[0]->type = b.x->type;
	b.loop->outs[0]->name = "y";
	attr_int(b.m, b.loop, "max", 3);
	op_append(body, b.loop);
	Region *r = op_add_region(b.m, b.fn, b.loop);
	Value *v = region_arg(b.m, r, b.x->type, "v");
	Value *s = emit2(b.m, r, OP_add, v, b.n, loc);
	Value *t = emit2(b.m, r, OP_mul, s, s, loc);
	emit_op(b.m, r, OP_yield, 2, (Value *[]){t, c}, loc);
	b.out = b.loop->outs[0];
	emit_op(b.m, body, OP_return, 1, &b.out, loc);
	b.fn->outs = &b.out->type;
	b.fn->nouts = 1;
	return b;
}

static void holds(Built *b)
{
	const char *why;
	bool ok = verify(b->m, &why);

	if (!ok)
		printf("%s\n", why);
	CHECK(ok);
}

static void attributes(void)
{
	Built b = build();
	Op *op = b.loop;

	attr_word(b.m, op, "over", "tokens");
	attr_ints(b.m, op, "is", (int64_t[]){1, 2}, 2);
	attr_fns(b.m, op, "fn", (const char *[]){"f"}, 1);
	attr_float(b.m, op, "f", 0.5);
	attr_str(b.m, op, "over", "sequence");          /* replaced, in its place */
	CHECK(op->nattrs == 5 && attr_find(op, "over") == &op->attrs[1]);
	SAME_TEXT(attr_get_str(op, "over", ""), "sequence");
	SAME_TEXT(attr_get_str(op, "fn", ""), "f");
	SAME_TEXT(attr_get_str(op, "is", "none"), "none");
	CHECK(attr_get_int(op, "max", 0) == 3 && attr_get_int(op, "f", 7) == 7);
	attr_drop(op, "over");
	attr_drop(op, "over");
	CHECK(op->nattrs == 4 && !attr_find(op, "over"));
	SAME_TEXT(op->attrs[1].name, "is");
	attr_ints(b.m, op, "is", attr_find(op, "is")->is, 1);   /* from itself */
	CHECK(attr_find(op, "is")->n == 1 && attr_find(op, "is")->is[0] == 1);
	arena_free(b.a);
}

static void links(void)
{
	Built b = build();
	Region *body = b.fn->body;
	Op *neg = body->first, *end = body->last;

	Op *copy = op_new(b.m, OP_neg, 1, &b.x, 1);
	copy->outs[0]->type = b.x->type;
	op_insert_before(neg, copy);
	CHECK(body->first == copy && neg->prev == copy && copy->in == body);
	holds(&b);
	op_unlink(copy);
	CHECK(body->first == neg && !neg->prev && !copy->in && !copy->next);
	op_unlink(copy);
	op_unlink(end);
	CHECK(body->last == b.loop && !b.loop->next);
	op_append(body, end);
	holds(&b);
	arena_free(b.a);
}

static void uses(void)
{
	Built b = build();

	CHECK(value_uses(b.fn, b.x) == 2 && value_uses(b.fn, b.n) == 1);
	CHECK(value_used(b.fn, b.out));
	value_replace(b.fn, b.n, b.x);                  /* inside the region as well */
	CHECK(!value_used(b.fn, b.n) && value_uses(b.fn, b.x) == 3);
	op_unlink(b.n->def);
	holds(&b);
	arena_free(b.a);
}

static void captures(void)
{
	Built b = build();
	int n;
	Value **found = region_captures(b.a, b.loop->regions[0], &n);

	CHECK(n == 2 && found[0] == b.n && found[1] == b.fn->body->args[1]);
	region_captures(b.a, b.fn->body, &n);
	CHECK(n == 0);
	arena_free(b.a);
}

static void copies(void)
{
	Built b = build();
	ValueMap map = {0};

	map_value(b.a, &map, b.n, b.x);
	Op *copy = op_clone(b.m, b.fn, b.loop, &map);
	CHECK(!copy->in && copy->nregions == 1 && copy->loc.line == b.loop->loc.line);
	op_insert_before(b.fn->body->last, copy);
	CHECK(mapped(&map, b.out) == copy->outs[0] && mapped(&map, b.x) == b.x);
	Op *add = copy->regions[0]->first;
	CHECK(add->args[0] == copy->regions[0]->args[0] && add->args[1] == b.x);
	CHECK(add->in == copy->regions[0] && add->next->args[1] == add->outs[0]);
	attr_int(b.m, copy, "max", 9);
	CHECK(attr_get_int(b.loop, "max", 0) == 3);     /* nothing is shared */
	holds(&b);
	Text t = text_new(b.a);
	print_module(&t, b.m);
	CHECK(strstr(t.s, "%y.1 = repeat %x {max=9} : f32[T] {\n      (%v.1: f32[T]):") !=
	      NULL);
	arena_free(b.a);
}

static void finding(void)
{
	Built b = build();
	Fn *f = fn_new(b.m, "f");
	Param once = {.name = "w", .type = type_scalar(DT_f32, LV_ONCE)}, each = once;

	each.type.level = LV_EXPERT;
	each.type.range = 1;
	vec_push(b.a, &b.m->params, once);
	vec_push(b.a, &b.m->params, each);
	CHECK(param_find(b.m, "w", -1) == &b.m->params.at[0]);
	CHECK(param_find(b.m, "w", 1) == &b.m->params.at[1] && !param_find(b.m, "w", 0));
	CHECK(fn_find(b.m, "f") == f && !fn_find(b.m, "g"));
	fn_remove(b.m, f);
	CHECK(!fn_find(b.m, "f") && b.m->fns == b.fn);
	CHECK(!state_find(b.m, "s") && !panel_find(b.m, "p"));
	arena_free(b.a);
}

static void type_equality(void)
{
	Type a = type_of(DT_f32, LV_TOKEN, 0, 2, (int64_t[]){2, 3}), b = a;

	b.range = 5;                    /* means nothing at level T */
	CHECK(type_equal(&a, &b) && type_elems(&a) == 6);
	a.level = b.level = LV_ROW;
	CHECK(!type_equal(&a, &b) && shape_equal(&a, &b));
	b = a;
	b.axis = 7;                     /* nor an axis of what is no index */
	CHECK(type_equal(&a, &b));
	a.dtype = b.dtype = DT_index;
	CHECK(!type_equal(&a, &b));
	CHECK(level_join(LV_ONCE, LV_SEQ) == LV_SEQ &&
	      level_join(LV_ROW, LV_EXPERT) == LV_ROW);
}

SUITE("build", {"attributes", attributes}, {"links", links}, {"uses", uses},
      {"captures", captures}, {"copies", copies}, {"finding", finding},
      {"type equality", type_equality})
