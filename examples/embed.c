/* SPDX-License-Identifier: Apache-2.0
 * embed: a host program around a compiled layer.  It includes the generated header alone.
 *
 *     moec compile examples/my_policy.moe -o my_layer.so
 *     moec compile examples/my_policy.moe --emit=header -o my_layer.h
 *     moec pack examples/my_policy.moe -o my_layer.moew
 *     cc -I. examples/embed.c ./my_layer.so -o embed && ./embed my_layer.moew */
#include "my_layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = my_layer_WIDTH, K = my_layer_PICKS, TOKENS = 48, FIRST = 31 };

static float x[TOKENS][H], y[TOKENS][H], again[TOKENS][H];
static int32_t picks[TOKENS][K];
static float gates[TOKENS][K];

static void check(const char *what, int error)
{
	if (!error)
		return;
	fprintf(stderr, "embed: %s: %s\n", what, my_layer_error(error));
	exit(1);
}

/* Tokens of a fixed sequence, about uniform in -1 .. 1. */
static void fill_tokens(void)
{
	uint32_t r = 1;

	for (int i = 0; i < TOKENS * H; i++) {
		r = r * 1664525u + 1013904223u;
		x[i / H][i % H] = (float)(r >> 8) / 8388608.0f - 1.0f;
	}
}

static uint64_t checksum(const void *data, size_t n)
{
	const unsigned char *at = data;
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * 1099511628211u;
	return h;
}

static int run_tokens(my_layer_session *s, int from, int to, float (*out)[H])
{
	my_layer_args args = {
		.size = sizeof args, .x = x[from], .tokens = to - from, .y = out[from],
		.picks_out = picks[from], .gates_out = gates[from],
	};
	return my_layer_run(s, &args);
}

static void print_routing(void)
{
	int rows[my_layer_EXPERTS] = {0};

	for (int i = 0; i < TOKENS * K; i++)
		if (picks[i / K][i % K] >= 0)
			rows[picks[i / K][i % K]]++;
	printf("tokens of each expert:");
	for (int e = 0; e < my_layer_EXPERTS; e++)
		printf(" %d", rows[e]);
	printf("\n");
}

static void print_same(const char *what)
{
	int same = memcmp(y, again, sizeof y) == 0;

	printf("%s: %s bits\n", what, same ? "the same" : "other");
}

int main(int argc, char **argv)
{
	my_layer_model *model;
	my_layer_session *session;
	char why[256] = "";
	my_layer_options options = {
		.size = sizeof options, .why = why, .why_size = sizeof why,
	};

	if (argc != 2) {
		fprintf(stderr, "usage: embed WEIGHTS.moew\n");
		return 2;
	}
	int error = my_layer_open(argv[1], &options, &model);
	if (error) {
		fprintf(stderr, "embed: %s\n", *why ? why : my_layer_error(error));
		return 1;
	}
	my_layer_session_options threads = {.size = sizeof threads, .threads = 2};
	check("start", my_layer_start(model, &threads, &session));
	printf("%lld bytes of weights\n", (long long)my_layer_bytes(model));

	fill_tokens();
	check("run", run_tokens(session, 0, TOKENS, y));
	print_routing();

	check("first batch", run_tokens(session, 0, FIRST, again));
	check("second batch", run_tokens(session, FIRST, TOKENS, again));
	print_same("in two batches");

	/* The routing that was read out, given: for hosts that route by themselves. */
	memset(again, 0, sizeof again);
	my_layer_args given = {
		.size = sizeof given, .x = x[0], .tokens = TOKENS, .y = again[0],
		.picks_in = picks[0], .gates_in = gates[0],
	};
	check("given routing", my_layer_run(session, &given));
	print_same("with the routing given");

	given.tokens = 0;
	check("no tokens", my_layer_run(session, &given));
	given.tokens = -1;
	printf("-1 tokens: %s\n", my_layer_error(my_layer_run(session, &given)));

	printf("checksum %016llx\n", (unsigned long long)checksum(y, sizeof y));
	my_layer_end(session);
	my_layer_close(model);
	return 0;
}
