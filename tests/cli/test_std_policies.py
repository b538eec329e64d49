# SPDX-License-Identifier: Apache-2.0
# std_policies: the policies of std.moe as they run (what is drawn in training is not), against
# NumPy in float64, compiled and interpreted, and its losses.  hysteresis and sticky: test_state.
import math
import re

import numpy as np

from cli import main, moec, test, write
from routing import (E, H, T, at, check, gated, normalized, router, seats, softmax, summed, top,
                     weights)
from tensors import save

LAYER = """layer routed {{
  input   x: f32[T, 256]
{inputs}  experts 16 of swiglu(128)
  route   {call}
}}
"""
tried = {"hysteresis", "sticky"}


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def of(call, *inputs):
    """A test of this call: the decorated function is the oracle."""
    def decorate(oracle):
        def against_numpy():
            text = LAYER.format(call=call, inputs="".join(f"  input   {i}\n" for i in inputs))
            check(write("layer.moe", text), oracle)
        against_numpy.__name__ = oracle.__name__
        tried.add(call.split("(")[0])
        return test(against_numpy)
    return decorate


def best_of(score, gates, k, norm=True):
    def oracle(w, x):
        logits = router(w, x)
        pick = top(k, score(w, logits))
        gate = at(gates(w, logits), pick)
        return summed(w, x, pick, normalized(gate) if norm else gate)
    return oracle


def plain(w, logits):
    return logits


def probabilities(w, logits):
    return softmax(logits)


@of("softmax_topk(3)")
def softmax_topk(w, x):
    return best_of(plain, probabilities, 3)(w, x)


@of("softmax_topk(3, norm: false)")
def softmax_topk_raw(w, x):
    return best_of(plain, probabilities, 3, norm=False)(w, x)


@of("topk_softmax(3, bias: true)")
def topk_softmax(w, x):
    logits = router(w, x) + w["router.bias"]
    pick = top(3, logits)
    return summed(w, x, pick, softmax(at(logits, pick)))


@of("switch()")
def switch(w, x):
    return best_of(plain, probabilities, 1, norm=False)(w, x)


@of("top2(ceil(2 * T / experts))")
def top2(w, x):
    p = softmax(router(w, x))
    pick = top(2, p)
    kept = seats(pick, np.ceil(2 * T / E))
    assert (kept < 0).any()
    return summed(w, x, kept, normalized(at(p, pick)))


@of("top2(ceil(2 * T / experts), before: false)")
def top2_normalized_behind(w, x):
    p = softmax(router(w, x))
    kept = seats(top(2, p), np.ceil(2 * T / E))
    return summed(w, x, kept, normalized(at(p, kept)))


@of("noisy_topk(2)")
def noisy_topk(w, x):
    logits = router(w, x)
    pick = top(2, logits)
    return summed(w, x, pick, softmax(at(logits, pick)))


@of("top_p(0.4, 6)")
def top_p(w, x):
    p = softmax(router(w, x))
    best = top(6, p)
    before = np.cumsum(at(p, best), 1) - at(p, best)
    pick = np.where(before < 0.4, best, -1)
    assert len({(row >= 0).sum() for row in pick}) > 1
    return summed(w, x, pick, at(p, pick))


@of("threshold(0.12, 4)")
def threshold(w, x):
    p = softmax(router(w, x))
    best = top(4, p)
    pick = np.where((at(p, best) >= 0.12) | (np.arange(4) == 0), best, -1)
    assert T < (pick >= 0).sum() < 4 * T
    return summed(w, x, pick, at(p, pick))


@of("two_level(4, 2, 2)")
def two_level(w, x):
    outer = softmax(x @ w["outer"].T)
    g = top(2, outer)
    p = softmax(np.einsum("tgeh,th->tge", w["inner"][g], x))
    e = top(2, p)
    pick = (g[:, :, None] * 4 + e).reshape(T, 4)
    gate = normalized(at(outer, g))[:, :, None] * normalized(at(p, e))
    return summed(w, x, pick, gate.reshape(T, 4))


@of("cascade(2, 0.1, low: 32)")
def cascade(w, x):
    p = softmax(x @ w["cheap.down"].T @ w["cheap.up"].T)
    sure = p.max(1, keepdims=True) >= 0.1
    assert 0 < sure.sum() < T
    p = np.where(sure, p, softmax(router(w, x)))
    pick = top(2, p)
    return summed(w, x, pick, normalized(at(p, pick)))


@of("sparsemixer(eps: 0.05)")
def sparsemixer(w, x):
    """Phi-3.5-MoE: for each of two picks a softmax over what is near the best one left."""
    logits, y = router(w, x), np.zeros_like(x)
    for t in range(T):
        left, pick, gate = logits[t].copy(), [], []
        for _ in range(2):
            m = left.max()
            far = (m - logits[t]) / np.maximum(np.abs(logits[t]), m) > 2 * 0.05
            near = np.where(far, -np.inf, left)
            pick.append(int(near.argmax()))
            gate.append(softmax(near)[pick[-1]])
            left[pick[-1]] = -np.inf
        y[t] = summed(w, x[t:t + 1], [pick], [gate])[0]
    return y


@of("residual_router(3)")
def residual_router(w, x):
    u = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6) * w["scale"] / 16
    p = softmax(router(w, u))
    pick = top(3, p)
    return summed(w, x, pick, normalized(at(p, pick)) * w["per_expert_scale"][pick])


@of("ternary_topk(2)")
def ternary_topk(w, x):
    m, bar = w["router"], 0.7 * np.abs(w["router"]).mean()
    return gated(w, x, np.where(m > bar, w["scale"][0], np.where(m < -bar, -w["scale"][1], 0)))


@of("sigmoid_top(2)")
def sigmoid_top(w, x):
    return best_of(plain, lambda w, v: sigmoid(v), 2, norm=False)(w, x)


@of("noaux_tc(4, groups: 4, keep: 2, scale: 2.5)")
def noaux_tc(w, x):
    p = sigmoid(router(w, x))
    biased = p + w["e_score_correction_bias"]
    groups = np.sort(biased.reshape(T, 4, 4), -1)[..., 2:].sum(-1)
    kept = (top(2, groups)[:, :, None] == np.arange(4)).any(1).repeat(4, 1)
    pick = top(4, np.where(kept, biased, -np.inf))
    return summed(w, x, pick, 2.5 * normalized(at(p, pick)))


@of("group_limited(4, groups: 4, keep: 2, scale: 16)")
def group_limited(w, x):
    p = softmax(router(w, x))
    groups = p.reshape(T, 4, 4).max(-1)
    kept = (top(2, groups)[:, :, None] == np.arange(4)).any(1).repeat(4, 1)
    pick = top(4, np.where(kept, p, 0))
    return summed(w, x, pick, 16 * at(p, pick))


@of("biased_softmax(3, 16, 3, scale: 6)")
def biased_softmax(w, x):
    p = softmax(router(w, x))
    pick = top(3, p + w["e_score_correction_bias"])
    return summed(w, x, pick, 6 * at(p, pick))


@of("expert_choice(ceil(2 * T / experts))")
def expert_choice(w, x):
    p = softmax(router(w, x))
    chosen = np.zeros((T, E), bool)
    for e in range(E):
        chosen[top(int(np.ceil(2 * T / E)), p[:, e]), e] = True
    pick = np.where(chosen, np.arange(E), -1)
    return summed(w, x, pick, at(p, pick))


@of("sinkhorn(2)")
def sinkhorn(w, x):
    return best_of(plain, probabilities, 2, norm=False)(w, x)


@of("sinkhorn(1)")
def sinkhorn_of_one(w, x):
    return best_of(plain, lambda w, v: sigmoid(v), 1, norm=False)(w, x)


@of("base()")
def base(w, x):
    return best_of(plain, lambda w, v: sigmoid(v), 1, norm=False)(w, x)


@of("next_choice(ceil(1.1 * T / experts))")
def next_choice(w, x):
    """Round after round, in token order, to the best expert that has a seat left."""
    p, free = softmax(router(w, x)), np.full(E, np.ceil(1.1 * T / E))
    owner = np.full(T, -1)
    for _ in range(E):
        open_now = free > 0
        for t in range(T):
            e = np.where(open_now, p[t], -np.inf).argmax()
            if owner[t] < 0 and free[e] > 0:
                owner[t] = e
                free[e] -= 1
    assert (owner >= 0).all() and (owner != p.argmax(1)).any()
    return summed(w, x, owner[:, None], at(p, owner[:, None]))


@of("hash(token, 32000)", "token: i32[T]")
def hash_(w, x, token):
    pick = w["table"][token]
    return summed(w, x, pick, np.ones(pick.shape))


@of("table_scored(token, 32000, 3, 1.5)", "token: i32[T]")
def table_scored(w, x, token):
    p = np.sqrt(np.log1p(np.exp(router(w, x))))
    pick = w["tid2eid"][token]
    return summed(w, x, pick, 1.5 * normalized(at(p, pick)))


@of("by_attention(attention, 1, 4)", "attention: f32[T]")
def by_attention(w, x, attention):
    p = softmax(router(w, x))
    best = top(4, p)
    pick = np.where(np.arange(4) < 1 + np.round(3 * attention[:, None]), best, -1)
    return summed(w, x, pick, normalized(at(p, pick)))


@of("warm_up(2, 1000)")
def warm_up(w, x):
    return gated(w, x, w["router"])         # training is over

# ---- losses

def cdf(v):
    return 0.5 * (1 + np.vectorize(math.erf)(v / np.sqrt(2)))


def cv2(v):
    return v.var() / v.mean() ** 2


def load(w, logits, k):
    """Shazeer 2017: how likely each expert is picked under the noise, summed over tokens."""
    spread = np.log1p(np.exp(w["x"] @ w["noise"].T))
    best = -np.sort(-logits, -1)
    others = np.where(logits >= best[:, k - 1:k], best[:, k:k + 1], best[:, k - 1:k])
    return cdf((logits - others) / spread).sum(0)


LOSSES = {                      # w also holds x
    "balance(pick, route.p)":
        lambda w, l, p, pick: E * (hot(pick).mean(0) @ p.mean(0)),
    "squared_balance(route.p)":
        lambda w, l, p, pick: ((p.mean(0) - 1 / E) ** 2).sum(),
    "z(route.logits)":
        lambda w, l, p, pick: (np.log(np.exp(l).sum(1)) ** 2).mean(),
    "entropy(route.p)":
        lambda w, l, p, pick: -(p * np.log(p)).sum(1).mean(),
    "sequence_balance(sigmoid(route.logits), 2)":
        lambda w, l, p, pick: (E / 2 * hot(pick).mean(0)) @ normalized(sigmoid(l)).mean(0),
    "route.importance":
        lambda w, l, p, pick: cv2((softmax(at(l, pick))[:, :, None] *
                                   (pick[:, :, None] == np.arange(E))).sum((0, 1))),
    "route.load":
        lambda w, l, p, pick: cv2(load(w, l, 2)),
    "mean(sum(where(mask(pick), flops, 0)), over: tokens)":
        lambda w, l, p, pick: 2 * 3 * 2 * 256 * 128,
}


def hot(pick):
    return (pick[:, :, None] == np.arange(E)).any(1)


@test
def losses():
    text = LAYER.format(call="noisy_topk(2)", inputs="").replace("\n}", "".join(
        f"\n  loss    {loss}" for loss in LOSSES) + "\n}")
    src = write("layer.moe", text)
    w, x = weights(src), np.random.default_rng(2).standard_normal((T, H)).astype(np.float32)
    np.save("x.npy", x)
    args = ["--weights", save("w.safetensors", w), "--input", "x.npy"]
    w = {k: v.astype(float) for k, v in w.items()} | {"x": x.astype(float)}
    logits = router(w, w["x"])
    p, pick = softmax(logits), top(2, logits)
    for how in ([], ["--reference"]):
        said = [float(line.split()[1]) for line in moec("run", src, *args, *how).splitlines()
                if line.startswith("loss ")]
        assert len(said) == len(LOSSES), said
        for (name, of_numpy), loss in zip(LOSSES.items(), said):
            want = of_numpy(w, logits, p, pick)
            assert abs(loss - want) <= 1e-4 * abs(want), (name, how, loss, want)


@test
def every_policy_is_tested():
    known = set(re.findall(r"^policy (\w+)", moec("std"), re.M))
    assert known == tried, known ^ tried


main()
