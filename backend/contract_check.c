/* SPDX-License-Identifier: Apache-2.0
 * contract_check: what form-kernels, schedule-blocks and pack promise of a contraction, and
 * what IR text may break: a tile that fits, linears that read the streams of one panel. */
#include "contract.h"
#include <string.h>

static void reads_stream(const Contract *c, const Panel *p, int i, const char *name)
{
	const Op *unpack = c->linears.at[i]->args[1]->def;

	if (!unpack || unpack->kind != OP_unpack ||
	    strcmp(attr_get_str(unpack, "panel", ""), p->name) != 0 ||
	    attr_get_int(unpack, "stream", -1) != i)
		ice("kernel %s: linear %d does not read stream %d of panel %s", name, i, i,
		    p->name);
}

void check_contract(const Contract *c)
{
	const char *name = attr_get_str(c->kernel, "name", "?");
	const char *panel = attr_get_str(c->kernel, "panel", "");
	const Panel *p = panel_find(c->e->m, panel);

	if (c->rows < 1 || c->rows > MAX_TILE_ROWS || c->cols < 1 || c->cols % c->e->lanes ||
	    c->vectors > MAX_TILE_VECTORS)
		ice("kernel %s: no tile of %d rows and %lld columns", name, c->rows,
		    (long long)c->cols);
	if (c->kblock < 0 || c->kblock % c->dot->kpack)
		ice("kernel %s: no blocks of %lld steps", name, (long long)c->kblock);
	if (c->rblock < 0 || c->rblock % c->rows || (c->kblock && c->rblock == 0))
		ice("kernel %s: no blocks of %lld rows", name, (long long)c->rblock);
	if (c->together < 1)
		ice("kernel %s: no turns of %lld panels", name, (long long)c->together);
	if (!p || p->cols != c->cols || p->kpack != c->dot->kpack ||
	    p->nstreams != c->linears.n)
		ice("kernel %s: panel '%s' is laid out for another", name, panel);
	for (int i = 0; i < c->linears.n; i++)
		reads_stream(c, p, i, name);
}
