# SPDX-License-Identifier: Apache-2.0
# bench: the table and the JSON, of a layer small enough for a test.
import json
import os
import re
import subprocess

from cli import MOEC, main, moec, test, write


@test
def table_and_json():
    src = write("layer.moe", """layer small {
  input   x: f32[T, 512]
  experts 8 of swiglu(1024)
  route   softmax_topk(2)
}
""")
    out = moec("bench", src, "--tokens", "1,33", "--threads", 1, "--json", "bench.json")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and "roofline" in rows[0], out
    assert [line.split()[1] for line in rows[2:]] == ["1", "33"], out
    with open("bench.json") as f:
        got = json.load(f)
    assert set(got) == {"machine", "rows"}
    assert set(got["machine"]) == {"read_gb_s", "f32_gflop_s", "bf16_gflop_s", "i8_gop_s",
                                   "threads"}
    assert got["machine"]["threads"] == 1 and got["machine"]["read_gb_s"] > 0
    for row, tokens in zip(got["rows"], (1, 33)):
        assert set(row) == {"layer", "tokens", "threads", "weights", "ms_min", "ms_median",
                            "gb_per_s", "gflop_per_s", "roofline"}
        assert (row["layer"], row["tokens"], row["threads"]) == ("small", tokens, 1), row
        assert row["weights"] == "f32" and 0 < row["ms_min"] <= row["ms_median"], row
        assert row["roofline"] > 0, row         # how fast is no matter of a test
    one = got["rows"][0]            # two experts of three matrices, and the router
    bytes_of_one = 4 * (2 * 3 * 512 * 1024 + 8 * 512)
    assert abs(one["gb_per_s"] * one["ms_median"] * 1e6 / bytes_of_one - 1) < 1e-6, one
    flops = 2 * bytes_of_one / 4
    assert abs(one["gflop_per_s"] * one["ms_median"] * 1e6 / flops - 1) < 1e-6, one


def costs(src, layer, tokens):
    """Bytes and operations of a call, from the rates."""
    moec("bench", src, "--layer", layer, "--tokens", tokens, "--threads", 1, "--json", "b.json")
    with open("b.json") as f:
        row = json.load(f)["rows"][0]
    return [row[k] * row["ms_median"] * 1e6 for k in ("gb_per_s", "gflop_per_s")]


def routed(src):
    """Nanoseconds of each step of the calls of a bench that gives the routing."""
    p = subprocess.run([MOEC, "bench", src, "--skew=1", "--tokens=3", "--threads=1",
                        "--json=b.json"], capture_output=True, text=True,
                       env={**os.environ, "MOERT_TRACE": "1"})
    assert p.returncode == 0, p.stderr
    return {name: int(ns) for ns, name in re.findall(r"(\d+) ns  (.*)", p.stderr)}


@test
def a_router_that_nobody_asks_does_not_run():
    text = """policy best(x, p) { return top(2, p), p[top(2, p)] }
layer small {
  input   x: f32[T, 64]
  experts 8 of swiglu(128)
  p       = softmax(router(x))
  route   best(p)
  output  weight @ experts(pick, x)%s
}
"""
    steps = routed(write("given.moe", text % ""))
    assert steps["router"] == 0 < min(steps["gate+up"], steps["down"]), steps
    with open("b.json") as f:
        row = json.load(f)["rows"][0]
    flops = row["gflop_per_s"] * row["ms_median"] * 1e6
    assert abs(flops / (2 * 3 * 2 * 3 * 64 * 128) - 1) < 1e-6, row
    assert min(routed(write("asked.moe", text % " + sum(p)")).values()) > 0


@test
def a_model_costs_what_its_layers_cost():
    """64 tokens touch both experts of each layer; one token one of them."""
    src = write("model.moe", """layer moe {
  input   x: f32[T, 64]
  experts 2 of swiglu(128)
  route   softmax_topk(1)
}
layer twice {
  input   x: f32[T, 64]
  experts 2 of relu_ffn(128), 1 of relu_ffn(256)
  route   softmax_topk(3)
  p       = softmax(router(x, name: "other"))
  output  weight @ experts(pick, x) + p[top(2, p)] @ experts(top(2, p), x)
}
model stack {
  input x: f32[T, 64]
  for i in 3 { x = x + moe(x) }
  output x
}
""")
    router, expert = 2 * 64, 3 * 64 * 128
    for tokens, touched in (1, 1), (64, 2):
        moved, flops = costs(src, "stack", tokens)
        want = 3 * 4 * (router + touched * expert)
        assert abs(moved / want - 1) < 1e-6, (tokens, moved, want)
        want = 3 * 2 * tokens * (router + expert)
        assert abs(flops / want - 1) < 1e-6, (tokens, flops, want)
    # all experts once, then two of them for the second choice: two small ones, or one large
    routers, small, large = 2 * 3 * 64, 2 * 64 * 128, 2 * 64 * 256
    _, flops = costs(src, "twice", 1)
    least = 2 * (routers + 2 * small + large + 2 * small)
    assert least - 1 < flops < least + 2 * small + 1, (flops, least)


def experts_touched(src, skew, tokens):
    """From the bytes: the router does not run."""
    moec("bench", src, "--skew", skew, "--tokens", tokens, "--threads", 1, "--json", "b.json")
    with open("b.json") as f:
        row = json.load(f)["rows"][0]
    return row["gb_per_s"] * row["ms_median"] * 1e6 / (4 * 3 * 64 * 64)


@test
def routing_as_skewed_as_one_likes():
    src = write("layer.moe", "layer l {\n  input x: f32[T, 64]\n  experts 32 of swiglu(64)\n"
                             "  route softmax_topk(2)\n}\n")
    alike, zipf, same = (experts_touched(src, skew, 32) for skew in (0, 1.2, 100))
    assert abs(same - 2) < 1e-6, same
    assert same + 3 < zipf < alike - 3 <= 32 - 3, (same, zipf, alike)
    for bad in ("-1", "101", "x", "1.2x", "nan", ""):
        moec("bench", src, "--skew", bad, status=2, said="--skew takes a number from 0 to 100")
    write("plain.moe", "layer one {\n  input x: f32[T, 8]\n  output relu_ffn(x, 8)\n}\n")
    moec("bench", "plain.moe", "--skew", 1, status=1, said="has no routing of its own")


@test
def failures():
    src = write("layer.moe", "layer one {\n  input x: f32[T, 8]\n  output relu_ffn(x, 8)\n}\n")
    moec("bench", src, "--tokens", 2, "--json", "none/bench.json", status=1, said="none/")


main()
