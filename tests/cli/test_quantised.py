# SPDX-License-Identifier: Apache-2.0
# quantised: FP8 files with block scales, MXFP4 files; each code of the small formats.
import numpy as np

from cli import main, moec, summary, test, write
from families import (W123, agrees, deepseek, deepseek_layer, imports, model, normal, renamed,
                      rng, sigmoid, small_block, softmax, swiglu, tokens, top, top_routed)
from tensors import FP4, as_bf16, bf16, e4m3, mxfp4, save


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
def fp8_of_minimax():
    at = "model.layers.0.block_sparse_moe."
    stored, real = fp8(small_block(at, 200, 136, 5), 128, 128)
    bias = normal(5)
    folder = model({"model_type": "minimax_m2", "num_hidden_layers": 1, "hidden_size": 200,
                    "num_local_experts": 5, "intermediate_size": 136, "dtype": "float32",
                    "num_experts_per_tok": 2, "quantization_config": {"quant_method": "fp8"}},
                   {**renamed(stored, **W123), f"{at}e_score_correction_bias": bias})
    x = tokens(7, 200)
    agrees(folder, 0, x, top_routed(x, real, at, 2, sigmoid, bias))


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


main()
