# SPDX-License-Identifier: Apache-2.0
# tensors: float32 arrays as a .safetensors file.
import json
import struct

import numpy as np


def save(path, arrays):
    header, at = {}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape),
                        "data_offsets": [at, at + 4 * a.size]}
        at += 4 * a.size
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for a in arrays.values():
            f.write(np.ascontiguousarray(a, np.float32).tobytes())
    return path
