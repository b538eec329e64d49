# SPDX-License-Identifier: Apache-2.0
# targets: libraries for several of them, which choose at open, and for machines that this one
# is not, which run under qemu-user.
import os
import re
import shutil
import subprocess

import numpy as np

from cli import MOEC, ROOT, SANITIZED, Skip, main, moec, summary, test, write

LAYER = """layer small {
  input   x: f32[T, 37]
  experts 6 of swiglu(41)
  route   softmax_topk(2)
}
"""


def source(dtype="f32"):
    return write("layer.moe", LAYER.replace("f32", dtype))


def targets(how):
    rows = [line.split() for line in moec("targets").splitlines()]
    return [row[0] for row in rows if re.search(how, " ".join(row))]


def here():
    """From the least to the most able."""
    found = targets("native|runs here")
    if len(found) < 2:
        raise Skip("fewer than two targets run here")
    return found


def foreign():
    found = targets("under qemu")
    if not found:
        raise Skip("no foreign compiler, or no qemu-user")
    return found


def with_env(args, said="", status=0, **env):
    p = subprocess.run([MOEC, *map(str, args)], capture_output=True, text=True,
                       env={**os.environ, **env})
    assert p.returncode == status, p.stdout + p.stderr
    assert said in p.stderr, p.stderr
    return p.stdout


def ran(text):
    s = summary(text)
    return s["run"].split()[2].rstrip(","), s["checksum"]


def sum_loops(asm):
    """The loops over k of tiles: blocks that jump back to themselves, with dots in them."""
    found = []
    for block in re.split(r"\n(?=\.LBB\S+:)", asm):
        label, *body = block.split("\n")
        label = label.split(":")[0]
        ends = [i for i, line in enumerate(body)
                if re.search(rf"\s(j\w+|b\.\w+|cbn?z\s.*,)\s*{re.escape(label)}$", line)]
        if ends and re.search("vfmadd|vdpbf16ps|fmla|bfdot", "".join(body[:ends[-1]])):
            found.append(body[:ends[-1]])
    return found


@test
def accumulators_stay_in_registers():
    """In tiles of the default shape and of another one, with widths as models have them."""
    wide = write("wide.moe", "plan wide { tile.rows = 12  tile.columns = 32  "
                 "tile.columns.gate = 16 }\n")
    for dtype in ("f32", "bf16"):
        for target in targets(""):
            plan = ["--plan", wide] if "v4" in target else []
            for options in ([], plan):
                src = write("model.moe", LAYER.replace("f32", dtype).replace("37", "1024")
                                         .replace("41", "704"))
                loops = sum_loops(moec("compile", src, "--target", target, "--emit=asm",
                                       *options))
                assert len(loops) > 10, (target, len(loops))
                for loop in loops:
                    spilt = [line for line in loop
                             if re.search(r"[xyz]mm.*\(%rsp|\(%rsp.*[xyz]mm|"
                                          r"[qv]\d+.*\[sp", line)]
                    assert not spilt, (target, dtype, options, spilt)


@test
def each_variant_gives_its_own_targets_bits():
    src, names = write("wide.moe", LAYER.replace("f32", "bf16").replace("37", "301")), here()
    both = ",".join(names)
    alone = {name: ran(moec("run", src, "--tokens", 500, "--target", name)) for name in names}
    if "x86-64-v4-bf16" in names:       # others differ in speed alone
        assert len({bits for _, bits in alone.values()}) > 1, alone
    assert ran(moec("run", src, "--tokens", 500, "--target", both)) == alone[names[-1]]
    for name in names:
        got = ran(with_env(["run", src, "--tokens", 500, "--target", both],
                           MOERT_TARGET=name))
        assert got == alone[name] and got[0] == name, (name, got)
    with_env(["run", src, "--target", both], MOERT_TARGET="x86-64-v9", status=1,
             said="layer small is not compiled for x86-64-v9")


@test
def packed_weights_hold_every_layout_once():
    src, names = source(), here()
    both = ",".join(names)
    moec("pack", src, "--target", both, "-o", "both.moew")
    for name in names:
        moec("pack", src, "--target", name, "-o", "one.moew")
        one = ran(moec("run", src, "--target", name, "--weights", "one.moew"))
        # the library takes the target whose layout the file holds
        got = ran(moec("run", src, "--target", both, "--weights", "one.moew"))
        assert got[0] == name or one[1] == ran(with_env(
            ["run", src, "--target", both, "--weights", "one.moew"],
            MOERT_TARGET=name))[1], (name, got)
        got = ran(with_env(["run", src, "--target", both, "--weights", "both.moew"],
                           MOERT_TARGET=name))
        assert got == one, (name, got)
    sizes = {}
    for name in names + [both]:
        moec("pack", src, "--target", name, "-o", "one.moew")
        sizes[name] = os.path.getsize("one.moew")
    assert sizes[both] > max(sizes[name] for name in names), sizes
    assert sizes[both] < sum(sizes[name] for name in names), sizes  # v4's layouts are one
    moec("pack", src, "--target", names[0], "-o", "least.moew")
    got = ran(moec("run", src, "--target", both, "--weights", "least.moew"))
    assert got[0] == names[0], got
    moec("run", src, "--target", names[-1], "--weights", "least.moew", status=1,
         said="least.moew: error: layer small is packed for")


HOST = """#include "small.h"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	char why[200] = "";
	small_options o = {.size = sizeof o, .why = why, .why_size = sizeof why};
	small_model *m;
	o.target = argc > 1 ? argv[1] : NULL;
	int error = small_open("small.moew", &o, &m);
	printf("%d %s\\n", error, error ? why : small_target(m));
	small_close(m);
	return 0;
}
"""


def host(targets_of, *command):
    src = source()
    moec("compile", src, "--target", targets_of, "-o", "libsmall.so")
    moec("compile", src, "--target", targets_of, "--emit=header", "-o", "small.h")
    moec("pack", src, "--target", targets_of, "-o", "small.moew")
    write("host.c", HOST)
    subprocess.run("gcc -Wall -Wextra -Werror host.c -o host -L. -lsmall -Wl,-rpath,.",
                   shell=True, check=True)
    p = subprocess.run([*command[:-1], "./host", *command[-1]], capture_output=True,
                       text=True, check=True)
    return p.stdout.split(None, 1)


@test
def a_host_program_names_a_target_or_takes_the_best():
    names = here()
    both = ",".join(names)
    assert host(both, []) == ["0", names[-1] + "\n"]
    assert host(both, [names[0]]) == ["0", names[0] + "\n"]
    error, why = host(both, ["pdp-11"])
    assert error == "10" and "not compiled for pdp-11" in why, why
    with open("small.h") as f:
        assert f"for {', '.join(reversed(names))}\n" in f.read()


@test
def a_cpu_without_avx512_gets_what_it_has():
    if not shutil.which("qemu-x86_64"):
        raise Skip("no qemu-x86_64")
    if "x86-64-v4" not in targets("x86_64-linux-gnu"):
        raise Skip("another machine")
    if SANITIZED:
        raise Skip("a sanitizer's memory is too large for qemu")
    plays = ("qemu-x86_64", "-cpu", "max")
    assert host("x86-64-v4,x86-64-v3", *plays, []) == ["0", "x86-64-v3\n"]
    error, why = host("x86-64-v4", *plays, [])
    assert error == "10" and "avx512f" in why, why
    error, why = host("x86-64-v4,x86-64-v3", *plays, ["x86-64-v4"])
    assert error == "10" and "avx512f" in why, why


@test
def lists_that_make_no_sense():
    src = source()
    moec("compile", src, "--target=x86-64-v3,aarch64", status=2,
         said="'x86-64-v3' and 'aarch64' cannot share a library")
    moec("compile", src, "--target=x86-64-v3,", status=2, said="no target ''")
    moec("compile", src, "--target=x86-64-v3,x86-64-v5", status=2, said="'x86-64-v5'")
    moec("compile", src, "--target=x86-64-v3,x86-64-v4", "--emit=ir", status=2,
         said="IR is for one target")
    moec("bench", src, "--target=x86-64-v3,x86-64-v4", status=2, said="one target")
    moec("compile", src, "--target=x86-64-v3,x86-64-v3", "--emit=ir")
    text = moec("compile", src, "--target=x86-64-v3,x86-64-v4", "--emit=asm")
    assert "ymm" in text and "zmm" in text


@test
def tails_of_vectors_on_foreign_machines():
    for target in foreign():
        for width in range(1, 10):      # a vector has 4 lanes
            dtype = ("f32", "bf16", "f16")[width % 3]
            src = write("tail.moe", LAYER.replace("f32", dtype).replace(
                "37", str(width)).replace("41", str(10 - width)))
            moec("run", src, "--target", target, "--tokens", 7, "--check")


@test
def foreign_machines_draw_the_same_numbers():
    src = write("noisy.moe", """layer noisy {
  input   x: f32[T, 16]
  experts 8 of relu_ffn(8)
  route   noisy_topk(2)
}
""")
    for target in foreign():
        out = moec("run", src, "--target", target, "--tokens", 50, "--seed", 9, "--check")
        assert "0 of 50 tokens chose otherwise" in out, out


@test
def foreign_machines_choose_at_open():
    names = foreign()
    if len(names) < 2:
        raise Skip("one foreign target")
    src, both = source("bf16"), ",".join(names)
    for name in names:
        alone = ran(moec("run", src, "--target", name, "--check"))
        assert ran(with_env(["run", src, "--target", both], MOERT_TARGET=name)) == alone
    moec("pack", src, "--target", names[0], "-o", "small.moew")
    a = ran(moec("run", src, "--target", names[0], "--weights", "small.moew"))
    assert a == ran(moec("run", src, "--target", names[0]))
    np.save("x", np.ones((3, 37), np.float32))
    moec("run", src, "--target", names[0], "--input", "x.npy", "--output", "y.npy")
    assert np.load("y.npy").shape == (3, 37)
    moec("bench", src, "--target", names[0], status=1, said="its times say nothing")


@test
def foreign_models_tell_the_routing_of_each_layer():
    path = os.path.join(ROOT, "tests/layers/hybrid.moe")
    out = moec("run", path, "--layer", "stack", "--target", foreign()[0], "--check")
    assert re.search("^routing   1.moe: .* of 9 experts, 2 picks", out, re.M), out
    assert re.search("^check     routing: .* tokens chose otherwise, 0 wrongly", out, re.M), out


def only(*programs):
    """A PATH with nothing else."""
    shutil.rmtree("bin", ignore_errors=True)
    os.mkdir("bin")
    for name in programs:
        os.symlink(shutil.which(name), f"bin/{name}")
    return os.path.abspath("bin")


@test
def what_a_foreign_target_needs():
    src, target = source(), foreign()[0]
    gcc, qemu = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    with_env(["compile", src, "--target", target], PATH=only(), status=1,
             said="fix: install gcc-aarch64-linux-gnu (Debian), or use --emit=obj")
    assert sorted(os.listdir(".")) == ["bin", "layer.moe"], os.listdir(".")
    for kind in ("obj", "asm", "llvm", "header", "ir"):
        with_env(["compile", src, "--target", target, f"--emit={kind}", "-o", "out"],
                 PATH=only())
    with_env(["pack", src, "--target", target, "-o", "out.moew"], PATH=only())
    with_env(["run", src, "--target", target], PATH=only(gcc), status=1,
             said="fix: install qemu-user (Debian)")
    assert "under qemu" not in with_env(["targets"], PATH=only(gcc))
    assert "under qemu" not in with_env(["targets"], PATH=only(qemu))
    moec("compile", src, "--target", target, "-o", "out.so")
    with open("out.so", "rb") as f:
        head = f.read(20)
    assert head[:4] == b"\x7fELF" and head[18] == 183, head     # EM_AARCH64


main()
