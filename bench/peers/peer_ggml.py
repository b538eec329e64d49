# SPDX-License-Identifier: Apache-2.0
# peer_ggml: llama.cpp's graph of a layer, through the C interface of ggml.
import ctypes
import os
import sysconfig
from ctypes import c_bool, c_int, c_int64, c_size_t, c_void_p

import numpy as np

F32, I32, BF16 = 0, 26, 30              # of enum ggml_type
TYPES = {"f32": F32, "bf16": BF16}


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


P, N, S = c_void_p, c_int64, c_size_t
FUNCTIONS = {                           # name: result, arguments
    "ggml_init": (P, [InitParams]), "ggml_new_graph": (P, [P]),
    "ggml_new_tensor_2d": (P, [P, c_int, N, N]),
    "ggml_new_tensor_3d": (P, [P, c_int, N, N, N]),
    "ggml_mul_mat_id": (P, [P] * 4), "ggml_swiglu_split": (P, [P] * 3),
    "ggml_mul": (P, [P] * 3), "ggml_add": (P, [P] * 3), "ggml_cont": (P, [P] * 2),
    "ggml_view_2d": (P, [P, P, N, N, S, S]),
    "ggml_moe_up_gate": (P, [P] * 5 + [c_int]), "ggml_mul_multi_add": (P, [P] * 3),
    "ggml_set_input": (None, [P]), "ggml_set_output": (None, [P]),
    "ggml_build_forward_expand": (None, [P, P]),
    "ggml_backend_cpu_init": (P, []), "ggml_backend_cpu_set_n_threads": (None, [P, c_int]),
    "ggml_backend_get_default_buffer_type": (P, [P]),
    "ggml_backend_alloc_ctx_tensors": (P, [P, P]),
    "ggml_gallocr_new": (P, [P]), "ggml_gallocr_alloc_graph": (c_bool, [P, P]),
    "ggml_backend_tensor_set": (None, [P, P, S, S]),
    "ggml_backend_tensor_get": (None, [P, P, S, S]),
    "ggml_backend_graph_compute": (c_int, [P, P]),
}


class Ggml:
    """The functions above, from whichever of the libraries has them."""

    def __init__(self, paths):
        libraries = [ctypes.CDLL(p, mode=ctypes.RTLD_GLOBAL) for p in paths]
        for name, (result, args) in FUNCTIONS.items():
            for lib in libraries:
                if hasattr(lib, name):
                    f = getattr(lib, name)
                    f.restype, f.argtypes = result, args
                    setattr(self, name.removeprefix("ggml_"), f)
                    break

    def context(self):
        """For descriptions only: data lies in the backend's buffers."""
        return self.init(InitParams(16 << 20, None, True))


def libraries():
    at = os.path.join(sysconfig.get_path("purelib"), "llama_cpp", "lib")
    return [os.path.join(at, f"libggml{part}.so") for part in ("-base", "-cpu", "")]


class Graph:
    """Of one number of tokens; its inputs lie in its own memory."""

    def __init__(self, peer, t):
        g, layer = peer.g, peer.layer
        ctx = g.context()
        self.x = g.new_tensor_3d(ctx, F32, layer.H, 1, t)
        self.picks = g.new_tensor_2d(ctx, I32, layer.K, t)
        self.gates = g.new_tensor_3d(ctx, F32, 1, layer.K, t)
        for tensor in (self.x, self.picks, self.gates):
            g.set_input(tensor)
        self.y = peer.build(ctx, self, t)
        self.shape = (t, layer.H)
        g.set_output(self.y)
        self.graph = g.new_graph(ctx)
        g.build_forward_expand(self.graph, self.y)
        buffers = g.gallocr_new(g.backend_get_default_buffer_type(peer.backend))
        if not g.gallocr_alloc_graph(buffers, self.graph):
            raise MemoryError("ggml could not allocate the graph")


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        self.g, self.layer, self.graphs = Ggml(self.paths()), weights.layer, {}
        self.backend = self.g.backend_cpu_init()
        self.g.backend_cpu_set_n_threads(self.backend, threads)
        ctx = self.g.context()
        self.weights = {part: self.g.new_tensor_3d(ctx, TYPES[dtype], k, n, e)
                        for part, (e, n, k) in weights.shapes.items()}
        if not self.g.backend_alloc_ctx_tensors(ctx, self.backend):
            raise MemoryError("ggml could not allocate the weights")
        for part, tensor in self.weights.items():
            for e in range(self.layer.E):
                matrix = np.ascontiguousarray(weights.matrix(part, e, dtype))
                self._set(tensor, matrix, e * matrix.nbytes)
        self.note = self.describe()

    def _set(self, tensor, array, at=0):
        self.g.backend_tensor_set(tensor, array.ctypes.data, at, array.nbytes)

    def paths(self):
        return libraries()

    def describe(self):
        return "llama-cpp-python's libggml; takes x and gives y in f32"

    def build(self, ctx, graph, t):
        """As llm_graph_context::build_moe_ffn does, behind its routing."""
        g, w = self.g, self.weights
        up = g.mul_mat_id(ctx, w["up"], graph.x, graph.picks)
        gate = g.mul_mat_id(ctx, w["gate"], graph.x, graph.picks)
        h = g.swiglu_split(ctx, gate, up)
        y = g.mul(ctx, g.mul_mat_id(ctx, w["down"], h, graph.picks), graph.gates)
        total = self.column(ctx, y, 0, t)
        for j in range(1, self.layer.K):
            total = g.add(ctx, total, self.column(ctx, y, j, t))
        return g.cont(ctx, total) if self.layer.K == 1 else total

    def column(self, ctx, y, j, t):
        """What the experts of the j-th picks gave: [H, T] of [H, K, T]."""
        row = self.layer.H * 4
        return self.g.view_2d(ctx, y, self.layer.H, t, self.layer.K * row, j * row)

    def feed(self, x, picks, gates):
        t = len(x)
        if t not in self.graphs:
            self.graphs[t] = Graph(self, t)
        return self.graphs[t], x, picks, gates

    def run(self, inputs):
        graph, x, picks, gates = inputs
        self._set(graph.x, x)
        self._set(graph.picks, picks)
        self._set(graph.gates, gates)
        status = self.g.backend_graph_compute(self.backend, graph.graph)
        if status:
            raise RuntimeError(f"ggml_backend_graph_compute: status {status}")
        return graph

    def result(self, graph):
        y = np.empty(graph.shape, np.float32)
        self.g.backend_tensor_get(graph.y, y.ctypes.data, 0, y.nbytes)
        return y
