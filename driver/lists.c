/* SPDX-License-Identifier: Apache-2.0
 * lists: what moec carries: the standard library, targets, passes, operations. */
#include "moec.h"
#include "../passes/pass.h"

#include <string.h>

int command_std(const Job *job)
{
	fputs(std_moe, stdout);
	return EXIT_OK;
}

int command_targets(const Job *job)
{
	const Target *native = target_find("native");

	for (int i = 0; i < target_count; i++) {
		const Target *t = &targets[i];
		const char *here = native && strcmp(t->name, native->name) == 0 ? "native"
				 : target_host_has(t) ? "runs here"
				 : !target_is_host(t) && !foreign_lacks(job->arena, t)
				     ? "under qemu" : "";
		printf("%-16s %-17s %3d bits  %-10s  %s\n", t->name, t->triple,
		       t->vector_bits, here, t->needs);
	}
	return EXIT_OK;
}

int command_passes(const Job *job)
{
	for (int i = 0; i < pass_count; i++)
		if (job->opt->names)
			printf("%s\n", passes[i].name);
		else
			printf("%-16s %-7s %s\n", passes[i].name,
			       passes[i].flags & PASS_NEEDED ? "needed" : "",
			       passes[i].help);
	return EXIT_OK;
}

int command_ops(const Job *job)
{
	for (int i = 0; i < OP_COUNT; i++)
		printf("%-10s %s\n", op_info[i].name, op_info[i].meaning);
	return EXIT_OK;
}
