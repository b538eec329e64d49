#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes files that moec must refuse, for tests of the command line.

    make_bad_files.py DIR

DIR gets layer.moe, good files (good.safetensors, x.npy), bad ones, and manifest.tsv with
a line a file: name, kind, what the message must contain.  Kinds say how to use it:

    weights   moec run layer.moe --weights NAME      exit 1, the message on stderr
    input     moec run layer.moe --input NAME        exit 1, the message on stderr
    config    moec import NAME -o out.moe            exit 1, the message on stderr
    any       moec run layer.moe --weights NAME      exit 0 or 1, never a crash or a hang
    anyinput  moec run layer.moe --input NAME        exit 0 or 1, never a crash or a hang
"""
import json
import os
import struct
import sys

WIDTH, HIDDEN, EXPERTS = 4, 3, 2
LAYER = """layer tiny {
  input   x: f32[T, 4]
  experts 2 of relu_ffn(3)
  route   softmax_topk(1)
}
"""


CONFIG = {"model_type": "mixtral", "hidden_size": 4, "num_hidden_layers": 2,
          "num_local_experts": 2, "intermediate_size": 3, "num_experts_per_tok": 1,
          "hidden_act": "silu", "router_aux_loss_coef": 0.02, "torch_dtype": "float32"}


def tensors():
    """What layer.moe reads: name, shape."""
    yield "router", [EXPERTS, WIDTH]
    for e in range(EXPERTS):
        yield f"experts.{e}.up", [HIDDEN, WIDTH]
        yield f"experts.{e}.down", [WIDTH, HIDDEN]


def good_header():
    header, at = {}, 0
    for name, shape in tensors():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return header, at


def pack(text, data):
    """A .safetensors file; text: the header as str or bytes, or an object for JSON."""
    if not isinstance(text, (str, bytes)):
        text = json.dumps(text)
    text = text if isinstance(text, bytes) else text.encode()
    if isinstance(data, int):
        data = b"".join(struct.pack("<f", i / 64) for i in range(data // 4)) + bytes(data % 4)
    return struct.pack("<Q", len(text)) + text + data


def changed(key, field, value):
    """The good file with one field of one tensor changed (field None: the whole tensor)."""
    header, size = good_header()
    if field is None:
        header[key] = value
    else:
        header[key][field] = value
    return pack(header, size)


def safetensors_cases():
    header, size = good_header()
    good = pack(header, size)
    text = json.dumps(header)
    tensor = header["router"]

    yield "empty", b"", "too few for a safetensors file"
    yield "seven", bytes(7), "too few for a safetensors file"
    yield "only_length", good[:8], "cut short"
    yield "no_header", bytes(8), "does not begin with {"
    yield "length_max", b"\xff" * 8 + good[8:], "the limit is 100000000"
    yield "length_sign", struct.pack("<Q", 1 << 63) + good[8:], "the limit is 100000000"
    yield "length_over", struct.pack("<Q", 100000001) + good[8:], "the limit is 100000000"
    yield "length_limit", struct.pack("<Q", 100000000) + good[8:], "cut short"
    yield "length_plus_1", struct.pack("<Q", len(good) - 7) + good[8:], "cut short"
    yield "pickle", b"PK\3\4" + bytes(100), "PyTorch pickle"
    yield "old_pickle", b"\x80\2}q\1X\3\0\0\0", "PyTorch pickle"
    yield "gguf", b"GGUF\3\0\0\0" + bytes(16), "GGUF"
    yield "lfs", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"
    yield "numpy", b"\x93NUMPY\1\0v\0" + bytes(120), "NumPy"
    yield "blank_first", pack(" " + text, size), "does not begin with {"
    yield "bom", pack(b"\xef\xbb\xbf" + text.encode(), size), "does not begin with {"
    yield "list", pack("[]", 0), "does not begin with {"
    yield "unclosed", pack(text[:-1], size), "not valid JSON"
    yield "trailing", pack(text + "x", size), "not valid JSON"
    yield "two_objects", pack(text + "{}", size), "not valid JSON"
    yield "comma", pack(text[:-1] + ",}", size), "not valid JSON"
    yield "single_quotes", pack(text.replace('"', "'"), size), "not valid JSON"
    yield "bad_utf8", pack(text.encode().replace(b"router", b"rout\xffr"), size), "0xff"
    yield "nul_in_name", pack(text.replace("router", "router\\u0000"), size), "NUL"
    yield "control", pack(text.replace("router", "rou\x1b[31mter"), size), "0x1b"
    yield "duplicate", pack('{"router": %s, %s' % (json.dumps(tensor), text[1:]), size), "duplicate"
    yield "deep", pack('{"a":' + "[" * 100000, 0), "nested more than 256 deep"
    yield "dense", pack('{"a":[0' + ",{}" * 300000 + "]}", 0), "more memory is needed"
    yield "huge_number", pack(text.replace("[0, 32]", "[0, 99999999999999999999]"), size), "too big"
    yield "real_overflow", pack(text.replace("[0, 32]", "[0, 1e999]"), size), "overflow"
    yield "metadata_list", pack(dict(header, __metadata__=[]), size), "`__metadata__` is not"
    yield "metadata_number", pack(dict(header, __metadata__={"a": 1}), size), "`a` is not a string"
    yield "metadata_null", pack(dict(header, __metadata__={"a": None}), size), "`a` is not a string"
    yield "tensor_number", changed("router", None, 1), "its description is not an object"
    yield "tensor_list", changed("router", None, ["F32"]), "its description is not an object"
    yield "no_dtype", changed("router", None, {}), "has no dtype"
    yield "no_shape", changed("router", None, {"dtype": "F32"}), "has no shape"
    yield "no_offsets", changed("router", None, {"dtype": "F32", "shape": []}), "no data_offsets"
    yield "one_more_key", changed("router", "strides", [1]), "has more than dtype"
    yield "dtype_number", changed("router", "dtype", 1), "its dtype is not a string"
    yield "dtype_unknown", changed("router", "dtype", "F31"), "is no dtype of the format"
    yield "dtype_lower", changed("router", "dtype", "f32"), "is no dtype of the format"
    yield "dtype_empty", changed("router", "dtype", ""), "is no dtype of the format"
    yield "shape_number", changed("router", "shape", 8), "its shape is not a list"
    yield "shape_negative", changed("router", "shape", [-2, -4]), "not a whole number"
    yield "shape_real", changed("router", "shape", [2.0, 4]), "not a whole number"
    yield "shape_text", changed("router", "shape", ["2", 4]), "not a whole number"
    yield "shape_9", changed("router", "shape", [2, 4] + [1] * 7), "9 dimensions"
    yield "shape_wraps", changed("router", "shape", [1 << 62, 4]), "more entries than can be"
    yield "shape_wraps_0", changed("router", "shape", [1 << 62, 4, 0]), "more entries than can be"
    yield "shape_wraps_8", changed("router", "shape", [(1 << 62) + 2, 4]), "more entries than can"
    yield "offsets_number", changed("router", "data_offsets", 32), "not two whole numbers"
    yield "offsets_1", changed("router", "data_offsets", [32]), "not two whole numbers"
    yield "offsets_3", changed("router", "data_offsets", [0, 32, 64]), "not two whole numbers"
    yield "offsets_real", changed("router", "data_offsets", [0.0, 32]), "not two whole numbers"
    yield "offsets_negative", changed("router", "data_offsets", [-32, 0]), "not two whole numbers"
    yield "offsets_back", changed("router", "data_offsets", [32, 0]), "end before they begin"
    yield "offsets_beyond", changed("router", "data_offsets", [0, 1 << 40]), "ends at byte"
    yield "offsets_max", changed("router", "data_offsets", [0, (1 << 63) - 1]), "ends at byte"
    yield "size_less", changed("router", "data_offsets", [0, 28]), "its shape takes 32 bytes"
    yield "size_more", changed("router", "data_offsets", [0, 36]), "its shape takes 32 bytes"
    yield "wrong_dtype", changed("router", "dtype", "BF16"), "its shape takes 16 bytes"
    yield "sub_byte", changed("router", None, {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}), \
        "do not fill whole bytes"
    yield "overlap", changed("experts.0.up", "data_offsets", [16, 64]), "overlap"
    yield "hole", pack({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}, 8), \
        "belong to no tensor"
    yield "tail", pack(header, size + 4), "the tensors end at byte"
    yield "tail_1", good + b"\0", "the tensors end at byte"
    yield "no_tensors", pack({}, 16), "the tensors end at byte 0"
    yield "missing", pack(text.replace("router", "routers"), size), "no tensor `router` in the file"
    yield "missing_expert", pack(text.replace("experts.1.up", "experts.9.up"), size), "experts.1.up"
    yield "layer_shape", changed("router", "shape", [4, 2]), "the file's `router` [4, 2]"
    yield "layer_rank", changed("router", "shape", [8]), "the file's `router` [8]"
    yield "layer_integers", changed("router", "dtype", "I32"), "stored as I32"
    yield "layer_type", changed("router", "dtype", "U32"), "stored as U32"


def npy(header, data, version=1, length=None):
    header = header if isinstance(header, bytes) else header.encode()
    size = len(header) if length is None else length
    head = struct.pack("<H" if version == 1 else "<I", size)
    if isinstance(data, int):
        data = b"".join(struct.pack("<f", i / 8) for i in range(data // 4)) + bytes(data % 4)
    return b"\x93NUMPY" + bytes([version, 0]) + head + header + data


def npy_dict(descr="'<f4'", order="False", shape="(2, 4)"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n" % (descr, order, shape)


def npy_cases():
    good = npy(npy_dict(), 32)

    yield "empty", b"", "not a .npy file"
    yield "magic", b"\x94" + good[1:], "not a .npy file"
    yield "zip", b"PK\3\4" + bytes(60), "not a .npy file"
    yield "version_0", good[:6] + b"\0" + good[7:], "version 0.0"
    yield "version_9", good[:6] + b"\x09" + good[7:], "version 9.0"
    yield "version_1_1", good[:7] + b"\1" + good[8:], "version 1.1"
    yield "header_long", npy(npy_dict(), 0, length=60000), "cut short in its header"
    yield "header_long_2", npy(npy_dict(), 0, 2, 0xffffffff), "cut short in its header"
    yield "header_64k", npy(npy_dict() + " " * 70000, 32, 2), "the limit is 65535"
    yield "header_empty", npy("", 32), "not a dict"
    yield "header_list", npy("[]\n", 32), "not a dict"
    yield "header_open", npy(npy_dict()[:-3], 32), "not a dict"
    yield "header_behind", npy(npy_dict() + "x", 32), "goes on after its dict"
    yield "no_descr", npy("{'fortran_order': False, 'shape': (2, 4)}", 32), "no 'descr'"
    yield "no_shape", npy("{'descr': '<f4', 'fortran_order': False}", 32), "no 'shape'"
    yield "twice", npy("{'descr': '<f4', 'descr': '<f4'}", 32), "twice"
    yield "unknown_key", npy("{'\x1b[2J': 1}", 32), "unknown key"
    for descr, name in (("<f8", "float64"), ("<f2", "float16"), (">f4", "big-endian"),
                        ("<i8", "int64"), ("|b1", "bool"), ("|u1", "uint8"),
                        ("<c8", "complex64"), ("|O", "Python objects"), ("<U3", "'<U3'")):
        yield "descr_" + name.strip("'<").split()[0].lower(), npy(npy_dict(repr(descr)), 32), name
    yield "structured", npy(npy_dict("[('a', '<f4')]"), 32), "structured"
    yield "fortran", npy(npy_dict(order="True"), 32), "Fortran order"
    yield "order_number", npy(npy_dict(order="0"), 32), "neither True nor False"
    yield "shape_list", npy(npy_dict(shape="[2, 4]"), 32), "not a tuple"
    yield "shape_number", npy(npy_dict(shape="8"), 32), "not a tuple"
    yield "shape_parens", npy(npy_dict(shape="(8)"), 32), "not a tuple"
    yield "shape_negative", npy(npy_dict(shape="(-2, 4)"), 32), "no whole number"
    yield "shape_real", npy(npy_dict(shape="(2.0, 4)"), 32), "not a tuple"
    yield "shape_big", npy(npy_dict(shape="(99999999999999999999, 4)"), 32), "too large"
    yield "shape_wraps", npy(npy_dict(shape="(4611686018427387912, 4)"), 32), "more entries"
    yield "shape_9", npy(npy_dict(shape="(2, 4, 1, 1, 1, 1, 1, 1, 1)"), 32), "more than 8"
    yield "short", good[:-4], "takes 32 bytes, the file holds 28"
    yield "long", good + bytes(4), "takes 32 bytes, the file holds 36"
    yield "rank_0", npy(npy_dict(shape="()"), 4), ""
    yield "rank_1", npy(npy_dict(shape="(4,)"), 16), ""
    yield "rank_3", npy(npy_dict(shape="(2, 1, 4)"), 32), ""
    yield "width", npy(npy_dict(shape="(2, 5)"), 40), ""
    yield "integers", npy(npy_dict("'<i4'"), 32), ""


def index_cases():
    """Folders: the text of model.safetensors.index.json, the message."""
    def whole(shard):
        return json.dumps({"weight_map": {name: shard for name, _ in tensors()}})

    yield "list", "[]", "not an object"
    yield "no_map", "{}", "no `weight_map`"
    yield "map_list", '{"weight_map": []}', "is not an object"
    yield "number", '{"weight_map": {"router": 1}}', "file name is not a string"
    yield "parent", whole("../good.safetensors"), "not a plain file name"
    yield "dots", whole(".."), "not a plain file name"
    yield "absolute", whole("/etc/passwd"), "not a plain file name"
    yield "nested", whole("sub/model.safetensors"), "not a plain file name"
    yield "empty_name", whole(""), "not a plain file name"
    yield "newline", whole("a\n.safetensors"), "not a plain file name"
    yield "escape", whole("\x1b[2J.safetensors"), "not a plain file name"
    yield "nul", whole("a\0.safetensors"), "NUL"
    yield "long_name", whole("a" * 300 + ".safetensors"), "not a plain file name"
    yield "bin", whole("pytorch_model.bin"), "not a .safetensors file"
    yield "absent", whole("gone.safetensors"), "No such file"
    yield "lacks", whole("other.safetensors"), "promises"
    yield "fifo", whole("fifo.safetensors"), "not a regular file"
    yield "folder", whole("folder.safetensors"), "it is a folder"
    yield "link_out", whole("link_out.safetensors"), "leads out of the model's folder"
    yield "link_root", whole("link_root.safetensors"), "leads out of the model's folder"
    yield "link_null", whole("link_null.safetensors"), "not a regular file"
    yield "link_loop", whole("link_loop.safetensors"), "symbolic links"
    yield "link_dangling", whole("link_dangling.safetensors"), "No such file"
    yield "duplicate", whole("a.safetensors").replace("{", '{"weight_map": {}, ', 1), "duplicate"
    yield "not_json", "weight_map: router", "not valid JSON"
    yield "empty", "", "not valid JSON"
    yield "no_tensor", '{"weight_map": {}}', "`router`"
    yield "cut", whole("a.safetensors")[:-2], "not valid JSON"
    yield "behind", whole("a.safetensors") + "x", "not valid JSON"
    yield "deep", '{"weight_map":' * 300 + "1" + "}" * 300, "nested more than 256 deep"
    yield "dense", '{"weight_map":[0' + ",{}" * 300000 + "]}", "more memory is needed"
    yield "map_null", '{"weight_map": null}', "is not an object"
    yield "map_text", '{"weight_map": "other.safetensors"}', "is not an object"
    yield "shard_null", whole(None), "file name is not a string"
    yield "shard_list", whole(["other.safetensors"]), "file name is not a string"
    yield "dot", whole("."), "not a plain file name"
    yield "itself", whole("model.safetensors.index.json"), "not a .safetensors file"
    yield "upper", whole("OTHER.SAFETENSORS"), "not a .safetensors file"
    yield "hidden", whole(".safetensors"), ""
    yield "backslash", whole("..\\other.safetensors"), ""
    yield "cut_shard", whole("cut.safetensors"), "too few"
    yield "pickled_shard", whole("pickle.safetensors"), "PyTorch pickle"
    yield "layer_of_other_names", json.dumps({"weight_map": {"ruoter": "other.safetensors"}}), \
        "did you mean"


def config_cases():
    def whole(**fields):
        return json.dumps({**CONFIG, **fields})

    def lacks(key):
        return json.dumps({k: v for k, v in CONFIG.items() if k != key})

    text = json.dumps(CONFIG)
    yield "empty", "", "not valid JSON"
    yield "blank", " \n\n", "not valid JSON"
    yield "list", "[]", "not an object"
    yield "number", "1", "not valid JSON"
    yield "text", '"mixtral"', "not valid JSON"
    yield "nul", "\0", "not valid JSON"
    yield "binary", b"\x7fELF\2\1\1" + bytes(50), "not valid JSON"
    yield "utf_16", '{"model_type": "mixtral"}'.encode("utf-16"), "not valid JSON"
    yield "bad_utf8", text.encode().replace(b"silu", b"si\xffu"), "0xff"
    yield "cut", '{"model_type": "mix', "not valid JSON"
    yield "cut_in_number", text[:text.index("4,") + 1], "not valid JSON"
    yield "comma", text[:-1] + ",}", "not valid JSON"
    yield "comment", "{ // mine\n" + text[1:], "not valid JSON"
    yield "two", text + text, "not valid JSON"
    yield "nan", text.replace("0.02", "NaN"), "not valid JSON"
    yield "duplicate", '{"model_type": "mixtral", "model_type": "mixtral"}', "duplicate"
    yield "duplicate_far", text[:-1] + ', "hidden_size": 4}', "duplicate"
    yield "deep", '{"model_type":' + "[" * 5000, "nested more than 256 deep"
    yield "deep_objects", '{"a":' * 5000 + "1" + "}" * 5000, "nested more than 256 deep"
    yield "huge", '{"model_type": "mixtral", "hidden_size": 1e400}', "overflow"
    yield "huge_whole", text.replace(": 4,", ": 99999999999999999999,"), "too big"
    yield "dense", '{"a":[0' + ",{}" * 300000 + "]}", "more memory is needed"
    yield "no_type", "{}", "`model_type` is missing"
    yield "type_number", whole(model_type=1), "`model_type` is not a string"
    yield "type_null", whole(model_type=None), "`model_type` is not a string"
    yield "type_empty", whole(model_type=""), "no family"
    yield "type_unknown", whole(model_type="nonesuch"), "nonesuch"
    yield "type_near", whole(model_type="mixtrl"), "is it `mixtral`?"
    yield "type_escape", whole(model_type="\x1b[2J\x07"), "\\x1b[2J\\x07"
    yield "type_long", whole(model_type="x" * 100000), "xxx .."
    yield "no_keys", '{"model_type": "mixtral"}', "has no `num_hidden_layers`"
    for key in ("num_hidden_layers", "hidden_size", "num_local_experts", "intermediate_size",
                "num_experts_per_tok"):
        yield f"no_{key}", lacks(key), f"has no `{key}`"
        for name, value in (("text", "4"), ("list", [4]), ("object", {"a": 4}), ("null", None),
                            ("true", True), ("half", 4.5), ("zero", 0), ("negative", -4),
                            ("2_31_and_1", (1 << 31) + 1), ("2_62", 1 << 62), ("1e300", 1e300)):
            yield f"{key}_{name}", whole(**{key: value}), ""
    yield "k_over_experts", whole(num_experts_per_tok=3), ""
    yield "experts_16385", whole(num_local_experts=16385), "may be 1 to 16384"
    yield "other_activation", whole(hidden_act="gelu"), "only the activation silu"
    yield "quantised", whole(quantization_config={"quant_method": "awq"}), "not supported"


class Folder:
    def __init__(self, path):
        self.path = path
        self.lines = []
        os.makedirs(path, exist_ok=True)

    def write(self, name, data):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())

    def case(self, name, kind, message):
        self.lines.append(f"{name}\t{kind}\t{message}\n")

    def link(self, name, to):
        path = os.path.join(self.path, name)
        if not os.path.lexists(path):
            os.symlink(to, path)


def write_index(out, name, text, message):
    folder = f"index_{name}"
    out.write(f"{folder}/model.safetensors.index.json", text)
    out.write(f"{folder}/other.safetensors", pack({}, 0))
    out.write(f"{folder}/cut.safetensors", b"123")
    out.write(f"{folder}/pickle.safetensors", b"PK\3\4" + bytes(100))
    for link, to in (("link_out", "../good.safetensors"), ("link_root", "/etc/passwd"),
                     ("link_null", "/dev/null"), ("link_loop", "link_loop.safetensors"),
                     ("link_dangling", "nowhere")):
        out.link(f"{folder}/{link}.safetensors", to)
    os.makedirs(f"{out.path}/{folder}/folder.safetensors", exist_ok=True)
    if name == "fifo" and not os.path.lexists(f"{out.path}/{folder}/fifo.safetensors"):
        os.mkfifo(f"{out.path}/{folder}/fifo.safetensors")
    out.case(folder, "weights", message)


def write_broken(out, name, data, kind, cuts, flips):
    """Truncations and single-bit flips, spread over the file's first `flips` bytes."""
    for i in range(cuts):
        at = i * (len(data) - 1) // (cuts - 1)
        out.write(f"cut_{at}_{name}", data[:at])
        out.case(f"cut_{at}_{name}", kind, "")
    for at in range(0, flips, 7):
        bit = at % 8
        flipped = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]
        out.write(f"flip_{at}_{name}", flipped)
        out.case(f"flip_{at}_{name}", kind, "")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Folder(sys.argv[1])
    header, size = good_header()
    good, x = pack(header, size), npy(npy_dict(), 32)
    out.write("layer.moe", LAYER)
    out.write("good.safetensors", good)
    out.write("x.npy", x)
    for name, data, message in safetensors_cases():
        out.write(f"{name}.safetensors", data)
        out.case(f"{name}.safetensors", "weights", message)
    for name, data, message in npy_cases():
        out.write(f"{name}.npy", data)
        out.case(f"{name}.npy", "input", message)
    for name, text, message in index_cases():
        write_index(out, name, text, message)
    for name, text, message in config_cases():
        out.write(f"config_{name}/config.json", text)
        out.write(f"config_{name}/model.safetensors", good)
        out.case(f"config_{name}", "config", message)
    write_broken(out, "good.safetensors", good, "any", 30, len(good) - size)
    write_broken(out, "x.npy", x, "anyinput", 10, len(x) - 32)
    out.write("manifest.tsv", "".join(out.lines))
    print(f"{len(out.lines)} files in {out.path}")


if __name__ == "__main__":
    main()
