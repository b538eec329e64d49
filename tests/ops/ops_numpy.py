# SPDX-License-Identifier: Apache-2.0
# ops_numpy: what every op of ir/ops.def means, said in NumPy, as cases for
# tests/unit/test_ops_numpy.c.  Written from the meaning, not from the interpreter.
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np

import ops_loops
import ops_route
from cases import S, SEQ, T, bf16, case, one, rand, rng

np.seterr(all="ignore")
f32 = np.float32
special = np.array([0.0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1e-3, 30, -30, 100, -100, np.inf,
                    -np.inf, np.nan]).reshape(4, 4)


def elementwise():
    erf = np.vectorize(math.erf)
    unary = {
        "neg": lambda x: -x, "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
        "square": np.square, "sign": np.sign, "floor": np.floor, "ceil": np.ceil,
        "round": np.rint, "tanh": np.tanh, "erf": erf,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(0, x),
    }
    for op, f in unary.items():
        one(op, [("f32[T, 4, 4]", np.broadcast_to(special, (T, 4, 4)))], "f32[T, 4, 4]",
            np.broadcast_to(f(special), (T, 4, 4)))
        x = rand(T, 6, lo=0.1, hi=3)
        one(op, [("f32[T, 6]", x)], "f32[T, 6]", f(x), near=[f(x.astype(f32))])
    binary = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
        "mod": lambda a, b: a - b * np.floor(a / b), "min": np.minimum, "max": np.maximum,
        "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
    }
    for op, f in binary.items():
        out = "bool" if op in ("lt", "le", "eq", "ne") else "f32"
        n = special.size
        a, b = np.repeat(special.ravel(), n), np.tile(special.ravel(), n)
        one(op, [(f"f32[{n * n}]", a), (f"f32[{n * n}]", b)], f"{out}[{n * n}]", f(a, b))
        a, b, c = rand(T, 3, 4), rand(S, 4), rand(3, 1)
        token_seq = np.repeat(np.arange(S), np.diff(SEQ))
        one(op, [("f32[T, 3, 4]", a), ("f32[S, 4]", b)], f"{out}[T, 3, 4]",
            f(a, b[token_seq][:, None]))
        one(op, [("f32[S, 4]", b), ("f32[3, 1]", c)], f"{out}[S, 3, 4]", f(b[:, None], c[None]))
        near = [f(a.astype(f32), c.astype(f32))] if out == "f32" and op != "mod" else None
        one(op, [("f32[T, 3, 4]", a), ("f32[3, 1]", c)], f"{out}[T, 3, 4]", f(a, c), near=near)
    a, b = rng.integers(0, 2, (2, T, 4)).astype(float)
    one("not", [("bool[T, 4]", a)], "bool[T, 4]", 1 - a)
    one("and", [("bool[T, 4]", a), ("bool[T, 4]", b)], "bool[T, 4]", a * b)
    one("or", [("bool[T, 4]", a), ("bool[T, 4]", b)], "bool[T, 4]", np.maximum(a, b))
    x, y = rand(T, 3, 4), rand(4)
    one("select", [("bool[T, 1, 4]", a), ("f32[T, 3, 4]", x), ("f32[4]", y)], "f32[T, 3, 4]",
        np.where(a[:, None] != 0, x, y))
    i = rng.integers(-1, 6, (T, 3)).astype(float)
    one("isnone", [("index<6>[T, 3]", i)], "bool[T, 3]", i < 0)
    one("eq", [("index<6>[T, 3]", i), ("index<6>[T, 1]", i[:, :1])], "bool[T, 3]",
        i == i[:, :1])
    one("stop", [("f32[T, 3, 4]", x)], "f32[T, 3, 4]", x)
    far = np.array([-5, -1, 0, 3, 5, 6, 2 ** 31 - 1], float)
    one("index", [("i32[7]", far)], "index<6>[7]", np.where((far >= 0) & (far < 6), far, -1))


def casts():
    x = np.concatenate([rand(40), [1 + 2.0 ** -8, 1 + 3 * 2.0 ** -8, 3.3895e38, 1e-40, 0.5, 1.5,
                                   2.5, np.inf, -np.inf, np.nan, 2 + 2.0 ** -20]])
    n = len(x)
    one("cast", [(f"f32[{n}]", x)], f"bf16[{n}]", bf16(x))
    one("cast", [(f"f32[{n}]", x)], f"f16[{n}]", x.astype(np.float16))
    one("cast", [(f"f64[{n}]", x * (1 + 1e-9))], f"f32[{n}]", (x * (1 + 1e-9)).astype(f32))
    one("cast", [(f"f32[{n - 4}]", x[:-4])], f"i32[{n - 4}]",
        np.clip(np.rint(x[:-4]), -2 ** 31, 2 ** 31 - 1))
    one("cast", [(f"f32[{n}]", x)], f"bool[{n}]", x != 0)
    # once: 1 + 2^-8 + 2^-30 is above the half, through float32 it would lie on it
    one("cast", [("f64[1]", np.array([1 + 2.0 ** -8 + 2.0 ** -30]))], "bf16[1]", [1 + 2.0 ** -7])


def reductions():
    x = rand(T, 3, 4)
    bounds = [slice(a, b) for a, b in zip(SEQ, SEQ[1:])]

    def lse(v, axis):
        m = np.max(v, axis=axis, keepdims=True, initial=-np.inf)
        m = np.where(np.isinf(m), 0, m)
        return np.squeeze(m, axis) + np.log(np.sum(np.exp(v - m), axis=axis))

    mean = lambda v, axis: np.sum(v, axis=axis) / max(v.shape[axis], 1)
    table = {
        "sum": np.sum, "mean": mean, "logsumexp": lse,
        "amin": lambda v, axis: np.min(v, axis=axis, initial=np.inf),
        "amax": lambda v, axis: np.max(v, axis=axis, initial=-np.inf),
        "any": np.any, "all": np.all,
    }
    for op, f in table.items():
        e = "bool" if op in ("any", "all") else "f32"
        v = (x > -1) & (x < 1) if e == "bool" else x
        a = [(f"{e}[T, 3, 4]", v)]
        near = lambda axis: [f(v.astype(f32), axis=axis)] if e == "f32" else None
        one(op, a, f"{e}[T, 4]", f(v, axis=1), "{over=0}", near=near(1))
        one(op, a, f"{e}[T, 3]", f(v, axis=2), "{over=-1}", near=near(2))
        one(op, a, f"{e}[3, 4]", f(v, axis=0), "{over=tokens}", near=near(0))
        one(op, a, f"{e}[S, 3, 4]", np.stack([f(v[b], axis=0) for b in bounds]),
            "{over=sequence}")
        once_a_sequence = np.stack([f(v[b], axis=0) for b in bounds])[:, :, :3]
        once_a_sequence = np.where(np.isfinite(once_a_sequence), once_a_sequence, 1)
        one(op, [(f"{e}[S, 3, 3]", once_a_sequence)], f"{e}[3, 3]",
            f(once_a_sequence, axis=0), "{over=tokens}")
        one(op, [(f"{e}[T, 2]", np.zeros((0, 2)))], f"{e}[2]", f(np.zeros((0, 2)), axis=0),
            "{over=tokens}", tokens=0, seq=[0, 0])
    one("sum", [("bool[T, 3, 4]", x > 0)], "i32[T, 3]", np.sum(x > 0, axis=2), "{over=1}")
    nan = np.where(x > 1, np.nan, x)
    for op, f in (("amin", np.min), ("amax", np.max), ("sum", np.sum)):
        one(op, [("f32[T, 3, 4]", nan)], "f32[T, 3]", f(nan, axis=2), "{over=1}")
    soft = lambda v, axis: np.exp(v - np.max(v, axis=axis, keepdims=True, initial=-np.inf)) / \
        np.sum(np.exp(v - np.max(v, axis=axis, keepdims=True, initial=-np.inf)), axis=axis,
               keepdims=True)
    masked = np.where(x > 1, -np.inf, x * 20)
    masked[0] = -np.inf
    for op, f in (("softmax", soft), ("cumsum", np.cumsum)):
        for over, axis in (("0", 1), ("-1", 2), ("tokens", 0)):
            one(op, [("f32[T, 3, 4]", x)], "f32[T, 3, 4]", f(x, axis=axis), f"{{over={over}}}",
                near=[f(x.astype(f32), axis=axis)])
        one(op, [("f32[T, 3, 4]", x)], "f32[T, 3, 4]",
            np.concatenate([f(x[b], axis=0) for b in bounds]), "{over=sequence}")
        one(op, [("f32[T, 3, 4]", masked)], "f32[T, 3, 4]", f(masked, axis=2), "{over=-1}")


def ranks():
    x = np.round(rand(T, 3, 4) * 2) / 2
    x[1, 0, 2] = x[4, 2, 1] = np.nan
    x[2, 1, 0], x[3] = np.inf, -np.inf

    def order(v):                       # NaN last; among equals the earlier first
        return np.lexsort((np.arange(len(v)), np.where(np.isnan(v), 0, -v), np.isnan(v)))

    def rank(v):
        r = np.empty(len(v))
        r[order(v)] = np.arange(len(v))
        return r

    top = np.apply_along_axis(order, 2, x)
    for k in (1, 2, 4):
        one("topk", [("f32[T, 3, 4]", x)], f"index<4>[T, 3, {k}]", top[:, :, :k], f"{{k={k}}}")
    one("argmax", [("f32[T, 3, 4]", x)], "index<4>[T, 3]", top[:, :, 0])
    one("topk", [("bool[T, 3, 4]", x > 0)], "index<4>[T, 3, 3]",
        np.apply_along_axis(order, 2, (x > 0) * 1.0)[:, :, :3], "{k=3}")
    for over, axis in (("0", 1), ("1", 2), ("tokens", 0)):
        one("rank", [("f32[T, 3, 4]", x)], "i32[T, 3, 4]", np.apply_along_axis(rank, axis, x),
            f"{{over={over}}}")
    parts = [np.apply_along_axis(rank, 0, x[a:b]) for a, b in zip(SEQ, SEQ[1:]) if b > a]
    one("rank", [("f32[T, 3, 4]", x)], "i32[T, 3, 4]", np.concatenate(parts), "{over=sequence}")


def shapes():
    x = rand(T, 6, 4)
    i = rng.integers(-1, 6, (T, 3, 2))
    one("reshape", [("f32[T, 6, 4]", x)], "f32[T, 2, 3, 4]", x)
    one("transpose", [("f32[T, 6, 4]", x)], "f32[T, 4, 6]", x.transpose(0, 2, 1))
    one("slice", [("f32[T, 6, 4]", x)], "f32[T, 2, 4]", x[:, 1:5:3],
        "{start=[1], size=[2], step=[3]}")
    one("slice", [("f32[T, 6, 4]", x)], "f32[T, 2, 2]", x[:, 2:4, 0:4:2],
        "{start=[2, 0], size=[2, 2], step=[1, 2]}")
    y = rand(1, 4)
    one("concat", [("f32[T, 6, 4]", x), ("f32[1, 4]", y)], "f32[T, 7, 4]",
        np.concatenate([x, np.broadcast_to(y, (T, 1, 4))], axis=1))
    picked = lambda v: np.where(i[..., None] >= 0, v[np.arange(T)[:, None, None], i], 0)
    one("gather", [("f32[T, 6, 4]", x), ("index<6>[T, 3, 2]", i)], "f32[T, 3, 2, 4]", picked(x))
    w = rand(6, 4)
    one("gather", [("f32[6, 4]", w), ("index<6>[T, 3, 2]", i)], "f32[T, 3, 2, 4]",
        np.where(i[..., None] >= 0, w[i], 0))
    c = rng.integers(0, 9, 6)
    one("gather", [("index<9>[6]", c), ("index<6>[T, 3, 2]", i)], "index<9>[T, 3, 2]",
        np.where(i >= 0, c[i], -1))
    j = rng.integers(-1, 4, (T, 6, 2))
    one("take", [("f32[T, 6, 4]", x), ("index<4>[T, 6, 2]", j)], "f32[T, 6, 2]",
        np.where(j >= 0, np.take_along_axis(x, np.maximum(j, 0), 2), 0))
    one("onehot", [("index<6>[T, 3, 2]", i)], "bool[T, 3, 2, 6]", i[..., None] == np.arange(6))
    one("mask", [("index<6>[T, 3, 2]", i)], "bool[T, 6]",
        (i[..., None] == np.arange(6)).any(axis=(1, 2)))
    s = rand(2, 3)
    one("blockwise", [("f32[2, 3]", s)], "f32[5, 8]",
        np.kron(s, np.ones((4, 3)))[:5, :8], "{a=4, b=3}")
    codes = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])
    b, e = rng.integers(0, 256, (3, 5, 16)), rng.integers(100, 150, (3, 5))
    b[0] = np.arange(80).reshape(5, 16)
    one("mxfp4", [("i32[3, 5, 16]", b), ("i32[3, 5]", e)], "f32[3, 160]",
        (codes[np.stack([b % 16, b // 16], -1)].reshape(3, 5, 32)
         * 2.0 ** (e[..., None] - 127)).reshape(3, 160))


def contractions():
    x, w = rand(T, 2, 19), rand(7, 19)
    one("linear", [("f32[T, 2, 19]", x), ("f32[7, 19]", w)], "f32[T, 2, 7]", x @ w.T,
        near=[(x.astype(f32) @ w.T.astype(f32))])
    e = rand(3, 7, 19)
    for dtype, to in (("bf16", bf16), ("f16", lambda v: v.astype(np.float16).astype(float)),
                      ("f32", lambda v: v)):
        v = rand(19)
        case("linear", f'%w = param {{name="w"}} : {dtype}[E0, 7, 19]\n'
             "%y = linear %x, %w : f32[E0, 7]", [("y", "f32[E0, 7]", to(e) @ v)],
             [("x", "f32[19]", v)], [("w", n + 4, dtype, to(e[n])) for n in range(3)],
             head=f"experts E0 = 4..7\nparam w: {dtype}[E0, 7, 19]")
    a, b = rand(T, 2, 5), rand(5, 3)
    one("matmul", [("f32[T, 2, 5]", a), ("f32[5, 3]", b)], "f32[T, 2, 3]", a @ b,
        near=[a.astype(f32) @ b.astype(f32)])
    p = rand(T, 5, 3)
    one("matmul", [("f32[T, 2, 5]", a), ("f32[T, 5, 3]", p)], "f32[T, 2, 3]", a @ p)
    one("matmul", [("f32[T, 5]", a[:, 0]), ("f32[5]", b[:, 0])], "f32[T]", a[:, 0] @ b[:, 0])


def chains():
    """Errors of one op that the next ones carry on: larger than their own roundings."""
    n = 4000
    x, w = rand(T, n, lo=0, hi=1), rand(2, n, lo=-1, hi=1)
    logits = x @ w.T
    near = np.cumsum(x.astype(f32)[:, None] * w.astype(f32), axis=2, dtype=f32)[:, :, -1]
    ins = [("x", f"f32[T, {n}]", x), ("w", f"f32[2, {n}]", w), ("v", "f32[1, 1]", [[3]])]
    first = "%l = linear %x, %w : f32[T, 2]\n"
    soft = lambda v: np.exp(v - v.max(1, keepdims=True)) / \
        np.exp(v - v.max(1, keepdims=True)).sum(1, keepdims=True)
    lse = lambda v: v.max(1) + np.log(np.exp(v - v.max(1, keepdims=True)).sum(1))
    for op, f, attrs, type in (("softmax", soft, "{over=0}", "f32[T, 2]"),
                               ("logsumexp", lse, "{over=0}", "f32[T]"),
                               ("sum", lambda v: v.sum(1), "{over=0}", "f32[T]"),
                               ("exp", np.exp, "", "f32[T, 2]"),
                               ("amax", lambda v: v.max(1), "{over=0}", "f32[T]")):
        case(op, first + f"%y = {op} %l {attrs} : {type}", [("y", type, f(logits))], ins,
             near=[f(near)], tol=1e-9)
    for op in ("linear", "matmul"):
        case(op, first + "%r = reshape %l : f32[T, 2, 1]\n"
             f"%y = {op} %r, %v : f32[T, 2, 1]", [("y", "f32[T, 2, 1]", 3 * logits)], ins,
             near=[3 * near])
    # in float64 just above the half between two bfloat16, in float32 on it
    case("cast", "%s = add %a, %b : f32[1]\n%y = cast %s : bf16[1]",
         [("y", "bf16[1]", [1 + 2.0 ** -7])],
         [("a", "f32[1]", [1 + 2.0 ** -8]), ("b", "f32[1]", [2.0 ** -40])], near=[[1.0]])


elementwise()
casts()
reductions()
ranks()
shapes()
contractions()
chains()
ops_route.cases()
ops_loops.cases()
