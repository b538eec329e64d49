# SPDX-License-Identifier: Apache-2.0
# Names that are not there, and what is perhaps meant; mistakes whose message must say more
# than that something is wrong.
import json
import os
import re
import subprocess

import numpy as np

from bad import refused
from cli import MOEC, main, moec, test, uncoded, write
from tensors import as_bf16, save_model

LAYER = """layer tiny {
  input   x: f32[T, 4]
  experts 2 of relu_ffn(3)
  route   softmax_topk(1)
}
layer tiny_again {
  input   x: f32[T, 4]
  output  relu(x)
}
plan laptop { tile.kblock = 64 }
plan server { tile.columns = 32 }
"""
AT = "model.layers.0.block_sparse_moe."


def source():
    return write("a.moe", LAYER)


def model(folder="model", rename=None, **changed):
    """A Mixtral of one layer; `rename`: a tensor's name, and its new one."""
    rng = np.random.default_rng(0)
    shapes = {AT + "gate.weight": (2, 4)}
    for e in range(2):
        for w, shape in (("w1", (3, 4)), ("w2", (4, 3)), ("w3", (3, 4))):
            shapes[f"{AT}experts.{e}.{w}.weight"] = shape
    old, new = rename or ("", "")
    arrays = {new if n == old else n: as_bf16(rng.normal(size=s)) for n, s in shapes.items()}
    config = {"model_type": "mixtral", "hidden_act": "silu", "hidden_size": 4,
              "intermediate_size": 3, "num_hidden_layers": 1, "num_local_experts": 2,
              "num_experts_per_tok": 1, **changed}
    os.mkdir(folder)
    return save_model(folder, config, arrays)


NEAR = [                                # the command line, all that is said of it
    (["complie", "a.moe"], "no command 'complie'", "compile"),
    (["compile", "a.moe", "--plna", "p"], "`moec compile` has no option '--plna'", "--plan"),
    (["compile", "a.moe", "--target", "x86-64-v5"], "--target: no target 'x86-64-v5'", None),
    (["compile", "a.moe", "--target", "x86-64v3"], "--target: no target 'x86-64v3'",
     "x86-64-v3"),
    (["compile", "a.moe", "--emit=libb"], "--emit: no kind 'libb'", "lib"),
    (["compile", "a.moe", "--no-pass=fuse-expert"], "--no-pass: no pass 'fuse-expert'",
     "fuse-experts"),
    (["compile", "a.moe", "--stop-after=simplfy"], "--stop-after: no pass 'simplfy'",
     "simplify"),
    (["compile", "a.moe", "--print-after=inlinestd"], "--print-after: no pass 'inlinestd'",
     "inline-std"),
    (["opt", "a.mir", "--passes=simplify,inline-st"],
     "--passes: no pass 'inline-st'", "inline-std"),
    (["--explain", "E0231"], "no error has the code 'E0231'", "E0201"),
    (["--hepl"], "no option '--hepl'", "--help"),
]


@test
def names_of_the_command_line():
    source()
    for args, said, near in NEAR:
        p = moec_error(*args, status=2)
        if near is None:
            assert p.startswith(f"moec: error: {said}\n"), p
        else:
            assert p == f"moec: error: {said}\n  fix: did you mean `{near}`?\n", p


def moec_error(*args, status=1):
    """Standard error without codes."""
    p = subprocess.run([MOEC, *args], capture_output=True, text=True, timeout=60)
    assert p.returncode == status, f"{args}: {p.returncode}: {p.stderr}"
    return uncoded(p.stderr)


@test
def names_of_layers_and_plans():
    source()
    refused(("compile", "a.moe", "--layer", "tiny_agian"),
            "a.moe: error: there is no layer `tiny_agian`\n  fix: did you mean `tiny_again`?\n")
    refused(("compile", "a.moe", "--layer", "x"),
            "a.moe: error: there is no layer `x`\n  fix: it has tiny, tiny_again\n")
    refused(("compile", "a.moe", "--layer", "tiny", "--plan", "laptpo"),
            "a.moe: error: there is no plan `laptpo`\n  fix: did you mean `laptop`?\n")
    write("p.moe", "plan p { tile.column = 16 }\n")
    refused(("compile", "a.moe", "--layer", "tiny", "--plan", "p.moe"),
            "p.moe:1:10: error: a tile has no `column`\n    plan p { tile.column = 16 }\n"
            "             ^~~~~~~~~~~\n  fix: did you mean `columns`?\n")
    write("p.moe", "plan p { tile.columns.don = 16 }\n")
    said = refused(("compile", "a.moe", "--layer", "tiny", "--plan", "p.moe"))
    assert "no contraction reads a weight `don`" in said and "did you mean `down`?" in said
    refused(("run", "a.moe", "--layer", "tiny", "--input", "xx=y.npy"),)


@test
def names_in_ir_text():
    source()
    moec("compile", "a.moe", "--layer", "tiny", "--emit=ir", "-o", "good.mir")
    with open("good.mir") as f:
        good = f.read()
    for old, new, said in (("linear", "linaer", "did you mean 'linear'?"),
                           ("width=", "widht=", "did you mean 'width'?"),
                           ("f32[2, 4]", "f23[2, 4]", "did you mean 'f32'?")):
        write("bad.mir", good.replace(old, new, 1))
        assert said in refused(("opt", "bad.mir")), said
    write("bad.mir", re.sub(r'target ".*?"', 'target "x86-64-v33"', good))
    refused(("compile", "bad.mir"),
            "bad.mir: error: no target `x86-64-v33`\n  fix: did you mean `x86-64-v3`?\n")


@test
def tensors_that_are_missing():
    model(rename=(f"{AT}experts.1.w1.weight", f"{AT}experts.1.w4.weight"))
    said = refused(("compile", "model"))
    assert f"no tensor `{AT}experts.1.w1.weight` in the file: `gate` of expert 1 is read " \
        "from it [E0607]" in said, said
    assert 'gate   = "experts.{expert}.w1.weight"' in said, said
    assert re.search(r"fix: did you mean `\S+`, `\S+` or `\S+`\?$", said, re.M), said
    source()
    said = refused(("run", "a.moe", "--layer", "tiny", "--weights", "model"))
    assert "no tensor `router` in the file: `router` is read from it [E0607]" in said, said


@test
def keys_and_types_of_config():
    model("one", num_local_expert=2, num_local_experts=None)
    said = refused(("compile", "one"))
    assert "config.num_local_expert" in said or "num_local_experts" in said, said
    for key, value, text in (
            ("torch_dtype", "bflot16", "`torch_dtype` is `bflot16`, no type of weights that "
             "moec knows\n  fix: did you mean `bfloat16`?\n"),
            ("dtype", "int4", "`dtype` is `int4`, no type of weights that moec knows\n"
             "  fix: it may be bfloat16, float32 or float16\n"),
            ("torch_dtype", 16, "`torch_dtype` is not a string\n"
             "  fix: it may be bfloat16, float32 or float16\n")):
        folder = f"m{len(os.listdir('.'))}"
        model(folder, **{key: value})
        os.remove(f"{folder}/model.safetensors")
        said = uncoded(refused(("compile", folder)))
        assert said.endswith(f"{folder}/config.json: error: {text}"), said


@test
def a_layer_beyond_the_last():
    model()
    refused(("run", "model", "--layer", "7"),
            "model/config.json: error: there is no layer 7: the model has 1 layers\n")
    with open("model/config.json") as f:
        assert json.load(f)["num_hidden_layers"] == 1


@test
def packed_weights_of_another_layout():
    source()
    plan = write("wide.moe", "plan wide { tile.columns.up = 64 }\n")
    one = ("a.moe", "--layer", "tiny", "--target", "x86-64-v3")
    moec("pack", *one, "-o", "a.moew")
    said = refused(("run", *one, "--plan", plan, "--weights", "a.moew"))
    assert re.fullmatch(r"a.moew: error: layer tiny is packed for x86-64-v3: weight up has \d+ "
                        r"columns in a panel, this library's 64 columns in a panel "
                        r"\[E0715\]\n", said), said
    write("a.moe", LAYER.replace("relu_ffn(3)", "relu_ffn(5)"))
    said = refused(("run", *one, "--weights", "a.moew"))
    assert "weight up has 3 outputs, this library's 5 outputs" in said, said


@test
def the_linker_speaks_after_us():
    os.mkdir("bin")
    write("bin/cc", "#!/bin/sh\necho ld: first >&2\necho ld: second >&2\nexit 1\n")
    os.chmod("bin/cc", 0o755)
    source()
    path, os.environ["PATH"] = os.environ["PATH"], os.path.abspath("bin") + ":/usr/bin:/bin"
    try:
        refused(("compile", "a.moe", "--layer", "tiny"),
                "moec: error: `cc` could not link the library\n"
                "moec: note: ld: first\nmoec: note: ld: second\n")
    finally:
        os.environ["PATH"] = path


@test
def import_offers_no_gguf():
    assert "gguf" not in moec("import", "--help").lower()


main()
