/* SPDX-License-Identifier: Apache-2.0
 * foreign: compiled layers of machines that this one is not, run under qemu-user. */
#ifndef MOEC_FOREIGN_H
#define MOEC_FOREIGN_H

#include "../ir/target.h"
#include "../runtime/moert.h"

typedef struct Foreign Foreign;

/* A reason why libraries for the target cannot run here, or NULL: they can. */
const char *foreign_lacks(Arena *, const Target *);
/* Loads the library of `layer`, which is no longer needed then.  NULL after a diagnostic. */
Foreign *foreign_start(Arena *, Diag *, const Target *, const char *library,
		       const char *layer);
void     foreign_end(Foreign *);        /* NULL is allowed */
/* The layer's descriptor but for its steps. */
const moert_layer *foreign_layer(const Foreign *);

/* As moert_open, moert_open_memory and moert_close, but that models stay over there: the
 * pointers are handles, for these functions only. */
int  foreign_open(Foreign *, const char *path, const moert_options *, moert_model **);
int  foreign_open_memory(Foreign *, moert_weight_fn *, void *ctx, const moert_options *,
			 moert_model **);
void foreign_close(Foreign *, moert_model *);
const char *foreign_target(const Foreign *);    /* of the model last opened; "" before */
/* A call of a session of its own; a host's parallel_for becomes a serial one over there.
 * Arrays end there where memory ends.  ms: how long it took; may be NULL. */
int  foreign_run(Foreign *, moert_model *, const moert_session_options *,
		 const moert_args *, double *ms);

#endif
