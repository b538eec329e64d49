/* SPDX-License-Identifier: Apache-2.0
 * contents: reading a file, and which layers, models, families and plans it holds. */
#include "ast.h"
#include "frontend.h"

#include <string.h>

char *fe_read(Arena *a, Diag *d, const char *path)
{
	return file_text(a, d, path, MOE_BYTES);
}

bool fe_contents(Arena *a, Diag *d, const char *file, const char *text, FeContents *out)
{
	int errors = diag_errors(d);
	const Node *root = parse_moe(a, d, file, text);
	*out = (FeContents){0};
	if (!root || diag_errors(d) != errors)
		return false;
	for (int i = 0; i < root->nkids; i++) {
		const Node *item = root->kids[i];
		if (item->kind == N_LAYER_DEF)
			vec_push(a, &out->layers, item->s);
		else if (item->kind == N_MODEL)
			vec_push(a, &out->models, item->s);
		else if (item->kind == N_PLAN)
			vec_push(a, &out->plans, item->s);
		for (int k = 0; item->kind == N_FAMILY && k < item->nnames; k++)
			vec_push(a, &out->families, item->names[k]);
	}
	return true;
}
