/* SPDX-License-Identifier: Apache-2.0
 * header: the C header of a compiled layer's library. */
#include "backend.h"

void backend_header(Text *t, const Module *m)
{
	text_printf(t, "/* %s, compiled by moec. */\n", m->name);
}
