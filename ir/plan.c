/* SPDX-License-Identifier: Apache-2.0
 * plan: the words of its settings. */
#include "plan.h"

const char *const tile_words[TILE_COUNT] = {"rows", "columns", "kblock", "rblock",
						 "panels"};
