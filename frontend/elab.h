/* SPDX-License-Identifier: Apache-2.0
 * elab: the elaborator, an abstract interpreter that checks a program and emits its IR.
 *
 * A layer is run once, for one token.  What is known now (numbers, texts, config) is
 * computed on the spot, the rest becomes ops.  A function is run once a call, in a frame
 * and an IR function of its own.  After a mistake a value is V_POISON and everything made
 * of it stays silent, so that one mistake is reported once. */
#ifndef MOEC_ELAB_H
#define MOEC_ELAB_H

#include "ast.h"
#include "frontend.h"

enum {
	MAX_PICKS      = 4096,
	MAX_EXPERTS    = 16384,
	MAX_FOR        = 100000,        /* rounds of one `for` */
	MAX_STEPS      = 1000000,       /* nodes evaluated in all */
	MAX_DEPTH      = 300,           /* expressions and statements in one another */
	MAX_NAMES      = 1000,          /* of a scope; definitions of a file */
	MAX_ERRORS     = 200,
	MAX_OPS        = 10000,         /* ops of the layer's functions */
	MAX_LOAD_OPS   = 1000000,       /* ops of the load functions */
	MAX_CALLS      = 5000,          /* function instances */
	MAX_FRAMES     = 100,           /* calls inside calls */
	MAX_ITEMS      = 65536,         /* of a constant list */
	MAX_STRING     = 4096,
	MAX_ARGS       = 32,
};
#define MAX_DIM ((int64_t)1 << 31)

typedef enum {
	V_POISON, V_NUM, V_BOOL, V_STR, V_NONE, V_LIST, V_JSON,
	V_IR,                           /* known at run time only */
	V_BLOCKS,                       /* blockwise(): waits for its partner's shape */
} ValKind;

typedef struct Val Val;
struct Val {
	ValKind     kind;
	double      f;                  /* V_NUM */
	bool        b;                  /* V_BOOL */
	const char *s;                  /* V_STR */
	const char *origin;             /* where it stands in config.json, or NULL */
	const Val  *item;               /* V_LIST */
	int         n, depth;           /* its length; lists in lists */
	int64_t     entries;            /* of all of them */
	json_t     *json;               /* V_JSON: an object or an array */
	Value      *v;                  /* V_IR; V_BLOCKS: the scales */
	int64_t     rows, cols;         /* V_BLOCKS */
};

/* A source file: std.moe, the user's own, or one that is imported. */
typedef struct Unit Unit;
typedef struct Scope Scope;
struct Unit {
	const char *file;
	Node       *ast;
	bool        std;
	bool        unread;             /* an import of it, or its end, could not be read */
	Scope      *constants;
	Vec(Unit *) imports;
	bool        done;               /* constants are computed */
};

typedef struct Binding {
	const char     *name;
	Val             val;
	Loc             loc;            /* where it was bound last */
	Loc             value;          /* to what, or line 0 */
	bool            is_arg;
	struct Binding *next;
} Binding;

struct Scope {
	Binding *first, **last;
	int      n;
	Scope   *up;
};

/* A name whose block has ended. */
typedef struct {
	const char *name;
	const char *block;              /* "if", "for", "repeat" */
	int         line;
} Gone;

/* A function being run: an IR function unless it is inline (layouts). */
typedef struct Frame Frame;
struct Frame {
	Frame      *caller;
	Loc         call;               /* where it was called from */
	const Node *def;
	const char *name;
	Unit       *unit;
	Scope      *scope, *root;
	Fn         *fn;
	Region     *region;             /* where ops go */
	const char *prefix;             /* of parameters: "shared." */
	Val         width;
	int         range;              /* of experts, or -1 */
	bool        policy;             /* in a policy: matrix inputs are not rounded */
	bool        layout;             /* in `weights`: strings are tensors */
	int         regions, base;      /* ifs and repeats around it; around its call */
	int         in_for;
	int         token_if;           /* line of the enclosing token-level if, or 0 */
	bool        returned;
	bool        effects, params;    /* it has a `next`; it made parameters */
	Val         ret[MAX_ARGS];
	int         nret;
	Vec(Gone)   gone;
	Vec(const char *) unknown;      /* names that were reported already */
	Vec(const char *) lost;         /* that statements may bind that cannot be read */
};

typedef struct {
	const char *name;               /* with its prefix */
	Loc         loc;
	const char *path;               /* in Module.states; NULL: per step */
	bool        per_step, is_next;
	Value      *next;
	Loc         next_loc;
	Frame      *frame;
} StateInfo;

typedef struct {
	int64_t     first, count;
	const Node *call;               /* swiglu(14336) */
	Fn         *fn;                 /* once it is made */
	Type        in;
	int64_t     out;
} Range;

typedef struct {
	const char *name;
	Val         val;
} Named;

typedef struct {
	const Node *prefix;
	const Node *node;
} WeightsBlock;

/* A layer being run. */
typedef struct Layer Layer;
struct Layer {
	Module      *m;
	const Node  *def;
	Layer       *outer;             /* the model that calls it */
	const char  *prefix;            /* of its parameters: "1.moe."; "" without a model */
	int          nth;               /* in Module.calls, if a model calls it */
	int          first_range;       /* its ranges[0] in Module.ranges */
	Frame       *frame;
	Unit        *unit;
	Loc          call;              /* of the model */
	const char  *token;             /* the first input's name */
	bool         output_poison, input_poison, experts_poison, experts_failed;
	bool         route_poison;
	const Frame *route_body;        /* of the policy: what names it could not bind */
	bool         lost;              /* nobody knows what a statement of it meant */
	int64_t      number;            /* -1: none */
	const char  *stack;
	Val         *given;             /* called by a model: its inputs .. */
	Value      **args;              /* .. in the types that it declares */
	int          ngiven, ninputs;
	Dtype        stored, wtype;     /* DT_COUNT: not known */
	Type         first_input;
	bool         has_experts, marked, causal, sharing;
	Value       *own_pick, *given_pick;     /* once marked: what later uses become */
	Value       *own_weight, *given_weight;
	bool         route_call;        /* the next call is the route's: keep its names */
	int64_t      experts;
	Vec(Range)   ranges;
	const char  *policy;            /* what `route` called */
	Vec(Named)   route;
	Vec(Value *) outputs;
	Vec(const char *) output_names;
	Vec(Value *) losses;
	Vec(StateInfo) states;
	Vec(WeightsBlock) weights;
	Loc          causal_loc, group_loc, defer_loc;
	const char  *path;              /* of the parameter that a layout is run for */
	int64_t      expert;            /* the expert that a layout is run for, or -1 */
	const char  *layout_prefix;
};

typedef struct {
	Fn *fn;
	Op *call;
} CallSite;

typedef struct {
	const char *file, *text;
	int         line, col;
} Said;

typedef struct {
	const char *name;
	int         n;
} NameCount;

typedef struct Elab {
	Arena           *a;
	Diag            *d;
	const FeOptions *opt;
	Unit            *main, *std;
	Vec(Unit *)      units;
	Layer           *layer;
	Frame           *frame;
	Scope           *family;        /* constants of the family */
	bool             training, in_family;
	bool             inline_next;   /* the next call stays in the caller's function */
	int              errors;        /* of this run, muted ones too */
	int              mute;          /* > 0: a trial */
	int              probe;         /* > 0: left of `??` */
	bool             absent;        /* something left of `??` is missing */
	bool             fatal;         /* a bound is passed: stop everywhere */
	bool             loose;         /* this may never run: only what is wrong anyhow */
	Vec(const Node *) ran;          /* functions that were called */
	Vec(const char *) unknown;      /* functions that were reported already */
	int64_t          steps, ops, max_ops;
	int              depth, ncalls, sites, stamp;
	Vec(CallSite)    calls;
	Vec(Layer *)     called;        /* by a model, in the order of Module.calls */
	Vec(Said)        said;
	Vec(NameCount)   names;
	Loc              twice;         /* the last pair of equal parameters reported */
} Elab;

/* elab_diag.c: the texts.  Each error is printed at the user's own line (with a note for
 * what lies in std.moe); `fix` may be NULL. */
void say(Elab *, DiagCode, Loc, const char *fix, const char *fmt, ...) PRINTF(5, 6);
void stop_all(Elab *, DiagCode, Loc, const char *fix, const char *fmt, ...) PRINTF(5, 6);
Loc         user_loc(Elab *, Loc);      /* the line of the user's file behind a place */
const char *fix_near(Elab *, const char *name, const char *const *names, int n);
/* The nearest name, or all of them. */
const char *fix_among(Elab *, const char *name, const char *const *names, int n);
const char *shape_words(Elab *, const Type *);           /* [8, 64] */
const char *type_words(Elab *, const Type *);            /* f32[768] */
const char *val_words(Elab *, const Val *);              /* what it is, for messages */
const char *where_text(Elab *, Loc);                    /* std.moe:31 */
const char *list_text(Elab *, const char *const *, int n);      /* a, b, c */
const char *level_text(const Type *);   /* "differs from token to token" */

/* elab_value.c: constants and how they compute */
Val  val_poison(void);
Val  val_num(double);
Val  val_bool(bool);
Val  val_str(const char *);
Val  val_none(void);
Val  val_ir(Value *);                   /* NULL: poison */
Val  val_list(Elab *, const Val *, int n, Loc);
bool val_const(const Val *);            /* neither IR nor poison */
bool val_same(const Val *, const Val *);
bool is_whole(double, double low, double high);
Val  fold_unary(Elab *, Operator, Val, Loc);
Val  fold_binary(Elab *, Operator, Val, Val, Loc);
bool need_num(Elab *, Val, Loc, const char *what, double *);
bool need_int(Elab *, Val, Loc, const char *what, int64_t low, int64_t high, int64_t *);
bool need_bool(Elab *, Val, Loc, const char *what, bool *);
bool need_str(Elab *, Val, Loc, const char *what, const char **);
Val  interpolate(Elab *, const char *text, Loc);

/* elab_scope.c: names, files and functions */
Scope      *scope_new(Elab *, Scope *up);
Binding    *scope_find(const Scope *, const Scope *stop, const char *name);
Binding    *scope_add(Elab *, Scope *, const char *name, Val, Loc);     /* never NULL */
void        bind_name(Elab *, const char *name, Val, Loc);
void        scope_push(Elab *);
void        scope_pop(Elab *, const char *block, int line);
Val         lookup(Elab *, const Node *name);
bool        is_known(Elab *, const char *name);         /* bound, or perhaps meant to be */
const Node *function_find(Elab *, const char *name, Unit **in);
const Node *layer_find(const Unit *, const char *name);
const char *const *function_names(Elab *, int *n);
bool        function_unknown(Elab *, const char *name);     /* and not said yet */
bool        was_lost(const Elab *, const char *name);  /* what binds it cannot be read */
Unit       *unit_load(Elab *, const char *file, const char *text, bool std);
bool        unit_imports(Elab *, Unit *);
void        unit_constants(Elab *, Unit *);
void        bind_constant(Elab *, const Node *);

/* elab_type.c: elements, shapes, and constants becoming tensors */
bool   type_eval(Elab *, const Node *, bool input, Type *, bool *has_t);
bool   shape_eval(Elab *, Val, Loc, Type *);
Value *as_dtype(Elab *, Value *, Dtype, Loc);
Value *as_tensor(Elab *, Val, Dtype, int64_t axis, Loc);
Value *computed(Elab *, Val, Loc);      /* any value as a tensor of a computed type */
Value *number(Elab *, Val, Loc);        /* f32, or f64 of a call scalar */
Value *number_f32(Elab *, Val, Loc);
bool   arith_types(Elab *, const Val *, int n, bool real, Dtype *);
bool   join_vals(Elab *, const Val *, int n, Loc, Type *);
Value *bring(Elab *, Val, const Type *, Loc);
bool   shapes_join(const Type *, const Type *, Type *);
bool   meet_axis(Elab *, const Type *, const Type *, Loc);
Value *make_const(Elab *, Type, const double *, int n, Loc);

/* elab_emit.c: ops */
Op    *op_start(Elab *, OpKind, int nargs, Value **args, int nouts, Loc);
Value *op_finish(Elab *, Op *);         /* infers, appends; NULL after a message */
Value *op_typed(Elab *, Op *, Type);    /* the same for ops whose maker gives the type */
Value *emit(Elab *, OpKind, int nargs, Value **args, Loc);
Value *reshape_op(Elab *, Value *, int rank, const int64_t *dims, Loc);
Value *slice_op(Elab *, Value *, const int64_t *start, const int64_t *size,
	     const int64_t *step, int n, Loc);
void   op_results(Elab *, Op *, int n, const Type *);
void   op_give(Elab *, OpKind, int n, Value **, Loc);  /* yield or return */
typedef struct {
	int     params, states, ranges, fns, sites, ncalls, calls, infos, layers;
	int64_t ops;
	bool    fn_made;
	NameCount *names;
	int     nnames;
} Mark;
Mark   trial_begin(Elab *);
void   trial_undo(Elab *, Mark);

/* elab_expr.c, elab_op.c, elab_index.c: expressions */
Val    eval(Elab *, const Node *);
bool   may_go_on(Elab *, const Node *);         /* within the bounds on steps and depth */
Val    eval_operator(Elab *, Operator, Val, Val, const Node *);
Val    eval_unary(Elab *, Operator, Val, Loc);
Val    eval_subscript(Elab *, const Node *);
Val    stack_values(Elab *, const Val *, int n, Loc);
Val    binary_op(Elab *, OpKind, Val, Val, const Node *);
Val    select_op(Elab *, Val c, Val a, Val b, const Node *);
Val    gather_op(Elab *, Value *, Val index, Loc);
Val    json_get(Elab *, Val, const char *key, Loc);
Val    json_item(Elab *, Val, int64_t i, Loc);

/* elab_builtin.c and its kin: the functions of the language */
typedef struct {
	const Node *call;
	const char *name;
	OpKind      op;
	const Node *node[4];            /* NULL: left out */
	Val         arg[4];
	int         n;                  /* places given */
} Args;
typedef struct Builtin Builtin;
const Builtin *builtin_find(const char *name);
const char *builtin_name(int i);        /* NULL behind the last */
Val  call_builtin(Elab *, const Builtin *, const Node *call);
Val  builtin_value(Elab *, const char *name, Loc, bool *found);
extern const char *const value_names[];
extern const int         value_count;
#define HANDLER(name) Val name(Elab *, Args *)
HANDLER(do_math); HANDLER(do_minmax); HANDLER(do_clamp); HANDLER(do_where);
HANDLER(do_cast); HANDLER(do_stop); HANDLER(do_reduce); HANDLER(do_along);
HANDLER(do_top); HANDLER(do_argmax); HANDLER(do_take); HANDLER(do_onehot);
HANDLER(do_index); HANDLER(do_range); HANDLER(do_split); HANDLER(do_flatten);
HANDLER(do_column); HANDLER(do_concat); HANDLER(do_transpose); HANDLER(do_zeros);
HANDLER(do_size); HANDLER(do_linear); HANDLER(do_random); HANDLER(do_blockwise);
HANDLER(do_mxfp4); HANDLER(do_require);

/* elab_call.c: functions */
int  call_node(Elab *, const Node *call, Val *outs);    /* how many; -1: poison */
int  call_function(Elab *, const Node *def, Unit *, const Node *call, const Val *first,
		   Val *outs);
int  call_layer(Elab *, const Node *def, const Node *call, Val *outs);  /* elab_model.c */
const char *unique_name(Elab *, const char *name);

/* elab_loose.c: what may never run is run for its mistakes */
void run_loosely(Elab *, const Node *block, const char *what, int line, const char *name);
void run_either(Elab *, const Node *block, const Node *other, int line);
void run_lost(Elab *, const Node *);
bool contains(const Node *, NodeKind);
bool is_certain(DiagCode);              /* wrong whatever the values are */
void check_functions(Elab *);           /* those that nobody called */

/* elab_stmt.c, elab_flow.c: statements */
void run_block(Elab *, const Node *block);
void run_stmt(Elab *, const Node *);
void run_if(Elab *, const Node *);
void run_for(Elab *, const Node *);
void run_repeat(Elab *, const Node *);

/* elab_layer.c, elab_experts.c, elab_state.c: what only layers have */
void   run_input(Elab *, const Node *);
void   run_experts_of(Elab *, const Node *);
void   run_route(Elab *, const Node *);
void   run_output(Elab *, const Node *);
void   run_loss(Elab *, const Node *);
void   run_group(Elab *, const Node *);
void   run_defer(Elab *, const Node *);
void   run_causal(Elab *, const Node *);
void   run_weights(Elab *, const Node *);
void   run_state(Elab *, const Node *);
void   run_next(Elab *, const Node *);
void   run_param(Elab *, const Node *);
void   run_return(Elab *, const Node *);
bool   run_layer(Elab *, const Node *def, Layer *);
bool   take_input(Elab *, const Node *input, const Type *);     /* elab_model.c */
bool   need_experts(Elab *, Loc);
Val    run_experts(Elab *, const Node *call);
Val    experts_cost(Elab *, bool bytes, Loc);
Val    weighted_experts(Elab *, const Node *, bool *taken);
void   check_states(Elab *, Layer *);
bool   valid_path(const char *);
Value *param_make(Elab *, const char *name, Type, bool has_init, double init, bool step,
		  Loc);

/* elab_depend.c: who depends on what */
void        check_causal(Elab *, Layer *);
/* An op over the tokens that is no sum or extremum; one that looks at a state. */
const Op   *find_ordered(Elab *, Value *);
const Op   *find_waiting(Elab *, Value *, const char *state);
const char *over_text(Elab *, const Op *);

/* elab_weights.c, elab_stored.c: where weights lie, and as what */
void   load_functions(Elab *, Layer *);
Value *layout_tensor(Elab *, const char *name, Loc);
typedef struct {
	const char *path;
	const Node *set;
	const WeightsBlock *block;
} Setting;
typedef Vec(Setting) Settings;
void collect_settings(Elab *, const WeightsBlock *, const Node *, int first, Settings *);
Frame *layout_frame(Elab *, Layer *, Fn *, Region *);
const char *layout_prefix(Elab *, const WeightsBlock *);
Dtype  stored_dtype(Elab *, const Node *layer);

/* elab_main.c: files and their constants; false: said */
bool   elab_start(Elab *, Arena *, Diag *, const FeOptions *);

/* elab_plan.c: NULL: said */
Plan  *run_plan(Elab *, const char *name);

/* elab_family.c: which layer */
const Node *choose_layer(Elab *, const char **stack, int64_t *number);
void   scratch_layer(Elab *, Unit *);           /* where constants are computed */

#endif
