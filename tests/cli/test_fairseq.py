# SPDX-License-Identifier: Apache-2.0
# fairseq: its options, and the flags of its command line, against its gates in NumPy.
import os

import numpy as np

from cli import main, moec, summary, test, write
from families import agrees, imports, model, normal, softmax, tokens, top
from tensors import save


ISSUE = ("--moe-experts 16 --moe-freq 2 --moe-gating-type top --moe-k 2 "
         "--moe-gate-loss-wt 0.01 --moe-second-expert-policy all "
         "--moe-normalize-gate-prob-before-dropping "
         "--moe-eval-capacity-token-fraction 0.25")


def ffn_matrices(at, width, hidden):
    return {f"{at}fc1.weight": normal(hidden, width), f"{at}fc1.bias": normal(hidden),
            f"{at}fc2.weight": normal(width, hidden), f"{at}fc2.bias": normal(width)}


def fairseq(flags="", stack="decoder", width=40, hidden=24, experts=16, **more):
    config = {"model_type": "fairseq_moe", f"{stack}_layers": 4, f"{stack}_embed_dim": width,
              f"{stack}_ffn_embed_dim": hidden, "dtype": "float32", **more}
    if flags:
        config["flags"] = flags
    w = ffn_matrices(f"{stack}.layers.0.", width, hidden)
    at = f"{stack}.layers.1.moe_layer."
    w[f"{at}gate.wg.weight"] = normal(experts, width)
    for e in range(experts):
        w.update(ffn_matrices(f"{at}experts.{e}.", width, hidden))
    return config, w


def relu(v):
    return np.maximum(v, 0)


def ffn(x, w, at, act=relu):
    h = x @ w[f"{at}fc1.weight"].astype(float).T + w[f"{at}fc1.bias"]
    return act(h) @ w[f"{at}fc2.weight"].astype(float).T + w[f"{at}fc2.bias"]


def fairseq_layer(x, w, k=2, fraction=0.25, before=False, surest=False, at="decoder"):
    """Its output, its first choices' balance, how many picks are dropped."""
    at += ".layers.1.moe_layer."
    logits = x @ w[f"{at}gate.wg.weight"].astype(float).T
    p, n = softmax(logits), len(x)
    experts = p.shape[1]
    pick = top(p, k)
    gates = np.take_along_axis(p, pick, 1)
    if k == 2 and before:
        gates = gates / gates.sum(1, keepdims=True)
    seats = int(np.ceil(fraction * n)) if fraction > 0 else k * -(-n // experts)
    order = np.argsort(-p.max(1), kind="stable") if surest else range(n)
    taken = np.zeros(experts, int)
    kept = np.zeros((n, k), bool)
    for slot in range(k):                       # all first choices stand before second ones
        for t in order:
            kept[t, slot] = taken[pick[t, slot]] < seats
            taken[pick[t, slot]] += 1
    gates = gates * kept
    if k == 2 and not before:
        gates = gates / np.maximum(gates.sum(1, keepdims=True), 1e-30)
    y = np.zeros_like(x)
    for t in range(n):
        for e, g in zip(pick[t], gates[t]):
            y[t] += g * ffn(x[t], w, f"{at}experts.{e}.") if g else 0
    share = np.bincount(pick[:, 0], minlength=experts) / n
    return y, experts * share @ p.mean(0), (~kept).sum()


def routes(src, x, expected, loss):
    """Tokens that lost both picks are exactly 0."""
    np.save("x.npy", x.astype(np.float32))
    said = summary(moec("run", *src, "--input", "x.npy", "--output", "y.npy"))
    y, size = np.load("y.npy"), np.linalg.norm(expected, axis=1)
    assert np.all(y[size == 0] == 0)
    assert np.max(np.linalg.norm(y - expected, axis=1) / np.where(size > 0, size, 1)) <= 2e-5
    assert abs(float(said["loss"]) / loss - 1) < 1e-5, (said["loss"], loss)


@test
def fairseq_flags():
    """The command line of the first releases, as it stands; two of four layers are MoE."""
    config, w = fairseq(ISSUE)
    folder = model(config, w, shards=2)
    x = tokens(50, 40)
    y, balance, _ = fairseq_layer(x, w, before=True)
    routes([folder, "--layer", "decoder.1"], x, y, 0.01 * balance / 2)
    agrees(folder, "decoder.0", x, ffn(x, w, "decoder.layers.0."))
    assert moec("run", folder).startswith("layer     moe")
    imports(folder, "decoder.1")
    os.unlink("model/model.safetensors.index.json")
    for name in os.listdir("model"):
        if name.endswith(".safetensors"):
            os.unlink(f"model/{name}")
    kinds = [moec("compile", "model", "--layer", f"decoder.{n}", "--emit=header")
             for n in range(4)]
    assert [("moe_open" in k, "dense_open" in k) for k in kinds] == 2 * [(False, True),
                                                                          (True, False)]


@test
def fairseq_top_2_drops():
    x = tokens(60, 40)
    keys = {"moe_expert_count": 16, "decoder_moe_freq": 2, "moe_second_expert_policy": "all"}
    drops = set()
    for fraction in (0.05, 0.1, 0.25, -1):
        for before in (False, True):
            for surest in (False, True):
                config, w = fairseq(
                    **keys, moe_eval_capacity_token_fraction=fraction,
                    moe_normalize_gate_prob_before_dropping=before,
                    moe_batch_prioritized_routing=surest,
                    moe_gate_loss_combine_method="sum", moe_gate_loss_wt=0.5)
                folder = model(config, w)
                y, balance, dropped = fairseq_layer(x, w, 2, fraction, before, surest)
                routes([folder, "--layer", "decoder.1"], x, y, 0.5 * balance)
                drops.add(dropped > 0)
    assert drops == {True, False}
    imports(folder, "decoder.1")


@test
def gshards_gate():
    """The standard library's top2.  Where second choices begin changes no seat."""
    x = tokens(60, 40)
    _, w = fairseq()
    save("w.safetensors", w)
    for capacity in (0.05, 0.1, 0.5):
        for before in (False, True):
            for kept in ("false", "true"):
                src = write("l.moe", f"""layer l {{
  input   x: f32[T, 40]
  experts 16 of relu_ffn(24, bias: true)
  route   top2(ceil({capacity} * T), second: "all", before: {str(before).lower()}, kept: {kept})
  loss    0.01 * balance([route.e1], route.p)
  weights "decoder.layers.1.moe_layer." {{
    router  = "gate.wg.weight"
    up      = "experts.{{expert}}.fc1.weight"
    down    = "experts.{{expert}}.fc2.weight"
    up.bias = "experts.{{expert}}.fc1.bias"
    down.bias = "experts.{{expert}}.fc2.bias"
  }}
}}
""")
                y, balance, _ = fairseq_layer(x, w, 2, capacity, before)
                routes([src, "--weights", "w.safetensors"], x, y, 0.01 * balance)


@test
def fairseq_top_1():
    x = tokens(60, 40)
    for more in ({"moe_top1_expert": True, "moe_expert_count": 16}, {"moe_k": 1,
                                                                    "moe_experts": 16}):
        config, w = fairseq(**more, moe_freq=2, moe_eval_capacity_token_fraction=0.1)
        y, balance, dropped = fairseq_layer(x, w, 1, 0.1)
        assert dropped
        routes([model(config, w), "--layer", "decoder.1"], x, y, balance / 2)
    config, w = fairseq(**more, moe_freq=2, moe_gate_loss_transform="neg_log")
    y, balance, _ = fairseq_layer(x, w, 1)
    routes([model(config, w), "--layer", "decoder.1"], x, y, -np.log(balance) / 2)
    imports("model", "decoder.1")


@test
def fairseq_encoders():
    config, w = fairseq(stack="encoder", moe_experts=16, encoder_moe_freq=2, hidden=32,
                        moe_second_expert_policy="all", activation_fn="gelu_fast",
                        encoder_ffn_embed_dim=24, moe_expert_ffn_dim=32)
    w.update(ffn_matrices("encoder.layers.0.", 40, 24))
    folder = model(config, w)
    x = tokens(20, 40)

    def gelu_tanh(v):
        return 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v ** 3)))
    agrees(folder, "encoder.0", x, ffn(x, w, "encoder.layers.0.", gelu_tanh))
    moec("run", folder, "--layer", "encoder.1", "--check")
    imports(folder, "encoder.1")


@test
def fairseq_second_experts_by_chance():
    """random: twice the gate is the chance to stay; sampling: both stay."""
    x = tokens(400, 40)
    np.save("x.npy", x.astype(np.float32))
    for second in ("random", "sampling"):
        config, w = fairseq(moe_experts=16, moe_freq=2, moe_second_expert_policy=second,
                            moe_normalize_gate_prob_before_dropping=True,
                            moe_eval_capacity_token_fraction=1.0)
        model(config, w)
        runs = [moec("run", "model", "--layer", "decoder.1", "--input", "x.npy", "--seed", seed)
                for seed in (1, 1, 2)]
        sums = [summary(r)["checksum"] for r in runs]
        assert sums[0] == sums[1] != sums[2]
        rows = int(runs[0].split(" picks a token; ")[1].split()[0])
        p = softmax(x @ w["decoder.layers.1.moe_layer.gate.wg.weight"].astype(float).T)
        best = np.sort(p, 1)[:, -2:]
        stay = np.minimum(2 * best[:, 0] / best.sum(1), 1)
        if second == "sampling":
            assert rows == 800
        else:
            off = rows - 400 - stay.sum()
            assert abs(off) < 5 * np.sqrt((stay * (1 - stay)).sum()), (rows, stay.sum())
        moec("run", "model", "--layer", "decoder.1", "--input", "x.npy", "--check")


@test
def flags_that_are_wrong():
    for flags, said in (("moe-k 2", "`moe-k` is no flag"), (3, "`flags` is no text"),
                        ("--", "`--` is no flag"), ("--moe-k=1 2", "`2` belongs to no flag"),
                        ("--decoder-layers 4", "`decoder_layers` stands in `flags` and beside"),
                        ("--moe-k 3", "only the gates top-1 and top-2"),
                        ("--moe-k two", "only the gates top-1 and top-2"),
                        ("--moe-gating-type hash", "only the gates top-1 and top-2"),
                        ("--use-moe-pad-mask", "use_moe_pad_mask is not supported"),
                        ("--moe-second-expert-policy best", "all, sampling or random"),
                        ("--moe-eom 0.2", "moe_eom and moe_token_dropout"),
                        ("--moe-local-drop", "moe_local_drop are not supported"),
                        ("--activation-fn tanh", "activation_fn may be relu")):
        config, w = fairseq(moe_expert_count=16, moe_freq=2)
        model({**config, "flags": flags}, w)
        moec("run", "model", status=1, said=said)
    config["flags"] = "--moe-k=1  --betas 0.9 0.98 --fp16 --moe-k 2\n--lr -1e-3"
    model(config, w)
    moec("run", "model")


main()
