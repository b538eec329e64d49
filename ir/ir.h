/* SPDX-License-Identifier: Apache-2.0
 * ir: modules, functions, regions, ops and values; both levels of moec's IR.
 *
 * A value has an element type, a trailing shape and a level.  The level says how often the
 * value exists and is printed as its leading dimension:
 *
 *     f32[4096]       once (constants, weights, call scalars)
 *     bf16[E0,n,k]    once an expert of range E0         (weights of experts)
 *     f32[S,8]        once a sequence
 *     f32[T,128]      once a token
 *     f32[R0,768]     once a routed row: a (token, slot) pair whose expert lies in range 0
 *
 * An op whose operands differ in level works at the highest: a lower one is broadcast (an
 * expert's value to the rows of that expert).  T never becomes R by itself: `dispatch` does.
 * Axes in attributes count the trailing shape only.
 *
 * Regions see the values of the places that enclose them (implicit capture).  Inside a
 * `where` or `scan`, T means the tokens that take part.
 *
 * A kernel-level function is the same ops, each inside the region of a `kernel` op; the
 * meaning of a kernel is the meaning of its region, all else is schedule. */
#ifndef MOEC_IR_H
#define MOEC_IR_H

#include "base.h"

typedef enum {
#define DTYPE(name, bits, computed, st, meaning) DT_##name,
#include "dtypes.def"
#undef DTYPE
	DT_COUNT
} Dtype;

typedef enum { LV_ONCE, LV_EXPERT, LV_SEQ, LV_TOKEN, LV_ROW } Level;

enum { MAX_RANK = 6 };
#define MAX_ELEMS ((int64_t)1 << 48)    /* of one trailing shape: parser and inference */

typedef struct {
	Dtype   dtype;
	Level   level;
	int     range;                  /* LV_EXPERT, LV_ROW: number of the expert range */
	int     rank;
	int64_t axis;                   /* DT_index: length of the axis chosen from */
	int64_t dim[MAX_RANK];
} Type;

typedef enum {
#define OP(name, args, outs, flags, infer, family, meaning) OP_##name,
#include "ops.def"
#undef OP
	OP_COUNT
} OpKind;

enum { PURE = 1, EW = 2, COMM = 4, OVER = 8, REGION = 16, FLAT = 32 };

typedef enum { FAM_SRC, FAM_EW, FAM_ROW, FAM_GEMM, FAM_ROUTE, FAM_CTRL, FAM_KERNEL } Family;

typedef struct {
	const char *name;
	int         args, outs, flags;  /* -1: any number */
	Family      family;
	const char *meaning;
} OpInfo;
extern const OpInfo op_info[OP_COUNT];

typedef struct {
	const char *name;
	int         bits;
	bool        computed;
	const char *safetensors;        /* its name there, "" if it has none */
	const char *meaning;
} DtypeInfo;
extern const DtypeInfo dtype_info[DT_COUNT];
int entry_bytes(Dtype);         /* in buffers and in a call's arrays: a bool takes four */

/* Attributes: {k=8, over=tokens, name="router", fns=[@f, @g], start=[0, 1], scale=0x1p-1} */
typedef enum { AT_INT, AT_FLOAT, AT_STR, AT_WORD, AT_INTS, AT_FLOATS, AT_STRS, AT_FNS } AttrKind;
typedef struct {
	const char  *name;
	AttrKind     kind;
	int          n;                 /* of the lists */
	int64_t      i;
	double       f;
	const char  *s;                 /* AT_STR, AT_WORD */
	int64_t     *is;
	double      *fs;
	const char **ss;                /* AT_STRS, AT_FNS (names without @) */
} Attr;

typedef struct Op Op;
typedef struct Region Region;
typedef struct Fn Fn;
typedef struct Module Module;

typedef struct Value {
	Type        type;
	Op         *def;                /* NULL: an argument of region `owner` */
	Region     *owner;
	int         index;              /* which result or argument */
	const char *name;               /* the source's name or NULL; printing makes it unique */
	int         id;                 /* scratch number for passes; not kept */
} Value;

struct Op {
	OpKind      kind;
	int         nargs, nouts, nattrs, nregions;
	Value     **args;
	Value     **outs;
	Attr       *attrs;              /* in the order they were set; printed in that order */
	Region    **regions;
	Region     *in;                 /* the region it stands in */
	Op         *prev, *next;
	Loc         loc;                /* not printed */
};

struct Region {
	Value **args;
	int     nargs;
	Op     *first, *last;
	Op     *op;                     /* the op it belongs to, or NULL: a function's body */
	Fn     *fn;
};

struct Fn {
	const char *name;               /* without @ */
	Region     *body;               /* its last op is a return */
	Type       *outs;               /* result types */
	const char **out_names;         /* for the C header; NULL entries allowed */
	int         nouts;
	Fn         *next;
	Module     *module;
};

/* A weight: what it is called, stored as, and how it begins without a file. */
typedef struct {
	const char *name;               /* path: router, shared.gate; experts' weights: gate */
	Type        type;               /* LV_ONCE, or LV_EXPERT: once an expert of the range */
	bool        has_init;
	double      init;               /* the declared initial value */
	const char *load;               /* function without @ that reads it from a checkpoint,
					   NULL: by its own path.  LV_EXPERT: load + ".N",
					   or one that gives a value once an expert */
	bool        step;               /* a `state .. per step`: saved with the weights */
	Loc         loc;
} Param;

typedef enum { PER_SEQUENCE, PER_CALL } StateScope;
typedef struct {
	const char *name;
	Type        type;               /* trailing shape; level S or once */
	StateScope  scope;
	double      init;               /* index: -1 is none */
} State;

/* Experts first .. first+count-1, all of one function.  E<i> and R<i> name range i. */
typedef struct { int64_t first, count; } ExpertRange;

/* A packed weight, made by the pass `pack`.  For range < 0: one block; else one an expert.
 * Entry (column c, step k) of stream s lies in panel c / cols at
 *     ((k / kpack * streams + s) * cols + c % cols) * kpack + k % kpack
 * with columns padded to whole panels and k to whole steps, both with zeros.
 * A stream is param[s], an [n, k] matrix whose rows are the columns c. */
typedef struct {
	const char  *name;
	int          range;             /* expert range, or -1 */
	int          nstreams;
	const char **streams;           /* names of params */
	Dtype        dtype;
	int64_t      n, k, cols, kpack;
} Panel;

/* A layer that the model calls: compiled as @layer is, and into it.  Its own routing is
 * marked {given=.., call=N}, N being its number. */
typedef struct {
	const char *path;               /* of its weights: 1.moe */
	const char *layer;              /* the source's name: moe */
	Fn         *fn;
	int64_t     width, experts, picks;
	int         nlosses;
} LayerCall;

struct Module {
	Arena      *arena;
	const char *name;               /* of the layer */
	const char *target;             /* NULL at tensor level */
	int64_t     width, experts, picks;      /* H, E, K (0 where there is none) */
	int64_t     group;              /* tokens a group; 0: the call; -1: the sequence */
	int         nlosses;            /* the last so many results of @layer are losses */
	Fn         *fns;                /* @layer first */
	Vec(Param)  params;
	Vec(State)  states;
	Vec(ExpertRange) ranges;
	Vec(Panel)  panels;
	Vec(LayerCall) calls;           /* of a model */
};

/* build.c: making and changing */
Module *module_new(Arena *, const char *name);
Fn     *fn_new(Module *, const char *name);             /* appended; body empty */
Fn     *fn_find(const Module *, const char *name);
Fn     *fn_compiled(const Module *, int i);             /* @layer, the calls', NULL */
void    fn_remove(Module *, Fn *);
Param  *param_find(const Module *, const char *name, int range);  /* range -1: LV_ONCE */
Panel  *panel_find(const Module *, const char *name);
State  *state_find(const Module *, const char *name);
Type    type_of(Dtype, Level, int range, int rank, const int64_t *dims);
Type    type_scalar(Dtype, Level);
bool    type_equal(const Type *, const Type *);
bool    shape_equal(const Type *, const Type *);        /* trailing shapes */
int64_t type_elems(const Type *);                       /* of the trailing shape */
Level   level_join(Level, Level);

Region *region_new(Fn *, Op *parent);
Value  *region_arg(Module *, Region *, Type, const char *name);
Op     *op_new(Module *, OpKind, int nargs, Value **args, int nouts);   /* detached */
Region *op_add_region(Module *, Fn *, Op *);
void    op_append(Region *, Op *);
void    op_insert_before(Op *at, Op *);
void    op_unlink(Op *);                                /* take out; may be put elsewhere */
void    value_replace(Fn *, Value *old, Value *new);    /* all uses, nested regions too */
bool    value_used(const Fn *, const Value *);
int     value_uses(const Fn *, const Value *);
void    attr_int(Module *, Op *, const char *, int64_t);
void    attr_float(Module *, Op *, const char *, double);
void    attr_str(Module *, Op *, const char *, const char *);
void    attr_word(Module *, Op *, const char *, const char *);
void    attr_ints(Module *, Op *, const char *, const int64_t *, int n);
void    attr_floats(Module *, Op *, const char *, const double *, int n);
void    attr_strs(Module *, Op *, const char *, const char *const *, int n);
void    attr_fns(Module *, Op *, const char *, const char *const *, int n);
void    attr_drop(Op *, const char *);
const Attr *attr_find(const Op *, const char *);
int64_t     attr_get_int(const Op *, const char *, int64_t otherwise);
/* AT_STR, AT_WORD, or the one name of an AT_FNS ({fn=@f}, which is AT_FNS with n == 1) */
const char *attr_get_str(const Op *, const char *, const char *otherwise);
/* What a region reads from outside itself, in order of first use; n through *n. */
bool    value_inside(const Value *, const Region *);    /* made in it, or its argument */
Value **region_captures(Arena *, const Region *, int *n);
/* The order of rows of a range that a kernel works in, or reads others' rows by; NULL: none. */
const Value *kernel_rows(const Op *kernel, int range);
/* A copy of the ops of `from` at the end of `to`; map[] pairs are extended as it goes. */
typedef struct { Vec(Value *) from; Vec(Value *) to; } ValueMap;
void    map_value(Arena *, ValueMap *, Value *from, Value *to);
Value  *mapped(const ValueMap *, Value *);              /* itself where there is no entry */
Op     *op_clone(Module *, Fn *, const Op *, ValueMap *);       /* detached, regions too */
void    region_walk(const Region *, void (*visit)(Op *, void *), void *);  /* pre-order */

/* One op appended to a region with its types inferred; ice() when they do not fit.
 * The frontend checks with infer_op first and reports in its own words. */
Value *emit_op(Module *, Region *, OpKind, int nargs, Value **args, Loc);
Value *emit1(Module *, Region *, OpKind, Value *, Loc);
Value *emit2(Module *, Region *, OpKind, Value *, Value *, Loc);
Value *emit3(Module *, Region *, OpKind, Value *, Value *, Value *, Loc);
Value *emit_const(Module *, Region *, Type, const double *, int n, Loc);

/* infer.c: result types from operands and attributes.  Ops of rule `attr` keep the types
 * already in outs[] (set by the maker), which verify checks.
 * False: *why tells (arena text) what does not fit. */
bool infer_op(Module *, Op *, const char **why);
/* The joined type of an elementwise op's operands: level, range, broadcast shape. */
bool infer_broadcast(const Type *, int n, Type *out);

/* verify.c: everything a pass may rely on.  False: *why names function, op and rule. */
bool verify(Module *, const char **why);

/* text.c: print and parse, each the inverse of the other */
void    print_module(Text *, const Module *);
void    print_type(Text *, const Type *);
void    print_op(Text *, const Op *);                   /* one line, for messages */
Module *parse_module(Arena *, Diag *, const char *file, const char *text);  /* NULL: said */

#endif
