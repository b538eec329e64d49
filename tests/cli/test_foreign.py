# SPDX-License-Identifier: Apache-2.0
# foreign: random programs of moe_gen, compiled for machines that this one is not, against the
# interpreter.  MOE_GEN_FOREIGN programs from MOE_GEN_SEED on.
import os
import re
import subprocess

from cli import MOEC, Skip, main, moec, test, write

COUNT = int(os.environ.get("MOE_GEN_FOREIGN", 48))
SEED = int(os.environ.get("MOE_GEN_SEED", 1))
PARTS = 4


def foreign():
    rows = [line.split()[0] for line in moec("targets").splitlines() if "under qemu" in line]
    if not rows:
        raise Skip("no foreign compiler, or no qemu-user")
    return rows


def check(path, target, tokens, *more):
    """False: it has no native code yet."""
    p = subprocess.run([MOEC, "run", path, "--target", target, "--tokens", str(tokens),
                        "--check", *more], capture_output=True, text=True)
    if p.returncode == 1 and "not compiled to native code yet" in p.stderr:
        return False
    assert p.returncode == 0, f"{path} for {target}, {tokens} tokens: {p.stdout}{p.stderr}"
    return True


def programs(first, count):
    """Each text, and its number of tokens."""
    gen = os.path.join(os.path.dirname(MOEC), "tests/gen/moe_gen")
    if not os.access(gen, os.X_OK):
        raise Skip(f"no {gen}")
    text = subprocess.run([gen, "--print", "--seed", str(first), "--count", str(count)],
                          capture_output=True, text=True, check=True).stdout
    for part in re.findall(r"(?:.*\n)*?// run .*\n", text):
        yield part, int((re.search(r" tokens=(\d+)", part) or [0, 0])[1])


def generated(part):
    targets, compiled = foreign(), 0
    first = SEED + part * COUNT // PARTS
    for i, (text, tokens) in enumerate(programs(first, COUNT // PARTS)):
        path = write(f"seed_{first + i}.moe", text)
        try:
            compiled += check(path, targets[i % len(targets)], tokens)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{text}") from None
    assert compiled, "none of them was compiled"


for number in range(PARTS):
    def one(part=number):
        generated(part)
    one.__name__ = f"generated_{number}"
    test(one)

main()
