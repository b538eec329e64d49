// libs: ir
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_mir: IR text.  What parses is printed, and parses again to the same print; what the
 * verifier takes as well is interpreted, if it is small. */
#include "fuzz.h"
#include "../../ir/eval.h"
#include "../../ir/ir.h"

enum { TOKENS = 3, LARGEST = 512, MOST_OPS = 100, MOST_ROUNDS = 4 };

typedef struct {
	int64_t ops;
	bool    large;
} Size;

static bool is_large(const Type *t)
{
	return t->rank && type_elems(t) > LARGEST;
}

static void measure(Op *op, void *size)
{
	Size *s = size;

	s->ops++;
	for (int i = 0; i < op->nouts; i++)
		s->large = s->large || is_large(&op->outs[i]->type);
	if (op->kind == OP_repeat)
		s->large = s->large || attr_get_int(op, "max", 0) > MOST_ROUNDS;
}

/* Whether the interpreter, which has no limits of its own, is done with it at once. */
static bool is_small(const Module *m)
{
	Size s = {0};

	for (const Fn *f = m->fns; f; f = f->next) {
		region_walk(f->body, measure, &s);
		for (int i = 0; i < f->body->nargs; i++)
			s.large = s.large || is_large(&f->body->args[i]->type);
	}
	for (int i = 0; i < m->params.n; i++)
		s.large = s.large || is_large(&m->params.at[i].type);
	for (int i = 0; i < m->states.n; i++)
		s.large = s.large || is_large(&m->states.at[i].type);
	return !s.large && s.ops <= MOST_OPS && m->experts <= 64 && m->panels.n == 0;
}

static const void *weight(WeightSource *source, const Param *p, int64_t expert)
{
	static const double numbers[LARGEST] = {1, -2, 0.5, 3};

	return numbers;
}

static void interpret(Fuzz *f, const Module *m)
{
	static const double numbers[TOKENS * LARGEST] = {0.25, -1, 2};
	const Region *body = m->fns->body;
	EvalInput *inputs = NEWN(f->arena, EvalInput, (size_t)body->nargs + 1);
	WeightSource source = {weight};
	EvalResult result;
	const char *why;

	for (int i = 0; i < body->nargs; i++)
		inputs[i] = (EvalInput){body->args[i]->name, numbers};
	EvalCall call = {.tokens = TOKENS, .inputs = inputs, .ninputs = body->nargs,
			 .weights = &source, .step = -1, .bounds = true};
	eval_fn(f->arena, m, m->fns, &call, &result, &why);
}

static const char *printed(Fuzz *f, const Module *m)
{
	Text t = text_new(f->arena);

	print_module(&t, m);
	return t.s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fuzz f = fuzz_begin();
	char *text = fuzz_text(data, size);
	Module *m = parse_module(f.arena, f.diag, "fuzz.mir", text);
	const char *why;

	HOLDS((m != NULL) == (diag_errors(f.diag) == 0), "refused without a word\n");
	if (m) {
		const char *once = printed(&f, m);
		Module *again = parse_module(f.arena, f.diag, "again.mir", once);
		HOLDS(again, "printed, it does not parse:\n%s\n", once);
		const char *twice = printed(&f, again);
		HOLDS(strcmp(once, twice) == 0, "printed differently:\n%s\n%s\n", once,
		      twice);
		bool valid = verify(m, &why);
		HOLDS(valid == verify(again, &why), "valid only once: %s\n", why);
		if (valid && is_small(m))
			interpret(&f, m);
	}
	free(text);
	fuzz_end(&f);
	return 0;
}
