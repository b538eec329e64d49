/* SPDX-License-Identifier: Apache-2.0
 * unit: a CUnit program in three lines.
 *
 *     SUITE("arena", {"grows", test_grows}, {"refuses overflow", test_overflow})
 *
 * prints what failed and closes with `N passed, N failed, N skipped`.  SKIP("no AVX-512")
 * leaves a test, SKIP_PART("x86-64-v4", "..") what it goes without; both are counted aloud. */
#ifndef MOEC_UNIT_H
#define MOEC_UNIT_H

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x)        CU_ASSERT(x)
#define MUST(x)         CU_ASSERT_FATAL(x)
#define SAME_TEXT(a, b) unit_same_text((a), (b), __FILE__, __LINE__)
/* Diagnostics: a has a code behind each error, b says what stands before it. */
#define SAME_SAID(a, b) unit_same_said((a), (b), __FILE__, __LINE__)
/* Sanitizers stand in front of the C library, and end the process where memory lacks. */
#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#define SKIP(why)       do { unit_skipped++; printf("skipped: %s\n", why); return; } while (0)
#define SKIP_PART(what, why) (unit_parts++, printf("skipped: %s: %s\n", (what), (why)))

static int unit_skipped, unit_parts;

static inline void unit_same_text(const char *a, const char *b, const char *file, int line)
{
	bool same = strcmp(a, b) == 0;
	if (!same)
		printf("%s:%d: texts differ\n--- got\n%s\n--- expected\n%s\n", file, line, a, b);
	CU_assertImplementation(same, line, "SAME_TEXT", file, "", CU_FALSE);
}

/* Without the ` [E0123]` that each line with an error must end in. */
static inline char *unit_uncoded(const char *s)
{
	char *out = malloc(strlen(s) + 20), *to = out;
	for (const char *end; *s; s = end) {
		end = s + strcspn(s, "\n");
		int n = (int)(end - s), code;
		bool error = memmem(s, (size_t)n, " error: ", 8) != NULL;
		bool coded = n > 8 && sscanf(end - 8, " [E%4d]", &code) == 1;
		end += *end == '\n';
		to += sprintf(to, "%.*s%s%s", error && coded ? n - 8 : n, s,
			      error && !coded ? " (no code)" : "", end[-1] == '\n' ? "\n" : "");
		if (error && !coded)
			break;
	}
	*to = '\0';
	return out;
}

static inline void unit_same_said(const char *a, const char *b, const char *file, int line)
{
	char *said = unit_uncoded(a);
	unit_same_text(said, b, file, line);
	free(said);
}

typedef struct { const char *name; void (*run)(void); } UnitTest;

static inline int unit_main(const char *suite_name, const UnitTest *tests, int n)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
	for (int i = 0; i < n; i++)
		CU_add_test(suite, tests[i].name, tests[i].run);
	CU_basic_set_mode(CU_BRM_SILENT);
	CU_basic_run_tests();
	CU_basic_show_failures(CU_get_failure_list());
	int failed = (int)CU_get_number_of_tests_failed();
	printf("%s: %d passed, %d failed, %d skipped\n", suite_name,
	       (int)CU_get_number_of_tests_run() - failed - unit_skipped, failed,
	       unit_skipped + unit_parts);
	CU_cleanup_registry();
	return failed != 0;
}

#define SUITE(name, ...)                                                            \
	int main(void)                                                              \
	{                                                                           \
		static const UnitTest tests[] = {__VA_ARGS__};                      \
		return unit_main(name, tests, (int)(sizeof tests / sizeof *tests)); \
	}

#endif
