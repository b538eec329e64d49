# SPDX-License-Identifier: Apache-2.0
# ops_route: rows of experts, and what has no operands (weights, counts, draws).
import math

import numpy as np

from cases import S, SEQ, T, bf16, case, rand, rng

E, K, H = 5, 3, 4


def routing():
    pick = rng.integers(-1, E, (T, K))
    pick[0] = [4, 4, 1]                 # one expert twice
    pick[1] = -1
    rows = sorted((pick[t, j], t, j) for t in range(T) for j in range(K)
                  if 1 <= pick[t, j] < 5)
    weight, v, per = rand(T, K), rand(T, H), rand(T, K, H)
    ins = [("pick", f"index<{E}>[T, {K}]", pick), ("w", f"f32[T, {K}]", weight),
           ("v", f"f32[T, {H}]", v), ("per", f"f32[T, {K}, {H}]", per)]
    group = "%g = group %pick {first=1, count=4} : rows[R0]\n"
    head = "experts E0 = 1..5\nparam b: f32[E0, 4]"
    order = np.array([v[t] for _, t, _ in rows])
    slots = np.array([per[t, j] for _, t, j in rows])
    back, collected = np.zeros((T, H)), np.zeros((T, K, H))
    bias = rand(4, H)
    for r, (e, t, j) in enumerate(rows):
        back[t] += weight[t, j] * (order[r] + bias[e - 1]) * slots[r]
        collected[t, j] = order[r]
    numbered = np.zeros((T, K))
    for r, (_, t, j) in enumerate(rows):
        numbered[t, j] = r + 1
    weights = [("b", e + 1, "f32", bias[e]) for e in range(4)]
    rows_then = "%d = dispatch %v, %g : f32[R0, 4]\n%s = dispatch %per, %g {slot} : f32[R0, 4]\n"
    rows_then = rows_then.replace("{slot}", "{slot=1}")
    for op in ("group", "dispatch", "combine"):
        case(op, group + rows_then + '%b = param {name="b"} : f32[E0, 4]\n'
             "%a = add %d, %b : f32[R0, 4]\n%m = mul %a, %s : f32[R0, 4]\n"
             "%y = combine %m, %w, %g : f32[T, 4]", [("y", "f32[T, 4]", back)], ins, weights,
             head=head, near=[back.astype(np.float32)])
    case("collect", group + rows_then + "%y = collect %d, %g : f32[T, 3, 4]",
         [("y", "f32[T, 3, 4]", collected)], ins, head=head)
    # rows numbered by a cumsum over them show their order
    case("group", group + "%one = const {value=[1]} : f32[1]\n"
         "%d = dispatch %one, %g : f32[R0, 1]\n%n = cumsum %d {over=tokens} : f32[R0, 1]\n"
         "%y = collect %n, %g : f32[T, 3, 1]", [("y", "f32[T, 3, 1]", numbered)], ins, head=head,
         unverified=1)


def experts():
    """Two functions, of experts 0 .. 2 (a matrix and a bias each) and 3 .. 4 (a scale)."""
    pick = rng.integers(-1, E, (T, K))
    x, per = rand(T, H), rand(T, K, H)
    w, b, s = bf16(rand(3, H, H)), rand(3, H), rand(2, H)
    head = ("experts E0 = 0..3\nexperts E1 = 3..5\nparam w: bf16[E0, 4, 4]\n"
            "param b: f32[E0, 4]\nparam s: f32[E1, 4]")

    def run(e, v):
        return np.tanh(w[e] @ v + b[e]) if e < 3 else v * s[e - 3]

    weights = [("w", e, "bf16", w[e]) for e in range(3)]
    weights += [("b", e, "f32", b[e]) for e in range(3)]
    weights += [("s", e + 3, "f32", s[e]) for e in range(2)]
    for type, v in (("f32[T, 4]", x), ("f32[T, 3, 4]", per)):
        slot = v if v.ndim == 3 else np.repeat(v[:, None], K, 1)
        y = np.array([[run(pick[t, j], slot[t, j]) if pick[t, j] >= 0 else np.zeros(H)
                       for j in range(K)] for t in range(T)])
        fns = """
fn @first(%x: f32[R0, 4]) -> (f32[R0, 4]) {
  %w = param {name="w"} : bf16[E0, 4, 4]
  %b = param {name="b"} : f32[E0, 4]
  %l = linear %x, %w : f32[R0, 4]
  %a = add %l, %b : f32[R0, 4]
  %y = tanh %a : f32[R0, 4]
  return %y
}
fn @second(%x: f32[R1, 4]) -> (f32[R1, 4]) {
  %s = param {name="s"} : f32[E1, 4]
  %y = mul %x, %s : f32[R1, 4]
  return %y
}"""
        case("experts", "%y = experts %pick, %v {fns=[@first, @second], counts=[3, 2]} : "
             "f32[T, 3, 4]", [("y", "f32[T, 3, 4]", y)],
             [("pick", f"index<{E}>[T, {K}]", pick), ("v", type, v)], weights, head=head,
             fns=fns)


def compaction():
    """Only the rows above a bar pay for a matrix; draws of rows are those of their tokens."""
    pick, x = rng.integers(-1, E, (T, K)), rand(T, H)
    w = rand(E, H, H)
    pos = np.concatenate([np.arange(b - a) for a, b in zip(SEQ, SEQ[1:])])
    seq = np.repeat(np.arange(S), np.diff(SEQ))
    y = np.zeros((T, K, H))
    for t in range(T):
        for j in range(K):
            if pick[t, j] >= 0:
                u = [uniform((i, 2, int(pos[t]), 0), (5, int(seq[t]))) for i in range(H)]
                y[t, j] = w[pick[t, j]] @ x[t] + u if x[t].sum() > 0 else -x[t]
    case("where", "%y = experts %pick, %x {fns=[@f], counts=[5]} : f32[T, 3, 4]",
         [("y", "f32[T, 3, 4]", y)],
         [("pick", f"index<{E}>[T, {K}]", pick), ("x", "f32[T, 4]", x)],
         [("w", e, "f32", w[e]) for e in range(E)],
         head="experts E0 = 0..5\nparam w: f32[E0, 4, 4]", seed=5, fns="""
fn @f(%x: f32[R0, 4]) -> (f32[R0, 4]) {
  %s = sum %x {over=0} : f32[R0]
  %zero = const {value=[0]} : f32
  %c = lt %zero, %s : bool[R0]
  %y = where %c : f32[R0, 4] {
    %w = param {name="w"} : f32[E0, 4, 4]
    %a = linear %x, %w : f32[R0, 4]
    %u = uniform {site=2} : f32[R0, 4]
    %b = add %a, %u : f32[R0, 4]
    yield %b
  } {
    %n = neg %x : f32[R0, 4]
    yield %n
  }
  return %y
}""")
    case("where", """%c = where %row : f32[T, 3, 4] {
  %y = experts %pick, %x {fns=[@f], counts=[5]} : f32[T, 3, 4]
  yield %y
} {
  %z = const {value=[0]} : f32[3, 4]
  yield %z
}""", [("c", "f32[T, 3, 4]", np.where((pos > 0)[:, None, None],
                                     np.where((pick >= 0)[..., None], 2 * x[:, None], 0), 0))],
         [("row", "bool[T]", pos > 0), ("pick", f"index<{E}>[T, {K}]", pick),
          ("x", "f32[T, 4]", x)], head="experts E0 = 0..5", fns="""
fn @f(%x: f32[R0, 4]) -> (f32[R0, 4]) {
  %y = add %x, %x : f32[R0, 4]
  return %y
}""")


def sources():
    w = rand(6)
    case("param", '%y = param {name="w"} : f32[6]', [("y", "f32[6]", w)], (),
         [("w", -1, "f32", w)], head="param w: f32[6]")
    case("const", "%a = const {value=[1, 2, -3]} : f32[3]\n%b = const {value=[-1]} : index<4>[2]\n"
         "%c = const {value=[0x1p-2]} : f64\n%d = const {value=[2.5]} : f32[2]",
         [("a", "f32[3]", [1, 2, -3]), ("b", "index<4>[2]", [-1, -1]), ("c", "f64", [0.25]),
          ("d", "f32[2]", [2.5, 2.5])])
    case("iota", "%y = iota : i32[7]", [("y", "i32[7]", np.arange(7))])
    case("tokens", "%y = tokens : f64", [("y", "f64", [T])])
    case("step", "%y = step : f64", [("y", "f64", [12])], step=12)
    case("step", "%y = step : f64", [("y", "f64", [2.0 ** 53])])
    pos = np.concatenate([np.arange(b - a) for a, b in zip(SEQ, SEQ[1:])])
    case("position", "%y = position : i32[T]", [("y", "i32[T]", pos)])
    t = bf16(rand(6, 4))
    case("tensor", '%a = tensor {name="t"} : bf16[6, 4]\n'
         "%b = slice %a {start=[1, 1], size=[2, 2], step=[2, 2]} : bf16[2, 2]\n"
         "%i = const {value=[3]} : index<6>\n%c = gather %a, %i : bf16[4]\n"
         "%r = reshape %a : bf16[3, 8]\n%d = transpose %r : bf16[8, 3]",
         [("a", "bf16[6, 4]", t), ("b", "bf16[2, 2]", t[1:4:2, 1:4:2]), ("c", "bf16[4]", t[3]),
          ("d", "bf16[8, 3]", t.reshape(3, 8).T)], tensors=[("t", "bf16", t)], unverified=1)
    u, v = bf16(rand(5, 3)), bf16(rand(5, 3))
    case("unpack", '%a = unpack {stream=0, panel="p"} : bf16[5, 3]\n'
         '%b = unpack {stream=1, panel="p"} : bf16[5, 3]\n%x = const {value=[1]} : f32[3]\n'
         "%y = linear %x, %b : f32[5]",
         [("a", "bf16[5, 3]", u), ("b", "bf16[5, 3]", v), ("y", "f32[5]", v.sum(1))], (),
         [("u", -1, "bf16", u), ("v", -1, "bf16", v)],
         head="param u: bf16[5, 3]\nparam v: bf16[5, 3]\n"
              "panel p: bf16 streams=[u, v] n=5 k=3 cols=4 kpack=2")


def philox(ctr, key):
    a, b, c, d = ctr
    k, l = key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xffffffff, (p >> 32) ^ d ^ l, p & 0xffffffff
        k, l = (k + 0x9E3779B9) & 0xffffffff, (l + 0xBB67AE85) & 0xffffffff
    return a, b, c, d


def unit(w):
    return (w >> 8) * 2.0 ** -24 + 2.0 ** -25


def uniform(ctr, key):
    return np.float32(unit(philox(ctr, key)[0]))


def draws():
    seed, site, step = 12345, 3, 9

    def normal(ctr, key):
        a, b = philox(ctr, key)[:2]
        return math.sqrt(-2 * math.log(unit(a))) * math.cos(2 * math.pi * unit(b))

    for op, f, tol in (("uniform", uniform, 0), ("normal", normal, 2e-7)):
        each = [[f((i, site, pos, step), (seed, s)) for i in range(4)] for s in range(S)
                for pos in range(SEQ[s + 1] - SEQ[s])]
        all_tokens = [f((i, site, 0, step), (seed, 0)) for i in range(4)]
        case(op, f"%a = {op} {{site={site}}} : f32[T, 4]\n"
             f"%b = {op} {{site={site}, over=tokens}} : f32[4]",
             [("a", "f32[T, 4]", each), ("b", "f32[4]", all_tokens)],
             tol=tol, seed=seed, step=step)


def cases():
    routing()
    experts()
    compaction()
    sources()
    draws()
