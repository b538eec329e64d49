/* SPDX-License-Identifier: Apache-2.0
 * tune: measures other schedules of a layer's contractions and writes the best as a plan.
 *
 * How much of the summed axis, how many rows and how many panels pass at a time stands in the
 * layer's table, not in its code: so all of it is tried on one library and one set of weights,
 * setting by setting, the present choice and another one call by call in turn. */
#include "bench.h"
#include "../runtime/internal.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { PAIRS = 7, MOST_TOKENS = 16, TILES_AT_ONCE = 10 };
#define WORTH_IT 0.98                   /* of the time before */

/* What may be set, and its values: times `unit` of the step, or as they are. */
typedef struct {
	TileKind kind;
	size_t   field, unit;
	int64_t  values[6];             /* ended by -1 */
} Knob;
static const Knob knobs[] = {
	{TILE_KBLOCK, offsetof(moert_step, kblock), 0, {256, 512, 1024, 2048, -1}},
	{TILE_PANELS, offsetof(moert_step, together), 0, {1, 2, 4, 8, -1}},
	{TILE_RBLOCK, offsetof(moert_step, rblock), offsetof(moert_step, tile_rows),
	 {TILES_AT_ONCE, 2 * TILES_AT_ONCE, 4 * TILES_AT_ONCE, 16 * TILES_AT_ONCE, -1}},
};

typedef struct {
	Runner     r;
	Arena     *arena;
	Calls      calls[MOST_TOKENS];
	int        n;
} Tuner;

static int64_t *field_of(moert_step *st, size_t field)
{
	return (int64_t *)((char *)st + field);
}

/* The time of schedule b over that of a, call by call in turn; -1: a call failed. */
static double compare(Tuner *t, const moert_step *a, const moert_step *b)
{
	size_t bytes = (size_t)t->r.layer.layer->nsteps * sizeof *a;
	double sum = 0;

	for (int i = 0; i < t->n; i++) {
		double ratio[PAIRS];
		for (int j = 0; j < PAIRS; j++) {
			memcpy(t->r.steps, a, bytes);
			double before = call_once(&t->r, &t->calls[i]);
			memcpy(t->r.steps, b, bytes);
			double after = call_once(&t->r, &t->calls[i]);
			if (before < 0 || after < 0)
				return -1;
			ratio[j] = after / before;
		}
		sum += log(median_of(ratio, PAIRS));
	}
	return exp(sum / t->n);
}

static moert_step *copy_steps(Tuner *t, const moert_step *steps)
{
	moert_step *to = NEWN(t->arena, moert_step, (size_t)t->r.layer.layer->nsteps + 1);

	memcpy(to, steps, (size_t)t->r.layer.layer->nsteps * sizeof *to);
	return to;
}

/* One knob of one step; the better of the two schedules.  Blocks of k need code that only a
 * contraction with such blocks has. */
static bool turn(Tuner *t, const Knob *knob, int64_t step, moert_step **best)
{
	for (const int64_t *v = knob->values; *v >= 0; v++) {
		moert_step *now = copy_steps(t, *best), *st = &now[step];
		int64_t *field = field_of(st, knob->field), old = *field;
		*field = knob->unit ? *v * *field_of(st, knob->unit) : *v;
		if (*field == old ||
		    (knob->kind == TILE_KBLOCK && (old == 0 || *v >= st->k)))
			continue;
		double ratio = compare(t, *best, now);
		double again = ratio < WORTH_IT ? compare(t, *best, now) : ratio;
		if (ratio < 0 || again < 0)
			return false;
		ratio = MAX(ratio, again);      /* not by chance */
		printf("%-12s tile.%s %jd -> %jd: %.3f of the time%s\n", st->name,
		       tile_words[knob->kind], (intmax_t)old, (intmax_t)*field, ratio,
		       ratio < WORTH_IT ? ", taken" : "");
		if (ratio < WORTH_IT)
			*best = now;
	}
	return true;
}

static bool turn_all(Tuner *t, moert_step **best)
{
	const moert_layer *l = t->r.layer.layer;

	for (int64_t i = 0; i < l->nsteps; i++)
		for (size_t k = 0; l->steps[i].kind == MOERT_CONTRACT && k < COUNT(knobs); k++)
			if (!turn(t, &knobs[k], i, best))
				return false;
	return true;
}

static void write_settings(const Tuner *t, Text *text, const moert_step *first,
			   const moert_step *best)
{
	const moert_layer *l = t->r.layer.layer;

	for (int64_t i = 0; i < l->nsteps; i++)
		for (size_t k = 0; k < COUNT(knobs); k++) {
			moert_step old = first[i], now = best[i];
			int64_t value = *field_of(&now, knobs[k].field);
			if (value != *field_of(&old, knobs[k].field))
				text_printf(text, "  tile.%s.%s = %jd\n",
					    tile_words[knobs[k].kind],
					    l->weights[now.weight].streams[0], (intmax_t)value);
		}
}

static bool write_plan(Tuner *t, const moert_step *first, const moert_step *best, double ratio)
{
	const Options *o = t->r.job->opt;
	Text text = text_new(t->arena);

	text_printf(&text, "// moec tune: %s on %s, %jd threads,", t->r.b.layer, t->r.b.target,
		    (intmax_t)t->r.b.threads);
	for (int i = 0; i < t->n; i++)
		text_printf(&text, "%s %jd", i ? "," : "", (intmax_t)t->calls[i].tokens);
	text_printf(&text, " tokens: %.3f of the time without\nplan tuned {\n", ratio);
	write_settings(t, &text, first, best);
	text_add(&text, "}\n");
	printf("all together: %.3f of the time%s\n", ratio,
	       ratio < WORTH_IT ? "" : ", nothing taken");
	if (o->out)
		return file_write(t->r.job->diag, o->out, text.s, text.n);
	fwrite(text.s, 1, text.n, stdout);
	return true;
}

static bool make_calls(Tuner *t)
{
	static int64_t usual[] = {64, 512};
	const Numbers *list = &t->r.job->opt->token_list;
	const int64_t *tokens = list->n ? list->at : usual;

	t->n = list->n ? MIN(list->n, MOST_TOKENS) : (int)COUNT(usual);
	for (int i = 0; i < t->n; i++) {
		t->calls[i] = (Calls){.tokens = tokens[i]};
		if (!runner_calls(&t->r, t->arena, &t->calls[i]))
			return false;
	}
	return true;
}

/* Plans name weights as the source does; a model's are many layers'. */
static bool is_one_layer(const Tuner *t)
{
	if (t->r.layer.layer->ncalls == 0)
		return true;
	diag_error(t->r.job->diag, E_option_value, (Loc){0},
		   "%s is a stack: tune one of its layers", t->r.b.layer);
	return false;
}

static bool tune(Tuner *t)
{
	if (!is_one_layer(t) || !make_calls(t))
		return false;
	const moert_step *first = copy_steps(t, t->r.layer.layer->steps);
	moert_step *best = copy_steps(t, first);
	if (!turn_all(t, &best))
		return false;
	double ratio = compare(t, first, best);
	if (ratio < 0)
		return false;
	return write_plan(t, first, ratio < WORTH_IT ? best : first, ratio);
}

int command_tune(const Job *job)
{
	Tuner t = {.arena = job->arena};
	bool ok = runner_open(&t.r, job) && tune(&t);

	runner_close(&t.r);
	return ok ? EXIT_OK : EXIT_INPUT;
}
