/* SPDX-License-Identifier: Apache-2.0
 * eval_ops: what the files of the reference interpreter share. */
#ifndef MOEC_EVAL_OPS_H
#define MOEC_EVAL_OPS_H

#include "eval.h"

#include <setjmp.h>

#define U_F32 0x1p-24                   /* unit roundoff of f32 */

/* The tokens that take part: of the call, of a group, of a `where`. */
typedef struct {
	int64_t  tokens, nseq;
	int64_t  total;                 /* of the call or group: the op `tokens` */
	int64_t *origin;                /* [tokens] number in the call */
	int64_t *seq;                   /* [tokens] 0 .. nseq-1, ascending */
	int64_t *pos;                   /* [tokens] place in its sequence */
	int64_t *seq_id;                /* [nseq] number in the call */
} Ctx;

/* What a region sees of the values around it: the tokens of ctx, token[i] there, or
 * of the routed rows `from` the rows row[i], which are `to`.  NULL: all. */
typedef struct {
	const Ctx     *ctx;
	const int64_t *token, *row;
	const Rows    *from, *to;
} Part;

typedef struct Frame Frame;
typedef struct Plan Plan;
typedef struct Block Block;

/* Pointer -> pointer, open addressing; grows at half full. */
typedef struct {
	const void **key;
	void       **value;
	int          n, cap;
} Map;

typedef struct {
	Arena          *arena;          /* results and plans */
	const Module   *m;
	const EvalCall *call;
	EvalResult     *result;
	EvalState      *state;
	const Ctx      *ctx;
	Frame          *frame;
	const Rows    **rows;           /* of each range: the rows at work now */
	Block          *blocks;         /* all memory, freed together whatever happens */
	size_t          live, limit;
	Map             plans;          /* Region -> Plan */
	int             depth;
	bool            bounds;
	jmp_buf         failed;
	const char     *why;
} Eval;

/* eval_tensor.c */
void    eval_fail(Eval *, const char *fmt, ...) PRINTF(2, 3) NORETURN;
void   *eval_alloc(Eval *, int64_t n, size_t size);     /* zeroed */
void    eval_free(Eval *, void *);
void    eval_free_all(Eval *);
double *eval_doubles(Eval *, int64_t n);
void    tensor_free(Eval *, Tensor *);
/* An empty tensor of `type` for the tokens at hand; LV_ROW takes its rows from args, or
 * where none has any, those at work. */
void    tensor_new(Eval *, Type, const Tensor *args, int nargs, Tensor *out);
/* Result i of op, like tensor_new; the bounds too where `err`. */
void    out_new(Eval *, const Op *, int i, const Tensor *args, Tensor *out, bool err);
Tensor  tensor_copy(Eval *, const Tensor *);
Tensor  tensor_rows(Eval *, const Tensor *, const int64_t *pick, int64_t n,
		    const Rows *at);
void    tensor_read(Eval *, Tensor *);          /* an unread weight into doubles */
static inline bool unread(const Tensor *t) { return t->param || t->raw; }
/* Entries from .. from+n of row `row` of any tensor, as doubles. */
void    read_entries(Eval *, const Tensor *, int64_t row, int64_t from, int64_t n,
		     double *to);
/* Which row of `a` serves row r of a result like `out`. */
int64_t row_in(const Eval *, const Tensor *out, int64_t r, const Tensor *a);
const Rows *rows_of(const Tensor *args, int nargs);     /* of the first that has some */
static inline double err_at(const Tensor *t, int64_t i) { return t->err ? t->err[i] : 0; }
bool    any_err(const Tensor *args, int nargs);

/* eval_frame.c */
void    op_meaning(Eval *, const Op *, Tensor *args, Tensor *outs);
void    run_region(Eval *, const Region *, const Part *, const Tensor *args,
		   Tensor *outs);
void    run_fn(Eval *, const Fn *, const Tensor *args, int nargs, Tensor *outs);
void    frame_results(Eval *, const Op *, const Tensor *args);
Ctx     ctx_pick(Eval *, const Ctx *, const int64_t *pick, int64_t n);
void    ctx_free(Eval *, Ctx *);
/* t at the level of `type` (a lower one is repeated); frees t. */
Tensor  tensor_at_level(Eval *, Tensor t, const Type *type);
void   *map_get(const Map *, const void *key);
void    map_put(Eval *, Map *, const void *key, void *value);
void    map_free(Eval *, Map *);

/* eval_route.c */
Rows   *rows_pick(Eval *, const Rows *from, const int64_t *pick, int64_t n);

/* eval_state.c */
/* The end of a call: what `next` wrote counts if it went well. */
void    states_end(EvalState *, bool well);

/* Error bounds, in eval_ew.c */
double  err_between(double y, double other);            /* |y - other|; equal ones: 0 */
double  err_rounding(Dtype, double y, double ulps);     /* of a result y of an f32 op */
void    gap_note(Eval *, const Tensor *, int64_t row, double difference, double err);

/* Every op's meaning in plain loops. */
typedef void OpMeaning(Eval *, const Op *, Tensor *args, Tensor *outs);
#define OP(name, ...) OpMeaning ref_##name;
#include "ops.def"
#undef OP

#endif
