/* SPDX-License-Identifier: Apache-2.0
 * frontend: .moe text in, tensor-level IR out. */
#ifndef MOEC_FRONTEND_H
#define MOEC_FRONTEND_H

#include "../ir/ir.h"
#include "../ir/plan.h"
#include <jansson.h>

/* The checkpoint as the frontend sees it: which tensors there are.  NULL members: none. */
typedef struct {
	Dtype   dtype;                  /* DT_COUNT: of a type that is not read */
	bool    expanded;               /* stored smaller, read as dtype */
	bool    bad;
	int     rank;
	int64_t dims[8];
} FeTensor;
typedef struct FeTensors {
	void *ctx;
	/* false: no such tensor, or (bad is set) its file is damaged, which was said */
	bool (*find)(void *ctx, const char *name, FeTensor *);
	int  nfiles;                    /* for messages: "in the 4 files" */
	const char *(*near)(void *ctx, const char *name);       /* like it; NULL: nobody knows */
} FeTensors;

typedef struct {
	const char *file;               /* .moe path, for messages and imports */
	const char *text;
	const char *layer;              /* --layer: a name, a number, encoder.N; NULL: default */
	json_t     *config;             /* config.json of a family; NULL: none */
	const char *config_file;        /* its path, for messages */
	FeTensors  *tensors;            /* NULL: no checkpoint at hand */
	bool        losses;             /* compile the `loss` declarations too */
} FeOptions;

/* Checks the program and lowers one layer.  The module's functions: @layer first, with
 * calls to one function for each std or user function used, expert functions, and one load
 * function a weight.  NULL: diagnostics were printed. */
Module *fe_compile(Arena *, Diag *, const FeOptions *);

/* Checks every layer of a file that needs no config (families: names only), and functions
 * that nobody calls; what can be read of a file with syntax errors, too. */
bool fe_check(Arena *, Diag *, const FeOptions *);

/* The layer as a .moe of its own, in which config.json and the layer's number are spent.
 * NULL: diagnostics were printed. */
const char *fe_import(Arena *, Diag *, const FeOptions *);

/* The plan of that name in the file, NULL: its only one.  The other options are as for
 * fe_compile.  NULL: diagnostics were printed. */
Plan *fe_plan(Arena *, Diag *, const FeOptions *, const char *name);

/* What a file holds, without elaborating: layer names (families: model_types). */
typedef struct {
	Vec(const char *) layers, models, families, plans;
} FeContents;
bool fe_contents(Arena *, Diag *, const char *file, const char *text, FeContents *);

/* Reads a .moe file. */
char *fe_read(Arena *, Diag *, const char *path);

extern const char std_moe[];            /* the standard library, as `moec std` prints it */
extern const struct FamilyText { const char *file, *text; } family_texts[]; /* models/ */
extern const int family_count;

#endif
