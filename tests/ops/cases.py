# SPDX-License-Identifier: Apache-2.0
# cases: how a test case of ops is written down for tests/unit/test_ops_numpy.c.
#
# case(op, body, outs, ..) makes a module whose @layer holds `body`, gives it inputs, and says
# what NumPy expects of each result.
import numpy as np

SEQ = [0, 2, 2, 5]              # three sequences of 2, 0 and 3 tokens
T, S = SEQ[-1], len(SEQ) - 1
rng = np.random.default_rng(7)


def rand(*shape, lo=-2.0, hi=2.0):
    """Numbers that a float32 holds."""
    return rng.uniform(lo, hi, shape).astype(np.float32).astype(np.float64)


def numbers(a):
    a = np.asarray(a, np.float64).ravel()
    return f"{len(a)} " + " ".join(repr(float(x)) for x in a)


def bf16(x):
    """Rounded to bfloat16, half to even; x fits float32."""
    b = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    b = (b + 0x7fff + ((b >> 16) & 1)) & 0xffff0000
    return b.astype(np.uint32).view(np.float32).astype(np.float64)


def case(op, body, outs, ins=(), weights=(), tensors=(), head="", fns="", near=None, tol=1e-12,
         tokens=T, seq=SEQ, **given):
    """outs: (value, type, expected); ins: (name, type, array); weights: (name, expert, dtype,
    array), with the `param` lines in head; near: what float32 arithmetic gives."""
    print("op", op)
    print("tokens", tokens)
    print("seq", len(seq), *seq)
    print("tol", tol)
    for key, value in given.items():
        print(key, value)
    for name, _, a in ins:
        print("input", name, numbers(a))
    for name, expert, dtype, a in weights:
        print("weight", name, expert, dtype, numbers(a))
    for name, dtype, a in tensors:
        print("tensor", name, dtype, numbers(a))
    for _, _, a in outs:
        print("expect", numbers(a))
    for a in near or []:
        print("near", numbers(a))
    print("module")
    print('module "test" {')
    print(head)
    args = ", ".join(f"%{name}: {type}" for name, type, _ in ins)
    types = ", ".join(type for _, type, _ in outs)
    print(f"fn @layer({args}) -> ({types}) {{")
    print(body)
    print("return", ", ".join(f"%{value}" for value, _, _ in outs))
    print("}")
    print(fns)
    print("}")
    print("end")


def one(op, ins, out_type, expected, attrs="", **kw):
    """A single op of named inputs: (type, array) each."""
    named = [("abcdefgh"[i], type, a) for i, (type, a) in enumerate(ins)]
    args = ", ".join("%" + name for name, _, _ in named)
    case(op, f"%y = {op} {args} {attrs} : {out_type}", [("y", out_type, expected)], named, **kw)
