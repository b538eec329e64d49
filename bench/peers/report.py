# SPDX-License-Identifier: Apache-2.0
# report: rows of measurements as a line, as Markdown and as JSON.
import math
import platform

from tables import BYTES, ENVIRONMENTS, LAYERS, PEERS, TOKENS


def key_of(row):
    return row["layer"], row["dtype"], row["tokens"], row["peer"], row["threads"]


def line(row):
    name = f"{row['layer']} {row['dtype']:4} T={row['tokens']:<4} {row['peer']:13}"
    if "reason" in row:
        return f"{name} none: {row['reason']}"
    spun = " never slept" if row["never_slept"] else ""
    return (f"{name} ms min/median: moec {row['moec_min_ms']:.4g}/{row['moec_median_ms']:.4g}"
            f" peer {row['peer_min_ms']:.4g}/{row['peer_median_ms']:.4g}"
            f" ratio {row['ratio']:.3f} of pairs {row['ratio_of_pairs']:.3f}"
            f" n={row['pairs']} error: pair {row['error_pair']:.1e}"
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


def best(peers):
    """The row of the fastest peer of a cell, or None.  Each ratio is of calls side by side:
    unlike times of different minutes they can be compared."""
    ran = [r for r in peers.values() if "ratio" in r]
    return min(ran, key=lambda r: r["ratio"], default=None)


def geometric_mean(rows):
    ratios = [b["ratio"] for b in map(best, cells(rows).values()) if b]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def cpu():
    try:
        with open("/proc/cpuinfo") as f:
            info = dict(map(str.strip, text.split(":", 1)) for text in f if ":" in text)
        return info["model name"], [x for x in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
                                    if x in info["flags"].split()]
    except (OSError, KeyError):
        return platform.machine(), []


def result(rows):
    model, features = cpu()
    out = []
    for (layer, dtype, tokens, threads), peers in cells(rows).items():
        b = best(peers)
        out.append({"layer": LAYERS[layer].name, "dtype": dtype, "tokens": tokens,
                    "threads": threads,
                    "best": b and b["peer"], "best_ratio": b and b["ratio"],
                    "ratios": {p: r.get("ratio") for p, r in peers.items()}})
    return {"cpu": model, "features": features, "pins": ENVIRONMENTS,
            "geometric_mean_of_best": geometric_mean(rows), "cells": out,
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
            return f"{peers[p]['ratio']:.2f}"
        why = f"`{p}`: {peers[p]['reason']}"
        if why not in reasons:
            reasons.append(why)
        return f"[{reasons.index(why) + 1}]"

    for (layer, dtype, tokens, threads), peers in cells(rows).items():
        b = best(peers)
        body.append([f"{layer} {dtype} T={tokens}", threads,
                     f"{b['moec_median_ms']:.4g}" if b else "",
                     f"**{b['ratio']:.2f}** {b['peer']}" if b else "none"]
                    + [entry(peers, p) for p in used])
    notes = "".join(f"{i}. {why}\n" for i, why in enumerate(reasons, 1))
    return table(["cell", "threads", "moec ms", "best peer"] + used, body), notes


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
    model, features = cpu()
    mean, (main, reasons) = geometric_mean(rows), ratios(rows)
    layers = "; ".join(f"{k} {v.name} H {v.H} I {v.I} E {v.E} k {v.K}"
                       for k, v in LAYERS.items())
    spun = sorted({r["peer"] for r in rows.values() if r.get("never_slept")})
    parts = ["# moec beside its peers\n", f"On {model} ({', '.join(features)}). {layers}.\n",
             "A number is the peer's median time divided by moec's of the same calls: above 1,"
             " moec is faster.\n", main]
    if mean:
        parts.append(f"Geometric mean of the best peer's ratio over {len(cells(rows))} cells: "
                     f"**{mean:.3f}**.\n")
    if reasons:
        parts += ["What did not run, and why:\n", reasons]
    if spun:
        parts.append(f"Threads that still spun beside the other side: {', '.join(spun)}.\n")
    return "\n".join(parts + ["Relative errors (L2), the largest:\n", errors(rows)])
