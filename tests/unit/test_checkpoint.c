/* SPDX-License-Identifier: Apache-2.0
 * Checkpoints: folders, indexes, shards opened when needed, links, files that change. */
// libs: io
#include "files.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#define T(dtype, shape, from, to)                                                        \
	"{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from        \
	"," #to "]}"
#define FIXTURES "/work/shared/fixtures"

static void shard(const char *path, const char *tensor)
{
	char h[300];
	int n = snprintf(h, sizeof h, "{\"%s\":" T("F32", "2", 0, 8) "}", tensor);

	put_safetensors(path, h, (size_t)n, 8);
}

static void text_file(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

/* A fresh folder m with shards a (tensor a) and b (tensor b) and their index. */
static void two_shards(void)
{
	enter_folder();
	remove_tree("m");
	mkdir("m", 0700);
	shard("m/a.safetensors", "a");
	shard("m/b.safetensors", "b");
	text_file("m/model.safetensors.index.json",
		  "{\"metadata\":{},\"weight_map\":{\"a\":\"a.safetensors\","
		  "\"b\":\"b.safetensors\"}}");
}

/* Opening fails with this message. */
static void refused(const char *path, const char *message)
{
	Said *s = said_new();

	CHECK(checkpoint_open(s->arena, s->diag, path) == NULL);
	CHECK(diag_errors(s->diag) == 1);
	SAME_SAID(said(s), message);
	said_free(s);
}

/* The folder m opens; asking for the tensor gives this message ("": found, data too). */
static void asked(const char *tensor, const char *message)
{
	Said *s = said_new();
	bool bad;
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");

	MUST(c != NULL);
	SAME_TEXT(said(s), "");
	const TensorInfo *t = checkpoint_find(c, s->diag, tensor, &bad);
	CHECK((t != NULL) == !*message && bad == !!*message);
	CHECK(!t || checkpoint_data(c, s->diag, t) != NULL);
	SAME_SAID(said(s), message);
	CHECK(checkpoint_find(c, s->diag, tensor, &bad) ==
	      t); /* again: no second message */
	CHECK(!t || *message == 0);
	checkpoint_close(c);
	said_free(s);
}

static void test_index(void)
{
	Said *s = said_new();
	int n;
	bool bad;

	two_shards();
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");
	MUST(c != NULL);
	CHECK(checkpoint_files(c) == 2);
	CHECK(checkpoint_has(c, "a") && checkpoint_has(c, "b") &&
	      !checkpoint_has(c, "c"));
	const char **names = checkpoint_names(c, s->arena, &n);
	CHECK(n == 2);
	SAME_TEXT(names[0], "a");
	SAME_TEXT(names[1], "b");
	const TensorInfo *t = checkpoint_find(c, s->diag, "b", &bad);
	MUST(t != NULL);
	SAME_TEXT(t->file, "m/b.safetensors");
	CHECK(checkpoint_find(c, s->diag, "c", &bad) == NULL && !bad);
	SAME_TEXT(said(s), "");
	checkpoint_close(c);
	c = checkpoint_open(s->arena, s->diag, "m/model.safetensors.index.json");
	CHECK(c != NULL && checkpoint_find(c, s->diag, "a", &bad) != NULL);
	checkpoint_close(c);
	MUST(chdir("m") == 0); /* an index without a folder in its path */
	c = checkpoint_open(s->arena, s->diag, "model.safetensors.index.json");
	CHECK(c != NULL && checkpoint_find(c, s->diag, "a", &bad) != NULL);
	checkpoint_close(c);
	MUST(chdir("..") == 0);
	said_free(s);
}

static void test_lazy(void)
{
	two_shards();
	text_file("m/b.safetensors", "garbage");
	asked("a", "");
	asked("b",
	      "m/b.safetensors: error: 7 bytes are too few for a safetensors file\n");
	unlink("m/b.safetensors");
	asked("a", "");
	asked("b", "m/b.safetensors: error: cannot open: No such file or directory\n");
}

static void test_promises(void)
{
	two_shards();
	shard("m/b.safetensors", "c");
	asked("b", "m/b.safetensors: error: has no tensor `b`, which "
		   "m/model.safetensors.index.json promises\n");
	/* a tensor in two shards is the one that the index says */
	put_safetensors("m/b.safetensors", "{\"a\":" T("U8", "8", 0, 8) "}",
			strlen("{\"a\":" T("U8", "8", 0, 8) "}"), 8);
	asked("a", "");
}

static void test_folders(void)
{
	enter_folder();
	remove_tree("m");
	refused("m", "m: error: cannot open: No such file or directory\n");
	mkdir("m", 0700);
	refused("m", "m: error: holds no .safetensors file\n");
	text_file("m/any.safetensors", "garbage");
	text_file("m/x.npy", "another file");
	refused("m", "m/any.safetensors: error: 7 bytes are too few for a safetensors file\n");
	shard("m/any.safetensors", "a");
	shard("m/.hidden.safetensors", "b");
	asked("a", "");
	shard("m/other.safetensors", "b");
	refused(
	    "m",
	    "m: error: holds 2 .safetensors files and no model.safetensors.index.json "
	    "that says which to read\n");
	shard("m/model.safetensors", "c");
	asked("c", "");
	text_file("m/model.safetensors.index.json", "{\"weight_map\":{}}");
	Said *s = said_new();
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");
	CHECK(c != NULL && !checkpoint_has(c, "c"));    /* the index comes first */
	checkpoint_close(c);
	said_free(s);
}

static void test_not_files(void)
{
	two_shards();
	unlink("m/b.safetensors");
	mkfifo("m/b.safetensors", 0600);
	asked("b", "m/b.safetensors: error: cannot read: not a regular file\n");
	unlink("m/b.safetensors");
	mkdir("m/b.safetensors", 0700);
	asked("b", "m/b.safetensors: error: cannot read: it is a folder\n");
	rmdir("m/b.safetensors");
	refused("/dev/null", "/dev/null: error: cannot read: not a regular file\n");
	mkfifo("m/f.safetensors", 0600);
	refused("m/f.safetensors",
		"m/f.safetensors: error: cannot read: not a regular file\n");
}

#define LEADS_OUT                                                                        \
	"m/b.safetensors: error: cannot read: a link that leads out of the model's "     \
	"folder\n"

static void link_b(const char *to)
{
	unlink("m/b.safetensors");
	MUST(symlink(to, "m/b.safetensors") == 0);
}

static void test_links(void)
{
	two_shards();
	mkdir("out", 0700);
	shard("out/b.safetensors", "b");
	link_b("../out/b.safetensors");
	asked("b", LEADS_OUT);
	link_b("/dev/zero");
	asked("b", "m/b.safetensors: error: cannot read: not a regular file\n");
	mkdir("moe", 0700);                     /* a folder whose name begins with ours */
	shard("moe/b.safetensors", "b");
	link_b("../moe/b.safetensors");
	asked("b", LEADS_OUT);
	link_b("nowhere");
	asked("b", "m/b.safetensors: error: cannot open: No such file or directory\n");
	link_b("b.safetensors");
	asked("b",
	      "m/b.safetensors: error: cannot open: Too many levels of symbolic links\n");
	shard("m/c.safetensors", "b");
	link_b("c.safetensors");
	asked("b", "");
	MUST(symlink("../out", "m/sub") == 0);  /* out by way of a folder inside */
	link_b("sub/b.safetensors");
	asked("b", LEADS_OUT);
	mkdir("blobs", 0700);
	shard("blobs/123", "b");
	link_b("../blobs/123");
	asked("b", "");
	/* the user's own path may be any link */
	MUST(symlink("../out/b.safetensors", "m/mine.safetensors") == 0);
	Said *s = said_new();
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m/mine.safetensors");
	CHECK(c != NULL);
	checkpoint_close(c);
	said_free(s);
	remove_tree("blobs");
}

/* models--x/snapshots/<revision>/x.safetensors -> ../../blobs/<hash> */
static void test_hub_cache(void)
{
	Said *s = said_new();
	bool bad;

	enter_folder();
	mkdir("hub", 0700);
	mkdir("hub/blobs", 0700);
	mkdir("hub/snapshots", 0700);
	mkdir("hub/snapshots/r1", 0700);
	shard("hub/blobs/123", "a");
	text_file("hub/blobs/456", "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
	MUST(symlink("../../blobs/123", "hub/snapshots/r1/x.safetensors") == 0);
	MUST(symlink("../../blobs/456",
		     "hub/snapshots/r1/model.safetensors.index.json") == 0);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "hub/snapshots/r1");
	MUST(c != NULL);
	CHECK(checkpoint_find(c, s->diag, "a", &bad) != NULL);
	SAME_TEXT(said(s), "");
	checkpoint_close(c);
	rename("hub/snapshots", "hub/others");  /* only that layout reaches two up */
	c = checkpoint_open(s->arena, s->diag, "hub/others/r1");
	MUST(c != NULL);
	CHECK(checkpoint_find(c, s->diag, "a", &bad) == NULL && bad);
	CHECK(strstr(said(s), "leads out of the model's folder") != NULL);
	checkpoint_close(c);
	said_free(s);
}

/* Of a folder that is none: its links lead out of it, and one may lead to itself. */
static void test_odd_folders(void)
{
	Said *s = said_new();
	uint64_t size;
	char index[400], name[300] = "";

	two_shards();
	link_b("a.safetensors");
	CHECK(open_regular(s->arena, s->diag, "m/b.safetensors", "nowhere", &size) == -1);
	CHECK(open_regular(s->arena, s->diag, "m/b.safetensors", "/", &size) == -1);
	SAME_SAID(said(s), LEADS_OUT LEADS_OUT);
	said_free(s);
	link_b("b.safetensors");
	s = said_new();
	CHECK(open_regular(s->arena, s->diag, "m/b.safetensors", NULL, &size) == -1);
	SAME_SAID(said(s),
		  "m/b.safetensors: error: cannot open: Too many levels of symbolic links\n");
	said_free(s);
	memset(name, 'n', 256);                 /* longer than a file's name can be */
	snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", name);
	text_file("m/model.safetensors.index.json", index);
	s = said_new();
	CHECK(checkpoint_open(s->arena, s->diag, "m") == NULL);
	CHECK(strstr(said(s), "is not a plain file name") != NULL);
	said_free(s);
}

/* Nothing of the file need be mapped for a tensor without entries. */
static void test_empty_tensor(void)
{
	static const char h[] = "{\"a\":" T("F32", "0,7", 0, 0) "}";
	Said *s = said_new();
	bool bad;

	two_shards();
	put_safetensors("m/a.safetensors", h, strlen(h), 0);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");
	MUST(c != NULL);
	const TensorInfo *t = checkpoint_find(c, s->diag, "a", &bad);
	CHECK(t && t->bytes == 0 && checkpoint_data(c, s->diag, t) != NULL);
	checkpoint_close(c);
	put_safetensors("m/a.safetensors", "{}", 2, 0);
	c = checkpoint_open(s->arena, s->diag, "m/a.safetensors");
	CHECK(c != NULL && !checkpoint_has(c, "a"));
	SAME_TEXT(said(s), "");
	checkpoint_close(c);
	said_free(s);
}

static void test_shrunk(void)
{
	Said *s = said_new();
	bool bad;

	two_shards();
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");
	MUST(c != NULL);
	const TensorInfo *t = checkpoint_find(c, s->diag, "a", &bad);
	MUST(t && checkpoint_data(c, s->diag, t));
	CHECK(truncate("m/a.safetensors", 20) == 0);
	CHECK(checkpoint_data(c, s->diag, t) == NULL);
	SAME_SAID(said(s),
		  "m/a.safetensors: error: was changed while it was being read\n");
	checkpoint_close(c);
	said_free(s);
}

/* Reads a tensor's pages after they are gone, in a child; returns its status. */
static int read_the_gone(Said *s, char *said_there, size_t size)
{
	int ends[2], status = -1;
	bool bad;

	MUST(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		Checkpoint *c = checkpoint_open(s->arena, s->diag, "m");
		const TensorInfo *t = checkpoint_find(c, s->diag, "a", &bad);
		const volatile char *bytes = checkpoint_data(c, s->diag, t);
		dup2(ends[1], STDERR_FILENO);
		cleanup_file("m/half");
		_exit(truncate("m/a.safetensors", 0) == 0 ? 2 + (bytes[0] & 1) : 9);
	}
	close(ends[1]);
	ssize_t n = read(ends[0], said_there, size - 1);
	said_there[n > 0 ? n : 0] = '\0';
	close(ends[0]);
	waitpid(child, &status, 0);
	return status;
}

static void test_cut_down(void)
{
	Said *s = said_new();
	char text[200];

	two_shards();
	text_file("m/half", "half of an output");
	int status = read_the_gone(s, text, sizeof text);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	SAME_SAID(text, "m/a.safetensors: error: was changed while it was being read\n");
	CHECK(access("m/half", F_OK) != 0);
	said_free(s);
}

/* Sizes beyond 4 GiB, without the disk. */
static void test_sparse(void)
{
	static const char h[] = "{\"a\":" T("U8", "8589934592", 0, 8589934592) ",\"b\":"
		T("U8", "1", 8589934592, 8589934593) "}";
	Said *s = said_new();
	bool bad;

	enter_folder();
	put_safetensors("x.safetensors", h, strlen(h), 0);
	off_t end = (off_t)(8 + strlen(h) + 8589934593);
	if (truncate("x.safetensors", end) != 0)
		SKIP("no sparse files here");
	int fd = open("x.safetensors", O_WRONLY);
	CHECK(pwrite(fd, "!", 1, end - 1) == 1);
	close(fd);
	Checkpoint *c = checkpoint_open(s->arena, s->diag, "x.safetensors");
	SAME_TEXT(said(s), "");
	MUST(c != NULL);
	const TensorInfo *t = checkpoint_find(c, s->diag, "b", &bad);
	const char *p = t ? checkpoint_data(c, s->diag, t) : NULL;
	CHECK(p && *p == '!');
	checkpoint_close(c);
	unlink("x.safetensors");
	said_free(s);
}

static void test_fixtures(void)
{
	static const struct {
		const char *folder;
		int files;
		const char *tensor;
		Dtype dtype;
	} f[] = {
	    {"mixtral", 1, "model.layers.0.block_sparse_moe.experts.0.w1.weight", DT_f32},
	    {"mixtral_bf16_sharded", 3,
	     "model.layers.0.block_sparse_moe.experts.0.w1.weight", DT_bf16},
	    {"deepseek_v3", 1, "model.layers.1.mlp.experts.0.up_proj.weight", DT_f32},
	    {"gpt_oss", 1, "model.layers.1.mlp.experts.gate_up_proj", DT_f32},
	    {"olmoe", 1, "model.layers.1.mlp.experts.0.up_proj.weight", DT_f32},
	    {"qwen3_moe", 1, "model.layers.1.mlp.experts.0.up_proj.weight", DT_f32},
	    {"switch", 1, "encoder.block.1.layer.1.mlp.experts.expert_0.wi.weight",
	     DT_f32},
	    {"switch_drop", 1, "encoder.block.1.layer.1.mlp.experts.expert_0.wi.weight",
	     DT_f32},
	};

	if (access(FIXTURES, R_OK) != 0)
		SKIP("no fixtures");
	for (size_t i = 0; i < COUNT(f); i++) {
		Said *s = said_new();
		bool bad;
		Npy x;
		const char *folder = arena_printf(s->arena, FIXTURES "/%s", f[i].folder);
		Checkpoint *c = checkpoint_open(s->arena, s->diag, folder);
		SAME_TEXT(said(s), "");
		MUST(c != NULL);
		CHECK(checkpoint_files(c) == f[i].files);
		const TensorInfo *t = checkpoint_find(c, s->diag, f[i].tensor, &bad);
		CHECK(t && t->dtype == f[i].dtype && checkpoint_data(c, s->diag, t));
		CHECK(npy_read(s->arena, s->diag,
			       arena_printf(s->arena, "%s/x.npy", folder), &x));
		CHECK(x.rank >= 2 && !x.is_int);
		SAME_TEXT(said(s), "");
		checkpoint_close(c);
		said_free(s);
	}
}

SUITE("checkpoint",
	{"index", test_index},
	{"shards open when needed", test_lazy},
	{"what the index promises", test_promises},
	{"folders", test_folders},
	{"FIFOs, folders and devices", test_not_files},
	{"links", test_links},
	{"the Hugging Face cache", test_hub_cache},
	{"folders that are none", test_odd_folders},
	{"a tensor without entries", test_empty_tensor},
	{"a file that shrinks", test_shrunk},
	{"a file that shrinks while it is read", test_cut_down},
	{"8 GiB", test_sparse},
	{"fixtures", test_fixtures})
