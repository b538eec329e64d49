#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damages small good files of every kind and gives them to moec, which must refuse or accept
them: status 0 or 1, one diagnostic, nothing left behind, no crash and no hang.

    mutate.py MOEC KIND [COUNT [SEED]]      KIND: moe mir kernels config safetensors index npy
                                                  moew all

Texts come from examples/ and tests/layers/, and from what moec makes of them.
Meant for a build with -fsanitize=address,undefined; COUNT damages (300), the first half cuts.
What fails is kept in mutate-KIND-N beside the current folder's other files.
"""
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import make_bad_files as files

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOW = 20                               # seconds, with sanitizers, on a busy machine
LARGE = 512                             # layers with larger numbers are not run


class Bench:
    """A folder with the good files of every kind."""

    def __init__(self, moec):
        self.moec = os.path.abspath(moec)
        self.folder = tempfile.mkdtemp(prefix="moec-mutate.")
        self.keep = os.getcwd()
        header, size = files.good_header()
        self.write("layer.moe", files.LAYER)
        self.write("good.safetensors", files.pack(header, size))
        self.write("x.npy", files.npy(files.npy_dict(), 32))
        os.mkdir(self.path("model"))
        os.mkdir(self.path("shards"))
        self.write("model/config.json", json.dumps(files.CONFIG))
        self.write("shards/a.safetensors", files.pack(header, size))
        self.write("shards/model.safetensors.index.json", json.dumps(
            {"metadata": {"total_size": size},
             "weight_map": {name: "a.safetensors" for name, _ in files.tensors()}}))
        self.goods = {kind: [self.read(good)] for kind, (good, _, _) in KINDS.items()
                      if os.path.isfile(self.path(good))}
        self.goods.update(moe=[files.LAYER.encode()], mir=[], kernels=[])
        self.collect(os.path.join(self.folder, "layer.moe"))
        status, said = self.run("pack", "layer.moe", "-o", "good.moew")
        assert status == 0, said
        self.goods["moew"] = [self.read("good.moew")]

    def collect(self, moe):
        """A program and its IR, before and after the passes."""
        with open(moe, "rb") as f:
            self.goods["moe"].append(f.read())
        for kind, more in (("mir", "--stop-after=inline-std"), ("kernels", "--emit=ir")):
            numbers = [int(n) for n in re.findall(rb"\d+", self.goods["moe"][-1])]
            if kind == "kernels" and max(numbers) > LARGE:
                continue
            if self.run("compile", moe, more, "-o", "made.mir")[0] == 0:
                self.goods[kind].append(self.read("made.mir"))
                os.remove(self.path("made.mir"))

    def collect_all(self):
        for path in sorted(glob.glob(os.path.join(ROOT, "examples/*.moe")) +
                           glob.glob(os.path.join(ROOT, "tests/layers/*.moe"))):
            if os.path.getsize(path) < 3000:
                self.collect(path)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def run(self, *args):
        """The status, or why it is none, and what was said."""
        p = subprocess.Popen([self.moec, *args], cwd=self.folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            said = p.communicate(timeout=SLOW)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            return "a hang", p.communicate()[1].decode(errors="replace")
        return p.returncode, said.decode(errors="replace")


KINDS = {                               # the damaged file, how it is used
    "moe": ("layer.moe", "bad.moe", ("compile", "bad.moe", "--emit=ir")),
    "mir": ("", "bad.mir", ("opt", "bad.mir")),
    "kernels": ("", "bad.mir", ("run", "bad.mir", "--tokens", "3")),
    "config": ("model/config.json", "model/config.json",
               ("compile", "model", "--layer", "1", "--emit=ir")),
    "safetensors": ("good.safetensors", "bad.safetensors",
                    ("run", "layer.moe", "--reference", "--weights", "bad.safetensors")),
    "index": ("shards/model.safetensors.index.json", "shards/model.safetensors.index.json",
              ("run", "layer.moe", "--reference", "--weights", "shards")),
    "npy": ("x.npy", "bad.npy", ("run", "layer.moe", "--reference", "--input", "bad.npy")),
    "moew": ("good.moew", "bad.moew", ("run", "layer.moe", "--weights", "bad.moew")),
}
TEXTS = ("moe", "mir", "kernels", "config", "index")
NUMBERS = [b"0", b"-1", b"1", b"7", b"255", b"65536", b"2147483647", b"2147483648",
           b"4294967297", b"9223372036854775807", b"9223372036854775808", b"1e309", b"0.5"]


def words(data):
    """Where words and numbers of a text begin and end."""
    i, found = 0, []
    while i < len(data):
        n = i
        while n < len(data) and (chr(data[n]).isalnum() or data[n] in b"_-."):
            n += 1
        if n > i:
            found.append((i, n))
        i = max(n, i + 1)
    return found


def damage(data, dice, text, spots):
    kind = dice.randrange(6 if text else 3)
    at = dice.choice(spots) if spots else dice.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1:]
    if kind == 1:
        return data[:at] + bytes([dice.choice([0, 255, 127, 128, 10, 34, 123, 125])]) + \
            data[at + 1:]
    if kind == 2:
        n = dice.randrange(1, 9)
        return data[:at] + data[at + n:] if dice.randrange(2) else \
            data[:at] + data[at:at + n] + data[at:]
    found = words(data)
    if not found:
        return b" "
    begin, end = dice.choice(found)
    if kind == 3 and any(data[b:b + 1].isdigit() for b, _ in found):
        begin, end = dice.choice([w for w in found if data[w[0]:w[0] + 1].isdigit()])
        return data[:begin] + dice.choice(NUMBERS) + data[end:]
    if kind == 4:                       # a word becomes another
        other = dice.choice(found)
        return data[:begin] + data[other[0]:other[1]] + data[end:]
    lines = data.split(b"\n")           # lines are lost, doubled, swapped
    i, k = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[i:i + 1] = dice.choice([[], [lines[i]] * 2, [lines[k]]])
    return b"\n".join(lines)


def problem(status, said, before, after):
    if status not in (0, 1):
        return f"status {status}"
    if "internal error" in said or "Sanitizer" in said or "runtime error" in said:
        return "a bug of ours"
    if status == 1 and "error: " not in said:
        return "no diagnostic"
    if status == 0 and "error: " in said:
        return "status 0 with an error"
    if before != after:
        return f"left behind: {after - before}"
    return None


def mutate(bench, kind, count, seed):
    dice = random.Random(f"{kind} {seed}")
    fails = 0
    for i, good in enumerate(bench.goods[kind]):
        share = count // len(bench.goods[kind]) + (i < count % len(bench.goods[kind]))
        fails += mutate_one(bench, f"{kind}-{seed}-{i}", good, share, dice)
    return fails


def mutate_one(bench, name, data, count, dice):
    kind = name.split("-")[0]
    _, bad, command = KINDS[kind]
    spots = [i for i in range(len(data)) if i < 100 or data[i]] if kind == "moew" else None
    cuts = [i * len(data) // (count // 2 + 1) for i in range(count // 2)]
    if len(data) <= count // 2:
        cuts = list(range(len(data)))
    fails = 0
    for i in range(count):
        if i < len(cuts):
            broken = data[:cuts[i]]
        else:
            broken = data
            for _ in range(dice.choice([1, 1, 1, 2, 4])):
                broken = damage(broken, dice, kind in TEXTS, spots) or b" "
                spots = None if len(broken) != len(data) else spots
        bench.write(bad, broken)
        before = set(os.listdir(bench.folder))
        begin = time.monotonic()
        status, said = bench.run(*command)
        why = problem(status, said, before, set(os.listdir(bench.folder)))
        if why:
            fails += 1
            kept = os.path.join(bench.keep, f"mutate-{name}-{i}")
            with open(kept, "wb") as f:
                f.write(broken)
            print(f"{kept}: {why} after {time.monotonic() - begin:.1f} s\n{said[:600]}",
                  flush=True)
    bench.write(bad, data)
    return fails


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in [*KINDS, "all"]:
        sys.exit(__doc__)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    seed = sys.argv[4] if len(sys.argv) > 4 else "0"
    bench = Bench(sys.argv[1])
    if len(sys.argv) > 3:
        bench.collect_all()
    kinds = list(KINDS) if sys.argv[2] == "all" else [sys.argv[2]]
    fails = sum(mutate(bench, kind, count, seed) for kind in kinds)
    shutil.rmtree(bench.folder)
    print(f"{len(kinds) * count - fails} passed, {fails} failed, 0 skipped")
    sys.exit(fails > 0)


if __name__ == "__main__":
    main()
