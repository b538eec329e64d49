/* SPDX-License-Identifier: Apache-2.0
 * base: arenas, strings, vectors, checked sizes and diagnostics; what every folder needs. */
#ifndef MOEC_BASE_H
#define MOEC_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NORETURN    __attribute__((noreturn))
#define PRINTF(f,a) __attribute__((format(printf, f, a)))
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)   ((a) < (b) ? (a) : (b))
#define MAX(a, b)   ((a) > (b) ? (a) : (b))
/* Where unsigned numbers are meant to wrap: hashes and random numbers.  Anywhere else
 * scripts/sanitize.sh takes it for a mistake. */
#ifdef __clang__
#define WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define WRAPS
#endif

/* arena.c: memory that is freed once, all together.  Never returns NULL: running out of
 * memory is reported and ends the program with status 1.  Memory comes zeroed. */
void out_of_memory(size_t wanted) NORETURN;
typedef struct Arena Arena;
Arena *arena_new(void);
void   arena_free(Arena *);
void  *arena_alloc(Arena *, size_t size);
void  *arena_array(Arena *, size_t n, size_t size);     /* n * size is checked */
char  *arena_strdup(Arena *, const char *);
char  *arena_strndup(Arena *, const char *, size_t n);
char  *arena_printf(Arena *, const char *fmt, ...) PRINTF(2, 3);
char  *arena_vprintf(Arena *, const char *fmt, va_list) PRINTF(2, 0);

#define NEW(arena, T)       ((T *)arena_alloc((arena), sizeof(T)))
#define NEWN(arena, T, n)   ((T *)arena_array((arena), (n), sizeof(T)))

/* A growable array in an arena:  struct { T *at; int n, cap; }.
 *     Vec(int) v = {0};  vec_push(arena, &v, 7);  v.at[0] == 7;  v.n == 1 */
#define Vec(T) struct { T *at; int n, cap; }
#define vec_push(arena, v, x)                                                      \
	((v)->n == (v)->cap                                                        \
	     ? (void)((v)->at = arena_grow((arena), (v)->at, &(v)->cap,            \
					   sizeof *(v)->at))                       \
	     : (void)0,                                                            \
	 (void)((v)->at[(v)->n++] = (x)))
void *arena_grow(Arena *, void *old, int *cap, size_t size);

/* A text that grows: what printers write to. */
typedef struct {
	Arena *arena;
	char  *s;                       /* NUL-terminated, "" when empty */
	size_t n, cap;
} Text;
Text text_new(Arena *);
void text_add(Text *, const char *s);
void text_addn(Text *, const char *s, size_t n);
void text_printf(Text *, const char *fmt, ...) PRINTF(2, 3);

/* checked.c: sizes.  Each returns false on overflow and leaves *out alone. */
bool size_add(size_t a, size_t b, size_t *out);
bool size_mul(size_t a, size_t b, size_t *out);
bool size_round_up(size_t a, size_t to, size_t *out);   /* to: a power of two */
bool shape_elems(const int64_t *dims, int rank, int64_t *out);

/* diag.c: the three voices.
 *
 * A user's mistake prints  file:line:col: error: text [code], the source line, a caret, a fix.
 * Errors are counted, not fatal: the caller goes on or stops with diag_failed().
 * Lines and columns start at 1; line 0 means "the whole file", file NULL "no file". */
typedef struct {
	const char *file;               /* as the user wrote it; arena or static memory */
	int line, col, end;             /* end: column after the last character, or 0 */
} Loc;

/* Every error has a code: a row of diagnostics.def. */
typedef enum {
#define DIAG(number, name, title, text, where, wrong, right) E_##name,
#include "diagnostics.def"
#undef DIAG
	DIAG_CODES
} DiagCode;
typedef enum { IN_NONE, IN_LAYER, IN_FILE, IN_SHELL } DiagWhere;
typedef struct {
	const char *code;               /* E0201 */
	const char *title, *text;
	DiagWhere   where;              /* of the examples */
	const char *wrong, *right;
} DiagInfo;
extern const DiagInfo diag_info[DIAG_CODES];

typedef struct Diag Diag;
Diag *diag_new(Arena *, FILE *out);     /* NULL: errors are counted and not printed */
void  diag_source(Diag *, const char *file, const char *text);  /* for the caret lines */
int   diag_errors(const Diag *);
void  diag_limit(Diag *, int n);        /* print at most n errors (20) .. */
void  diag_end(Diag *);                 /* .. and say how many more there are */

void diag_error(Diag *, DiagCode, Loc, const char *fmt, ...) PRINTF(4, 5);
void diag_note(Diag *, Loc, const char *fmt, ...) PRINTF(3, 4);   /* an earlier place */
void diag_fix(Diag *, const char *fmt, ...) PRINTF(2, 3);         /* after an error */
void diag_perf(Diag *, Loc, const char *fmt, ...) PRINTF(3, 4);   /* legal but slow */

/* Our own mistake: prints the text, the running pass and how to reproduce, exits with 70. */
void ice_at(const char *file, int line, const char *fmt, ...) PRINTF(3, 4) NORETURN;
#define ice(...) ice_at(__FILE__, __LINE__, __VA_ARGS__)
void ice_context(const char *pass, const char *command);        /* NULL: leave as it was */
/* Kernels were read from this file: where they do not fit, the file is wrong, status 1. */
void ice_input(const char *file);

/* The name among names[n] nearest to the given one, or NULL when none is near. */
const char *nearest_name(const char *name, const char *const *names, int n);
/* The nearest three, in words: `a`, `b` or `c`; NULL when none is near. */
const char *near_names(Arena *, const char *name, const char *const *names, int n);
/* A printable copy: control characters and invalid UTF-8 become \xNN (text from files
 * must never reach a terminal raw). */
const char *printable(Arena *, const char *s);

/* file.c: whole files in, whole files out.
 * Reading refuses what is not a regular file and what is longer than limit. */
char *file_read(Arena *, Diag *, const char *path, size_t limit, size_t *n);
/* The same, but a NUL byte is refused: a text would silently end there. */
char *file_text(Arena *, Diag *, const char *path, size_t limit);
/* Writes beside the target and renames; nothing is left behind on failure. */
bool  file_write(Diag *, const char *path, const void *data, size_t n);
/* All of it into an open file, whatever signals come; false: errno says why. */
bool  file_put(int fd, const void *data, size_t n);

/* cleanup.c: a file or an empty folder that is removed when a signal or exit() ends the
 * process; the name must stay valid until it is forgotten.  Folders before their files. */
void cleanup_file(const char *path);
void cleanup_forget(const char *path);
/* Ended first; negative: a process group; 0: there is none any more. */
void cleanup_child(int pid);
void cleanup_now(void);                 /* safe in a signal handler */

#endif
