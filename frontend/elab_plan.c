/* SPDX-License-Identifier: Apache-2.0
 * elab_plan: the settings of a plan, checked as far as no target is needed. */
#include "elab.h"

#include <string.h>

/* What a plan may set; later ones are words already, and refused. */
static const char *const subjects[] = {"tile", "precision", "home", "memory"};

static const Node *path_root(const Node *n)
{
	while (n->kind == N_FIELD || n->kind == N_SUBSCRIPT)
		n = n->kids[0];
	return n;
}

/* a.b.c, or NULL where there is an index. */
static const char *path_text(Elab *e, const Node *n)
{
	if (n->kind == N_NAME)
		return n->s;
	const char *base = n->kind == N_FIELD ? path_text(e, n->kids[0]) : NULL;
	return base ? arena_printf(e->a, "%s.%s", base, n->s) : NULL;
}

/* tile.columns.shared.down: which, and the weight's name in *param. */
static bool tile_kind(Elab *e, const Node *path, TileKind *kind, const char **param)
{
	const char *text = path_text(e, path);

	if (!text) {
		say(e, E_plan_setting, path->loc, NULL,
		    "a tile is the same for all experts");
		return false;
	}
	const char *word = text + strlen("tile"), *end;
	word += *word == '.';
	end = word + strcspn(word, ".");
	*param = *end ? end + 1 : NULL;
	for (int i = 0; i < TILE_COUNT; i++)
		if (strlen(tile_words[i]) == (size_t)(end - word) &&
		    strncmp(word, tile_words[i], (size_t)(end - word)) == 0) {
			*kind = (TileKind)i;
			return true;
		}
	say(e, E_plan_setting, path->loc,
	    fix_among(e, arena_strndup(e->a, word, (size_t)(end - word)), tile_words,
		      TILE_COUNT),
	    *word ? "a tile has no `%.*s`" : "which part of the tile?", (int)(end - word),
	    word);
	return false;
}

static void run_setting(Elab *e, const Node *n, Plan *plan)
{
	const Node *path = n->kids[0], *root = path_root(path);
	TileSetting s = {.loc = path->loc};
	size_t i = 0;

	while (i < COUNT(subjects) && strcmp(subjects[i], root->s) != 0)
		i++;
	if (i == COUNT(subjects))
		say(e, E_plan_setting, root->loc,
		    fix_near(e, root->s, subjects, COUNT(subjects)),
		    "a plan has no setting `%s`", root->s);
	else if (i > 0)
		say(e, E_plan_setting, path->loc, "leave it out: only `tile` can be set",
		    "`%s` is not supported yet", root->s);
	else if (tile_kind(e, path, &s.kind, &s.param) &&
		 need_int(e, eval(e, n->kids[1]), n->kids[1]->loc, "a tile's size",
			  s.kind == TILE_KBLOCK ? 0 : 1, MAX_DIM, &s.value))
		vec_push(e->a, &plan->tiles, s);
}

static void run_settings(Elab *e, const Node *n, Plan *plan)
{
	for (int i = 0; i < n->nkids && may_go_on(e, n); i++) {
		const Node *k = n->kids[i];
		bool holds;
		if (k->kind == N_SET)
			run_setting(e, k, plan);
		if (k->kind != N_IF ||
		    !need_bool(e, eval(e, k->kids[0]), k->kids[0]->loc,
			       "an `if` of a plan", &holds))
			continue;
		const Node *taken = holds ? k->kids[1] : k->kids[2];
		if (taken)
			run_settings(e, taken, plan);
	}
}

/* The plan of that name, or the only one. */
static const Node *find_plan(Elab *e, const char *name)
{
	Loc whole = {.file = e->main->file};
	Vec(const char *) names = {0};
	const Node *last = NULL;

	for (int i = 0; i < e->main->ast->nkids; i++) {
		const Node *n = e->main->ast->kids[i];
		if (n->kind != N_PLAN)
			continue;
		if (name && strcmp(n->s, name) == 0)
			return n;
		vec_push(e->a, &names, n->s);
		last = n;
	}
	if (!name && names.n == 1)
		return last;
	if (names.n == 0)
		say(e, E_plan_choice, whole,
		    name ? "a plan of its own file: `--plan FILE.moe`" : NULL,
		    "there is no plan in this file");
	else if (name)
		say(e, E_plan_choice, whole, fix_among(e, name, names.at, names.n),
		    "there is no plan `%s`", name);
	else
		say(e, E_plan_choice, whole, NULL, "this file has %d plans: %s", names.n,
		    list_text(e, names.at, names.n));
	return NULL;
}

Plan *run_plan(Elab *e, const char *name)
{
	Plan *plan = NEW(e->a, Plan);
	const Node *n = find_plan(e, name);

	if (n)
		run_settings(e, n, plan);
	return e->errors || e->fatal ? NULL : plan;
}
