/* SPDX-License-Identifier: Apache-2.0
 * bench_report: a benchmark as a table and as JSON. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

void bench_head(const Bench *b)
{
	printf("%s, %s, %jd thread%s, %jd cop%s of %.1f MB of weights (%s)\n\n", b->layer,
	       b->target, (intmax_t)b->threads, b->threads == 1 ? "" : "s",
	       (intmax_t)b->copies, b->copies == 1 ? "y" : "ies", (double)b->bytes * 1e-6,
	       b->weights);
	printf("| tokens |   ms min | ms median |   GB/s | GFLOP/s | roofline | "
	       "probe GB/s | probe GFLOP/s |\n"
	       "|-------:|---------:|----------:|-------:|--------:|---------:|"
	       "-----------:|--------------:|\n");
	fflush(stdout);
}

void bench_row(const BenchRow *r)
{
	printf("| %6jd | %8.3f | %9.3f | %6.1f | %7.1f | %8.3f | %10.1f | %13.1f |\n",
	       (intmax_t)r->tokens, r->ms_min, r->ms_median,
	       r->bytes / r->ms_median * 1e-6, r->flops / r->ms_median * 1e-6,
	       r->roofline, r->read, r->peak);
	fflush(stdout);
}

static json_t *number_or_null(double x)
{
	return x > 0 ? json_real(x) : json_null();
}

bool bench_json(const Job *job, const Bench *b)
{
	json_t *rows = json_array();

	for (int i = 0; i < b->nrows; i++) {
		const BenchRow *r = &b->rows[i];
		json_array_append_new(
		    rows,
		    json_pack("{s:s, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:f}", "layer",
			      b->layer, "tokens", (json_int_t)r->tokens, "threads",
			      (json_int_t)b->threads, "weights", b->weights, "ms_min",
			      r->ms_min, "ms_median", r->ms_median, "gb_per_s",
			      r->bytes / r->ms_median * 1e-6, "gflop_per_s",
			      r->flops / r->ms_median * 1e-6, "roofline", r->roofline));
	}
	json_t *all = json_pack("{s:{s:o, s:o, s:o, s:o, s:I}, s:o}", "machine",
				"read_gb_s", number_or_null(b->read), "f32_gflop_s",
				number_or_null(b->dot[DOT_F32]), "bf16_gflop_s",
				number_or_null(b->dot[DOT_BF16]), "i8_gop_s",
				number_or_null(b->dot[DOT_I8]), "threads",
				(json_int_t)b->threads, "rows", rows);
	char *text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	bool ok =
	    text && file_write(job->diag, job->opt->json,
			       arena_printf(job->arena, "%s\n", text), strlen(text) + 1);
	free(text);
	json_decref(all);
	return ok;
}
