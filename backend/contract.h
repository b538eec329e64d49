/* SPDX-License-Identifier: Apache-2.0
 * contract: what contract.c, tile.c and epilogue.c share while one contraction is emitted. */
#ifndef MOEC_CONTRACT_H
#define MOEC_CONTRACT_H

#include "emit.h"

enum { MAX_TILE_ROWS = 16, MAX_TILE_VECTORS = 16 };

typedef struct {
	Emit        *e;
	const Op    *kernel;
	const Dot   *dot;
	Level        level;             /* of its rows */
	int          range;
	const Value *a;                 /* the left operand, outside the kernel */
	bool         dispatched;        /* rows of `a` are found through the row's token */
	bool         slotted;           /* .. and its slot: `a` has one row a pick */
	Vec(const Op *) linears;        /* the streams, in order */
	const Op    *combine;           /* the sink, or NULL */
	const Op    *tail;              /* first op of the tail, or NULL */
	int64_t      n, k, kblock, cols, rblock, together;
	int          rows, streams, vectors, stream_vectors;    /* of the tile; per stream */
	Dtype        at, bt;
} Contract;

/* One tile (or one row of the finish) while its epilogue is emitted. */
typedef struct {
	Contract *c;
	Val       call, task;           /* task NULL in the finish */
	Val       row;                  /* in `over`; the finish: the token */
	Val       token;                /* the row's token where over is rows */
	Val       gate;                 /* the row's, in all lanes: where the sink is a combine */
	Val       column;               /* first column of this vector (i64) */
	Val       mask;                 /* NULL: all lanes */
	Level     level;
	Vec(const Value *) values;
	Vec(Lanes) lanes;
} Epilogue;

/* contract_check.c: ice() where IR text broke what passes promise. */
void check_contract(const Contract *);
/* bytes of a k-step of a panel, and of all of it */
int64_t contract_step_bytes(const Contract *);
int64_t contract_panel_bytes(const Contract *);
/* far: the panel lies in L2, and what comes next is fetched there.  Else it comes from memory,
 * fetched ahead line by line; and so do `panels` of them side by side, whose tasks lie one
 * behind another, because memory is read faster in several places at a time. */
typedef struct { int rows, panels; bool far; } TileShape;
/* tile.c: void tile(call, task, row, next, stride, view, list, epilogue): `rows` rows from
 * `row` on of what lies at `view`, found through `list` where they are dispatched.  far:
 * fetch `next`, `stride` bytes a step; else the start of `next` in the end. */
enum { CALL, TASK, ROW, NEXT, STRIDE, VIEW, LIST, EPILOGUE, TILE_ARGS };
Val  emit_tile(Contract *, TileShape);
/* epilogue.c */
void epilogue_bind(Epilogue *, const Value *, Lanes);
Lanes epilogue_operand(Epilogue *, const Value *);
void epilogue_run(Epilogue *, const Op *from, const Op *until); /* EW ops in between */
void epilogue_store(Epilogue *, const Op *yield);
Val  epilogue_row_token(Contract *, Val call, Val row);
Val  epilogue_slot(Contract *, Val call, Val row);
/* void epilogue(call, task, row0, row1, sums): what happens to the sums of a tile's rows,
 * [row1 - row0][vectors] whole vectors */
Val  emit_epilogue(Contract *);
Val  emit_finish(Contract *);

#endif
