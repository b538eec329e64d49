// libs: frontend
/* SPDX-License-Identifier: Apache-2.0
 * A layer of a family, written as a .moe of its own, lowers to the same IR without
 * config.json. */
#include "../../frontend/frontend.h"
#include "unit.h"

#include <stdlib.h>

static const char family[] =
	"low = -1.5\n"
	"def fp8(w) = w * blockwise(w + \"_scale_inv\", 128, 128) ?? w\n"
	"def squash(v, by = low) = max(v, by) / (1 + exp(-(v - by)))\n"
	"def times() { if config.wide { return 2 } else { return layer + 1 } }\n"
	"expert odd(x, hidden) = linear(squash(linear(x, hidden, \"up\")), width, \"down\")\n"
	"policy first(x, k, scale) {\n"
	"  p    = sigmoid(router(x)) * (scale + config.text.eps)\n"
	"  pick = top(k, p)\n"
	"  return pick, p[pick]\n"
	"}\n"
	"family strange {\n"
	"  c = config.text ?? config\n"
	"  shared = c.shared ?? 0\n"
	"  layers config.n + 1\n"
	"  layer moe when layer > 0 {\n"
	"    require(c.act == \"odd\", \"only odd\")\n"
	"    input   x: stored[T, c.hidden]\n"
	"    half = c.hidden / 2\n"
	"    experts (c.experts[layer] ?? c.experts) of odd(half)\n"
	"    if c.kind == \"plain\" { route softmax_topk(c.k) } else {\n"
	"      route first(c.k, scale: -c.scale)\n"
	"    }\n"
	"    u = x\n"
	"    if shared > 1 { u = u - 1 } else if shared == 1 { t = 2 * x  u = t + u }\n"
	"    if sum(u) > 0 { u = -(u - 1) * times() }\n"
	"    y = weight @ experts(pick, u)\n"
	"    output  y, not (sum(y) > half or sum(y) < c.k % 3), route.p\n"
	"    loss    c.coef * z(route.p)\n"
	"    weights \"m.{layer}.\" {\n"
	"      router = fp8(\"gate_{half}\")\n"
	"      if c.kind == \"plain\" { up = \"no\" } else {\n"
	"        up = transpose(\"w\"[expert, :, 0::2]) + 2 * \"b_{layer}\"\n"
	"      }\n"
	"      down = \"e.{expert}.\\\"w{layer}\\\"\"\n"
	"    }\n"
	"  }\n"
	"}\n";

static const char config[] =
	"{\"model_type\": \"strange\", \"n\": 3, \"wide\": false, \"text\": {\"act\": \"odd\","
	" \"hidden\": 8, \"experts\": [4, 5, 6], \"kind\": \"odd\", \"k\": 2, \"shared\": 1,"
	" \"scale\": 0.1, \"eps\": 1e-06, \"coef\": 0.001}}";

static const char expected[] =
	"\nlayer moe {\n"
	"  input   x: bf16[T, 8]\n"
	"  experts 6 of odd(4)\n"
	"  route   first(2, scale: -0.1)\n"
	"  u = x\n"
	"  if true {\n"
	"    t = 2 * x\n"
	"    u = t + u\n"
	"  }\n"
	"  if sum(u) > 0 {\n"
	"    u = -(u - 1) * 3\n"
	"  }\n"
	"  y = weight @ experts(pick, u)\n"
	"  output  y, not (sum(y) > 4 or sum(y) < 2), route.p\n"
	"  loss    0.001 * z(route.p)\n"
	"  weights \"m.2.\" {\n"
	"    router = fp8(\"gate_4\")\n"
	"    up     = transpose(\"w\"[expert, :, 0::2]) + 2 * \"b_2\"\n"
	"    down   = \"e.{expert}.\\\"w2\\\"\"\n"
	"  }\n"
	"}\n"
	"\nexpert odd(x, hidden) {\n"
	"  return linear(squash(linear(x, hidden, \"up\")), width, \"down\")\n"
	"}\n"
	"\npolicy first(x, k, scale) {\n"
	"  p = sigmoid(router(x)) * (scale + 1e-06)\n"
	"  pick = top(k, p)\n"
	"  return pick, p[pick]\n"
	"}\n"
	"\ndef fp8(w) {\n"
	"  return w * blockwise(w + \"_scale_inv\", 128, 128) ?? w\n"
	"}\n"
	"\ndef squash(v, by = -1.5) {\n"
	"  return max(v, by) / (1 + exp(-(v - by)))\n"
	"}\n";

static char *ir_of(Arena *a, Diag *d, const FeOptions *o)
{
	Text t = text_new(a);
	Module *m = fe_compile(a, d, o);

	MUST(m != NULL);
	print_module(&t, m);
	return t.s;
}

static void test_text(void)
{
	Arena *a = arena_new();
	Diag *d = diag_new(a, stdout);
	json_error_t error;
	FeOptions o = {.file = "strange.moe", .text = family, .losses = true, .layer = "2",
		       .config = json_loads(config, 0, &error), .config_file = "config.json"};

	MUST(o.config != NULL);
	const char *text = fe_import(a, d, &o);
	MUST(text != NULL);
	SAME_TEXT(text, expected);
	FeOptions again = {.file = "again.moe", .text = text, .losses = true};
	SAME_TEXT(ir_of(a, d, &again), ir_of(a, d, &o));
	json_decref(o.config);
	arena_free(a);
}

/* The families that moec carries or has as programs. */
static void check_file(const char *file, const char *json, const char *layer)
{
	Arena *a = arena_new();
	Diag *d = diag_new(a, stdout);
	const char *slash = strrchr(__FILE__, '/');
	char *path = arena_printf(a, "%.*s/../../%s", (int)(slash - __FILE__), __FILE__, file);
	json_error_t error;
	FeOptions o = {.file = path, .text = fe_read(a, d, path), .losses = true,
		       .layer = layer, .config = json_loads(json, 0, &error),
		       .config_file = "config.json"};

	MUST(o.text != NULL && o.config != NULL);
	const char *text = fe_import(a, d, &o);
	MUST(text != NULL);
	FeOptions again = {.file = "again.moe", .text = text, .losses = true};
	CHECK(strstr(text, "config") == NULL);
	SAME_TEXT(ir_of(a, d, &again), ir_of(a, d, &o));
	json_decref(o.config);
	arena_free(a);
}

static void test_families(void)
{
	static const char mixtral[] =
		"{\"model_type\": \"mixtral\", \"num_hidden_layers\": 2, \"hidden_size\": 16,"
		" \"num_local_experts\": 4, \"intermediate_size\": 24,"
		" \"num_experts_per_tok\": 2, \"dtype\": \"bfloat16\"}";
	static const char switched[] =
		"{\"model_type\": \"switch_transformers\", \"num_layers\": 4, \"d_model\": 16,"
		" \"num_experts\": 4, \"d_ff\": 24, \"expert_capacity\": 8,"
		" \"num_sparse_encoder_layers\": 2, \"num_sparse_decoder_layers\": 2}";
	static const char deepseek[] =
		"{\"model_type\": \"deepseek_v3\", \"num_hidden_layers\": 3,"
		" \"hidden_size\": 16, \"n_routed_experts\": 8, \"moe_intermediate_size\": 12,"
		" \"intermediate_size\": 20, \"n_shared_experts\": 2, \"num_experts_per_tok\": 2,"
		" \"n_group\": 4, \"topk_group\": 2, \"first_k_dense_replace\": 1,"
		" \"routed_scaling_factor\": 2.5}";

	check_file("models/mixtral.moe", mixtral, "1");
	check_file("models/switch_transformers.moe", switched, "decoder.1");
	check_file("models/switch_transformers.moe", switched, "encoder.0");
	check_file("tests/programs/26_deepseek_family.moe", deepseek, "0");
	check_file("tests/programs/26_deepseek_family.moe", deepseek, "2");
}

SUITE("import", {"text", test_text}, {"families", test_families})
