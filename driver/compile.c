/* SPDX-License-Identifier: Apache-2.0
 * compile: a layer to a library, an object, or text. */
#include "moec.h"

#include <string.h>

static const struct {
	const char *name;
	int         kind;               /* of backend.h; -1: IR */
	const char *suffix;             /* of the default file; NULL: standard output */
} kinds[] = {
	{"lib", EMIT_LIB, ".so"}, {"obj", EMIT_OBJ, ".o"}, {"asm", EMIT_ASM, NULL},
	{"llvm", EMIT_LLVM, NULL}, {"ir", -1, NULL}, {"header", EMIT_HEADER, NULL},
};

bool write_ir(const Job *job, const Module *m)
{
	Text t = text_new(job->arena);

	print_module(&t, m);
	if (job->opt->out)
		return file_write(job->diag, job->opt->out, t.s, t.n);
	fputs(t.s, stdout);             /* main() sees whether that worked */
	return true;
}

static bool emit(const Job *job, const Modules *list)
{
	const Module *m = list->at[0];
	const Options *o = job->opt;
	const char *name = o->emit ? o->emit : o->stop_after ? "ir" : "lib";
	size_t i = 0;

	while (strcmp(kinds[i].name, name) != 0)
		i++;
	if (kinds[i].kind < 0)
		return write_ir(job, m);
	const char *out = o->out ? o->out
		   : kinds[i].suffix
		       ? arena_printf(job->arena, "%s%s", m->name, kinds[i].suffix)
		       : "/dev/stdout";
	EmitOptions emit = emit_options(list, (EmitKind)kinds[i].kind, out);
	ice_context("lower", NULL);
	return backend_emit(job->arena, job->diag, m, &emit);
}

int command_compile(const Job *job)
{
	Source s;
	Modules list;
	bool ok = false;

	if (!source_open(job, &s))
		return EXIT_INPUT;
	if (compile_variants(&s, &list, stdout))
		ok = emit(job, &list);
	source_close(&s);
	return ok ? EXIT_OK : EXIT_INPUT;
}
