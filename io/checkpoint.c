/* SPDX-License-Identifier: Apache-2.0
 * checkpoint: tensors by name, wherever in a model's folder they lie.
 *
 * A shard is opened when the first of its tensors is asked for, once, and only that
 * descriptor is used from then on.  Data is mapped, since weights may be larger than
 * memory; its size is asked again at each access.
 *
 * checkpoint_find and checkpoint_data belong to one thread; the bytes to any. */
#include "io.h"
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
	const char *name, *path;        /* as in the index; with the folder */
	enum { UNOPENED, OPEN, BAD } state;
	int         fd;
	uint64_t    size;
	TensorList  tensors;
	const char *map;                /* NULL: nothing of it was asked for yet */
} Shard;

typedef struct { const char *name, *shard; int which; } Entry;

struct Checkpoint {
	Arena      *arena;
	const char *folder;             /* NULL: one file, named by the user */
	const char *index;              /* its path, NULL: no index */
	Shard      *shards;
	int         nshards;
	Entry      *entries;            /* of the index, sorted by name */
	int         nentries;
};

static int entry_by_name(const void *a, const void *b)
{
	return strcmp(((const Entry *)a)->name, ((const Entry *)b)->name);
}

static int entry_by_shard(const void *a, const void *b)
{
	return strcmp(((const Entry *)a)->shard, ((const Entry *)b)->shard);
}

static int tensor_by_name(const void *a, const void *b)
{
	return strcmp(((const TensorInfo *)a)->name, ((const TensorInfo *)b)->name);
}

/* A plain file name, so that no index reaches out of its folder. */
static bool plain_name(const char *s)
{
	if (!*s || strlen(s) > NAME_MAX || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return false;
	for (; *s; s++)
		if (*s == '/' || (unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);
	return n >= m && strcmp(s + n - m, tail) == 0;
}

static bool open_shard(Checkpoint *c, Diag *d, Shard *s)
{
	if (s->state != UNOPENED)
		return s->state == OPEN;
	s->state = BAD;
	s->fd = open_regular(c->arena, d, s->path, c->folder, &s->size);
	if (s->fd < 0)
		return false;
	if (safetensors_read(c->arena, d, s->path, s->fd, s->size, &s->tensors)) {
		s->state = OPEN;
		return true;
	}
	close(s->fd);
	s->fd = -1;
	return false;
}

static bool read_entry(Checkpoint *c, Diag *d, const char *name, const json_t *j)
{
	Loc at = {.file = c->index};
	const char *shard = json_string_value(j);

	if (!shard)
		diag_error(d, E_index_file, at,
			   "tensor `%.120s`: its file name is not a string", name);
	else if (!plain_name(shard))
		diag_error(d, E_index_file, at,
			   "tensor `%.120s`: `%.120s` is not a plain file name", name,
			   shard);
	else if (!ends_with(shard, ".safetensors"))
		diag_error(d, E_shard_files, at,
			   "tensor `%.120s`: `%.120s` is not a .safetensors file", name,
			   shard);
	else {
		c->entries[c->nentries++] = (Entry){arena_strdup(c->arena, name),
						    arena_strdup(c->arena, shard), 0};
		return true;
	}
	return false;
}

/* Entries with equal shard names share a shard. */
static void make_shards(Checkpoint *c)
{
	Vec(Shard) shards = {0};

	qsort(c->entries, (size_t)c->nentries, sizeof *c->entries, entry_by_shard);
	for (int i = 0; i < c->nentries; i++) {
		Entry *e = &c->entries[i];
		if (i == 0 || strcmp(e->shard, e[-1].shard) != 0)
			vec_push(c->arena, &shards,
				 ((Shard){.name = e->shard,
					  .fd = -1,
					  .path = arena_printf(c->arena, "%s/%s",
							       c->folder, e->shard)}));
		e->which = shards.n - 1;
	}
	qsort(c->entries, (size_t)c->nentries, sizeof *c->entries, entry_by_name);
	c->shards = shards.at;
	c->nshards = shards.n;
}

static bool read_index(Checkpoint *c, Diag *d, const char *path)
{
	const char *name;
	json_t *j, *root = json_file(c->arena, d, path);
	json_t *map = json_object_get(root, "weight_map");
	bool ok = json_is_object(map);

	if (!root)
		return false;
	c->index = path;
	if (!json_is_object(root))
		diag_error(d, E_index_file, (Loc){.file = path},
			   "not an index: not an object");
	else if (!map)
		diag_error(d, E_index_file, (Loc){.file = path},
			   "not an index: it has no `weight_map`");
	else if (!ok)
		diag_error(d, E_index_file, (Loc){.file = path},
			   "`weight_map` is not an object");
	c->entries = NEWN(c->arena, Entry, json_object_size(map));
	json_object_foreach(map, name, j)
		ok = ok && read_entry(c, d, name, j);
	json_decref(root);
	if (ok)
		make_shards(c);
	return ok;
}

static bool one_file(Checkpoint *c, Diag *d, const char *path)
{
	const char *slash = strrchr(path, '/');

	c->shards = NEW(c->arena, Shard);
	c->shards[0] = (Shard){.name = slash ? slash + 1 : path, .path = path, .fd = -1};
	c->nshards = 1;
	return open_shard(c, d, &c->shards[0]);
}

static bool exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0; /* a dangling link is there, and will be an error */
}

/* The only .safetensors file of the folder, or NULL; how many there are through *n. */
static const char *only_file(Checkpoint *c, Diag *d, int *n)
{
	const char *found = NULL;
	DIR *dir = opendir(c->folder);

	*n = 0;
	if (!dir) {
		diag_error(d, E_cannot_read, (Loc){.file = c->folder}, "cannot open: %s",
			   strerror(errno));
		return NULL;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.' && ends_with(e->d_name, ".safetensors") &&
		    ++*n == 1)
			found = arena_printf(c->arena, "%s/%s", c->folder, e->d_name);
	closedir(dir);
	if (*n == 0)
		diag_error(d, E_shard_files, (Loc){.file = c->folder},
			   "holds no .safetensors file");
	else if (*n > 1)
		diag_error(d, E_shard_files, (Loc){.file = c->folder},
			   "holds %d .safetensors files and no "
			   "model.safetensors.index.json that says which to read",
			   *n);
	return *n == 1 ? found : NULL;
}

static bool open_folder(Checkpoint *c, Diag *d, const char *path)
{
	c->folder = path;
	const char *index =
	    arena_printf(c->arena, "%s/model.safetensors.index.json", path);
	const char *file = arena_printf(c->arena, "%s/model.safetensors", path);
	int n;

	if (exists(index))
		return read_index(c, d, index);
	if (!exists(file))
		file = only_file(c, d, &n);
	return file && one_file(c, d, file);
}

Checkpoint *checkpoint_open(Arena *a, Diag *d, const char *path)
{
	Checkpoint *c = NEW(a, Checkpoint);
	struct stat st;
	bool ok;

	c->arena = a;
	path = arena_strdup(a, path);
	if (stat(path, &st) != 0) {
		diag_error(d, E_cannot_read, (Loc){.file = path}, "cannot open: %s",
			   strerror(errno));
		return NULL;
	}
	if (S_ISDIR(st.st_mode)) {
		ok = open_folder(c, d, path);
	} else if (ends_with(path, ".json")) {
		c->folder = dirname(arena_strdup(a, path));
		ok = read_index(c, d, path);
	} else {
		ok = one_file(c, d, path);
	}
	if (ok)
		return c;
	checkpoint_close(c);
	return NULL;
}

void checkpoint_close(Checkpoint *c)
{
	for (int i = 0; c && i < c->nshards; i++) {
		Shard *s = &c->shards[i];
		if (s->map)
			file_unmap(s->map, s->size);
		if (s->fd >= 0)
			close(s->fd);
		s->map = NULL;
		s->fd = -1;
	}
}

static const Entry *find_entry(const Checkpoint *c, const char *name)
{
	Entry key = {.name = name};
	return c->nentries ? bsearch(&key, c->entries, (size_t)c->nentries, sizeof key,
				     entry_by_name) : NULL;
}

static const TensorInfo *find_in(const Shard *s, const char *name)
{
	TensorInfo key = {.name = name};
	return s->tensors.n ? bsearch(&key, s->tensors.at, (size_t)s->tensors.n,
				      sizeof key, tensor_by_name)
			    : NULL;
}

bool checkpoint_has(Checkpoint *c, const char *name)
{
	return c->index ? find_entry(c, name) != NULL
			: find_in(&c->shards[0], name) != NULL;
}

const TensorInfo *checkpoint_find(Checkpoint *c, Diag *d, const char *name, bool *bad)
{
	const Entry *e = c->index ? find_entry(c, name) : NULL;

	*bad = false;
	if (c->index && !e)
		return NULL;
	Shard *s = &c->shards[e ? e->which : 0];
	if (!open_shard(c, d, s)) {
		*bad = true;
		return NULL;
	}
	const TensorInfo *t = find_in(s, name);
	if (!t && e) {
		*bad = true;
		diag_error(d, E_index_file, (Loc){.file = s->path},
			   "has no tensor `%.120s`, which %s "
			   "promises",
			   name, c->index);
	}
	return t;
}

const void *checkpoint_data(Checkpoint *c, Diag *d, const TensorInfo *t)
{
	Loc at = {.file = t->file};
	struct stat st;
	Shard *s = NULL;

	for (int i = 0; i < c->nshards && !s; i++)
		if (c->shards[i].path == t->file)
			s = &c->shards[i];
	if (!s || s->state != OPEN)
		ice("tensor %s is not of this checkpoint", t->name);
	if (t->bytes == 0)
		return "";
	if (fstat(s->fd, &st) != 0 || (uint64_t)st.st_size != s->size) {
		diag_error(d, E_file_changed, at, "was changed while it was being read");
		return NULL;
	}
	if (!s->map)
		s->map = file_map(d, s->path, s->fd, s->size);
	return s->map ? s->map + t->offset : NULL;
}

int checkpoint_files(const Checkpoint *c)
{
	return c->nshards;
}

const char **checkpoint_names(Checkpoint *c, Arena *a, int *n)
{
	*n = c->index ? c->nentries : c->shards[0].tensors.n;
	const char **names = NEWN(a, const char *, (size_t)*n);

	for (int i = 0; i < *n; i++)
		names[i] =
		    c->index ? c->entries[i].name : c->shards[0].tensors.at[i].name;
	return names;
}
