/* SPDX-License-Identifier: Apache-2.0
 * moe.y: the grammar of docs/language.md, LALR(1) without conflicts. */
%define api.pure full
%define api.prefix {moe_}
%define api.token.prefix {T_}
%define api.location.type {Loc}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Syntax *sx}

%code requires {
#include "ast.h"
typedef struct Syntax Syntax;
}
%code provides {
int  moe_lex(MOE_STYPE *, Loc *, Syntax *);
void moe_error(const Loc *, Syntax *, const char *);
}
%code {
#include "syntax.h"
#include <string.h>

/* The stack is bounded, and so is what a hostile file makes us allocate. */
#define YYMAXDEPTH 4096
#define YYSTACK_USE_ALLOCA 0
/* A location lies on one line: the rest of a longer construct is not underlined.  An
 * empty rule is nowhere (line 0). */
#define YYLLOC_DEFAULT(cur, rhs, n) ((cur) = span((rhs), (n)))

static Loc span(const Loc *rhs, int n);
static Node *leaf(Syntax *, NodeKind, Loc, const char *s);
static Node *node1(Syntax *, NodeKind, Loc, const char *s, Node *);
static Node *node2(Syntax *, NodeKind, Loc, const char *s, Node *, Node *);
static Node *node3(Syntax *, NodeKind, Loc, Node *, Node *, Node *);
static Node *binary(Syntax *, Operator, Loc, Node *, Node *);
static Node *list(Syntax *, NodeKind, Loc, Node *first);
static Node *append(Syntax *, Node *, Node *kid);
static Node *adopt(Syntax *, Node *to, const Node *from);
static Node *become(NodeKind, Loc, Node *);
static Node *add_name(Syntax *, Node *, const char *, Loc);
static Node *call_args(Syntax *, Node *, Node *arg);
static Node *state(Syntax *, Loc, const char *name, Node *type, Node *init,
		   const char *per, Loc at);
static Node *call_statement(Syntax *, Loc, const char *name, Loc at, Node *args);
}

%union {
	Node       *node;
	const char *s;
}

%token END 0 "the end of the file"
%token <s> NAME "a name"
%token <node> NUMBER "a number"
%token <s> STRING "a string"
/* The reserved words, in one row: is_reserved() asks for the range. */
%token IMPORT "import" DEF "def" POLICY "policy" EXPERT "expert" LAYER "layer"
%token MODEL "model" FAMILY "family" PLAN "plan"
%token INPUT "input" PARAM "param" STATE "state" NEXT "next"
%token PER "per" EXPERTS "experts" OF "of" ROUTE "route" OUTPUT "output" LOSS "loss"
%token GROUP "group" DEFER "defer" CAUSAL "causal" WEIGHTS "weights" LAYERS "layers"
%token WHEN "when" IF "if" ELSE "else" FOR "for" IN "in" REPEAT "repeat" UNTIL "until"
%token RETURN "return" AND "and" OR "or" NOT "not" TRUE "true" FALSE "false" NONE "none"
%token DEFAULT "??" LE "<=" GE ">=" EQ "==" NE "!="
/* No text can spell these: the scanner has said what is wrong; recovery goes on here. */
%token BAD RESYNC
/* `layer` and `expert` that begin a line of the file begin a definition, `route` without a
 * dot that begins a line a statement, whatever stands before: no expression is so. */
%token ITEM_LAYER ITEM_EXPERT ROUTE_TO

%right     DEFAULT
%left      OR
%left      AND
%precedence NOT
%nonassoc  '<' '>' LE GE EQ NE
%left      '+' '-'
%left      '*' '/' '@' '%'
%precedence NEG

%type <node> import constant function params param_list param body
%type <node> layer when family family_items family_item plan block stmts stmt init if_rest
%type <node> experts_of settings setting setting_else path type names exprs args
%type <node> arg_list arg subs sub part expr postfix primary

%%

file: items

items: %empty
  | items item
  | items error RESYNC          { yyerrok; syntax_lost(sx, sx->root, @2); }

item: import                    { syntax_read(sx, sx->root, $1); }
  | constant                    { syntax_read(sx, sx->root, $1); }
  | function                    { syntax_read(sx, sx->root, $1); }
  | layer                       { syntax_read(sx, sx->root, $1); }
  | family                      { syntax_read(sx, sx->root, $1); }
  | plan                        { syntax_read(sx, sx->root, $1); }

import: IMPORT STRING           { $$ = leaf(sx, N_IMPORT, @$, $2); }

constant: NAME '=' expr
    { $$ = add_name(sx, node1(sx, N_BIND, @$, NULL, $3), $1, @1); }

function: DEF NAME params body
    { $$ = append(sx, become(N_DEF, @2, $3), $4); $$->s = $2; }
  | POLICY NAME params body
    { $$ = append(sx, become(N_POLICY, @2, $3), $4); $$->s = $2; }
  | expert_word NAME params body
    { $$ = append(sx, become(N_EXPERT_FN, @2, $3), $4); $$->s = $2; }

params: '(' ')'                 { $$ = list(sx, N_LIST, @$, NULL); }
  | '(' param_list ')'          { $$ = $2; }

param_list: param               { $$ = list(sx, N_LIST, @$, $1); }
  | param_list ',' param        { $$ = append(sx, $1, $3); }

param: NAME                     { $$ = leaf(sx, N_ARG, @$, $1); }
  | NAME '=' expr               { $$ = node1(sx, N_ARG, @$, $1, $3); }

body: block
  | '=' expr
    { $$ = list(sx, N_BLOCK, @2, node1(sx, N_RETURN, @2, NULL, $2)); }

layer: layer_word NAME when block    { $$ = node2(sx, N_LAYER_DEF, @2, $2, $3, $4); }
  | MODEL NAME when block       { $$ = node2(sx, N_MODEL, @2, $2, $3, $4); }

layer_word: LAYER | ITEM_LAYER
expert_word: EXPERT | ITEM_EXPERT

when: %empty                    { $$ = NULL; }
  | WHEN expr                   { $$ = $2; }

family: FAMILY names '{' family_items '}'
    { $$ = adopt(sx, become(N_FAMILY, @2, $2), $4); }

family_items: %empty            { $$ = list(sx, N_LIST, @$, NULL); }
  | family_items family_item    { $$ = append(sx, $1, $2); }
  | family_items error RESYNC   { yyerrok; $$ = $1; }

family_item: constant
  | LAYERS arg_list             { $$ = become(N_LAYERS, @$, $2); }
  | NAME '(' args ')'           { $$ = call_statement(sx, @$, $1, @1, $3); }
  | layer

plan: PLAN NAME '{' settings '}'
    { $$ = adopt(sx, leaf(sx, N_PLAN, @2, $2), $4); }

block: '{' stmts '}'            { $$ = $2; $$->loc = @$; }

stmts: %empty                   { $$ = list(sx, N_BLOCK, @$, NULL); }
  | stmts stmt                  { $$ = syntax_read(sx, $1, $2); }
  | stmts error RESYNC          { yyerrok; $$ = syntax_lost(sx, $1, @2); }

stmt: names '=' expr            { $$ = append(sx, become(N_BIND, @$, $1), $3); }
  | NAME '(' args ')'           { $$ = call_statement(sx, @$, $1, @1, $3); }
  | NEXT NAME '=' expr          { $$ = node1(sx, N_NEXT, @$, $2, $4); }
  | RETURN exprs                { $$ = become(N_RETURN, @$, $2); }
  | INPUT NAME ':' type         { $$ = node1(sx, N_INPUT, @$, $2, $4); }
  | PARAM NAME ':' type init    { $$ = node2(sx, N_PARAM, @$, $2, $4, $5); }
  | STATE NAME ':' type init PER NAME   { $$ = state(sx, @$, $2, $4, $5, $7, @7); }
  | IF expr block if_rest       { $$ = node3(sx, N_IF, @$, $2, $3, $4); }
  | FOR NAME IN expr block      { $$ = node2(sx, N_FOR, @$, $2, $4, $5); }
  | REPEAT expr block           { $$ = node3(sx, N_REPEAT, @$, $2, NULL, $3); }
  | REPEAT expr UNTIL expr block        { $$ = node3(sx, N_REPEAT, @$, $2, $4, $5); }
  | EXPERTS experts_of          { $$ = become(N_EXPERTS_OF, @$, $2); }
  | ROUTE expr                  { $$ = node1(sx, N_ROUTE_BY, @$, NULL, $2); }
  | ROUTE_TO expr               { $$ = node1(sx, N_ROUTE_BY, @$, NULL, $2); }
  | OUTPUT exprs                { $$ = become(N_OUTPUT, @$, $2); }
  | LOSS expr                   { $$ = node1(sx, N_LOSS, @$, NULL, $2); }
  | GROUP expr                  { $$ = node1(sx, N_GROUP, @$, NULL, $2); }
  | DEFER expr ',' expr         { $$ = node2(sx, N_DEFER, @$, NULL, $2, $4); }
  | CAUSAL                      { $$ = leaf(sx, N_CAUSAL, @$, NULL); }
  | WEIGHTS expr '{' settings '}'
    { $$ = adopt(sx, node1(sx, N_WEIGHTS, @$, NULL, $2), $4); }

init: %empty                    { $$ = NULL; }
  | '=' expr                    { $$ = $2; }

if_rest: %empty                 { $$ = NULL; }
  | ELSE block                  { $$ = $2; }
  | ELSE IF expr block if_rest  { $$ = node3(sx, N_IF, @$, $3, $4, $5); }

experts_of: expr OF expr
    { $$ = append(sx, list(sx, N_LIST, @$, $1), $3); }
  | experts_of ',' expr OF expr { $$ = append(sx, append(sx, $1, $3), $5); }

settings: %empty                { $$ = list(sx, N_BLOCK, @$, NULL); }
  | settings setting            { $$ = append(sx, $1, $2); }
  | settings error RESYNC       { yyerrok; $$ = $1; }

setting: path '=' expr          { $$ = node2(sx, N_SET, @$, NULL, $1, $3); }
  | IF expr '{' settings '}' setting_else
    { $$ = node3(sx, N_IF, @$, $2, $4, $6); }

setting_else: %empty            { $$ = NULL; }
  | ELSE '{' settings '}'       { $$ = $3; }

path: NAME                      { $$ = leaf(sx, N_NAME, @$, $1); }
  | path '.' NAME               { $$ = node1(sx, N_FIELD, @$, $3, $1); }
  | path '[' subs ']'
    { $$ = adopt(sx, node1(sx, N_SUBSCRIPT, @$, NULL, $1), $3); }

type: NAME                      { $$ = leaf(sx, N_TYPE, @$, $1); }
  | NAME '[' exprs ']'          { $$ = become(N_TYPE, @$, $3); $$->s = $1; }

names: NAME                     { $$ = add_name(sx, list(sx, N_LIST, @$, NULL), $1, @1); }
  | names ',' NAME              { $$ = add_name(sx, $1, $3, @3); }

exprs: expr                     { $$ = list(sx, N_LIST, @$, $1); }
  | exprs ',' expr              { $$ = append(sx, $1, $3); }

args: %empty                    { $$ = list(sx, N_LIST, @$, NULL); }
  | arg_list

arg_list: arg                   { $$ = list(sx, N_LIST, @$, $1); }
  | arg_list ',' arg            { $$ = call_args(sx, $1, $3); }

arg: expr
  | NAME ':' expr               { $$ = node1(sx, N_NAMED, @$, $1, $3); }

subs: sub                       { $$ = list(sx, N_LIST, @$, $1); }
  | subs ',' sub                { $$ = append(sx, $1, $3); }

sub: expr
  | part ':' part               { $$ = node3(sx, N_SLICE, @$, $1, $3, NULL); }
  | part ':' part ':' expr      { $$ = node3(sx, N_SLICE, @$, $1, $3, $5); }

part: %empty                    { $$ = NULL; }
  | expr

expr: postfix
  | expr DEFAULT expr           { $$ = binary(sx, O_ELSE, @$, $1, $3); }
  | expr OR expr                { $$ = binary(sx, O_OR, @$, $1, $3); }
  | expr AND expr               { $$ = binary(sx, O_AND, @$, $1, $3); }
  | expr '<' expr               { $$ = binary(sx, O_LT, @$, $1, $3); }
  | expr '>' expr               { $$ = binary(sx, O_GT, @$, $1, $3); }
  | expr LE expr                { $$ = binary(sx, O_LE, @$, $1, $3); }
  | expr GE expr                { $$ = binary(sx, O_GE, @$, $1, $3); }
  | expr EQ expr                { $$ = binary(sx, O_EQ, @$, $1, $3); }
  | expr NE expr                { $$ = binary(sx, O_NE, @$, $1, $3); }
  | expr '+' expr               { $$ = binary(sx, O_ADD, @$, $1, $3); }
  | expr '-' expr               { $$ = binary(sx, O_SUB, @$, $1, $3); }
  | expr '*' expr               { $$ = binary(sx, O_MUL, @$, $1, $3); }
  | expr '/' expr               { $$ = binary(sx, O_DIV, @$, $1, $3); }
  | expr '%' expr               { $$ = binary(sx, O_MOD, @$, $1, $3); }
  | expr '@' expr               { $$ = binary(sx, O_MATMUL, @$, $1, $3); }
  | NOT expr                    { $$ = node1(sx, N_UNARY, @$, NULL, $2); $$->op = O_NOT; }
  | '-' expr %prec NEG          { $$ = node1(sx, N_UNARY, @$, NULL, $2); $$->op = O_NEG; }

postfix: primary
  | postfix '.' NAME            { $$ = node1(sx, N_FIELD, @$, $3, $1); }
  | postfix '[' subs ']'
    { $$ = adopt(sx, node1(sx, N_SUBSCRIPT, @$, NULL, $1), $3); }
  | postfix '(' args ')'        { $$ = adopt(sx, node1(sx, N_CALL, @$, NULL, $1), $3); }

primary: NAME                   { $$ = leaf(sx, N_NAME, @$, $1); }
  | NUMBER
  | STRING                      { $$ = leaf(sx, N_STRING, @$, $1); }
  | TRUE                        { $$ = leaf(sx, N_TRUE, @$, NULL); }
  | FALSE                       { $$ = leaf(sx, N_FALSE, @$, NULL); }
  | NONE                        { $$ = leaf(sx, N_NONE, @$, NULL); }
  | EXPERTS                     { $$ = leaf(sx, N_EXPERTS, @$, NULL); }
  | EXPERT                      { $$ = leaf(sx, N_EXPERT, @$, NULL); }
  | ROUTE                       { $$ = leaf(sx, N_ROUTE, @$, NULL); }
  | LAYER                       { $$ = leaf(sx, N_LAYER, @$, NULL); }
  | '(' expr ')'                { $$ = $2; $$->loc = @$; }
  | '[' exprs ']'               { $$ = become(N_LIST, @$, $2); }

%%

static Loc span(const Loc *rhs, int n)
{
	Loc all = {0};
	for (int i = 1; i <= n; i++) {
		if (all.line == 0)
			all = rhs[i];
		else if (rhs[i].line == all.line && rhs[i].end > all.end)
			all.end = rhs[i].end;
	}
	return all;
}

static Node *leaf(Syntax *sx, NodeKind kind, Loc loc, const char *s)
{
	Node *n = node_new(sx->arena, kind, loc);
	n->s = s;
	return n;
}

static Node *append(Syntax *sx, Node *n, Node *kid)
{
	node_add(sx->arena, n, kid);
	return syntax_bound(sx, n);
}

static Node *node1(Syntax *sx, NodeKind kind, Loc loc, const char *s, Node *a)
{
	return append(sx, leaf(sx, kind, loc, s), a);
}

static Node *node2(Syntax *sx, NodeKind kind, Loc loc, const char *s, Node *a, Node *b)
{
	return append(sx, node1(sx, kind, loc, s, a), b);
}

static Node *node3(Syntax *sx, NodeKind kind, Loc loc, Node *a, Node *b, Node *c)
{
	return append(sx, node2(sx, kind, loc, NULL, a, b), c);
}

static Node *binary(Syntax *sx, Operator op, Loc loc, Node *a, Node *b)
{
	Node *n = node2(sx, N_BINARY, loc, NULL, a, b);
	n->op = op;
	return n;
}

static Node *list(Syntax *sx, NodeKind kind, Loc loc, Node *first)
{
	Node *n = node_new(sx->arena, kind, loc);
	return first ? append(sx, n, first) : n;
}

static Node *adopt(Syntax *sx, Node *to, const Node *from)
{
	for (int i = 0; i < from->nkids; i++)
		node_add(sx->arena, to, from->kids[i]);
	return syntax_bound(sx, to);
}

/* A list turns into the construct that it was the list of. */
static Node *become(NodeKind kind, Loc loc, Node *n)
{
	n->kind = kind;
	n->loc = loc;
	return n;
}

static Node *add_name(Syntax *sx, Node *n, const char *name, Loc loc)
{
	Vec(const char *) names = {n->names, n->nnames, n->names_cap};
	Vec(Loc) locs = {n->name_locs, n->nnames, n->names_cap};
	vec_push(sx->arena, &names, name);
	vec_push(sx->arena, &locs, loc);
	n->names = names.at;
	n->name_locs = locs.at;
	n->nnames = names.n;
	n->names_cap = names.cap;
	return n;
}

static Node *call_args(Syntax *sx, Node *args, Node *arg)
{
	if (arg->kind != N_NAMED && args->kids[args->nkids - 1]->kind == N_NAMED) {
		syntax_error(sx, E_argument_order, arg->loc,
			     "an argument by place after one by name");
		diag_fix(sx->diag, "put it before, or give its name too");
	}
	return append(sx, args, arg);
}

static Node *state(Syntax *sx, Loc loc, const char *name, Node *type, Node *init,
		   const char *per, Loc at)
{
	Node *n = node2(sx, N_STATE, loc, name, type, init);
	n->s2 = per;
	if (strcmp(per, "sequence") && strcmp(per, "call") && strcmp(per, "step")) {
		syntax_error(sx, E_state_period, at,
			     "a state does not change per %s", per);
		diag_fix(sx->diag, "it is `per sequence`, `per call` or `per step`");
	}
	return n;
}

/* Only `require` is called for what it does; any other call has a value to be used. */
static Node *call_statement(Syntax *sx, Loc loc, const char *name, Loc at, Node *args)
{
	Node *call = node1(sx, N_CALL, loc, NULL, leaf(sx, N_NAME, at, name));
	if (strcmp(name, "require")) {
		syntax_error(sx, E_unused_call, loc,
			     "nobody uses the value of this call of %s", name);
		diag_fix(sx->diag, "bind it to a name: `y = %s(..)`", name);
	}
	return node1(sx, N_BIND, loc, NULL, adopt(sx, call, args));
}

static int yyreport_syntax_error(const yypcontext_t *context, Syntax *sx)
{
	yysymbol_kind_t symbols[YYNTOKENS];
	const char *want[YYNTOKENS];
	int n = yypcontext_expected_tokens(context, symbols, YYNTOKENS);
	for (int i = 0; i < n; i++) {
		const char *s = yysymbol_name(symbols[i]);     /* of one character: 'c' */
		want[i] = *s == '\'' ? arena_strndup(sx->arena, s + 1, 1) : s;
	}
	syntax_unexpected(sx, want, n);
	return 0;
}
