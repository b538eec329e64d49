# SPDX-License-Identifier: Apache-2.0
# docs: every ```console block of README.md and docs/ is run: after each `$ command` stands
# what it prints.  MOEC_BLESS=1 writes what is printed now into the pages.  Links lead
# somewhere, and CONTRIBUTING.md's diffs apply.
import glob
import os
import re
import subprocess

from cli import MOEC, ROOT, main, test

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.S | re.M)


def run(command):
    p = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert p.stdout, f"{command} prints nothing: {p.stderr}"
    return "".join(line.rstrip() + "\n" for line in (p.stdout + p.stderr).splitlines())


def again(block):
    """The block with the output that its commands have now."""
    lines = block.group(1).splitlines(keepends=True)
    commands = [line for line in lines if line.startswith("$ ")]
    return "```console\n" + "".join(c + run(c[2:]) for c in commands) + "```"


def check(page):
    os.makedirs("bin")
    os.symlink(MOEC, "bin/moec")
    os.symlink(os.path.join(ROOT, "examples"), "examples")
    os.environ["PATH"] = os.path.abspath("bin") + ":" + os.environ["PATH"]
    with open(page) as f:
        old = f.read()
    new = BLOCK.sub(again, old)
    if new != old and os.environ.get("MOEC_BLESS"):
        with open(page, "w") as f:
            f.write(new)
        return
    for a, b in zip(BLOCK.findall(old), BLOCK.findall(new)):
        assert a == b, f"{page} (MOEC_BLESS=1 rewrites it)\n--- there\n{a}--- printed\n{b}"


def links(page):
    """Pages and folders that a page links to exist."""
    with open(page) as f:
        text = f.read()
    for to in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert os.path.exists(os.path.join(os.path.dirname(page), to)), f"{page}: {to}"


def diffs(page):
    with open(page) as f:
        found = re.findall(r"^```diff\n(.*?)^```$", f.read(), re.S | re.M)
    for diff in found:
        p = subprocess.run(["git", "apply", "--check"], input=diff, text=True, cwd=ROOT,
                           capture_output=True)
        assert p.returncode == 0, f"{page}: {p.stderr}{diff}"


def page_test(page):
    def f():
        check(page)
        links(page)
        diffs(page)
    f.__name__ = os.path.basename(page)
    return test(f)


for page in [os.path.join(ROOT, n) for n in ("README.md", "CONTRIBUTING.md")] + sorted(
        glob.glob(os.path.join(ROOT, "docs", "*.md"))):
    page_test(page)
main()
