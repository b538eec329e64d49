# SPDX-License-Identifier: Apache-2.0
# embed: examples/embed.c, built as its head comment says, agrees with `moec run`.
import os
import re
import subprocess

import numpy as np

from cli import ROOT, main, moec, test

H, TOKENS = 512, 48


def sh(*command, status=0):
    p = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert p.returncode == status, f"{command}: status {p.returncode}\n{p.stdout}{p.stderr}"
    return p.stdout + p.stderr


def build(compiler, *options):
    source = os.path.join(ROOT, "examples", "my_policy.moe")
    moec("compile", source, "-o", "my_layer.so")
    moec("compile", source, "--emit=header", "-o", "my_layer.h")
    moec("pack", source, "-o", "my_layer.moew")
    sh(compiler, *options, "-Wall", "-Wextra", "-Werror", "-I.",
       os.path.join(ROOT, "examples", "embed.c"), "./my_layer.so", "-o", "embed")
    return source


def tokens():
    r, out = 1, np.empty(TOKENS * H, np.float32)
    for i in range(TOKENS * H):
        r = (r * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = np.float32(r >> 8) / np.float32(8388608) - np.float32(1)
    return out.reshape(TOKENS, H)


def checksum(data):
    h = 14695981039346656037
    for byte in data:
        h = ((h ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


@test
def a_host_computes_what_moec_run_does():
    source = build("cc", "-std=c99", "-pedantic")
    said = sh("./embed", "my_layer.moew")
    assert "in two batches: the same bits" in said, said
    assert "with the routing given: the same bits" in said, said
    assert "-1 tokens: the number of tokens is negative or too large" in said, said
    rows = [int(n) for n in re.search("each expert:(.*)", said).group(1).split()]
    assert len(rows) == 16 and TOKENS <= sum(rows) <= 4 * TOKENS, said
    np.save("x.npy", tokens())
    moec("run", source, "--weights", "my_layer.moew", "--input", "x.npy",
         "--output", "y.npy")
    y = np.load("y.npy")
    assert y.shape == (TOKENS, H) and np.abs(y).max() > 0
    assert f"checksum {checksum(y.tobytes())}" in said, said


@test
def bad_weights_have_a_reason():
    build("cc")
    with open("my_layer.moew", "rb") as f:
        whole = f.read()
    for name, data in (("short.moew", whole[:3000]), ("other.moew", b"x" * 8192)):
        with open(name, "wb") as f:
            f.write(data)
        said = sh("./embed", name, status=1)
        assert said.startswith(f"embed: {name}: "), said
    assert "absent.moew: " in sh("./embed", "absent.moew", status=1)


main()
