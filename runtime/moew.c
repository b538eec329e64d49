/* SPDX-License-Identifier: Apache-2.0
 * moew: reads one layer's weights out of a file that nobody vouches for.
 *
 * Nothing is believed: every offset is held against the file's size before memory is
 * taken, every field of an entry against the layer.  The file is read, not mapped, so
 * that whoever shrinks it meanwhile gets an error and not our death. */
#include "moew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
	const char  *path;
	int          fd;
	moew_header  header;
	char        *table;
	uint64_t     bytes, at;         /* of the table */
	moert_why    why;
} reader;

static int bad(reader *r, const char *what)
{
	return moert_fail(r->why, MOERT_FORMAT, "%s: %s", r->path, what);
}

static int read_at(reader *r, void *to, uint64_t bytes, uint64_t at)
{
	enum { PIECE = 1 << 30 };

	for (uint64_t done = 0; done < bytes;) {
		uint64_t piece = MIN(bytes - done, PIECE);
		ssize_t n = pread(r->fd, (char *)to + done, piece, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return moert_fail(r->why, MOERT_READ, "%s: %m", r->path);
		if (n == 0)
			return moert_fail(r->why, MOERT_READ, "%s: shorter than it was",
					  r->path);
		done += (uint64_t)n;
	}
	return MOERT_OK;
}

static int open_file(reader *r, uint64_t *size)
{
	struct stat st;

	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (r->fd < 0 || fstat(r->fd, &st) != 0)
		return moert_fail(r->why, MOERT_OPEN, "%s: %m", r->path);
	if (!S_ISREG(st.st_mode))
		return moert_fail(r->why, MOERT_OPEN, "%s: not a regular file", r->path);
	*size = (uint64_t)st.st_size;
	return MOERT_OK;
}

static int read_header(reader *r, uint64_t size)
{
	moew_header *h = &r->header;

	if (size < sizeof *h)
		return bad(r, "too short for a .moew file");
	int error = read_at(r, h, sizeof *h, 0);
	if (error)
		return error;
	if (memcmp(h->magic, MOEW_MAGIC, sizeof h->magic) != 0)
		return bad(r, "not a .moew file");
	if (h->version != MOEW_VERSION)
		return moert_fail(r->why, MOERT_VERSION, "%s: version %llu, expected %d",
				  r->path, (unsigned long long)h->version, MOEW_VERSION);
	if (moert_checksum(h, offsetof(moew_header, checksum)) != h->checksum)
		return moert_fail(r->why, MOERT_CHECKSUM, "%s: the header is damaged",
				  r->path);
	if (h->file_bytes != size)
		return moert_fail(
		    r->why, MOERT_FORMAT, "%s: %llu bytes, but %llu were written",
		    r->path, (unsigned long long)size, (unsigned long long)h->file_bytes);
	if (h->table_at > size || size - h->table_at != h->table_bytes)
		return bad(r, "the table is not at the end");
	return MOERT_OK;
}

static int read_table(reader *r)
{
	enum { LARGEST = 1 << 28 };

	r->bytes = r->header.table_bytes;
	if (r->bytes > LARGEST)
		return bad(r, "the table is too long");
	r->table = malloc(r->bytes + 1);
	if (!r->table)
		return moert_fail(r->why, MOERT_MEMORY, "%s: no memory for its table",
				  r->path);
	int error = read_at(r, r->table, r->bytes, r->header.table_at);
	if (error)
		return error;
	if (moert_checksum(r->table, (int64_t)r->bytes) != r->header.table_checksum)
		return moert_fail(r->why, MOERT_CHECKSUM, "%s: the table is damaged",
				  r->path);
	return MOERT_OK;
}

static bool get_bytes(reader *r, void *to, uint64_t n)
{
	if (n > r->bytes - r->at)
		return false;
	if (to)
		memcpy(to, r->table + r->at, n);
	r->at += n;
	return true;
}

/* A text without NULs that fits. */
static bool get_text(reader *r, char text[MOEW_TEXT + 1])
{
	uint32_t n;

	if (!get_bytes(r, &n, sizeof n) || n > MOEW_TEXT || !get_bytes(r, text, n))
		return false;
	text[n] = '\0';
	return memchr(text, '\0', n) == NULL;
}

static bool get_number(reader *r, uint64_t *n)
{
	return get_bytes(r, n, sizeof *n);
}

/* Passes over a layer's entries; false: they do not end in the table. */
static bool skip_entries(reader *r, uint64_t n)
{
	char text[MOEW_TEXT + 1];

	for (uint64_t i = 0; i < n; i++)
		if (!get_text(r, text) ||
		    !get_bytes(r, NULL, MOEW_NUMBERS * sizeof(uint64_t)))
			return false;
	return true;
}

/* One that was passed over before. */
static void get_entry(reader *r, char name[MOEW_TEXT + 1], uint64_t numbers[MOEW_NUMBERS])
{
	get_text(r, name);
	get_bytes(r, numbers, MOEW_NUMBERS * sizeof *numbers);
}

/* A number of an entry, in words. */
static void say_number(char *to, size_t size, int field, uint64_t n)
{
	static const char *const words[MOEW_NUMBERS] = {
	    [MOEW_COLS] = "columns in a panel",
	    [MOEW_KPACK] = "inputs side by side",
	    [MOEW_N] = "outputs",
	    [MOEW_K] = "inputs",
	    [MOEW_STREAMS] = "weights in one",
	    [MOEW_RANGE] = "as range of experts",
	    [MOEW_EXPERT] = "as expert",
	};
	static const char *const types[] = {
#define DTYPE(name, bits, computed, file, text) #name,
#include "../ir/dtypes.def"
#undef DTYPE
	};

	if (field == MOEW_DTYPE)
		snprintf(to, size, "%s",
			 n < sizeof types / sizeof *types ? types[n] : "no type");
	else
		snprintf(to, size, "%lld %s", (long long)n, words[field]);
}

/* What differs first, at the entries of a layer in another layout. */
static int say_difference(reader *r, const moert_layer *l, const char *target, uint64_t n)
{
	char name[MOEW_TEXT + 1], file[80], library[80];
	uint64_t got[MOEW_NUMBERS];
	int64_t i = 0;

	for (int64_t w = 0; w < l->nweights; w++)
		for (int64_t c = 0; c < moert_copies(l, &l->weights[w]); c++, i++) {
			const moert_weight *own = &l->weights[w];
			if ((uint64_t)i == n)
				return moert_fail(
				    r->why, MOERT_LAYOUT,
				    "%s: layer %s is packed for %.64s, without the "
				    "weight %s of this library",
				    r->path, l->name, target, own->name);
			get_entry(r, name, got);
			const uint64_t want[] = {
			    (uint64_t)own->range, got[MOEW_EXPERT],
			    (uint64_t)own->dtype, (uint64_t)own->cols,
			    (uint64_t)own->kpack, (uint64_t)own->n,
			    (uint64_t)own->k,	  (uint64_t)own->nstreams};
			if (strcmp(name, own->name) != 0)
				return moert_fail(
				    r->why, MOERT_LAYOUT,
				    "%s: layer %s is packed for %.64s, with a "
				    "weight %.64s where this library has %s",
				    r->path, l->name, target, name, own->name);
			for (int f = 0; f < MOEW_OFFSET; f++) {
				if (got[f] == want[f])
					continue;
				say_number(file, sizeof file, f, got[f]);
				say_number(library, sizeof library, f, want[f]);
				return moert_fail(
				    r->why, MOERT_LAYOUT,
				    "%s: layer %s is packed for %.64s: weight %s "
				    "has %s, this library's %s",
				    r->path, l->name, target, name, file, library);
			}
		}
	return moert_fail(r->why, MOERT_LAYOUT,
			  "%s: layer %s is packed for %.64s in another layout than this "
			  "library's",
			  r->path, l->name, target);
}

/* Reads the whole table, then goes back to the layer's first entry. */
static int find_layer(reader *r, const moert_layer *l, uint64_t *entries)
{
	char name[MOEW_TEXT + 1], target[MOEW_TEXT + 1];
	char packed_for[MOEW_TEXT + 1];
	uint64_t fingerprint, n, found = 0, other = 0, others = 0;

	for (uint64_t i = 0; i < r->header.layers; i++) {
		if (!get_text(r, name) || !get_text(r, target) ||
		    !get_number(r, &fingerprint) || !get_number(r, &n))
			return bad(r, "the table is cut short");
		if (strcmp(name, l->name) == 0 && fingerprint != l->fingerprint) {
			other = r->at;
			others = n;
			memcpy(packed_for, target, sizeof target);
		} else if (strcmp(name, l->name) == 0 && !found) {
			found = r->at;
			*entries = n;
		}
		if (!skip_entries(r, n))
			return bad(r, "the table is cut short");
	}
	if (r->at != r->bytes)
		return bad(r, "the table goes on after its last layer");
	r->at = found ? found : other;
	return found ? MOERT_OK
	       : other ? say_difference(r, l, packed_for, others)
		       : moert_fail(r->why, MOERT_LAYER, "%s: holds no layer %s",
				    r->path, l->name);
}

/* One entry against what the layer expects; sums take the checksums in order. */
static int check_entry(reader *r, const moert_layer *l, const moert_places *p,
		       int64_t weight, int64_t copy, uint64_t *base, uint64_t *sum)
{
	char name[MOEW_TEXT + 1];
	uint64_t got[MOEW_NUMBERS], want[MOEW_NUMBERS];

	get_entry(r, name, got);
	if (*base == UINT64_MAX) {
		uint64_t where = (uint64_t)moert_where(l, p, weight, copy);
		if (got[MOEW_OFFSET] < where || got[MOEW_OFFSET] > r->header.table_at)
			return bad(r, "a weight lies outside the file");
		*base = got[MOEW_OFFSET] - where;
	}
	moew_entry(l, p, weight, copy, *base, want);
	*sum = got[MOEW_CHECKSUM];
	if (strcmp(name, l->weights[weight].name) != 0 ||
	    memcmp(got, want, MOEW_CHECKSUM * sizeof *got) != 0)
		return moert_fail(r->why, MOERT_LAYOUT,
				  "%s: weight %s of layer %s has another shape or place",
				  r->path, l->weights[weight].name, l->name);
	return MOERT_OK;
}

static int check_entries(reader *r, const moert_layer *l, const moert_places *p,
			 uint64_t n, uint64_t *base, uint64_t *sums)
{
	int64_t i = 0;

	*base = UINT64_MAX;
	for (int64_t w = 0; w < l->nweights; w++)
		for (int64_t c = 0; c < moert_copies(l, &l->weights[w]); c++, i++) {
			if ((uint64_t)i == n)
				return bad(r, "a weight is missing from the table");
			int error = check_entry(r, l, p, w, c, base, &sums[i]);
			if (error)
				return error;
		}
	if ((uint64_t)i != n)
		return bad(r, "the table holds more weights than the layer has");
	uint64_t end = r->header.table_at;
	if (n && (*base % MOEW_PAGE || end - *base < (uint64_t)p->bytes))
		return bad(r, "a weight lies outside the file");
	return MOERT_OK;
}

static int check_sums(reader *r, const moert_layer *l, const moert_places *p,
		      const char *image, const uint64_t *sums)
{
	for (int64_t w = 0; w < l->nweights; w++)
		for (int64_t c = 0; c < moert_copies(l, &l->weights[w]); c++) {
			const char *at = image + moert_where(l, p, w, c);
			if (moert_checksum(at, l->weights[w].bytes) != *sums++)
				return moert_fail(r->why, MOERT_CHECKSUM,
						  "%s: weight %s of layer %s is damaged",
						  r->path, l->weights[w].name, l->name);
		}
	return MOERT_OK;
}

static int load(reader *r, const moert_layer *l, const moert_places *p, uint64_t flags,
		uint64_t base, const uint64_t *sums, char **image)
{
	if (flags & MOERT_MMAP && l->nweights) {
		*image = mmap(NULL, (size_t)p->bytes, PROT_READ, MAP_SHARED, r->fd,
			      (off_t)base);
		if (*image == MAP_FAILED) {
			*image = NULL;
			return moert_fail(r->why, MOERT_READ, "%s: %m", r->path);
		}
		return MOERT_OK;
	}
	*image = moert_pages(p->bytes);
	if (!*image)
		return moert_fail(r->why, MOERT_MEMORY, "%s: no memory for %lld bytes",
				  r->path, (long long)p->bytes);
	if (!l->nweights)
		return MOERT_OK;
	int error = read_at(r, *image, (uint64_t)p->bytes, base);
	if (!error && !(flags & MOERT_TRUST))
		error = check_sums(r, l, p, *image, sums);
	return error;
}

static int read_layer(reader *r, const moert_layer *l, const moert_places *p,
		      uint64_t flags, uint64_t *sums, char **image)
{
	uint64_t size = 0, entries, base;
	int error;

	if ((error = open_file(r, &size)) || (error = read_header(r, size)) ||
	    (error = read_table(r)) || (error = find_layer(r, l, &entries)) ||
	    (error = check_entries(r, l, p, entries, &base, sums)))
		return error;
	return load(r, l, p, flags, base, sums, image);
}

int moert_moew_read(const moert_layer *l, const moert_places *p, const char *path,
		    uint64_t flags, char **image, moert_why why)
{
	reader r = {.path = path, .fd = -1, .why = why};
	size_t copies = 0;

	for (int64_t w = 0; w < l->nweights; w++)
		copies += (size_t)moert_copies(l, &l->weights[w]);
	uint64_t *sums = calloc(copies + 1, sizeof *sums);
	int error = sums ? read_layer(&r, l, p, flags, sums, image)
			 : moert_fail(why, MOERT_MEMORY, "out of memory");
	if (r.fd >= 0)
		close(r.fd);
	free(r.table);
	free(sums);
	return error;
}
