/* SPDX-License-Identifier: Apache-2.0
 * ast: what the parser makes of a .moe file and the elaborator reads. */
#ifndef MOEC_AST_H
#define MOEC_AST_H

#include "../ir/base.h"

typedef enum {
	/* expressions */
	N_NAME,         /* s */
	N_NUMBER,       /* f; is_int tells 12 from 12.0 */
	N_STRING,       /* s, escapes done, {name} kept for the elaborator */
	N_TRUE, N_FALSE, N_NONE,
	N_EXPERTS, N_EXPERT, N_ROUTE, N_LAYER,          /* the reserved words as values */
	N_LIST,         /* kids: entries */
	N_UNARY,        /* op; kids[0] */
	N_BINARY,       /* op; kids[0], kids[1] */
	N_FIELD,        /* kids[0] . s */
	N_SUBSCRIPT,    /* kids[0] [ kids[1..] ]; each an expression or N_SLICE */
	N_SLICE,        /* kids[0..2]: start, stop, step; NULL where left out */
	N_CALL,         /* kids[0] ( kids[1..] ); each an expression or N_NAMED */
	N_NAMED,        /* s : kids[0] */
	N_TYPE,         /* s [ kids ] */
	/* statements */
	N_BIND,         /* names = kids[0]; no names: a call of require standing alone */
	N_NEXT,         /* next s = kids[0] */
	N_RETURN,       /* kids */
	N_INPUT,        /* s : kids[0] */
	N_PARAM,        /* s : kids[0] [= kids[1]] */
	N_STATE,        /* s : kids[0] [= kids[1]] per s2 */
	N_IF,           /* kids[0] condition, kids[1] block, kids[2] block, N_IF or NULL */
	N_FOR,          /* s in kids[0], kids[1] block */
	N_REPEAT,       /* kids[0] rounds, kids[1] until or NULL, kids[2] block */
	N_EXPERTS_OF,   /* kids: count, call, count, call, .. */
	N_ROUTE_BY,     /* kids[0] */
	N_OUTPUT,       /* kids */
	N_LOSS,         /* kids[0] */
	N_GROUP,        /* kids[0]; the word `sequence` is an N_NAME */
	N_DEFER,        /* kids[0] condition, kids[1] rows */
	N_CAUSAL,
	N_WEIGHTS,      /* kids[0] prefix, kids[1..] settings (N_SET or N_IF) */
	N_SET,          /* kids[0] path (N_NAME, N_FIELD, N_SUBSCRIPT), kids[1] value */
	N_LAYERS,       /* in a family: kids: expressions or N_NAMED */
	N_BLOCK,        /* kids: statements */
	N_LOST,         /* names: the words of what could not be read, statement or item;
			 * s: nothing behind it was read */
	/* top level */
	N_FILE,         /* kids: what stands in the file, in order */
	N_IMPORT,       /* s */
	N_DEF, N_POLICY, N_EXPERT_FN,   /* s; kids: N_ARG.., last kid the N_BLOCK body */
	N_ARG,          /* s [= kids[0]] */
	N_LAYER_DEF, N_MODEL,           /* s; kids[0] the `when` or NULL, kids[1] block */
	N_FAMILY,       /* names; kids: N_BIND, N_LAYERS, N_LAYER_DEF */
	N_PLAN,         /* s; kids: N_SET, N_IF */
} NodeKind;

/* Operators, as written.  The table gives the parser its precedence (loosest first) and
 * everybody the spelling. */
typedef enum {
	O_ELSE /* ?? */, O_OR, O_AND, O_NOT, O_LT, O_GT, O_LE, O_GE, O_EQ, O_NE,
	O_ADD, O_SUB, O_MUL, O_DIV, O_MOD, O_MATMUL, O_NEG,
	O_COUNT
} Operator;
extern const char *const operator_text[O_COUNT];

typedef struct Node Node;
struct Node {
	NodeKind     kind;
	Operator     op;
	bool         is_int;
	double       f;
	const char  *s, *s2;
	const char **names;             /* N_BIND, N_FAMILY, N_LOST */
	Loc         *name_locs;
	int          nnames, names_cap;
	Node       **kids;
	int          nkids;
	int          depth;             /* of the tree below, bounded by the parser */
	Loc          loc;               /* from first to last character (on its first line) */
};

enum { MOE_BYTES = 16 << 20 };          /* the longest text */
/* moe.y: NULL only when the file cannot be read at all; with syntax errors what could be
 * recovered is returned and diag_errors() is not 0. */
Node *parse_moe(Arena *, Diag *, const char *file, const char *text);
/* ast.c */
Node *node_new(Arena *, NodeKind, Loc);
void  node_add(Arena *, Node *, Node *kid);
void  print_ast(Text *, const Node *);  /* one line a node, indented; for tests */

#endif
