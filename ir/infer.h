/* SPDX-License-Identifier: Apache-2.0
 * infer: what the rules of infer.c and infer_shape.c share. */
#ifndef MOEC_INFER_H
#define MOEC_INFER_H

#include "ir.h"

typedef struct {
	Arena *arena;
	Op    *op;
	const char **why;
} Inference;
typedef bool Rule(Inference *);

/* infer.c.  What returns bool says why when it is false. */
bool        refuse(Inference *, const char *fmt, ...) PRINTF(2, 3);
const char *shown(Inference *, const Type *);
const Type *arg(const Inference *, int i);
bool        result(Inference *, const Type *like, Dtype);       /* true */
bool        numbers(Inference *);                       /* all operands are */
bool        has_axes(Inference *, int arg, int n);      /* at least n */
bool        join_levels(Inference *, Type *out, const Type *a, const Type *b);
bool        same_axis(Inference *, const Type *a, const Type *b);
Dtype       join_dtype(Dtype, Dtype, Level);
void        drop_axis(Type *, int axis);

/* infer_shape.c: entries moved, chosen, contracted */
Rule infer_transpose, infer_slice, infer_concat, infer_gather, infer_take, infer_onehot,
     infer_mask, infer_linear, infer_matmul;

#endif
