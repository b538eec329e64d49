/* SPDX-License-Identifier: Apache-2.0
 * wire: what moec and the runner say to each other over a socket, both on 64-bit
 * little-endian machines: words, texts (a length and bytes) and arrays (the same; a length
 * of -1: there is none).
 *
 *     runner   "" and the layer, or what went wrong
 *     moec     WIRE_OPEN flags path | WIRE_OPEN_MEMORY
 *     runner   WIRE_WEIGHT target name range expert bytes: moec answers with an array, as
 *              often as weights are missing; then WIRE_RESULT error why, and, where all is
 *              well, the number of the model and the target that was chosen
 *     moec     WIRE_CLOSE model
 *     moec     WIRE_RUN model threads pool tokens x_stride y_stride nseq seed ninputs noutputs, the
 *              arrays read (x, seq, seen, step, picks_in, gates_in, inputs, then picks_in and
 *              gates_in of each layer called), then those written (y, picks_out, gates_out,
 *              losses, outputs, picks_out and gates_out of each layer called) as they are now
 *     runner   WIRE_RESULT error why nanoseconds, then the bytes of the arrays written
 *
 * The runner ends when the socket is closed. */
#ifndef MOEC_WIRE_H
#define MOEC_WIRE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WIRE_OPEN, WIRE_OPEN_MEMORY, WIRE_CLOSE, WIRE_RUN, WIRE_WEIGHT, WIRE_RESULT };
enum { WIRE_ARRAYS_READ = 6, WIRE_ARRAYS_WRITTEN = 4 };         /* before inputs, outputs */
enum { WIRE_MOST_ARRAYS = 1024 };                               /* of either kind */
enum { WIRE_MOST_MODELS = 64 };                                 /* at a time */

/* What is told of the layer: the fields that both ends go through in this order.  A TABLE is
 * the length of one.  Steps stay over there. */
#define WIRE_LAYER(TEXT, WORD, TABLE)                                              \
	TEXT(name) TEXT(target) TEXT(needs) WORD(fingerprint)                      \
	WORD(width) WORD(experts) WORD(picks) WORD(group)                          \
	TABLE(nbufs) TABLE(nweights) TABLE(nranges) TABLE(ncalls)
#define WIRE_BUF(TEXT, WORD)                                                       \
	TEXT(name) WORD(role) WORD(dtype) WORD(level) WORD(range) WORD(elems) WORD(given)
#define WIRE_STORED(TEXT, WORD, TABLE)                                             \
	TEXT(name) WORD(range) WORD(dtype) WORD(cols) WORD(kpack) WORD(n) WORD(k)  \
	TABLE(nstreams) WORD(bytes)
#define WIRE_RANGE(WORD)                                                           \
	WORD(first) WORD(count)

static inline bool wire_write(int fd, const void *data, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t wrote = send(fd, (const char *)data + at, n - at, MSG_NOSIGNAL);
		if (wrote < 0 && errno != EINTR)
			return false;
		at += wrote < 0 ? 0 : (size_t)wrote;
	}
	return true;
}

static inline bool wire_read(int fd, void *data, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = read(fd, (char *)data + at, n - at);
		if (got == 0 || (got < 0 && errno != EINTR))
			return false;
		at += got < 0 ? 0 : (size_t)got;
	}
	return true;
}

static inline bool wire_put(int fd, int64_t word)
{
	return wire_write(fd, &word, sizeof word);
}

static inline bool wire_get(int fd, int64_t *word)
{
	return wire_read(fd, word, sizeof *word);
}

static inline bool wire_put_array(int fd, const void *data, int64_t bytes)
{
	return wire_put(fd, data ? bytes : -1) &&
	       (!data || wire_write(fd, data, (size_t)bytes));
}

static inline bool wire_put_text(int fd, const char *text)
{
	return wire_put_array(fd, text, text ? (int64_t)strlen(text) : 0);
}

#endif
