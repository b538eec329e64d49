/* SPDX-License-Identifier: Apache-2.0
 * guard: the runtime's workspace with every piece of it between pages that nobody may touch.
 *
 * This file takes the place of workspace.c in the archive that moe_gen links layers with: the
 * workspace is laid out as ever, and then each buffer, table and weight is moved to an array
 * of its own, flush with the page behind it (or in front of it: `under`); kernels count on no
 * alignment but that of entries.  What nobody has written is NaN. */
#define moert_workspace plain_workspace
#include "../../../runtime/workspace.c"
#undef moert_workspace

#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct { char *at; size_t bytes; } piece;
static piece pieces[4096];              /* of the call that runs now */
static int npieces;
static bool guarding, below;

static void *guarded(int64_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (size_t)bytes;
	size_t whole = (used + page - 1) & -page, all = whole + 2 * page;
	char *at = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);

	if (at == MAP_FAILED || (whole && mprotect(at + page, whole, PROT_READ | PROT_WRITE)))
		abort();
	memset(at + page, 0xff, whole);
	if (npieces < (int)(sizeof pieces / sizeof *pieces))
		pieces[npieces++] = (piece){at, all};
	return at + page + (below ? 0 : whole - used);
}

static void unguard(void)
{
	while (npieces > 0) {
		npieces--;
		munmap(pieces[npieces].at, pieces[npieces].bytes);
	}
}

/* Tables of tokens and rows; the runtime fills them from here on. */
static void guard_tables(moert_session *s, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	s->position = guarded(s->args.tokens * (int64_t)sizeof *s->position);
	s->sequence = guarded(s->args.tokens * (int64_t)sizeof *s->sequence);
	s->starts = guarded((s->nseq + 1) * (int64_t)sizeof *s->starts);
	for (int64_t r = 0; r < l->nranges; r++) {
		int64_t n = tokens * range_picks(l, r) * (int64_t)sizeof(int32_t);
		int64_t count = l->ranges[r].count;
		s->rows[r] = (moert_rows){
			.token = guarded(n), .slot = guarded(n), .expert = guarded(n),
			.row = guarded(n),
			.start = guarded((count + 1) * (int64_t)sizeof(int64_t)),
			.active = guarded(count * (int64_t)sizeof(int32_t)),
		};
	}
}

/* Kernels may use the rest of a row's last cache line, where rows have whole lines; what a
 * stride has beyond that is nobody's, behind the last row not even there. */
static void guard_buffers(moert_session *s, int64_t tokens)
{
	const moert_layer *l = s->model->layer;

	for (int64_t i = 0; i < l->nbufs; i++) {
		const moert_buf *b = &l->bufs[i];
		int64_t rows = 0, stride = stride_of(b);
		int64_t row = b->elems * moert_entry_bytes(b->dtype);
		if (b->role == MOERT_INPUT || b->role == MOERT_STATE ||
		    !most_rows(s, b, b->role == MOERT_OUTPUT ? s->args.tokens : tokens, &rows))
			continue;
		if (row >= LINE)
			row = (row + LINE - 1) & -LINE;
		s->base[i].at = guarded(rows ? (rows - 1) * stride + row : 0);
	}
}

int moert_workspace(moert_session *, int64_t group_tokens);
int moert_workspace(moert_session *s, int64_t group_tokens)
{
	int error = plain_workspace(s, group_tokens);

	if (error || !guarding)
		return error;
	unguard();
	guard_tables(s, group_tokens);
	guard_buffers(s, group_tokens);
	s->scratch = guarded(s->workers * s->scratch_bytes);
	return 0;
}

/* From now on calls are guarded, and this model's weights are.  These pages stay until the
 * library goes. */
EXPORT int moert_guard(moert_model *, int64_t under);
EXPORT int moert_guard(moert_model *m, int64_t under)
{
	const moert_layer *l = m->layer;
	int64_t at = 0;

	guarding = true;
	below = under;
	for (int64_t w = 0; w < l->nweights; w++)
		if (l->weights[w].range < 0)
			m->weight[w] = memcpy(guarded(l->weights[w].bytes), m->weight[w],
					      (size_t)l->weights[w].bytes);
	for (int64_t r = 0; r < l->nranges; r++)
		for (int64_t e = 0; e < l->ranges[r].count; e++, at += l->nweights)
			for (int64_t w = 0; w < l->nweights; w++)
				if (m->copies[at + w])
					m->copies[at + w] =
						memcpy(guarded(l->weights[w].bytes),
						       m->copies[at + w],
						       (size_t)l->weights[w].bytes);
	npieces = 0;
	return 0;
}
