# SPDX-License-Identifier: Apache-2.0
# reduce: moe_gen's failing programs shrink to a few lines that fail in the same way.
import os
import re
import subprocess

from cli import MOEC, main, test, write

MOE_GEN = os.path.join(os.path.dirname(MOEC), "tests/gen/moe_gen")
MOST_LINES = 20


def moe_gen(*args, status=0, limit=300):
    p = subprocess.run([MOE_GEN, *map(str, args)], capture_output=True, text=True, timeout=limit)
    assert p.returncode == status, f"status {p.returncode}, not {status}: {p.stdout}{p.stderr}"
    return p.stdout


def long_program(pattern):
    """The first of the generator's programs with that in it, and 30 lines."""
    for seed in range(1, 400):
        text = moe_gen("--print", "--count", 1, "--seed", seed)
        if re.search(pattern, text) and text.count("\n") >= 30:
            return seed, text
    raise AssertionError(f"no program has {pattern}")


def lines(path):
    with open(path) as f:
        return f.read().splitlines()


@test
def what_a_command_finds_worth_keeping():
    seed, _ = long_program(r"tanh\(")
    write("keep.sh", f'grep -q "tanh(" "$1" && exec {MOEC} compile "$1" --emit=ir -o /dev/null\n')
    out = moe_gen("--reduce", seed, "--while", "sh keep.sh", "--keep", ".")
    kept = lines(f"reduced-{seed}.moe")
    assert len(kept) <= MOST_LINES, out
    assert any("tanh(" in line for line in kept), out
    assert subprocess.run(["sh", "keep.sh", f"reduced-{seed}.moe"]).returncode == 0, out


PIPELINE = "inline-std,simplify,form-kernels,fuse-experts,schedule-blocks,pack"


def false_program():
    """It claims that its tokens do not look at one another, while they do."""
    _, text = long_program(r"- mean\(.*over: tokens")
    text = re.sub(r"tokens=\d+", "tokens=13", text.replace(" cross=1", ""))
    return re.sub(r" seq=\S+", "", text)


def shrinks(program):
    """.. as it failed: by its bits."""
    write("false.moe", program)
    out = moe_gen("false.moe", "--count", 0, "--keep", ".", status=1)
    assert "FAILED:  false.moe" in out and "reduced to:" in out, out
    kept = lines("reduced-false.moe")
    assert len(kept) <= MOST_LINES, out
    way = re.search(r"other bits with [a-z ]+", kept[-1])
    assert way and "over: tokens" in "".join(kept), out
    again = moe_gen("reduced-false.moe", "--count", 0, "--keep", ".", status=1)
    assert way.group(0) in again, again
    return out


@test
def a_failing_program_shrinks_by_itself():
    shrinks(false_program())


@test
def remarks_are_no_failures():
    """Columns that fill no whole vectors: the compiler says so before anything fails."""
    text = re.sub(r"\[T, \d+\]", "[T, 33]", false_program())
    text = re.sub(r" (tiles|rows)=\d+", "", text)          # as the schedule lays it out
    text = re.sub(r"passes=\S+", f"passes={PIPELINE}", text)
    out = shrinks(re.sub(r"experts (\d+) of .*", r"experts \1 of swiglu(24)", text))
    assert "std.moe:" in out and "perf: down" in out, out


@test
def what_does_not_fail_is_not_reduced():
    out = moe_gen("--reduce", 1, "--keep", ".", status=1)
    assert "1 cannot be reduced: it does not fail alone" in out, out
    assert not os.path.exists("reduced-1.moe")


@test
def wrong_use():
    moe_gen("--reduce", status=2)
    moe_gen("--nonsense", status=2)
    moe_gen("--configs", 99, status=2)
    moe_gen("--reduce", "none.moe", status=2)


if __name__ == "__main__":
    main()
