# SPDX-License-Identifier: Apache-2.0
# families: models/ against its mathematics in NumPy, in other sizes than the fixtures'; what
# is refused.
import json
import os
import subprocess

import numpy as np

from cli import MOEC, main, moec, summary, test
from families import (agrees, deepseek, deepseek_layer, imports, matrices, model, normal,
                      routed, softmax, swiglu, tokens, top)
from tensors import as_bf16, bf16


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
        return {"model_type": kind, "num_hidden_layers": 2, "hidden_size": 16,
                "num_local_experts": 4, "intermediate_size": 8, "num_experts_per_tok": 2}
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
