/* SPDX-License-Identifier: Apache-2.0
 * states: the host of test_state.py.  Sequences of a layer that remembers, fed whole, token by
 * token, in pieces with more sequences beside them, and anew after a reset: the same bits.
 *
 *     host X.bin WEIGHTS.moew Y.bin         Y: what the whole sequence gives */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = memory_WIDTH, T = 37, OTHER = 20 };

static float x[T][H], whole[T][H], y[T + T][H], both[T + T][H];

static void need(int holds, const char *what)
{
	if (holds)
		return;
	printf("states: %s\n", what);
	exit(1);
}

/* n tokens of each of nseq sequences, which have seen some before. */
static void feed(memory_session *s, const float *from, int64_t tokens, int64_t nseq,
		 const int64_t *seq, const int64_t *seen, float *to)
{
	memory_args a = {.size = sizeof a, .x = from, .tokens = tokens, .y = to,
			 .nseq = nseq, .seq = seq, .seen = seen};

	need(memory_run(s, &a) == 0, "run");
}

static void token_by_token(memory_session *s)
{
	for (int64_t t = 0; t < T; t++)
		feed(s, x[t], 1, 1, (int64_t[]){0, 1}, &t, y[t]);
	need(memcmp(y, whole, sizeof whole) == 0, "token by token: other bits");
}

/* Behind its first tokens a sequence goes on, and another one begins beside it, with the first
 * OTHER tokens once more. */
static void goes_on_beside_another(memory_session *s, int64_t first)
{
	const int64_t seen[] = {first, 0}, seq[] = {0, T - first, T - first + OTHER};

	memcpy(both[0], x[first], sizeof *x * (size_t)(T - first));
	memcpy(both[T - first], x[0], sizeof *x * OTHER);
	feed(s, both[0], T - first + OTHER, 2, seq, seen, y[first]);
	need(memcmp(y, whole, sizeof whole) == 0, "beside another sequence: other bits");
	need(memcmp(y[T], whole, sizeof *x * OTHER) == 0, "another sequence: other bits");
}

static void two_sequences(memory_session *s)
{
	const int64_t first = 11;

	feed(s, x[0], first, 1, (int64_t[]){0, first}, NULL, y[0]);
	goes_on_beside_another(s, first);
}

/* The second of two sequences ends, and a new one takes its place. */
static void a_place_is_freed(memory_session *s)
{
	const int64_t first = 11, zero[] = {0, 0}, begin[] = {0, first, first + OTHER};

	memcpy(both[0], x[0], sizeof *x * (size_t)first);
	memcpy(both[first], x[5], sizeof *x * OTHER);
	feed(s, both[0], first + OTHER, 2, begin, zero, y[0]);
	memory_forget(s, 1);
	memory_forget(s, 2);
	memory_forget(s, -1);
	goes_on_beside_another(s, first);
}

/* No tokens change nothing; a call that fails neither. */
static void nothing_is_forgotten(memory_session *s)
{
	memory_args none = {.size = sizeof none}, wrong = {.size = sizeof wrong, .tokens = -1};
	const int64_t half = T / 2;

	feed(s, x[0], half, 1, (int64_t[]){0, half}, NULL, y[0]);
	need(memory_run(s, &none) == 0, "no tokens");
	need(memory_run(s, &wrong) != 0, "-1 tokens");
	feed(s, x[half], T - half, 1, (int64_t[]){0, T - half}, &half, y[half]);
	need(memcmp(y, whole, sizeof whole) == 0, "after calls without tokens: other bits");
}

static void read_x(const char *path)
{
	FILE *f = fopen(path, "rb");

	need(f && fread(x, sizeof x, 1, f) == 1, path);
	fclose(f);
}

static void write_y(const char *path)
{
	FILE *f = fopen(path, "wb");

	need(f && fwrite(whole, sizeof whole, 1, f) == 1 && fclose(f) == 0, path);
}

int main(int argc, char **argv)
{
	void (*const ways[])(memory_session *) = {token_by_token, two_sequences,
						  nothing_is_forgotten,
						  a_place_is_freed, token_by_token};
	memory_session_options two = {.size = sizeof two, .threads = 2};
	memory_model *m;
	memory_session *s;

	need(argc == 4, "host X.bin WEIGHTS.moew Y.bin");
	read_x(argv[1]);
	need(memory_open(argv[2], NULL, &m) == 0, "open");
	need(memory_start(m, &two, &s) == 0, "start");
	feed(s, x[0], T, 0, NULL, NULL, whole[0]);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		memory_reset(s);
		memset(y, 0, sizeof y);
		ways[i](s);
	}
	feed(s, x[0], T, 0, NULL, NULL, y[0]);
	need(memcmp(y, whole, sizeof whole) != 0, "without a reset the past must matter");
	memory_end(s);
	memory_close(m);
	write_y(argv[3]);
	return 0;
}
