/* SPDX-License-Identifier: Apache-2.0
 * moec: what the parts of the driver know of one another. */
#ifndef MOEC_DRIVER_H
#define MOEC_DRIVER_H

#include "../backend/backend.h"
#include "../foreign/foreign.h"
#include "../frontend/frontend.h"
#include "../io/io.h"
#include "../ir/eval.h"
#include "../ir/target.h"
#include "../runtime/moert.h"
#include "weights.h"

/* Exit statuses, part of the interface. */
enum { EXIT_OK = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_BUG = 70 };

typedef enum {
#define COMMAND(name, args, example, help) COMMAND_##name,
#include "commands.def"
#undef COMMAND
	COMMAND_COUNT
} CommandNumber;

typedef Vec(const char *) Names;
typedef Vec(int64_t) Numbers;
typedef Vec(const Target *) Targets;
typedef Vec(const Module *) Modules;

typedef struct {
	const char *src;                /* the argument, NULL for commands without one */
	const char *out, *emit, *layer, *weights, *stop_after, *print_after;
	const char *output, *json, *plan, *time_trace;
	Targets targets;                /* best first; none: the host is none of ours */
	Names   no_pass, inputs;
	Names  *passes;                 /* NULL: the rest of the pipeline */
	int64_t tokens;                 /* -1: not given */
	Numbers token_list;
	int64_t threads;                /* 0: not given */
	uint64_t seed;
	double  skew;                   /* -1: not given */
	bool    time_passes, reference, check, names, help;
} Options;

/* What every part of a command is given. */
typedef struct {
	Arena         *arena;
	Diag          *diag;
	CommandNumber  number;
	const Options *opt;
	const char    *command;         /* the command line, for internal errors */
} Job;

/* options.c: false: a wrong usage was reported. */
bool options_parse(Arena *, CommandNumber, int argc, char **argv, Options *);
void options_help(CommandNumber);
/* A mistake in the command line; near: the name that was perhaps meant, or NULL. */
void usage_error(DiagCode code, const char *near, const char *fmt, ...) PRINTF(3, 4);
extern const char *const command_names[COMMAND_COUNT];

/* explain.c: what an error means; NULL: all of them in a line each. */
int explain(const char *code);

/* source.c: SRC and --weights together */
typedef struct {
	const Job   *job;
	FeOptions    fe;
	FeTensors    tensors;
	Checkpoint  *checkpoint;        /* NULL: random weights, or packed ones */
	const char  *moew;              /* NULL, or a file of packed weights */
	bool         is_mir;            /* SRC is IR text */
	Plan           *plan;           /* NULL: none */
	Diag        *quiet;             /* where a second compilation repeats itself */
	FILE        *nowhere;
} Source;
bool    source_open(const Job *, Source *);
void    source_close(Source *);
/* The tensor-level module, made anew each time; the second time says nothing. */
Module *source_module(Source *);
/* The runtime's words on a file that the diagnostic names already. */
const char *without_path(const char *why, const char *path);
/* Its natural weights, or NULL. */
Weights *source_weights(Source *, const Module *);

/* flags.c: the flags in config.json's "flags" become keys of their own. */
bool    config_flags(const Job *, const char *file, json_t *config);

/* serve.c: natural weights and those that passes derive from them.  Either the
 * interpreter asks (through source) or a runtime (through server_get), which may forget
 * one matrix when it asks for the next, unless all are kept. */
typedef struct { const Param *param; int64_t expert; void *data; } MadeMatrix;
typedef struct {
	WeightSource  source;           /* first */
	const Job    *job;
	const Module *m;                /* whose params and load functions are meant */
	const Modules *variants;        /* .. where a runtime asks: one of these */
	Weights      *natural;
	Vec(MadeMatrix) made;           /* derived ones */
	const Param  *last;             /* handed out last, natural, and whose it is */
	int64_t       last_expert;
	bool          keep;
	Progress     *progress;
} Server;
void        server_open(Server *, const Job *, const Module *, Weights *, bool keep);
void        server_close(Server *);
const void *server_get(void *server, const moert_layer *, const char *name, int64_t range,
		       int64_t expert);

/* variants.c: a source through the pipeline, for target `number` of the command line's
 * unless the module names one; for all, best first; and what to do with these */
bool   compile_module(const Source *, Module *, int number, FILE *dumps);
bool   compile_variants(Source *, Modules *, FILE *dumps);
EmitOptions emit_options(const Modules *, EmitKind, const char *out);

/* layer.c: a source as code in this process, or, for machines that this one is not, under
 * qemu-user */
typedef struct {
	const Module      *m;           /* the best target's */
	Modules            variants;    /* all */
	void              *library;     /* here, or .. */
	Foreign           *foreign;     /* .. there: then the model is there as well */
	const moert_layer *layer;
} Layer;
bool   layer_load(const Job *, Source *, Layer *);
void   layer_unload(Layer *);
/* false, with an error: its times would be those of qemu */
bool   layer_measurable(const Job *, const Layer *);
bool   layer_open(const Job *, Source *, const Layer *, Server *, moert_model **);
void   layer_close(const Layer *, moert_model *);
const char *layer_target(const Layer *, const moert_model *);   /* that was chosen */
bool   layer_failed(const Job *, const char *what, int error, const char *why);
/* Linux promises memory that it has not: asking first beats being killed. */
bool   enough_memory(const Job *, const char *what, double bytes);
/* The host's row, or an error that no target runs here. */
const Target *need_target(const Job *);

/* inputs.c: the arguments of @layer: read, or seeded */
typedef struct {
	const char *name;
	Type        type;
	int64_t     rows, n;            /* n entries in all */
	double     *v;                  /* rounded: what the interpreter takes */
	void       *raw;                /* the same as compiled code takes it */
} Input;
typedef struct {
	int64_t tokens;
	int     n;
	Input  *at;
} Inputs;
Input  input_of(const Module *, int argument);  /* its name and type alone; an integer's
						   axis is what it chooses from, or 0 */
bool   inputs_make(const Job *, const Module *, Inputs *);
/* Entries of `stream` first .. first+n-1: N(0,1), or choices along an axis. */
void   random_entries(const Type *, uint64_t seed, uint64_t stream, int64_t first,
		      int64_t n, double *to);

/* run.c, native.c, interpret.c, check.c, summary.c: one call of a layer, either way */
typedef struct {
	const char *name;
	Type     type;
	int64_t  rows, n;
	double  *v, *err;               /* err: only from the interpreter, with bounds */
} Output;
typedef struct {
	int      nouts, nlosses;
	Output  *outs;                  /* y first */
	Output  *losses;
	int32_t *picks;                 /* [T, k] or NULL */
	float   *gates;
	double  *gap;                   /* [T] or NULL */
	int64_t  k;
	EvalRouting *calls;             /* of each layer that a model calls, or NULL */
	double   ms;
	const char *target;             /* of compiled code */
} Outcome;
bool   run_native(const Job *, Source *, const Inputs *, const Layer *, Server *,
		  Outcome *);
void   interpretable(const Job *, Module *);    /* before the first of these */
bool   run_interpreter(const Job *, const Module *, const Inputs *, WeightSource *,
		       const Outcome *given, bool bounds, Outcome *);
/* False: a diagnostic was printed.  *within: whether all is within the bounds. */
bool   check_outcome(const Job *, const Module *, const Inputs *, WeightSource *,
		     const Outcome *compiled, bool *within);
void   print_summary(const Job *, const Module *, const Inputs *, const Outcome *,
		     const char *how);
double now_ms(void);
int    cpu_count(void);
int64_t thread_count(const Job *);                      /* --threads, or all */

/* compile.c: the module as text to -o, or to standard output */
bool   write_ir(const Job *, const Module *);

/* time_trace.c: what threads did while it is on; a moert_span */
typedef struct TimeTrace TimeTrace;
TimeTrace *time_trace_new(int threads);
void   time_trace_on(TimeTrace *);
void   time_trace_span(void *time_trace, int worker, const char *step, int64_t begin,
		       int64_t end);
bool   time_trace_write(const Job *, const TimeTrace *, const char *layer);
void   time_trace_free(TimeTrace *);                    /* NULL is allowed */

/* outputs.c: whether files can be written where the options say. */
bool   outputs_fit(const Job *);

/* The commands; each returns an exit status. */
#define COMMAND(name, args, example, help) int command_##name(const Job *);
#include "commands.def"
#undef COMMAND

#endif
