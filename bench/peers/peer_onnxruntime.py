# SPDX-License-Identifier: Apache-2.0
# peer_onnxruntime: a model of one MoE node; it routes itself, by logits that give the routing.
import os
import tempfile

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from layer import logits_of

TYPES = {"f32": TensorProto.FLOAT, "bf16": TensorProto.BFLOAT16}


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        if dtype == "bf16":
            raise NotImplementedError("on a CPU the MoE node takes f32 only")
        self.layer = weights.layer
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # 2 GiB is the most that a model's own file can hold: weights lie beside it.
        with tempfile.TemporaryDirectory(dir=weights.folder) as folder:
            self.session = onnxruntime.InferenceSession(
                self._model(folder, weights, dtype), options,
                providers=["CPUExecutionProvider"])
        self.note = f"onnxruntime {onnxruntime.__version__}; the time includes softmax, top-k"

    def _model(self, folder, weights, dtype):
        layer, initializers = self.layer, []
        first = np.empty((2 * layer.I, layer.H), np.float32)

        def gate_up(e):                         # their rows alternate
            first[0::2], first[1::2] = (weights.matrix(p, e, dtype) for p in ("gate", "up"))
            return first

        def down(e):
            return weights.matrix("down", e, dtype)

        with open(os.path.join(folder, "weights"), "wb") as f:
            for matrix, shape in ((gate_up, (layer.E, 2 * layer.I, layer.H)),
                                  (down, (layer.E, layer.H, layer.I))):
                at = f.tell()
                for e in range(layer.E):
                    matrix(e).tofile(f)
                t = TensorProto(name=matrix.__name__, data_type=TYPES[dtype], dims=shape,
                                data_location=TensorProto.EXTERNAL)
                for key, value in (("location", "weights"), ("offset", at),
                                   ("length", f.tell() - at)):
                    t.external_data.add(key=key, value=str(value))
                initializers.append(t)
        node = helper.make_node(
            "MoE", ["x", "logits", "gate_up", "", "down"], ["y"], domain="com.microsoft",
            k=layer.K, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.0,
            activation_beta=0.0, normalize_routing_weights=0)
        x, logits, y = (helper.make_tensor_value_info(n, TYPES[dtype], ["T", width])
                        for n, width in (("x", layer.H), ("logits", layer.E), ("y", layer.H)))
        graph = helper.make_graph([node], "moe", [x, logits], [y], initializers)
        model = helper.make_model(graph, ir_version=10, opset_imports=[
            helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
        path = os.path.join(folder, "moe.onnx")
        with open(path, "wb") as f:
            f.write(model.SerializeToString())
        return path

    def feed(self, x, picks, gates):
        return {"x": x, "logits": logits_of(self.layer, picks, gates)}

    def run(self, inputs):
        return self.session.run(None, inputs)[0]

    def result(self, y):
        return y
