#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Lines and branches that the tests took, of each folder and of what reads files, from what gcov
# counted, added up over all objects, and held to the goals.  scripts/coverage.sh calls it.
#
#     scripts/coverage.py BUILD           the table; status 1 below a goal
#     scripts/coverage.py BUILD FILE ..   what was not taken in these files (or folders)
#
# gcc counts a branch for each way out of each condition of && and ||, at -O0.  Not counted:
#  - lines that end in an internal error or run out of an arena's memory, and the way to them:
#    the first never happens, the second does in tests/cli/test_faults.py, without gcov
#  - "none of these" of a switch without a default: all of an enum is there
#  - what macros ask by themselves: whether vec_push grows, whether what jansson is asked about
#    is NULL; and what is behind `|| wrong(..)`, which is always false
#  - tables (*.def), and what flex and bison write; moe.l and moe.y count by lines
import collections
import glob
import json
import os
import re
import subprocess
import sys

FOLDERS = ["ir", "io", "frontend", "passes", "backend", "runtime", "driver", "foreign"]
LINES, BRANCHES = 90, 80                # percent, of everything
# Every branch: readers of what others wrote, and the arithmetic with its sizes.
READERS = re.compile(r"ir/(checked|lex|parse\w*)\.c|runtime/moew\.c|frontend/syntax\w*\.c|"
                     r"io/(checkpoint|json|npy|open|safetensors)\.c")
MACROS = re.compile(r"\bvec_push\(|\bjson_(is_\w+|object_foreach)\(|"
                    r"\|\|\s*(wrong|bad|failed|lex_fail)\(")
OURS = re.compile(r"\b(ice(_at)?|assert|out_of_memory|__builtin_unreachable)\s*\(")
GRAMMAR = re.compile(r"\.[ly]$")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def indent(text):
    return len(text) - len(text.lstrip("\t"))


class File:
    def __init__(self, name):
        with open(os.path.join(ROOT, name)) as f:
            self.text = [""] + f.read().split("\n") + [""]
        self.grammar = GRAMMAR.search(name)
        self.lines = collections.Counter()
        self.branches = {}              # (line, function): how often each was taken

    def hidden(self, line):
        """How many ways out that nobody took may be none of the program's."""
        text, after = self.text[line], self.text[line + 1]
        if OURS.search(after) and indent(after) > indent(text):
            return 1000
        if text.lstrip().startswith("switch ("):
            body = []
            for t in self.text[line + 1:]:
                if t.strip() and indent(t) == indent(text) and t.lstrip()[0] == "}":
                    break
                body.append(t)
            at = [i for i, t in enumerate(body) if re.match(r"\s*default:", t)]
            return int(not at or bool(OURS.search("".join(body[at[0]:at[0] + 2]))))
        return len(MACROS.findall(text + (after if text.endswith("||") else "")))

    def add(self, record):
        line = record["line_number"]
        if line >= len(self.text) or OURS.search(self.text[line]):
            return
        self.lines[line] += record["count"]
        taken = [b["count"] for b in record["branches"] if not b["throw"]]
        if not taken or self.grammar:
            return
        key = line, record.get("function_name", "")
        before = self.branches.get(key, [0] * len(taken))
        if len(before) == len(taken):
            self.branches[key] = [a + b for a, b in zip(before, taken)]

    def settle(self):
        for key, taken in self.branches.items():
            hidden = self.hidden(key[0]) if 0 in taken else 0
            while 0 in taken and hidden > 0:
                taken.remove(0)
                hidden -= 1

    def sums(self):
        every = [n for taken in self.branches.values() for n in taken]
        return (sum(n > 0 for n in self.lines.values()), len(self.lines),
                sum(n > 0 for n in every), len(every))

    def missing(self):
        for line in sorted(self.lines):
            ways = [t for k, t in sorted(self.branches.items()) if k[0] == line]
            if self.lines[line] == 0:
                yield line, "never"
            elif any(0 in t for t in ways):
                yield line, " ".join("".join("-" if n == 0 else "+" for n in t) for t in ways)


def counted(build):
    files = {}
    notes = [f for f in glob.glob(f"{build}/**/*.gcno", recursive=True) if "/tests/" not in f]
    for at in range(0, len(notes), 20):
        out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                              *notes[at:at + 20]], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, check=True, cwd=build).stdout
        for text in out.splitlines():
            for f in json.loads(text)["files"]:
                name = os.path.relpath(os.path.join(build, f["file"]), ROOT)
                if name.split("/")[0] in FOLDERS and re.search(r"\.[chly]$", name):
                    for record in f["lines"]:
                        files.setdefault(name, File(name)).add(record)
    for f in files.values():
        f.settle()
    return files


def row(name, files, goals=(0, 0)):
    lines, of_lines, branches, of_branches = map(sum, zip(*(f.sums() for f in files)))
    part = [100 * a / b if b else 100 for a, b in ((lines, of_lines), (branches, of_branches))]
    short = part[0] < goals[0] or part[1] < goals[1]
    print(f"{name:24} lines {part[0]:5.1f} % of {of_lines:5}   branches {part[1]:5.1f} % of "
          f"{of_branches:5}" + ("   below the goal" if short else ""))
    return short


def main(build, *wanted):
    files = counted(os.path.abspath(build))
    if wanted:
        for name in sorted(files):
            if any(name == w or name.startswith(w.rstrip("/") + "/") for w in wanted):
                for line, what in files[name].missing():
                    print(f"{name}:{line}: {what:8} {files[name].text[line].strip()}")
        return 0
    short = False
    for folder in FOLDERS:
        row(folder + "/", [f for name, f in files.items() if name.startswith(folder + "/")])
    for name in sorted(n for n in files if READERS.fullmatch(n)):
        short |= row(name, [files[name]], (0, 100))
    return short | row("all", files.values(), (LINES, BRANCHES))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
