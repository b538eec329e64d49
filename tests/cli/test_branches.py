# SPDX-License-Identifier: Apache-2.0
# branches: weights of functions that are called in an `if` or a `repeat`, against NumPy.
import numpy as np

from cli import main, moec, test, write
from tensors import save

WIDTH = 12


def rms_norm(x, scale):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(**shapes):
    rng = np.random.default_rng(3)
    w = {k.replace("__", "."): 0.5 * rng.standard_normal(s) for k, s in shapes.items()}
    return {k: v.astype(np.float32).astype(float) for k, v in w.items()}


def run(source, w, tokens, *how):
    x = np.random.default_rng(4).standard_normal((tokens, WIDTH)).astype(np.float32)
    np.save("x.npy", x)
    moec("run", write("layer.moe", source), "--weights", save("w.safetensors", w), "--input",
         "x.npy", "--output", "y.npy", *how)
    return x.astype(float), np.load("y.npy")


@test
def of_a_call():
    w = weights(many__scale=WIDTH, few__scale=WIDTH)
    for tokens, name in ((4, "few"), (5, "many")):
        x, y = run("""layer branch {
  input  x: f32[T, 12]
  u = x
  if T > 4 { u = rms_norm(x, name: "many") } else { u = rms_norm(x, name: "few") }
  output u
}
""", w, tokens, "--check")
        assert np.allclose(y, rms_norm(x, w[f"{name}.scale"]), rtol=1e-5, atol=1e-6)


@test
def of_a_token():
    w = weights(warm__scale=WIDTH, gate=(1, WIDTH), mlp__up=(7, WIDTH), mlp__down=(WIDTH, 7))
    x, y = run("""layer branch {
  input  x: f32[T, 12]
  y = x
  if sum(x) > 0 {
    v = rms_norm(x, name: "warm")
    y = y + relu_ffn(v, 7, name: "mlp") * sigmoid(linear(v, 1, "gate"))
  }
  output y
}
""", w, 33, "--reference")
    v = rms_norm(x, w["warm.scale"])
    mlp = np.maximum(v @ w["mlp.up"].T, 0) @ w["mlp.down"].T * sigmoid(v @ w["gate"].T)
    warm = x.sum(1, keepdims=True) > 0
    assert 0 < warm.sum() < 33
    assert np.allclose(y, np.where(warm, x + mlp, x), rtol=1e-5, atol=1e-6)


@test
def of_every_round():
    w = weights(norm__scale=WIDTH, again=(WIDTH, WIDTH))
    x, y = run("""layer rounds {
  input  x: f32[T, 12]
  u = x
  repeat 3 { u = rms_norm(u + linear(u, 12, "again"), name: "norm") }
  output u
}
""", w, 5, "--reference")
    for _ in range(3):
        x = rms_norm(x + x @ w["again"].T, w["norm.scale"])
    assert np.allclose(y, x, rtol=1e-4, atol=1e-5)


main()
