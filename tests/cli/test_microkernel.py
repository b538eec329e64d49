# SPDX-License-Identifier: Apache-2.0
# microkernel: every contraction has a line for each height of its tile, and one for many.
import os
import re
import subprocess

from cli import MOEC, ROOT, main, test, write


@test
def each_height_of_each_contraction():
    src = write("layer.moe", "layer small {\n  input x: f32[T, 96]\n"
                             "  experts 6 of swiglu(160)\n  route softmax_topk(2)\n}\n"
                             "plan five { tile.rows = 5  tile.kblock.down = 64 }\n")
    out = subprocess.run([os.path.join(ROOT, "bench", "microkernel"), src, "--plan", "five"],
                         env={**os.environ, "BUILD": os.path.dirname(MOEC)}, text=True,
                         capture_output=True, timeout=300)
    assert out.returncode == 0, out.stderr
    rows = {}
    _, *lines, call = out.stdout.splitlines()
    assert re.fullmatch(r"a call of 1 token: [\d.]+ us, its panels [\d.]+ us, "
                        r"beyond them -?[\d.]+ us", call), call
    for line in lines:
        name, k, n, _, _, fraction = re.match(
            r"(\S+) +(\d+) +(\d+) +([\d.]+) us +(\d+) GFLOP/s +([\d.]+|nan|inf) of", line).groups()
        assert float(fraction) > 0, line
        rows.setdefault((name, int(k)), []).append(int(n))
    assert rows == {key: [1, 2, 3, 4, 5, 60] for key in
                    (("router", 96), ("gate+up", 96), ("down", 160))}, out.stdout


@test
def wrong_use_is_said():
    program = os.path.join(os.path.dirname(MOEC), "bench", "microkernel")
    none = subprocess.run([program], text=True, capture_output=True, timeout=60)
    assert none.returncode == 2 and "usage" in none.stderr, none
    lost = subprocess.run([program, "./none.so", "a"], text=True, capture_output=True, timeout=60)
    assert lost.returncode == 1 and "none.so" in lost.stderr, lost


main()
