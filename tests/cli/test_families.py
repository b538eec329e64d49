# SPDX-License-Identifier: Apache-2.0
# families: small models of every family of models/, against its mathematics in NumPy; other
# sizes than the fixtures', shards, BF16, FP8 and MXFP4.
import json
import os

import numpy as np

from cli import main, moec, summary, test, write
from tensors import FP4, as_bf16, bf16, e4m3, mxfp4, save, save_model

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


def routed(x, w, at, pick, gates):
    """Sum of the picked experts' outputs."""
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e, g in zip(pick[t], gates[t]):
            y[t] += g * swiglu(x[t], w, f"{at}experts.{e}.")
    return y


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


# ---- Qwen, OLMoE

def qwen(kind, width, hidden, experts, k, **more):
    config = {"model_type": kind, "num_hidden_layers": 4, "hidden_size": width,
              "num_experts": experts, "num_experts_per_tok": k, "hidden_act": "silu",
              "moe_intermediate_size": hidden, "intermediate_size": hidden + 8,
              "shared_expert_intermediate_size": 2 * hidden, "dtype": "float32", **more}
    if kind == "olmoe":
        config["intermediate_size"] = hidden
    at = "model.layers.1.mlp."
    w = {f"{at}gate.weight": normal(experts, width)}
    for e in range(experts):
        w.update(matrices(f"{at}experts.{e}.", width, hidden))
    if kind == "qwen2_moe":
        w.update(matrices(f"{at}shared_expert.", width, 2 * hidden))
        w[f"{at}shared_expert_gate.weight"] = normal(1, width)
    return config, w


def qwen_layer(x, w, k, norm):
    at = "model.layers.1.mlp."
    p = softmax(x @ w[f"{at}gate.weight"].astype(float).T)
    pick = top(p, k)
    gates = np.take_along_axis(p, pick, 1)
    if norm:
        gates = gates / gates.sum(1, keepdims=True)
    y = routed(x, w, at, pick, gates)
    shared = w.get(f"{at}shared_expert_gate.weight")
    if shared is not None:
        y += swiglu(x, w, f"{at}shared_expert.") / (1 + np.exp(-(x @ shared.astype(float).T)))
    return y


@test
def softmax_families():
    for kind, usual in (("qwen2_moe", False), ("qwen3_moe", False), ("olmoe", False)):
        for norm in (None, False, True):
            config, w = qwen(kind, 40, 24, 9, 3)
            if norm is not None:
                config["norm_topk_prob"] = norm
            folder = model(config, w, shards=1 if norm else 3)
            x = tokens(13, 40)
            agrees(folder, 1, x, qwen_layer(x, w, 3, usual if norm is None else norm))
        imports(folder, 1)


@test
def bf16_files():
    config, w = qwen("qwen2_moe", 64, 32, 8, 2)
    folder = model({**config, "dtype": "bfloat16"}, {n: as_bf16(a) for n, a in w.items()}, 2)
    rounded = {n: bf16(a) for n, a in w.items()}
    x = bf16(tokens(9, 64)).astype(float)
    agrees(folder, 1, x, qwen_layer(x, rounded, 2, False), near=2e-2)
    moec("run", folder, "--layer", 1, "--check")
    imports(folder, 1)


@test
def qwens_dense_layers():
    """Experts in layers 1 and 3 by the step; mlp_only_layers takes 3 away."""
    for kind in ("qwen2_moe", "qwen3_moe"):
        config, w = qwen(kind, 32, 16, 4, 2, decoder_sparse_step=2, mlp_only_layers=[3, 0])
        for layer in (0, 2, 3):
            w.update(matrices(f"model.layers.{layer}.mlp.", 32, 24))
        folder = model(config, w)
        x = tokens(5, 32)
        for layer in (0, 2, 3):
            agrees(folder, layer, x, swiglu(x, w, f"model.layers.{layer}.mlp."))
        agrees(folder, 1, x, qwen_layer(x, w, 2, False))
        assert "layer     moe" in moec("run", folder)
        imports(folder, 3)


# ---- DeepSeek

def deepseek(kind, width, hidden, experts, **more):
    config = {"model_type": kind, "num_hidden_layers": 4, "hidden_size": width,
              "n_routed_experts": experts, "num_experts_per_tok": 4, "n_shared_experts": 2,
              "moe_intermediate_size": hidden, "intermediate_size": 2 * hidden + 8,
              "first_k_dense_replace": 1, "moe_layer_freq": 1, "dtype": "float32",
              "routed_scaling_factor": 2.5, **more}
    w = matrices("model.layers.0.mlp.", width, 2 * hidden + 8)
    at = "model.layers.1.mlp."
    w[f"{at}gate.weight"] = normal(experts, width)
    for e in range(experts):
        w.update(matrices(f"{at}experts.{e}.", width, hidden))
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
    logits = x @ w[f"{at}gate.weight"].astype(float).T
    groups, keep = config.get("n_group") or 1, config.get("topk_group") or 1
    k, scale = config["num_experts_per_tok"], config["routed_scaling_factor"]
    if config["model_type"] == "deepseek_v2":
        p = choice = softmax(logits)
        if config.get("topk_method") == "group_limited_greedy":
            choice = best_groups(p, groups, keep, lambda g: g.max(-1), 0)
        norm = config.get("norm_topk_prob", False)
    else:
        p = 1 / (1 + np.exp(-logits))
        choice = best_groups(p + w[f"{at}gate.e_score_correction_bias"], groups, keep,
                             lambda g: np.sort(g, -1)[..., -2:].sum(-1), -np.inf)
        norm = config.get("norm_topk_prob", True)
    pick = top(choice, k)
    gates = np.take_along_axis(p, pick, 1)
    if norm:
        gates = gates / gates.sum(1, keepdims=True)
    if config["model_type"] != "deepseek_v2" or not norm:
        gates = gates * scale
    y = routed(x, w, at, pick, gates)
    return y + swiglu(x, w, f"{at}shared_experts.") if config["n_shared_experts"] else y


@test
def deepseek_v2():
    grouped = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
    for more in ({}, {"topk_method": "greedy", "n_group": 1, "topk_group": 1}, grouped,
                 {**grouped, "norm_topk_prob": True}, {"n_shared_experts": None},
                 {"n_shared_experts": 1, "scoring_func": "softmax", "seq_aux": False}):
        config, w = deepseek("deepseek_v2", 40, 16, 12, **more)
        folder = model(config, w, shards=2)
        x = tokens(11, 40)
        agrees(folder, 1, x, deepseek_layer(x, w, config))
        imports(folder, 1)
    agrees(folder, 0, x, swiglu(x, w, "model.layers.0.mlp."))
    imports(folder, 0)


@test
def deepseek_v2_losses():
    """The authors' loss: over each sequence by itself (here one), or over all tokens."""
    for seq in (True, False):
        config, w = deepseek("deepseek_v2", 40, 16, 12, seq_aux=seq, aux_loss_alpha=0.5)
        folder = model(config, w)
        x = tokens(32, 40)
        np.save("x.npy", x.astype(np.float32))
        said = summary(moec("run", folder, "--layer", 1, "--input", "x.npy"))["loss"]
        p = softmax(x @ w["model.layers.1.mlp.gate.weight"].astype(float).T)
        share = np.bincount(top(p, 4).ravel(), minlength=12) / (32 * 4)
        assert abs(float(said) - 0.5 * 12 * share @ p.mean(0)) < 1e-5, said


@test
def every_second_layer():
    config, w = deepseek("deepseek_v2", 24, 8, 8, moe_layer_freq=2, first_k_dense_replace=0)
    w = {n.replace("layers.1.", "layers.2.").replace("layers.0.", "layers.1."): a
         for n, a in w.items()}
    folder = model(config, w)
    x = tokens(3, 24)
    agrees(folder, 1, x, swiglu(x, w, "model.layers.1.mlp."))
    assert "8 experts" in moec("run", folder, "--layer", 2)


@test
def deepseek_v3():
    for kind, more in (("deepseek_v3", {"n_group": 4, "topk_group": 2}),
                       ("deepseek_v3", {"n_group": None, "norm_topk_prob": False}),
                       ("kimi_k2", {"n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
                                    "scoring_func": "sigmoid", "n_shared_experts": 1})):
        config, w = deepseek(kind, 40, 16, 16, **more)
        folder = model(config, w)
        x = tokens(11, 40)
        agrees(folder, 1, x, deepseek_layer(x, w, config))
        imports(folder, 1)


def fp8(w, a, b):
    """The projections as float8 with a scale for each block; what they are then."""
    stored, real = {}, {}
    for name, m in w.items():
        stored[name] = real[name] = m
        if "_proj" not in name:
            continue
        codes = rng.integers(0, 255, m.shape, dtype=np.uint8)
        codes[codes & 127 == 127] = 9
        scale = (rng.uniform(0.5, 2, (-(-m.shape[0] // a), -(-m.shape[1] // b))) / 400).astype(
            np.float32)
        stored[name], stored[name + "_scale_inv"] = ("F8_E4M3", codes), scale
        rows = np.kron(scale.astype(float), np.ones((a, b)))
        real[name] = e4m3(codes) * rows[:m.shape[0], :m.shape[1]]
    return stored, real


@test
def fp8_files():
    """Sizes that are no multiples of a block."""
    for a, b, width, hidden in ((128, 128, 200, 136), (128, 128, 64, 24), (16, 48, 100, 37)):
        quantised = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [a, b]}
        config, w = deepseek("deepseek_v3", width, hidden, 8, n_group=2, topk_group=1,
                             quantization_config=quantised)
        stored, real = fp8(w, a, b)
        folder = model(config, stored, shards=3)
        x = tokens(7, width)
        real = {n: np.float32(m) for n, m in real.items()}
        agrees(folder, 1, x, deepseek_layer(x, real, config))
        agrees(folder, 0, x, swiglu(x, real, "model.layers.0.mlp."))
        imports(folder, 1)
    moec("run", model({**config, "dtype": "bfloat16"}, stored), "--layer", 1, "--check")


@test
def fp8_weights_are_rounded_once_and_never_read_without_scales():
    """Multiplied out while reading: the bits of the layout's meaning."""
    _, w = deepseek("deepseek_v3", 100, 37, 4)
    stored, real = fp8({"w_proj": normal(37, 100)}, 16, 48)
    save("w.safetensors", {**stored, "half": as_bf16(stored["w_proj_scale_inv"])})
    said = set()
    for layout in ('"w_proj" * blockwise("w_proj_scale_inv", 16, 48)',
                   '1 * ("w_proj" * blockwise("w_proj_scale_inv", 16, 48))'):
        src = write("l.moe", "layer l {\n  input x: bf16[T, 100]\n  output linear(x, 37, "
                    f'"m")\n  weights "" {{ m = {layout} }}\n}}\n')
        said.add(summary(moec("run", src, "--weights", "w.safetensors"))["checksum"])
    assert len(said) == 1, said
    src = write("l.moe", "layer l {\n  input x: f32[T, 100]\n  output linear(x, 37, "
                '"m")\n  weights "" { m = "w_proj" * blockwise("half", 16, 48) }\n}\n')
    x = tokens(3, 100)
    scale = np.kron(bf16(stored["w_proj_scale_inv"]), np.ones((16, 48)))[:37, :100]
    agrees(None, 0, x, x @ (e4m3(stored["w_proj"][1]) * scale).T,
           src=[src, "--weights", "w.safetensors"])
    for layout, status in (('"w_proj"', 1), ('transpose(transpose("w_proj"))', 1),
                           ('1 * "w_proj"', 0)):
        src = write("l.moe", "layer l {\n  input x: f32[T, 100]\n  output linear(x, 37, "
                    f'"m")\n  weights "" {{ m = {layout} }}\n}}\n')
        moec("run", src, "--weights", "w.safetensors", status=status,
             said="stored as F8_E4M3 and read without its scales" if status else "")


@test
def every_float8():
    """All 256 codes of the formats that are read."""
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    e5 = codes.astype(np.uint16) << 8
    for kind, values in (("F8_E4M3", e4m3(codes)), ("F8_E5M2", e5.view(np.float16)),
                         ("F8_E8M0", 2.0 ** (codes.astype(float) - 127))):
        bad = ~np.isfinite(values) | (codes & 127 == 127)
        if kind == "F8_E8M0":
            bad = (codes < 10) | (codes > 240)      # products out of the range of f32
        good = np.where(bad, 127 if kind == "F8_E8M0" else 0, codes)
        values = np.where(bad, 1 if kind == "F8_E8M0" else 0, values.astype(float))
        save("w.safetensors", {"m": (kind, good.astype(np.uint8))})
        src = write("l.moe", "layer l {\n  input x: f32[T, 16]\n  output linear(x, 16, "
                    '"m")\n  weights "" { m = 1 * "m" }\n}\n')
        np.save("x.npy", np.eye(16, dtype=np.float32))
        moec("run", src, "--weights", "w.safetensors", "--input", "x.npy", "--output", "y.npy")
        assert np.array_equal(np.load("y.npy"), values.T.astype(np.float32)), kind


# ---- gpt-oss

def gpt_oss(width, hidden, experts, stored, **more):
    config = {"model_type": "gpt_oss", "num_hidden_layers": 2, "hidden_size": width,
              "num_local_experts": experts, "num_experts_per_tok": 3, "hidden_act": "silu",
              "intermediate_size": hidden, "dtype": "float32", **more}
    at = "model.layers.1.mlp."
    w = {f"{at}router.weight": normal(experts, width), f"{at}router.bias": normal(experts),
         f"{at}experts.gate_up_proj_bias": normal(experts, 2 * hidden),
         f"{at}experts.down_proj_bias": normal(experts, width)}
    real = dict(w)
    for name, shape in (("gate_up_proj", (experts, 2 * hidden, width)),
                        ("down_proj", (experts, width, hidden))):
        name = f"{at}experts.{name}"
        if stored == "mxfp4":
            blocks = rng.integers(0, 256, (*shape[:2], shape[2] // 32, 16), dtype=np.uint8)
            scales = rng.integers(120, 126, blocks.shape[:3], dtype=np.uint8)
            w[f"{name}_blocks"], w[f"{name}_scales"] = ("U8", blocks), ("U8", scales)
            real[name] = mxfp4(blocks, scales)
        else:
            m = normal(*shape)
            w[name] = m.transpose(0, 2, 1)
            real[name] = m
    return config, w, real


def gpt_oss_layer(x, w, bound=7, alpha=1.702):
    at = "model.layers.1.mlp."
    logits = x @ w[f"{at}router.weight"].astype(float).T + w[f"{at}router.bias"]
    pick = top(logits, 3)
    gates = softmax(np.take_along_axis(logits, pick, 1))
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e, g in zip(pick[t], gates[t]):
            h = w[f"{at}experts.gate_up_proj"][e] @ x[t] + w[f"{at}experts.gate_up_proj_bias"][e]
            gate, up = np.minimum(h[0::2], bound), np.clip(h[1::2], -bound, bound)
            h = (up + 1) * gate / (1 + np.exp(-alpha * gate))
            y[t] += g * (w[f"{at}experts.down_proj"][e] @ h + w[f"{at}experts.down_proj_bias"][e])
    return y


@test
def gpt_oss_files():
    x = tokens(9, 64)
    for stored in ("mxfp4", "F32"):
        for more in ({}, {"swiglu_limit": 1.5, "swiglu_alpha": 1.25}):
            if stored == "mxfp4":
                more["quantization_config"] = {"quant_method": "mxfp4"}
            config, w, real = gpt_oss(64, 96, 6, stored, **more)
            folder = model(config, w, shards=2)
            agrees(folder, 1, x, gpt_oss_layer(x, real, more.get("swiglu_limit", 7),
                                               more.get("swiglu_alpha", 1.702)))
            imports(folder, 1)
    config, w, _ = gpt_oss(64, 96, 6, "mxfp4")
    w = {n: a if isinstance(a, tuple) else as_bf16(a) for n, a in w.items()}
    moec("run", model({**config, "dtype": "bfloat16"}, w), "--layer", 1, "--check")


@test
def mxfp4_codes():
    """Each code at the smallest and the largest exponents that f32 holds."""
    blocks = np.arange(16, dtype=np.uint8) * 17
    blocks = np.broadcast_to(blocks, (3, 1, 16))
    scales = np.array([[1], [127], [250]], np.uint8)
    save("w.safetensors", {"b": ("U8", blocks), "s": ("U8", scales)})
    expected = FP4.repeat(2) * 2.0 ** (scales.astype(float) - 127)
    for layout in ('mxfp4("b", "s")', '1 * mxfp4("b", "s")'):
        src = write("l.moe", "layer l {\n  input x: f32[T, 32]\n  output linear(x, 3, "
                    f'"m")\n  weights "" {{ m = {layout} }}\n}}\n')
        np.save("x.npy", np.eye(32, dtype=np.float32))
        moec("run", src, "--weights", "w.safetensors", "--input", "x.npy", "--output", "y.npy")
        assert np.array_equal(np.load("y.npy"), expected.T.astype(np.float32)), layout


# ---- what is refused

REFUSED = [
    ("olmoe", {"hidden_act": "gelu"}, "only the activation silu"),
    ("olmoe", {"quantization_config": {"quant_method": "awq"}}, "quantised checkpoints"),
    ("olmoe", {"quantization_config": {"load_in_8bit": True}}, "quantised checkpoints"),
    ("qwen2_moe", {"hidden_act": "relu"}, "only the activation silu"),
    ("qwen3_moe", {"quantization_config": {"quant_method": "fp8"}}, "quantised checkpoints"),
    ("deepseek_v2", {"topk_method": "noaux_tc"}, "greedy or group_limited_greedy"),
    ("deepseek_v2", {"scoring_func": "sigmoid"}, "scoring_func softmax"),
    ("deepseek_v2", {"hidden_act": "gelu"}, "only the activation silu"),
    ("deepseek_v2", {"topk_method": "group_limited_greedy"}, "`topk_group`"),
    ("deepseek_v3", {"topk_method": "greedy"}, "topk_method noaux_tc"),
    ("deepseek_v3", {"scoring_func": "softmax"}, "scoring_func sigmoid"),
    ("deepseek_v3", {"quantization_config": {"quant_method": "gptq"}}, "fp8 (e4m3)"),
    ("deepseek_v3", {"quantization_config": {"quant_method": "fp8", "fmt": "e5m2"}},
     "fp8 (e4m3)"),
    ("kimi_k2", {"quantization_config": {"quant_method": "compressed-tensors"}}, "fp8 (e4m3)"),
    ("gpt_oss", {"hidden_act": "gelu"}, "only the activation silu"),
    ("gpt_oss", {"quantization_config": {"quant_method": "fp8"}}, "mxfp4"),
    ("mixtral", {"quantization_config": {"bits": 4}}, "quantised checkpoints"),
    ("mixtral", {"hidden_act": "gelu"}, "only the activation silu"),
    ("switch_transformers", {"quantization_config": {"bits": 4}}, "quantised checkpoints"),
]


def small(kind):
    if kind in ("qwen2_moe", "qwen3_moe", "olmoe"):
        return qwen(kind, 16, 8, 4, 2)[0]
    if kind == "gpt_oss":
        return gpt_oss(32, 32, 4, "F32")[0]
    if kind == "switch_transformers":
        return {"model_type": kind, "num_layers": 4, "d_model": 16, "d_ff": 24,
                "num_experts": 4}
    if kind == "mixtral":
        return {"model_type": kind, "num_hidden_layers": 2, "hidden_size": 16,
                "num_local_experts": 4, "intermediate_size": 8, "num_experts_per_tok": 2}
    return deepseek(kind, 16, 8, 8)[0]


@test
def what_is_refused():
    os.mkdir("model")
    for kind, more, said in REFUSED:
        for change, status in (({}, 0), (more, 1)):
            with open("model/config.json", "w") as f:
                json.dump({**small(kind), **change}, f)
            moec("compile", "model", "--emit=header", "-o", "h.h", status=status,
                 said=said if status else ())


@test
def keys_without_a_bearing():
    """Attention's keys change nothing."""
    config, w = qwen("qwen3_moe", 32, 16, 4, 2)
    sums = [summary(moec("run", model({**config, **more}, w), "--layer", 1))["checksum"]
            for more in ({}, {"rope_theta": 1e6, "num_key_value_heads": 4, "use_cache": True,
                              "attention_bias": True, "sliding_window": 64})]
    assert sums[0] == sums[1]


main()
