#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the suite notice when the compiler is wrong?  Seeded mutants of passes/ and backend/.

    scripts/mutants.py [--count 100] [--seed 1] [--jobs 2]

Each mutant changes one operator, constant or statement in a copy of this tree, builds it and
runs the tests from the fastest to the slowest until one fails.  Those that do not compile are
not counted.  Survivors are printed as diffs; the last line is `N killed, N survived`.
"""
import argparse
import collections
import concurrent.futures
import difflib
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACES = ("passes/*.c", "backend/*.c")
# what is wrong with a line, as a pattern and what takes its place
CHANGES = [
    (r" == ", " != "), (r" != ", " == "), (r" < ", " <= "), (r" <= ", " < "),
    (r" > ", " >= "), (r" >= ", " > "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " + "), (r" / ", " * "),
    (r"\+\+", "--"), (r" \+= ", " -= "), (r"\b0\b", "1"), (r"\b1\b", "2"),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"if \(!", "if ("),
    (r"if \((?!!)", "if (!"), (r"\bMIN\(", "MAX("), (r"\bMAX\(", "MIN("),
    (r"\bcontinue;", "break;"), (r"\bbreak;", ";"),
    (r"^(\t+)[a-z_]+\([^;{}]*\);$", r"\1;"),            # a call that is not made
    (r"^(\t+)[^\s;{}=]+ = [^;{}]*;$", r"\1;"),          # an assignment
]
SUITE = [                               # limits in seconds; a mutant that hangs is noticed
    (300, "build/tests/unit/test_passes"),
    (300, "build/tests/unit/test_native"),
    (300, "build/tests/gen/moe_gen --no-reduce --count 0 tests/gen/cases/*.moe"),
    (300, "build/tests/unit/test_names"),
    (300, "build/tests/unit/test_header"),
    (600, "build/tests/gen/moe_gen --no-reduce --count 60 --seed 1 --jobs 1"),
    (900, "/usr/bin/python3 tests/cli/test_layers.py build/moec"),
    (900, "/usr/bin/python3 tests/cli/test_run.py build/moec"),
    (900, "/usr/bin/python3 tests/cli/test_fixtures.py build/moec"),
    (900, "build/tests/gen/moe_gen --no-reduce --count 300 --seed 1000 --jobs 1"),
]
Mutant = collections.namedtuple("Mutant", "path line old new")


def code_lines(path):
    """Numbers and texts of the lines that are code: no comments, tables or declarations."""
    comment = body = False
    for n, line in enumerate(open(path).read().split("\n")):
        comment = comment or line.lstrip().startswith("/*")
        if not comment and body and line.startswith("\t"):
            yield n, line
        if line == "{":
            body = True
        if line == "}":
            body = False
        if "*/" in line:
            comment = False


def outside_strings(line, at):
    return line[:at].count('"') % 2 == 0 and "/*" not in line[:at]


def mutants(seed):
    """All that can be changed, in an order that the seed gives."""
    found = []
    for pattern in PLACES:
        for path in sorted(glob.glob(pattern, root_dir=ROOT)):
            for n, line in code_lines(os.path.join(ROOT, path)):
                for old, new in CHANGES:
                    for m in re.finditer(old, line):
                        if outside_strings(line, m.start()):
                            changed = line[:m.start()] + m.expand(new) + line[m.end():]
                            found.append(Mutant(path, n, line, changed))
    random.Random(seed).shuffle(found)
    return found


def run(folder, command, limit):
    """Its exit status, or None where it takes too long."""
    p = subprocess.Popen(command, shell=True, cwd=folder, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                         start_new_session=True)
    try:
        return p.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        p.wait()
        return None


def judge(folder, mutant):
    """What noticed it, "" where nothing did, None where it does not compile."""
    path = os.path.join(folder, mutant.path)
    whole = open(path).read()
    lines = whole.split("\n")
    lines[mutant.line] = mutant.new
    try:
        open(path, "w").write("\n".join(lines))
        if run(folder, "ninja -C build", 1200) != 0:
            return None
        for limit, command in SUITE:
            if run(folder, f"MOERT_THREADS=2 timeout {limit} {command}", limit + 10) != 0:
                return command
        return ""
    finally:
        open(path, "w").write(whole)


def prepare(where, job):
    folder = os.path.join(where, str(job), "moec")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("build", ".git"))
    shared = os.path.join(os.path.dirname(ROOT), "shared")
    if os.path.isdir(shared):
        os.symlink(shared, os.path.join(where, str(job), "shared"))
    for command in ("cmake -G Ninja -S . -B build", "ninja -C build"):
        if run(folder, command, 1800) != 0:
            sys.exit(f"mutants: `{command}` fails without any change")
    for limit, command in SUITE:
        if run(folder, command, limit) != 0:
            sys.exit(f"mutants: `{command}` fails without any change")
    return folder


def work(folder, waiting, wanted, verdicts):
    while waiting and sum(v is not None for _, v in verdicts) < wanted:
        mutant = waiting.pop()
        verdict = judge(folder, mutant)
        verdicts.append((mutant, verdict))
        if verdict is not None:
            print(f"{mutant.path}:{mutant.line + 1}: {verdict or 'SURVIVED'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    waiting, verdicts = mutants(options.seed), []
    with tempfile.TemporaryDirectory(prefix="mutants") as where:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            folders = list(pool.map(lambda j: prepare(where, j), range(options.jobs)))
            for each in [pool.submit(work, f, waiting, options.count, verdicts)
                         for f in folders]:
                each.result()
    judged = [(m, v) for m, v in verdicts if v is not None][:options.count]
    for m, _ in (j for j in judged if not j[1]):
        print(*difflib.unified_diff([m.old], [m.new], f"a/{m.path}", f"b/{m.path}",
                                    f"line {m.line + 1}", lineterm=""), sep="\n")
    killed = sum(bool(v) for _, v in judged)
    print(f"{killed} killed, {len(judged) - killed} survived")


if __name__ == "__main__":
    main()
