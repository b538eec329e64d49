/* SPDX-License-Identifier: Apache-2.0
 * text: the printed form of a module; parse.c reads it back to the identical text.
 *
 * A value prints under its own name, made unique in its function with .1, .2 ..; those
 * without a name are numbered in the order of the text. */
#include "names.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

typedef struct {
	Text *out;
	Map   names;                    /* Value -> what it prints as */
	Map   used;                     /* names given away -> the last suffix */
	int   unnamed;
	int   depth;
} Printer;

static void print_quoted(Text *t, const char *s)
{
	text_add(t, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			text_printf(t, "\\%c", *s);
		else if (*s < 0x20 || *s > 0x7e)
			text_printf(t, "\\x%02x", (unsigned char)*s);
		else
			text_addn(t, s, 1);
	}
	text_add(t, "\"");
}

static void print_word(Text *t, const char *s)
{
	if (is_word(s))
		text_add(t, s);
	else
		print_quoted(t, s);
}

static void print_float(Text *t, double x)
{
	if (isnan(x))
		text_add(t, "nan");
	else if (isinf(x))
		text_add(t, x < 0 ? "-inf" : "inf");
	else
		text_printf(t, "%a", x);
}

/* Where the kind of a number is known from its place, whole ones print as integers. */
static void print_number(Text *t, double x)
{
	if (fabs(x) < 0x1p53 && x == floor(x) && !(x == 0 && signbit(x)))
		text_printf(t, "%jd", (intmax_t)x);
	else
		print_float(t, x);
}

/* Also of types that are none: the verifier's messages show them. */
void print_type(Text *t, const Type *type)
{
	bool ranged = type->level == LV_EXPERT || type->level == LV_ROW;

	if (type->dtype >= DT_COUNT || type->level > LV_ROW || type->rank > MAX_RANK) {
		text_add(t, "?");
		return;
	}
	text_add(t, dtype_info[type->dtype].name);
	if (type->dtype == DT_index)
		text_printf(t, "<%jd>", (intmax_t)type->axis);
	if (type->level == LV_ONCE && type->rank == 0)
		return;
	text_printf(t, "[%s", level_symbol[type->level]);
	if (ranged)
		text_printf(t, "%d", type->range);
	for (int i = 0; i < type->rank; i++)
		text_printf(t, "%s%jd", i || type->level != LV_ONCE ? ", " : "",
			    (intmax_t)type->dim[i]);
	text_add(t, "]");
}

/* ---- names ---- */

static const char *sanitized(Arena *arena, const char *name)
{
	size_t n = strlen(name);
	char *s = arena_alloc(arena, n + 2), *to = s;

	if (is_word(name))
		return name;
	if (n == 0 || isdigit((unsigned char)*name) || *name == '.')
		*to++ = '_';
	for (size_t i = 0; i < n; i++)
		*to++ = is_word_char(name[i]) ? name[i] : '_';
	return s;
}

static void name_value(Printer *p, const Value *v)
{
	Arena *arena = p->out->arena;
	void **place = map_address(&p->names, v);

	if (!v->name) {
		*place = arena_printf(arena, "%d", p->unnamed++);
		return;
	}
	const char *base = sanitized(arena, v->name), *name = base;
	while (*map_text(&p->used, name)) {
		intptr_t *suffix = *map_text(&p->used, base);
		name = arena_printf(arena, "%s.%jd", base, (intmax_t)++*suffix);
	}
	*map_text(&p->used, name) = NEW(arena, intptr_t);
	*place = (void *)name;
}

static void name_region(Printer *p, const Region *r)
{
	for (int i = 0; i < r->nargs; i++)
		name_value(p, r->args[i]);
	for (const Op *op = r->first; op; op = op->next) {
		for (int i = 0; i < op->nouts; i++)
			name_value(p, op->outs[i]);
		for (int i = 0; i < op->nregions; i++)
			name_region(p, op->regions[i]);
	}
}

static void print_value(Printer *p, const Value *v)
{
	const char *name = v ? *map_address(&p->names, v) : NULL;

	text_printf(p->out, "%%%s", name ? name : "?"); /* ?: not of this function */
}

/* ---- attributes ---- */

static void print_list(Text *t, const Op *op, const Attr *a)
{
	static const char *const empty[] = {[AT_INTS] = "ints", [AT_FLOATS] = "floats",
					    [AT_STRS] = "strs", [AT_FNS] = "fns"};
	bool bare = a->kind == AT_FNS && a->n == 1;

	if (a->n == 0)
		text_add(t, empty[a->kind]);
	text_add(t, bare ? "" : "[");
	for (int i = 0; i < a->n; i++) {
		text_add(t, i ? ", " : "");
		switch (a->kind) {
		case AT_INTS:   text_printf(t, "%jd", (intmax_t)a->is[i]); break;
		case AT_FLOATS:
			is_const_value(op->kind, a->name) ? print_number(t, a->fs[i])
							  : print_float(t, a->fs[i]);
			break;
		case AT_FNS:    text_add(t, "@"); print_word(t, a->ss[i]); break;
		default:        print_quoted(t, a->ss[i]); break;
		}
	}
	text_add(t, bare ? "" : "]");
}

static void print_attr(Text *t, const Op *op, const Attr *a)
{
	print_word(t, a->name);
	text_add(t, "=");
	switch (a->kind) {
	case AT_INT:   text_printf(t, "%jd", (intmax_t)a->i); break;
	case AT_FLOAT: print_float(t, a->f); break;
	case AT_STR:   print_quoted(t, a->s); break;
	case AT_WORD:  print_word(t, a->s); break;
	default:       print_list(t, op, a); break;
	}
}

/* ---- ops ---- */

static void indent(Printer *p)
{
	text_printf(p->out, "%*s", 2 * p->depth, "");
}

static void print_op_head(Printer *p, const Op *op)
{
	Text *t = p->out;

	for (int i = 0; i < op->nouts; i++) {
		text_add(t, i ? ", " : "");
		print_value(p, op->outs[i]);
	}
	text_printf(t, "%s%s", op->nouts ? " = " : "", op_info[op->kind].name);
	for (int i = 0; i < op->nargs; i++) {
		text_add(t, i ? ", " : " ");
		print_value(p, op->args[i]);
	}
	for (int i = 0; i < op->nattrs; i++) {
		text_add(t, i ? ", " : " {");
		print_attr(t, op, &op->attrs[i]);
	}
	text_add(t, op->nattrs ? "}" : "");
	for (int i = 0; i < op->nouts; i++) {
		text_add(t, i ? ", " : " : ");
		print_type(t, &op->outs[i]->type);
	}
}

static void print_args(Printer *p, const Region *r)
{
	text_add(p->out, "(");
	for (int i = 0; i < r->nargs; i++) {
		text_add(p->out, i ? ", " : "");
		print_value(p, r->args[i]);
		text_add(p->out, ": ");
		print_type(p->out, &r->args[i]->type);
	}
	text_add(p->out, ")");
}

static void print_region(Printer *p, const Region *r)
{
	text_add(p->out, " {\n");
	p->depth++;
	if (r->op && r->nargs) {
		indent(p);
		print_args(p, r);
		text_add(p->out, ":\n");
	}
	for (const Op *op = r->first; op; op = op->next) {
		indent(p);
		print_op_head(p, op);
		for (int i = 0; i < op->nregions; i++)
			print_region(p, op->regions[i]);
		text_add(p->out, "\n");
	}
	p->depth--;
	indent(p);
	text_add(p->out, "}");
}

static Printer printer_for(Text *t, const Region *body)
{
	Printer p = {
	    .out = t, .names.arena = t->arena, .used.arena = t->arena, .depth = 1};

	if (body)
		name_region(&p, body);
	return p;
}

static void print_fn(Text *t, const Fn *fn)
{
	Printer p = printer_for(t, fn->body);

	text_add(t, "  fn @");
	print_word(t, fn->name);
	print_args(&p, fn->body);
	text_add(t, " -> (");
	for (int i = 0; i < fn->nouts; i++) {
		text_add(t, i ? ", " : "");
		if (fn->out_names && fn->out_names[i]) {
			print_word(t, fn->out_names[i]);
			text_add(t, ": ");
		}
		print_type(t, &fn->outs[i]);
	}
	text_add(t, ")");
	print_region(&p, fn->body);
	text_add(t, "\n");
}

void print_op(Text *t, const Op *op)
{
	Printer p = printer_for(t, op->in ? op->in->fn->body : NULL);

	print_op_head(&p, op);
}

/* ---- what stands before the functions ---- */

static void print_param(Text *t, const Param *p)
{
	text_add(t, "  param ");
	print_word(t, p->name);
	text_add(t, ": ");
	print_type(t, &p->type);
	if (p->has_init) {
		text_add(t, " init=");
		print_number(t, p->init);
	}
	if (p->load) {
		text_add(t, " load=@");
		print_word(t, p->load);
	}
	text_add(t, p->step ? " step\n" : "\n");
}

static void print_state(Text *t, const State *s)
{
	text_add(t, "  state ");
	print_word(t, s->name);
	text_add(t, ": ");
	print_type(t, &s->type);
	text_printf(t, " per %s init=", s->scope == PER_SEQUENCE ? "sequence" : "call");
	print_number(t, s->init);
	text_add(t, "\n");
}

static void print_panel(Text *t, const Panel *p)
{
	text_add(t, "  panel ");
	print_word(t, p->name);
	text_printf(t, ": %s ", dtype_info[p->dtype].name);
	if (p->range >= 0)
		text_printf(t, "E%d ", p->range);
	text_add(t, "streams=[");
	for (int i = 0; i < p->nstreams; i++) {
		text_add(t, i ? ", " : "");
		print_word(t, p->streams[i]);
	}
	text_printf(t, "] n=%jd k=%jd cols=%jd kpack=%jd\n", (intmax_t)p->n,
		    (intmax_t)p->k, (intmax_t)p->cols, (intmax_t)p->kpack);
}

static void print_sizes(Text *t, int64_t width, int64_t experts, int64_t picks)
{
	text_printf(t, "width=%jd, experts=%jd, picks=%jd", (intmax_t)width,
		    (intmax_t)experts, (intmax_t)picks);
}

static void print_call(Text *t, const LayerCall *c)
{
	text_add(t, "  call ");
	print_word(t, c->path);
	text_add(t, " of ");
	print_word(t, c->layer);
	text_add(t, " = @");
	print_word(t, c->fn->name);
	text_add(t, " {");
	print_sizes(t, c->width, c->experts, c->picks);
	text_printf(t, ", losses=%d}\n", c->nlosses);
}

void print_module(Text *t, const Module *m)
{
	text_add(t, "module ");
	print_quoted(t, m->name);
	text_add(t, " {\n");
	if (m->target) {
		text_add(t, "  target ");
		print_quoted(t, m->target);
		text_add(t, "\n");
	}
	text_add(t, "  layer {");
	print_sizes(t, m->width, m->experts, m->picks);
	text_printf(t, ", group=%jd, losses=%d}\n", (intmax_t)m->group, m->nlosses);
	for (int i = 0; i < m->ranges.n; i++)
		text_printf(t, "  experts E%d = %jd..%jd\n", i,
			    (intmax_t)m->ranges.at[i].first,
			    (intmax_t)(m->ranges.at[i].first + m->ranges.at[i].count));
	for (int i = 0; i < m->params.n; i++)
		print_param(t, &m->params.at[i]);
	for (int i = 0; i < m->states.n; i++)
		print_state(t, &m->states.at[i]);
	for (int i = 0; i < m->panels.n; i++)
		print_panel(t, &m->panels.at[i]);
	for (int i = 0; i < m->calls.n; i++)
		print_call(t, &m->calls.at[i]);
	for (const Fn *fn = m->fns; fn; fn = fn->next)
		print_fn(t, fn);
	text_add(t, "}\n");
}
