# SPDX-License-Identifier: Apache-2.0
# layer: a layer's weights in a file, fresh tokens and routing, and the float64 reference.
import os

import numpy as np

from tables import LAYERS

PARTS = ("gate", "up", "down")
REFERENCE_TOKENS = 4


def to_bf16(a):
    """Rounded half to even; the bits."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


class Weights:
    """Bits of bf16 in a mapped file: no copy that would count against the peers' memory."""

    def __init__(self, folder, key):
        self.layer, self.folder, self.key = LAYERS[key], folder, key
        h, i, e = self.layer.H, self.layer.I, self.layer.E
        self.shapes = {"gate": (e, i, h), "up": (e, i, h), "down": (e, h, i)}
        path = os.path.join(folder, self.layer.name + ".bf16")
        if not os.path.exists(path):
            self._write(path)
        self.all = np.memmap(path, np.uint16, "r").reshape(3, e, h * i)

    def _write(self, path):
        os.makedirs(self.folder, exist_ok=True)
        rng = np.random.Generator(np.random.SFC64(ord(self.key)))
        with open(path + ".part", "wb") as f:
            for _ in range(3 * self.layer.E):
                w = rng.standard_normal(self.layer.H * self.layer.I, dtype=np.float32)
                to_bf16(w * np.float32(0.02)).tofile(f)
        os.replace(path + ".part", path)

    def bits(self, part, expert):
        return self.all[PARTS.index(part), expert].reshape(self.shapes[part][1:])

    def matrix(self, part, expert, dtype):
        """[n, k] in a type of weights: f32, or the bits of bf16."""
        bits = self.bits(part, expert)
        return from_bf16(bits) if dtype == "f32" else bits

    def stack(self, part, dtype):
        """[E, n, k]."""
        out = np.empty(self.shapes[part], np.float32 if dtype == "f32" else np.uint16)
        for e in range(self.layer.E):
            out[e] = self.matrix(part, e, dtype)
        return out


def tokens(layer, t, rng):
    """x f32[T, H] of bf16 numbers, picks i32[T, K], best first, gates f32[T, K]: routed as by
    a softmax over the experts, whose logits are as wide as a router's of these weights."""
    x = from_bf16(to_bf16(rng.standard_normal((t, layer.H), dtype=np.float32)))
    logits = rng.standard_normal((t, layer.E)) * 0.02 * layer.H ** 0.5
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    picks = np.argsort(-p, 1, kind="stable")[:, :layer.K]
    gates = np.take_along_axis(p, picks, 1)
    if layer.norm:
        gates /= gates.sum(1, keepdims=True)
    return x, picks.astype(np.int32), gates.astype(np.float32)


def tour(layer, rng):
    """Tokens that visit every expert."""
    x = from_bf16(to_bf16(rng.standard_normal((layer.E, layer.H), dtype=np.float32)))
    picks = np.arange(layer.E)[:, None] + np.arange(layer.K)
    gates = np.full(picks.shape, 1 / layer.K, np.float32)
    return x, (picks % layer.E).astype(np.int32), gates


def logits_of(layer, picks, gates):
    """Logits whose softmax is the gates at the picks: peers that route themselves then route
    so.  What the gates leave of 1 goes to the other experts."""
    left = np.maximum(1 - gates.sum(1, keepdims=True, dtype=np.float64), 1e-9)
    p = np.repeat(left / max(layer.E - layer.K, 1), layer.E, 1)
    np.put_along_axis(p, picks.astype(np.int64), gates, 1)
    return np.log(p).astype(np.float32)


def reference(weights):
    """A few tokens and what the layer makes of them in float64; kept in a file."""
    layer = weights.layer
    x, picks, gates = tokens(layer, REFERENCE_TOKENS, np.random.default_rng(1))
    path = os.path.join(weights.folder, layer.name + ".reference.npy")
    if not os.path.exists(path):
        y = np.zeros(x.shape)
        for t, j in np.ndindex(*picks.shape):
            g, u, d = (weights.matrix(part, picks[t, j], "f32") for part in PARTS)
            gate, up = (_times(w, x[t]) for w in (g, u))
            y[t] += gates[t, j] * _times(d, gate / (1 + np.exp(-gate)) * up)
        np.save(path, y)
    return (x, picks, gates), np.load(path)


def _times(w, v):
    """In float64, some rows at a time: the whole matrix would take 470 MB of mixtral."""
    return np.concatenate([w[i:i + 512].astype(np.float64) @ v
                           for i in range(0, len(w), 512)])


def distance(y, wanted):
    y, wanted = (np.asarray(a, np.float64) for a in (y, wanted))
    return float(np.linalg.norm(y - wanted) / np.linalg.norm(wanted))
