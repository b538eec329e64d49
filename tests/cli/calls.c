/* SPDX-License-Identifier: Apache-2.0
 * calls: the host of test_calls.py.  stack = dense, then moe twice; each called alone must
 * give what the whole gives, with its own routing and with another. */
#include "stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	H = stack_WIDTH, E = stack_moe_EXPERTS, K = stack_moe_PICKS, T = 19,
	FIRST = stack_CALL_first, SECOND = stack_CALL_second,
};

typedef struct {
	float   y[stack_CALLS][T][H], p[T][E], losses[stack_CALLS];
	int32_t picks[stack_CALLS][T][K];
	float   gates[stack_CALLS][T][K];
	int64_t rows[stack_CALLS][E];
} Results;

static float x[T][H];

static void need(int holds, const char *what)
{
	if (holds)
		return;
	printf("calls: %s\n", what);
	exit(1);
}

static int run_whole(stack_session *s, const Results *given, Results *r)
{
	float losses[stack_LOSSES];
	int64_t rows[stack_EXPERT_ROWS];
	stack_outputs outputs = {&r->p[0][0]};
	stack_routing routing[stack_CALLS];
	stack_args a = {.size = sizeof a, .x = x[0], .tokens = T, .y = r->y[SECOND][0],
			.losses = losses, .outputs = &outputs, .routing = routing,
			.expert_rows = rows};

	memset(routing, 0, sizeof routing);
	for (int i = FIRST; i <= SECOND; i++) {
		routing[i].picks_out = r->picks[i][0];
		routing[i].gates_out = r->gates[i][0];
		if (given) {
			routing[i].picks_in = given->picks[i][0];
			routing[i].gates_in = given->gates[i][0];
		}
	}
	int error = stack_run(s, &a);
	memcpy(r->losses + FIRST, losses, sizeof losses);
	memcpy(r->rows + FIRST, rows, sizeof rows);
	return error;
}

/* Each layer on what the one before gave. */
static int run_calls(stack_session *s, const Results *given, Results *r)
{
	stack_dense_args dense = {.size = sizeof dense, .x = x[0], .tokens = T,
				  .y = r->y[0][0]};
	int error = stack_dense_run(s, 0, &dense);

	memset(r->p, 0, sizeof r->p);
	for (int i = FIRST; i <= SECOND && !error; i++) {
		float p[T][E];
		stack_moe_outputs outputs = {p[0]};
		stack_moe_args a = {
			.size = sizeof a, .x = r->y[i - 1][0], .tokens = T, .y = r->y[i][0],
			.losses = &r->losses[i], .outputs = &outputs,
			.picks_in = given ? given->picks[i][0] : NULL,
			.gates_in = given ? given->gates[i][0] : NULL,
			.picks_out = r->picks[i][0], .gates_out = r->gates[i][0],
			.expert_rows = r->rows[i],
		};
		error = stack_moe_run(s, i, &a);
		for (int j = 0; j < T * E; j++)
			r->p[j / E][j % E] += p[j / E][j % E];
	}
	return error;
}

static void compare(const Results *a, const Results *b)
{
	need(!memcmp(a->y[SECOND], b->y[SECOND], sizeof a->y[0]), "y differs");
	need(!memcmp(a->p, b->p, sizeof a->p), "the second output differs");
	for (int i = FIRST; i <= SECOND; i++) {
		need(!memcmp(a->picks[i], b->picks[i], sizeof a->picks[0]), "picks differ");
		need(!memcmp(a->gates[i], b->gates[i], sizeof a->gates[0]), "gates differ");
		need(!memcmp(a->rows[i], b->rows[i], sizeof a->rows[0]), "rows differ");
		need(a->losses[i] == b->losses[i] && a->losses[i] > 0, "losses differ");
	}
}

static void check_rows(const Results *r)
{
	for (int i = FIRST; i <= SECOND; i++) {
		int64_t rows[E] = {0};
		for (int j = 0; j < T * K; j++)
			rows[r->picks[i][j / K][j % K]]++;
		need(!memcmp(rows, r->rows[i], sizeof rows), "rows are not those picked");
	}
}

/* Other experts than the layers' own. */
static void other_routing(const Results *from, Results *to)
{
	for (int i = FIRST; i <= SECOND; i++)
		for (int j = 0; j < T * K; j++) {
			int t = j / K, k = j % K;
			to->picks[i][t][k] = (from->picks[i][t][k] + 1) % E;
			to->gates[i][t][k] = 0.25f * (float)(1 + j % 3);
		}
}

static void refused(stack_session *s, const Results *r)
{
	stack_moe_args a = {.size = sizeof a, .x = r->y[0][0], .tokens = T,
			    .y = (float *)r->y[1][0]};
	stack_dense_args d = {.size = sizeof d, .x = x[0], .tokens = T,
			      .y = (float *)r->y[0][0], .picks_in = r->picks[FIRST][0]};

	need(stack_moe_run(s, 0, &a) == stack_ERROR_ARGS, "call 0 is no moe");
	need(stack_moe_run(s, -1, &a) == stack_ERROR_ARGS, "there is no call -1");
	need(stack_moe_run(s, stack_CALLS, &a) == stack_ERROR_ARGS, "there is no call 3");
	need(stack_moe_run(NULL, FIRST, &a) == stack_ERROR_ARGS, "no session");
	need(stack_dense_run(s, 0, &d) == stack_ERROR_PICKS, "dense has no routing");
	need(!stack_path(-1) && !stack_path(stack_CALLS), "paths beyond the calls");
	need(!strcmp(stack_path(SECOND), "second"), "the path of a call");
	a.tokens = 0;
	need(stack_moe_run(s, FIRST, &a) == stack_OK, "no tokens");
}

static void write_file(const char *name, const void *data, size_t n)
{
	FILE *f = fopen(name, "wb");
	need(f && fwrite(data, 1, n, f) == n && !fclose(f), name);
}

static void run_all(stack_model *m, int threads)
{
	static Results whole, calls, given, whole_given, calls_given;
	stack_session_options o = {.size = sizeof o, .threads = threads};
	stack_session *s;

	need(!stack_start(m, &o, &s), "start");
	need(!run_whole(s, NULL, &whole) && !run_calls(s, NULL, &calls), "run");
	compare(&whole, &calls);
	check_rows(&whole);
	other_routing(&whole, &given);
	need(!run_calls(s, &given, &calls_given) && !run_whole(s, &given, &whole_given),
	     "run with other routing");
	compare(&whole_given, &calls_given);
	check_rows(&calls_given);
	need(!memcmp(given.picks[FIRST], calls_given.picks[FIRST], sizeof given.picks[0]),
	     "the routing given is not what ran");
	need(memcmp(whole.y[SECOND], whole_given.y[SECOND], sizeof whole.y[0]),
	     "other routing, the same y");
	need(!run_whole(s, NULL, &whole_given), "run");
	compare(&whole, &whole_given);
	refused(s, &whole_given);
	write_file("y0.bin", calls.y[0], sizeof calls.y[0]);
	write_file("y1.bin", calls.y[1], sizeof calls.y[1]);
	write_file("y2.bin", whole.y[2], sizeof whole.y[2]);
	stack_end(s);
}

int main(int argc, char **argv)
{
	stack_model *m;
	FILE *f = fopen("x.bin", "rb");

	need(argc == 2 && f && fread(x, sizeof x, 1, f) == 1, "usage: calls WEIGHTS.moew");
	fclose(f);
	need(!stack_open(argv[1], NULL, &m), "open");
	for (int threads = 1; threads <= 3; threads++)
		run_all(m, threads);
	stack_close(m);
	printf("all is the same\n");
	return 0;
}
