# SPDX-License-Identifier: Apache-2.0
# The command line itself: help, lists, and status 2 for what is wrong in it alone.
import os
import subprocess

from cli import MOEC, main, moec, test, write

COMMANDS = "compile pack run bench import opt std targets passes ops".split()
LAYER = """layer tiny {
  input   x: f32[T, 16]
  experts 4 of relu_ffn(24)
  route   softmax_topk(2)
}
"""


@test
def help_is_short_and_begins_with_an_example():
    for command in COMMANDS:
        lines = moec(command, "--help").splitlines()
        assert lines[0].startswith(f"moec {command}"), command
        assert len(lines) <= 24 and max(map(len, lines)) <= 80, command
    lines = moec("--help").splitlines()
    assert lines[0].startswith("moec ") and len(lines) <= 24 and max(map(len, lines)) <= 80
    assert all(any(line.split()[:1] == [c] for line in lines) for c in COMMANDS)


@test
def help_wins_over_missing_arguments_and_ends_well():
    moec("run", "--help", "--check", "--reference")
    moec("pack", "--threads", status=2, said="no option '--threads'")


@test
def no_command_or_a_wrong_one():
    moec(status=2, said="moec COMMAND")
    moec("complie", status=2, said=["no command 'complie'", "did you mean `compile`?"])
    moec("--frobnicate", status=2, said="no option")


@test
def unknown_options_and_values():
    for args, said in [
        (["run", "x.moe", "--tagret=native"], ["no option '--tagret'", "`--target`"]),
        (["run", "x.moe", "--target=x86-64-v5"], ["no target 'x86-64-v5'", "`x86-64-v"]),
        (["run", "x.moe", "--target="], "no target ''"),
        (["run", "x.moe", "--tokens", "many"], "--tokens takes"),
        (["run", "x.moe", "--tokens=-1"], "--tokens takes"),
        (["run", "x.moe", "--tokens=99999999999999999999"], "--tokens takes"),
        (["run", "x.moe", "--threads", "0"], "--threads takes"),
        (["run", "x.moe", "--seed", "-3"], "--seed takes"),
        (["run", "x.moe", "--check", "--reference"], "exclude each other"),
        (["run", "x.moe", "--check=yes"], "takes no value"),
        (["run", "x.moe", "--input"], "needs a value"),
        (["run", "x.moe", "y.moe"], "takes no further 'y.moe'"),
        (["run"], "needs SRC"),
        (["bench", "x.moe", "--tokens", "1,,2"], "--tokens takes"),
        (["bench", "x.moe", "--tokens", "0"], "--tokens takes"),
        (["bench", "x.moe", "--check"], "no option '--check'"),
        (["compile", "x.moe", "--emit=exe"], "no kind 'exe'"),
        (["compile", "x.moe", "--stop-after=simplfy"],
         ["no pass 'simplfy'", "did you mean `simplify`?"]),
        (["compile", "x.moe", "--stop-after=all"], "no pass 'all'"),
        (["compile", "x.moe", "--print-after=nothing"], "no pass 'nothing'"),
        (["compile", "x.moe", "--stop-after=pack", "--emit=obj"], "--stop-after"),
        (["opt", "x.mir", "--passes=simplify,nope"], "no pass 'nope'"),
        (["pack", "x.moe"], "needs -o OUT"),
        (["import", "x"], "needs -o OUT"),
        (["std", "x"], "takes no argument"),
    ]:
        moec(*args, status=2, said=said)


@test
def needed_passes_cannot_be_skipped():
    for name in ["inline-std", "form-kernels", "pack", "lower"]:
        moec("compile", "x.moe", f"--no-pass={name}", status=2, said="cannot be skipped")


@test
def lists():
    assert "policy softmax_topk(" in moec("std") and "expert swiglu(" in moec("std")
    names = moec("passes", "--names").split()
    assert names[0] == "inline-std" and names[-1] == "lower", names
    lines = moec("passes").splitlines()
    assert [line.split()[0] for line in lines] == names
    needed = [line.split()[0] for line in lines if line.split()[1] == "needed"]
    assert set(needed) == {"inline-std", "form-kernels", "pack", "lower"}, needed
    assert {"x86-64-v3", "x86-64-v4"} <= {line.split()[0]
                                          for line in moec("targets").splitlines()}
    ops = {line.split()[0] for line in moec("ops").splitlines()}
    assert {"matmul", "softmax", "topk", "combine", "kernel"} <= ops


@test
def standard_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        p = subprocess.run([MOEC, "std"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert p.returncode == 1 and "standard output" in p.stderr, p


@test
def options_after_two_dashes_are_names():
    write("--check", LAYER)
    moec("run", "--reference", "--", "--check")


@test
def inputs_at_fault_are_status_1():
    moec("run", "none.moe", status=1, said=["none.moe", "cannot open"])
    moec("run", "x.gguf", status=1, said="GGUF")
    os.mkdir("folder")
    moec("run", "folder", status=1, said="folder/config.json")
    write("folder/config.json", '{"model_type": "mixtrl"}')
    moec("run", "folder", status=1,
         said=["folder/config.json", "`mixtrl`", "is it `mixtral`?"])
    write("folder/config.json", '{}')
    moec("run", "folder", status=1, said="`model_type` is missing")
    moec("run", "folder/config.json", status=1)
    write("tiny.moe", LAYER)
    moec("run", "tiny.moe", "--layer", "big", status=1, said="big")
    moec("run", "tiny.moe", "--weights", "none", status=1, said="none")
    moec("run", "tiny.moe", "--weights", "none.moew", status=1, said="none.moew")
    moec("opt", "tiny.moe", status=1, said="not a .mir")


main()
