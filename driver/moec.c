/* SPDX-License-Identifier: Apache-2.0
 * moec: an ahead-of-time compiler for Mixture-of-Experts layers; finds the command. */
#include "moec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "0.1.0"

static int (*const run_command[COMMAND_COUNT])(const Job *) = {
#define COMMAND(name, args, example, help) command_##name,
#include "commands.def"
#undef COMMAND
};

static void print_help(FILE *out)
{
	fprintf(out, "moec run mixtral.moe --check\n\n"
		     "moec COMMAND [options]: compiles Mixture-of-Experts layers\n");
#define COMMAND(name, args, example, help) fprintf(out, "  %-8s %s\n", #name, help);
#include "commands.def"
#undef COMMAND
	fprintf(out,
		"\n`moec COMMAND --help` explains a command, `moec --explain E0201` an error.\n"
		"SRC is a .moe file or a model folder (config.json and safetensors).\n");
}

/* The command line, quoted so that a shell reads it back. */
static const char *command_line(Arena *a, int argc, char **argv)
{
	Text t = text_new(a);

	for (int i = 0; i < argc; i++) {
		bool plain = *argv[i] &&
			     !argv[i][strcspn(argv[i], " '\"\\$`*?[](){}<>|&;~#!\n\t")];
		text_add(&t, i ? " " : "");
		text_add(&t, plain ? "" : "'");
		for (const char *s = argv[i]; *s; s++)
			text_addn(&t, *s == '\'' ? "'\\''" : s, *s == '\'' ? 4 : 1);
		text_add(&t, plain ? "" : "'");
	}
	return t.s;
}

static int find_command(const char *name)
{
	static const char *const options[] = {"--help", "--version", "--explain"};
	bool option = name[0] == '-';

	for (int i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(command_names[i], name) == 0)
			return i;
	usage_error(E_unknown_option,
		    option ? nearest_name(name, options, COUNT(options))
			   : nearest_name(name, command_names, COMMAND_COUNT),
		    option ? "no option '%s'" : "no command '%s'", name);
	return -1;
}

static int run_with(Arena *arena, int argc, char **argv)
{
	Options options;
	int number = find_command(argv[1]);

	if (number < 0)
		return EXIT_USAGE;
	if (!options_parse(arena, (CommandNumber)number, argc - 2, argv + 2, &options))
		return EXIT_USAGE;
	if (options.help) {
		options_help((CommandNumber)number);
		return EXIT_OK;
	}
	Job job = {.arena = arena, .diag = diag_new(arena, stderr), .number = number,
		   .opt = &options, .command = command_line(arena, argc, argv)};
	ice_context("none", job.command);
	int status = outputs_fit(&job) ? run_command[number](&job) : EXIT_INPUT;
	diag_end(job.diag);
	return status;
}

static void end(int number)
{
	cleanup_now();
	signal(number, SIG_DFL);
	raise(number);
}

/* Nothing half written outlives us; a full disk or file is an error, not a death. */
static void catch_signals(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};

	for (size_t i = 0; i < COUNT(ends); i++)
		if (signal(ends[i], end) == SIG_IGN)
			signal(ends[i], SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);       /* a child's status matters, whoever started us */
	atexit(cleanup_now);
}

int main(int argc, char **argv)
{
	int status = EXIT_OK;

	catch_signals();
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
	} else if (strcmp(argv[1], "--version") == 0) {
		printf("moec %s\n", VERSION);
	} else if (strcmp(argv[1], "--explain") == 0 && argc <= 3) {
		status = explain(argv[2]);
	} else {
		Arena *arena = arena_new();
		status = run_with(arena, argc, argv);
		arena_free(arena);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "moec: error: cannot write standard output: %s [%s]\n",
			strerror(errno), diag_info[E_cannot_write].code);
		return status ? status : EXIT_INPUT;
	}
	return status;
}
