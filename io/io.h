/* SPDX-License-Identifier: Apache-2.0
 * io: files from outside.  Everything here is hostile until checked: each function returns
 * false (or NULL) after exactly one diagnostic that names the file and the place in it;
 * sizes are compared with what the file holds before anything is allocated. */
#ifndef MOEC_IO_H
#define MOEC_IO_H

#include "../ir/ir.h"
#include <jansson.h>

/* json.c: strict JSON (duplicate keys refused, at most 100,000,000 bytes, depth 256) under a
 * memory budget of 48 x the file's size + 1 MiB, at most 128 MiB + 2 x its size.
 * json_decref() when done. */
json_t *json_file(Arena *, Diag *, const char *path);
/* The same from memory; `what` names the text in messages: "", "the header: ". */
json_t *json_text(Arena *, Diag *, const char *file, const char *what, const char *text,
		  size_t n);

/* open.c: a descriptor of a regular file and its size, or -1 after one diagnostic.  With
 * `folder` (NULL: anywhere) a symlink must lead into that folder, or into the blobs/ beside
 * it (the Hugging Face cache).  A FIFO or a device never blocks. */
int   open_regular(Arena *, Diag *, const char *path, const char *folder, uint64_t *size);

/* mapped.c: a file as memory; NULL after one diagnostic.  Where somebody cuts the file down
 * meanwhile, reading its pages ends the process with a diagnostic and status 1. */
const void *file_map(Diag *, const char *path, int fd, uint64_t size);
void        file_unmap(const void *, uint64_t size);

/* safetensors.c, checkpoint.c: a .safetensors file, an index.json, or a folder that holds
 * either (model.safetensors.index.json first, else model.safetensors, else the only
 * *.safetensors).  Shards are opened when the first tensor of theirs is asked for; shard names
 * must be plain file names inside the folder.  Headers are checked whole: every tensor's
 * bytes equal its shape's, no overlap, no hole, no duplicate, no unknown type. */
typedef struct Checkpoint Checkpoint;
typedef double ByteValue(unsigned byte);
typedef struct {
	const char *name;
	const char *file;               /* the shard it lies in */
	int         rank;
	int64_t     dims[8];
	const char *type;               /* as in the file: F32, BF16, F8_E4M3, .. */
	Dtype       dtype;              /* as what it is read; DT_COUNT: not at all */
	ByteValue  *value;              /* NULL: entries of dtype; else bytes, each this */
	uint64_t    offset, bytes;      /* in the file */
} TensorInfo;
Checkpoint *checkpoint_open(Arena *, Diag *, const char *path);
void        checkpoint_close(Checkpoint *);
/* Whether the tensor is named anywhere (for an index: without opening its shard). */
bool        checkpoint_has(Checkpoint *, const char *name);
/* Its description; opens its shard.  NULL: no such tensor (no diagnostic), or its shard is
 * bad (one diagnostic; *bad is set). */
const TensorInfo *checkpoint_find(Checkpoint *, Diag *, const char *name, bool *bad);
/* Its bytes, mapped, valid until close.  A shard that shrank meanwhile is an error; while
 * its bytes are being read, one that ends the process (file_map). */
const void *checkpoint_data(Checkpoint *, Diag *, const TensorInfo *);
int         checkpoint_files(const Checkpoint *);
/* All names known (index or headers), for "did you mean"; n through *n. */
const char **checkpoint_names(Checkpoint *, Arena *, int *n);

/* safetensors.c: the header of one file, checked whole.  Tensors come sorted by name. */
typedef struct { TensorInfo *at; int n; } TensorList;
bool safetensors_read(Arena *, Diag *, const char *file, int fd, uint64_t size, TensorList *);
/* The same from memory: the text of the header, and how many bytes follow it. */
bool safetensors_header(Arena *, Diag *, const char *file, const char *text, size_t n,
			uint64_t data, TensorList *);

/* npy.c: little-endian float32 (or int32), C order, versions 1.0, 2.0 and 3.0. */
typedef struct {
	int     rank;
	int64_t dims[8];
	bool    is_int;
	union { float *f; int32_t *i; };        /* arena memory */
} Npy;
bool npy_read(Arena *, Diag *, const char *path, Npy *);
/* Written beside and renamed. */
bool npy_write(Diag *, const char *path, int rank, const int64_t *dims, const float *data);

/* progress.c: one line on stderr, only on a terminal, only after a second. */
typedef struct Progress Progress;
Progress *progress_new(const char *what, uint64_t total, const char *unit);
void      progress_add(Progress *, uint64_t n);         /* from any thread */
void      progress_end(Progress *);                     /* clears the line */

#endif
