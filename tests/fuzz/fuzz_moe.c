// libs: frontend io
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_moe: the language.  Whatever text comes, it is refused with a diagnostic, or becomes
 * a module that the verifier takes. */
#include "fuzz.h"
#include "../../frontend/frontend.h"

static void compile(Fuzz *f, const FeOptions *options)
{
	int before = diag_errors(f->diag);
	Module *m = fe_compile(f->arena, f->diag, options);
	const char *why;

	HOLDS((m != NULL) == (diag_errors(f->diag) == before),
	      "a module and errors, or neither\n");
	HOLDS(!m || verify(m, &why), "%s\n", why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fuzz f = fuzz_begin();
	char *text = fuzz_text(data, size);
	FeOptions options = {.file = "fuzz.moe", .text = text, .losses = true};
	FeContents c = {0};

	if (fe_contents(f.arena, f.diag, options.file, text, &c)) {
		fe_check(f.arena, f.diag, &options);
		for (int i = 0; i < c.layers.n && i < 3; i++) {
			options.layer = c.layers.at[i];
			compile(&f, &options);
		}
		options.layer = NULL;
		if (c.models.n || c.families.n)
			compile(&f, &options);
		for (int i = 0; i < c.plans.n && i < 3; i++)
			fe_plan(f.arena, f.diag, &options, c.plans.at[i]);
	} else {
		HOLDS(diag_errors(f.diag) > 0, "refused without a word\n");
	}
	free(text);
	fuzz_end(&f);
	return 0;
}
