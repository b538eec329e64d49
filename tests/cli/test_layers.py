# SPDX-License-Identifier: Apache-2.0
# layers: every tests/layers/*.moe, compiled for every target of this machine and those that
# qemu plays, against the interpreter, with awkward numbers of tokens and of threads.
import glob
import os
import re

from cli import ROOT, Skip, main, moec, summary, test

FEW = (1, 13)                   # where every kernel is played by qemu


def targets(how):
    rows = [line.split() for line in moec("targets").splitlines()]
    return [row[0] for row in rows if re.search(how, " ".join(row))]


def whole(path):
    """A model stands behind the layers that it calls."""
    with open(path) as f:
        names = re.findall(r"^model (\w+)", f.read(), re.M)
    return ["--layer", names[0]] if names else []


def check(path, target, counts):
    layer = whole(path)
    for tokens in counts:
        sums = [summary(moec("run", path, *layer, "--tokens", tokens, "--threads",
                             threads, "--target", target, "--check"))["checksum"]
                for threads in ((1, 3) if tokens > 1 else (3,))]
        assert len(set(sums)) == 1, f"{path}, {target}, {tokens} tokens: other bits"


def name_of(path):
    return os.path.basename(path)[:-4]


for name in sorted(glob.glob(os.path.join(ROOT, "tests/layers/*.moe"))):
    def here(path=name):
        for target in targets("native|runs here"):
            check(path, target, (0, 1, 7, 61) if whole(path)
                  else (0, 1, 2, 5, 6, 7, 13, 61))

    def foreign(path=name):
        under = targets("under qemu")
        if not under:
            raise Skip("nothing that plays a foreign machine")
        for target in under:
            check(path, target, FEW)
    here.__name__ = name_of(name)
    foreign.__name__ = name_of(name) + "_foreign"
    test(here)
    test(foreign)

if __name__ == "__main__":
    main()
