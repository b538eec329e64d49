/* SPDX-License-Identifier: Apache-2.0
 * source: what SRC and --weights name together: a .moe, a model folder, or IR text. */
#include "moec.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_IR = 256 << 20 };           /* bytes of a .mir */
enum { LONGEST_NAME = 255 };            /* of a layer, as in the language */

static Loc whole(const char *file)
{
	return (Loc){.file = file};
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* The runtime's messages begin with the path, which a diagnostic shows itself. */
const char *without_path(const char *why, const char *path)
{
	size_t n = strlen(path);

	return strncmp(why, path, n) == 0 && strncmp(why + n, ": ", 2) == 0 ? why + n + 2
									    : why;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *file_in(Arena *a, const char *folder, const char *name)
{
	return arena_printf(a, "%s%s%s", folder, ends_with(folder, "/") ? "" : "/", name);
}

static bool holds_weights(const char *folder)
{
	DIR *dir = opendir(folder);
	bool found = false;

	if (!dir)
		return false;
	for (struct dirent *e; !found && (e = readdir(dir));)
		found = ends_with(e->d_name, ".safetensors") ||
			ends_with(e->d_name, ".safetensors.index.json");
	closedir(dir);
	return found;
}

/* The model_type that decides the family; one of a text part counts where the whole model
 * has none of ours. */
static const char *model_type(const json_t *config, int which)
{
	const json_t *of = which ? json_object_get(config, "text_config") : config;

	return json_string_value(json_object_get(of, "model_type"));
}

static bool choose_family(Source *s)
{
	const Job *job = s->job;
	Names known = {0};

	for (int which = 0; which < 2; which++) {
		const char *type = model_type(s->fe.config, which);
		for (int i = 0; type && i < family_count; i++) {
			FeContents c;
			const struct FamilyText *f = &family_texts[i];
			if (!fe_contents(job->arena, job->diag, f->file, f->text, &c))
				return false;
			for (int k = 0; k < c.families.n; k++) {
				vec_push(job->arena, &known, c.families.at[k]);
				if (strcmp(c.families.at[k], type))
					continue;
				s->fe.file = f->file;
				s->fe.text = f->text;
				return true;
			}
		}
	}
	const char *type = model_type(s->fe.config, 0);
	if (!type) {
		diag_error(job->diag, E_model_type, whole(s->fe.config_file), "%s",
			   !json_is_object(s->fe.config) ? "not an object"
			   : json_object_get(s->fe.config, "model_type")
				   ? "`model_type` is not a string"
				   : "`model_type` is missing");
		return false;
	}
	diag_error(job->diag, E_model_type, whole(s->fe.config_file),
		   "`model_type` is `%s`, of which moec has no family", type);
	const char *near = nearest_name(type, known.at, known.n);
	if (near)
		diag_fix(job->diag, "is it `%s`?", near);
	else
		diag_fix(job->diag,
			 "write the family as a .moe: moec %s FAMILY.moe --weights %s",
			 command_names[job->number], job->opt->src);
	return false;
}

static bool read_config(Source *s, const char *folder)
{
	const Job *job = s->job;

	s->fe.config_file = file_in(job->arena, folder, "config.json");
	s->fe.config = json_file(job->arena, job->diag, s->fe.config_file);
	return s->fe.config && config_flags(job, s->fe.config_file, s->fe.config);
}

static bool find_tensor(void *ctx, const char *name, FeTensor *tensor)
{
	Source *s = ctx;
	const TensorInfo *t = checkpoint_find(s->checkpoint, s->job->diag, name,
					      &tensor->bad);

	if (!t || t->rank > MAX_RANK)
		return false;
	*tensor = (FeTensor){.dtype = t->dtype, .expanded = t->value, .rank = t->rank};
	memcpy(tensor->dims, t->dims, sizeof tensor->dims);
	return true;
}

static const char *near_tensors(void *ctx, const char *name)
{
	Source *s = ctx;
	int n;
	const char **names = checkpoint_names(s->checkpoint, s->job->arena, &n);

	return near_names(s->job->arena, name, names, n);
}

static bool open_checkpoint(Source *s, const char *path)
{
	const Job *job = s->job;

	if (ends_with(path, ".gguf")) {
		diag_error(job->diag, E_gguf, whole(path),
			   "GGUF files cannot be read yet");
		return false;
	}
	s->checkpoint = checkpoint_open(job->arena, job->diag, path);
	if (!s->checkpoint)
		return false;
	s->tensors = (FeTensors){s, find_tensor, checkpoint_files(s->checkpoint),
				 near_tensors};
	s->fe.tensors = &s->tensors;
	return true;
}

static bool open_weights(Source *s)
{
	const Job *job = s->job;
	const char *path = job->opt->weights;
	struct stat st;

	if (path && ends_with(path, ".moew")) {
		s->moew = path;
		if (stat(path, &st) == 0)
			return true;
		diag_error(job->diag, E_cannot_read, whole(path), "cannot open: %m");
		return false;
	}
	if (path)
		return open_checkpoint(s, path);
	if (!is_folder(job->opt->src))
		return true;
	if (holds_weights(job->opt->src))
		return open_checkpoint(s, job->opt->src);
	diag_note(job->diag, whole(job->opt->src), "no weights lie here: %s",
		  job->number == COMMAND_compile ? "types come from config.json alone"
						 : "they are random");
	return true;
}

static bool open_moe(Source *s, const char *path)
{
	const Job *job = s->job;
	FeContents c;

	s->fe.file = path;
	s->fe.text = fe_read(job->arena, job->diag, path);
	if (!s->fe.text)
		return false;
	if (!fe_contents(job->arena, diag_new(job->arena, NULL), path, s->fe.text, &c))
		return fe_check(job->arena, job->diag,
				&s->fe); /* says what else is wrong */
	bool layer = c.layers.n > 0 && !job->opt->layer;
	for (int i = 0; job->opt->layer && i < c.layers.n; i++)
		layer = layer || strcmp(c.layers.at[i], job->opt->layer) == 0;
	if (c.families.n == 0 || layer)
		return true;
	if (job->opt->weights && is_folder(job->opt->weights))
		return read_config(s, job->opt->weights);
	diag_error(job->diag, E_no_config, whole(path),
		   "it holds the family `%s`: a model folder is needed",
		   c.families.at[0]);
	diag_fix(job->diag, "--weights DIR, where DIR holds config.json");
	return false;
}

static bool open_source(Source *s)
{
	const Job *job = s->job;
	const char *path = job->opt->src;

	if (is_folder(path))
		return read_config(s, path) && choose_family(s);
	if (ends_with(path, ".gguf")) {
		diag_error(job->diag, E_gguf, whole(path),
			   "GGUF files cannot be read yet");
		return false;
	}
	if (!ends_with(path, ".mir"))
		return open_moe(s, path);
	s->is_mir = true;
	s->fe.file = path;
	s->fe.text = file_text(job->arena, job->diag, path, MOST_IR);
	return s->fe.text != NULL;
}

/* A file that holds one plan, or the name of a plan in SRC. */
static bool open_plan(Source *s)
{
	const Job *job = s->job;
	const char *name = job->opt->plan;
	FeOptions fe = s->fe;

	if (!name)
		return true;
	if (strchr(name, '/') || ends_with(name, ".moe")) {
		fe.file = name;
		fe.text = fe_read(job->arena, job->diag, name);
		if (!fe.text)
			return false;
		name = NULL;
	} else if (s->is_mir) {
		diag_error(job->diag, E_file_kind, whole(s->fe.file),
			   "IR text holds no plans");
		return false;
	}
	s->plan = fe_plan(job->arena, job->diag, &fe, name);
	return s->plan != NULL;
}

bool source_open(const Job *job, Source *s)
{
	*s = (Source){.job = job, .fe = {.layer = job->opt->layer, .losses = true}};
	if (open_source(s) && open_weights(s) && open_plan(s))
		return true;
	source_close(s);
	return false;
}

void source_close(Source *s)
{
	checkpoint_close(s->checkpoint);
	json_decref(s->fe.config);
	if (s->nowhere)
		fclose(s->nowhere);
	*s = (Source){0};
}

/* It becomes the beginning of C names, and a file's: nothing else may stand in it. */
static bool is_c_name(const char *name)
{
	size_t n = 0;

	while (isalnum((unsigned char)name[n]) || name[n] == '_')
		n++;
	return n > 0 && n <= LONGEST_NAME && !name[n] && !isdigit((unsigned char)*name);
}

static Module *parse_ir(Source *s, Diag *diag)
{
	Module *m = parse_module(s->job->arena, diag, s->fe.file, s->fe.text);
	const char *why;

	if (!m)
		return NULL;
	if (!verify(m, &why))
		diag_error(diag, E_ir_rule, whole(s->fe.file), "%s", why);
	else if (!is_c_name(m->name))
		diag_error(diag, E_ir_name, whole(s->fe.file),
			   "the module's name `%s` is no name of C", m->name);
	else {
		if (m->target)
			ice_input(s->fe.file);
		return m;
	}
	return NULL;
}

Module *source_module(Source *s)
{
	Diag *diag = s->nowhere ? s->quiet : s->job->diag;
	Module *m =
	    s->is_mir ? parse_ir(s, diag) : fe_compile(s->job->arena, diag, &s->fe);

	if (!s->nowhere && (s->nowhere = fopen("/dev/null", "w")))
		s->quiet = diag_new(s->job->arena, s->nowhere);
	return m;
}

Weights *source_weights(Source *s, const Module *m)
{
	const Job *job = s->job;

	if (s->moew)
		return NULL;
	return s->checkpoint ? weights_checkpoint(job->arena, job->diag, m, s->checkpoint)
			     : weights_random(job->arena, job->diag, m, job->opt->seed);
}
