# SPDX-License-Identifier: Apache-2.0
# Published models' blocks, small: y of Hugging Face's own code, both ways of running.
import json
import os

import numpy as np

from cli import fixture, main, moec, summary, test

# The worst row's relative distance.
FIXTURES = {"mixtral": 2e-5, "switch": 2e-5, "switch_drop": 2e-5, "olmoe": 2e-5,
            "qwen3_moe": 2e-5, "deepseek_v3": 2e-5, "gpt_oss": 2e-5,
            "mixtral_bf16_sharded": 2e-2}


def place(folder):
    """block.json's module as --layer says it."""
    with open(os.path.join(folder, "block.json")) as f:
        parts = json.load(f)["module"].split(".")
    number = next(p for p in parts if p.isdigit())
    return f"{parts[0]}.{number}" if parts[0] in ("encoder", "decoder") else number


def distance(y, expected):
    """Of rows, flattened: a row that is zero must be zero."""
    width = expected.shape[-1]
    y, expected = y.reshape(-1, width), expected.reshape(-1, width)
    assert y.shape == expected.shape, (y.shape, expected.shape)
    norm = np.linalg.norm(expected, axis=1)
    gone = np.linalg.norm(y - expected, axis=1)
    return np.max(np.where(norm > 0, gone / np.where(norm > 0, norm, 1), gone))


def agrees(name, *options):
    folder = fixture(name)
    moec("run", folder, "--layer", place(folder), "--input", f"{folder}/x.npy",
         "--output", "y.npy", *options)
    y = np.load("y.npy")
    assert y.dtype == np.float32
    far = distance(y, np.load(f"{folder}/y.npy"))
    assert far <= FIXTURES[name], f"{name} {options}: {far}"


def of(name):
    def compiled():
        agrees(name)

    def interpreted():
        agrees(name, "--reference")

    def checked():
        folder = fixture(name)
        moec("run", folder, "--layer", place(folder), "--input", f"{folder}/x.npy", "--check")

    for f in (compiled, interpreted, checked):
        f.__name__ = f"{name}_{f.__name__}"
        test(f)


for fixture_name in FIXTURES:
    of(fixture_name)


@test
def family_in_a_file_reads_the_folder():
    folder = fixture("mixtral")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    family = os.path.join(root, "models", "mixtral.moe")
    same = [summary(moec("run", *src, "--layer", place(folder), "--input", f"{folder}/x.npy"))
            for src in ([folder], [family, "--weights", folder])]
    assert same[0]["checksum"] == same[1]["checksum"], same
    moec("run", family, status=1, said="a model folder is needed")


@test
def packed_weights_give_the_same_bits():
    folder = fixture("mixtral")
    layer = ["--layer", place(folder)]
    moec("pack", folder, *layer, "-o", "layer.moew")
    x = ["--input", f"{folder}/x.npy"]
    natural = summary(moec("run", folder, *layer, *x))
    packed = summary(moec("run", folder, *layer, *x, "--weights", "layer.moew"))
    assert natural["checksum"] == packed["checksum"]
    moec("run", folder, *layer, *x, "--weights", "layer.moew", "--check", status=1,
         said="cannot be interpreted")
    with open("layer.moew", "r+b") as f:
        f.seek(-5000, 2)
        byte = f.read(1)
        f.seek(-5000, 2)
        f.write(bytes([byte[0] ^ 255]))
    moec("run", folder, *layer, *x, "--weights", "layer.moew", status=1, said="layer.moew")


@test
def layers_that_are_not_there():
    folder = fixture("mixtral")
    moec("run", folder, "--layer", "99", status=1, said="99")
    moec("run", folder, "--layer", "encoder.0", status=1)


main()
