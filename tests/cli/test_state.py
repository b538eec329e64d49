# SPDX-License-Identifier: Apache-2.0
# state: layers that remember, compiled and interpreted, against NumPy token by token; and what
# a host feeds token by token, in pieces, or beside other sequences: the same bits.
import os
import subprocess

import numpy as np

from cli import ROOT, main, moec, summary, test, write
from library import Session
from tensors import save

PROGRAM = os.path.join(ROOT, "tests/programs/11_sticky.moe")
TOKENS, WIDTH, EXPERTS, HIDDEN = 37, 64, 8, 32


MEMORY = """layer memory {
  input   x: f32[T, 64]
  experts 8 of swiglu(32)
  route   softmax_topk(2, norm: false)
  state   last: f32[width] per sequence
  y       = weight @ experts(pick, x + last)
  next    last = y
  output  y
}
"""


def sh(*command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert p.returncode == 0, f"{command}: status {p.returncode}\n{p.stdout}{p.stderr}"


def softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


def top(v, k):
    return np.argsort(-v, kind="stable")[:k]


def swiglu(x, w, e):
    g = w[f"experts.{e}.gate"] @ x
    h = g / (1 + np.exp(-g)) * (w[f"experts.{e}.up"] @ x)
    return w[f"experts.{e}.down"] @ h


def hysteresis(x, w, last):
    logits = w["router"] @ x
    held = np.zeros(EXPERTS)
    held[last] = 1
    pick = top(logits + 0.1 * held, 2)
    return pick, softmax(logits)[pick], pick


def sticky(x, w, last):
    p = softmax(w["router"] @ x)
    fresh = top(p, 2)
    stay = len(last) and p[last].sum() >= 0.8 * p[fresh].sum()
    pick = last if stay else fresh
    return pick, p[pick], pick


def expected(policy, xs, w):
    last, rows, kept = np.zeros(0, int), [], 0
    for x in xs:
        before = last
        pick, gate, last = policy(x, w, last)
        kept += len(before) and set(before) == set(last) != set(top(w["router"] @ x, 2))
        rows.append(sum(g * swiglu(x, w, e) for g, e in zip(gate, pick)))
    assert 0 < kept < len(xs), "the memory must matter, and not always"
    return np.array(rows)


def given():
    rng = np.random.default_rng(11)
    w = {"router": rng.standard_normal((EXPERTS, WIDTH)) * 0.01}
    for e in range(EXPERTS):
        for name, shape in (("gate", (HIDDEN, WIDTH)), ("up", (HIDDEN, WIDTH)),
                            ("down", (WIDTH, HIDDEN))):
            w[f"experts.{e}.{name}"] = rng.standard_normal(shape) * 0.1
    w = {k: v.astype(np.float32).astype(float) for k, v in w.items()}
    x = rng.standard_normal((TOKENS, WIDTH)).astype(np.float32)
    np.save("x.npy", x)
    return x.astype(float), w, save("w.safetensors", w)


WAYS = ([], ["--reference"], ["--threads", "1"])       # compiled for two threads, if there are


def against_numpy(layer, policy):
    x, w, path = given()
    for how in WAYS:
        moec("run", PROGRAM, "--layer", layer, "--weights", path, "--input", "x.npy",
             "--output", "y.npy", *how)
        assert np.allclose(np.load("y.npy"), expected(policy, x, w), rtol=1e-5, atol=1e-6), how


@test
def picks_with_a_head_start():
    against_numpy("slow", hysteresis)


@test
def picks_that_stay_while_they_are_good():
    against_numpy("stuck", sticky)


@test
def experts_that_read_their_last_result():
    x, w, path = given()
    src = write("layer.moe", MEMORY)
    y, rows = np.zeros(WIDTH), []
    for row in x:
        p = softmax(w["router"] @ row)
        y = sum(p[e] * swiglu(row + y, w, e) for e in top(p, 2))
        rows.append(y)
    for how in WAYS:
        moec("run", src, "--weights", path, "--input", "x.npy", "--output", "y.npy", *how)
        assert np.allclose(np.load("y.npy"), rows, rtol=1e-5, atol=1e-6), how


@test
def sequences_in_pieces():
    x, _, path = given()
    src = write("layer.moe", MEMORY)
    moec("compile", src, "-o", "memory.so")
    moec("compile", src, "--emit=header", "-o", "memory.h")
    moec("pack", src, "--weights", path, "-o", "memory.moew")
    sh("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I.",
       os.path.join(ROOT, "tests/cli/states.c"), "./memory.so", "-o", "host")
    x.astype(np.float32).tofile("x.bin")
    sh("./host", "x.bin", "memory.moew", "y.bin")
    moec("run", src, "--weights", path, "--input", "x.npy", "--output", "y.npy")
    assert np.array_equal(np.fromfile("y.bin", np.float32).reshape(x.shape), np.load("y.npy"))


@test
def memory_of_a_call():
    src = write("layer.moe", """layer counts {
  input   x: f32[T, 64]
  experts 8 of swiglu(32)
  route   softmax_topk(2)
  state   load: f32[experts] = 0.25 per call
  next    load = load + 2 * sum(mask(pick), over: tokens)
  output  x + sum(load)
}
""")
    moec("compile", src, "-o", "counts.so")
    moec("pack", src, "-o", "counts.moew")
    assert "within the bound" in moec("run", src, "--check")
    total, session = 8 * 0.25, Session("counts")
    for n in (3, 1, 0, 70):
        x = np.ones((n, 64), np.float32)
        assert np.array_equal(session.run(x), x + np.float32(total)), total
        total += 2 * 2 * n
    session.close()


@test
def a_file_of_ir_remembers_alike():
    src = os.path.join(ROOT, "tests/layers/remembers.moe")
    whole = summary(moec("run", src, "--tokens", 33))["checksum"]
    for stop in ("inline-std", "pack"):
        moec("compile", src, f"--stop-after={stop}", "-o", "layer.mir")
        said = summary(moec("run", "layer.mir", "--tokens", 33, "--check"))
        assert said["checksum"] == whole, stop


@test
def results_that_are_kept():
    rng = np.random.default_rng(12)
    x = rng.standard_normal((6, 1024)).astype(np.float32)
    x[2] = x[1] + 0.001 * rng.standard_normal(1024)
    x[5] = x[4]
    for how in WAYS:
        np.save("x.npy", x)
        moec("run", PROGRAM, "--layer", "lazy", "--input", "x.npy", "--output", "y.npy", *how)
        y = np.load("y.npy")
        same = [i for i in range(1, 6) if np.array_equal(y[i], y[i - 1])]
        assert same == [2, 5] and np.abs(y).max() > 0, (how, same)
        np.save("x.npy", x[:2])
        moec("run", PROGRAM, "--layer", "lazy", "--input", "x.npy", "--output", "part.npy", *how)
        assert np.array_equal(np.load("part.npy"), y[:2]), "later tokens change nothing"


main()
