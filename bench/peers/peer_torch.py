# SPDX-License-Identifier: Apache-2.0
# peer_torch: the experts of Hugging Face transformers: eager loop, grouped_mm, compiled.
import numpy as np
import torch

from layer import PARTS

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def tensor(array):
    """An array, bits of bf16 being uint16, as a tensor on the same memory."""
    array = np.ascontiguousarray(array)
    if array.dtype != np.uint16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def stacked(weights, dtype):
    """[E, 2I, H], gate above up, and [E, H, I]."""
    layer = weights.layer
    first = torch.empty(layer.E, 2 * layer.I, layer.H, dtype=TYPES[dtype])
    second = torch.empty(layer.E, layer.H, layer.I, dtype=TYPES[dtype])
    places = (first[:, :layer.I], first[:, layer.I:], second)
    for part, place in zip(PARTS, places):
        for e in range(layer.E):
            place[e] = tensor(np.array(weights.matrix(part, e, dtype)))
    return first, second


def start(threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        from transformers import MixtralConfig
        from transformers.models.mixtral.modeling_mixtral import MixtralExperts
        start(threads)
        layer, self.type = weights.layer, TYPES[dtype]
        config = MixtralConfig(
            hidden_size=layer.H, intermediate_size=layer.I, num_local_experts=layer.E,
            num_experts_per_tok=layer.K, hidden_act="silu")
        config._experts_implementation = "eager" if name == "torch_eager" else "grouped_mm"
        with torch.device("meta"):
            experts = MixtralExperts(config)
        first, second = stacked(weights, dtype)
        experts.gate_up_proj = torch.nn.Parameter(first, requires_grad=False)
        experts.down_proj = torch.nn.Parameter(second, requires_grad=False)
        self.experts = torch.compile(experts) if name == "torch_compile" else experts
        self.note = f"torch {torch.__version__}"

    def feed(self, x, picks, gates):
        return (tensor(x).to(self.type), tensor(picks).to(torch.int64),
                tensor(gates).to(self.type))

    def run(self, inputs):
        return self.experts(*inputs)

    def result(self, y):
        return y.float().numpy()
