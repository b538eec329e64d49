# SPDX-License-Identifier: Apache-2.0
# defer: tokens that find their expert full wait in a queue and lead the next call, against NumPy:
# whose each row is, and nothing is lost: arrived = processed + waiting + dropped.
import numpy as np

from cli import main, moec, test, write
from library import Session
from routing import E, H, router, softmax, summed, top, weights
from tensors import save

SEATS, QUEUE = 3, 20
SOURCE = f"""layer queued {{
  input   x: f32[T, {H}]
  experts {E} of swiglu(128)
  route   switch()
  pick    = fit(pick, {SEATS})
  defer   all(pick == none), {QUEUE}
}}
"""


def session():
    src = write("queued.moe", SOURCE)
    w = weights(src)
    moec("compile", src, "-o", "queued.so")
    moec("pack", src, "--weights", save("w.safetensors", w), "-o", "queued.moew")
    return Session("queued"), {k: v.astype(float) for k, v in w.items()}


class Oracle:
    """Rows are (number of arrival, x)."""

    def __init__(self, w):
        self.w, self.waiting, self.counts = w, [], np.zeros(4, np.int64)

    def call(self, x):
        rows = self.waiting + [(self.counts[0] + i, row) for i, row in enumerate(x)]
        self.counts[0] += len(x)
        p = softmax(router(self.w, np.array([row for _, row in rows]).reshape(-1, H)))
        free, later, whose, y = np.full(E, SEATS), [], [], np.zeros((len(rows), H))
        for i, (number, row) in enumerate(rows):
            e = p[i].argmax()
            free[e] -= 1
            if free[e] >= 0:
                y[i] = summed(self.w, row[None], [[e]], [[p[i, e]]])[0]
                whose.append(number)
                self.counts[1] += 1
            else:
                whose.append(-1)
                if len(later) < QUEUE:
                    later.append((number, row))
                else:
                    self.counts[3] += 1
        self.waiting = later
        self.counts[2] = len(later)
        return y, whose, self.counts


@test
def nothing_is_lost():
    s, w = session()
    oracle, rng, seen = Oracle(w), np.random.default_rng(3), []
    for n in (30, 5, 60, 0, 1, 90, 0, 0, 0):
        x = rng.standard_normal((n, H)).astype(np.float32)
        waiting = len(oracle.waiting)
        y, whose, counts = s.run_queued(x, waiting)
        want, owners, total = oracle.call(x.astype(float))
        assert np.array_equal(whose, owners), (n, whose, owners)
        assert np.array_equal(counts, total), (counts, total)
        assert np.allclose(y[whose >= 0], want[whose >= 0], rtol=2e-4, atol=2e-5), n
        assert counts[0] == counts[1] + counts[2] + counts[3], counts
        seen += [int(i) for i in whose if i >= 0]
    assert counts[3] > 0 and counts[2] == 0, counts
    assert len(seen) == len(set(seen)) == counts[1], "each token comes out once"
    s.call("reset", s.session)
    _, whose, counts = s.run_queued(np.zeros((2, H), np.float32), 0)
    assert list(whose) == [0, 1] and list(counts) == [2, 2, 0, 0], (whose, counts)
    s.close()


@test
def who_does_not_ask_lets_nobody_wait():
    s, _ = session()
    x = np.random.default_rng(3).standard_normal((90, H)).astype(np.float32)
    first = s.run(x)
    assert np.array_equal(first, s.run(x)), "the second call has no others in front"
    assert "within the bound" in moec("run", "queued.moe", "--tokens", 90, "--check")
    s.close()


@test
def the_header_says_how_many():
    moec("compile", write("queued.moe", SOURCE), "--emit=header", "-o", "queued.h")
    with open("queued.h") as f:
        text = f.read()
    assert f"#define queued_QUEUE {QUEUE} " in text and "whose each row of results is" in text


@test
def what_cannot_wait():
    for what, said in (("group 4", "`group` of a layer whose tokens may wait"),
                       ("causal", "not causal"),
                       ("defer all(pick == none), 3", "a second `defer`")):
        text = SOURCE.replace("  defer ", f"  {what}\n  defer ")
        moec("compile", write("wrong.moe", text), "-o", "x.so", status=1, said=said)
    for wrong in ("T > 5", "pick == none", "sum(x)"):
        text = SOURCE.replace("all(pick == none)", wrong)
        moec("compile", write("wrong.moe", text), "-o", "x.so", status=1, said="one bool a token")


main()
