/* SPDX-License-Identifier: Apache-2.0
 * elab_diag: how the elaborator speaks: places, types and values in words. */
#include "elab.h"

#include <inttypes.h>
#include <string.h>

static bool in_std(const Elab *e, Loc loc)
{
	return e->std && loc.file && strcmp(loc.file, e->std->file) == 0;
}

Loc user_loc(Elab *e, Loc loc)
{
	for (Frame *f = e->frame; f && in_std(e, loc); f = f->caller)
		loc = f->call;
	return loc;
}

static bool said_before(Elab *e, Loc loc, const char *text)
{
	for (int i = 0; i < e->said.n; i++) {
		const Said *s = &e->said.at[i];
		if (s->line == loc.line && s->col == loc.col &&
		    strcmp(s->text, text) == 0 && loc.file &&
		    strcmp(s->file, loc.file) == 0)
			return true;
	}
	if (loc.file)
		vec_push(e->a, &e->said, ((Said){loc.file, text, loc.line, loc.col}));
	return false;
}

static void vsay(Elab *e, DiagCode code, Loc loc, const char *fix, const char *fmt,
		 va_list args)
{
	const char *text;
	Loc user = user_loc(e, loc);

	if (e->loose && !is_certain(code))
		return;
	e->errors++;
	if (e->mute || e->fatal)
		return;
	text = arena_vprintf(e->a, fmt, args);
	if (said_before(e, user, text))
		return;
	if (e->said.n > MAX_ERRORS)
		e->fatal = true;
	diag_error(e->d, code, user, "%s", text);
	if (fix)
		diag_fix(e->d, "%s", fix);
	if (in_std(e, loc) && e->frame->caller && in_std(e, e->frame->call))
		diag_note(e->d, loc, "it happens here");
}

void say(Elab *e, DiagCode code, Loc loc, const char *fix, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay(e, code, loc, fix, fmt, args);
	va_end(args);
}

/* For bounds: said even in a trial, because nothing runs afterwards. */
void stop_all(Elab *e, DiagCode code, Loc loc, const char *fix, const char *fmt, ...)
{
	int mute = e->mute;
	va_list args;

	e->mute = 0;
	va_start(args, fmt);
	vsay(e, code, loc, fix, fmt, args);
	va_end(args);
	e->mute = mute;
	e->fatal = true;
}

const char *fix_near(Elab *e, const char *name, const char *const *names, int n)
{
	const char *near = nearest_name(name, names, n);

	return near ? arena_printf(e->a, "did you mean `%s`?", near) : NULL;
}

const char *fix_among(Elab *e, const char *name, const char *const *names, int n)
{
	const char *near = fix_near(e, name, names, n);

	return near || !n ? near : arena_printf(e->a, "it has %s", list_text(e, names, n));
}

const char *shape_words(Elab *e, const Type *t)
{
	Text text = text_new(e->a);

	text_add(&text, "[");
	for (int i = 0; i < t->rank; i++)
		text_printf(&text, "%s%" PRId64, i ? ", " : "", t->dim[i]);
	text_add(&text, "]");
	return text.s;
}

/* As the language sees it: stored types are f32, a call scalar is a number. */
const char *type_words(Elab *e, const Type *t)
{
	const char *name = t->dtype == DT_f64 ? "f32" : dtype_info[t->dtype].name;

	return arena_printf(e->a, "%s%s", name, t->rank ? shape_words(e, t) : "");
}

const char *val_words(Elab *e, const Val *v)
{
	const char *s = "nothing";

	switch (v->kind) {
	case V_POISON: break;
	case V_NUM:    s = arena_printf(e->a, "%.17g", v->f); break;
	case V_BOOL:   s = v->b ? "true" : "false"; break;
	case V_STR:    s = arena_printf(e->a, "\"%.60s\"", v->s); break;
	case V_NONE:   s = "none"; break;
	case V_LIST:   s = arena_printf(e->a, "a list of %d", v->n); break;
	case V_JSON:   s = json_is_array(v->json) ? "a list" : "an object"; break;
	case V_IR:     s = type_words(e, &v->v->type); break;
	case V_BLOCKS: s = "block scales"; break;
	}
	if (v->kind == V_NONE && v->origin)
		s = "null";
	if (v->origin)
		return arena_printf(e->a, "%s (%s of %s)", s, v->origin,
				    e->opt->config_file ? e->opt->config_file
							: "config.json");
	return s;
}

const char *where_text(Elab *e, Loc loc)
{
	return arena_printf(e->a, "%s:%d", loc.file ? loc.file : "", loc.line);
}

const char *list_text(Elab *e, const char *const *s, int n)
{
	Text text = text_new(e->a);

	for (int i = 0; i < n && i < 24; i++)
		text_printf(&text, "%s%s", i ? ", " : "", s[i]);
	if (n > 24)
		text_add(&text, ", ..");
	return text.s;
}

const char *level_text(const Type *t)
{
	switch (t->level) {
	case LV_TOKEN: return "differs from token to token";
	case LV_ROW:   return "differs from token to token";
	case LV_SEQ:   return "differs from sequence to sequence";
	case LV_EXPERT: return "differs from expert to expert";
	case LV_ONCE:  break;
	}
	return "is known only when the layer runs";
}
