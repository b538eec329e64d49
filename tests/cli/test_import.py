# SPDX-License-Identifier: Apache-2.0
# import: a model's layer as a .moe of its own gives the same result as the model.
import json
import os
import subprocess

from cli import MOEC, fixture, main, moec, summary, test, write


def same(model, *layer):
    moec("import", model, *layer, "-o", "layer.moe")
    with open("layer.moe") as f:
        text = f.read()
    assert "config" not in text and "stored" not in text, text
    a = moec("run", model, *layer, "--tokens", 21)
    b = moec("run", "layer.moe", "--weights", model, "--tokens", 21)
    assert summary(a)["checksum"] == summary(b)["checksum"], text
    a = moec("run", "layer.moe", "--weights", model, "--reference", "--tokens", 3)
    b = moec("run", model, *layer, "--reference", "--tokens", 3)
    assert summary(a)["checksum"] == summary(b)["checksum"], text
    return text


@test
def mixtral():
    text = same(fixture("mixtral"))
    assert 'weights "model.layers.0.block_sparse_moe." {' in text, text
    assert "experts 8 of swiglu(48)\n  route   softmax_topk(2)\n" in text, text


@test
def mixtral_in_bf16():
    assert "input   x: bf16[T, 64]" in same(fixture("mixtral_bf16_sharded"))


@test
def switch_transformers():
    text = same(fixture("switch"), "--layer", "encoder.1")
    assert 'weights "encoder.block.1.layer.1.mlp." {' in text, text
    assert "pick = fit(pick, 4)" in same(fixture("switch_drop"))


@test
def other_families():
    texts = {name: same(fixture(name), "--layer", 1)
             for name in ("olmoe", "qwen3_moe", "deepseek_v3", "gpt_oss")}
    assert '  output  weight @ experts(pick, x) + swiglu(x, 48, name: "shared")\n' in \
        texts["deepseek_v3"]
    assert '\n                  ?? transpose("experts.down_proj"[expert])\n' in texts["gpt_oss"]


@test
def a_folder_without_weights():
    os.mkdir("model")
    with open("model/config.json", "w") as f:
        json.dump({"model_type": "mixtral", "num_hidden_layers": 3, "hidden_size": 32,
                   "num_local_experts": 4, "intermediate_size": 40, "num_experts_per_tok": 2,
                   "dtype": "bfloat16"}, f)
    moec("import", "model", "--layer", 2, "-o", "layer.moe")
    a, b = (summary(moec("run", *src)) for src in (["model", "--layer", 2], ["layer.moe"]))
    assert a["checksum"] == b["checksum"]


@test
def what_cannot_be_imported():
    moec("import", write("a.moe", "layer l { input x: f32[T, 8]  output x }\n"), "-o", "b.moe",
         status=1, said="not a model's folder")
    moec("import", "none", "-o", "b.moe", status=1, said="none")
    moec("import", "model.gguf", "-o", "b.moe", status=1, said="GGUF")
    moec("import", fixture("mixtral"), "--layer", 99, "-o", "b.moe", status=1, said="layer 99")
    moec("import", fixture("mixtral"), "-o", "none/b.moe", status=1, said="none/b.moe")
    moec("import", fixture("mixtral"), status=2, said="needs -o OUT")
    assert not os.path.exists("b.moe")


@test
def which_stack():
    """One mistake: functions that ask for the stack are not blamed for it."""
    for layer, said in ((1, "  fix: `--layer encoder.1`\n"), (7, "  fix: `--layer encoder.0`\n"),
                        ("x", "  fix: `--layer encoder.0`\n"), ("left.1", "layer `left.1`"),
                        ("encoder.7", "the model has 2 layers")):
        p = subprocess.run([MOEC, "import", fixture("switch"), "--layer", str(layer),
                            "-o", "b.moe"], capture_output=True, text=True)
        assert p.returncode == 1 and said in p.stderr, p.stderr
        assert p.stderr.count(": error: ") == 1, p.stderr


main()
