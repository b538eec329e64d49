/* SPDX-License-Identifier: Apache-2.0
 * inputs: the arguments of a layer's call, from .npy files or seeded. */
#include "moec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TOKENS = 16, BLOCK = 4096 };

static bool is_float(Dtype t)
{
	return t == DT_f32 || t == DT_f64 || t == DT_bf16 || t == DT_f16;
}

/* Entry i is 32 bits of Philox block i / 4, scaled to 0 .. choices-1. */
static void random_choices(int64_t choices, uint64_t seed, uint64_t stream, int64_t first,
			   int64_t n, double *to)
{
	uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, w[4];

	for (int64_t i = first; i < first + n; i++) {
		uint32_t ctr[4] = {(uint32_t)(i / 4), (uint32_t)(i / 4 >> 32),
				   (uint32_t)stream, (uint32_t)(stream >> 32)};
		if (i % 4 == 0 || i == first)
			moert_philox(w, ctr, key);
		to[i - first] = (double)(w[i % 4] * (uint64_t)choices >> 32);
	}
}

void random_entries(const Type *t, uint64_t seed, uint64_t stream, int64_t first,
		    int64_t n, double *to)
{
	float block[BLOCK];

	if (!is_float(t->dtype)) {
		int64_t choices = t->dtype == DT_bool ? 2 : MAX(t->axis, 1);
		random_choices(choices, seed, stream, first, n, to);
		return;
	}
	for (int64_t i = 0; i < n; i += BLOCK) {
		int64_t m = MIN(BLOCK, n - i);
		random_normals(DT_f32, block, first + i, m, seed, stream, 1);
		for (int64_t j = 0; j < m; j++)
			to[i + j] = round_to(t->dtype, block[j]);
	}
}

static bool is_name(const char *s, size_t n)
{
	bool ok = n > 0 && !isdigit((unsigned char)*s);

	for (size_t i = 0; i < n; i++)
		ok = ok && (isalnum((unsigned char)s[i]) || s[i] == '_');
	return ok;
}

/* [NAME=]FILE: which argument, and the file; -1: said. */
static int find_input(const Job *job, const Region *body, const char *text,
		      const char **file)
{
	const char *equals = strchr(text, '=');
	const char **names = NEWN(job->arena, const char *, (size_t)body->nargs + 1);

	*file = text;
	if (!equals || !is_name(text, (size_t)(equals - text)))
		return 0;
	*file = equals + 1;
	const char *name = arena_strndup(job->arena, text, (size_t)(equals - text));
	for (int i = 0; i < body->nargs; i++) {
		names[i] = body->args[i]->name;
		if (names[i] && strcmp(names[i], name) == 0)
			return i;
	}
	diag_error(job->diag, E_unknown_input, (Loc){.file = job->opt->src},
		   "no input is called `%s`", name);
	const char *near = nearest_name(name, names, body->nargs);
	if (near)
		diag_fix(job->diag, "did you mean `%s`?", near);
	return -1;
}

static const char *shape_text(Arena *a, const char *first, int rank, const int64_t *dims)
{
	Text t = text_new(a);

	text_printf(&t, "[%s", first);
	for (int i = 0; i < rank; i++)
		text_printf(&t, "%s%jd", i || *first ? ", " : "", (intmax_t)dims[i]);
	text_add(&t, "]");
	return t.s;
}

/* The trailing dimensions are the input's; ones before them count rows. */
static bool shape_fits(const Type *t, const Npy *npy, int64_t *rows)
{
	int lead = npy->rank - t->rank;

	if (lead < 0 || lead > 1 || (lead == 0 && t->level == LV_TOKEN) ||
	    memcmp(npy->dims + lead, t->dim, (size_t)t->rank * sizeof *t->dim))
		return false;
	*rows = lead ? npy->dims[0] : 1;
	return t->level == LV_TOKEN || *rows == 1;
}

static bool read_input(const Job *job, const char *file, const Value *arg, Npy *npy,
		       int64_t *rows)
{
	Loc at = {.file = file};
	const Type *t = &arg->type;

	if (!npy_read(job->arena, job->diag, file, npy))
		return false;
	if (npy->is_int == is_float(t->dtype)) {
		diag_error(job->diag, E_npy_fit, at, "`%s` needs %s, the file holds %s",
			   arg->name, npy->is_int ? "float32" : "int32",
			   npy->is_int ? "int32" : "float32");
		return false;
	}
	if (shape_fits(t, npy, rows))
		return true;
	diag_error(
	    job->diag, E_npy_fit, at, "`%s` needs the shape %s, the file holds %s",
	    arg->name,
	    shape_text(job->arena, t->level == LV_TOKEN ? "T" : "", t->rank, t->dim),
	    shape_text(job->arena, "", npy->rank, npy->dims));
	return false;
}

static void convert(const Type *t, const Npy *npy, Input *in)
{
	for (int64_t i = 0; i < in->n; i++) {
		double v = npy->is_int ? npy->i[i] : npy->f[i];
		if (t->dtype == DT_index && (v < 0 || v >= (double)t->axis))
			v = -1;
		in->v[i] = t->dtype == DT_bool ? v != 0
			 : is_float(t->dtype) ? round_to(t->dtype, v) : v;
	}
}

static int64_t chosen_axis(const Module *m, const Region *r, const Value *v);

/* How long the axis is that an integer chooses along in this op; 0: it does not. */
static int64_t axis_of_use(const Module *m, const Op *op, int arg)
{
	const Type *from = &op->args[0]->type;
	const Fn *fn;

	switch (op->kind) {
	case OP_index:
		return op->outs[0]->type.axis;
	case OP_gather:
		return arg == 1 && from->rank ? from->dim[0] : 0;
	case OP_take:
		return arg == 1 && from->rank ? from->dim[from->rank - 1] : 0;
	case OP_call:
		fn = fn_find(m, attr_get_str(op, "fn", ""));
		return fn && arg < fn->body->nargs
			       ? chosen_axis(m, fn->body, fn->body->args[arg]) : 0;
	default:
		return 0;
	}
}

static int64_t chosen_axis(const Module *m, const Region *r, const Value *v)
{
	for (const Op *op = r->first; op; op = op->next) {
		int64_t axis = 0;
		for (int i = 0; i < op->nargs && !axis; i++)
			if (op->args[i] == v)
				axis = axis_of_use(m, op, i);
		for (int i = 0; i < op->nregions && !axis; i++)
			axis = chosen_axis(m, op->regions[i], v);
		if (axis)
			return axis;
	}
	return 0;
}

Input input_of(const Module *m, int i)
{
	const Region *body = m->fns->body;
	Input in = {.name = body->args[i]->name, .type = body->args[i]->type};

	if (!in.name)
		in.name = "x";
	if (in.type.dtype == DT_i32)
		in.type.axis = chosen_axis(m, body, body->args[i]);
	return in;
}

static bool make_input(const Job *job, const Npy *npy, int64_t tokens, Input *in)
{
	const Type *t = &in->type;

	in->rows = t->level == LV_TOKEN ? tokens : 1;
	if (__builtin_mul_overflow(in->rows, type_elems(t), &in->n) ||
	    in->n > INT64_MAX / 16) {
		diag_error(job->diag, E_token_count, (Loc){0},
			   "%jd tokens are too many for `%s`", (intmax_t)tokens,
			   in->name);
		return false;
	}
	in->v = NEWN(job->arena, double, (size_t)in->n);
	if (npy)
		convert(t, npy, in);
	else
		random_entries(t, job->opt->seed, name_hash(in->name), 0, in->n, in->v);
	in->raw = arena_array(job->arena, (size_t)in->n, entry_bytes(t->dtype));
	entries_store(t->dtype, in->v, in->n, in->raw);
	return true;
}

static bool agree(const Job *job, const char *file, int64_t rows, int64_t *tokens,
		  const char **said_by)
{
	if (*tokens < 0 || *tokens == rows) {
		*tokens = rows;
		*said_by = arena_printf(job->arena, "%s holds", file);
		return true;
	}
	diag_error(job->diag, E_token_count, (Loc){.file = file},
		   "it holds %jd tokens, %s %jd", (intmax_t)rows, *said_by,
		   (intmax_t)*tokens);
	return false;
}

/* Values of a type in a call: as doubles, and as compiled code takes them. */
static double bytes_of(const Type *t, int64_t tokens)
{
	double rows = t->level == LV_TOKEN ? (double)tokens : 1;

	return rows * (double)type_elems(t) * (double)(sizeof(double) + entry_bytes(t->dtype));
}

static bool call_fits(const Job *job, const Fn *fn, int64_t tokens)
{
	double bytes = 0;

	for (int i = 0; i < fn->body->nargs; i++)
		bytes += bytes_of(&fn->body->args[i]->type, tokens);
	for (int i = 0; i < fn->nouts; i++)
		bytes += bytes_of(&fn->outs[i], tokens);
	return enough_memory(job, arena_printf(job->arena, "%jd token%s", (intmax_t)tokens,
					       tokens == 1 ? "" : "s"), bytes);
}

bool inputs_make(const Job *job, const Module *m, Inputs *out)
{
	const Region *body = m->fns->body;
	const Options *o = job->opt;
	Npy **files = NEWN(job->arena, Npy *, (size_t)body->nargs + 1);
	const char *said_by = "--tokens says";

	*out = (Inputs){.tokens = o->tokens, .n = body->nargs};
	for (int i = 0; i < o->inputs.n; i++) {
		const char *file;
		int64_t rows;
		int to = find_input(job, body, o->inputs.at[i], &file);
		if (to < 0)
			return false;
		if (to >= body->nargs) {
			diag_error(job->diag, E_unknown_input, (Loc){.file = o->src},
				   "it has no input");
			return false;
		}
		if (files[to]) {
			diag_error(job->diag, E_unknown_input, (Loc){.file = file},
				   "`%s` was given already", input_of(m, to).name);
			return false;
		}
		files[to] = NEW(job->arena, Npy);
		if (!read_input(job, file, body->args[to], files[to], &rows))
			return false;
		if (body->args[to]->type.level == LV_TOKEN &&
		    !agree(job, file, rows, &out->tokens, &said_by))
			return false;
	}
	if (out->tokens < 0)
		out->tokens = DEFAULT_TOKENS;
	if (!call_fits(job, m->fns, out->tokens))
		return false;
	out->at = NEWN(job->arena, Input, (size_t)body->nargs + 1);
	for (int i = 0; i < body->nargs; i++) {
		out->at[i] = input_of(m, i);
		if (!make_input(job, files[i], out->tokens, &out->at[i]))
			return false;
	}
	return true;
}
