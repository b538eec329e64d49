# SPDX-License-Identifier: Apache-2.0
# families: small models, made up, and their layers' mathematics in NumPy.
import os

import numpy as np

from cli import moec, summary
from tensors import save_model

rng = np.random.default_rng(1)


def normal(*shape):
    return rng.normal(0, 0.2, shape).astype(np.float32)


def silu(v):
    return v / (1 + np.exp(-v))


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def top(p, k):
    return np.argsort(-p, axis=1, kind="stable")[:, :k]


def swiglu(x, w, at):
    gate, up, down = (w[f"{at}{n}_proj.weight"].astype(float) for n in ("gate", "up", "down"))
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def matrices(at, width, hidden):
    return {f"{at}gate_proj.weight": normal(hidden, width),
            f"{at}up_proj.weight": normal(hidden, width),
            f"{at}down_proj.weight": normal(width, hidden)}


def small_block(at, width, hidden, experts, **more):
    """Router, experts and more matrices under the names of Qwen's."""
    w = {f"{at}gate.weight": normal(experts, width)}
    for e in range(experts):
        w.update(matrices(f"{at}experts.{e}.", width, hidden))
    for name, size in more.items():
        w.update(matrices(f"{at}{name}.", width, size))
    return w


def renamed(w, **names):
    for a, b in names.items():
        w = {n.replace(a, b): m for n, m in w.items()}
    return w


W123 = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}


def routed(x, w, at, pick, gates):
    """Sum of the picked experts' outputs."""
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e, g in zip(pick[t], gates[t]):
            y[t] += g * swiglu(x[t], w, f"{at}experts.{e}.")
    return y


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def logits_of(x, w, at):
    return x @ w[f"{at}gate.weight"].astype(float).T


def gates_of(p, pick, norm, eps=0):
    gates = np.take_along_axis(p, pick, 1)
    return gates / (gates.sum(1, keepdims=True) + eps) if norm else gates


def top_routed(x, w, at, k, score=softmax, bias=0, norm=True, eps=0):
    """Routed to the k largest of score + bias; gates are the scores."""
    p = score(logits_of(x, w, at))
    pick = top(p + bias, k)
    return routed(x, w, at, pick, gates_of(p, pick, norm, eps))


def agrees(folder, layer, x, expected, near=2e-5, src=None):
    np.save("x.npy", x.astype(np.float32))
    src = src or [folder, "--layer", layer]
    moec("run", *src, "--input", "x.npy", "--output", "y.npy")
    gone = np.linalg.norm(np.load("y.npy") - expected, axis=1)
    worst = np.max(gone / np.linalg.norm(expected, axis=1))
    assert worst <= near, f"{src}: {worst}"


def imports(folder, layer):
    """The layer as a .moe of its own gives the same bits."""
    moec("import", folder, "--layer", layer, "-o", "layer.moe")
    runs = [summary(moec("run", *src, "--tokens", 19))["checksum"]
            for src in ([folder, "--layer", layer], ["layer.moe", "--weights", folder])]
    assert runs[0] == runs[1], open("layer.moe").read()


def model(config, tensors, shards=1):
    os.makedirs("model", exist_ok=True)
    for name in os.listdir("model"):
        os.unlink(f"model/{name}")
    return save_model("model", config, tensors, shards)


def tokens(n, width):
    return rng.normal(0, 1, (n, width)).astype(np.float32).astype(float)


def deepseek(kind, width, hidden, experts, **more):
    config = {"model_type": kind, "num_hidden_layers": 4, "hidden_size": width,
              "n_routed_experts": experts, "num_experts_per_tok": 4, "n_shared_experts": 2,
              "moe_intermediate_size": hidden, "intermediate_size": 2 * hidden + 8,
              "first_k_dense_replace": 1, "moe_layer_freq": 1, "dtype": "float32",
              "routed_scaling_factor": 2.5, **more}
    w = matrices("model.layers.0.mlp.", width, 2 * hidden + 8)
    at = "model.layers.1.mlp."
    w.update(small_block(at, width, hidden, experts))
    if config["n_shared_experts"]:
        w.update(matrices(f"{at}shared_experts.", width, config["n_shared_experts"] * hidden))
    if kind != "deepseek_v2":
        w[f"{at}gate.e_score_correction_bias"] = normal(experts)
    return config, w


def best_groups(score, groups, keep, of, fill):
    """score outside the `keep` groups for which `of` is largest becomes `fill`."""
    parts = score.reshape(len(score), groups, -1)
    best = top(of(parts), keep)
    inside = np.zeros(parts.shape[:2], bool)
    np.put_along_axis(inside, best, True, 1)
    return np.where(inside[..., None], parts, fill).reshape(score.shape)


def deepseek_layer(x, w, config):
    at = "model.layers.1.mlp."
    logits = logits_of(x, w, at)
    groups, keep = config.get("n_group") or 1, config.get("topk_group") or 1
    k, scale = config["num_experts_per_tok"], config["routed_scaling_factor"]
    if config["model_type"] == "deepseek_v2":
        p = choice = softmax(logits)
        if config.get("topk_method") == "group_limited_greedy":
            choice = best_groups(p, groups, keep, lambda g: g.max(-1), 0)
        norm = config.get("norm_topk_prob", False)
    else:
        p = sigmoid(logits)
        choice = best_groups(p + w[f"{at}gate.e_score_correction_bias"], groups, keep,
                             lambda g: np.sort(g, -1)[..., -2:].sum(-1), -np.inf)
        norm = config.get("norm_topk_prob", config["model_type"] != "dots1")
    pick = top(choice, k)
    gates = gates_of(p, pick, norm)
    if config["model_type"] != "deepseek_v2" or not norm:
        gates = gates * scale
    y = routed(x, w, at, pick, gates)
    return y + swiglu(x, w, f"{at}shared_experts.") if config["n_shared_experts"] else y
