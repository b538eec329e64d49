/* SPDX-License-Identifier: Apache-2.0
 * plan: how a layer is to be compiled, as its user says; never what it computes. */
#ifndef MOEC_PLAN_H
#define MOEC_PLAN_H

#include "base.h"

typedef enum {
	TILE_ROWS, TILE_COLUMNS, TILE_KBLOCK, TILE_RBLOCK, TILE_PANELS, TILE_COUNT
} TileKind;
extern const char *const tile_words[TILE_COUNT];        /* rows, columns, .. */

/* tile.columns = 48, or of the contractions with one weight: tile.columns.down = 48 */
typedef struct {
	TileKind    kind;
	const char *param;              /* NULL: of all contractions */
	int64_t     value;
	Loc         loc;
	bool        met, refused;       /* there is such a contraction; it was told */
} TileSetting;

typedef struct {
	Vec(TileSetting) tiles;         /* the last of equals counts */
	bool applied;
} Plan;

#endif
