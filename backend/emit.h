/* SPDX-License-Identifier: Apache-2.0
 * emit: what the emitters of this folder share while one module is lowered. */
#ifndef MOEC_EMIT_H
#define MOEC_EMIT_H

#include "backend.h"
#include "ll.h"
#include "../runtime/layer.h"

/* A value between kernels lives in a buffer; Value.id is its number (-1: none). */
typedef struct {
	Value      *value;
	const char *name;
	moert_role  role;
	int64_t     given;
	int         writer;             /* step, where it is given */
	int         next;               /* of a state: the buffer of what it will be */
	double      init;               /* .. and what it is at first */
} Buffer;

/* A state: what it was before the call, and what it will be. */
typedef struct { const State *state; Value *now, *next; } Memory;

/* A token value of around a region, as it is for the tokens that take part in it. */
typedef struct { const Region *region; Value *around, *value; } Inside;

/* The rows of a range as they lie there now, and the step that puts them there. */
typedef struct { const Value *rows; int step; } Grouped;

/* The steps of an op of the layer itself: first .. behind-1. */
typedef struct { Op *op; int first, behind; } Piece;

/* A weight as kernels read it: a plain param, or a panel. */
typedef struct {
	const char  *name;
	const Param *param;             /* plain; NULL for panels */
	const Panel *panel;
	int          range;             /* -1: once */
} Weight;

/* A result that is another value as well. */
typedef struct { Value *from, *to; } Twin;

typedef struct {
	const char *name;
	moert_step_kind kind;
	Type        over;               /* level and range of its rows */
	bool        loss_only, routing_only;
	int64_t     scratch;
	Val         map, contract, finish;      /* NULL: none */
	int         weight;
	int64_t     panels, panel_bytes, width, k, kblock, rows, rblock, together;
	int         op, by_sequence, in, out;
	int         side, to;
	int64_t     most;
	int         buf_base, weight_base, range_base;
	bool        ready;              /* its functions are an equal kernel's */
} Step;

typedef struct {
	Ll            l;
	Arena        *arena;
	Diag         *diag;
	const Module *m;
	const Target *t;
	const Fn     *layer;            /* @layer, or one that it calls: */
	const LayerCall *call;          /* NULL: not called */
	Vec(Buffer)   bufs;
	Vec(Twin)     twins;
	Vec(Memory)   memories;
	Vec(Inside)   inside;
	Vec(Piece)    pieces;
	Vec(Grouped)  grouped;          /* all so far */
	const Value **now;              /* [ranges] NULL: not known */
	Vec(Weight)   weights;
	Vec(Step)     steps;
	int64_t       queue;            /* of `defer`, 0: none */
	int           waits;            /* buffer: who does */
	const Step   *step;             /* being emitted: numbers in code count from its bases */
	Val           weights_table, ranges_table;      /* of all: NULL: none */
	Val           next;             /* descriptor for a lesser target, or NULL */
	Vec(struct Shared { const char *signature; Step step; }) shared;
	Vec(struct Tiled { const char *name; Val fn; }) tiles;  /* contractions share them */
	int           lanes;            /* f32 entries of a vector */
} Emit;

int emit_buffer_of(Emit *, const Value *);                      /* number, ice if none */
int emit_weight_of(Emit *, const Op *param_or_unpack);

/* ew.c: elementwise ops on scalars or vectors of any length */
typedef struct { Val v; Dtype dtype; } Lanes;   /* stored types are kept widened, as f32 */
Lanes emit_ew(Emit *, const Op *, const Lanes *args);
Lanes emit_convert(Emit *, Lanes, Dtype to);    /* value kept as far as `to` can */
Lanes emit_lanes_const(Emit *, Dtype, double, int lanes);
Ty    memory_type(Emit *, Dtype, int lanes);    /* as it lies in a buffer */
Lanes from_memory(Emit *, Dtype, Val loaded);
Val   to_memory(Emit *, Lanes);
/* entries at `at`; mask NULL: all lanes */
Lanes emit_load_lanes(Emit *, Dtype, Val at, int lanes, Val mask);
void  emit_store_lanes(Emit *, Lanes, Val at, Val mask);
Val   emit_tail_mask(Emit *, Val left, int lanes);      /* lane < left (i64) */

/* math.c: our own functions, the same bits on every machine of a target.
 * ulp against the true value: exp 1, log 2, sigmoid 2.5, tanh 3, erf 3, softplus 3 */
Val math_exp(Ll *, Val x);
Val math_log(Ll *, Val x);
Val math_sigmoid(Ll *, Val x);
Val math_tanh(Ll *, Val x);
Val math_erf(Ll *, Val x);
Val math_softplus(Ll *, Val x);

/* row.c, map.c: row maps */
typedef enum { AT_SCALAR, AT_MEMORY } PlaceKind;
typedef struct {
	PlaceKind kind;
	Lanes     scalar;               /* AT_SCALAR */
	Val       at;                   /* AT_MEMORY: entries in memory form, contiguous */
	bool      padded;               /* may be read and written a whole vector past the end */
} Place;

typedef struct MapFn {
	Emit    *e;
	Val      call, scratch, row;    /* row: number in `over` */
	Level    level;
	int      range;
	int64_t  used;                  /* bytes of scratch */
	Vec(const Value *) values;
	Vec(Place) places;
} MapFn;
Place map_place(MapFn *, const Value *);        /* where a value is, loading captures */
void  map_bind(MapFn *, const Value *, Place);
Place map_scratch(MapFn *, Dtype, int64_t elems);       /* padded to whole vectors */
Val   map_scalar(MapFn *, const Value *, Dtype to);     /* a one-entry value */
Place map_memory(MapFn *, const Value *);               /* entries in memory, filled if need be */
Lanes map_load(MapFn *, Place, Dtype, Val index, int lanes, Val mask);
void  map_store(MapFn *, Place, Lanes, Val index, Val mask);
void  map_copy(MapFn *, Place to, Place from, Dtype, int64_t n);
typedef void ChunkFn(struct MapFn *, void *what, Val index, int lanes, Val mask);
void  map_chunks(MapFn *, int64_t n, ChunkFn *, void *);        /* whole vectors, then a tail */
void  emit_row_op(MapFn *, const Op *);         /* families ROW, GEMM, SRC, ROUTE */
/* row_source.c, row_reduce.c, row_choose.c, row_shape.c: NULL where an op is not theirs */
typedef void RowFn(MapFn *, const Op *);
RowFn *row_source(OpKind);
RowFn *row_reduce(OpKind);
RowFn *row_choose(OpKind);
RowFn *row_shape(OpKind);
/* sum over i < n of a[i] b[i], partial sums a lane, then a fixed tree */
Val   row_dot(MapFn *, Place a, Dtype, Val a_base, Place b, Dtype, Val b_base, int64_t n);
Val   row_horizontal(Emit *, OpKind, Val vector);       /* fixed tree: add, max or min */
/* axis as [outer, n, inner] */
typedef struct { int64_t outer, n, inner; } Axis;
Axis  row_axis(const Type *, int64_t axis);
/* a function over rows of `over` that runs a kernel's ops and stores what it yields */
Val   emit_map(Emit *, const char *name, const Type *over, const Region *, int64_t *scratch);

/* contract.c, tile.c: contractions */
void  emit_contract(Emit *, const Op *kernel, Step *);

/* address.c: where captured values lie */
Val   emit_view_row(Emit *, Val call, int buffer, Val row);     /* pointer to a row */
Val   emit_view(Emit *, Val call, int buffer);                  /* its moert_view */
Val   emit_rows_at(Emit *, Val call, int range);                /* its moert_rows */
Val   emit_rows_field(Emit *, Val call, int range, size_t offset);
Val   emit_weight_at(Emit *, Val call, int weight);             /* once-level */
Val   emit_expert_weight_at(Emit *, Val call, int weight, Val row);     /* of a row's expert */
Val   emit_list_entry(Emit *, Val list, Val index);     /* of i32 entries, as i64 */
Val   emit_sequence_of(Emit *, Val call, Val token);
Val   emit_const_array(Emit *, const Op *);     /* a constant's entries in memory form */

/* share.c: a kernel's ops, types and relative numbers as text: equal text, equal code */
void        kernel_bases(Emit *, const Op *kernel, Step *);
const char *kernel_signature(Emit *, const Op *kernel, const Step *bases);

/* routing_only.c: marks steps, when all kernels of a layer have theirs */
void  mark_routing_only(Emit *, int nlosses);

/* start.c: LLVM, before anything of it is used */
void  llvm_start(void);

/* layout.c */
moert_weight layout_weight(const Weight *);
uint64_t     layout_fingerprint(const Emit *);

/* flow.c */
void  number_states(Emit *);
bool  lower_flow(Emit *, Op *);         /* false: not a control op */

/* lower.c, entry.c, object.c, link.c */
void  number_weights(Emit *);
void  add_temporary(Emit *, Value *);   /* a buffer between kernels */
void  number_region(Emit *, const Region *);    /* what its ops give */
void  lower_region(Emit *, const Region *);     /* its steps */
void  lower_op(Emit *, Op *);
Val   emit_layer(Emit *);               /* kernels; the descriptor */
void  emit_tables(Emit *);              /* weights and ranges, which calls share */
Val   emit_descriptor(Emit *, Val calls, int n);        /* the moert_layer constant */
Val   emit_call_table(Emit *, const Val *layers, int n);
void  emit_entries(Emit *, Val layer);  /* NAME_open, NAME_run, .. */
/* header_calls.c: what a layer that a model calls is in C, and whether no call before is of it */
const char *call_name(const char *layer);
bool  is_first_call(const Module *, int call);
bool  object_write(Emit *, const EmitOptions *, const char *path);
/* Where a library is put in the end: links are followed, only a file is replaced. */
const char *library_place(Arena *, Diag *, const char *out);
/* A file beside `out` that no signal leaves behind; NULL after a diagnostic. */
char *temporary(Arena *, Diag *, const char *out, const char *suffix, const void *data,
		size_t n);
void  temporary_end(char *path);
bool  link_library(Arena *, Diag *, const Target *, const char *object, const char *out,
		   const char *name);

#endif
