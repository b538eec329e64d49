# SPDX-License-Identifier: Apache-2.0
# calls: a host of a compiled model calls its layers one by one: the same bits as the whole,
# and as the layer compiled alone; routing of each is read out and given; losses, rows.
import os
import subprocess

import numpy as np

from cli import ROOT, main, moec, summary, test, write
from tensors import save

WIDTH, HIDDEN, EXPERTS, TOKENS = 24, 16, 5, 19
SOURCE = """layer dense {
  input  x: f32[T, 24]
  output swiglu(x, 16)
}
layer moe {
  input   x: f32[T, 24]
  experts 5 of swiglu(16)
  route   softmax_topk(2)
  loss    z(route.logits)
  output  weight @ experts(pick, x), route.p
}
model stack {
  input x: f32[T, 24]
  y    = dense(x)
  y, p = moe(y, name: "first")
  z, q = moe(y, name: "second")
  output z, p + q
}
"""
CALLS = ["dense", "first", "second"]


def weights():
    rng = np.random.default_rng(5)
    shapes = {"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
    w = {}
    for call in CALLS:
        parts = [f"{call}.experts.{e}." for e in range(EXPERTS)]
        for at in [f"{call}."] if call == "dense" else parts:
            w |= {at + k: 0.5 * rng.standard_normal(s) for k, s in shapes.items()}
        if call != "dense":
            w[f"{call}.router"] = rng.standard_normal((EXPERTS, WIDTH))
    return {k: v.astype(np.float32) for k, v in w.items()}


def sh(*command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert p.returncode == 0, f"{command}: status {p.returncode}\n{p.stdout}{p.stderr}"
    return p.stdout


def prepare():
    src, file = write("stack.moe", SOURCE), save("w.safetensors", weights())
    moec("compile", src, "--layer", "stack", "-o", "stack.so")
    moec("compile", src, "--layer", "stack", "--emit=header", "-o", "stack.h")
    moec("pack", src, "--layer", "stack", "--weights", file, "-o", "stack.moew")
    host = os.path.join(ROOT, "tests", "cli", "calls.c")
    sh("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I.", host, "./stack.so",
       "-o", "host")
    x = np.random.default_rng(1).standard_normal((TOKENS, WIDTH)).astype(np.float32)
    np.save("x.npy", x)
    x.tofile("x.bin")
    return src, file


@test
def layers_called_one_by_one():
    src, _ = prepare()
    said = sh("./host", "stack.moew")
    assert said.splitlines()[-1] == "all is the same", said
    np.save("in.npy", np.fromfile("y0.bin", np.float32).reshape(TOKENS, WIDTH))
    w = weights()
    for call, layer, x, y in [("dense", "dense", "x.npy", "y0"), ("first", "moe", "in.npy", "y1")]:
        own = {k[len(call) + 1:]: v for k, v in w.items() if k.startswith(call + ".")}
        moec("run", src, "--layer", layer, "--weights", save("own.safetensors", own),
             "--input", x, "--output", "y.npy")
        assert np.load("y.npy").tobytes() == open(y + ".bin", "rb").read(), call


@test
def the_whole_with_its_routing_read_out():
    src, file = prepare()
    sh("./host", "stack.moew")
    out = moec("run", src, "--layer", "stack", "--weights", file, "--input", "x.npy",
               "--output", "y.npy", "--check")
    assert np.load("y.npy").tobytes() == open("y2.bin", "rb").read()
    assert "checksum" in summary(out)


@test
def a_deep_stack_has_the_kernels_of_a_low_one():
    """Equal kernels are one function, in the whole and in the calls."""
    with open(os.path.join(ROOT, "examples", "25_hybrid.moe")) as f:
        text = f.read()
    functions = set()
    for layers in 12, 24, 48:
        src = write("h.moe", text.replace("for i in 24", f"for i in {layers}"))
        code = moec("compile", src, "--layer", "hybrid_24", "--emit=llvm")
        functions.add(code.count("\ndefine "))
    assert len(functions) == 1, functions
    moec("compile", write("h.moe", text), "--layer", "hybrid_24", "-o", "h.so")
    moec("compile", os.path.join(ROOT, "examples", "tiny.moe"), "-o", "tiny.so")
    larger = os.path.getsize("h.so") - os.path.getsize("tiny.so")   # both hold the runtime
    assert larger < 250_000, larger


main()
