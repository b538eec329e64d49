/* SPDX-License-Identifier: Apache-2.0
 * elab_stored: `stored`, the type in which the checkpoint holds the experts' weights.  It
 * is asked for before the layer is run, so only its constants are computed here. */
#include "elab.h"

#include <string.h>

static bool says_expert(const Node *n)
{
	bool found = n && (n->kind == N_EXPERT ||
			   (n->kind == N_STRING && strstr(n->s, "{expert}")));

	for (int i = 0; n && !found && i < n->nkids; i++)
		found = says_expert(n->kids[i]);
	return found;
}

static const Node *first_weights(const Node *block)
{
	const Node *found = NULL;

	for (int i = 0; i < block->nkids && !found; i++) {
		const Node *k = block->kids[i];
		if (!k)
			continue;
		if (k->kind == N_WEIGHTS)
			found = k;
		else if (k->kind == N_IF || k->kind == N_BLOCK)
			found = first_weights(k);
	}
	return found;
}

static bool usable(Dtype d, Dtype *out)
{
	*out = d == DT_bf16 ? DT_bf16 : DT_f32;
	return d == DT_bf16 || d == DT_f16 || d == DT_f32;
}

/* The type of the first string in a layout that names a tensor of the checkpoint. */
static bool tensor_type(Elab *e, const Node *n, Dtype *out)
{
	const FeTensors *t = e->opt->tensors;
	FeTensor tensor;

	if (!n)
		return false;
	if (n->kind == N_STRING) {
		Val v = eval(e, n);
		const char *prefix = e->layer->layout_prefix;
		return v.kind == V_STR && prefix &&
		       t->find(t->ctx, arena_printf(e->a, "%s%s", prefix, v.s),
			       &tensor) &&
		       tensor.dtype < DT_COUNT && !tensor.expanded &&
		       usable(tensor.dtype, out);
	}
	for (int i = 0; i < n->nkids; i++)
		if (tensor_type(e, n->kids[i], out))
			return true;
	return false;
}

static void bind_constants(Elab *e, const Node *block)
{
	for (int i = 0; i < block->nkids && !e->fatal; i++) {
		const Node *n = block->kids[i];
		if (n->kind != N_BIND || n->nnames != 1 || n->kids[0]->kind == N_NAME)
			continue;
		Val v = eval(e, n->kids[0]);
		if (val_const(&v))
			bind_name(e, n->names[0], v, n->loc);
	}
}

static bool of_checkpoint(Elab *e, const Node *layer, Dtype *out)
{
	const Node *node = first_weights(layer->kids[1]);
	Layer *l = e->layer;
	WeightsBlock block;
	Settings s = {0};
	bool found = false;

	if (!node || !e->opt->tensors)
		return false;
	block = (WeightsBlock){node->kids[0], node};
	bind_constants(e, layer->kids[1]);
	l->expert = 0;
	e->frame->layout = true;
	l->layout_prefix = layout_prefix(e, &block);
	collect_settings(e, &block, node, 1, &s);
	for (int all = 0; all < 2; all++)
		for (int i = 0; i < s.n && !found; i++)
			if (all || says_expert(s.at[i].set->kids[1]))
				found = tensor_type(e, s.at[i].set->kids[1], out);
	return found;
}

/* F16 computes as F32.  False: nothing is said there. */
static bool of_config(Elab *e, const json_t *config, Dtype *out)
{
	static const char *const keys[] = {"dtype", "torch_dtype"};
	static const char *const names[] = {"bfloat16", "float32", "float16"};
	static const Dtype types[] = {DT_bf16, DT_f32, DT_f32};

	for (size_t i = 0; i < COUNT(keys); i++) {
		const json_t *j = json_object_get(config, keys[i]);
		const char *s = json_string_value(j);
		if (!j || json_is_null(j))
			continue;
		for (size_t k = 0; s && k < COUNT(names); k++)
			if (strcmp(s, names[k]) == 0)
				return usable(types[k], out);
		const char *near = s ? fix_near(e, s, names, COUNT(names)) : NULL;
		say(e, E_config_value, (Loc){.file = e->opt->config_file},
		    near ? near : "it may be bfloat16, float32 or float16",
		    s ? "`%s` is `%.60s`, no type of weights that moec knows"
		      : "`%s` is not a string", keys[i], s);
		return true;
	}
	return false;
}

Dtype stored_dtype(Elab *e, const Node *layer)
{
	Layer *up = e->layer;
	Frame *outer = e->frame;
	int errors = e->errors;
	Dtype d = DT_bf16;

	scratch_layer(e, e->main);
	e->layer->number = up->number;
	e->layer->stack = up->stack;
	e->frame->scope = e->frame->root = scope_new(e, e->family);
	e->mute++;
	bool found = of_checkpoint(e, layer, &d);
	e->mute--;
	e->errors = errors;
	e->layer = up;
	e->frame = outer;
	if (!found && e->opt->config)
		found = of_config(e, e->opt->config, &d) ||
			of_config(e, json_object_get(e->opt->config, "text_config"), &d);
	return d;
}
