/* SPDX-License-Identifier: Apache-2.0
 * probe: the limits of the machine, all threads working at once. */
#include "probe.h"
#include "moec.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PROBE_MS 12.0
enum {
	ROUNDS = 20000, MOST_PROBES = 1024, CHUNK = 1 << 20,
	PLACES = 4, PART = CHUNK / PLACES, AHEAD = 1024,
};

bool probe_open(Probe *p, int threads, size_t cache_bytes)
{
	size_t bytes;

	*p = (Probe){.threads = MIN(threads, MOST_PROBES)};
	if (!size_mul(cache_bytes, 4, &bytes))
		return false;
	p->bytes = MAX(bytes, (size_t)256 << 20) / CHUNK * CHUNK;
	p->buffer = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->buffer == MAP_FAILED) {
		p->buffer = NULL;
		return false;
	}
	madvise(p->buffer, p->bytes, MADV_HUGEPAGE);
	memset(p->buffer, 1, p->bytes);
	return true;
}

void probe_close(Probe *p)
{
	if (p->buffer)
		munmap(p->buffer, p->bytes);
	p->buffer = NULL;
}

typedef struct {
	const Probe *probe;
	probe_loop  *loop;              /* NULL: read memory */
	int          number;
	double       per_ms;            /* result: operations, or bytes */
} Work;

/* One load a line is enough to bring it in. */
WRAPS static uint64_t read_lines(const char *at)
{
	uint64_t sum = 0;

	for (int i = 0; i < 256; i += 64)
		__builtin_prefetch(at + i + AHEAD, 0, 3);
	for (int i = 0; i < 256; i += 64)
		sum += *(const uint64_t *)(at + i);
	return sum;
}

/* In four places in turn: 7 % faster than in one on Cascade Lake. */
WRAPS static uint64_t read_chunk(const char *at)
{
	uint64_t sum = 0;

	for (int i = 0; i < PART; i += 256)
		for (int place = 0; place < PLACES; place++)
			sum += read_lines(at + place * PART + i);
	return sum;
}

WRAPS static double read_some(const Work *w, size_t *chunk)
{
	size_t chunks = w->probe->bytes / CHUNK;
	uint64_t sum = 0;

	for (int i = 0; i < 8; i++) {
		sum += read_chunk(w->probe->buffer + *chunk * CHUNK);
		*chunk = *chunk + 1 == chunks ? 0 : *chunk + 1;
	}
	__asm__ volatile("" : : "r"(sum));
	return 8.0 * CHUNK;
}

static void *work(void *arg)
{
	Work *w = arg;
	size_t chunk =
	    w->probe->bytes / CHUNK * (size_t)w->number / (size_t)w->probe->threads;
	double begin = now_ms(), end, done = 0;

	do {
		done += w->loop ? w->loop(ROUNDS) : read_some(w, &chunk);
		end = now_ms();
	} while (end - begin < PROBE_MS);
	w->per_ms = done / (end - begin);
	return NULL;
}

/* Billions a second, all threads together. */
static double run(const Probe *p, probe_loop *loop)
{
	pthread_t thread[MOST_PROBES];
	Work of[MOST_PROBES];
	int started = 1;
	double sum = 0;

	for (int i = 0; i < p->threads; i++)
		of[i] = (Work){.probe = p, .loop = loop, .number = i};
	while (started < p->threads &&
	       pthread_create(&thread[started], NULL, work, &of[started]) == 0)
		started++;
	work(&of[0]);
	for (int i = 1; i < started; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < started; i++)
		sum += of[i].per_ms;
	return sum * 1e-6;
}

double probe_read(const Probe *p)
{
	return run(p, NULL);
}

double probe_dot(const Probe *p, probe_loop *loop)
{
	return loop ? run(p, loop) : 0;
}
