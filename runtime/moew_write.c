/* SPDX-License-Identifier: Apache-2.0
 * moew_write: packs layers into a .moew file, written beside its path and renamed. */
#include "moew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
	const char      *path;
	char            *beside;
	int              fd;
	uint64_t         at;            /* end of what is written */
	char            *table;
	size_t           n, cap;
	moert_weight_fn *get;
	void            *ctx;
	moert_why        why;
} writer;

static int no_memory(writer *w)
{
	return moert_fail(w->why, MOERT_MEMORY, "%s: out of memory", w->path);
}

static int write_at(writer *w, const void *data, uint64_t bytes, uint64_t at)
{
	enum { PIECE = 1 << 30 };

	for (uint64_t done = 0; done < bytes;) {
		uint64_t piece = MIN(bytes - done, PIECE);
		ssize_t n =
		    pwrite(w->fd, (const char *)data + done, piece, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return moert_fail(w->why, MOERT_WRITE, "%s: %m", w->path);
		done += (uint64_t)n;
	}
	return MOERT_OK;
}

static bool put(writer *w, const void *data, size_t n)
{
	if (n > w->cap - w->n) {
		size_t cap = 2 * w->cap + n + 4096;
		char *table = realloc(w->table, cap);
		if (!table)
			return false;
		w->table = table;
		w->cap = cap;
	}
	memcpy(w->table + w->n, data, n);
	w->n += n;
	return true;
}

static bool put_text(writer *w, const char *text)
{
	size_t n = strlen(text);
	uint32_t length = (uint32_t)n;
	return n <= MOEW_TEXT && put(w, &length, sizeof length) && put(w, text, n);
}

static int put_layer(writer *w, const moert_layer *l)
{
	uint64_t entries = 0;

	for (int64_t i = 0; i < l->nweights; i++)
		entries += (uint64_t)moert_copies(l, &l->weights[i]);
	const uint64_t numbers[] = {l->fingerprint, entries};
	return put_text(w, l->name) && put_text(w, l->target) &&
	       put(w, numbers, sizeof numbers) ? MOERT_OK : no_memory(w);
}

static int write_copy(writer *w, const moert_layer *l, const moert_places *p,
		      int64_t weight, int64_t copy, void *buffer)
{
	uint64_t entry[MOEW_NUMBERS];
	int64_t bytes = l->weights[weight].bytes;
	int error = moert_fill(l, weight, copy, w->get, w->ctx, buffer, w->why);

	if (error)
		return error;
	moew_entry(l, p, weight, copy, w->at, entry);
	entry[MOEW_CHECKSUM] = moert_checksum(buffer, bytes);
	if (!put_text(w, l->weights[weight].name) || !put(w, entry, sizeof entry))
		return no_memory(w);
	return write_at(w, buffer, (uint64_t)bytes, entry[MOEW_OFFSET]);
}

/* Padding between weights is never written: the file has holes of zeros there. */
static int write_layer(writer *w, const moert_layer *l)
{
	moert_places p;
	int64_t largest = 1;
	int error = moert_place(l, &p, w->why);

	if (error)
		return error;
	for (int64_t i = 0; i < l->nweights; i++)
		largest = MAX(largest, l->weights[i].bytes);
	void *buffer = moert_pages(largest);
	error = buffer ? put_layer(w, l) : no_memory(w);
	for (int64_t i = 0; i < l->nweights; i++)
		for (int64_t c = 0; c < moert_copies(l, &l->weights[i]) && !error; c++)
			error = write_copy(w, l, &p, i, c, buffer);
	w->at += (uint64_t)p.bytes;
	moert_unpage(buffer, largest);
	moert_unplace(&p);
	return error;
}

static int write_ends(writer *w, int64_t nlayers)
{
	moew_header h = {
		.version = MOEW_VERSION,
		.file_bytes = w->at + w->n,
		.table_at = w->at,
		.table_bytes = w->n,
		.table_checksum = moert_checksum(w->table, (int64_t)w->n),
		.layers = (uint64_t)nlayers,
	};
	memcpy(h.magic, MOEW_MAGIC, sizeof h.magic);
	h.checksum = moert_checksum(&h, offsetof(moew_header, checksum));
	int error = write_at(w, w->table, w->n, w->at);
	return error ? error : write_at(w, &h, sizeof h, 0);
}

/* Of a layer for several targets each layout is written once. */
static bool is_written(const moert_layer *first, const moert_layer *l)
{
	for (; first != l; first = first->next)
		if (first->fingerprint == l->fingerprint)
			return true;
	return false;
}

static int write_all(writer *w, const moert_layer *const *layers, int64_t nlayers)
{
	int64_t n = 0;
	int error = MOERT_OK;

	w->at = MOEW_PAGE;
	for (int64_t i = 0; i < nlayers; i++)
		for (const moert_layer *l = layers[i]; l && !error; l = l->next) {
			if (is_written(layers[i], l))
				continue;
			error = write_layer(w, l);
			n++;
		}
	if (!error)
		error = write_ends(w, n);
	if (!error && fsync(w->fd) != 0)
		error = moert_fail(w->why, MOERT_WRITE, "%s: %m", w->path);
	return error;
}

/* A name beside the path that nobody else has. */
static int open_beside(writer *w)
{
	size_t size = strlen(w->path) + 48;
	struct stat st;

	if (stat(w->path, &st) == 0 && !S_ISREG(st.st_mode))
		return moert_fail(w->why, MOERT_WRITE, "%s: cannot be written: %s", w->path,
				  S_ISDIR(st.st_mode) ? "it is a folder"
						      : "not a regular file");
	w->beside = malloc(size);
	if (!w->beside)
		return no_memory(w);
	for (int i = 0; i < 100 && w->fd < 0; i++) {
		snprintf(w->beside, size, "%s.%ld-%d.tmp", w->path, (long)getpid(), i);
		w->fd = open(w->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (w->fd < 0 && errno != EEXIST)
			break;
	}
	return w->fd < 0 ? moert_fail(w->why, MOERT_WRITE, "%s: %m", w->path) : MOERT_OK;
}

int moert_pack(const moert_layer *const *layers, int64_t nlayers, moert_weight_fn *get,
	       void *ctx, const char *path, const moert_options *options)
{
	moert_options o;
	writer w = {.path = path, .fd = -1, .get = get, .ctx = ctx};

	if (moert_options_read(options, &o) != MOERT_OK || !layers || nlayers < 1 ||
	    !get || !path)
		return MOERT_ARGS;
	w.why = moert_options_why(&o);
	int error = open_beside(&w);
	if (!error)
		error = write_all(&w, layers, nlayers);
	if (w.fd >= 0) {
		if (close(w.fd) != 0 && !error)
			error = moert_fail(w.why, MOERT_WRITE, "%s: %m", path);
		if (!error && rename(w.beside, path) != 0)
			error = moert_fail(w.why, MOERT_WRITE, "%s: %m", path);
		if (error)
			unlink(w.beside);
	}
	free(w.beside);
	free(w.table);
	return error;
}
