/* SPDX-License-Identifier: Apache-2.0
 * options: the command line, read and explained from one table. */
#include "moec.h"
#include "../passes/pass.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 1024, MOST_TOKENS = INT32_MAX, MOST_SKEW = 100, NAME_WIDTH = 27 };

typedef enum {
	TEXT, LIST, FLAG, TOKENS, LIST_OF_TOKENS, THREADS, SEED, SKEW,
	EMIT, TARGETS, PASS, PASS_OR_ALL, SKIP, PASSES
} Kind;

typedef struct {
	size_t      field;
	const char *name, *argument;
	Kind        kind;
	unsigned    commands;
	const char *help;
} OptionInfo;

#define C(command) (1u << COMMAND_##command)
#define C_ALL      ((1u << COMMAND_COUNT) - 1)

static const OptionInfo options[] = {
#define OPTION(field, name, argument, kind, commands, help) \
	{offsetof(Options, field), name, argument, kind, commands, help},
#include "options.def"
#undef OPTION
};

const char *const command_names[COMMAND_COUNT] = {
#define COMMAND(name, args, example, help) #name,
#include "commands.def"
#undef COMMAND
};

static const struct { const char *args, *example, *help; } commands[] = {
#define COMMAND(name, args, example, help) {args, example, help},
#include "commands.def"
#undef COMMAND
};

static const char *const emit_names[] = {"lib", "obj", "asm", "llvm", "ir", "header"};

void usage_error(DiagCode code, const char *near, const char *fmt, ...)
{
	Arena *arena = arena_new();
	Diag *diag = diag_new(arena, stderr);
	va_list args;

	va_start(args, fmt);
	diag_error(diag, code, (Loc){0}, "%s", arena_vprintf(arena, fmt, args));
	va_end(args);
	if (near)
		diag_fix(diag, "did you mean `%s`?", near);
	arena_free(arena);
}

void options_help(CommandNumber number)
{
	printf("%s\n\nmoec %s%s%s [options]\n%s\n", commands[number].example,
	       command_names[number], *commands[number].args ? " " : "",
	       commands[number].args, commands[number].help);
	for (size_t i = 0; i < COUNT(options); i++) {
		const OptionInfo *o = &options[i];
		char name[64];
		if (!(o->commands & 1u << number))
			continue;
		snprintf(name, sizeof name, "%s%s%s", o->name,
			 !o->argument ? "" : o->name[1] == '-' ? "=" : " ",
			 o->argument ? o->argument : "");
		printf("  %-*s %s\n", NAME_WIDTH, name, o->help);
	}
}

/* Digits only: no sign, no space, no overflow. */
static bool read_number(const char *s, uint64_t most, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	unsigned long long n = strtoull(s, &end, strncmp(s, "0x", 2) == 0 ? 16 : 10);
	*out = n;
	return !errno && !*end && n <= most;
}

static bool bad_value(const OptionInfo *o, const char *value, const char *wanted)
{
	usage_error(E_option_value, NULL, "%s takes %s, not '%s'", o->name, wanted,
		    value);
	return false;
}

static bool parse_number(const OptionInfo *o, const char *value, int64_t least,
			 uint64_t most, const char *wanted, int64_t *out)
{
	uint64_t n;

	if (!read_number(value, most, &n) || (int64_t)n < least)
		return bad_value(o, value, wanted);
	*out = (int64_t)n;
	return true;
}

static bool parse_skew(const OptionInfo *o, const char *value, double *out)
{
	char *end;

	*out = strtod(value, &end);
	if (isdigit((unsigned char)*value) && !*end && *out <= MOST_SKEW)
		return true;
	return bad_value(o, value, "a number from 0 to 100");
}

static bool parse_token_list(Arena *a, const OptionInfo *o, const char *value,
			     Numbers *list)
{
	const char *wanted = "numbers of tokens separated by commas (1,64,2048)";

	*list = (Numbers){0};
	for (const char *at = value;; at++) {
		size_t n = strcspn(at, ",");
		int64_t tokens;
		if (!parse_number(o, arena_strndup(a, at, n), 1, MOST_TOKENS, wanted,
				  &tokens))
			return false;
		vec_push(a, list, tokens);
		at += n;
		if (!*at)
			return true;
	}
}

static bool parse_name(const OptionInfo *o, const char *value, const char *what,
		       const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], value) == 0)
			return true;
	usage_error(E_unknown_option, nearest_name(value, names, n), "%s: no %s '%s'",
		    o->name, what, value);
	return false;
}

/* Wider vectors first, then what stands later in the table. */
static bool is_better(const Target *a, const Target *b)
{
	return a->vector_bits != b->vector_bits ? a->vector_bits > b->vector_bits
						: target_rank(a) > target_rank(b);
}

static bool add_target(Arena *a, const OptionInfo *o, const Target *t, Targets *list)
{
	int at = 0;

	if (!t)                         /* native, on a host that is none of ours */
		return true;
	for (int i = 0; i < list->n; i++) {
		if (target_rank(list->at[i]) == target_rank(t))
			return true;
		if (strcmp(list->at[i]->triple, t->triple) != 0) {
			usage_error(E_option_value, NULL,
				    "%s: '%s' and '%s' cannot share a library", o->name,
				    list->at[i]->name, t->name);
			return false;
		}
		at += is_better(list->at[i], t);
	}
	vec_push(a, list, t);
	for (int i = list->n - 1; i > at; i--) {
		list->at[i] = list->at[i - 1];
		list->at[i - 1] = t;
	}
	return true;
}

static bool parse_targets(Arena *a, const OptionInfo *o, const char *value, Targets *list)
{
	const char **names = NEWN(a, const char *, (size_t)target_count + 1);

	for (int i = 0; i < target_count; i++)
		names[i] = targets[i].name;
	names[target_count] = "native";
	*list = (Targets){0};
	for (const char *at = value;; at++) {
		const char *name = arena_strndup(a, at, strcspn(at, ","));
		if (!parse_name(o, name, "target", names, target_count + 1) ||
		    !add_target(a, o, target_find(name), list))
			return false;
		at += strlen(name);
		if (!*at)
			return true;
	}
}

static bool parse_pass(Arena *a, const OptionInfo *o, const char *value)
{
	const char **names = NEWN(a, const char *, (size_t)pass_count + 1);
	int n = 0;

	for (int i = 0; i < pass_count; i++)
		names[n++] = passes[i].name;
	if (o->kind == PASS_OR_ALL)
		names[n++] = "all";
	if (!parse_name(o, value, "pass", names, n))
		return false;
	if (o->kind != SKIP || !(pass_find(value)->flags & PASS_NEEDED))
		return true;
	usage_error(E_option_value, NULL, "%s: '%s' cannot be skipped", o->name, value);
	return false;
}

static bool parse_passes(Arena *a, const OptionInfo *o, const char *value, Names **out)
{
	*out = NEW(a, Names);
	while (*value) {
		size_t n = strcspn(value, ",");
		const char *name = arena_strndup(a, value, n);
		if (!parse_pass(a, o, name))
			return false;
		if (!pass_find(name)->run) {
			usage_error(E_option_value, NULL,
				    "%s: '%s' gives no IR, use `moec compile`", o->name,
				    name);
			return false;
		}
		vec_push(a, *out, name);
		value += n + (value[n] == ',');
	}
	return true;
}

static bool parse_value(Arena *a, const OptionInfo *o, const char *value, Options *out)
{
	void *field = (char *)out + o->field;
	uint64_t seed;

	switch (o->kind) {
	case FLAG:
		*(bool *)field = true;
		return true;
	case TOKENS:
		return parse_number(o, value, 0, MOST_TOKENS, "a number of tokens",
				    field);
	case LIST_OF_TOKENS:
		return parse_token_list(a, o, value, field);
	case THREADS:
		return parse_number(o, value, 1, MOST_THREADS, "a number from 1 to 1024",
				    field);
	case SEED:
		if (!read_number(value, UINT64_MAX, &seed))
			return bad_value(o, value, "a number below 2^64");
		*(uint64_t *)field = seed;
		return true;
	case SKEW:
		return parse_skew(o, value, field);
	case TARGETS:
		return parse_targets(a, o, value, field);
	case PASSES:
		return parse_passes(a, o, value, field);
	case EMIT:
		if (!parse_name(o, value, "kind", emit_names, COUNT(emit_names)))
			return false;
		break;
	case PASS: case PASS_OR_ALL: case SKIP:
		if (!parse_pass(a, o, value))
			return false;
		break;
	case TEXT: case LIST:
		if (!*value || (o->kind == LIST && value[strlen(value) - 1] == '='))
			return bad_value(o, value, o->argument);
		break;
	}
	if (o->kind == LIST || o->kind == SKIP)
		vec_push(a, (Names *)field, value);
	else
		*(const char **)field = value;
	return true;
}

static const OptionInfo *find_option(CommandNumber number, const char *name)
{
	const char *names[COUNT(options)];
	int n = 0;

	for (size_t i = 0; i < COUNT(options); i++) {
		if (!(options[i].commands & 1u << number))
			continue;
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
		names[n++] = options[i].name;
	}
	usage_error(E_unknown_option, nearest_name(name, names, n),
		    "`moec %s` has no option '%s'", command_names[number], name);
	return NULL;
}

/* One option, with its value behind `=` or in the next argument. */
static bool parse_option(Arena *a, CommandNumber number, char **argv, int argc, int *i,
			 Options *out)
{
	const char *arg = argv[*i], *equals = strchr(arg, '=');
	const char *name = equals ? arena_strndup(a, arg, (size_t)(equals - arg)) : arg;
	const OptionInfo *o = find_option(number, name);

	if (!o)
		return false;
	if (!o->argument && equals) {
		usage_error(E_option_count, NULL, "%s takes no value", name);
		return false;
	}
	if (!o->argument)
		return parse_value(a, o, NULL, out);
	if (equals)
		return parse_value(a, o, equals + 1, out);
	if (*i + 1 >= argc) {
		usage_error(E_option_count, NULL, "%s needs a value: %s", name,
			    o->argument);
		return false;
	}
	return parse_value(a, o, argv[++*i], out);
}

/* What only shows when all options are known. */
static bool consistent(CommandNumber number, const Options *o)
{
	const char *name = command_names[number];

	if (*commands[number].args && !o->src)
		usage_error(E_option_count, NULL, "`moec %s` needs %s", name,
			    commands[number].args);
	else if (o->src && !*o->src)
		usage_error(E_option_count, NULL, "`moec %s` needs %s, not ''", name,
			    commands[number].args);
	else if ((number == COMMAND_pack || number == COMMAND_import) && !o->out)
		usage_error(E_option_count, NULL, "`moec %s` needs -o OUT", name);
	else if (o->reference && o->check)
		usage_error(E_options_conflict, NULL,
			    "--reference and --check exclude each other");
	else if (o->reference && o->time_trace)
		usage_error(E_options_conflict, NULL,
			    "--time-trace is of compiled code, --reference interprets");
	else if (o->targets.n > 1 && (o->stop_after || o->print_after ||
				      (o->emit && strcmp(o->emit, "ir") == 0)))
		usage_error(E_options_conflict, NULL, "IR is for one target, not %d",
			    o->targets.n);
	else if (o->targets.n > 1 && number == COMMAND_bench)
		usage_error(E_options_conflict, NULL, "one target is measured at a time, not %d",
			    o->targets.n);
	else if (o->stop_after && o->emit && strcmp(o->emit, "ir") != 0)
		usage_error(E_options_conflict, NULL,
			    "--stop-after writes IR, not --emit=%s", o->emit);
	else
		return true;
	return false;
}

bool options_parse(Arena *a, CommandNumber number, int argc, char **argv, Options *out)
{
	bool only_arguments = false;

	*out = (Options){.tokens = -1, .skew = -1};
	if (target_find("native"))
		vec_push(a, &out->targets, target_find("native"));
	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i];
		if (!only_arguments && strcmp(arg, "--") == 0) {
			only_arguments = true;
		} else if (!only_arguments && arg[0] == '-' && arg[1]) {
			if (!parse_option(a, number, argv, argc, &i, out))
				return false;
		} else if (out->src || !*commands[number].args) {
			usage_error(E_option_count, NULL, "`moec %s` takes no %s '%s'",
				    command_names[number],
				    out->src ? "further" : "argument", arg);
			return false;
		} else {
			out->src = arg;
		}
	}
	return out->help || consistent(number, out);
}
