# SPDX-License-Identifier: Apache-2.0
# peers: what bench/peers gives both sides and makes of their times; no peer is needed.
import math
import os
import subprocess
import sys

import numpy as np

from cli import ROOT, main, moec, test

PEERS = os.path.join(ROOT, "bench", "peers")
sys.path.insert(0, PEERS)
sys.dont_write_bytecode = True
import layer                    # noqa: E402
import report                   # noqa: E402
import tables                   # noqa: E402
from ours import Ours           # noqa: E402


def row(tokens, peer, ratio=None, others=0.0, **more):
    r = {"layer": "D", "dtype": "f32", "tokens": tokens, "peer": peer, "threads": 2, **more}
    if ratio:
        r |= {"ratio": ratio, "ratio_of_pairs": ratio, "ratio_of_min": ratio, "others": others,
              "moec_min_ms": 1.0, "moec_median_ms": 2.0, "peer_min_ms": ratio,
              "peer_median_ms": 2 * ratio, "pairs": 9, "error_pair": 1e-6, "error_moec": 1e-6,
              "error_peer": 1e-6, "never_slept": False, "note": "a note"}
    return report.key_of(r), r


@test
def the_best_peer_of_each_cell():
    rows = dict([row(1, "vllm", 2.0), row(1, "ggml", 4.0), row(64, "ggml", 3.0, others=0.5),
                 row(64, "zentorch", reason="it would not"), row(512, "vllm", reason="nor this")])
    assert report.geometric_mean(rows) == (2, math.sqrt(2 * 3))
    assert report.geometric_mean(rows, report.calm_cell) == (1, 2.0)
    text = report.markdown(rows)
    lines = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| D")}
    assert "**2.00** vllm" in lines["| D f32 T=1"], text
    assert "**3.00**~ ggml" in lines["| D f32 T=64"], text       # disturbed, and said so
    assert "none" in lines["| D f32 T=512"], text
    for why in ("`zentorch`: it would not", "`vllm`: nor this"):
        assert why in text, text
    cells = report.result(rows)["cells"]
    assert [c["best"] for c in cells] == ["vllm", "ggml", None], cells


@test
def our_side_computes_the_layer():
    tables.LAYERS["T"] = layer.LAYERS["T"] = tables.Layer("tiny", 64, 32, 6, 2, True)
    weights = layer.Weights(os.getcwd(), "T")
    (x, picks, gates), wanted = layer.reference(weights)
    for dtype, most in (("f32", 1e-5), ("bf16", 1e-2)):
        source = weights.layer._asdict() | {"norm": "true", "dtype": dtype}
        with open("tiny.moe", "w") as f:
            f.write(tables.SOURCE.format(**source))
        moec("compile", "tiny.moe", "-o", f"tiny_{dtype}.so")
        ours = Ours(os.path.abspath(f"tiny_{dtype}.so"), weights, dtype, 2)
        y = ours.result(ours.run(ours.feed(x, picks, gates)))
        assert layer.distance(y, wanted) < most, layer.distance(y, wanted)
        other = ours.result(ours.run(ours.feed(x, picks[:, ::-1].copy(), gates)))
        assert layer.distance(other, wanted) > 10 * most        # routing given counts


@test
def wrong_uses():
    for wrong in (["--peers", "none"], ["--tokens", "3"], ["--layers", "A,Z"], ["--speed"]):
        p = subprocess.run([sys.executable, os.path.join(PEERS, "run"), *wrong],
                           capture_output=True, text=True, timeout=60)
        assert p.returncode == 2 and wrong[-1].split(",")[-1] in p.stderr, p.stderr


main()
