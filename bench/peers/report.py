# SPDX-License-Identifier: Apache-2.0
# report: rows of measurements as a line, as Markdown and as JSON.
import math

import cpu
from tables import BYTES, CALM, ENVIRONMENTS, LAYERS, PEERS, TOKENS


def key_of(row):
    return row["layer"], row["dtype"], row["tokens"], row["peer"], row["threads"]


def line(row):
    name = f"{row['layer']} {row['dtype']:4} T={row['tokens']:<4} {row['peer']:13}"
    if "reason" in row:
        return f"{name} none: {row['reason']}"
    spun = " never slept" if row["never_slept"] else ""
    spun += f" others {row['others']:.2f} CPU" if row["others"] > CALM else ""
    return (f"{name} ms min/median: moec {row['moec_min_ms']:.4g}/{row['moec_median_ms']:.4g}"
            f" peer {row['peer_min_ms']:.4g}/{row['peer_median_ms']:.4g}"
            f" ratio {row['ratio']:.3f} of pairs {row['ratio_of_pairs']:.3f}"
            f" of min {row['ratio_of_min']:.3f} n={row['pairs']}"
            f" error: pair {row['error_pair']:.1e}"
            f" moec {row['error_moec']:.1e} peer {row['error_peer']:.1e}{spun}")


def cells(rows):
    """(layer, dtype, tokens, threads) -> {peer: row}, in the order of the tables."""
    found = {}
    for r in rows.values():
        found.setdefault((r["layer"], r["dtype"], r["tokens"], r["threads"]), {})[
            r["peer"]] = r
    order = (list(LAYERS), list(BYTES), TOKENS)
    return dict(sorted(found.items(), key=lambda c: (
        *[o.index(v) for o, v in zip(order, c[0])], c[0][3])))


def best(peers, what="ratio"):
    """The row of the fastest peer of a cell, or None.  Each ratio is of calls side by side:
    unlike times of different minutes they can be compared."""
    ran = [r for r in peers.values() if "ratio" in r]
    return min(ran, key=lambda r: r[what], default=None)


def calm(row):
    return row["others"] <= CALM


def calm_cell(peers):
    """A disturbed peer might have been the best."""
    return all(calm(r) for r in peers.values() if "ratio" in r)


def geometric_mean(rows, which=best, what="ratio"):
    """Of the best peers' ratios, and of how many cells."""
    ratios = [best(c, what)[what] for c in cells(rows).values() if best(c) and which(c)]
    return len(ratios), math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def machine():
    features = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    return cpu.model(), [x for x in features if x in cpu.flags()]


def result(rows):
    model, features = machine()
    out, counted = [], ("cells", "mean")
    for (layer, dtype, tokens, threads), peers in cells(rows).items():
        b = best(peers)
        out.append({"layer": LAYERS[layer].name, "dtype": dtype, "tokens": tokens,
                    "threads": threads,
                    "best": b and b["peer"], "best_ratio": b and b["ratio"],
                    "calm": calm_cell(peers),
                    "ratios": {p: r.get("ratio") for p, r in peers.items()}})
    return {"cpu": model, "features": features, "pins": ENVIRONMENTS,
            "geometric_mean_of_best": dict(zip(counted, geometric_mean(rows))),
            "geometric_mean_of_best_calm": dict(zip(counted, geometric_mean(rows, calm_cell))),
            "cells": out,
            "rows": list(rows.values())}


def table(head, body):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + body
    return "".join("| " + " | ".join(map(str, x)) + " |\n" for x in lines)


def ratios(rows):
    used = [p for p in PEERS if any(r["peer"] == p for r in rows.values())]
    reasons, body = [], []

    def entry(peers, p):
        if p not in peers:
            return ""
        if "ratio" in peers[p]:
            return f"{peers[p]['ratio']:.2f}" + ("" if calm(peers[p]) else "~")
        why = f"`{p}`: {peers[p]['reason']}"
        if why not in reasons:
            reasons.append(why)
        return f"[{reasons.index(why) + 1}]"

    for (layer, dtype, tokens, threads), peers in cells(rows).items():
        b = best(peers)
        body.append([f"{layer} {dtype} T={tokens}", threads,
                     f"{b['moec_median_ms']:.4g}" if b else "",
                     f"**{b['ratio']:.2f}**{'' if calm(b) else '~'} {b['peer']}" if b else
                     "none",
                     f"{best(peers, 'ratio_of_min')['ratio_of_min']:.2f}" if b else ""]
                    + [entry(peers, p) for p in used])
    notes = "".join(f"{i}. {why}\n" for i, why in enumerate(reasons, 1))
    return table(["cell", "threads", "moec ms", "best peer", "of minima"] + used, body), notes


def errors(rows):
    """The largest error against float64 of each peer and type, and moec's beside it."""
    body = []
    for p in PEERS:
        for dtype in BYTES:
            ran = [r for r in rows.values()
                   if (r["peer"], r["dtype"]) == (p, dtype) and "ratio" in r]
            if ran:
                body.append([p, dtype] + [f"{max(r[e] for r in ran):.1e}" for e in
                                          ("error_peer", "error_moec", "error_pair")]
                            + ["; ".join(sorted({r["note"] for r in ran}))])
    return table(["peer", "weights", "to float64", "moec to float64", "to moec", "note"], body)


def markdown(rows):
    model, features = machine()
    main, reasons = ratios(rows)
    layers = "; ".join(f"{k} {v.name} H {v.H} I {v.I} E {v.E} k {v.K}"
                       for k, v in LAYERS.items())
    spun = sorted({r["peer"] for r in rows.values() if r.get("never_slept")})
    parts = ["# moec beside its peers\n", f"On {model} ({', '.join(features)}). {layers}.\n",
             "A number is the peer's median time divided by moec's of the same calls: above 1,"
             f" moec is faster. `~`: other processes took more than {CALM:.0%} of a CPU beside"
             " it, so that it says little, least of peers that spin at their barriers; `of"
             " minima` is the least ratio of both sides' fastest calls. An empty entry was not"
             " measured.\n", main]
    for text, args in (("all cells", []), ("the calm ones", [calm_cell]),
                       ("all cells, of the minima", [best, "ratio_of_min"])):
        count, mean = geometric_mean(rows, *args)
        if count:
            parts.append(f"Geometric mean of the best peer's ratio, {text} ({count}): "
                         f"**{mean:.3f}**.\n")
    if reasons:
        parts += ["What did not run, and why:\n", reasons]
    if spun:
        parts.append(f"Threads that still spun beside the other side: {', '.join(spun)}.\n")
    return "\n".join(parts + ["Relative errors (L2), the largest:\n", errors(rows)])
