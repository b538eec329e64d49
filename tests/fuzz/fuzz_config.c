// libs: frontend io
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_config: config.json, through the family that it names (without a name, through one
 * after another).  A layer that comes of it is valid, and can be imported. */
#include "fuzz.h"
#include "../../frontend/frontend.h"
#include "../../io/io.h"

static bool names_family(Fuzz *f, const json_t *config, const struct FamilyText *family)
{
	const char *type = json_string_value(json_object_get(config, "model_type"));
	FeContents c = {0};

	HOLDS(fe_contents(f->arena, f->diag, family->file, family->text, &c),
	      "%s is no family\n", family->file);
	for (int i = 0; i < c.families.n; i++)
		if (type && strcmp(type, c.families.at[i]) == 0)
			return true;
	return false;
}

static void compile(Fuzz *f, json_t *config, const struct FamilyText *family)
{
	FeOptions options = {.file = family->file, .text = family->text, .losses = true,
			     .config = config, .config_file = "config.json"};
	Module *m = fe_compile(f->arena, f->diag, &options);
	const char *why;

	HOLDS((m != NULL) == (diag_errors(f->diag) == 0), "refused without a word\n");
	HOLDS(!m || verify(m, &why), "%s\n", why);
	if (m)
		fe_import(f->arena, f->diag, &options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fuzz f = fuzz_begin();
	char *text = fuzz_text(data, size);
	json_t *config = json_text(f.arena, f.diag, "config.json", "", text, strlen(text));
	int which = size ? data[size / 2] % family_count : 0;

	HOLDS((config != NULL) == (diag_errors(f.diag) == 0), "refused without a word\n");
	for (int i = 0; config && i < family_count; i++)
		if (names_family(&f, config, &family_texts[i]))
			which = i;
	if (config)
		compile(&f, config, &family_texts[which]);
	json_decref(config);
	free(text);
	fuzz_end(&f);
	return 0;
}
