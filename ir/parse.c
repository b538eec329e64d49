/* SPDX-License-Identifier: Apache-2.0
 * parse: reads back what text.c prints.  The text is hostile until read: nesting, sizes
 * and numbers are bounded, and the first mistake is reported and ends the parse. */
#include "parse.h"

#include <string.h>

enum { MOST_EXPERTS = 16384 };          /* as in the language */

/* One declaration of each kind and name. */
static bool declare(Parser *p, const char *kind, const char *name, Loc loc)
{
	void **place =
	    map_text(&p->known, arena_printf(p->m->arena, "%s %s", kind, name));

	if (*place)
		return lex_fail(&p->lex, E_ir_name, loc, "a second %s '%s'", kind, name);
	*place = p;
	return true;
}

static void parse_results(Parser *p)
{
	Arena *arena = p->m->arena;
	Vec(Type) types = {0};
	Vec(const char *) names = {0};

	lex_expect(&p->lex, "->");
	if (!lex_expect(&p->lex, "(") || lex_accept(&p->lex, ")"))
		return;
	do {
		const char *name = NULL;
		if (lex_is_second(&p->lex, ":")) {
			name = mir_name(p, "a result's name");
			lex_expect(&p->lex, ":");
		}
		vec_push(arena, &names, name);
		vec_push(arena, &types, mir_type(p));
	} while (lex_accept(&p->lex, ","));
	lex_expect(&p->lex, ")");
	p->fn->outs = types.at;
	p->fn->out_names = names.at;
	p->fn->nouts = types.n;
}

static Fn *parse_fn(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	const char *name = mir_token(p, TK_FN, "@name");

	if (p->lex.failed || !declare(p, "function", name, loc))
		return NULL;
	p->fn = NEW(p->m->arena, Fn);
	p->fn->name = name;
	p->fn->module = p->m;
	p->fn->body = region_new(p->fn, NULL);
	p->values = (Map){.arena = p->m->arena};
	p->visible.n = 0;
	mir_args(p, p->fn->body);
	parse_results(p);
	mir_region(p, p->fn->body);
	return p->fn;
}

/* {width=.., experts=.., ..}; group NULL: of a call, which has none. */
static int parse_sizes(Parser *p, int64_t *width, int64_t *experts, int64_t *picks,
		       int64_t *group)
{
	int64_t losses = 0;
	struct {
		const char *name;
		int64_t *to, min, max;
	} fields[] = {
		{"width", width, 0, MAX_ELEMS},
		{"experts", experts, 0, MOST_EXPERTS},
		{"picks", picks, 0, MOST_EXPERTS},
		{"losses", &losses, 0, INT32_MAX},
		{"group", group, -1, INT64_MAX},
	};
	size_t n = COUNT(fields) - (group == NULL);
	const char *names[COUNT(fields)];

	for (size_t i = 0; i < n; i++)
		names[i] = fields[i].name;

	lex_expect(&p->lex, "{");
	do {
		Loc loc = p->lex.tok.loc;
		const char *name = mir_name(p, "width, experts, picks, group or losses");
		size_t i = 0;
		while (i < n && strcmp(name, fields[i].name) != 0)
			i++;
		lex_expect(&p->lex, "=");
		if (i == n) {
			lex_fail(&p->lex, E_ir_name, loc, "a layer has no '%s'", name);
			const char *near = nearest_name(name, names, (int)n);
			if (near)
				diag_fix(p->lex.diag, "did you mean '%s'?", near);
			break;
		} else {
			*fields[i].to = mir_int(p, fields[i].min, fields[i].max);
		}
	} while (lex_accept(&p->lex, ","));
	lex_expect(&p->lex, "}");
	return (int)losses;
}

/* Its function comes later: find_callees. */
static void parse_call(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	LayerCall c = {.path = mir_name(p, "a path")};

	lex_expect(&p->lex, "of");
	c.layer = mir_name(p, "a layer's name");
	lex_expect(&p->lex, "=");
	const char *fn = mir_token(p, TK_FN, "@function");
	c.nlosses = parse_sizes(p, &c.width, &c.experts, &c.picks, NULL);
	if (p->lex.failed || !declare(p, "call", c.path, loc))
		return;
	vec_push(p->m->arena, &p->m->calls, c);
	vec_push(p->m->arena, &p->callees, ((Callee){fn, loc}));
}

static void find_callees(Parser *p)
{
	for (int i = 0; i < p->m->calls.n && !p->lex.failed; i++) {
		const Callee *c = &p->callees.at[i];
		p->m->calls.at[i].fn = fn_find(p->m, c->fn);
		if (!p->m->calls.at[i].fn)
			lex_fail(&p->lex, E_ir_name, c->loc, "there is no function @%s", c->fn);
	}
}

static void parse_range(Parser *p)
{
	const char *wanted = arena_printf(p->m->arena, "E%d", p->m->ranges.n);
	ExpertRange r;

	lex_expect(&p->lex, wanted);
	lex_expect(&p->lex, "=");
	r.first = mir_int(p, 0, MOST_EXPERTS - 1);
	lex_expect(&p->lex, "..");
	r.count = mir_int(p, r.first + 1, MOST_EXPERTS) - r.first;
	vec_push(p->m->arena, &p->m->ranges, r);
}

static bool parse_init(Parser *p, double *init)
{
	if (!lex_accept(&p->lex, "init"))
		return false;
	lex_expect(&p->lex, "=");
	*init = mir_number(p);
	return true;
}

static void parse_param(Parser *p)
{
	Param w = {.loc = p->lex.tok.loc};
	char kind[32] = "param";

	w.name = mir_name(p, "a parameter's name");
	lex_expect(&p->lex, ":");
	w.type = mir_type(p);
	w.has_init = parse_init(p, &w.init);
	if (lex_accept(&p->lex, "load")) {
		lex_expect(&p->lex, "=");
		w.load = mir_token(p, TK_FN, "@function");
	}
	w.step = lex_accept(&p->lex, "step");
	if (w.type.level == LV_EXPERT)
		snprintf(kind, sizeof kind, "param of E%d", w.type.range);
	if (!p->lex.failed && declare(p, kind, w.name, w.loc))
		vec_push(p->m->arena, &p->m->params, w);
}

static void parse_state(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	State s = {.name = mir_name(p, "a state's name")};

	lex_expect(&p->lex, ":");
	s.type = mir_type(p);
	lex_expect(&p->lex, "per");
	if (lex_accept(&p->lex, "sequence"))
		s.scope = PER_SEQUENCE;
	else if (lex_expect(&p->lex, "call"))
		s.scope = PER_CALL;
	if (!parse_init(p, &s.init))
		mir_expected(p, "init=");
	if (!p->lex.failed && declare(p, "state", s.name, loc))
		vec_push(p->m->arena, &p->m->states, s);
}

static int64_t parse_size(Parser *p, const char *name)
{
	lex_expect(&p->lex, name);
	lex_expect(&p->lex, "=");
	return mir_int(p, 1, MAX_ELEMS);
}

static void parse_panel(Parser *p)
{
	Loc loc = p->lex.tok.loc;
	Panel w = {.name = mir_name(p, "a panel's name"), .range = -1};
	Vec(const char *) streams = {0};
	Type t = {0};

	lex_expect(&p->lex, ":");
	w.dtype = mir_dtype(p);
	if (!lex_is(&p->lex, "streams") && mir_level(p, &t)) {
		if (t.level != LV_EXPERT)
			lex_fail(&p->lex, E_ir_syntax, loc,
				 "a panel is one block or one an expert (E)");
		w.range = t.range;
	}
	lex_expect(&p->lex, "streams");
	lex_expect(&p->lex, "=");
	lex_expect(&p->lex, "[");
	do
		vec_push(p->m->arena, &streams, mir_name(p, "a parameter's name"));
	while (lex_accept(&p->lex, ","));
	lex_expect(&p->lex, "]");
	w.streams = streams.at;
	w.nstreams = streams.n;
	w.n = parse_size(p, "n");
	w.k = parse_size(p, "k");
	w.cols = parse_size(p, "cols");
	w.kpack = parse_size(p, "kpack");
	if (!p->lex.failed && declare(p, "panel", w.name, loc))
		vec_push(p->m->arena, &p->m->panels, w);
}

static void parse_items(Parser *p)
{
	Fn **end = &p->m->fns;

	while (!lex_is(&p->lex, "}") && !p->lex.failed) {
		if ((lex_is(&p->lex, "target") || lex_is(&p->lex, "layer")) &&
		    !declare(p, "part", p->lex.tok.s, p->lex.tok.loc))
			return;
		if (lex_accept(&p->lex, "target"))
			p->m->target =
			    mir_token(p, TK_STRING, "the target's name as text");
		else if (lex_accept(&p->lex, "layer"))
			p->m->nlosses = parse_sizes(p, &p->m->width, &p->m->experts,
						    &p->m->picks, &p->m->group);
		else if (lex_accept(&p->lex, "experts"))
			parse_range(p);
		else if (lex_accept(&p->lex, "param"))
			parse_param(p);
		else if (lex_accept(&p->lex, "state"))
			parse_state(p);
		else if (lex_accept(&p->lex, "panel"))
			parse_panel(p);
		else if (lex_accept(&p->lex, "call"))
			parse_call(p);
		else if (!lex_accept(&p->lex, "fn"))
			mir_expected(p, "target, layer, experts, param, state, panel, "
					"call, fn or }");
		else if ((*end = parse_fn(p)))
			end = &(*end)->next;
	}
	lex_accept(&p->lex, "}");
	find_callees(p);
}

Module *parse_module(Arena *arena, Diag *diag, const char *file, const char *text)
{
	Parser p = {.m = module_new(arena, ""), .ops.arena = arena, .known.arena = arena};

	diag_source(diag, file, text);
	for (int i = 0; i < OP_COUNT; i++)
		*map_text(&p.ops, op_info[i].name) = (void *)&op_info[i];
	lex_begin(&p.lex, arena, diag, file, text);
	lex_expect(&p.lex, "module");
	p.m->name = mir_token(&p, TK_STRING, "the module's name as text");
	lex_expect(&p.lex, "{");
	parse_items(&p);
	if (!p.lex.failed && p.lex.tok.kind != TK_END)
		mir_expected(&p, "the end of the text");
	return p.lex.failed ? NULL : p.m;
}
