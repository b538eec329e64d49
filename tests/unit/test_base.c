/* SPDX-License-Identifier: Apache-2.0
 * Arenas, texts, vectors, checked sizes, diagnostics, files. */
#include "../../ir/base.h"
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void arena_gives_zeroed_aligned_memory(void)
{
	Arena *a = arena_new();

	for (size_t size = 0; size < 200000; size = size * 3 + 1) {
		unsigned char *p = arena_alloc(a, size);
		CHECK((uintptr_t)p % 16 == 0);
		for (size_t i = 0; i < size; i++)
			if (p[i] != 0)
				CU_FAIL("not zeroed");
		memset(p, 0xff, size);
	}
	SAME_TEXT(arena_strndup(a, "abcdef", 3), "abc");
	SAME_TEXT(arena_printf(a, "%d-%s", 7, "x"), "7-x");
	arena_free(a);
	arena_free(NULL);
}

static void arena_array_overflow_ends_the_program(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		freopen("/dev/null", "w", stderr);
		arena_array(arena_new(), SIZE_MAX / 2, 3);
		_exit(0);
	}
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void vectors_and_texts_grow(void)
{
	Arena *a = arena_new();
	Vec(int) v = {0};
	Text t = text_new(a);

	SAME_TEXT(t.s, "");
	for (int i = 0; i < 1000; i++)
		vec_push(a, &v, i);
	CHECK(v.n == 1000 && v.at[999] == 999 && v.at[0] == 0);
	for (int i = 0; i < 1000; i++)
		text_printf(&t, "%d,", i % 10);
	CHECK(t.n == 2000 && strlen(t.s) == 2000);
	text_printf(&t, "%600d", 1);
	CHECK(t.n == 2600 && t.s[2599] == '1');
	arena_free(a);
}

static void sizes_do_not_wrap(void)
{
	size_t n = 42;
	int64_t e = 42;

	CHECK(!size_add(SIZE_MAX, 1, &n) && n == 42);
	CHECK(!size_mul(SIZE_MAX / 2, 3, &n) && n == 42);
	CHECK(!size_round_up(SIZE_MAX, 64, &n) && n == 42);
	CHECK(!size_round_up(5, 6, &n) && n == 42);
	CHECK(!size_round_up(5, 0, &n) && n == 42);
	CHECK(size_round_up(65, 64, &n) && n == 128);
	CHECK(!shape_elems((int64_t[]){1 << 30, 1 << 30, 1 << 30}, 3, &e) && e == 42);
	CHECK(!shape_elems((int64_t[]){-1}, 1, &e) && e == 42);
	CHECK(shape_elems((int64_t[]){3, 4}, 2, &e) && e == 12);
	CHECK(shape_elems(NULL, 0, &e) && e == 1);
}

/* What a Diag prints, collected. */
typedef struct {
	Arena *a;
	Diag  *d;
	FILE  *f;
	char  *text;
	size_t n;
} Heard;

static Heard hear(void)
{
	Heard h = {.a = arena_new()};

	return h;
}

static void heard_open(Heard *h)
{
	h->f = open_memstream(&h->text, &h->n);
	h->d = diag_new(h->a, h->f);
}

static void heard_is(Heard *h, const char *expected)
{
	fclose(h->f);
	SAME_TEXT(h->text, expected);
	free(h->text);
	arena_free(h->a);
}

static void errors_show_the_line(void)
{
	Heard h = hear();

	heard_open(&h);
	diag_source(h.d, "a.moe", "first\n\ty = matmul(h, down)\nlast");
	diag_error(h.d, E_unknown_name, (Loc){"a.moe", 2, 16, 20}, "'%s' has %d columns",
		   "h", 7);
	diag_fix(h.d, "transpose it");
	diag_note(h.d, (Loc){"a.moe", 3, 1, 0}, "here");
	diag_error(h.d, E_unknown_name, (Loc){"b.moe", 9, 1, 0}, "no source");
	diag_error(h.d, E_unknown_name, (Loc){"a.moe", 99, 1, 0}, "no such line");
	diag_error(h.d, E_unknown_name, (Loc){.file = "a.moe"}, "the whole file");
	diag_perf(h.d, (Loc){"a.moe", 1, 2, 0}, "slow");
	CHECK(diag_errors(h.d) == 4);
	heard_is(&h, "a.moe:2:16: error: 'h' has 7 columns [E0201]\n"
		     "            y = matmul(h, down)\n"
		     "                          ^~~~\n"
		     "  fix: transpose it\n"
		     "a.moe:3:1: note: here\n    last\n    ^\n"
		     "b.moe:9:1: error: no source [E0201]\n"
		     "a.moe:99:1: error: no such line [E0201]\n"
		     "a.moe: error: the whole file [E0201]\n"
		     "a.moe:1:2: perf: slow\n");
}

static void carets_stand_right_beyond_ascii(void)
{
	Heard h = hear();

	heard_open(&h);
	diag_source(h.d, "a", "\xc3\xa4\xc3\xa4 \x01 z");
	diag_error(h.d, E_unknown_name, (Loc){"a", 1, 8, 0}, "z \x1b[31m\xff");
	heard_is(&h, "a:1:8: error: z \\x1b[31m\\xff [E0201]\n    \xc3\xa4\xc3\xa4 \\x01 z\n"
		     "            ^\n");
}

static void long_lines_are_cut(void)
{
	Heard h = hear();
	char *line = malloc(100001);

	memset(line, 'x', 100000);
	line[100000] = '\0';
	heard_open(&h);
	diag_source(h.d, "a", line);
	diag_error(h.d, E_unknown_name, (Loc){"a", 1, 50000, 99999}, "far");
	diag_error(h.d, E_unknown_name, (Loc){"a", 1, 99999999, 0}, "beyond");
	fflush(h.f);
	CHECK(h.n < 1200);
	CHECK(strstr(h.text, "^~~~") != NULL);
	fclose(h.f);
	free(h.text);
	free(line);
	arena_free(h.a);
}

static void errors_end_at_the_limit(void)
{
	Heard h = hear();

	heard_open(&h);
	diag_limit(h.d, 2);
	for (int i = 0; i < 5; i++) {
		diag_error(h.d, E_unknown_name, (Loc){.file = "a"}, "e%d", i);
		diag_fix(h.d, "f%d", i);
	}
	CHECK(diag_errors(h.d) == 5);
	diag_end(h.d);
	heard_is(&h, "a: error: e0 [E0201]\n  fix: f0\na: error: e1 [E0201]\n  fix: f1\n"
		     "moec: 3 more errors\n");
}

static void internal_errors_exit_with_70(void)
{
	int ends[2], status;
	char text[512] = "";

	MUST(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 2);
		ice_context("tile", "moec compile a.moe");
		ice_context(NULL, NULL);
		ice_at("/x/y/tile.c", 88, "row block %d", 6);
	}
	close(ends[1]);
	size_t n = 0;
	for (ssize_t r; (r = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	close(ends[0]);
	waitpid(child, &status, 0);
	CHECK(n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 70);
	SAME_TEXT(text, "moec: internal error in pass 'tile' (tile.c:88): row block 6\n"
			"  reproduce with: moec compile a.moe\n");
}

static void names_that_are_near(void)
{
	const char *names[] = {"softmax", "sigmoid", "topk", "a", NULL};
	int n = 5;

	SAME_TEXT(nearest_name("sofmax", names, n), "softmax");
	SAME_TEXT(nearest_name("sfotmax", names, n), "softmax");
	SAME_TEXT(nearest_name("topkk", names, n), "topk");
	CHECK(nearest_name("zzzzzzz", names, n) == NULL);
	CHECK(nearest_name("b", names, n) == NULL);
	CHECK(nearest_name("", names, n) == NULL);
	char huge[1000];
	memset(huge, 'a', sizeof huge - 1);
	huge[999] = '\0';
	CHECK(nearest_name(huge, names, n) == NULL);
}

static void printable_escapes(void)
{
	Arena *a = arena_new();

	SAME_TEXT(printable(a, "a\tb\x7f\xc3\xa4"), "a\\x09b\\x7f\xc3\xa4");
	SAME_TEXT(printable(a, "\xc0\x80\xe2\x82"), "\\xc0\\x80\\xe2\\x82");
	SAME_TEXT(printable(a, "\xed\xa0\x80"), "\\xed\\xa0\\x80");
	SAME_TEXT(printable(a, "\xe2\x80\xae"), "\\xe2\\x80\\xae"); /* bidi override */
	arena_free(a);
}

/* ---- files ---- */

static char folder[] = "/tmp/moec-base-XXXXXX";

static const char *in_folder(Arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", folder, name);
}

static int files_left(void)
{
	Arena *a = arena_new();
	FILE *f = popen(arena_printf(a, "ls -A %s | wc -l", folder), "r");
	int n = -1;

	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	pclose(f);
	arena_free(a);
	return n;
}

static void files_are_written_and_read(void)
{
	Heard h = hear();
	struct stat st;
	size_t n = 0;

	MUST(mkdtemp(folder) != NULL);
	heard_open(&h);
	const char *path = in_folder(h.a, "out");
	CHECK(file_write(h.d, path, "a\0b", 3));
	CHECK(file_write(h.d, path, "c\0de", 4));
	char *s = file_read(h.a, h.d, path, 4, &n);
	MUST(s != NULL);
	CHECK(n == 4 && memcmp(s, "c\0de", 5) == 0);
	mode_t mask = umask(0);
	umask(mask);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == (0666 & ~mask));
	const char *link = in_folder(h.a, "link");
	CHECK(symlink("out", link) == 0 && file_write(h.d, link, "via", 3));
	CHECK(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
	s = file_read(h.a, h.d, path, 100, &n);
	SAME_TEXT(s ? s : "", "via");
	CHECK(unlink(link) == 0 && unlink(path) == 0 && files_left() == 0);
	heard_is(&h, "");
}

/* What standard output already holds stays, though it is a file. */
static void files_under_dev_go_on(void)
{
	Heard h = hear();
	const char *path = in_folder(h.a, "out");
	size_t n = 0;
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	heard_open(&h);
	MUST(fd >= 0);
	const char *through = arena_printf(h.a, "/dev/fd/%d", fd);
	CHECK(file_write(h.d, through, "ab", 2) && file_write(h.d, through, "cd", 2));
	close(fd);
	char *s = file_read(h.a, h.d, path, 100, &n);
	SAME_TEXT(s ? s : "", "abcd");
	unlink(path);
	heard_is(&h, "");
}

static void files_that_are_none_are_refused(void)
{
	Heard h = hear();
	size_t n;

	heard_open(&h);
	const char *fifo = in_folder(h.a, "fifo"), *big = in_folder(h.a, "big");
	MUST(mkfifo(fifo, 0600) == 0);
	CHECK(file_read(h.a, h.d, fifo, 100, &n) == NULL);
	CHECK(file_read(h.a, h.d, folder, 100, &n) == NULL);
	CHECK(file_read(h.a, h.d, "/dev/zero", 100, &n) == NULL);
	CHECK(file_read(h.a, h.d, in_folder(h.a, "none"), 100, &n) == NULL);
	MUST(file_write(h.d, big, "12345", 5));
	CHECK(file_read(h.a, h.d, big, 4, &n) == NULL);
	CHECK(diag_errors(h.d) == 5);
	diag_end(h.d);
	CHECK(!file_write(h.d, in_folder(h.a, "no/such/folder"), "x", 1));
	CHECK(!file_write(h.d, folder, "x", 1));
	CHECK(!file_write(h.d, "/dev/full", "x", 1));
	CHECK(diag_errors(h.d) == 8);
	unlink(fifo);
	unlink(big);
	CHECK(files_left() == 0);
	rmdir(folder);
	fflush(h.f);
	CHECK(strstr(h.text, "5 bytes are more than the 4 allowed") != NULL);
	CHECK(strstr(h.text, "not a regular file") != NULL);
	fclose(h.f);
	free(h.text);
	arena_free(h.a);
}

SUITE("base",
      {"arena: zeroed, aligned", arena_gives_zeroed_aligned_memory},
      {"arena: overflow ends the program", arena_array_overflow_ends_the_program},
      {"vectors and texts grow", vectors_and_texts_grow},
      {"sizes do not wrap", sizes_do_not_wrap},
      {"errors show the line", errors_show_the_line},
      {"carets beyond ASCII", carets_stand_right_beyond_ascii},
      {"long lines are cut", long_lines_are_cut},
      {"errors end at the limit", errors_end_at_the_limit},
      {"internal errors exit with 70", internal_errors_exit_with_70},
      {"near names", names_that_are_near},
      {"printable", printable_escapes},
      {"files are written and read", files_are_written_and_read},
      {"files under /dev go on", files_under_dev_go_on},
      {"files that are none", files_that_are_none_are_refused})
