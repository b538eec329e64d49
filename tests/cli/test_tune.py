# SPDX-License-Identifier: Apache-2.0
# tune: what it tries is said, what it writes is a plan that changes no bit.
import re

from cli import main, moec, summary, test, write

LAYER = """layer small {
  input   x: f32[T, 640]
  experts 6 of swiglu(96)
  route   softmax_topk(2)
}
plan cut { tile.kblock = 320  tile.rblock = 6  tile.panels = 1 }
"""


@test
def a_plan_that_changes_no_bit():
    src = write("layer.moe", LAYER)
    out = moec("tune", src, "--plan", "cut", "--tokens", "1,40", "--threads", 2, "-o", "t.moe")
    tried = re.findall(r"^(\S+) +tile\.(\w+) (\d+) -> (\d+): \d+\.\d+ of the time", out, re.M)
    assert {("gate+up", "kblock", "320", "256"), ("router", "kblock", "320", "256")} <= set(
        tried), out
    assert {name for name, *_ in tried} == {"router", "gate+up", "down"}, out
    assert not [t for t in tried if t[0] == "down" and t[1] == "kblock"], out   # k is 96
    with open("t.moe") as f:
        plan = f.read()
    assert plan.startswith("// moec tune: small on "), plan
    assert "plan tuned {" in plan and "2 threads, 1, 40 tokens" in plan, plan
    usual = summary(moec("run", src, "--tokens", 40))["checksum"]
    tuned = moec("run", src, "--plan", "t.moe", "--tokens", 40, "--check")
    assert summary(tuned)["checksum"] == usual, plan


@test
def wrong_uses():
    stack = write("stack.moe", "layer one {\n  input x: f32[T, 8]\n  output relu(x)\n}\n"
                               "model m {\n  input x: f32[T, 8]\n"
                               "  output one(one(x), name: \"two\")\n}\n")
    moec("tune", stack, "--layer", "m", status=1, said="tune one of its layers")
    src = write("layer.moe", LAYER)
    moec("tune", src, "--tokens", "1", "-o", "none/t.moe", status=1, said="none/t.moe")
    moec("tune", "none.moe", status=1, said="none.moe")
    moec("tune", src, "--tokens", "x", status=2, said="--tokens takes")


main()
