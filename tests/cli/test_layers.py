# SPDX-License-Identifier: Apache-2.0
# layers: every tests/layers/*.moe, compiled for every target of this machine, against the
# interpreter, with awkward numbers of tokens and of threads.
import glob
import os
import re

from cli import ROOT, Skip, main, moec, summary, test


def targets():
    rows = [line.split() for line in moec("targets").splitlines()]
    return [row[0] for row in rows if row and row[0].startswith("x86-64")]


def whole(path):
    """A model stands behind the layers that it calls."""
    with open(path) as f:
        names = re.findall(r"^model (\w+)", f.read(), re.M)
    return ["--layer", names[0]] if names else []


def check(path):
    layer = whole(path)
    for target in targets():
        try:
            moec("run", path, *layer, "--check", "--target", target, "--tokens", 1)
        except AssertionError as e:
            if "status 1" in str(e) and "lacks" in str(e):
                raise Skip(f"{target}: not on this machine")
            raise
        for tokens in (0, 7, 61) if layer else (0, 2, 5, 6, 7, 13, 61):
            sums = [summary(moec("run", path, *layer, "--tokens", tokens, "--threads",
                                 threads, "--target", target, "--check"))["checksum"]
                    for threads in (1, 3)]
            assert sums[0] == sums[1], f"{path}, {target}, {tokens} tokens: other bits"


for name in sorted(glob.glob(os.path.join(ROOT, "tests/layers/*.moe"))):
    def one(path=name):
        check(path)
    one.__name__ = os.path.basename(name)[:-4]
    test(one)

if __name__ == "__main__":
    main()
