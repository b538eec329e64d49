# SPDX-License-Identifier: Apache-2.0
# Faults of the machine: the n-th allocation, open, read, write, .. fails, for every n (where
# there are many: the first FIRST, and some of the others); the process is killed at each call;
# the disk is full.  Always: status 1 with one diagnostic, nothing left behind, or the right
# output; a file that is replaced is the old one or the new one.
import collections
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import make_bad_files as files
from cli import MOEC, ROOT, Skip, main, test, tests, write

FIRST, MORE = 25, 20                    # of a command's calls of a kind
LIMIT = 60                              # seconds: it hangs
BUILT = []


def preload():
    """faults.so, built once."""
    if not BUILT:
        folder = os.path.dirname(os.getcwd())
        out = os.path.join(folder, f"moec-faults-{os.getpid()}.so")
        subprocess.run(["cc", "-std=gnu17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra",
                        "-Werror", "-Wno-unused-parameter", "-o", out,
                        os.path.join(ROOT, "tests/cli/faults.c"), "-ldl"], check=True)
        BUILT.append(out)
    return BUILT[0]


def inputs(folder):
    """What the commands read."""
    os.makedirs(os.path.join(folder, "tmp"))
    os.mkdir(os.path.join(folder, "model"))
    header, size = files.good_header()
    for name, data in (("layer.moe", files.LAYER.encode()),
                       ("w.safetensors", files.pack(header, size)),
                       ("x.npy", files.npy(files.npy_dict(), 32)),
                       ("model/config.json", json.dumps(files.CONFIG).encode())):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


COMMANDS = {                            # the output comes last
    "ir": ("compile", "layer.moe", "--emit=ir", "-o", "out.mir"),
    "header": ("compile", "layer.moe", "--emit=header", "-o", "out.h"),
    "object": ("compile", "layer.moe", "--emit=obj", "-o", "out.o"),
    "library": ("compile", "layer.moe", "-o", "out.so"),
    "pack": ("pack", "layer.moe", "--weights", "w.safetensors", "-o", "out.moew"),
    "reference": ("run", "layer.moe", "--reference", "--weights", "w.safetensors",
                  "--input", "x.npy", "--output", "out.npy"),
    "run": ("run", "layer.moe", "--weights", "w.safetensors", "--input", "x.npy",
            "--output", "out.npy"),
    "packed": ("run", "layer.moe", "--weights", "packed.moew", "--input", "x.npy",
               "--output", "out.npy"),
    "import": ("import", "model", "-o", "out.moe"),
}
Outcome = collections.namedtuple("Outcome", "status said output left")


def run(name, fault=None, old=None, count=False):
    """A command in a folder of its own, under a fault."""
    folder = os.path.join(os.getcwd(), f"{name}-{fault or 'none'}".replace(":", "-"))
    inputs(folder)
    args = COMMANDS[name]
    out = os.path.join(folder, args[-1])
    if name == "packed":
        shutil.copy("packed.moew", folder)
    if old is not None:
        with open(out, "wb") as f:
            f.write(old)
    before = listing(folder) | {args[-1]}
    env = {**os.environ, "TMPDIR": "tmp"}
    if fault:
        env.update(LD_PRELOAD=preload(), FAULT=fault)
        env.update(FAULT_COUNT=os.path.join(os.getcwd(), "count") if count else "")
    p = subprocess.run([MOEC, *args], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=LIMIT)
    output = None
    if os.path.exists(out):
        with open(out, "rb") as f:
            output = f.read()
    left = listing(folder) - before
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(p.returncode, p.stderr.decode(errors="replace"), output, left)


def listing(folder):
    return {os.path.relpath(os.path.join(d, f), folder)
            for d, _, names in os.walk(folder) for f in names}


def calls(name, kind):
    """How many calls of the kind there are, and those that are to fail."""
    if name == "packed" and not os.path.exists("packed.moew"):
        with open("packed.moew", "wb") as f:
            f.write(run("pack").output)
    done = run(name, kind, count=True)
    assert done.status == 0, done
    with open("count") as f:
        n = int(f.read())
    some = list(range(1, min(n, FIRST) + 1))
    some += range(FIRST + 1, n + 1, max(1, (n - FIRST) // MORE))
    return n, some, done.output


def complaint(done, good):
    """What is wrong with an outcome, or None."""
    if done.status == 0:
        return None if done.output == good else "status 0 with another output"
    if done.status != 1:
        return f"status {done.status}"
    if done.said.count(": error: ") != 1 or "internal error" in done.said:
        return "not one diagnostic"
    if done.output is not None:
        return "an output in spite of the error"
    return f"left behind: {done.left}" if done.left else None


def every(name, kind):
    def fails():
        n, some, good = calls(name, kind)
        assert n > 0, f"no {kind} in {name}"
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda i: run(name, f"{kind}:{i}"), some))
        wrong = [(i, complaint(d, good), d) for i, d in zip(some, done) if complaint(d, good)]
        assert not wrong, f"{len(wrong)} of {len(some)}, as {wrong[0]}"
        failed = sum(d.status == 1 for d in done)
        assert failed >= len(some) // 3, f"only {failed} of {len(some)} were noticed"
        print(f"{name}: {len(some)} of {n} {kind} calls failed, {failed} were errors")
    fails.__name__ = f"{name}_{kind}_calls_fail"
    tests.append(fails)


def killed(name):
    def kill():
        n, some, new = calls(name, "file")
        old = b"the old file, whole"
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda i: run(name, f"file:{i}:kill", old), some))
        for i, d in zip(some, done):
            assert d.status in (-9, 1), (i, d)
            assert d.output in (old, new), f"neither old nor new after call {i}: {d}"
        assert any(d.output == old for d in done)
        print(f"{name}: killed at {len(some)} of {n} calls")
    kill.__name__ = f"{name}_killed_at_each_call"
    tests.append(kill)


for command in COMMANDS:
    every(command, "file")
    if command not in ("header", "object"):     # as for IR, and as for a library
        every(command, "alloc")
every("library", "llvm")
every("run", "llvm")
for command in ("ir", "library", "pack", "run", "import"):
    killed(command)


@test
def disk_full():
    os.mkdir("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "small"],
                      capture_output=True).returncode != 0:
        raise Skip("mounting needs root")
    try:
        write("layer.moe", files.LAYER.replace("relu_ffn(3)", "relu_ffn(4000)"))
        for args in (("compile", "layer.moe", "-o", "small/out.so"),
                     ("compile", "layer.moe", "--emit=llvm", "-o", "small/out.ll"),
                     ("pack", "layer.moe", "-o", "small/out.moew"),
                     ("run", "layer.moe", "--tokens", "5000", "--output", "small/out.npy")):
            p = subprocess.run([MOEC, *args], capture_output=True, text=True, timeout=LIMIT)
            assert p.returncode == 1 and p.stderr.count(": error: ") == 1, (args, p)
            assert os.listdir("small") == [], (args, os.listdir("small"))
    finally:
        subprocess.run(["umount", "small"], check=True)


try:
    main()
finally:
    for path in BUILT:
        os.remove(path)
