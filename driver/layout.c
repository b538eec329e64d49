/* SPDX-License-Identifier: Apache-2.0
 * layout: one parameter out of a checkpoint, by its path or by its load function.
 *
 * What only picks, transposes and reshapes is a view (strides over the file's bytes) and
 * is copied once, in the stored type, or not at all; any other layout is evaluated. */
#include "weights.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };                  /* entries converted at once */

/* One parameter being loaded. */
typedef struct {
	Loader      *l;
	const Param *p;
	int64_t      expert;
	Arena       *arena;             /* of this load alone */
	Vec(void *)  owned;             /* malloc: what views point into */
	bool         said;              /* a diagnostic was given */
	bool         mixed;             /* a layout has read tensors of several types */
	const char  *type;              /* of the last of them; NULL: none yet */
} Load;

static const char *shape_text(Arena *a, int rank, const int64_t *dim)
{
	Text t = text_new(a);

	for (int i = 0; i < rank; i++)
		text_printf(&t, "%s%jd", i ? ", " : "[", (intmax_t)dim[i]);
	text_add(&t, rank ? "]" : "a scalar");
	return t.s;
}

/* `gate` of expert 3, or `router` */
static const char *who(Load *x)
{
	return x->expert < 0 ? arena_printf(x->arena, "`%s`", x->p->name)
		: arena_printf(x->arena, "`%s` of expert %jd", x->p->name,
			       (intmax_t)x->expert);
}

static const char *wanted(Load *x)
{
	const Type *t = &x->p->type;
	return arena_printf(x->arena, "%s is %s%s", who(x), dtype_info[t->dtype].name,
			    t->rank ? shape_text(x->arena, t->rank, t->dim) : "");
}

static PRINTF(4, 5) bool wrong(Load *x, DiagCode code, Loc at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pthread_mutex_lock(&x->l->lock);
	diag_error(x->l->diag, code, at, "%s", arena_vprintf(x->arena, fmt, args));
	pthread_mutex_unlock(&x->l->lock);
	va_end(args);
	x->said = true;
	return false;
}

static void missing(Load *x, Loc at, const char *name)
{
	int n, files = checkpoint_files(x->l->from);
	const char **names = checkpoint_names(x->l->from, x->arena, &n);

	wrong(x, E_tensor_missing, at, "no tensor `%s` in %s: %s is read from it", name,
	      files == 1 ? "the file" : arena_printf(x->arena, "the %d files", files),
	      who(x));
	const char *near = near_names(x->arena, name, names, n);
	if (near)
		diag_fix(x->l->diag, "did you mean %s?", near);
}

static bool is_float(Dtype d)
{
	const char *name = dtype_info[d].name;
	return name[0] == 'f' || strcmp(name, "bf16") == 0;
}

/* Whether entries stored as `from` may become `to`; numbers do not become choices. */
static bool converts(Dtype from, Dtype to)
{
	if (from == DT_COUNT)
		return false;
	return from == to || (from == DT_i32 && to == DT_index) ||
	       (is_float(from) && is_float(to));
}

/* What each byte of a tensor is; NULL: its entries are no bytes. */
static const double *values_of(Load *x, const TensorInfo *t)
{
	double *value = t->value ? NEWN(x->arena, double, 256) : NULL;

	for (unsigned i = 0; value && i < 256; i++)
		value[i] = t->value(i);
	return value;
}

/* The tensor as it lies in the file.  Under the loader's lock. */
static bool find_tensor(Load *x, Loc at, const char *name, Dtype to, View *v)
{
	bool bad;
	const TensorInfo *t = checkpoint_find(x->l->from, x->l->diag, name, &bad);

	if (!t) {
		if (!bad)
			missing(x, at, name);
		x->said = true;
		return false;
	}
	if (!converts(t->dtype, to))
		return wrong(x, E_tensor_type, at,
			     "%s, but `%s` is stored as %s, which moec does not read "
			     "into %s",
			     wanted(x), name, t->type, dtype_info[to].name);
	*v = (View){.dtype = t->dtype, .rank = t->rank,
		    .type = t->value ? t->type : dtype_info[t->dtype].name,
		    .value = values_of(x, t)};
	memcpy(v->dim, t->dims, sizeof v->dim);
	v->data = checkpoint_data(x->l->from, x->l->diag, t);
	x->said |= !v->data;
	return v->data != NULL;
}

static bool tensor_view(Load *x, Loc at, const char *name, Dtype to, View *v)
{
	pthread_mutex_lock(&x->l->lock);
	bool ok = find_tensor(x, at, name, to, v);
	pthread_mutex_unlock(&x->l->lock);
	if (ok)
		view_row_major(v);
	return ok;
}

static void *allocate(Load *x, int64_t n, size_t size)
{
	void *p = malloc((size_t)n * size + 1);

	if (!p)
		wrong(x, E_no_memory, x->p->loc, "no memory for %s", who(x));
	else
		vec_push(x->arena, &x->owned, p);
	return p;
}

/* Into memory of our own, row-major. */
static bool flatten(Load *x, View *v)
{
	void *to = allocate(x, view_entries(v), view_size(v));

	if (!to)
		return false;
	view_copy(v, to);
	v->data = to;
	view_row_major(v);
	return true;
}

static bool reshape_view(Load *x, const Type *t, View *v)
{
	if (view_drop_ones(t, v))
		return true;
	if (!view_contiguous(v) && !flatten(x, v))
		return false;
	v->rank = t->rank;
	memcpy(v->dim, t->dim, sizeof t->dim);
	view_row_major(v);
	return true;
}

/* A view, if the value is one.  False: it must be evaluated, or x->said. */
static bool view_of(Load *x, const Value *value, Dtype to, View *v)
{
	const Op *op = value->def;

	if (!op)
		return false;
	if (op->kind == OP_tensor)
		return tensor_view(x, op->loc, attr_get_str(op, "name", ""), to, v) &&
		       v->rank == value->type.rank &&
		       memcmp(v->dim, value->type.dim,
			      (size_t)v->rank * sizeof *v->dim) == 0;
	if (op->kind != OP_slice && op->kind != OP_transpose && op->kind != OP_reshape)
		return false;
	if (!view_of(x, op->args[0], to, v))
		return false;
	return op->kind == OP_slice     ? view_slice(op, v)
	     : op->kind == OP_transpose ? view_transpose(v)
					: reshape_view(x, &value->type, v);
}

/* Choices out of range are none, and a bool is 0 or 1, whatever the file holds. */
static void tame(const Type *t, int64_t n, void *data)
{
	int32_t *choice = data;
	uint8_t *b = data;

	for (int64_t i = 0; i < n; i++)
		if (t->dtype == DT_bool)
			b[i] = b[i] != 0;
		else if (choice[i] < 0 || choice[i] >= t->axis)
			choice[i] = -1;
}

static void convert(const View *v, Dtype to, char *out, int64_t n)
{
	double x[BLOCK];

	for (int64_t i = 0; i < n; i += BLOCK) {
		int64_t m = MIN(BLOCK, n - i);
		view_doubles(v, i, m, x);
		store_doubles(to, x, m, out + (size_t)i * entry_size(to));
	}
}

static void note_conversion(Load *x, const char *from)
{
	pthread_mutex_lock(&x->l->lock);
	if (!x->l->noted)
		diag_perf(x->l->diag, x->p->loc,
			  "%s, the checkpoint stores %s: such weights "
			  "are converted while they are read",
			  wanted(x), from);
	x->l->noted = true;
	pthread_mutex_unlock(&x->l->lock);
}

/* The view as row-major entries of type t, in place where it already is that. */
static const void *settle(Load *x, const Type *t, View v)
{
	int64_t n = view_entries(&v);
	bool tamed = t->dtype == DT_index || t->dtype == DT_bool;
	bool same = !v.value && (v.dtype == t->dtype ||
				 (t->dtype == DT_index && v.dtype == DT_i32));
	bool aligned = (uintptr_t)v.data % view_size(&v) == 0;

	if ((!view_contiguous(&v) || !aligned || (same && tamed)) && !flatten(x, &v))
		return NULL;
	char *to = (char *)v.data;
	if (!same) {
		note_conversion(x, v.type);
		to = allocate(x, n, entry_size(t->dtype));
		if (to)
			convert(&v, t->dtype, to, n);
	}
	if (to && tamed)
		tame(t, n, to);
	return to;
}

static bool fits(Load *x, Loc at, const View *v, const char *given)
{
	const Type *t = &x->p->type;

	if (v->rank == t->rank &&
	    memcmp(v->dim, t->dim, (size_t)t->rank * sizeof *t->dim) == 0)
		return true;
	pthread_mutex_lock(&x->l->lock);
	wrong(x, E_tensor_shape, at, "%s, %s %s", wanted(x), given,
	      shape_text(x->arena, v->rank, v->dim));
	if (v->rank == 2 && t->rank == 2 && v->dim[0] == t->dim[1] &&
	    v->dim[1] == t->dim[0])
		diag_fix(x->l->diag, "write `transpose(..)`");
	pthread_mutex_unlock(&x->l->lock);
	return false;
}

/* A view as the parameter.  Small floats without their scales would be other weights. */
static const void *take(Load *x, Loc at, View v, const char *given)
{
	if (!fits(x, at, &v, given))
		return NULL;
	if (!v.value || !is_float(v.dtype))
		return settle(x, &x->p->type, v);
	pthread_mutex_lock(&x->l->lock);
	wrong(x, E_tensor_type, at, "%s; it is stored as %s and read without its scales",
	      wanted(x), v.type);
	diag_fix(x->l->diag, "write `\"..\" * blockwise(..)`; if it has none, `1 * \"..\"`");
	pthread_mutex_unlock(&x->l->lock);
	return NULL;
}

static const void *load_by_path(Load *x)
{
	const char *name = path_of(x->arena, x->p, x->expert);
	View v;

	if (!tensor_view(x, x->p->loc, name, x->p->type.dtype, &v))
		return NULL;
	return take(x, x->p->loc, v, arena_printf(x->arena, "the file's `%s`", name));
}

/* What the op `tensor` reads while a layout is evaluated. */
static const void *tensor_for_eval(void *ctx, const char *name, const Type *t)
{
	Load *x = ctx;
	View v;

	if (!tensor_view(x, x->p->loc, name, t->dtype, &v))
		return NULL;
	x->mixed = x->mixed || (x->type && v.type != x->type);
	x->type = v.type;
	if (v.rank == t->rank &&
	    memcmp(v.dim, t->dim, (size_t)v.rank * sizeof *v.dim) == 0)
		return settle(x, t, v);
	wrong(x, E_tensor_shape, x->p->loc, "%s reads `%s` as %s, but it is %s", who(x),
	      name, shape_text(x->arena, t->rank, t->dim),
	      shape_text(x->arena, v.rank, v.dim));
	return NULL;
}

static const void *evaluate(Load *x, const Fn *fn, Loc at)
{
	EvalCall call = {.step = -1, .tensor = tensor_for_eval, .tensor_ctx = x};
	EvalResult r;
	const char *why = "";

	if (!eval_fn(x->arena, x->l->m, fn, &call, &r, &why)) {
		if (!x->said)
			wrong(x, E_cannot_read, at, "%s cannot be read: %s", who(x), why);
		return NULL;
	}
	const Tensor *y = &r.outs[0];
	View v = {.dtype = DT_f64, .rank = y->type.rank, .data = (const char *)y->v};
	memcpy(v.dim, y->type.dim, sizeof y->type.dim);
	if (!fits(x, at, &v, "the layout gives"))
		return NULL;
	/* what is made of tensors of several types has none of its own */
	if (x->type && !x->mixed && is_float(x->p->type.dtype) &&
	    strcmp(x->type, dtype_info[x->p->type.dtype].name) != 0)
		note_conversion(x, x->type);
	void *to = allocate(x, y->n, entry_size(x->p->type.dtype));
	if (!to)
		return NULL;
	store_doubles(x->p->type.dtype, y->v, y->n, to);
	if (x->p->type.dtype == DT_index)
		tame(&x->p->type, y->n, to);
	return to;
}

/* An operand of load_expanded: contiguous, of the op's own type. */
static bool operand_view(Load *x, const Value *value, View *v)
{
	if (value->def && value->def->kind == OP_cast && value->type.dtype == DT_f32)
		value = value->def->args[0];    /* of a smaller float: its numbers stay */
	return view_of(x, value, value->type.dtype, v) &&
	       (view_contiguous(v) || flatten(x, v));
}

/* A quantised weight times its scales: the same as evaluating it, but quick.  NULL:
 * another layout, or x->said. */
static const void *load_expanded(Load *x, Loc at, const Value *result)
{
	const Op *op = result->def, *blocks = op->kind == OP_mul ? op->args[1]->def : op;
	bool mxfp4 = op->kind == OP_mxfp4;
	Dtype to = x->p->type.dtype;
	View w, scales, y = {.rank = result->type.rank};

	if (!is_float(to))
		return NULL;
	if (!mxfp4 && (op->kind != OP_mul || !blocks || blocks->kind != OP_blockwise ||
		       result->type.rank != 2 ||
		       !shape_equal(&op->args[0]->type, &result->type) ||
		       !shape_equal(&op->args[1]->type, &result->type)))
		return NULL;
	memcpy(y.dim, result->type.dim, sizeof result->type.dim);
	if (!operand_view(x, op->args[0], &w) ||
	    !operand_view(x, mxfp4 ? op->args[1] : blocks->args[0], &scales) ||
	    (mxfp4 && (!w.value || !scales.value)) ||
	    !fits(x, at, &y, "the layout gives"))
		return NULL;
	void *out = allocate(x, view_entries(&y), entry_size(to));
	note_conversion(x, w.type);
	if (out && mxfp4)
		expand_mxfp4(&w, &scales, to, out);
	else if (out)
		expand_scaled(&w, &scales, attr_get_int(blocks, "a", 1),
			      attr_get_int(blocks, "b", 1), to, out);
	return out;
}

static const void *load_by_function(Load *x)
{
	const char *name = x->expert < 0 ? x->p->load : arena_printf(x->arena, "%s.%jd",
		x->p->load, (intmax_t)x->expert);
	const Fn *fn = fn_find(x->l->m, name);
	View v;

	if (!fn || !fn->body->last || fn->body->last->nargs != 1)
		ice("no load function @%s", name);
	const Value *result = fn->body->last->args[0];
	Loc at = result->def && result->def->loc.file ? result->def->loc : x->p->loc;
	if (result->def && result->type.dtype == x->p->type.dtype &&
	    (result->def->kind == OP_cast || result->def->kind == OP_index))
		result = result->def->args[0];  /* what settle() does anyway */
	if (view_of(x, result, x->p->type.dtype, &v))
		return take(x, at, v, "the layout gives");
	const void *data = x->said || !result->def ? NULL : load_expanded(x, at, result);
	return data || x->said ? data : evaluate(x, fn, at);
}

const void *load_param(Loader *l, const Param *p, int64_t expert, void **owned)
{
	Load x = {.l = l, .p = p, .expert = expert, .arena = arena_new()};
	const void *data = p->load ? load_by_function(&x) : load_by_path(&x);

	*owned = NULL;
	for (int i = 0; i < x.owned.n; i++)
		if (data == x.owned.at[i])
			*owned = x.owned.at[i];
		else
			free(x.owned.at[i]);
	arena_free(x.arena);
	return data;
}
