# SPDX-License-Identifier: Apache-2.0
# peer_openvino: the pattern of operators that OpenVINO fuses to its own MoE; it routes itself.
import numpy as np
import openvino
from openvino import opset15 as o
from openvino.opset4.ops import _get_node_factory_opset4

from cpu import flags
from layer import logits_of


def whole(*numbers):
    return o.constant(np.array(numbers, np.int64))


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        self.layer = weights.layer
        self.arrays = []                        # shared with the model
        # Without the instructions for bf16 it emulates them, and f32 is its faster choice.
        precision = "bf16" if dtype == "bf16" and "avx512_bf16" in flags() else "f32"
        compiled = openvino.Core().compile_model(
            self._model(weights), "CPU",
            {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
             "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
        self.request = compiled.create_infer_request()
        kinds = {str(n.get_rt_info()["layerType"].astype(str)).lower()
                 for n in compiled.get_runtime_model().get_ops()}
        fused = any("gathermatmul" in k or "moe" in k for k in kinds)
        self.note = (f"openvino {openvino.__version__.split('-')[0]}, computes in {precision},"
                     f" {'fused' if fused else 'not fused'}; the time includes softmax, top-k")

    def _constant(self, weights, part):
        self.arrays.append(weights.stack(part, "f32"))
        return o.constant(self.arrays[-1], shared_memory=True)

    def _model(self, weights):
        layer = self.layer
        x = o.parameter([-1, layer.H], np.float32, name="x")
        logits = o.parameter([-1, layer.E], np.float32, name="logits")
        top = o.topk(o.softmax(logits, 1), np.int64(layer.K), 1, "max", "value", "i64")
        gates = top.output(0)
        if layer.norm:
            gates = o.divide(gates, o.reduce_sum(gates, whole(1), True))
        none = o.broadcast(o.constant(np.float32(0)), o.shape_of(logits, "i64"))
        dense = o.scatter_elements_update(none, top.output(1), gates, o.constant(np.int64(1)))
        dense = o.reshape(o.transpose(dense, whole(1, 0)), whole(layer.E, 1, -1), True)
        rows = o.reshape(o.tile(x, whole(layer.E, 1)), whole(layer.E, -1, layer.H), True)
        gate = o.matmul(rows, self._constant(weights, "gate"), False, True)
        up = o.matmul(rows, self._constant(weights, "up"), False, True)
        # The opsets' own swish() writes beta as an input, and is then not fused.
        h = o.multiply(_get_node_factory_opset4().create("Swish", [gate], {}), up)
        y = o.matmul(h, self._constant(weights, "down"), False, True)
        y = o.reshape(y, whole(layer.E, 1, -1, layer.H), True)
        y = o.multiply(y, o.unsqueeze(dense, whole(-1)))
        return openvino.Model([o.reduce_sum(y, whole(0), False)], [x, logits], "moe")

    def feed(self, x, picks, gates):
        return {0: x, 1: logits_of(self.layer, picks, gates)}

    def run(self, inputs):
        return self.request.infer(inputs, share_inputs=True, share_outputs=True)[0]

    def result(self, y):
        return y.reshape(-1, self.layer.H)
