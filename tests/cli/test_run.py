# SPDX-License-Identifier: Apache-2.0
# run: inputs, outputs, counts of tokens and experts, threads, and --check.
import json
import os
import re

import numpy as np

from cli import main, moec, summary, test, write


def layer(dtype="f32", width=32, experts="8 of swiglu(48)", route="softmax_topk(2)", more=""):
    return write("layer.moe", f"""layer small {{
  input   x: {dtype}[T, {width}]
  experts {experts}
  route   {route}
{more}}}
""")


def checksum(*args):
    return summary(moec("run", *args))["checksum"]


@test
def summary_tells_shape_routing_time_and_checksum():
    out = moec("run", layer(), "--tokens", 5)
    s = summary(out)
    assert s["layer"] == "small: x f32[5, 32] -> y f32[5, 32]", out
    assert s["routing"].startswith("8 experts, 2 picks a token; 10 rows, 0 empty"), out
    counts = [int(n) for n in re.search(r"^ +0:(.*)$", out, re.M).group(1).split()]
    assert len(counts) == 8 and sum(counts) == 10, out
    assert s["time"].endswith(" ms") and re.fullmatch("[0-9a-f]{16}", s["checksum"]), out


@test
def counts_of_tokens():
    for dtype in ("f32", "bf16"):
        src = layer(dtype)
        for tokens in (0, 1, 2, 7, 13, 64, 101):
            out = moec("run", src, "--tokens", tokens, "--output", "y.npy", "--check")
            y = np.load("y.npy")
            assert y.shape == (tokens, 32) and y.dtype == np.float32, out


@test
def one_expert_of_many_and_all_of_them():
    for k in (1, 8):
        for dtype in ("f32", "bf16"):
            moec("run", layer(dtype, route=f"softmax_topk({k})"), "--check")
    moec("run", layer(experts="1 of relu_ffn(16)", route="softmax_topk(1)"), "--check")


@test
def widths_that_no_vector_divides():
    for width, hidden in ((1, 1), (3, 5), (17, 19), (33, 47), (67, 129)):
        src = layer(width=width, experts=f"5 of swiglu({hidden})")
        moec("run", src, "--tokens", 11, "--check")
        moec("run", layer("bf16", width, f"5 of swiglu({hidden})"), "--tokens", 11, "--check")


@test
def threads_do_not_change_a_bit():
    for dtype in ("f32", "bf16"):
        src = layer(dtype, 64, "16 of swiglu(96)", "softmax_topk(4)")
        sums = {checksum(src, "--tokens", 67, "--threads", n) for n in (1, 2, 3, 7)}
        assert len(sums) == 1, (dtype, sums)


def same_rows_in_parts(src, width, parts, *options):
    x = np.random.default_rng(1).standard_normal((29, width)).astype(np.float32)
    np.save("x.npy", x)
    moec("run", src, "--input", "x.npy", "--output", "y.npy", *options)
    y = np.load("y.npy")
    for first, last in parts:
        np.save("part.npy", x[first:last])
        moec("run", src, "--input", "part.npy", "--output", "part_y.npy", *options)
        assert np.array_equal(np.load("part_y.npy"), y[first:last]), (options, first, last)


@test
def a_token_does_not_see_its_neighbours():
    same_rows_in_parts(layer(), 32, ((0, 1), (28, 29), (3, 17)))


@test
def panels_side_by_side():
    """Few rows pass several panels at once, some are left over, the summed axis ends in a pair."""
    for dtype in ("f32", "bf16"):
        src = layer(dtype, 1211, "2 of swiglu(515)", "softmax_topk(2)")
        for line in moec("targets").splitlines():
            if "native" in line or "runs here" in line:
                options = "--target", line.split()[0], "--threads", 1
                same_rows_in_parts(src, 1211, ((0, 1), (3, 5), (7, 10), (11, 15)), *options)
                moec("run", src, "--tokens", 1, "--check", *options)


@test
def seeds():
    src = layer()
    assert checksum(src) == checksum(src, "--seed", 0) != checksum(src, "--seed", 1)
    assert checksum(src, "--seed", 1) == checksum(src, "--seed=0x1")


@test
def the_weights_of_a_seed_are_the_interpreters_too():
    src = layer()
    moec("run", src, "--output", "a.npy")
    moec("run", src, "--output", "b.npy", "--reference")
    a, b = np.load("a.npy"), np.load("b.npy")
    assert np.abs(a).max() > 0 and np.allclose(a, b, rtol=1e-4, atol=1e-7)


@test
def every_target_of_this_machine():
    src = layer("bf16")
    for line in moec("targets").splitlines():
        if "native" in line or "runs here" in line:
            moec("run", src, "--target", line.split()[0], "--check")


@test
def wrong_inputs():
    src = layer()
    x = np.zeros((4, 32), np.float32)
    for name, array, said in [
        ("wide", np.zeros((4, 33), np.float32), "[T, 32]"),
        ("flat", np.zeros(32, np.float32), "[T, 32]"),
        ("deep", np.zeros((1, 4, 32), np.float32), "[T, 32]"),
        ("ints", np.zeros((4, 32), np.int32), "float32"),
        ("doubles", x.astype(np.float64), "doubles.npy"),
        ("fortran", np.asfortranarray(np.ones((4, 32), np.float32)), "fortran.npy"),
    ]:
        np.save(name, array)
        moec("run", src, "--input", f"{name}.npy", status=1, said=said)
    np.save("x", x)
    moec("run", src, "--input", "x.npy", "--tokens", 5, status=1,
         said=["x.npy", "4 tokens", "5"])
    moec("run", src, "--input", "x.npy", "--tokens", 4)
    moec("run", src, "--input", "xx=x.npy", status=1, said=["`xx`", "did you mean `x`?"])
    moec("run", src, "--input", "none.npy", status=1, said="none.npy")
    with open("x.npy", "rb") as f:
        data = f.read()
    for n in (0, 5, 9, 100, len(data) - 1):
        with open("cut.npy", "wb") as f:
            f.write(data[:n])
        moec("run", src, "--input", "cut.npy", status=1, said="cut.npy")


@test
def no_output_is_left_behind_by_failures():
    src = layer()
    moec("run", src, "--output", "none/y.npy", status=1, said="none/y.npy")
    before = set(os.listdir("."))
    moec("run", src, "--input", "none.npy", "--output", "y.npy", status=1)
    assert set(os.listdir(".")) == before


@test
def losses_of_no_tokens_are_zero():
    src = write("noisy.moe", """layer noisy {
  input   x: f32[T, 8]
  experts 4 of relu_ffn(8)
  route   noisy_topk(2)
  loss    route.importance
}
""")
    for how in ("--reference", "--check"):  # importance divides by a mean of nothing
        assert summary(moec("run", src, "--tokens", 0, how))["loss"] == "0", how


@test
def further_inputs_by_name():
    src = write("hash.moe", """layer by_id {
  input   x: f32[T, 16]
  input   token: i32[T]
  experts 4 of relu_ffn(8)
  route   hash(token, 50)
}
""")
    x = np.random.default_rng(2).standard_normal((5, 16)).astype(np.float32)
    np.save("x", x)
    np.save("token", np.array([0, 7, 49, 50, -3], np.int32))
    out = moec("run", src, "--input", "token=token.npy", "--input", "x=x.npy", "--check",
               "--output", "y.npy")
    assert "3 rows, 2 empty" in out, out    # beyond the vocabulary: none
    y = np.load("y.npy")
    assert np.any(y[:3] != 0, axis=1).all() and not y[3:].any()
    np.save("token", np.zeros(5, np.float32))
    moec("run", src, "--input", "token=token.npy", status=1, said="int32")
    counts = moec("run", src, "--tokens", 400)  # unnamed: uniform over the vocabulary
    counts = [int(n) for n in re.search(r"^ +0:(.*)$", counts, re.M).group(1).split()]
    assert sum(counts) == 400 and min(counts) > 20, counts


@test
def what_each_thread_did():
    src = layer("f32", 256, "8 of swiglu(512)")
    plain = checksum(src, "--tokens", 70, "--threads", 2)
    assert checksum(src, "--tokens", 70, "--threads", 2, "--time-trace", "t.json") == plain
    with open("t.json") as f:
        events = json.load(f)["traceEvents"]
    assert events[0] == {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "small"}}
    spans = {tid: [e for e in events if e["ph"] == "X" and e["tid"] == tid] for tid in (0, 1)}
    assert len(spans[0]) + len(spans[1]) == len(events) - 1, events
    steps = ["router", "group", "gate+up", "down"]
    assert {e["name"] for own in spans.values() for e in own} == {*steps, "wait"}, events
    for tid, own in spans.items():          # who is late does not take part in all of them
        work = [steps.index(e["name"]) for e in own if e["name"] != "wait"]
        assert work == sorted(work), (tid, work)
        ends = 0
        for e in own:
            assert e["ts"] >= ends - 0.002 and e["dur"] >= 0, (tid, e)
            ends = e["ts"] + e["dur"]
    moec("run", src, "--reference", "--time-trace", "t.json", status=2,
         said="--time-trace is of compiled code, --reference interprets")
    moec("run", src, "--time-trace", "none/t.json", status=1, said="none/t.json")


main()
