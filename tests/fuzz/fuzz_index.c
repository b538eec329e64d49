// libs: io
/* SPDX-License-Identifier: Apache-2.0
 * fuzz_index: model.safetensors.index.json beside one good shard, a.safetensors.  Nothing
 * outside the folder is opened, and every name is found or missed with a word. */
#include "fuzz.h"
#include "../../io/io.h"

#include <fcntl.h>

static char folder[] = "/tmp/moec-fuzz-XXXXXX";

/* Cut at its new end, not at 0: some file systems wait for the disk then. */
static void put(const char *name, const void *data, size_t n)
{
	char path[sizeof folder + 64];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	HOLDS(fd >= 0 && write(fd, data, n) == (ssize_t)n &&
	      ftruncate(fd, (off_t)n) == 0, "%s\n", path);
	close(fd);
}

static void remove_folder(void)
{
	static const char *const names[] = {"a.safetensors", "model.safetensors.index.json"};
	char path[sizeof folder + 64];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void make_folder(void)
{
	static const char shard[] =
	    "\x40\0\0\0\0\0\0\0"
	    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
	    "         12345678";

	if (folder[sizeof folder - 2] != 'X')
		return;
	HOLDS(mkdtemp(folder), "no folder\n");
	put("a.safetensors", shard, 8 + 64 + 8);
	atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	make_folder();
	put("model.safetensors.index.json", data, size);
	Fuzz f = fuzz_begin();
	Checkpoint *c = checkpoint_open(f.arena, f.diag, folder);
	int n = 0;

	HOLDS((c != NULL) == (diag_errors(f.diag) == 0), "refused without a word\n");
	const char **names = c ? checkpoint_names(c, f.arena, &n) : NULL;
	for (int i = 0; i < n && i < 100; i++) {
		bool bad;
		int before = diag_errors(f.diag);
		const TensorInfo *t = checkpoint_find(c, f.diag, names[i], &bad);
		HOLDS((t != NULL) != bad, "neither found nor bad: %s\n", names[i]);
		HOLDS(!t || checkpoint_data(c, f.diag, t), "no bytes: %s\n", names[i]);
		HOLDS(diag_errors(f.diag) - before <= 1, "more than one error\n");
	}
	checkpoint_close(c);
	fuzz_end(&f);
	return 0;
}
