/* SPDX-License-Identifier: Apache-2.0
 * summary: what a run says about itself. */
#include "moec.h"
#include "../ir/names.h"

#include <stdlib.h>

enum { A_LINE = 10 };                   /* experts */

static const char *shape(Arena *a, Dtype dtype, int64_t rows, int64_t each)
{
	return arena_printf(a, "%s[%jd, %jd]", dtype_info[dtype].name, (intmax_t)rows,
			    (intmax_t)each);
}

static void print_routing(const Job *job, const Module *m, int64_t tokens,
			  const Outcome *out)
{
	int64_t *count = NEWN(job->arena, int64_t, (size_t)m->experts + 1), none = 0;
	int64_t n = tokens * out->k;

	for (int64_t i = 0; i < n; i++)
		if (out->picks[i] >= 0 && out->picks[i] < m->experts)
			count[out->picks[i]]++;
		else
			none++;
	printf("routing   %jd experts, %jd picks a token; %jd rows, %jd empty\n",
	       (intmax_t)m->experts, (intmax_t)out->k, (intmax_t)(n - none),
	       (intmax_t)none);
	for (int64_t e = 0; e < m->experts; e++)
		printf("%s%s%6jd%s", e % A_LINE ? "" : "          ",
		       e % A_LINE ? "" : arena_printf(job->arena, "%4jd:", (intmax_t)e),
		       (intmax_t)count[e],
		       e % A_LINE == A_LINE - 1 || e == m->experts - 1 ? "\n" : "");
}

/* A line for each layer that a model calls. */
static void print_calls(const Job *job, const Module *m, int64_t tokens,
			const Outcome *out)
{
	for (int i = 0; out->calls && i < m->calls.n; i++) {
		const LayerCall *c = &m->calls.at[i];
		const EvalRouting *r = &out->calls[i];
		bool *used = NEWN(job->arena, bool, (size_t)c->experts + 1);
		int64_t rows = 0, experts = 0, n = tokens * r->k;
		if (!r->picks)
			continue;
		for (int64_t j = 0; j < n; j++) {
			int32_t e = r->picks[j];
			if (e < 0 || e >= c->experts)
				continue;
			rows++;
			experts += !used[e];
			used[e] = true;
		}
		printf("routing   %s: %jd of %jd experts, %jd picks a token; %jd rows, %jd "
		       "empty\n", c->path, (intmax_t)experts, (intmax_t)c->experts,
		       (intmax_t)r->k, (intmax_t)rows, (intmax_t)(n - rows));
	}
}

/* FNV-1a of y as the float32 bytes that --output writes. */
static uint64_t checksum(const Output *y)
{
	uint64_t h = HASH_START;

	for (int64_t i = 0; i < y->n; i++)
		h = hash_bytes(h, &(float){(float)y->v[i]}, sizeof(float));
	return h;
}

void print_summary(const Job *job, const Module *m, const Inputs *in, const Outcome *out,
		   const char *how)
{
	const Output *y = &out->outs[0];

	printf("layer     %s: ", m->name);
	if (in->n)
		printf("%s %s", in->at[0].name,
		       shape(job->arena, in->at[0].type.dtype, in->at[0].rows,
			     type_elems(&in->at[0].type)));
	printf(" -> %s %s\n", y->name && *y->name ? y->name : "y",
	       shape(job->arena, y->type.dtype, y->rows,
		     y->rows ? y->n / y->rows : type_elems(&y->type)));
	printf("run       %s\n", how);
	if (out->picks && m->experts)
		print_routing(job, m, in->tokens, out);
	print_calls(job, m, in->tokens, out);
	for (int i = 0; i < out->nlosses; i++)
		printf("loss      %.9g\n", out->losses[i].v[0]);
	printf("time      %.3f ms\n", out->ms);
	printf("checksum  %016jx\n", (uintmax_t)checksum(y));
}
