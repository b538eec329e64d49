/* SPDX-License-Identifier: Apache-2.0
 * elab_builtin: the table of the language's functions, and reading their arguments. */
#include "elab.h"

#include <math.h>
#include <string.h>

/* One row a function: the op it becomes where it becomes one; how many arguments it needs
 * and takes by place; all their names.  `over` is given by name only. */
struct Builtin {
	const char *name;
	Val       (*run)(Elab *, Args *);
	OpKind      op;
	int         min, max;
	const char *names[4];
};

static const Builtin builtins[] = {
	{"abs",       do_math,      OP_abs,       1, 1, {"v"}},
	{"exp",       do_math,      OP_exp,       1, 1, {"v"}},
	{"log",       do_math,      OP_log,       1, 1, {"v"}},
	{"sqrt",      do_math,      OP_sqrt,      1, 1, {"v"}},
	{"square",    do_math,      OP_square,    1, 1, {"v"}},
	{"sign",      do_math,      OP_sign,      1, 1, {"v"}},
	{"floor",     do_math,      OP_floor,     1, 1, {"v"}},
	{"ceil",      do_math,      OP_ceil,      1, 1, {"v"}},
	{"round",     do_math,      OP_round,     1, 1, {"v"}},
	{"tanh",      do_math,      OP_tanh,      1, 1, {"v"}},
	{"erf",       do_math,      OP_erf,       1, 1, {"v"}},
	{"sigmoid",   do_math,      OP_sigmoid,   1, 1, {"v"}},
	{"softplus",  do_math,      OP_softplus,  1, 1, {"v"}},
	{"min",       do_minmax,    OP_min,       1, 2, {"a", "b", "over"}},
	{"max",       do_minmax,    OP_max,       1, 2, {"a", "b", "over"}},
	{"clamp",     do_clamp,     OP_min,       3, 3, {"v", "low", "high"}},
	{"where",     do_where,     OP_select,    3, 3, {"c", "a", "b"}},
	{"cast",      do_cast,      OP_cast,      1, 1, {"v", "type"}},
	{"stop",      do_stop,      OP_stop,      1, 1, {"v"}},
	{"sum",       do_reduce,    OP_sum,       1, 1, {"v", "over"}},
	{"mean",      do_reduce,    OP_mean,      1, 1, {"v", "over"}},
	{"any",       do_reduce,    OP_any,       1, 1, {"v", "over"}},
	{"all",       do_reduce,    OP_all,       1, 1, {"v", "over"}},
	{"logsumexp", do_reduce,    OP_logsumexp, 1, 1, {"v", "over"}},
	{"softmax",   do_along,     OP_softmax,   1, 1, {"v", "over"}},
	{"cumsum",    do_along,     OP_cumsum,    1, 1, {"v", "over"}},
	{"rank",      do_along,     OP_rank,      1, 1, {"v", "over"}},
	{"top",       do_top,       OP_topk,      2, 2, {"k", "v"}},
	{"argmax",    do_argmax,    OP_argmax,    1, 1, {"v"}},
	{"take",      do_take,      OP_take,      2, 2, {"v", "i"}},
	{"onehot",    do_onehot,    OP_onehot,    1, 1, {"i"}},
	{"mask",      do_onehot,    OP_mask,      1, 1, {"i"}},
	{"index",     do_index,     OP_index,     1, 1, {"v"}},
	{"range",     do_range,     OP_iota,      1, 1, {"n"}},
	{"split",     do_split,     OP_reshape,   2, 2, {"v", "n"}},
	{"flatten",   do_flatten,   OP_reshape,   1, 1, {"v"}},
	{"column",    do_column,    OP_reshape,   1, 1, {"v"}},
	{"concat",    do_concat,    OP_concat,    2, 2, {"a", "b"}},
	{"transpose", do_transpose, OP_transpose, 1, 1, {"m"}},
	{"zeros",     do_zeros,     OP_const,     1, 1, {"shape"}},
	{"size",      do_size,      OP_const,     1, 1, {"v"}},
	{"linear",    do_linear,    OP_linear,    3, 4, {"v", "n", "name", "bias"}},
	{"uniform",   do_random,    OP_uniform,   0, 3, {"shape", "low", "high", "over"}},
	{"normal",    do_random,    OP_normal,    0, 1, {"shape", "over"}},
	{"blockwise", do_blockwise, OP_blockwise, 3, 3, {"s", "a", "b"}},
	{"mxfp4",     do_mxfp4,     OP_mxfp4,     2, 2, {"blocks", "scales"}},
	{"nibbles",   do_mxfp4,     OP_tensor,    2, 2, {"v", "zero"}},
	{"require",   do_require,   OP_const,     2, 2, {"c", "text"}},
};

const char *const value_names[] = {
    "T",    "width",  "stack", "position", "training",
    "step", "config", "inf",   "flops",    "bytes",
};
const int value_count = COUNT(value_names);

const Builtin *builtin_find(const char *name)
{
	for (size_t i = 0; i < COUNT(builtins); i++)
		if (strcmp(builtins[i].name, name) == 0)
			return &builtins[i];
	return NULL;
}

const char *builtin_name(int i)
{
	return i < (int)COUNT(builtins) ? builtins[i].name : NULL;
}

static int place_of(const Builtin *b, const char *name)
{
	for (int i = 0; i < 4 && b->names[i]; i++)
		if (strcmp(b->names[i], name) == 0)
			return i;
	return -1;
}

/* The words behind `over:` and a type are no values. */
static bool is_word(const Builtin *b, int place)
{
	return strcmp(b->names[place], "over") == 0 ||
	       strcmp(b->names[place], "type") == 0;
}

static bool read_args(Elab *e, const Builtin *b, const Node *call, Args *args)
{
	int named = 0;

	for (int i = 1; i < call->nkids; i++) {
		const Node *k = call->kids[i];
		int place = i - 1;
		if (k->kind == N_NAMED) {
			place = place_of(b, k->s);
			named++;
		} else if (named || place >= 4 || !b->names[place] ||
			   strcmp(b->names[place], "over") == 0) {
			say(e, E_argument_count, k->loc, NULL, "%s takes %d argument%s",
			    b->name, b->max, b->max == 1 ? "" : "s");
			return false;
		}
		if (place < 0) {
			int n = 0;
			while (n < 4 && b->names[n])
				n++;
			const char *fix = fix_near(e, k->s, b->names, n);
			say(e, E_unknown_argument, k->loc,
			    fix ? fix
				: arena_printf(e->a, "it has %s",
					       list_text(e, b->names, n)),
			    "%s has no argument `%s`", b->name, k->s);
			return false;
		}
		if (args->node[place]) {
			say(e, E_argument_twice, k->loc, NULL, "`%s` is given twice",
			    b->names[place]);
			return false;
		}
		args->node[place] = k->kind == N_NAMED ? k->kids[0] : k;
		args->n += !is_word(b, place);
	}
	for (int i = 0; i < b->min; i++)
		if (!args->node[i]) {
			say(e, E_argument_count, call->loc, NULL,
			    "%s lacks its argument `%s`", b->name, b->names[i]);
			return false;
		}
	return true;
}

Val call_builtin(Elab *e, const Builtin *b, const Node *call)
{
	Args args = {.call = call, .name = b->name, .op = b->op};

	if (!read_args(e, b, call, &args))
		return val_poison();
	bool loose = e->loose, known = true;
	for (int i = 0; i < 4 && b->names[i]; i++) {
		if (!args.node[i] || is_word(b, i))
			continue;
		if (b->op == OP_select && i && args.arg[0].kind == V_BOOL &&
		    args.arg[0].b != (i == 1))
			continue;               /* chosen at compile time */
		args.arg[i] = eval(e, args.node[i]);
		known = known && args.arg[i].kind != V_POISON;
		e->loose = loose || (b->op == OP_select && !known);
	}
	e->loose = loose;
	return known ? b->run(e, &args) : val_poison();
}

static Val source(Elab *e, OpKind kind, Dtype d, Level level, Loc loc)
{
	Op *op = op_start(e, kind, 0, NULL, 1, loc);

	return val_ir(op_typed(e, op, type_scalar(d, level)));
}

static Val width_value(Elab *e, Loc loc)
{
	for (Frame *f = e->frame; f; f = f->layout ? f->caller : NULL)
		if (f->width.kind == V_NUM)
			return f->width;
	say(e, E_misplaced_word, loc, NULL,
	    "`width` is the length of the first argument, which is no vector here");
	return val_poison();
}

static Val config_value(Elab *e, Loc loc)
{
	if (e->opt->config)
		return (Val){.kind = V_JSON, .json = e->opt->config};
	say(e, E_no_config, loc, "name the model's folder: `--weights DIR`",
	    "`config` is a model's config.json, and there is none");
	return val_poison();
}

Val builtin_value(Elab *e, const char *name, Loc loc, bool *found)
{
	Level token = e->frame->range >= 0 ? LV_ROW : LV_TOKEN;

	*found = true;
	if (strcmp(name, "T") == 0)
		return source(e, OP_tokens, DT_f64, LV_ONCE, loc);
	if (strcmp(name, "step") == 0)
		return source(e, OP_step, DT_f64, LV_ONCE, loc);
	if (strcmp(name, "position") == 0 && token == LV_TOKEN)
		return source(e, OP_position, DT_i32, LV_TOKEN, loc);
	if (strcmp(name, "width") == 0)
		return width_value(e, loc);
	if (strcmp(name, "training") == 0)
		return val_bool(e->training);
	if (strcmp(name, "inf") == 0)
		return val_num(INFINITY);
	if (strcmp(name, "config") == 0)
		return config_value(e, loc);
	if (strcmp(name, "flops") == 0 || strcmp(name, "bytes") == 0)
		return experts_cost(e, name[0] == 'b', loc);
	if (strcmp(name, "stack") == 0 && e->layer && e->layer->stack)
		return val_str(e->layer->stack);
	if (strcmp(name, "stack") == 0 && e->loose)
		return val_poison();    /* of a function that no layer at hand has called */
	*found = false;
	return val_poison();
}
