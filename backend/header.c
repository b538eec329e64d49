/* SPDX-License-Identifier: Apache-2.0
 * header: the C header of a compiled layer's library.  It stands alone: hosts need no
 * file of the runtime.  Its structures are those of ../runtime/moert.h under the layer's
 * name, with its types and shapes; tests/unit/test_header.c holds the two together. */
#include "header.h"

#include <string.h>

void header_put(Header *h, const char *text)
{
	for (const char *at; (at = strchr(text, '@')); text = at + 1) {
		text_addn(h->t, text, (size_t)(at - text));
		text_add(h->t, h->name);
	}
	text_add(h->t, text);
}

static const char *c_type(Dtype t)
{
	switch (t) {
	case DT_f32:   return "float";
	case DT_f64:   return "double";
	case DT_i32:
	case DT_bool:
	case DT_index: return "int32_t";
	default:       break;
	}
	if (dtype_info[t].bits == 16)
		return "uint16_t";
	return dtype_info[t].name[0] == 'i' ? "int8_t" : "uint8_t";
}

/* A word of C or C++ cannot name a member; it gets a line behind it. */
static const char *const c_words[] = {
	"alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor",
	"bool", "break", "case", "catch", "char", "class", "compl", "const",
	"const_cast", "constexpr", "continue", "decltype", "default", "delete", "do",
	"double", "dynamic_cast", "else", "enum", "explicit", "export", "extern",
	"false", "float", "for", "friend", "goto", "if", "inline", "int", "long",
	"mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr",
	"operator", "or", "or_eq", "private", "protected", "public", "register",
	"reinterpret_cast", "restrict", "return", "short", "signed", "sizeof",
	"static", "static_assert", "static_cast", "struct", "switch", "template",
	"this", "thread_local", "throw", "true", "try", "typedef", "typeid",
	"typename", "typeof", "union", "unsigned", "using", "virtual", "void",
	"volatile", "wchar_t", "while", "xor", "xor_eq", "concept", "requires",
	"co_await", "co_return", "co_yield", "consteval", "constinit", "char8_t",
	"char16_t", "char32_t", "linux", "unix", "NULL",
};

static bool is_c_word(const char *name)
{
	for (size_t i = 0; i < COUNT(c_words); i++)
		if (strcmp(c_words[i], name) == 0)
			return true;
	return false;
}

const char *header_word(Header *h, const char **names, int n, int i)
{
	if (!names[i] || !*names[i])
		names[i] = arena_printf(h->t->arena, "y%d", i + 1);
	bool taken = is_c_word(names[i]);
	for (int j = 0; j < n; j++)
		taken = taken || (j != i && names[j] && strcmp(names[j], names[i]) == 0);
	if (!taken)
		return names[i];
	names[i] = arena_printf(h->t->arena, "%s_", names[i]);
	return header_word(h, names, n, i);
}

static const char *shape(Header *h, const Type *t)
{
	static const char *const first[] = {
		[LV_ONCE] = "", [LV_EXPERT] = "E", [LV_SEQ] = "S", [LV_TOKEN] = "T",
		[LV_ROW] = "R",
	};
	Text s = text_new(h->t->arena);
	const char *comma = *first[t->level] ? ", " : "";

	if (t->level == LV_ONCE && t->rank == 0)
		return "one value";
	text_printf(&s, "[%s", first[t->level]);
	for (int i = 0; i < t->rank; i++, comma = ", ")
		text_printf(&s, "%s%jd", comma, (intmax_t)t->dim[i]);
	text_add(&s, "]");
	return s.s;
}

static const char *described(Header *h, const Type *t)
{
	Arena *a = h->t->arena;

	if (!t)
		return "none";
	if (t->dtype == DT_index)
		return arena_printf(a, "%s, 0 to %jd, -1: none", shape(h, t),
				    (intmax_t)t->axis - 1);
	if (t->dtype == DT_bool)
		return arena_printf(a, "%s, 0 or 1", shape(h, t));
	return arena_printf(a, "%s %s", shape(h, t), dtype_info[t->dtype].name);
}

static const char *pointer(Header *h, bool constant, const Type *t)
{
	return arena_printf(h->t->arena, "%s%-*s *", constant ? "const " : "",
			    constant ? 8 : 14, t ? c_type(t->dtype) : "void");
}

static void field(Header *h, const char *type, const char *name, const char *comment)
{
	text_printf(h->t, "\t%-16s%-20s /* %s */\n", type,
		    arena_printf(h->t->arena, "%s;", name), comment);
}

static void find_given(Op *op, void *arg)
{
	Header *h = arg;
	const char *what = op->kind == OP_stop ? attr_get_str(op, "given", "") : "";

	if (op->kind == OP_group)
		h->rows += attr_get_int(op, "count", 0);
	if (attr_get_int(op, "call", -1) != h->call)
		return;
	if (strcmp(what, "pick") == 0)
		h->picks = op->outs[0];
	else if (strcmp(what, "gate") == 0)
		h->gates = op->outs[0];
}

static int noutputs(const Header *h)
{
	return h->fn->nouts - h->nlosses;
}

static int ninputs(const Header *h)
{
	return h->fn->body->nargs;
}

/* NULL: there are not so many (in a .mir file; a .moe file's layer has both). */
static const Type *input(const Header *h, int i)
{
	return i < ninputs(h) ? &h->fn->body->args[i]->type : NULL;
}

static const Type *output(const Header *h, int i)
{
	return i < noutputs(h) ? &h->fn->outs[i] : NULL;
}

Header header_of(Text *t, const Module *m, int call)
{
	const LayerCall *c = call < 0 ? NULL : &m->calls.at[call];
	Header h = {.t = t, .m = m, .name = m->name, .fn = m->fns, .call = call,
		    .width = m->width, .experts = m->experts, .nlosses = m->nlosses};

	if (c) {
		h.name = arena_printf(t->arena, "%s_%s", m->name, call_name(c->layer));
		h.fn = c->fn;
		h.width = c->width;
		h.experts = c->experts;
		h.nlosses = c->nlosses;
	}
	region_walk(h.fn->body, find_given, &h);
	return h;
}

/* ---- the parts, in their order ---------------------------------------------------- */

/* The last is the one that asks least of the CPU. */
static void put_targets(Header *h, const Module *const *variants, int n)
{
	const char *last = variants[n - 1]->target;
	const Target *least = last ? target_find(last) : NULL;

	for (int i = 0; i < n && least; i++)
		text_printf(h->t, "%s%s", i ? ", " : " for ", variants[i]->target);
	if (least)
		text_printf(h->t, "\n * (the CPU must have: %s)",
			    *least->needs ? least->needs : "nothing beyond that");
}

static void put_head(Header *h, const Module *const *variants, int n)
{
	const Module *m = h->m;

	header_put(h, "/* @, a Mixture-of-Experts layer compiled by moec");
	put_targets(h, variants, n);
	header_put(h, ".\n *\n");
	text_printf(h->t, " *     x  %s -> y  %s\n", described(h, input(h, 0)),
		    described(h, output(h, 0)));
	text_printf(h->t, " *     H = %jd wide, E = %jd experts, K = %jd picks a token\n",
		    (intmax_t)m->width, (intmax_t)m->experts, (intmax_t)m->picks);
	header_put(h,
" *\n"
" *     @_model *model;\n"
" *     @_session *session;\n"
" *     int error = @_open(\"weights.moew\", NULL, &model);\n"
" *     error = @_start(model, NULL, &session);\n"
" *     @_args args = {.size = sizeof args, .x = x, .tokens = n, .y = y};\n"
" *     error = @_run(session, &args);\n"
" *     @_end(session);\n"
" *     @_close(model);\n"
" *\n"
" * Shapes    T is the tokens of a call, S its sequences; arrays are in C order.\n"
" * Types     bf16 and f16 are kept as uint16_t, bf16 being a float's upper half.\n"
" * Units     strides are bytes; tokens, sequences and experts are counted from 0.\n"
" * Tokens    0 tokens is a valid call: it reads and writes no array of tokens.\n"
" * Alignment that of the elements; 64 bytes is best for speed.  No padding is needed.\n"
" * Aliasing  outputs must not overlap inputs or one another.\n"
" * Ownership the caller owns every array and may free it when the call returns.\n"
" *           Models and sessions belong to the library until closed and ended.\n"
" * Errors    0, or a number of the list below; @_error() says it in words.  After an\n"
" *           error of run the outputs are undefined, the session is usable.\n"
" * Threads   any number of threads may use a model; a session is used by one at a time\n"
" *           (a second one gets @_ERROR_BUSY).  No signals, locale or globals.\n"
" * Bits      the results do not depend on the number of threads.\n"
" * Structures begin with their size and grow at their ends: zero what is not set. */\n");
}

static void put_errors(Header *h)
{
	static const struct { const char *name; int n; const char *why; } errors[] = {
#define ERROR(name, number, sentence) {#name, number, sentence},
#include "../runtime/errors.def"
#undef ERROR
	};

	text_add(h->t, "\nenum {\n");
	for (size_t i = 0; i < COUNT(errors); i++)
		text_printf(h->t, "\t%s_%s%s = %d%s /* %s */\n", h->m->name,
			    errors[i].n ? "ERROR_" : "", errors[i].name, errors[i].n,
			    i + 1 < COUNT(errors) ? "," : "",
			    errors[i].why);
	header_put(h, "};\n"
	       "/* A constant sentence, for other numbers too. */\n"
	       "const char *@_error(int error);\n");
}

/* The most tokens that wait for the next call. */
static int64_t queue_of(const Module *m)
{
	for (const Op *op = m->fns->body->first; op; op = op->next)
		if (op->kind == OP_defer)
			return attr_get_int(op, "rows", 0);
	return 0;
}

void header_sizes(Header *h)
{
	const struct { const char *name; int64_t n; const char *what; } sizes[] = {
		{"WIDTH", h->width, "H, of a token"}, {"EXPERTS", h->experts, "E"},
		{"PICKS", h->picks ? type_elems(&h->picks->type) : 0, "K, of picks_in"},
		{"LOSSES", h->nlosses, "numbers behind args.losses"},
		{"EXPERT_ROWS", h->rows, "numbers behind args.expert_rows"},
	};

	text_add(h->t, "\n");
	for (size_t i = 0; i < COUNT(sizes); i++)
		text_printf(h->t, "#define %s_%s %jd /* %s */\n", h->name, sizes[i].name,
			    (intmax_t)sizes[i].n, sizes[i].what);
	if (h->call < 0 && queue_of(h->m))
		text_printf(h->t, "#define %s_QUEUE %jd /* most tokens that wait */\n", h->name,
			    (intmax_t)queue_of(h->m));
}

static void put_opening(Header *h)
{
	header_put(h,
"\n"
"typedef struct @_model @_model;         /* weights, read-only */\n"
"typedef struct @_session @_session;     /* threads and memory of calls */\n"
"\n"
"/* Bits of options.flags. */\n"
"#define @_MMAP  1     /* map the file; whoever cuts it down then kills the process */\n"
"#define @_TRUST 2     /* do not look at checksums */\n"
"\n"
"typedef struct @_options {\n"
"\tsize_t          size;\n"
"\tuint64_t        flags;\n"
"\tchar           *why;                 /* what went wrong is written there, or NULL */\n"
"\tsize_t          why_size;\n"
"\tconst char     *target;              /* of those above, this one; NULL: the best */\n"
"} @_options;\n"
"\n"
"/* Opens weights that `moec pack` wrote; options may be NULL.  On error *model is\n"
" * NULL. */\n"
"int @_open(const char *path, const @_options *options, @_model **model);\n"
"\n"
"/* A weight by its path, [n, k] in C order in the stored type; range and expert (from\n"
" * 0) are -1 for weights that exist once.  NULL: missing.  It must stay until the next\n"
" * call. */\n"
"struct moert_layer;\n"
"typedef const void *@_weight_fn(void *ctx, const struct moert_layer *layer,\n"
"\tconst char *name, int64_t range, int64_t expert);\n"
"int @_open_memory(@_weight_fn *weight, void *ctx, const @_options *options,\n"
"\t@_model **model);\n"
"\n"
"int64_t @_bytes(const @_model *model);          /* of weights in memory */\n"
"const char *@_target(const @_model *model);     /* of those above, the one in use */\n"
"void @_close(@_model *model);   /* NULL is allowed; its sessions may still be open */\n"
"const struct moert_layer *@_layer(void);        /* what the runtime knows of it */\n");
}

static void put_session(Header *h)
{
	header_put(h,
"\n"
"/* The host's own threads: runs fn(arg, 0) to fn(arg, n - 1) in any order, on any\n"
" * threads, and returns when all are done. */\n"
"typedef void @_parallel_for(void *ctx, int n, void (*fn)(void *arg, int i),\n"
"\tvoid *arg);\n"
"\n"
"/* Told of every piece of a call by the thread that did it: `step` is the kernel's name, or\n"
" * NULL where the thread waited; nanoseconds of CLOCK_MONOTONIC. */\n"
"typedef void @_span(void *ctx, int worker, const char *step, int64_t begin,\n"
"\tint64_t end);\n"
"\n"
"typedef struct @_session_options {\n"
"\tsize_t          size;\n"
"\tint64_t         threads;             /* 0: as many as the process may run on */\n"
"\t@_parallel_for *parallel_for;        /* NULL: threads of the session's own */\n"
"\tvoid           *ctx;\n"
"\t@_span         *span;                /* or NULL */\n"
"\tvoid           *span_ctx;\n"
"} @_session_options;\n"
"\n"
"int @_start(@_model *model, const @_session_options *options,\n"
"\t@_session **session);\n"
"void @_end(@_session *session);         /* NULL is allowed */\n");
	header_put(h, h->m->states.n ? "/* Forgets what is remembered of earlier calls. */\n"
			      : "/* This layer remembers nothing between calls. */\n");
	header_put(h, "void @_reset(@_session *session);       /* NULL is allowed */\n"
		   "/* The same of one sequence: its place among a call's sequences is another's\n"
		   " * from now on. */\n"
		   "void @_forget(@_session *session, int64_t sequence);\n");
}

/* Pointers in a structure: what the runtime takes as an array of them. */
static void put_arrays(Header *h, const char *what, bool in, int n)
{
	const Fn *layer = h->fn;
	const char **names = NEWN(h->t->arena, const char *, (size_t)n + 1);

	for (int i = 0; i < n; i++)
		names[i] = in ? layer->body->args[i + 1]->name
			      : layer->out_names ? layer->out_names[i + 1] : NULL;
	text_printf(h->t, "\ntypedef struct %s_%s {\n", h->name, what);
	for (int i = 0; i < n; i++) {
		const Type *t = in ? input(h, i + 1) : output(h, i + 1);
		field(h, pointer(h, in, t), header_word(h, names, n, i), described(h, t));
	}
	text_printf(h->t, "} %s_%s;\n", h->name, what);
}

static void put_further(Header *h)
{
	if (ninputs(h) > 1) {
		header_put(h, "\n/* The inputs after x: all are needed, dense. */");
		put_arrays(h, "inputs", true, ninputs(h) - 1);
	}
	if (noutputs(h) > 1) {
		header_put(h, "\n/* The outputs after y: dense; NULL: not wanted. */");
		put_arrays(h, "outputs", false, noutputs(h) - 1);
	}
}

static void put_routing(Header *h)
{
	Arena *a = h->t->arena;
	const char *in = "no routing to give: NULL", *gates_in = in;
	const char *out = "none to read: NULL", *gates_out = out;

	if (h->picks) {
		in = arena_printf(a, "routing given: %s", described(h, &h->picks->type));
		out = arena_printf(a, "routing that ran: %s", shape(h, &h->picks->type));
	}
	if (h->gates) {
		gates_out = shape(h, &h->gates->type);
		gates_in = arena_printf(a, "%s, with picks_in", gates_out);
	}
	field(h, "const int32_t  *", "picks_in", in);
	field(h, "const float    *", "gates_in", gates_in);
	field(h, "int32_t        *", "picks_out", out);
	field(h, "float          *", "gates_out", gates_out);
}

static void put_optional(Header *h)
{
	field(h, "int64_t", "x_stride, y_stride", "bytes from row to row; 0: dense");
	field(h, "int64_t", "nseq", "S; 0: all tokens are one sequence");
	field(h, "const int64_t  *", "seq", "[nseq + 1] first token of each, and T");
	field(h, "const int64_t  *", "seen", "[S] tokens each had before; NULL: none");
	field(h, "uint64_t", "seed", "of random draws");
	field(h, "const double   *", "step", "of training; NULL: training is over");
}

/* What a host of a single layer has no need of. */
static void put_last(Header *h)
{
	bool calls = h->call < 0 && h->m->calls.n;

	field(h, calls ? arena_printf(h->t->arena, "const %s_routing *", h->name)
		       : "const void     *",
	      "routing", calls ? "[CALLS] of the layers called; NULL: none" : "none: NULL");
	field(h, "int64_t        *", "expert_rows",
	      h->rows ? "[EXPERT_ROWS] rows of each expert; NULL: not counted"
		      : "none: NULL");
	bool waits = h->call < 0 && queue_of(h->m);
	field(h, "int64_t        *", "arrivals",
	      waits ? "[T + waiting] whose each row of results is; NULL: nobody waits"
		    : "none: NULL");
	field(h, "int64_t        *", "queue",
	      waits ? "[4] so far: arrived, processed, waiting, dropped" : "none: NULL");
}

void header_args(Header *h)
{
	Arena *a = h->t->arena;
	bool in = ninputs(h) > 1, out = noutputs(h) > 1;
	const char *name = h->name;

	put_further(h);
	header_put(h, "\ntypedef struct @_args {\n");
	field(h, "size_t", "size", "sizeof the structure");
	field(h, pointer(h, true, input(h, 0)), "x", described(h, input(h, 0)));
	field(h, "int64_t", "tokens", "T, 0 to 2^31 - 1");
	field(h, pointer(h, false, output(h, 0)), "y", described(h, output(h, 0)));
	header_put(h, "\t/* optional from here on: 0 or NULL */\n");
	put_optional(h);
	put_routing(h);
	field(h, "float          *", "losses",
	      h->nlosses ? arena_printf(a, "[%d]; NULL: not computed", h->nlosses)
			 : "none: NULL");
	field(h, in ? arena_printf(a, "const %s_inputs *", name) : "const void *const *",
	      "inputs", in ? "needed, unless T is 0" : "none: NULL");
	field(h, out ? arena_printf(a, "const %s_outputs *", name) : "void *const *",
	      "outputs", out ? "NULL: none is wanted" : "none: NULL");
	put_last(h);
	header_put(h, "} @_args;\n\n");
}

static void put_run(Header *h)
{
	const Module *m = h->m;

	if (m->group > 0)
		text_printf(h->t, "/* In groups of %jd tokens. */\n", (intmax_t)m->group);
	else if (m->group < 0)
		header_put(h, "/* Each sequence is worked on alone. */\n");
	header_put(h, "int @_run(@_session *session, const @_args *args);\n");
}

void backend_header(Text *t, const Module *const *variants, int n)
{
	const Module *m = variants[0];
	Header h = header_of(t, m, -1);

	put_head(&h, variants, n);
	header_put(&h, "#ifndef MOEC_@_H\n#define MOEC_@_H\n\n"
		"#include <stddef.h>\n#include <stdint.h>\n\n"
		"#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
	put_errors(&h);
	header_sizes(&h);
	put_opening(&h);
	put_session(&h);
	header_calls(&h);
	header_args(&h);
	put_run(&h);
	header_call_runs(&h);
	header_put(&h, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
