# SPDX-License-Identifier: Apache-2.0
# routing: layers with random weights against an oracle in float64, compiled and interpreted, and
# what such oracles are made of.
import os
import re

import numpy as np

from cli import moec
from tensors import save

T, H, E, I = 53, 256, 16, 128
# ---- how a layer is run

def softmax(v, axis=-1):
    e = np.exp(v - v.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def top(k, v):
    return np.argsort(-v, axis=-1, kind="stable")[..., :k]


def at(v, i):
    """v[t, i[t, j]]; 0 at -1."""
    return np.where(i < 0, 0, np.take_along_axis(v, np.maximum(i, 0), -1))


def normalized(v):
    s = v.sum(-1, keepdims=True)
    return np.divide(v, s, where=s != 0, out=np.zeros_like(v))


def weights(src):
    """Random ones for each parameter of the layer, by the names of a checkpoint."""
    rng, w = np.random.default_rng(os.path.getsize(src)), {}
    ir = moec("compile", src, "--stop-after=inline-std", "-o", "/dev/stdout")
    ranges = re.findall(r"experts E(\d+) = (\d+)\.\.(\d+)", ir)
    for param, kind, shape in re.findall(r"^  param (\S+): ([\w<>]+)(?:\[(.*?)\])?", ir, re.M):
        sizes = [int(n) for n in shape.split(", ") if n and n[0] != "E"]
        if not shape.startswith("E"):
            a = rng.integers(0, E, sizes) if "index" in kind else 0.06 * rng.standard_normal(sizes)
            w[param] = ("I32", a.astype(np.int32)) if "index" in kind else np.float32(a)
            continue
        first, end = next((int(a), int(b)) for n, a, b in ranges if shape.startswith(f"E{n},"))
        for e in range(first, end):
            w[f"experts.{e}.{param}"] = 0.05 * rng.standard_normal(sizes).astype(np.float32)
    return w


def expert(w, e, x):
    if f"experts.{e}.gate" not in w:
        return np.zeros_like(x)
    g = w[f"experts.{e}.gate"] @ x
    return w[f"experts.{e}.down"] @ (g / (1 + np.exp(-g)) * (w[f"experts.{e}.up"] @ x))


def summed(w, x, pick, gate):
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e, g in zip(pick[t], gate[t]):
            if e >= 0:
                y[t] += g * expert(w, e, x[t])
    return y


def check(src, oracle):
    """oracle(w, x, further inputs) in float64 says what y is."""
    w, rng = weights(src), np.random.default_rng(2)
    inputs = {"x": rng.standard_normal((T, H)).astype(np.float32)}
    with open(src) as f:
        text = f.read()
    for other, kind, shape in re.findall(r"input\s+(\w+): (\w+)\[(.*?)\]", text)[1:]:
        sizes = [T if n == "T" else int(n) for n in shape.split(", ")]
        a = rng.integers(0, 32000, sizes) if kind == "i32" else rng.random(sizes)
        inputs[other] = a.astype(np.int32 if kind == "i32" else np.float32)
    args = ["--weights", save("w.safetensors", w)]
    for other, a in inputs.items():
        np.save(f"{other}.npy", a)
        args += ["--input", f"{other}={other}.npy"]
    w = {k: v[1] if isinstance(v, tuple) else v.astype(float) for k, v in w.items()}
    want = oracle(w, **{k: v.astype(float) if v.dtype == np.float32 else v
                        for k, v in inputs.items()})
    for how in ([], ["--reference"], ["--threads", 1]):
        moec("run", src, *args, "--output", "y.npy", *how)
        y = np.load("y.npy")
        assert np.allclose(y, want, rtol=2e-4, atol=2e-5), (how, np.abs(y - want).max())


# ---- what oracles are made of

def router(w, x):
    return x @ w["router"].T


def seats(pick, capacity, priority=None):
    """First choices before second ones, then by priority, then in order."""
    pick, free = pick.copy(), {}
    order = range(len(pick)) if priority is None else np.argsort(-priority, kind="stable")
    for j in range(pick.shape[1]):
        for t in order:
            e = pick[t, j]
            free[e] = free.get(e, capacity) - 1
            if free[e] < 0:
                pick[t, j] = -1
    return pick


def gated(w, x, matrix):
    """The two best of a softmax, normalised."""
    p = softmax(x @ matrix.T)
    pick = top(2, p)
    return summed(w, x, pick, normalized(at(p, pick)))
