# SPDX-License-Identifier: Apache-2.0
# tensors: arrays as .safetensors files, in several shards and in the small formats, too.
import json
import struct

import numpy as np

# E2M1, low codes first, as in mxfp4; the sign is bit 3.
FP4 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])


def bf16(a):
    """Rounded half to even, as float32."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000).astype(np.uint32).view(np.float32)


def as_bf16(a):
    return "BF16", (bf16(a).view(np.uint32) >> 16).astype(np.uint16)


def e4m3(codes):
    """What bytes of float8 e4m3 (without infinities) are; 0x7f is no number."""
    codes = codes.astype(int)
    e, m = codes >> 3 & 15, codes & 7
    v = np.where(e > 0, (8 + m) * 2.0 ** (e - 10), m * 2.0 ** -9)
    return np.where(codes & 128, -v, v)


def mxfp4(blocks, scales):
    """[.., n, 16] bytes and [.., n] exponents as [.., 32 n] numbers."""
    pairs = FP4[np.stack([blocks & 15, blocks >> 4], -1)]
    v = pairs.reshape(*scales.shape, 32) * 2.0 ** (scales[..., None].astype(int) - 127)
    return v.reshape(*scales.shape[:-1], -1)


def save(path, arrays):
    """float32, unless an entry is a pair of a type's name and its bits."""
    header, data, at = {}, [], 0
    for name, a in arrays.items():
        kind, a = a if isinstance(a, tuple) else ("F32", np.asarray(a, np.float32))
        data.append(np.ascontiguousarray(a).tobytes())
        header[name] = {"dtype": kind, "shape": list(a.shape),
                        "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.writelines(data)
    return path


def save_model(folder, config, arrays, shards=1):
    """A model's folder; tensors go round the shards."""
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config, f)
    if shards == 1:
        save(f"{folder}/model.safetensors", arrays)
        return folder
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    where = {name: names[i % shards] for i, name in enumerate(arrays)}
    for shard in names:
        save(f"{folder}/{shard}", {n: a for n, a in arrays.items() if where[n] == shard})
    with open(f"{folder}/model.safetensors.index.json", "w") as f:
        json.dump({"weight_map": where}, f)
    return folder
