#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of every fuzzer from the tree's examples and tests.

    seeds.py MOEC DIR       DIR/NAME/* for fuzz_NAME; what lies there already stays

What fuzzers found out on their own was added by `scripts/fuzz.sh`; see its --keep.
"""
import glob
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/cli"))
import make_bad_files as files          # noqa: E402

LONGEST = 4096


def read(path):
    with open(path, "rb") as f:
        return f.read()


def made(moec, name, text, *args):
    """What moec makes of a text, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = os.path.join(folder, name), os.path.join(folder, "out")
        with open(source, "wb") as f:
            f.write(text)
        done = subprocess.run([moec, args[0], source, *args[1:], "-o", out],
                              stdin=subprocess.DEVNULL, capture_output=True)
        return [read(out)] if done.returncode == 0 else []


def programs():
    for pattern in ("examples/*.moe", "tests/layers/*.moe", "tests/fuzz/layers/*.moe",
                    "models/*.moe", "tests/errors/*/*.moe"):
        yield from map(read, sorted(glob.glob(os.path.join(ROOT, pattern))))


def modules(moec):
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/golden/*/*.mir"))):
        yield read(path)
    for text in programs():
        yield from made(moec, "a.moe", text, "compile", "--stop-after=inline-std")


def configs():
    yield json.dumps(files.CONFIG).encode()
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/**/config.json"), recursive=True)):
        yield read(path)
    fixtures = os.path.join(os.path.dirname(ROOT), "shared/fixtures/*/config.json")
    for path in sorted(glob.glob(fixtures)):
        yield json.dumps(json.loads(read(path)), separators=(",", ":")).encode()


def cases(*kinds):
    for kind in kinds:
        for _, data, _ in kind():
            yield data if isinstance(data, bytes) else data.encode()


def safetensors():
    header, size = files.good_header()
    yield files.pack(header, size)
    yield from cases(files.safetensors_cases)


def indices():
    for where in ("a.safetensors", "../a.safetensors", "b.safetensors"):
        yield json.dumps({"metadata": {"total_size": 8},
                          "weight_map": {"a": where, "b": "a.safetensors"}}).encode()


def arrays():
    yield files.npy(files.npy_dict(), 32)
    yield from cases(files.npy_cases)


def calls():
    """A model opened from memory or from a file, a session, calls of it, of its layers and
    of two at once: small numbers are mostly right arguments."""
    dice = random.Random(1)
    for n in range(48):
        yield bytes([0, n % 4, n // 4 % 2 * 16, 0, 1, n % 3]) + b"".join(
            bytes([dice.choice([6, 7, 8, 9])]) +
            bytes(dice.choice([0, 1, 2, 7, dice.randrange(256)]) for _ in range(60))
            for _ in range(n % 5))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    moec = os.path.abspath(sys.argv[1])
    kinds = {"moe": programs(), "mir": modules(moec), "config": configs(),
             "safetensors": safetensors(), "index": indices(), "npy": arrays(),
             "run": calls()}    # fuzz_moew packs its own
    for kind, seeds in kinds.items():
        folder = os.path.join(sys.argv[2], kind)
        os.makedirs(folder, exist_ok=True)
        for seed in seeds:
            if 0 < len(seed) <= LONGEST:
                name = hashlib.sha1(seed).hexdigest()
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(seed)


main()
