/* SPDX-License-Identifier: Apache-2.0
 * verify_op: the rules of single ops: inferred types are inferred again, the ops of rule
 * `attr` each have theirs below, in verify_route.c or in verify_region.c. */
#include "verify.h"

#include <math.h>
#include <string.h>

static const Type *out(const Op *op)
{
	return &op->outs[0]->type;
}

static const char *name_of(Verify *v, const Op *op)
{
	const Attr *a = attr_find(op, "name");

	return rule(v, a && (a->kind == AT_STR || a->kind == AT_WORD), "has no name")
		   ? a->s
		   : NULL;
}

static bool has_type(Verify *v, const Op *op, const Type *wanted)
{
	return rule(v, type_equal(out(op), wanted), "must give %s", type_text(v, wanted));
}

static bool verify_param(Verify *v, const Op *op)
{
	const char *name = name_of(v, op);
	const Type *t = out(op);

	if (!name)
		return false;
	const Param *p = verify_declared(v, "parameter", name,
					 t->level == LV_EXPERT ? t->range : -1);
	return rule(v, p, "there is no such parameter once%s",
		    t->level == LV_EXPERT ? " an expert" : "") &&
	       has_type(v, op, &p->type);
}

static bool fits(double x, const Type *t)
{
	if (t->dtype == DT_bool)
		return x == 0 || x == 1;
	if (t->dtype == DT_i32)
		return x == rint(x) && fabs(x) <= 0x1p31 && x != 0x1p31;
	if (t->dtype == DT_index)
		return x == rint(x) && x >= -1 && (x < (double)t->axis || x == -1);
	return true;
}

static bool verify_const(Verify *v, const Op *op)
{
	const Attr *a = attr_find(op, "value");

	if (!rule(v, a && a->kind == AT_FLOATS, "has no list of numbers {value}") ||
	    !rule(v, out(op)->level == LV_ONCE && out(op)->dtype != DT_rows,
		  "numbers exist once") ||
	    !rule(v, a->n == 1 || a->n == type_elems(out(op)), "%d numbers for %s", a->n,
		  type_text(v, out(op))))
		return false;
	for (int i = 0; i < a->n; i++)
		if (!rule(v, fits(a->fs[i], out(op)), "%g is no %s", a->fs[i],
			  type_text(v, out(op))))
			return false;
	return true;
}

static bool verify_iota(Verify *v, const Op *op)
{
	const Type *t = out(op);

	return rule(v, t->rank == 1 && t->level == LV_ONCE, "gives one axis, once") &&
	       rule(v, t->dtype == DT_i32 || t->dtype == DT_f32 ||
			   (t->dtype == DT_index && t->axis >= t->dim[0]),
		    "cannot count in %s", type_text(v, t));
}

static bool verify_tokens(Verify *v, const Op *op)
{
	return has_type(v, op, &(Type){.dtype = DT_f64});
}

static bool verify_step(Verify *v, const Op *op)
{
	return has_type(v, op, &(Type){.dtype = DT_f64});
}

static bool verify_position(Verify *v, const Op *op)
{
	return has_type(v, op, &(Type){.dtype = DT_i32, .level = LV_TOKEN});
}

static bool verify_uniform(Verify *v, const Op *op)
{
	const char *over = attr_get_str(op, "over", NULL);
	const Attr *site = attr_find(op, "site");
	Level level = out(op)->level;

	return rule(v, site && site->kind == AT_INT && site->i >= 0,
		    "has no draw {site}") &&
	       rule(v, !attr_find(op, "over") || (over && strcmp(over, "tokens") == 0),
		    "over may only be tokens") &&
	       rule(v, out(op)->dtype == DT_f32, "draws are f32") &&
	       rule(v, over ? level == LV_ONCE : level == LV_TOKEN || level == LV_ROW,
		    "draws are one a token, or with over=tokens one for all");
}

static bool verify_normal(Verify *v, const Op *op)
{
	return verify_uniform(v, op);
}

static bool verify_tensor(Verify *v, const Op *op)
{
	return name_of(v, op) &&
	       rule(v, !v->compiled, "only load functions read the checkpoint") &&
	       rule(v, out(op)->level == LV_ONCE && out(op)->dtype != DT_rows,
		    "tensors of a checkpoint exist once");
}

static const State *state_named(Verify *v, const Op *op)
{
	const char *name = name_of(v, op);
	const State *s = name ? verify_declared(v, "state", name, -1) : NULL;

	rule(v, s, "there is no such state");
	return s;
}

/* Read for each token before inline-std makes a scan of it, for each sequence after. */
static bool verify_state(Verify *v, const Op *op)
{
	const State *s = state_named(v, op);

	if (!s)
		return false;
	Type wanted = s->type;
	if (s->scope == PER_SEQUENCE && out(op)->level == LV_TOKEN)
		wanted.level = LV_TOKEN;
	return has_type(v, op, &wanted);
}

static bool verify_next(Verify *v, const Op *op)
{
	const State *s = state_named(v, op);

	if (!s)
		return false;
	Type most = s->type;
	if (s->scope == PER_SEQUENCE)
		most.level = LV_TOKEN;
	return rule(v, serves(&op->args[0]->type, &most), "the state holds %s",
		    type_text(v, &s->type));
}

static bool verify_defer(Verify *v, const Op *op)
{
	const Type *t = &op->args[0]->type;
	const Attr *rows = attr_find(op, "rows");

	for (const Op *at = op->next; at; at = at->next)
		if (!rule(v, at->kind != OP_defer, "stands twice"))
			return false;
	return rule(v, op->in == v->m->fns->body, "stands in @layer alone") &&
	       rule(v, rows && rows->kind == AT_INT && rows->i >= 1, "has no {rows} of a queue") &&
	       rule(v, v->m->group == 0, "a queue has no groups") &&
	       rule(v, t->dtype == DT_bool && t->rank == 0 && t->level == LV_TOKEN,
		    "wants one bool a token");
}

static bool verify_cast(Verify *v, const Op *op)
{
	const Type *x = &op->args[0]->type;
	Type wanted = *x;

	wanted.dtype = out(op)->dtype;
	wanted.axis = out(op)->axis;
	bool choice = out(op)->dtype == DT_index;
	return rule(v, x->dtype != DT_rows && out(op)->dtype != DT_rows,
		    "rows are no numbers") &&
	       rule(v,
		    !choice || (x->dtype == DT_index &&
				(x->axis == out(op)->axis || x->axis == 0)),
		    "only `index` makes a choice") &&
	       has_type(v, op, &wanted);
}

static bool verify_index(Verify *v, const Op *op)
{
	Type wanted = op->args[0]->type;

	wanted.dtype = DT_index;
	wanted.axis = out(op)->axis;
	return rule(v, op->args[0]->type.dtype == DT_i32, "the operand must be i32") &&
	       rule(v, wanted.axis > 0, "the axis must be known") &&
	       has_type(v, op, &wanted);
}

static bool verify_reshape(Verify *v, const Op *op)
{
	const Type *x = &op->args[0]->type;
	Type wanted = *out(op);

	wanted.dtype = x->dtype;
	wanted.axis = x->axis;
	wanted.level = x->level;
	wanted.range = x->range;
	return rule(v, type_elems(x) == type_elems(out(op)),
		    "%s has another number of entries", type_text(v, x)) &&
	       has_type(v, op, &wanted);
}

static bool block_fits(int64_t blocks, int64_t size, int64_t n)
{
	return size >= 1 && size <= MAX_ELEMS && n > (blocks - 1) * size &&
	       n <= blocks * size;
}

static bool verify_blockwise(Verify *v, const Op *op)
{
	const Type *x = &op->args[0]->type;
	int64_t a = attr_get_int(op, "a", 0), b = attr_get_int(op, "b", 0);
	Type wanted = *x;
	int r = x->rank;

	if (!rule(v, r >= 2 && out(op)->rank == r, "needs the two axes of a matrix") ||
	    !rule(v,
		  MAX(x->dim[r - 2], x->dim[r - 1]) < (int64_t)1 << 31 && a < INT32_MAX &&
		      b < INT32_MAX &&
		      block_fits(x->dim[r - 2], a, out(op)->dim[r - 2]) &&
		      block_fits(x->dim[r - 1], b, out(op)->dim[r - 1]),
		  "blocks {a} x {b} do not cover %s", type_text(v, out(op))))
		return false;
	wanted.dim[r - 2] = out(op)->dim[r - 2];
	wanted.dim[r - 1] = out(op)->dim[r - 1];
	return has_type(v, op, &wanted);
}

static bool verify_mxfp4(Verify *v, const Op *op)
{
	Type wanted = op->args[0]->type, s = wanted;
	int r = s.rank - 2;

	if (!rule(v, r >= 0 && s.dim[r + 1] == 16 && s.dim[r] <= MAX_ELEMS / 32,
		  "needs blocks of 16 bytes"))
		return false;
	s.rank--;
	if (!rule(v, s.dtype == DT_i32 && type_equal(&s, &op->args[1]->type),
		  "needs i32 bytes, and an exponent for each block"))
		return false;
	wanted.dtype = DT_f32;
	wanted.rank--;
	wanted.dim[r] *= 32;
	return has_type(v, op, &wanted);
}

static bool verify_unpack(Verify *v, const Op *op)
{
	const Panel *p = verify_declared(v, "panel", attr_get_str(op, "panel", ""), -1);
	const Attr *stream = attr_find(op, "stream");
	bool found = false;

	if (!rule(v, p, "there is no such {panel}"))
		return false;
	if (stream && stream->kind == AT_INT)
		found = stream->i >= 0 && stream->i < p->nstreams;
	for (int i = 0; i < p->nstreams; i++)
		found |= strcmp(attr_get_str(op, "stream", ""), p->streams[i]) == 0;
	Type wanted = type_of(p->dtype, p->range < 0 ? LV_ONCE : LV_EXPERT, p->range, 2,
			      (int64_t[]){p->n, p->k});
	return rule(v, found, "panel %s has no such {stream}", p->name) &&
	       has_type(v, op, &wanted);
}

/* Inferred types: what is there must be what infer_op says, and is left as it was. */
static bool verify_inferred(Verify *v, const Op *op)
{
	const char *why;

	if (op->nouts == 0)
		return true;
	Type was = *out(op);
	if (!infer_op(v->m, (Op *)op, &why))
		return rule(v, false, "%s", why);
	Type is = *out(op);
	op->outs[0]->type = was;
	return has_type(v, op, &is);
}

/* Marks of routing name the call of the model that they are of. */
static bool verify_stop(Verify *v, const Op *op)
{
	const Attr *call = attr_find(op, "call");

	return rule(v, !call || (call->kind == AT_INT && call->i >= 0 &&
				 call->i < v->m->calls.n),
		    "no call of that number") &&
	       verify_inferred(v, op);
}

bool verify_op(Verify *v, const Op *op)
{
	static OpRule *const own[OP_COUNT] = {
		[OP_param] = verify_param,       [OP_const] = verify_const,
		[OP_stop] = verify_stop,
		[OP_iota] = verify_iota,         [OP_tokens] = verify_tokens,
		[OP_step] = verify_step,         [OP_position] = verify_position,
		[OP_uniform] = verify_uniform,   [OP_normal] = verify_normal,
		[OP_tensor] = verify_tensor,     [OP_state] = verify_state,
		[OP_next] = verify_next,         [OP_defer] = verify_defer,
		[OP_cast] = verify_cast,
		[OP_index] = verify_index,       [OP_reshape] = verify_reshape,
		[OP_blockwise] = verify_blockwise, [OP_mxfp4] = verify_mxfp4,
		[OP_unpack] = verify_unpack,
		[OP_experts] = verify_experts,   [OP_group] = verify_group,
		[OP_dispatch] = verify_dispatch, [OP_collect] = verify_collect,
		[OP_combine] = verify_combine,   [OP_call] = verify_call,
		[OP_if] = verify_if,             [OP_where] = verify_where,
		[OP_repeat] = verify_repeat,     [OP_scan] = verify_scan,
		[OP_kernel] = verify_kernel,     [OP_yield] = verify_yield,
		[OP_return] = verify_return,
	};
	static const char *const inference[OP_COUNT] = {
#define OP(name, args, outs, flags, infer, family, meaning) [OP_##name] = #infer,
#include "ops.def"
#undef OP
	};

	if (own[op->kind])
		return own[op->kind](v, op);
	if (strcmp(inference[op->kind], "attr") == 0)
		ice("op '%s' has no rule in verify_op", op_info[op->kind].name);
	return verify_inferred(v, op);
}
