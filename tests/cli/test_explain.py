# SPDX-License-Identifier: Apache-2.0
# explain: each error's wrong example gives that error and its right one none; the page
# docs/diagnostics.md is what `moec --explain` says (MOEC_BLESS=1 rewrites it).
import glob
import os
import re
import subprocess

import numpy as np

from cli import MOEC, ROOT, main, moec, test, write
from tensors import as_bf16, save_model

PAGE = os.path.join(ROOT, "docs/diagnostics.md")
NO_EXAMPLE = 12                         # at most: what no few lines show
INTRODUCTION = """# Errors

Every error ends in a code. `moec --explain CODE` prints what stands here; this page is made of
the same table, `ir/diagnostics.def`, and `tests/cli/test_explain.py` runs every example.

Examples in a layer stand in one with `input x: f32[T, 64]` and `experts 8 of swiglu(32)`; those in
a shell are run where `layer.moe` is a layer, `x.npy` a batch of its tokens and `model` a folder with
a small Mixtral.
"""
LAYER = """layer example {
  input   x: f32[T, 8]
  experts 4 of swiglu(6)
  route   softmax_topk(2)
}
"""
CONFIG = {"model_type": "mixtral", "hidden_act": "silu", "hidden_size": 8,
          "intermediate_size": 6, "num_hidden_layers": 2, "num_local_experts": 4,
          "num_experts_per_tok": 2, "torch_dtype": "bfloat16"}


def model():
    """A small Mixtral in bf16."""
    rng = np.random.default_rng(0)
    arrays = {}
    for n in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{n}.block_sparse_moe."
        arrays[at + "gate.weight"] = as_bf16(rng.normal(size=(4, 8)))
        for e in range(4):
            for w, shape in (("w1", (6, 8)), ("w2", (8, 6)), ("w3", (6, 8))):
                arrays[f"{at}experts.{e}.{w}.weight"] = as_bf16(rng.normal(size=shape))
    os.mkdir("model")
    save_model("model", CONFIG, arrays)


def in_layer(body):
    """The statements in a layer, which gets what they do not say."""
    lines = ["input x: f32[T, 64]", "experts 8 of swiglu(32)"]
    words = {line.split(" ")[0] for line in body}
    rest = [s for s in ("route softmax_topk(2)", "output weight @ experts(pick, x)")
            if s.split(" ")[0] not in words]
    return ["layer example {", *lines, *body, *rest, "}"]


def in_file(text):
    """Definitions alone are joined by a layer."""
    layer = any(re.match("layer|model", line) for line in text)
    return text if layer else text + LAYER.splitlines()


def said(where, lines):
    """Status and error of an example."""
    if where == "in a shell":
        assert all(line.startswith("$ ") for line in lines), lines
        write("layer.moe", LAYER)
        np.save("x.npy", np.ones((3, 8), np.float32))
        model()
        command = " &&\n".join(line[2:] for line in lines)
    else:
        write("a.moe", "\n".join({"in a layer": in_layer, "in a file": in_file}[where](lines))
              + "\n")
        command = "moec compile a.moe --layer example --stop-after=inline-std -o a.mir"
    p = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100)
    return p.returncode, p.stderr


def explained(code):
    """Title, text and examples of a code: (title, text, where, wrong, right)."""
    out = moec("--explain", code)
    parts = re.split(r"\n\n(Wrong|Right), (in a \w+):\n\n", out)
    examples = [[line[4:] for line in parts[i].rstrip("\n").split("\n")]
                for i in range(3, len(parts), 3)]
    title, text = parts[0].split("\n\n", 1)
    assert title.startswith(code + ": "), title
    return (title, text.strip(), parts[2] if examples else None, *(examples or [None, None]))


def codes():
    return [line.split()[0] for line in moec("--explain").splitlines()]


def example_test(code):
    def f():
        os.makedirs("bin")
        os.symlink(MOEC, "bin/moec")
        os.environ["PATH"] = os.path.abspath("bin") + ":" + os.environ["PATH"]
        _, _, where, wrong, right = explained(code)
        for name, lines in (("wrong", wrong), ("right", right)):
            os.mkdir(name)
            os.chdir(name)
            status, err = said(where, lines)
            if name == "right":
                assert status == 0 and ": error:" not in err, f"{lines}\n{err}"
            else:
                found = set(re.findall(r"\[(E\d{4})\]$", err, re.M))
                assert status in (1, 2) and found == {code}, f"{lines}\n{status}: {err}"
            os.chdir("..")
    f.__name__ = f"example_{code}"
    return test(f)


def section(code):
    title, text, where, wrong, right = explained(code)
    out = f"### {title}\n\n{text}\n"
    for word, lines in (("Wrong", wrong), ("Right", right)):
        if lines:
            out += f"\n{word}, {where}:\n\n```{'sh' if where == 'in a shell' else 'moe'}\n"
            out += "\n".join(line.removeprefix("$ ") for line in lines) + "\n```\n"
    return out


@test
def the_page_is_what_moec_says():
    page = "\n".join([INTRODUCTION] + [section(c) for c in codes()])
    if os.environ.get("MOEC_BLESS"):
        with open(PAGE, "w") as f:
            f.write(page)
    with open(PAGE) as f:
        assert f.read() == page, f"{PAGE} (MOEC_BLESS=1 rewrites it)"


@test
def codes_in_several_spellings():
    assert moec("--explain", "e0201") == moec("--explain", "201") == moec("--explain", "E0201")
    moec("--explain", "E0200", status=2,
         said="no error has the code 'E0200' [E0901]\n  fix: did you mean `E0201`?")
    moec("--explain", "x" * 100, status=2, said="no error has the code")
    moec("--explain", "E0201", "E0202", status=2)


def on_terminal(**env):
    """What moec says of a mistake to a terminal."""
    parent, child = os.openpty()
    write("a.moe", "\n".join(in_layer(["y = bais"])))
    p = subprocess.Popen([MOEC, "compile", "a.moe"], stdin=subprocess.DEVNULL, stdout=child,
                         stderr=child, env={**os.environ, "NO_COLOR": "", **env})
    os.close(child)
    out = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:                 # the other end is closed
            part = b""
        if not part:
            break
        out += part
    assert p.wait(20) == 1, out
    os.close(parent)
    return out.decode().replace("\r\n", "\n")


@test
def colours_on_a_terminal_alone():
    bright = on_terminal(TERM="xterm")
    plain = on_terminal(TERM="xterm", NO_COLOR="1")
    assert "\x1b[1;31merror:\x1b[0m there is no" in bright and "\x1b" not in plain, bright
    assert re.sub(r"\x1b\[[0-9;]*m", "", bright) == plain == on_terminal(TERM="dumb")
    p = subprocess.run([MOEC, "compile", "a.moe"], capture_output=True, text=True, timeout=20,
                       env={**os.environ, "TERM": "xterm"})
    assert p.stderr == plain, p.stderr


@test
def codes_are_in_order():
    all_codes = codes()
    assert all_codes == sorted(set(all_codes)) and len(all_codes) > 100
    without = [c for c in all_codes if not explained(c)[2]]
    assert len(without) <= NO_EXAMPLE, without


@test
def every_code_is_raised():
    rows, sources = "", ""
    for folder in ("ir", "io", "frontend", "passes", "backend", "driver"):
        for file in glob.glob(os.path.join(ROOT, folder, "*.[chlyd]*")):
            with open(file) as f:
                text = f.read()
            if file.endswith(".def"):
                rows += text
            else:
                sources += text
    names = re.findall(r"^DIAG\(\d+, (\w+),", rows, re.M)
    assert len(names) == len(codes())
    assert not [n for n in names if not re.search(rf"\bE_{n}\b", sources)]


for c in codes():
    if explained(c)[2]:
        example_test(c)
main()
