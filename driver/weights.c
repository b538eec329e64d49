/* SPDX-License-Identifier: Apache-2.0
 * weights: every matrix of a layer is made once, by whoever needs it first. */
#include "weights.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MANY_BYTES = 32 << 20 };         /* from here on a second thread pays off */

/* One matrix: a parameter, or one expert's share of it. */
typedef struct {
	const Param          *param;    /* our copy */
	int64_t               expert;   /* -1: not an expert's */
	_Atomic(const void *) data;     /* NULL: not made yet */
	void                 *owned;    /* what is freed */
	atomic_bool           failed;
} Matrix;

struct Weights {
	WeightSource  source;           /* first: get() is given its address */
	Param        *params;
	int           nparams;
	int           *first;           /* [nparams] a parameter's first matrix */
	Matrix       *matrices;
	int           nmatrices;
	uint64_t      seed;
	Loader        loader;           /* .from NULL: random weights */
	pthread_mutex_t lock;           /* over Matrix.data and .owned as they change */
	atomic_int next; /* weights_load: the first that nobody has taken */
	Progress     *progress;
};

static size_t matrix_bytes(const Param *p)
{
	int64_t n;
	size_t bytes;

	if (!shape_elems(p->type.dim, p->type.rank, &n) ||
	    !size_mul((size_t)n, (size_t)dtype_info[p->type.dtype].bits / 8, &bytes))
		ice("the parameter %s has no countable size", p->name);
	return bytes;
}

/* In a model a `*` stands for the number: `1.moe.experts.*.gate`. */
const char *path_of(Arena *a, const Param *p, int64_t expert)
{
	const char *star = strchr(p->name, '*');

	if (expert < 0)
		return p->name;
	if (!star)
		return arena_printf(a, "experts.%jd.%s", (intmax_t)expert, p->name);
	return arena_printf(a, "%.*s%jd%s", (int)(star - p->name), p->name,
			    (intmax_t)expert, star + 1);
}

static void fill(const Param *p, int64_t n, void *to)
{
	size_t size = (size_t)dtype_info[p->type.dtype].bits / 8;

	for (int64_t i = 0; i < n; i++)
		if (i == 0)
			store_doubles(p->type.dtype, &p->init, 1, to);
		else
			memcpy((char *)to + (size_t)i * size, to, size);
}

/* Entry i is 32 bits of Philox block i / 4, scaled to 0 .. choices-1. */
static void random_choices(const Param *p, int64_t n, uint64_t seed, uint64_t stream,
			   void *to)
{
	uint64_t choices = p->type.dtype == DT_bool ? 2 : (uint64_t)MAX(p->type.axis, 1);
	uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, w[4];

	for (int64_t i = 0; i < n; i++) {
		uint32_t ctr[4] = {(uint32_t)(i / 4), (uint32_t)(i / 4 >> 32),
				   (uint32_t)stream, (uint32_t)(stream >> 32)};
		if (i % 4 == 0)
			moert_philox(w, ctr, key);
		uint32_t choice = (uint32_t)(w[i % 4] * choices >> 32);
		if (p->type.dtype == DT_bool)
			((uint8_t *)to)[i] = (uint8_t)choice;
		else
			((int32_t *)to)[i] = (int32_t)choice;
	}
}

static void *random_matrix(Weights *w, const Param *p, int64_t expert)
{
	size_t bytes = matrix_bytes(p);
	void *to = malloc(bytes + 1);
	int64_t n = type_elems(&p->type);
	Arena *a = arena_new();
	uint64_t stream = name_hash(path_of(a, p, expert));

	arena_free(a);
	if (!to) {
		pthread_mutex_lock(&w->loader.lock);
		diag_error(w->loader.diag, E_no_memory, p->loc,
			   "no memory for `%s` of %zu bytes", p->name, bytes);
		pthread_mutex_unlock(&w->loader.lock);
	} else if (p->has_init)
		fill(p, n, to);
	else if (p->type.dtype == DT_index || p->type.dtype == DT_bool)
		random_choices(p, n, w->seed, stream, to);
	else if (p->type.dtype == DT_i32)
		memset(to, 0, (size_t)n * 4);
	else
		random_normals(p->type.dtype, to, 0, n, w->seed, stream, 0.02);
	return to;
}

/* Two threads may make the same matrix; the first to finish counts. */
static const void *make_matrix(Weights *w, Matrix *x)
{
	void *owned = NULL;
	const void *data;

	if (w->loader.from)
		data = load_param(&w->loader, x->param, x->expert, &owned);
	else
		data = owned = random_matrix(w, x->param, x->expert);
	if (!data) {
		atomic_store(&x->failed, true);
		return NULL;
	}
	pthread_mutex_lock(&w->lock);
	if (atomic_load(&x->data)) {
		free(owned);
	} else {
		x->owned = owned;
		atomic_store(&x->data, data);
	}
	data = atomic_load(&x->data);
	pthread_mutex_unlock(&w->lock);
	return data;
}

/* Passes copy and extend the module's parameters, so names decide, not addresses. */
static Matrix *find_matrix(Weights *w, const Param *p, int64_t expert)
{
	for (int i = 0; i < w->nparams; i++) {
		Matrix *x = &w->matrices[w->first[i]];
		int64_t count = (i + 1 < w->nparams ? w->first[i + 1] : w->nmatrices) -
				w->first[i];
		if (strcmp(w->params[i].name, p->name) == 0 && count > 0 &&
		    expert >= x->expert && expert - x->expert < count)
			return x + (expert - x->expert);
	}
	return NULL;
}

static const void *get(WeightSource *source, const Param *p, int64_t expert)
{
	Weights *w = (Weights *)source;
	Matrix *x = find_matrix(w, p, expert);

	if (!x || atomic_load(&x->failed))
		return NULL;
	const void *data = atomic_load(&x->data);
	return data ? data : make_matrix(w, x);
}

static Weights *weights_new(Arena *a, Diag *d, const Module *m, Checkpoint *from)
{
	Weights *w = NEW(a, Weights);
	pthread_mutexattr_t recursive;
	int64_t total = 0;

	w->source.get = get;
	w->loader.diag = d;
	w->loader.m = m;
	w->loader.from = from;
	w->nparams = m->params.n;
	w->params = NEWN(a, Param, (size_t)m->params.n);
	w->first = NEWN(a, int, (size_t)m->params.n);
	for (int i = 0; i < m->params.n; i++) {
		Param *p = &w->params[i];
		*p = m->params.at[i];
		w->first[i] = (int)total;
		total +=
		    p->type.level == LV_EXPERT ? m->ranges.at[p->type.range].count : 1;
		if (total > INT32_MAX)
			ice("%jd matrices", (intmax_t)total);
	}
	w->nmatrices = (int)total;
	w->matrices = NEWN(a, Matrix, (size_t)total);
	for (int i = 0, k = 0; i < m->params.n; i++) {
		bool once = w->params[i].type.level != LV_EXPERT;
		const ExpertRange *r =
		    once ? NULL : &m->ranges.at[w->params[i].type.range];
		for (int64_t e = 0; e < (once ? 1 : r->count); e++, k++) {
			w->matrices[k].param = &w->params[i];
			w->matrices[k].expert = once ? -1 : r->first + e;
		}
	}
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&w->loader.lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	return w;
}

Weights *weights_random(Arena *a, Diag *d, const Module *m, uint64_t seed)
{
	Weights *w = weights_new(a, d, m, NULL);

	w->seed = seed;
	return w;
}

Weights *weights_checkpoint(Arena *a, Diag *d, const Module *m, Checkpoint *from)
{
	return weights_new(a, d, m, from);
}

/* One error a parameter: its other experts most likely have the same. */
static void fail_with(Weights *w, const Matrix *x)
{
	for (int i = 0; i < w->nmatrices; i++)
		if (w->matrices[i].param == x->param)
			atomic_store(&w->matrices[i].failed, true);
}

static void *load_some(void *weights)
{
	Weights *w = weights;

	for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->nmatrices;) {
		Matrix *x = &w->matrices[i];
		if (!get(&w->source, x->param, x->expert))
			fail_with(w, x);
		progress_add(w->progress, matrix_bytes(x->param));
	}
	return NULL;
}

bool weights_load(Weights *w, int threads)
{
	pthread_t other[64];
	uint64_t bytes = 0;
	int started = 0;

	for (int i = 0; i < w->nmatrices; i++)
		bytes += matrix_bytes(w->matrices[i].param);
	w->progress = progress_new(w->loader.from ? "reading weights" : "making weights",
				   bytes, "B");
	atomic_store(&w->next, 0);
	if (bytes >= MANY_BYTES)
		while (started < MIN(threads, (int)COUNT(other)) - 1 &&
		       pthread_create(&other[started], NULL, load_some, w) == 0)
			started++;
	load_some(w);
	while (started > 0)
		pthread_join(other[--started], NULL);
	progress_end(w->progress);
	w->progress = NULL;
	for (int i = 0; i < w->nmatrices; i++)
		if (!atomic_load(&w->matrices[i].data))
			return false;
	return true;
}

WeightSource *weights_source(Weights *w)
{
	return &w->source;
}

void weights_release(Weights *w, const Param *p, int64_t expert)
{
	Matrix *x = find_matrix(w, p, expert);

	if (!x)
		return;
	pthread_mutex_lock(&w->lock);
	free(x->owned);
	x->owned = NULL;
	atomic_store(&x->data, NULL);
	pthread_mutex_unlock(&w->lock);
}

void weights_close(Weights *w)
{
	for (int i = 0; w && i < w->nmatrices; i++)
		free(w->matrices[i].owned);
	if (w) {
		w->nmatrices = 0;
		pthread_mutex_destroy(&w->lock);
		pthread_mutex_destroy(&w->loader.lock);
	}
}
