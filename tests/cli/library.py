# SPDX-License-Identifier: Apache-2.0
# library: compiled layers called from Python, as a host would: sessions, steps, routing read out.
import ctypes

import numpy as np

from cli import SANITIZED, Skip

P, I64 = ctypes.c_void_p, ctypes.c_int64


class Args(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("x", P), ("tokens", I64), ("y", P), ("x_stride", I64),
                ("y_stride", I64), ("nseq", I64), ("seq", P), ("seen", P),
                ("seed", ctypes.c_uint64), ("step", P), ("picks_in", P), ("gates_in", P), ("picks_out", P),
                ("gates_out", P), ("losses", P), ("inputs", P), ("outputs", P), ("routing", P),
                ("expert_rows", P), ("arrivals", P), ("queue", P)]


class Session:
    """Layer `name` of ./name.so with the weights of ./name.moew."""

    def __init__(self, name):
        if SANITIZED:
            raise Skip("Python loads no library with a sanitizer in it")
        self.lib, self.name = ctypes.CDLL(f"./{name}.so"), name
        self.model, self.session = P(), P()
        assert self.call("open", f"{name}.moew".encode(), None, ctypes.byref(self.model)) == 0
        assert self.call("start", self.model, None, ctypes.byref(self.session)) == 0

    def call(self, what, *args):
        return self.lib[f"{self.name}_{what}"](*args)

    def run(self, x, picks=0, seed=0):
        """y, and with the number of picks the picks and gates that ran."""
        y = np.zeros_like(x)
        pick = np.full((len(x), picks), -2, np.int32)
        gate = np.full((len(x), picks), np.nan, np.float32)
        args = Args(ctypes.sizeof(Args), x.ctypes.data, len(x), y.ctypes.data, seed=seed)
        if picks:
            args.picks_out, args.gates_out = pick.ctypes.data, gate.ctypes.data
        assert self.call("run", self.session, ctypes.byref(args)) == 0
        return (y, pick, gate) if picks else y

    def run_queued(self, x, waiting):
        """What comes out of a call behind `waiting` tokens: y, whose each row is, and the counts."""
        n = len(x) + waiting
        y, whose = np.zeros((n, x.shape[1]), x.dtype), np.full(n, -2, np.int64)
        counts = np.zeros(4, np.int64)
        args = Args(ctypes.sizeof(Args), x.ctypes.data, len(x), y.ctypes.data,
                    arrivals=whose.ctypes.data, queue=counts.ctypes.data)
        error = self.call("run", self.session, ctypes.byref(args))
        assert error == 0, error
        return y, whose, counts

    def close(self):
        self.call("end", self.session)
        self.call("close", self.model)
