# SPDX-License-Identifier: Apache-2.0
# peer_vllm: vLLM's own kernel on a CPU, and SGLang's, which its wheel ships.
import os
import sysconfig

import torch

from cpu import flags
from peer_torch import TYPES, stacked, start, tensor

# Kernels of the wheel: the first library whose feature the CPU has, as its features grow.
LIBRARIES = [("avx512_bf16", "_C"), ("avx512f", "_C_AVX512"), ("avx2", "_C_AVX2")]


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        if name == "sgl" and dtype == "f32":
            raise NotImplementedError("fused_experts_cpu takes no f32 weights")
        features = flags()
        if name == "sgl" and "avx512_bf16" not in features:
            raise NotImplementedError("the wheel has fused_experts_cpu only in its library for "
                                      "AVX512-BF16, which dies of SIGILL on this CPU")
        library = next(lib for feature, lib in LIBRARIES if feature in features)
        torch.ops.load_library(os.path.join(
            sysconfig.get_path("purelib"), "vllm", library + ".abi3.so"))
        start(threads)
        self.name, self.type = name, TYPES[dtype]
        self.weights = [self._pack(w) for w in self._matrices(weights, dtype)]
        self.note = f"{library}.abi3.so, torch {torch.__version__}"

    @staticmethod
    def _matrices(weights, dtype):
        """Each is dropped here before the next is packed."""
        matrices = list(stacked(weights, dtype))
        while matrices:
            yield matrices.pop(0)

    def _pack(self, w):
        if self.name == "sgl":
            return torch.ops._C.convert_weight_packed(w)
        packed = torch.empty_like(w)
        torch.ops._C.prepack_moe_weight(w, packed, "vec")
        return packed

    def feed(self, x, picks, gates):
        x = tensor(x).to(self.type)
        return torch.empty_like(x), x, tensor(picks), tensor(gates)

    def run(self, inputs):
        y, x, picks, gates = inputs
        if self.name == "sgl":
            torch.ops._C.fused_experts_cpu(y, x, *self.weights, gates, picks, 0,
                                           *[None] * 10, True)
        else:
            torch.ops._C.cpu_fused_moe(y, x, *self.weights, None, None, gates, picks, False,
                                       "silu", "vec")
        return y

    def result(self, y):
        return y.float().numpy()
