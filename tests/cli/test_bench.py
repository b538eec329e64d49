# SPDX-License-Identifier: Apache-2.0
# bench: the table and the JSON, of a layer small enough for a test.
import json

from cli import main, moec, test, write


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


@test
def failures():
    src = write("layer.moe", "layer one {\n  input x: f32[T, 8]\n  output relu_ffn(x, 8)\n}\n")
    moec("bench", src, "--tokens", 2, "--json", "none/bench.json", status=1, said="none/")


main()
