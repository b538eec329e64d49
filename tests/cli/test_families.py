# SPDX-License-Identifier: Apache-2.0
# families: models/ against its mathematics in NumPy, in other sizes than the fixtures'; what
# is refused.
import json
import os
import subprocess

import numpy as np

from cli import MOEC, main, moec, summary, test
from families import (W123, agrees, deepseek, deepseek_layer, imports, logits_of, matrices,
                      model, normal, renamed, routed, sigmoid, small_block, softmax, swiglu,
                      tokens, top, top_routed)
from tensors import as_bf16, bf16


# ---- Qwen, OLMoE

def qwen(kind, width, hidden, experts, k, **more):
    config = {"model_type": kind, "num_hidden_layers": 4, "hidden_size": width,
              "num_experts": experts, "num_experts_per_tok": k, "hidden_act": "silu",
              "moe_intermediate_size": hidden, "intermediate_size": hidden + 8,
              "shared_expert_intermediate_size": 2 * hidden, "dtype": "float32", **more}
    if kind in ("olmoe", "flex_olmo"):
        config["intermediate_size"] = hidden
    at = "model.layers.1.mlp."
    w = small_block(at, width, hidden, experts)
    if kind in ("qwen2_moe", "qwen3_next"):
        w.update(matrices(f"{at}shared_expert.", width, 2 * hidden))
        w[f"{at}shared_expert_gate.weight"] = normal(1, width)
    return config, w


def qwen_layer(x, w, k, norm):
    at = "model.layers.1.mlp."
    y = top_routed(x, w, at, k, norm=norm)
    shared = w.get(f"{at}shared_expert_gate.weight")
    if shared is not None:
        y += swiglu(x, w, f"{at}shared_expert.") * sigmoid(x @ shared.astype(float).T)
    return y


@test
def softmax_families():
    for kind, usual in (("qwen2_moe", False), ("qwen3_moe", False), ("olmoe", False),
                        ("qwen3_next", True), ("flex_olmo", False)):
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
                                    "scoring_func": "sigmoid", "n_shared_experts": 1}),
                       ("deepseek_v32", {"n_group": 2, "topk_group": 1}),
                       ("glm4_moe", {}), ("glm_moe_dsa", {"n_group": None}), ("dots1", {}),
                       ("glm4_moe_lite", {"first_k_dense_replace": 3, "mlp_layer_types":
                                          ["dense", "sparse", "sparse", "dense"]})):
        config, w = deepseek(kind, 40, 16, 16, **more)
        folder = model(config, w)
        x = tokens(11, 40)
        agrees(folder, 1, x, deepseek_layer(x, w, config))
        imports(folder, 1)


# ---- others, whose tensors have names of their own

SIZES = {"num_hidden_layers": 4, "hidden_size": 40, "num_experts": 9, "num_local_experts": 9,
         "num_experts_per_tok": 3, "intermediate_size": 24, "hidden_act": "silu",
         "dtype": "float32"}


@test
def jamba():
    at = "model.layers.3.feed_forward."
    w = small_block(at, 40, 24, 9)
    w.update(matrices("model.layers.2.feed_forward.", 40, 24))
    folder = model({"model_type": "jamba", **SIZES, "expert_layer_period": 4,
                    "expert_layer_offset": 3}, renamed(w, **{f"{at}gate": f"{at}router"}))
    x = tokens(13, 40)
    agrees(folder, 3, x, top_routed(x, w, at, 3, norm=False))
    agrees(folder, 2, x, swiglu(x, w, "model.layers.2.feed_forward."))
    imports(folder, 3)


@test
def minimax():
    """Text-01 is Mixtral's layer; M2 has sigmoid gates and a bias."""
    at = "model.layers.0.block_sparse_moe."
    w = small_block(at, 40, 24, 9)
    bias = normal(9)
    x = tokens(13, 40)
    for kind, *how in (("minimax",), ("minimax_text_01",), ("minimax_m2", sigmoid, bias)):
        folder = model({"model_type": kind, **SIZES, "shared_intermediate_size": 0},
                       {**renamed(w, **W123), f"{at}e_score_correction_bias": bias}, 2)
        agrees(folder, 0, x, top_routed(x, w, at, 3, *how))
        imports(folder, 0)


def near_best(logits, open, eps):
    """Sparsemixer's pick among what is open, and its gate."""
    m = open.max(1, keepdims=True)
    far = (m - logits) / np.maximum(abs(logits), m) > 2 * eps
    p = softmax(np.where(far, -np.inf, open))
    e = p.argmax(1)[:, None]
    return e, np.take_along_axis(p, e, 1)


@test
def phimoe():
    at = "model.layers.2.block_sparse_moe."
    w = small_block(at, 40, 24, 9)
    x = tokens(40, 40)
    logits = logits_of(x, w, at)
    for eps in (None, 0.2):
        more = {} if eps is None else {"router_jitter_noise": eps}
        folder = model({"model_type": "phimoe", **SIZES, "num_experts_per_tok": 2, **more},
                       renamed(w, **W123))
        e1, g1 = near_best(logits, logits, eps or 0.01)
        rest = logits.copy()
        np.put_along_axis(rest, e1, -np.inf, 1)
        e2, g2 = near_best(logits, rest, eps or 0.01)
        agrees(folder, 2, x, routed(x, w, at, np.hstack((e1, e2)), np.hstack((g1, g2))))
        imports(folder, 2)


@test
def ernie():
    at = "model.layers.1.mlp."
    sizes = {**SIZES, "moe_num_experts": 9, "moe_k": 3, "moe_intermediate_size": 16}
    x = tokens(13, 40)
    for shared in (2, 0):
        w = small_block(at, 40, 16, 9, **({"shared_experts": 32} if shared else {}))
        w.update(matrices("model.layers.3.mlp.", 40, 24))
        bias = normal(1, 9)
        folder = model({"model_type": "ernie4_5_moe", **sizes, "moe_layer_end_index": 2,
                        "moe_num_shared_experts": shared},
                       {**w, f"{at}moe_statics.e_score_correction_bias": bias})
        y = top_routed(x, w, at, 3, bias=bias)
        agrees(folder, 1, x, y + swiglu(x, w, f"{at}shared_experts.") if shared else y)
        agrees(folder, 3, x, swiglu(x, w, "model.layers.3.mlp."))
        imports(folder, 1)


@test
def lfm2():
    at = "model.layers.2.feed_forward."
    w = small_block(at, 40, 16, 9)
    w.update(matrices("model.layers.1.feed_forward.", 40, 24))
    bias = normal(9)
    x = tokens(13, 40)
    for more in ({}, {"use_expert_bias": False}, {"norm_topk_prob": False}):
        folder = model({"model_type": "lfm2_moe", **SIZES, "moe_intermediate_size": 16,
                        "routed_scaling_factor": 1.5, **more},
                       {**renamed(w, **W123), f"{at}expert_bias": bias})
        y = top_routed(x, w, at, 3, sigmoid, bias * more.get("use_expert_bias", True),
                       more.get("norm_topk_prob", True), 1e-6)
        agrees(folder, 2, x, 1.5 * y)
        agrees(folder, 1, x, swiglu(x, w, "model.layers.1.feed_forward."))
        imports(folder, 2)


@test
def hunyuan():
    """Numbers for all layers, and lists."""
    at = "model.layers.2.mlp."
    x = tokens(13, 40)
    for more in ({"moe_topk": 3}, {"moe_topk": [1, 1, 3, 1], "num_experts": [4, 4, 9, 4],
                                   "moe_intermediate_size": [8, 8, 24, 8],
                                   "num_shared_expert": [1, 1, 2, 1]}):
        shared = 24 * (2 if "num_shared_expert" in more else 1)
        w = small_block(at, 40, 24, 9, shared_mlp=shared)
        folder = model({"model_type": "hunyuan_v1_moe", **SIZES, **more},
                       renamed(w, **{"gate.weight": "gate.wg.weight"}))
        agrees(folder, 2, x, top_routed(x, w, at, 3) + swiglu(x, w, f"{at}shared_mlp."))
        imports(folder, 2)


# ---- all experts in one tensor

def stacked(w, at, part):
    return np.stack([w[f"{at}experts.{e}.{part}_proj.weight"] for e in range(9)])


def fused(w, at, turn=lambda m: m):
    """The block with all experts in two tensors, gate above up; turn: what is stored of them."""
    gate_up = np.concatenate([stacked(w, at, "gate"), stacked(w, at, "up")], 1)
    return {**{n: m for n, m in w.items() if ".experts." not in n},
            f"{at}experts.gate_up_proj": turn(gate_up),
            f"{at}experts.down_proj": turn(stacked(w, at, "down"))}


def transposed(m):
    return m.transpose(0, 2, 1).copy()


@test
def qwen3_5():
    at = "model.language_model.layers.1.mlp."
    w = small_block(at, 40, 24, 9, shared_expert=16)
    sw = normal(1, 40)
    disk = {**fused(w, at), f"{at}shared_expert_gate.weight": sw}
    folder = model({"model_type": "qwen3_5_moe", "dtype": "float32", "text_config": {
        **SIZES, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 16}}, disk, 2)
    x = tokens(13, 40)
    shared = sigmoid(x @ sw.T.astype(float)) * swiglu(x, w, f"{at}shared_expert.")
    agrees(folder, 1, x, top_routed(x, w, at, 3) + shared)
    imports(folder, 1)


@test
def llama4():
    """Gates scale the experts' input; every second layer of Maverick is dense."""
    prefix = "language_model.model.layers."
    at = f"{prefix}1.feed_forward."
    w = small_block(at, 40, 24, 9, shared_expert=24)
    w.update(matrices(f"{prefix}0.feed_forward.", 40, 56))
    disk = renamed(fused(w, at, transposed), **{"gate.weight": "router.weight"})
    x = tokens(13, 40)
    for k in (1, 2):
        folder = model({"model_type": "llama4", "dtype": "float32", "text_config": {
            **SIZES, "num_experts_per_tok": k, "intermediate_size_mlp": 56,
            "interleave_moe_layer_step": 2}}, disk)
        logits = logits_of(x, w, at)
        y = swiglu(x, w, f"{at}shared_expert.")
        for t, picks in enumerate(top(logits, k)):
            for e in picks:
                y[t] += swiglu(x[t] * sigmoid(logits[t, e]), w, f"{at}experts.{e}.")
        agrees(folder, 1, x, y)
        agrees(folder, 0, x, swiglu(x, w, f"{prefix}0.feed_forward."))
        imports(folder, 1)


@test
def dbrx():
    at = "transformer.blocks.1.ffn."
    w = small_block(at, 40, 24, 9)
    disk = {f"{at}router.layer.weight": w[f"{at}gate.weight"],
            f"{at}experts.mlp.w1": stacked(w, at, "gate").reshape(-1, 40),
            f"{at}experts.mlp.v1": stacked(w, at, "up").reshape(-1, 40),
            f"{at}experts.mlp.w2": transposed(stacked(w, at, "down")).reshape(-1, 40)}
    folder = model({"model_type": "dbrx", "d_model": 40, "n_layers": 2, "dtype": "float32",
                    "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 9, "moe_top_k": 3,
                                   "moe_normalize_expert_weights": 1}}, disk)
    x = tokens(13, 40)
    agrees(folder, 1, x, top_routed(x, w, at, 3))
    imports(folder, 1)


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
    ("mixtral", {"shared_intermediate_size": 64}, "shared experts are not known"),
    ("minimax_m2", {"scoring_func": "softmax"}, "only sigmoid gates with a bias"),
    ("minimax_m2", {"use_routing_bias": False}, "only sigmoid gates with a bias"),
    ("minimax_m2", {"shared_intermediate_size": 64}, "shared experts are not known"),
    ("minimax_m2", {"hidden_act": "gelu"}, "only the activation silu"),
    ("minimax_m2", {"quantization_config": {"quant_method": "awq"}}, "only those in fp8"),
    ("jamba", {"hidden_act": "gelu"}, "only the activation silu"),
    ("jamba", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("phimoe", {"num_experts_per_tok": 3}, "sparsemixer picks 2"),
    ("phimoe", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("lfm2_moe", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("ernie4_5_moe", {"use_bias": True}, "experts with biases"),
    ("ernie4_5_moe", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("hunyuan_v1_moe", {"moe_layer_num_skipped": 1}, "layers without experts"),
    ("hunyuan_v1_moe", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("qwen3_5_moe", {"quantization_config": {"quant_method": "fp8"}}, "quantised checkpoints"),
    ("llama4", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("dbrx", {"quantization_config": {"bits": 8}}, "quantised checkpoints"),
    ("dbrx", {"ffn_config": {"moe_normalize_expert_weights": 2, "moe_num_experts": 4,
                             "ffn_hidden_size": 8, "moe_top_k": 2}}, "divided by their sum"),
    ("dbrx", {"ffn_config": {"moe_num_experts": 4, "ffn_hidden_size": 8, "moe_top_k": 2}},
     "moe_normalize_expert_weights"),
]


def small(kind):
    if kind == "switch_transformers":
        return {"model_type": kind, "num_layers": 4, "d_model": 16, "d_ff": 24,
                "num_experts": 4}
    if kind == "dbrx":
        return {"model_type": kind, "d_model": 16, "n_layers": 2, "ffn_config": {
            "ffn_hidden_size": 8, "moe_num_experts": 4, "moe_top_k": 2,
            "moe_normalize_expert_weights": 1}}
    if not kind.startswith(("deepseek", "kimi")):
        sizes = {**SIZES, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "moe_topk": 2,
                 "shared_expert_intermediate_size": 8, "intermediate_size_mlp": 8}
        return {"model_type": kind, **sizes, "text_config": sizes}
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


@test
def a_shard_that_cannot_be_read_is_one_message():
    w = {f"model.layers.0.block_sparse_moe.experts.{e}.{n}.weight": normal(*shape)
         for e in range(3) for n, shape in (("w1", (5, 8)), ("w2", (8, 5)), ("w3", (5, 8)))}
    w["model.layers.0.block_sparse_moe.gate.weight"] = normal(3, 8)
    folder = model({"model_type": "mixtral", "num_hidden_layers": 1, "hidden_size": 8,
                    "intermediate_size": 5, "num_local_experts": 3,
                    "num_experts_per_tok": 2}, w, shards=3)
    moec("run", folder)
    for harm in (lambda f: os.truncate(f, 7), os.unlink):
        harm(f"{folder}/model-00002-of-00003.safetensors")
        p = subprocess.run([MOEC, "run", folder], capture_output=True, text=True, timeout=60)
        assert p.returncode == 1 and p.stderr.count(": error: ") == 1, p.stderr
        assert p.stderr.startswith(f"{folder}/model-00002-of-00003"), p.stderr


main()
