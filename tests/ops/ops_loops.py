# SPDX-License-Identifier: Apache-2.0
# ops_loops: regions, calls and states.
import numpy as np

from cases import S, SEQ, T, case, rand

SEQ_OF = np.repeat(np.arange(S), np.diff(SEQ))


def calls():
    x = rand(T, 3)
    case("call", "%a, %b = call %x {fn=@twice} : f32[T, 3], f32[3]",
         [("a", "f32[T, 3]", 2 * x), ("b", "f32[3]", x.sum(0))], [("x", "f32[T, 3]", x)],
         fns="""fn @twice(%x: f32[T, 3]) -> (f32[T, 3], f32[3]) {
  %a = add %x, %x : f32[T, 3]
  %b = sum %x {over=tokens} : f32[3]
  return %a, %b
}""")
    for op in ("kernel", "yield", "return"):
        case(op, """%y, %z = kernel {kind=map, over=T} : f32[T, 3], f32[T] {
  %a = square %x : f32[T, 3]
  %s = sum %a {over=0} : f32[T]
  yield %a, %s
}""", [("y", "f32[T, 3]", x * x), ("z", "f32[T]", (x * x).sum(1))], [("x", "f32[T, 3]", x)],
             head='target "x86-64-v3"')
    for c in (0, 1):
        case("if", """%y = if %c : f32[T, 3] {
  %a = neg %x : f32[T, 3]
  yield %a
} {
  %b = exp %x : f32[T, 3]
  yield %b
}""", [("y", "f32[T, 3]", -x if c else np.exp(x))],
             [("c", "bool", [c]), ("x", "f32[T, 3]", x)])


def compaction():
    x, c, per = rand(T, 3), np.array([1, 0, 0, 1, 1.0]), rand(S, 3)
    pos = np.concatenate([np.arange(b - a) for a, b in zip(SEQ, SEQ[1:])]).astype(float)
    yes = x * 10 + per[SEQ_OF] + pos[:, None]
    case("where", """%y, %n = where %c : f32[T, 3], f32[T] {
  %ten = const {value=[10]} : f32
  %m = mul %x, %ten : f32[T, 3]
  %a = add %m, %per : f32[T, 3]
  %p = position : i32[T]
  %f = cast %p : f32[T]
  %g = reshape %f : f32[T, 1]
  %b = add %a, %g : f32[T, 3]
  %all = tokens : f64
  %q = cast %all : f32
  yield %b, %q
} {
  %b2 = neg %x : f32[T, 3]
  %q2 = const {value=[-1]} : f32
  yield %b2, %q2
}""", [("y", "f32[T, 3]", np.where(c[:, None] != 0, yes, -x)),
       ("n", "f32[T]", np.where(c != 0, T, -1))],
         [("c", "bool[T]", c), ("x", "f32[T, 3]", x), ("per", "f32[S, 3]", per)])
    # nested, and a region that no token takes
    d = np.array([1, 1, 0, 0, 1.0])
    case("where", """%y = where %c : f32[T, 3] {
  %z = where %d : f32[T, 3] {
    %a = add %x, %x : f32[T, 3]
    yield %a
  } {
    yield %x
  }
  yield %z
} {
  yield %x
}
%no = not %c : bool[T]
%never = and %c, %no : bool[T]
%w = where %never : f32[T, 3] {
  %l = exp %x : f32[T, 3]
  yield %l
} {
  yield %x
}""", [("y", "f32[T, 3]", np.where((c * d)[:, None] != 0, 2 * x, x)), ("w", "f32[T, 3]", x)],
         [("c", "bool[T]", c), ("d", "bool[T]", d), ("x", "f32[T, 3]", x)])


def loops():
    x = np.abs(rand(T, 3)) + 0.5
    for most, bar in ((100, 50.0), (3, 50.0), (1, 50.0)):
        y, rounds = x.copy(), 0
        while rounds < most:
            y, rounds = y * x + 1, rounds + 1
            if y.max() > bar:
                break
        case("repeat", f"""%zero = const {{value=[0]}} : f64
%y, %n = repeat %x, %zero {{max={most}}} : f32[T, 3], f64 {{
  (%v: f32[T, 3], %i: f64):
  %p = mul %v, %x : f32[T, 3]
  %one = const {{value=[1]}} : f32
  %a = add %p, %one : f32[T, 3]
  %step = const {{value=[1]}} : f64
  %j = add %i, %step : f64
  %r = amax %a {{over=0}} : f32[T]
  %m = amax %r {{over=tokens}} : f32
  %bar = const {{value=[{bar}]}} : f32
  %c = lt %bar, %m : bool
  yield %a, %j, %c
}}""", [("y", "f32[T, 3]", y), ("n", "f64", [rounds])], [("x", "f32[T, 3]", x)])
    h0 = rand(S, 3)
    h, out = h0.copy(), np.zeros((T, 3))
    for t in range(T):
        s = SEQ_OF[t]
        h[s] = 0.5 * h[s] + x[t]
        out[t] = h[s] * x[t]
    case("scan", """%h, %y = scan %h0 : f32[S, 3], f32[T, 3] {
  (%v: f32[T, 3]):
  %half = const {value=[0.5]} : f32
  %a = mul %v, %half : f32[T, 3]
  %b = add %a, %x : f32[T, 3]
  %o = mul %b, %x : f32[T, 3]
  yield %b, %o
}""", [("h", "f32[S, 3]", h), ("y", "f32[T, 3]", out)],
         [("h0", "f32[S, 3]", h0), ("x", "f32[T, 3]", x)])


def states():
    x = rand(T, 2)
    sums = np.stack([x[a:b].sum(0) for a, b in zip(SEQ, SEQ[1:])])
    body = """%h = state {name="h"} : f32[S, 2]
%n = state {name="n"} : f32
%s = sum %x {over=sequence} : f32[S, 2]
%g = add %h, %s : f32[S, 2]
next %g {name="h"}
%one = const {value=[1]} : f32
%m = add %n, %one : f32
next %m {name="n"}"""
    head = "state h: f32[S, 2] per sequence init=3\nstate n: f32 per call init=0"
    for op, calls in (("state", 1), ("next", 4)):
        case(op, body, [("h", "f32[S, 2]", 3 + (calls - 1) * sums), ("n", "f32", [calls - 1])],
             [("x", "f32[T, 2]", x)], head=head, calls=calls)


def waits():
    """Within one call nobody has waited: what it says of the next changes nothing."""
    x = rand(T, 2)
    body = """%s = sum %x {over=0} : f32[T]
%zero = const {value=[0]} : f32
%late = lt %s, %zero : bool[T]
defer %late {rows=3}"""
    case("defer", body, [("late", "bool[T]", x.sum(1) < 0)], [("x", "f32[T, 2]", x)])


def cases():
    waits()
    calls()
    compaction()
    loops()
    states()
