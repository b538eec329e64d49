# SPDX-License-Identifier: Apache-2.0
# plan: tiles change the schedule and not a bit of the result; what is wrong is said.
import re
import subprocess

from cli import MOEC, main, moec, summary, test, write

LAYER = """lanes = 16
layer small {
  input   x: %s[T, 150]
  experts 6 of swiglu(200)
  route   softmax_topk(2)
}
plan wide {
  tile.columns     = 2 * lanes
  tile.rows        = 4
  tile.kblock.down = 64
  tile.panels      = 3
  tile.rblock      = 9
  if lanes > 8 { tile.rows.router = 1 } else { tile.rows.router = 99 }
}
plan tall  { tile.rows = 16  tile.kblock = 0 }
plan thin  { tile.rows = 1  tile.columns = 16  tile.kblock = 64  tile.rblock = 2 }
plan broad { tile.rows = 3  tile.columns = 64  tile.panels = 64 }
"""


def targets():
    return [line.split()[0] for line in moec("targets").splitlines()
            if "native" in line or "runs here" in line]


@test
def settings_reach_their_kernels():
    src = write("layer.moe", LAYER % "bf16")
    ir = moec("compile", src, "--plan", "wide", "--emit=ir", "--target", "x86-64-v4")
    kernels = {name: numbers for name, *numbers in
               re.findall(r'name="([^"]*)", rows=(\d+), vectors=\d+, cols=(\d+), kblock=(\d+), '
                          r'.*together=(\d+), rblock=(\d+)', ir)}
    assert kernels == {"router": ["1", "32", "0", "3", "9"],
                       "gate+up": ["4", "32", "0", "3", "8"],
                       "down": ["4", "32", "64", "3", "8"]}, kernels


@test
def results_stay():
    for dtype in ("f32", "bf16"):
        src = write("layer.moe", LAYER % dtype)
        for target in targets():
            how = ("--target", target, "--tokens", 37)
            usual = summary(moec("run", src, *how))["checksum"]
            for plan in ("wide", "tall", "thin", "broad"):
                out = moec("run", src, *how, "--plan", plan, "--check")
                assert summary(out)["checksum"] == usual, (dtype, target, plan)


@test
def a_plan_of_its_own_file():
    src = write("layer.moe", LAYER % "f32")
    write("plan.moe", "plan p { tile.rows = 2 }\n")
    assert "rows=2," in moec("compile", src, "--plan", "plan.moe", "--emit=ir")
    moec("pack", src, "--plan", "plan.moe", "-o", "a.moew")
    out = moec("run", src, "--plan", "plan.moe", "--weights", "a.moew")
    assert summary(out)["checksum"] == summary(moec("run", src))["checksum"]
    moec("pack", src, "--plan", "thin", "-o", "b.moew")
    moec("run", src, "--weights", "b.moew", status=1, said="b.moew")
    moec("run", src, "--plan", "layer.moe", status=1, said="4 plans: wide, tall")
    moec("run", src, "--plan", "wide1", status=1, said="did you mean `wide`?")
    moec("run", src, "--plan", "none.moe", status=1, said="none.moe")


@test
def columns_that_fill_no_vector_are_told():
    def notes(width, hidden, *how):
        src = write("odd.moe", f"layer odd {{\n  input x: f32[T, {width}]\n"
                               f"  experts 6 of swiglu({hidden})\n  route softmax_topk(2)\n}}\n")
        p = subprocess.run([MOEC, "compile", src, "--target", "x86-64-v4", "--emit=ir", *how],
                           capture_output=True, text=True, timeout=300)
        assert p.returncode == 0, p.stderr
        return re.findall(r"perf: (\S+) computes (\d+) columns as (\d+)", p.stderr)

    assert notes(64, 96) == []
    assert notes(1000, 504) == []           # one in sixteen may be wasted
    assert notes(64, 100) == [("gate+up", "100", "112")]
    assert notes(72, 96) == [("down", "72", "80")]
    assert notes(64, 96, "--plan", write("p.moe", "plan p { tile.columns = 64 }\n")) == [
        ("gate+up", "96", "128")]


@test
def what_a_plan_cannot_say():
    for text, said in [
        ("tile.colums = 3", "a tile has no `colums`"),
        ("tile = 2", "which part of the tile?"),
        ("til.rows = 2", "did you mean `tile`?"),
        ("precision.down[0:2] = i8", "`precision` is not supported yet"),
        ("memory = 8GiB", "`memory` is not supported yet"),
        ("home[0:64] = node(0)", "`home` is not supported yet"),
        ("tile.rows[0] = 3", "the same for all experts"),
        ("tile.rows = 2.5", "a whole number, not 2.5"),
        ("tile.rows = 0", "a tile's size"),
        ("tile.rows = 17", "1 to 16"),
        ("tile.panels = 65", "1 to 64"),
        ("tile.rblock = 0", "a tile's size"),
        ("tile.columns = 20", "a multiple of"),
        ("tile.columns.gate = 1024", "a multiple of"),
        ("tile.kblock.down = 65", "a multiple of 64"),
        ("tile.rows.dow = 2", "did you mean `down`?"),
        ("tile.rows = T", "T"),
    ]:
        write("bad.moe", f"plan bad {{ {text} }}\n")
        moec("run", write("layer.moe", LAYER % "f32"), "--plan", "bad.moe", status=1, said=said)
    moec("compile", "layer.moe", "--plan", "wide", "--no-pass=schedule-blocks", status=1,
         said="the plan has no effect")


main()
