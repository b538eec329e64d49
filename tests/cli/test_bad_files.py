# SPDX-License-Identifier: Apache-2.0
# Binary and JSON files that are refused: safetensors, their index, .npy, packed weights,
# config.json; hundreds of ways to be wrong, each with its exact message.
import atexit
import os
import shutil
import tempfile

import make_bad_files as files
from bad import refusals
from bad_moew import cases as moew_cases
from cli import main, moec

TARGET = "x86-64-v3"                    # so that the layout is known
shelf = tempfile.mkdtemp(prefix="moec-bad.")    # good files, made once
atexit.register(shutil.rmtree, shelf)


def put(name, data):
    with open(name, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def placed(name, data, *args):
    def prepare():
        put("layer.moe", files.LAYER)
        put(name, data)
        return ("run", "layer.moe", *args, name), len(data)
    return prepare


def indexed(name, text):
    def prepare():
        out = files.Folder(".")
        put("layer.moe", files.LAYER)
        put("good.safetensors", files.pack(*files.good_header()))
        files.write_index(out, name, text, "")
        return ("run", "layer.moe", "--weights", f"index_{name}"), len(text)
    return prepare


def configured(text):
    def prepare():
        os.mkdir("model")
        put("model/config.json", text)
        return ("compile", "model", "-o", "out.so"), len(text)
    return prepare


def good_moew():
    layer, packed = os.path.join(shelf, "layer.moe"), os.path.join(shelf, "good.moew")
    put(layer, files.LAYER)
    moec("pack", layer, "--target", TARGET, "-o", packed)
    with open(packed, "rb") as f:
        return f.read()


refusals("safetensors",
         [(name, said, placed(f"{name}.safetensors", data, "--weights"))
          for name, data, said in files.safetensors_cases()], 60)
refusals("npy", [(name, said, placed(f"{name}.npy", data, "--input"))
                 for name, data, said in files.npy_cases()], 40)
refusals("index", [(name, said, indexed(name, text))
                   for name, text, said in files.index_cases()], 30)
refusals("config", [(name, said, configured(text))
                    for name, text, said in files.config_cases()], 30)
refusals("moew", [(name, said, placed(f"{name}.moew", data, "--target", TARGET, "--weights"))
                  for name, data, said in moew_cases(good_moew())], 40)
main()
