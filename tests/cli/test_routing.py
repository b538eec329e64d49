# SPDX-License-Identifier: Apache-2.0
# routing: each file of examples/policies, against NumPy in float64, compiled and interpreted.
import glob
import os
import re

import numpy as np

from cli import ROOT, main, moec, test
from library import Session
from routing import (E, H, T, at, check, gated, normalized, router, seats, softmax, summed, top,
                     weights)
from tensors import save

oracles = {}


def oracle(f):
    oracles[f.__name__] = f
    return f


def source(name):
    return os.path.join(ROOT, "examples", "policies", f"{name}.moe")


@oracle
def batch_priority(w, x):
    p = softmax(router(w, x))
    pick = seats(top(2, p), np.ceil(np.ceil(1.05 * T * 2 / E) / 4) * 4, p.max(-1))
    return summed(w, x, pick, at(p, pick))


@oracle
def smart_reduction(w, x):
    p = softmax(router(w, x))
    best = top(6, p)
    pick = np.where((np.arange(6) < 2) | (at(p, best) >= 0.6 * p.max(-1, keepdims=True)), best, -1)
    assert 2 * T < (pick >= 0).sum() < 6 * T
    return summed(w, x, pick, normalized(at(p, pick)))


@oracle
def null_experts(w, x):
    p = softmax(router(w, x))
    pick = top(4, p)
    assert (pick >= E).any()
    return summed(w, x, pick, normalized(np.where(pick < E, at(p, pick), 0)))


@oracle
def second_if_unsure(w, x):
    p = softmax(router(w, x))
    best = top(2, p)
    sure = p.max(-1) >= 0.15
    assert sure.any() and not sure.all()
    pick = np.where((np.arange(2) == 0) | ~sure[:, None], best, -1)
    return summed(w, x, pick, at(p, pick))


@oracle
def skip_weak_second(w, x):
    p = softmax(router(w, x))
    best = top(2, p)
    pick = np.where((np.arange(2) == 0) | (at(p, best) >= 0.8 * p.max(-1, keepdims=True)), best, -1)
    assert 0 < (pick < 0).sum() < T
    return summed(w, x, pick, normalized(at(p, pick)))


@oracle
def pre_gated(w, x, early):
    p = softmax(router(w, early))
    pick = top(2, p)
    return summed(w, x, pick, normalized(at(p, pick)))


@oracle
def router_state(w, x, before):
    r = x @ w["down"].T + w["down.bias"] + w["carry"] * before
    p = softmax(router(w, r))
    pick = top(1, p)
    return summed(w, x, pick, at(p, pick))


@oracle
def cosine(w, x):
    v, m = x @ w["project"].T, w["embedding"]
    cos = v @ (m / np.linalg.norm(m, axis=1, keepdims=True)).T
    cos /= np.linalg.norm(v, axis=1, keepdims=True)
    p = softmax(np.exp(min(w["scale"], np.log(100))) * cos)
    pick = top(2, p)
    return summed(w, x, pick, at(p, pick))


@oracle
def temperature(w, x):
    p = softmax(3 * np.tanh(router(w, x) / 3) / np.log1p(np.exp(w["heat"])))
    pick = top(2, p)
    return summed(w, x, pick, normalized(at(p, pick)))


@oracle
def twn_gate(w, x):
    m = w["router"]
    kept = np.abs(m) > 0.7 * np.abs(m).mean()
    return gated(w, x, np.where(kept, np.sign(m) * np.abs(m)[kept].mean(), 0))


@oracle
def four_bit_gate(w, x):
    s = np.abs(w["router"]).max(1, keepdims=True) / 7
    return gated(w, x, s * np.clip(np.round(w["router"] / s), -8, 7))


@oracle
def cache_prior(w, x, resident):
    logits = router(w, x)
    first = np.where(np.arange(E) == top(1, logits), np.inf, 0.5 * resident)
    pick = top(2, logits + first)
    assert (pick != top(2, logits)).any()
    return summed(w, x, pick, normalized(at(softmax(logits), pick)))


@oracle
def expert_dropout(w, x):
    return gated(w, x, w["router"])


@oracle
def gating_dropout(w, x):
    return 0.8 * gated(w, x, w["router"])


@oracle
def seats_by_gate(w, x):
    p = softmax(router(w, x))
    pick = top(2, p)
    gate, kept = normalized(at(p, pick)), pick.copy()
    for e in range(E):
        rows = np.argwhere(pick == e)
        order = np.argsort(-p[rows[:, 0], e], kind="stable")
        for t, j in rows[order[int(np.ceil(2 * T / E)):]]:
            kept[t, j] = -1
    assert (kept < 0).any()
    return summed(w, x, kept, gate)


@oracle
def adaptive_capacity(w, x):
    p = softmax(router(w, x))
    pick = top(2, p)
    needed = np.bincount(pick.ravel()).max()
    kept = seats(pick, min(needed, 2 * np.floor(1.2 * np.ceil(T / E))))
    return summed(w, x, kept, normalized(at(p, pick)))


@oracle
def multi_hash(w, x, token):
    pick = w["table"][token]
    return summed(w, x, pick, np.ones(pick.shape))


@oracle
def base_residual(w, x):
    logits = router(w, x)
    pick = top(1, logits)
    gate = 1 / (1 + np.exp(-at(logits, pick)))
    return summed(w, x, pick, gate) + (1 - gate) * x


@oracle
def block_routing(w, x):
    p = softmax(router(w, x))
    best = top(2, p)
    pick = (best[:, :, None] * 4 + np.arange(4)).reshape(T, 8)
    return summed(w, x, pick, np.repeat(at(p, best), 4, axis=1))


@oracle
def importance_aware(w, x, importance):
    p = softmax(router(w, x))
    best = top(4, p)
    pick = np.where(np.arange(4) < 1 + np.round(3 * importance[:, None]), best, -1)
    gate = normalized(at(p, pick))
    free, kept = {}, pick.copy()
    for j in range(4):
        for t in np.argsort(-importance, kind="stable"):
            e = pick[t, j]
            if e >= 0:
                free[e] = free.get(e, np.ceil(1.5 * T / E)) - 1
                kept[t, j] = e if free[e] >= 0 else -1
    assert (kept != pick).any()
    return summed(w, x, kept, gate)


@oracle
def costs_as_loss(w, x):
    return gated(w, x, w["router"])


for name in oracles:
    def against_numpy(name=name):
        check(source(name), oracles[name])
    against_numpy.__name__ = name
    test(against_numpy)


# ---- what is drawn

def session_of(name):
    layer = re.search(r"^layer (\w+)", open(source(name)).read(), re.M).group(1)
    moec("compile", source(name), "-o", f"{layer}.so")
    moec("pack", source(name), "--weights", save("w.safetensors", weights(source(name))), "-o",
         f"{layer}.moew")
    return Session(layer)


def tokens(n):
    return np.random.default_rng(7).standard_normal((n, H)).astype(np.float32)


@test
def random_seats():
    s, x = session_of("random_seats"), tokens(400)
    w = weights(source("random_seats"))
    asked = np.bincount(top(1, router(w, x)).ravel(), minlength=E)
    _, pick, _ = s.run(x, 1)
    capacity = max(np.ceil(400 / E), 2)
    assert (np.bincount(pick[pick >= 0], minlength=E) == np.minimum(asked, capacity)).all()
    _, again, _ = s.run(x, 1)
    assert np.array_equal(pick, again), "the same seed, the same seats"
    _, other, _ = s.run(x, 1, seed=1)
    assert (pick != other).any()
    full = asked > capacity
    assert full.any() and not (pick[:200] >= 0).all() and (pick[200:] >= 0).any()
    s.close()


@test
def every_file_is_tested():
    files = {os.path.basename(f)[:-4] for f in glob.glob(source("*"))}
    assert files == set(oracles) | {"random_seats"}, files ^ set(oracles)


main()
