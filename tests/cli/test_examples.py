# SPDX-License-Identifier: Apache-2.0
# examples: released models' layers at their published sizes become libraries.
import os
import re
import subprocess

from cli import ROOT, main, moec, test

# Width, experts, picks, hidden width.
PUBLISHED = {
    "switch_base_8": (768, 8, 1, 3072),
    "glam_64": (2048, 64, 2, 8192),
    "fairseq_moe_15b": (768, 512, 2, 3072),
    "mixtral_8x7b": (4096, 8, 2, 14336),
    "olmoe": (2048, 64, 8, 1024),
    "qwen3_30b_a3b": (2048, 128, 8, 768),
    "deepseek_v3": (7168, 256, 8, 2048),
    "gpt_oss_20b": (2880, 32, 4, 2880),
}


def of(name, sizes):
    width, experts, picks, hidden = sizes

    def compiles():
        src = os.path.join(ROOT, "examples", f"{name}.moe")
        ir = moec("compile", src, "--stop-after=inline-std")
        layer = re.search(r"layer \{(.*?)\}", ir).group(1)
        for part in (f"width={width}", f"experts={experts}", f"picks={picks}"):
            assert part in layer, (part, layer)
        assert re.search(rf"param down: \w+\[E0, ?{width}, ?{hidden}\]", ir), ir[:2000]
        moec("compile", src, "-o", "layer.so")
        p = subprocess.run(["nm", "-D", "--defined-only", "layer.so"], capture_output=True,
                           text=True)
        assert f" T {name}_run\n" in p.stdout, p.stdout

    compiles.__name__ = name
    test(compiles)


for each in PUBLISHED.items():
    of(*each)
main()
