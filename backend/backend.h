/* SPDX-License-Identifier: Apache-2.0
 * backend: kernel-level IR to native code; the only folder that knows LLVM. */
#ifndef MOEC_BACKEND_H
#define MOEC_BACKEND_H

#include "../ir/ir.h"
#include "../ir/target.h"
#include "../runtime/layer.h"

typedef enum { EMIT_OBJ, EMIT_ASM, EMIT_LLVM, EMIT_LIB, EMIT_HEADER } EmitKind;

typedef struct {
	const Target *target;
	EmitKind      what;
	const char   *out;              /* path; written beside and renamed */
	bool          verify;           /* LLVM's verifier, between emitting and optimising */
	/* The same layer for further targets of the triple, as their modules say, the best
	 * first; all are worse than `target`. */
	const Module *const *others;
	int           nothers;
} EmitOptions;

/* lower: the module (scheduled and packed) to LLVM, to a file.  False: said. */
bool backend_emit(Arena *, Diag *, const Module *, const EmitOptions *);
/* False: the layer has something that is not compiled yet; said. */
bool backend_accepts(Diag *, const Module *);
/* The descriptor for the module's target as far as weights are concerned, and the lesser
 * targets' behind it.  NULL: not accepted. */
const moert_layer *backend_layout(Arena *, Diag *, const Module *, const moert_layer *next);
/* The C header of the library's interface; n modules, one for each target, best first. */
void backend_header(Text *, const Module *const *variants, int n);

/* What moec carries for each machine: the runtime's archive (libmoert.a), for linking; of
 * foreign ones the program that runs a layer there (../foreign/runner), too. */
typedef struct { const unsigned char *data; size_t size; } Blob;
typedef struct { const char *triple; Blob runtime, runner; } Machine;
extern const Machine machines[];
extern const int     machine_count;
/* link.c: NULL: moec was built where there was no compiler for it (machine_for says so). */
const Machine *machine_find(const Target *);
const Machine *machine_for(Diag *, const Target *);

#endif
