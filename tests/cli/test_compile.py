# SPDX-License-Identifier: Apache-2.0
# compile, opt and pack: every kind of output, every place to stop, and a host program in C.
import os
import re
import subprocess

import numpy as np

from cli import main, moec, summary, test, write

LAYER = """layer small {
  input   x: f32[T, 32]
  experts 8 of swiglu(48)
  route   softmax_topk(2)
}
"""


def source():
    return write("layer.moe", LAYER)


def read(name):
    with open(name, "rb") as f:
        return f.read()


@test
def files_without_a_name():
    src = source()
    moec("compile", src)
    assert read("small.so")[:4] == b"\x7fELF"
    moec("compile", src, "--emit=obj")
    assert read("small.o")[:4] == b"\x7fELF"
    assert sorted(os.listdir(".")) == ["layer.moe", "small.o", "small.so"]


@test
def texts_go_to_standard_output_or_to_a_file():
    src = source()
    for kind, said in (("ir", 'module "small"'), ("llvm", "define "), ("asm", ".text"),
                       ("header", "small_open")):
        text = moec("compile", src, f"--emit={kind}")
        assert said in text, kind
        moec("compile", src, f"--emit={kind}", "-o", "out.txt")
        assert read("out.txt").decode() == text, kind


@test
def exported_names():
    moec("compile", source(), "-o", "out.so")
    p = subprocess.run(["nm", "-D", "--defined-only", "out.so"], capture_output=True, text=True)
    names = {line.split()[-1] for line in p.stdout.splitlines()}
    wanted = {f"small_{n}" for n in ("open", "start", "run", "end", "close", "layer")}
    assert wanted <= names, names
    assert all(n.startswith("small") for n in names), names


@test
def kernels_carry_their_names():
    """.. for profilers; the rest of the symbols is not exported."""
    moec("compile", source(), "-o", "out.so")
    p = subprocess.run(["nm", "out.so"], capture_output=True, text=True)
    names = {line.split()[-1] for line in p.stdout.splitlines()}
    assert {"gate+up", "gate+up.epilogue", "down"} <= names, sorted(names)
    assert any(n.endswith(".near") for n in names), sorted(names)


@test
def the_same_source_gives_the_same_bytes():
    src = source()
    for kind in ("lib", "obj", "ir", "llvm"):
        moec("compile", src, f"--emit={kind}", "-o", "a")
        moec("compile", src, f"--emit={kind}", "-o", "b")
        assert read("a") == read("b"), kind


def renamed(ir):
    """Values numbered in the order of the text: reading it makes their names unique."""
    names = {}
    return re.sub(r"%[\w.]+", lambda m: names.setdefault(m.group(0), f"%{len(names)}"), ir)


@test
def stopping_and_going_on():
    src = source()
    whole = moec("compile", src, "--emit=ir")
    for name in moec("passes", "--names").split():
        part = moec("compile", src, f"--stop-after={name}", "--target=native")
        write("part.mir", part)
        assert moec("opt", "part.mir", "--passes=") == part, name
        assert renamed(moec("opt", "part.mir")) == renamed(whole), name
    moec("opt", "part.mir", "-o", "again.mir")
    assert read("again.mir").decode() == part
    assert summary(moec("run", "part.mir"))["checksum"] == summary(moec("run", src))["checksum"]


@test
def opt_needs_a_target_and_good_text():
    write("part.mir", moec("compile", source(), "--stop-after=inline-std"))
    moec("opt", "part.mir", "--passes=simplify")
    write("bad.mir", 'module "m" {\n  layer {width=8}\n  fn @layer( {\n}\n')
    moec("opt", "bad.mir", "--passes=", status=1, said="bad.mir:")
    moec("opt", "none.mir", status=1, said="none.mir")


@test
def what_no_host_has_arrays_for():
    text = ("module \"m\" {\n  layer {width=4, experts=3}\n  experts E0 = 0..3\n"
            "  call a of b = @b {width=4}\n"
            "  fn @layer(%x: f32[T, 4]) -> (f32[T, 4]) {\n    return %x\n  }\n"
            "  fn @b(%x: f32[L, 4]) -> (f32[L, 4]) {\n    %y = neg %x : f32[L, 4]\n"
            "    return %y\n  }\n}\n")
    for level, status in (("T", 0), ("S", 0), ("E0", 1), ("R0", 1)):
        moec("run", write("m.mir", text.replace("L,", level + ",")), status=status,
             said="of @b exists once an expert or a routed row" if status else ())


@test
def dumps():
    src = source()
    out = moec("compile", src, "--print-after=all", "-o", "out.so")
    names = [n for n in moec("passes", "--names").split() if n != "lower"]
    assert re.findall(r"^// after ([a-z-]+)", out, re.M) == names
    out = moec("compile", src, "--print-after=pack", "-o", "out.so")
    assert re.findall(r"^// after ([a-z-]+)", out, re.M) == ["pack"]
    write("dump.mir", out)
    moec("opt", "dump.mir", "--passes=")


@test
def passes_that_can_be_left_out():
    src = source()
    for line in moec("passes").splitlines():
        name = line.split()[0]
        if line.split()[1] == "needed":
            continue
        write("out.mir", moec("compile", src, "--emit=ir", f"--no-pass={name}"))
        moec("run", "out.mir", "--check")
        moec("run", "out.mir", "--check", "--tokens", 37)


@test
def times_go_to_standard_error():
    moec("compile", source(), "--time-passes", "-o", "out.so",
         said=[" ms  inline-std", " ms  pack"])


@test
def failures_leave_nothing():
    src = source()
    for kind in ("lib", "obj", "ir", "asm", "llvm", "header"):
        moec("compile", src, f"--emit={kind}", "-o", "none/out", status=1, said="none/out")
    write("bad.moe", LAYER.replace("swiglu", "swigul"))
    moec("compile", "bad.moe", status=1, said=["bad.moe:3:", "swigul", "swiglu"])
    moec("pack", src, "-o", "none/out.moew", status=1, said="none/out.moew")
    assert sorted(os.listdir(".")) == ["bad.moe", "layer.moe"], os.listdir(".")


@test
def several_layers():
    two = LAYER + LAYER.replace("small", "other").replace("softmax_topk(2)", "softmax_topk(3)")
    write("two.moe", two)
    moec("run", "two.moe", "--layer", "other")
    moec("compile", "two.moe", "--layer", "other")
    assert os.path.exists("other.so")
    moec("run", "two.moe", status=1, said="--layer")
    moec("run", "two.moe", "--layer", "othr", status=1, said="othr")


HOST = """#include "small.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	static float x[7 * 32], y[7 * 32];
	small_model *m;
	small_session *s;
	FILE *f = fopen("x.raw", "rb");
	if (!f || fread(x, sizeof x, 1, f) != 1)
		return 1;
	fclose(f);
	int error = small_open("small.moew", NULL, &m);
	if (!error)
		error = small_start(m, NULL, &s);
	small_args a = {.size = sizeof a, .x = x, .tokens = 7, .y = y};
	if (!error)
		error = small_run(s, &a);
	if (error) {
		printf("%s\\n", small_error(error));
		return 1;
	}
	small_end(s);
	small_close(m);
	f = fopen("y.raw", "wb");
	return !f || fwrite(y, sizeof y, 1, f) != 1 || fclose(f);
}
"""


@test
def a_host_program_in_c():
    src = source()
    moec("compile", src, "-o", "libsmall.so")
    moec("compile", src, "--emit=header", "-o", "small.h")
    moec("pack", src, "-o", "small.moew")
    write("host.c", HOST)
    subprocess.run("gcc -Wall -Wextra -pedantic -Werror -std=c99 host.c -o host -L. -lsmall "
                   "-Wl,-rpath,.", shell=True, check=True)
    x = np.random.default_rng(3).standard_normal((7, 32)).astype(np.float32)
    x.tofile("x.raw")
    np.save("x", x)
    subprocess.run(["./host"], check=True)
    moec("run", src, "--input", "x.npy", "--output", "y.npy")
    assert np.array_equal(np.fromfile("y.raw", np.float32).reshape(7, 32), np.load("y.npy"))


@test
def weights_of_another_layer_are_refused():
    moec("pack", source(), "-o", "small.moew")
    write("other.moe", LAYER.replace("small", "other"))
    moec("run", "other.moe", "--weights", "small.moew", status=1, said="small.moew")
    write("wide.moe", LAYER.replace("48", "64"))
    moec("run", "wide.moe", "--weights", "small.moew", status=1, said="small.moew")


@test
def rows_in_two_orders():
    """Two groupings of one range: a kernel that wants both would find one of them."""
    src = write("layer.moe", """layer twice {
  input   x: f32[T, 8]
  experts 4 of swiglu(8)
  route   softmax_topk(2)
  a       = experts(pick, x)
  output  sum(max(a, experts(top(2, linear(x, experts, "also")), x)), over: 0)
}
""")
    moec("compile", src, "--stop-after=pack", "-o", "good.mir")
    moec("compile", "good.mir", "-o", "good.so")
    with open("good.mir") as f:
        text = f.read()
    first, second = re.findall(r"= (collect %\S+, %\S+ : f32\[T, 2, 8\])", text)
    at = text.index(second) + len(second)
    write("bad.mir", text[:at] + f"\n      %both = {first}" + text[at:])
    moec("compile", "bad.mir", "-o", "bad.so", status=1, said="rows of a range in two orders")


main()
