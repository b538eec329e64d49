// libs: moert
/* SPDX-License-Identifier: Apache-2.0
 * The queue of a layer with `defer`: who waits keeps all inputs and its place, comes out once,
 * and is counted; what a host asks for that does not go with it is refused. */
#include "../../ir/eval.h"
#include "../../runtime/internal.h"
#include "unit.h"

enum { H = 3, MOST = 40, QUEUE = 4 };

/* y = x[0], the token's place, its note; where x[1] < 0 it waits. */
static void look(const moert_call *c, int64_t row0, int64_t row1, void *scratch)
{
	for (int64_t t = row0; t < row1; t++) {
		const float *x = (const float *)(c->buf[0].at + t * c->buf[0].stride);
		const int32_t *note = (const int32_t *)(c->buf[1].at + t * c->buf[1].stride);
		float *y = (float *)(c->buf[2].at + t * c->buf[2].stride);
		y[0] = x[0];
		y[1] = (float)c->position[t];
		y[2] = (float)*note;
		*(int32_t *)(c->buf[3].at + t * c->buf[3].stride) = x[1] < 0;
	}
}

#define BUF(n, r, t, e) {.name = n, .role = r, .dtype = t, .level = MOERT_TOKEN, .elems = e}

/* A session of a layer with such a queue. */
typedef struct {
	moert_buf     bufs[4];
	moert_step    step;
	moert_layer   layer;
	moert_session *s;
	float         x[MOST][H], y[MOST][H];
	int32_t       note[MOST];
	int64_t       arrivals[MOST], counts[4];
	const void   *inputs[1];
	moert_args    a;
} Rig;

static const void *no_weight(void *ctx, const moert_layer *l, const char *name, int64_t range,
			     int64_t expert)
{
	return NULL;
}

static Rig *rig_new(int64_t queue)
{
	const moert_buf bufs[] = {BUF("x", MOERT_INPUT, DT_f32, H),
				  BUF("note", MOERT_INPUT, DT_i32, 1),
				  BUF("y", MOERT_OUTPUT, DT_f32, H),
				  BUF("late", MOERT_TEMP, DT_bool, 1)};
	moert_session_options two = {.size = sizeof two, .threads = 2};
	Rig *r = calloc(1, sizeof *r);
	moert_model *m;

	memcpy(r->bufs, bufs, sizeof bufs);
	r->step = (moert_step){.name = "look", .kind = MOERT_MAP, .over = MOERT_TOKEN, .map = look};
	r->layer = (moert_layer){.name = "queued", .target = "any", .needs = "", .width = H,
				 .queue = queue, .waits = 3, .nbufs = 4, .nsteps = 1,
				 .bufs = r->bufs, .steps = &r->step};
	MUST(moert_open_memory(&r->layer, no_weight, NULL, NULL, &m) == 0);
	MUST(moert_start(m, &two, &r->s) == 0);
	moert_close(m);
	r->inputs[0] = r->note;
	r->a = (moert_args){.size = sizeof r->a, .x = r->x, .y = r->y, .inputs = r->inputs,
			    .arrivals = r->arrivals, .queue = r->counts};
	return r;
}

static void rig_free(Rig *r)
{
	moert_end(r->s);
	free(r);
}

/* One call on tokens first .. first+n-1, of which those wait whose bit is set. */
static void call(Rig *r, int first, int n, unsigned late)
{
	int64_t seen = first;

	for (int i = 0; i < n; i++) {
		r->x[i][0] = (float)(first + i);
		r->x[i][1] = late >> i & 1 ? -1 : 1;
		r->note[i] = 1000 + first + i;
	}
	r->a.tokens = n;
	r->a.seen = &seen;
	memset(r->arrivals, 0x55, sizeof r->arrivals);
	MUST(moert_run(r->s, &r->a) == 0);
	r->a.seen = NULL;
}

static bool row_is(const Rig *r, int row, int64_t token, bool out)
{
	return r->y[row][0] == (float)token && r->y[row][1] == (float)token &&
	       r->y[row][2] == (float)(1000 + token) && r->arrivals[row] == (out ? token : -1);
}

static bool counted(const Rig *r, int64_t arrived, int64_t processed, int64_t waiting,
		    int64_t dropped)
{
	return r->counts[0] == arrived && r->counts[1] == processed && r->counts[2] == waiting &&
	       r->counts[3] == dropped;
}

/* Who waits once is marked as late for good: its x goes with it. */
static void test_order(void)
{
	Rig *r = rig_new(QUEUE);

	call(r, 0, 5, 0x12);                            /* 1 and 4 wait */
	CHECK(row_is(r, 0, 0, true) && row_is(r, 1, 1, false) && row_is(r, 4, 4, false));
	CHECK(counted(r, 5, 3, 2, 0));
	call(r, 5, 4, 0xe);                             /* 6, 7, 8; one finds it full */
	CHECK(row_is(r, 0, 1, false) && row_is(r, 1, 4, false) && row_is(r, 2, 5, true));
	CHECK(row_is(r, 3, 6, false) && row_is(r, 5, 8, false));
	CHECK(counted(r, 9, 4, 4, 1));
	call(r, 9, 0, 0);
	CHECK(row_is(r, 2, 6, false) && row_is(r, 3, 7, false) && counted(r, 9, 4, 4, 1));
	moert_reset(r->s);
	call(r, 0, 1, 0);
	CHECK(row_is(r, 0, 0, true) && counted(r, 1, 1, 0, 0));
	rig_free(r);
}

static void test_who_does_not_ask(void)
{
	Rig *r = rig_new(QUEUE);

	call(r, 0, 3, 0x7);
	CHECK(counted(r, 3, 0, 3, 0));
	r->a.arrivals = NULL;
	r->a.queue = NULL;
	call(r, 10, 2, 0x3);
	CHECK(r->y[0][0] == 10 && r->y[1][0] == 11);
	r->a.arrivals = r->arrivals;
	r->a.queue = r->counts;
	call(r, 3, 0, 0);                               /* they still wait */
	CHECK(row_is(r, 0, 0, false) && row_is(r, 2, 2, false) && counted(r, 3, 0, 3, 0));
	rig_free(r);
}

static void test_refused(void)
{
	const int64_t two[] = {0, 1, 2};
	Rig *r = rig_new(INT64_MAX);                    /* room is made for those that come */
	int32_t pick = 0;

	call(r, 0, 2, 0x3);
	CHECK(counted(r, 2, 0, 2, 0));
	r->a.tokens = 2;
	r->a.picks_in = &pick;
	CHECK(moert_run(r->s, &r->a) == MOERT_PICKS);
	r->a.picks_in = NULL;
	r->a.nseq = 2, r->a.seq = two;
	CHECK(moert_run(r->s, &r->a) == MOERT_SEQUENCES);
	r->a.nseq = 0, r->a.arrivals = NULL;
	CHECK(moert_run(r->s, &r->a) == MOERT_ARGS);
	r->a.arrivals = r->arrivals;
	call(r, 2, 0, 0);                               /* errors change nothing */
	CHECK(row_is(r, 0, 0, false) && counted(r, 2, 0, 2, 0));
	r->layer.waits = 1;                             /* no bool */
	CHECK(moert_start(r->s->model, NULL, &(moert_session *){NULL}) == MOERT_INTERNAL);
	r->layer.waits = 3, r->layer.group = 4;
	CHECK(moert_start(r->s->model, NULL, &(moert_session *){NULL}) == MOERT_INTERNAL);
	rig_free(r);
}

SUITE("queue", {"order", test_order}, {"who does not ask", test_who_does_not_ask},
      {"refused", test_refused})
