# SPDX-License-Identifier: Apache-2.0
# ours: a layer that moec compiled, loaded into this process (docs/api.md).
import ctypes
from ctypes import POINTER, byref, c_char_p, c_int64, c_size_t, c_uint64, c_void_p

import numpy as np

from layer import from_bf16, to_bf16


class Args(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("x", c_void_p), ("tokens", c_int64), ("y", c_void_p),
                ("x_stride", c_int64), ("y_stride", c_int64), ("nseq", c_int64),
                ("seq", c_void_p), ("seen", c_void_p), ("seed", c_uint64),
                ("step", c_void_p), ("picks_in", c_void_p), ("gates_in", c_void_p)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("threads", c_int64), ("parallel_for", c_void_p),
                ("ctx", c_void_p)]


WEIGHT = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_char_p, c_int64, c_int64)


class Ours:
    def __init__(self, library, weights, dtype, threads):
        self.layer, self.dtype = weights.layer, dtype
        lib = ctypes.CDLL(library)
        self.functions = {name: getattr(lib, f"{self.layer.name}_{name}")
                          for name in ("open_memory", "start", "run", "error")}
        self.functions["error"].restype = c_char_p
        self.functions["run"].argtypes = [c_void_p, POINTER(Args)]
        held = []                               # stays until the next call

        def weight(ctx, descriptor, name, group, expert):
            name = name.decode().split(".")[-1]
            # The routing is given, so that the router's weights do not matter.
            held[:] = [np.zeros((self.layer.E, self.layer.H), np.float32) if name == "router"
                       else weights.matrix(name, expert, dtype)]
            return held[0].ctypes.data

        model, self.session = c_void_p(), c_void_p()
        self._check("open_memory", WEIGHT(weight), None, None, byref(model))
        options = SessionOptions(ctypes.sizeof(SessionOptions), threads)
        self._check("start", model, byref(options), byref(self.session))

    def _check(self, name, *args):
        error = self.functions[name](*args)
        if error:
            raise RuntimeError(f"{name}: {self.functions['error'](error).decode()}")

    def feed(self, x, picks, gates):
        x = x if self.dtype == "f32" else to_bf16(x)
        y = np.empty_like(x)
        arrays = (x, picks, gates, y)
        args = Args(size=ctypes.sizeof(Args), x=x.ctypes.data, tokens=len(x), y=y.ctypes.data,
                    picks_in=picks.ctypes.data, gates_in=gates.ctypes.data)
        return args, arrays

    def run(self, inputs):
        self._check("run", self.session, byref(inputs[0]))
        return inputs[1][3]

    def result(self, y):
        return y if self.dtype == "f32" else from_bf16(y)
