# SPDX-License-Identifier: Apache-2.0
# model: a stack of layers against NumPy, its weights by their paths, and its losses.
import subprocess

import numpy as np

from cli import MOEC, main, moec, summary, test, write
from tensors import save

WIDTH, HIDDEN, EXPERTS = 24, 16, 5
SOURCE = """layer dense {
  input  x: f32[T, 24]
  output swiglu(x, 16)
}
layer moe {
  input   x: f32[T, 24]
  experts 5 of swiglu(16)
  route   softmax_topk(2)
  loss    z(route.logits)
}
model stack {
  input x: f32[T, 24]
  for i in 4 {
    u = rms_norm(x, name: "norm")
    if i % 2 == 1 { x = x + moe(u, name: "ffn") } else { x = x + dense(u) }
  }
  output x
}
"""


def rms_norm(x, scale):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale


def swiglu(x, w, at):
    g = x @ w[at + "gate"].T
    return (g / (1 + np.exp(-g)) * (x @ w[at + "up"].T)) @ w[at + "down"].T


def moe(x, w, at):
    logits = x @ w[at + "router"].T
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    y = np.zeros_like(x)
    for t, row in enumerate(p):
        pick = np.argsort(-row, kind="stable")[:2]
        for e in pick:
            y[t] += row[e] / row[pick].sum() * swiglu(x[t], w, f"{at}experts.{e}.")
    return y, np.mean(np.log(np.exp(logits).sum(-1)) ** 2)


def weights():
    rng = np.random.default_rng(25)
    shapes = {"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
    w = {}
    for i in range(4):
        w[f"{i}.norm.scale"] = 1 + 0.1 * rng.standard_normal(WIDTH)
        parts = [f"{i}.ffn.experts.{e}." for e in range(EXPERTS)] if i % 2 else [f"{i}.dense."]
        for at in parts:
            w |= {at + k: 0.2 * rng.standard_normal(s) for k, s in shapes.items()}
        if i % 2:
            w[f"{i}.ffn.router"] = rng.standard_normal((EXPERTS, WIDTH))
    return {k: v.astype(np.float32).astype(float) for k, v in w.items()}


@test
def a_stack_is_its_layers_one_after_another():
    w = weights()
    src, file = write("stack.moe", SOURCE), save("w.safetensors", w)
    x = np.random.default_rng(1).standard_normal((19, WIDTH)).astype(np.float32)
    np.save("x.npy", x)
    x, losses = x.astype(float), []
    for i in range(4):
        u = rms_norm(x, w[f"{i}.norm.scale"])
        if i % 2:
            y, loss = moe(u, w, f"{i}.ffn.")
            losses.append(loss)
        else:
            y = swiglu(u, w, f"{i}.dense.")
        x = x + y
    out = moec("run", src, "--layer", "stack", "--weights", file, "--input", "x.npy",
               "--output", "y.npy", "--check")
    assert np.allclose(np.load("y.npy"), x, rtol=1e-4, atol=1e-5)
    said = [float(line.split()[1]) for line in out.splitlines() if line.startswith("loss")]
    assert np.allclose(said, losses, rtol=1e-5), (said, losses)
    moec("pack", src, "--layer", "stack", "--weights", file, "-o", "stack.moew")
    packed = moec("run", src, "--layer", "stack", "--weights", "stack.moew", "--input", "x.npy")
    assert summary(packed)["checksum"] == summary(out)["checksum"]


@test
def functions_of_a_model_call_layers():
    """Also those that are not called; their losses are the model's."""
    one = SOURCE.replace("moe(u, name: \"ffn\")", "through(u)")
    src = write("def.moe", "def through(v) = moe(v, name: \"ffn\")\n" + one)
    file = save("w.safetensors", weights())
    plain = moec("run", write("stack.moe", SOURCE), "--layer", "stack", "--weights", file)
    out = moec("run", src, "--layer", "stack", "--weights", file, "--check")
    lines = [[s for s in text.splitlines() if s.startswith(("loss", "checksum", "routing"))]
             for text in (plain, out)]
    assert lines[0] == lines[1] and len(lines[0]) == 5, lines
    moec("run", src, "--layer", "moe")


@test
def a_note_stands_there_once():
    src = write("note.moe", """layer iffy {
  input x: f32[T, 8]
  y = x
  if mean(sum(x), over: tokens) > 0 { y = x * 2 }
  output y
}
model m { input x: f32[T, 8] for i in 3 { x = iffy(x) } output x }
""")
    p = subprocess.run([MOEC, "compile", src, "--layer", "m", "-o", "m.so"], timeout=60,
                       capture_output=True, text=True, check=True)
    assert p.stderr.count("both sides of this `if` are computed") == 1, p.stderr


@test
def a_missing_weight_is_named_by_its_path():
    w = weights()
    del w["3.ffn.experts.4.up"]
    moec("run", write("stack.moe", SOURCE), "--layer", "stack", "--weights",
         save("w.safetensors", w), status=1, said="`3.ffn.experts.4.up`")


@test
def weights_as_the_layers_say():
    """A layer's `weights` names tensors behind the path of its call; the others keep theirs."""
    w = weights()
    src = write("stack.moe", SOURCE)
    plain = moec("run", src, "--layer", "stack", "--weights", save("w.safetensors", w))
    own = SOURCE.replace("  loss    z", """  weights "mlp." {
    router = "gate.weight"
    gate   = "experts"[expert, 0:16]
    up     = "experts"[expert, 16:]
    down   = transpose("w2.{expert}")
  }
  loss    z""").replace("  output swiglu(x, 16)\n", """  output swiglu(x, 16)
  weights "" { gate = "w1.weight" up = "w3.weight" down = "w2.weight" }
""")
    v = {}
    for i in range(4):
        v[f"{i}.norm.scale"] = w[f"{i}.norm.scale"]
        if i % 2:
            at, to = f"{i}.ffn.", f"{i}.ffn.mlp."
            v[to + "gate.weight"] = w[at + "router"]
            v[to + "experts"] = np.stack([
                np.concatenate([w[f"{at}experts.{e}.{k}"] for k in ("gate", "up")])
                for e in range(EXPERTS)])
            v |= {f"{to}w2.{e}": w[f"{at}experts.{e}.down"].T for e in range(EXPERTS)}
        else:
            for k, n in (("gate", 1), ("up", 3), ("down", 2)):
                v[f"{i}.dense.w{n}.weight"] = w[f"{i}.dense.{k}"]
    src, file = write("own.moe", own), save("v.safetensors", v)
    out = moec("run", src, "--layer", "stack", "--weights", file, "--check")
    assert summary(out)["checksum"] == summary(plain)["checksum"]
    moec("pack", src, "--layer", "stack", "--weights", file, "-o", "own.moew")
    packed = moec("run", src, "--layer", "stack", "--weights", "own.moew")
    assert summary(packed)["checksum"] == summary(plain)["checksum"]
    del v["3.ffn.mlp.w2.4"]
    moec("run", src, "--layer", "stack", "--weights", save("v.safetensors", v), status=1,
         said=["no tensor `3.ffn.mlp.w2.4`", "`3.ffn.experts.*.down` of expert 4"])


@test
def layers_of_a_stack_alone():
    src = write("stack.moe", SOURCE)
    for layer in ("dense", "moe"):
        moec("run", src, "--layer", layer, "--check")


@test
def layers_in_loops_and_branches():
    w = {k.replace("1.ffn", "moe"): v for k, v in weights().items() if k.startswith("1.ffn")}
    file = save("w.safetensors", w)
    x = np.random.default_rng(2).standard_normal((9, WIDTH)).astype(np.float32)
    np.save("x.npy", x)
    x = x.astype(float)
    for body, of in [
        ("repeat 2 { y = y + moe(y) }", lambda v: v + moe(v, w, "moe.")[0]),
        ("if sum(x) > 0 { y = moe(y) }",
         lambda v: np.where(x.sum(1, keepdims=True) > 0, moe(v, w, "moe.")[0], v)),
    ]:
        src = write("loop.moe", SOURCE.replace("  loss    z(route.logits)\n", "") +
                    f"model loop {{ input x: f32[T, 24] y = x {body} output y }}\n")
        moec("run", src, "--layer", "loop", "--weights", file, "--input", "x.npy",
             "--output", "y.npy", "--reference")
        y = of(of(x)) if "repeat" in body else of(x)
        assert np.allclose(np.load("y.npy"), y, rtol=1e-4, atol=1e-5), body


@test
def what_a_stack_cannot_hold():
    for old, new, said in [
        ("  route   softmax_topk(2)\n", "  route   softmax_topk(2)\n  group 4\n", "`group`"),
        ("moe(u, name: \"ffn\")", "moe(u, name: \"a*\")", "no name for a layer"),
        ("moe(u, name: \"ffn\")", "moe(u, u)", "moe has 1 input, not 2"),
        ("moe(u, name: \"ffn\")", "moe(mean(u, over: tokens))", "differs from token to token, this"),
        ("x = x + dense(u)", "x = x + dense(u) + dense(u)", "the layer `0.dense` is called twice"),
    ]:
        assert old in SOURCE
        moec("run", write("bad.moe", SOURCE.replace(old, new)), "--layer", "stack",
             status=1, said=said)


main()
