/* SPDX-License-Identifier: Apache-2.0
 * relations: what docs/design.md promises of calls that differ in one thing, to the bit.
 *
 * A relation is only asked of programs for which it holds: those whose tokens do not look at
 * one another (cross) nor at their place or draw (placed), that report their routing, whose
 * results are linear in the gates.  Each that held is counted: moe_gen fails when one was
 * never tried. */
#include "native.h"

#include <math.h>
#include <string.h>

typedef struct {
	Native         *n;
	const Question *asked;
	const Answer   *a;              /* of the plain call */
	const Type     *y;
	size_t          row;            /* bytes of y a token */
	Rng             rng;
} Asker;

static const char *const words[] = {
#define RELATION(name, what) what,
	RELATIONS(RELATION)
#undef RELATION
};

static bool broken(Relation r)
{
	printf("other bits with %s\n", words[r]);
	return false;
}

static bool holds(Asker *k, Relation r)
{
	k->n->out->held[r]++;
	return true;
}

static bool same_outputs(const Answer *a, const Answer *b)
{
	for (int i = 0; i < a->nouts; i++)
		if (memcmp(a->outs[i], b->outs[i], a->bytes[i]))
			return false;
	return true;
}

/* ---- how a call is run ---- */

static bool otherwise(Asker *k)
{
	static const struct { Relation r; int threads; bool pool, padded, no_losses; } ways[] = {
		{REL_threads, 2, false, false, false}, {REL_threads, 3, false, false, false},
		{REL_threads, 7, false, false, false}, {REL_pool, 3, true, false, false},
		{REL_apart, 2, false, true, false}, {REL_lossless, 1, false, false, true},
	};
	Answer b;

	for (size_t i = 0; i < COUNT(ways); i++) {
		Question q = *k->asked;
		q.threads = ways[i].threads;
		q.pool = ways[i].pool;
		q.padded = ways[i].padded;
		q.no_losses = ways[i].no_losses;
		if ((q.padded && k->y->level != LV_TOKEN) ||
		    (q.no_losses && k->n->reference->nlosses == 0))
			continue;
		if (!native_call(k->n, &q, &b))
			return false;
		if (!same_outputs(k->a, &b))
			return broken(ways[i].r);
		holds(k, ways[i].r);
	}
	return true;
}

/* ---- which tokens a call has ---- */

static bool same_rows(const Asker *k, const int64_t *order, const Answer *b)
{
	size_t slots = (size_t)b->k * 4;

	for (int64_t t = 0; t < b->tokens; t++) {
		size_t i = (size_t)t, j = (size_t)order[t];
		if (memcmp((char *)b->outs[0] + i * k->row,
			   (char *)k->a->outs[0] + j * k->row, k->row))
			return false;
		if (b->picks && memcmp((char *)b->picks + i * slots,
				       (char *)k->a->picks + j * slots, slots))
			return false;
	}
	return true;
}

static bool reordered(Asker *k, Relation r, const int64_t *order, int64_t n)
{
	Question q = *k->asked;
	Answer b;

	q.order = order;
	q.tokens = n;
	if (!native_call(k->n, &q, &b))
		return false;
	return same_rows(k, order, &b) ? holds(k, r) : broken(r);
}

static bool other_tokens(Asker *k)
{
	int64_t n = k->asked->tokens;
	int64_t *order = NEWN(k->n->arena, int64_t, (size_t)(2 * n) + 1);

	for (int64_t i = 0; i < n; i++)
		order[i] = i;
	int64_t alone = rng_below(&k->rng, n), cut = rng_between(&k->rng, 1, n - 1);
	if (!reordered(k, REL_alone, &order[0], 1) ||
	    !reordered(k, REL_alone, &order[alone], 1) ||
	    !reordered(k, REL_alone, &order[n - 1], 1) ||
	    !reordered(k, REL_split, order, cut) ||
	    !reordered(k, REL_split, order + cut, n - cut))
		return false;
	for (int64_t i = n - 1; i > 0; i--) {
		int64_t j = rng_below(&k->rng, i + 1), was = order[i];
		order[i] = order[j];
		order[j] = was;
	}
	if (!reordered(k, REL_order, order, n))
		return false;
	for (int64_t i = 0; i < 2 * n; i++)
		order[i] = i / 2;
	return reordered(k, REL_twice, order, 2 * n);
}

/* ---- sequences in pieces ---- */

/* Sequences are cut at different places, so that some pieces are empty. */
enum { PIECES = 3 };

static int64_t cut(const int64_t *seq, int64_t s, int64_t piece)
{
	static const int64_t place[][PIECES + 1] = {
		{0, 1, 3, 6}, {0, 0, 5, 6}, {0, 4, 4, 6}, {0, 2, 6, 6},
	};
	return seq[s] + (seq[s + 1] - seq[s]) * place[s % (int64_t)COUNT(place)][piece] / 6;
}

/* One call: the piece's tokens of each sequence, which follow those that it has seen. */
static bool next_piece(Asker *k, moert_session *session, const int64_t *seq, int64_t nseq,
		       int64_t piece)
{
	Arena *arena = k->n->arena;
	int64_t *order = NEWN(arena, int64_t, (size_t)k->asked->tokens + 1);
	int64_t *starts = NEWN(arena, int64_t, (size_t)nseq + 1);
	int64_t *seen = NEWN(arena, int64_t, (size_t)nseq + 1);
	Question q = *k->asked;
	Answer b;

	q.tokens = 0;
	for (int64_t s = 0; s < nseq; s++) {
		seen[s] = cut(seq, s, piece) - seq[s];
		for (int64_t t = cut(seq, s, piece); t < cut(seq, s, piece + 1); t++)
			order[q.tokens++] = t;
		starts[s + 1] = q.tokens;
	}
	q.session = session;
	q.order = order;
	q.nseq = nseq;
	q.seq = starts;
	q.seen = seen;
	return native_call(k->n, &q, &b) && (same_rows(k, order, &b) || broken(REL_pieces));
}

static bool in_pieces(Asker *k)
{
	const Program *p = k->n->at->p;
	const int64_t one[] = {0, k->asked->tokens}, *seq = p->nseq ? p->seq : one;
	moert_session_options so = {.size = sizeof so, .threads = 2};
	moert_session *session;
	bool ok = true;

	if (k->n->foreign)
		return true;
	if (k->n->library.start(k->n->model, &so, &session))
		return false;
	for (int64_t piece = 0; ok && piece < PIECES; piece++)
		ok = next_piece(k, session, seq, MAX(p->nseq, 1), piece);
	k->n->library.end(session);
	return ok && holds(k, REL_pieces);
}

/* ---- given routing ---- */

static bool given(Asker *k)
{
	Question q = *k->asked;
	Answer b;

	q.picks_in = k->a->picks;
	q.gates_in = k->a->gates;
	if (!native_call(k->n, &q, &b))
		return false;
	return memcmp(k->a->outs[0], b.outs[0], k->a->bytes[0]) == 0 ? holds(k, REL_given)
								     : broken(REL_given);
}

/* What is not finite or next to the ends of the range is no matter of scale. */
static bool is_scaled(double x, double y, double by)
{
	return !isfinite(x) || !isfinite(y) || (x != 0 && fabs(x) < 0x1p-100) || y == by * x;
}

static bool scaled(Asker *k)
{
	Answer b;
	Question q = *k->asked;
	int64_t n = k->asked->tokens, slots = n * k->a->k, all = n * type_elems(k->y);
	double by = ldexp(1, (int)rng_between(&k->rng, 1, 3));
	float *gates = NEWN(k->n->arena, float, (size_t)slots + 1);
	double *x = NEWN(k->n->arena, double, (size_t)(2 * all) + 1);

	for (int64_t i = 0; i < slots; i++)
		gates[i] = k->a->gates[i] * (float)by;
	q.picks_in = k->a->picks;
	q.gates_in = gates;
	if (!native_call(k->n, &q, &b))
		return false;
	entries_load(k->y->dtype, k->a->outs[0], all, x);
	entries_load(k->y->dtype, b.outs[0], all, x + all);
	for (int64_t i = 0; i < all; i++)
		if (!is_scaled(x[i], x[all + i], by))
			return broken(REL_scaled);
	return holds(k, REL_scaled);
}

/* ---- other weights ---- */

static bool in_order(const int32_t *p, const int32_t *q, int64_t k)
{
	for (int64_t i = 0; i < k; i++)
		for (int64_t j = 0; j < k; j++)
			if (p[i] >= 0 && p[j] >= 0 && (p[i] < p[j]) != (q[i] < q[j]))
				return false;
	return true;
}

static bool open_turned(Asker *k, int64_t turn, bool router, moert_model **m)
{
	GenWeights *w = &k->n->weights;

	w->turn = turn;
	w->router = router;
	bool ok = native_open(k->n, m);
	w->turn = 0;
	w->router = false;
	return ok;
}

/* The number that an expert's weights have now; -1 stays. */
static int32_t renumbered(const Native *n, int32_t expert, int64_t turn)
{
	const ExpertRange *r = n->m->ranges.at;

	if (expert < 0)
		return expert;
	for (; expert >= r->first + r->count; r++)
		;
	return (int32_t)(r->first + (expert - r->first + r->count - turn % r->count) %
					r->count);
}

/* A token's experts are summed in the order of their numbers: the bits stay for those
 * whose order stays. */
static bool same_in_order(Asker *k, const Answer *b, const int32_t *picks, Relation r)
{
	int64_t slots = k->a->k;

	for (int64_t t = 0; t < b->tokens; t++) {
		size_t at = (size_t)t * k->row;
		if (in_order(k->a->picks + t * slots, picks + t * slots, slots) &&
		    memcmp((char *)k->a->outs[0] + at, (char *)b->outs[0] + at, k->row))
			return broken(r);
	}
	return holds(k, r);
}

static bool other_numbers(Asker *k)
{
	int64_t slots = k->asked->tokens * k->a->k, turn = rng_between(&k->rng, 1, 7);
	int32_t *picks = NEWN(k->n->arena, int32_t, (size_t)slots + 1);
	Question q = *k->asked;
	moert_model *m;
	Answer b;

	for (int64_t i = 0; i < slots; i++)
		picks[i] = renumbered(k->n, k->a->picks[i], turn);
	if (!open_turned(k, turn, false, &m))
		return false;
	q.model = m;
	q.picks_in = picks;
	q.gates_in = k->a->gates;
	bool ok = native_call(k->n, &q, &b) && same_in_order(k, &b, picks, REL_numbers);
	native_shut(k->n, m);
	return ok;
}

/* Each token's picks of a range moved to the first experts of the range, in their order. */
static void merge_picks(const Native *n, const int32_t *from, int64_t k, int32_t *to)
{
	for (int64_t i = 0; i < k; i++) {
		const ExpertRange *r = n->m->ranges.at;
		int64_t below = 0;
		to[i] = from[i];
		if (from[i] < 0)
			continue;
		for (; from[i] >= r->first + r->count; r++)
			;
		for (int64_t j = 0; j < k; j++) {
			bool seen = from[j] < r->first || from[j] >= from[i];
			for (int64_t l = 0; l < j; l++)
				seen |= from[l] == from[j];
			below += !seen;
		}
		to[i] = (int32_t)(r->first + below);
	}
}

static bool merged(Asker *k)
{
	int64_t slots = k->a->k, tokens = k->asked->tokens;
	int32_t *picks = NEWN(k->n->arena, int32_t, (size_t)(tokens * slots) + 1);
	Question q = *k->asked;
	moert_model *m;
	Answer b, c;

	k->n->weights.alike = true;
	bool ok = native_open(k->n, &m);
	k->n->weights.alike = false;
	if (!ok)
		return false;
	for (int64_t t = 0; t < tokens; t++)
		merge_picks(k->n, k->a->picks + t * slots, slots, picks + t * slots);
	q.model = m;
	q.picks_in = k->a->picks;
	q.gates_in = k->a->gates;
	ok = native_call(k->n, &q, &b);
	q.picks_in = picks;
	ok = ok && native_call(k->n, &q, &c);
	if (ok)
		ok = memcmp(b.outs[0], c.outs[0], b.bytes[0]) == 0 ? holds(k, REL_merged)
								    : broken(REL_merged);
	native_shut(k->n, m);
	return ok;
}

/* The router finds the same experts under their other numbers, unless it was close; rows of
 * zeros and of NaN are ties. */
static bool other_router(Asker *k)
{
	int64_t slots = k->a->k, turn = rng_between(&k->rng, 1, 7);
	const EvalResult *own = &k->n->at->own;
	Question q = *k->asked;
	moert_model *m;
	Answer b;

	if (!open_turned(k, turn, true, &m))
		return false;
	q.model = m;
	bool ok = native_call(k->n, &q, &b), same = true;
	native_shut(k->n, m);
	for (int64_t t = 0; ok && t < q.tokens; t++)
		for (int64_t i = t * slots; i < (t + 1) * slots; i++)
			same &= own->gap[t] < 8 ||
				b.picks[i] == renumbered(k->n, k->a->picks[i], turn);
	return ok && (same ? holds(k, REL_router) : broken(REL_router));
}

bool relations_hold(Native *n, const Question *asked, const Answer *a)
{
	const Type *y = &n->reference->fns->outs[0];
	Asker k = {n, asked, a, y, (size_t)type_elems(y) * entry_bytes(y->dtype),
		   {(uint64_t)asked->tokens + 1}};
	const Program *p = n->p;
	bool own = !p->cross && !p->placed && y->level == LV_TOKEN;
	bool routed = a->picks && a->gates && y->level == LV_TOKEN && asked->tokens > 0;

	if (!otherwise(&k))
		return false;
	if (own && asked->tokens > 1 && !other_tokens(&k))
		return false;
	if (!p->cross && y->level == LV_TOKEN && !in_pieces(&k))
		return false;
	if (routed && !given(&k))
		return false;
	if (routed && p->linear && y->dtype != DT_f16 && !scaled(&k))
		return false;
	if (routed && p->routed && n->m->ranges.n > 0 && (!other_numbers(&k) || !merged(&k)))
		return false;
	bool ties = n->at->p->data == DATA_ZERO || n->at->p->data == DATA_NAN;
	return !own || !routed || !p->alike || ties || !n->at->own.gap || other_router(&k);
}
