# SPDX-License-Identifier: Apache-2.0
# child: measures one peer on one layer in the peer's environment, moec in the same process.
#
# Prints a line of JSON when a cell begins and one when it ends, so that `run` knows which one
# a peer died of.
import argparse
import gc
import importlib
import json
import os
import statistics
import sys
import time

import numpy as np

from layer import Weights, distance, reference, tokens, tour
from ours import Ours
from tables import BYTES, CALM, LAYERS, PEERS, TOLERANCE

LEAST, MOST = 5, 60             # pairs of calls
LEAST_LONG, LONG = 3, 5.0       # seconds a pair: of such only LEAST_LONG
PATIENCE = 5                    # a disturbed cell is not begun again after so many times its time
WAKE = 0.05                     # calls that are shorter have a call before them


def say(out, **line):
    out.write(json.dumps(line) + "\n")
    out.flush()


def available():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if "MemAvailable" in line)


def room(peer, layer, dtype):
    """Refuses what would take the memory that others use."""
    one = 3 * layer.E * layer.H * layer.I * BYTES[dtype]
    needed = (1 + PEERS[peer].copies) * one + 1.5e9
    if needed > available():
        raise MemoryError(f"needs {needed / 1e9:.1f} GB of memory, "
                          f"{available() / 1e9:.1f} GB are free")


def busy():
    """How many other threads of this process are running."""
    count = 0
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            try:
                with open(f"/proc/self/task/{thread}/stat") as f:
                    count += f.read().rpartition(")")[2].split()[0] == "R"
            except FileNotFoundError:
                pass
    return count


def quiet(limit=0.1):
    """Waits until the threads of the side that ran last sleep.  Most runtimes spin for some
    milliseconds after a call; on as many cores as threads that would slow the other side down.
    OMP_WAIT_POLICY=passive would end it, too, but slow the peer's own barriers down, so every
    peer keeps the policy that it comes with.  False: they still spin after `limit`."""
    end, still = time.perf_counter() + limit, 0
    while time.perf_counter() < end:
        still = 0 if busy() else still + 1
        if still == 3:
            return True
        time.sleep(0.001)
    return False


def cpu_seconds():
    """Of all processes, of this one, and what the hypervisor gave to others."""
    with open("/proc/stat") as f:
        ticks = [int(n) / os.sysconf("SC_CLK_TCK") for n in f.readline().split()[1:9]]
    own = os.times()
    return ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], own.user + own.system, ticks[7]


class Load:
    """How much of a CPU others took while something was measured.  Runtimes that only spin at
    their barriers then lose whole time slices, and their medians say nothing of them."""

    def __init__(self):
        self.begin, self.before = time.perf_counter(), cpu_seconds()

    def others(self):
        all_of, own, stolen = (b - a for a, b in zip(self.before, cpu_seconds()))
        return max(0, all_of - own + stolen) / (time.perf_counter() - self.begin)


class Cell:
    """One layer, type and number of tokens."""

    def __init__(self, sides, layer, dtype, t, rng):
        self.sides, self.layer, self.dtype, self.t = sides, layer, dtype, t
        self.rng = rng

    def batch(self):
        return tokens(self.layer, self.t, self.rng)

    def compare(self):
        """How far both are from each other; warms both up, too."""
        for _ in range(2):
            batch = self.batch()
            y = [np.array(s.result(s.run(s.feed(*batch)))) for s in self.sides]
        if not np.isfinite(y[1]).all():
            raise ArithmeticError("the result is not finite")
        return distance(y[1], y[0])

    def pair(self, wake, peer_first):
        """Times of both sides on the same tokens.  A call of other tokens wakes a side's
        threads up, as the layer before it would; both sides get that, or none.  Inputs are
        converted to what a side takes before the clock starts."""
        batch, first = self.batch(), self.batch() if wake else None
        times, awake = [0, 0], False
        for i in (1, 0) if peer_first else (0, 1):
            side = self.sides[i]
            inputs, before = side.feed(*batch), side.feed(*first) if wake else None
            awake |= not quiet()
            if wake:
                side.run(before)
            start = time.perf_counter()
            side.run(inputs)
            times[i] = time.perf_counter() - start
        return times, awake

    def measure(self, seconds):
        apart = self.compare()
        if not apart < TOLERANCE[self.dtype]:
            raise ArithmeticError(f"its result is {apart:.2g} away from moec's")
        pairs, spun, begin, load = [], 0, time.perf_counter(), Load()
        probe, _ = self.pair(False, False)
        wake, long = max(probe) < WAKE, sum(probe) > LONG
        while len(pairs) < (LEAST_LONG if long else LEAST) or (
                len(pairs) < MOST and time.perf_counter() - begin < seconds):
            times, awake = self.pair(wake, len(pairs) % 2)
            pairs.append(times)
            spun += awake
        return self._summary(pairs, spun) | {"error_pair": apart, "others": load.others()}

    def measure_calmly(self, seconds, tries):
        """Of some tries the one in which others took least; the first that was calm ends it."""
        found, end = [], time.perf_counter() + PATIENCE * seconds
        while not found or (len(found) < tries and found[-1]["others"] > CALM
                            and time.perf_counter() < end):
            found.append(self.measure(seconds))
        return min(found, key=lambda f: f["others"]) | {"tries": len(found)}

    @staticmethod
    def _summary(pairs, spun):
        ours, theirs = zip(*pairs)
        ms = {f"{name}_{what}_ms": f(side) * 1e3
              for name, side in (("moec", ours), ("peer", theirs))
              for what, f in (("min", min), ("median", statistics.median))}
        return ms | {
            "pairs": len(pairs), "never_slept": spun,
            "ratio": statistics.median(theirs) / statistics.median(ours),
            "ratio_of_min": min(theirs) / min(ours),
            "ratio_of_pairs": statistics.median(p / o for o, p in pairs)}


def open_sides(args):
    layer = LAYERS[args.layer]
    module = importlib.import_module(PEERS[args.peer].module)
    room(args.peer, layer, args.dtype)
    weights = Weights(args.weights, args.layer)
    batch, wanted = reference(weights)
    # The peer first: it may need more memory while it loads than afterwards.
    peer = module.Peer(args.peer, weights, args.dtype, args.threads, max(args.tokens))
    gc.collect()
    sides = [Ours(args.library, weights, args.dtype, args.threads), peer]
    # zentorch reorders an expert's weights when it first meets it: all meet all experts.
    visit = tour(layer, np.random.default_rng(2))
    for side in sides:
        side.run(side.feed(*visit))
    errors = [distance(s.result(s.run(s.feed(*batch))), wanted) for s in sides]
    return sides, {"error_moec": errors[0], "error_peer": errors[1], "note": peer.note}


def reason(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else text[:300] + " .."


def main():
    p = argparse.ArgumentParser()
    for name in ("peer", "layer", "dtype", "weights", "library", "out"):
        p.add_argument("--" + name)
    p.add_argument("--threads", type=int)
    p.add_argument("--tries", type=int)
    p.add_argument("--seconds", type=float)
    p.add_argument("--tokens", type=lambda s: [int(t) for t in s.split(",")])
    args = p.parse_args()
    with open("/proc/self/oom_score_adj", "w") as f:
        f.write("1000")                         # rather this process than another
    with open(args.out, "a") as out:
        say(out, begin="loading")
        try:
            sides, facts = open_sides(args)
        except Exception as e:                  # whatever a peer raises is its reason
            for t in args.tokens:
                say(out, tokens=t, reason=reason(e))
        else:
            rng = np.random.default_rng()
            for t in args.tokens:
                say(out, begin=t)
                try:
                    cell = Cell(sides, LAYERS[args.layer], args.dtype, t, rng)
                    say(out, tokens=t, **facts, **cell.measure_calmly(args.seconds, args.tries))
                except Exception as e:
                    say(out, tokens=t, reason=reason(e), **facts)
    sys.stdout.flush()
    os._exit(0)                                 # some peers die of their own destructors


main()
