/* SPDX-License-Identifier: Apache-2.0
 * memory: zeroed anonymous pages, huge ones where the kernel offers them. */
#include "internal.h"

#include <sys/mman.h>

enum { HUGE = 2 << 20 };

/* A huge page needs its alignment; what is mapped too much is given back. */
void *moert_pages(int64_t bytes)
{
	int64_t size, all;

	if (bytes <= 0 || !moert_round_up(bytes, 4096, &size))
		return NULL;
	if (!moert_add(size, size >= HUGE ? HUGE : 0, &all))
		return NULL;
	char *p = mmap(NULL, (size_t)all, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (all == size)
		return p;
	int64_t before = -(intptr_t)p & (HUGE - 1);
	if (before)
		munmap(p, (size_t)before);
	munmap(p + before + size, (size_t)(all - before - size));
	madvise(p + before, (size_t)size, MADV_HUGEPAGE);
	return p + before;
}

void moert_unpage(void *p, int64_t bytes)
{
	int64_t size;

	if (p && moert_round_up(bytes, 4096, &size))
		munmap(p, (size_t)size);
}
