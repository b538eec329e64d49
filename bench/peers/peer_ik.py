# SPDX-License-Identifier: Apache-2.0
# peer_ik: ik_llama.cpp's fused graph of a layer, compiled for this CPU.
import os
import sys

import peer_ggml

SILU = 10                               # of enum ggml_unary_op


class Peer(peer_ggml.Peer):
    def paths(self):
        return [os.path.join(sys.prefix, "build", "ggml", "src", "libggml.so")]

    def describe(self):
        return "libggml of ik-llama-cpp-python's source; takes x and gives y in f32"

    def build(self, ctx, graph, t):
        """As its llm_build_moe_ffn does with fused operators."""
        g, w = self.g, self.weights
        h = g.moe_up_gate(ctx, w["up"], w["gate"], graph.x, graph.picks, SILU)
        y = g.mul_mat_id(ctx, w["down"], h, graph.picks)
        if self.layer.K == 1:
            return g.cont(ctx, self.column(ctx, g.mul(ctx, y, graph.gates), 0, t))
        return g.mul_multi_add(ctx, y, graph.gates)
