# SPDX-License-Identifier: Apache-2.0
# peer_kt: KTransformers' kernels for a CPU.
import kt_kernel
import torch
from kt_kernel import kt_kernel_ext as kt

from cpu import flags
from layer import PARTS
from peer_torch import start, tensor


class Peer:
    def __init__(self, name, weights, dtype, threads, most):
        if dtype == "f32":
            raise NotImplementedError("kt-kernel takes no f32 weights")
        start(threads)
        layer = weights.layer
        pool = kt.WorkerPoolConfig()
        pool.subpool_count, pool.subpool_numa_map = 1, [0]
        pool.subpool_thread_count = [threads]
        self.cpu = kt.CPUInfer(pool)
        config = kt.moe.MOEConfig(layer.E, layer.K, layer.H, layer.I, 0)
        config.max_len, config.layer_idx, config.pool = max(most, layer.E), 0, self.cpu.backend_
        source = {part: weights.stack(part, dtype) for part in PARTS}
        for part, array in source.items():
            setattr(config, part + "_proj", array.ctypes.data)
        # The class named after AMX needs only AVX512-BF16.
        kind = "AMXBF16_MOE" if "avx512_bf16" in flags() else "AVX2BF16_MOE"
        self.moe = getattr(kt.moe, kind)(config)
        places = torch.arange(layer.E, dtype=torch.int64)
        self.cpu.submit(self.moe.load_weights_task(places.data_ptr()))
        self.cpu.sync()
        self.picks = layer.K
        self.note = f"kt-kernel {kt_kernel.__version__}, {kind}"

    def feed(self, x, picks, gates):
        x = tensor(x).to(torch.bfloat16)
        return (torch.tensor([len(x)]), tensor(picks).to(torch.int64), tensor(gates), x,
                torch.empty_like(x))

    def run(self, inputs):
        count, picks, gates, x, y = (t.data_ptr() for t in inputs)
        self.cpu.submit(self.moe.forward_task(count, self.picks, picks, gates, x, y, False))
        self.cpu.sync()
        return inputs[-1]

    def result(self, y):
        return y.float().numpy()
