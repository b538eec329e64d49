#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the suite notice a wrong compiler?  Seeded mutants of passes/ and backend/.

    scripts/mutants.py [--count 100] [--seed 1] [--jobs 2] [--quick] [--folder DIR]

Each mutant changes one operator, constant or statement in a copy of this tree, builds it
and runs tests until one fails, those first that fail soonest.  Who survives the quick ones
is tried with the slow ones at the end.  Not counted are mutants that do not compile, and
those whose object file is the original's.  Copies in DIR are used again.  The log has each
survivor as a diff; its last line is `N killed, N survived`.
"""
import argparse
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import random
import re
import resource
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
    (r"^(\t+)(?!ice\()[a-z_]+\([^;{}]*\);$", r"\1;"),   # a call, but ice() is never met
    (r"^(\t+)[^\s;{}=]+ = [^;{}]*;$", r"\1;"),          # an assignment
]
UNIT, GEN, CLI = "tests/unit/", "tests/gen/moe_gen --no-reduce --jobs 1 ", "tests/cli/"
# the limit of a process in seconds of CPU time: a mutant that hangs is noticed
QUICK = [
    (60, UNIT + "test_passes"),
    (60, UNIT + "test_runner"),
    (60, UNIT + "test_llvm"),
    (60, UNIT + "test_math"),
    (60, UNIT + "test_memory"),
    (60, UNIT + "test_header"),
    (60, GEN + "--count 0 tests/gen/cases/*.moe"),
    (60, UNIT + "test_names"),
    (60, GEN + "--count 20 --seed 1"),
]
SLOW = [
    (60, CLI + "test_plan.py"),
    (60, CLI + "test_compile.py"),
    (120, UNIT + "test_native"),
    (180, UNIT + "test_tails"),
    (60, CLI + "test_run.py"),
    (60, CLI + "test_targets.py"),
    (120, CLI + "test_layers.py"),
    (60, CLI + "test_fixtures.py"),
    (60, CLI + "test_bad_use.py"),
    (60, CLI + "test_faults.py"),
    (300, GEN + "--count 30 --seed 20000 --configs 4"),
    (300, GEN + "--count 150 --seed 1000"),
]
MEMORY = 4 << 30                        # of one process
Mutant = collections.namedtuple("Mutant", "path line old new")


def code_lines(path):
    """Numbers and texts of the lines that are code: not comments, tables, declarations."""
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
    """All that can be changed, in an order that the seed gives, whatever else changed."""
    found = {}
    for pattern in PLACES:
        for path in sorted(glob.glob(pattern, root_dir=ROOT)):
            for n, line in code_lines(os.path.join(ROOT, path)):
                for old, new in CHANGES:
                    for m in re.finditer(old, line):
                        if outside_strings(line, m.start()):
                            changed = line[:m.start()] + m.expand(new) + line[m.end():]
                            key = f"{seed} {path} {line} {changed}"
                            mutant = Mutant(path, n, line, changed)
                            found[mutant] = random.Random(key).random()
    return sorted(found, key=found.get)


def limited(seconds):
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def run(folder, command, limit):
    """Its exit status, or None where it takes too long."""
    p = subprocess.Popen(command, shell=True, cwd=folder, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                         env=dict(os.environ, MOERT_THREADS="2"), start_new_session=True,
                         preexec_fn=lambda: limited(limit))
    try:
        return p.wait(timeout=10 * limit)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        p.wait()
        return None


class Copy:
    """A copy of the tree, built; `clean`: the contents of its files without a mutant."""

    def __init__(self, where):
        self.folder, self.clean = os.path.join(where, "moec"), {}
        os.makedirs(self.folder, exist_ok=True)
        for name in os.listdir(self.folder):
            if name != "build":
                path = os.path.join(self.folder, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        shutil.copytree(ROOT, self.folder, ignore=shutil.ignore_patterns("build", ".git"),
                        dirs_exist_ok=True, copy_function=self.copy_file)
        shared = os.path.join(os.path.dirname(ROOT), "shared")
        if os.path.isdir(shared) and not os.path.exists(os.path.join(where, "shared")):
            os.symlink(shared, os.path.join(where, "shared"))
        if run(self.folder, "cmake -G Ninja -S . -B build"
                            " && ninja -C build", 1800) != 0:
            sys.exit("mutants: no build without any change")
        with open(self.path("build/compile_commands.json")) as f:
            self.objects = {os.path.relpath(c["file"], self.folder):
                            "build/" + re.search(r" -o (\S+)", c["command"])[1]
                            for c in json.load(f)}
        for file in (*self.objects.values(), *(self.program(c) for _, c in QUICK + SLOW)):
            self.clean[file] = self.content(file)

    @staticmethod
    def copy_file(source, target):
        """Sources that a stopped run may have left mutated in DIR are built again."""
        if os.path.basename(os.path.dirname(source)) in ("passes", "backend"):
            return shutil.copyfile(source, target)
        return shutil.copy2(source, target)

    def path(self, name):
        return os.path.join(self.folder, name)

    def content(self, name):
        with open(self.path(name), "rb") as f:
            return hashlib.sha256(f.read()).digest()

    def same(self, file):
        return self.content(file) == self.clean[file]

    @staticmethod
    def program(command):
        return "build/moec" if command.endswith(".py") else "build/" + command.split()[0]

    def passes(self, command, limit):
        program = self.program(command)
        command = (f"/usr/bin/python3 {command} {program}" if command.endswith(".py")
                   else "build/" + command)
        return run(self.folder, command, limit) == 0

    def notices(self, command, limit):
        """Whether a test fails.  One whose program is the original's is not asked."""
        program = self.program(command)
        if run(self.folder, f"ninja -C build {program[6:]}", 600) != 0:
            return True
        return not self.same(program) and not self.passes(command, limit)

    def judge(self, mutant, suite):
        """What noticed it, "" where nothing did, None where it is not counted."""
        with open(self.path(mutant.path)) as f:
            whole = f.read()
        lines = whole.split("\n")
        lines[mutant.line] = mutant.new
        written = self.objects[mutant.path]
        try:
            with open(self.path(mutant.path), "w") as f:
                f.write("\n".join(lines))
            if run(self.folder, f"ninja -C build {written[6:]}", 600) != 0 or \
               self.same(written):
                return None
            return next((c for limit, c in suite if self.notices(c, limit)), "")
        finally:
            with open(self.path(mutant.path), "w") as f:
                f.write(whole)


def show(mutant, verdict):
    print(f"{mutant.path}:{mutant.line + 1}: {verdict or 'SURVIVED'}", flush=True)
    if not verdict:
        print(f"-{mutant.old}\n+{mutant.new}", flush=True)


def judge_all(copies, waiting, wanted, suite):
    """The first `wanted` of those waiting that count, each with what noticed it."""
    verdicts = {}

    def work(copy):
        while waiting and sum(v is not None for v in verdicts.values()) < wanted:
            mutant = waiting.pop(0)
            verdicts[mutant] = copy.judge(mutant, suite)
            if verdicts[mutant] is not None:
                show(mutant, verdicts[mutant])

    with concurrent.futures.ThreadPoolExecutor(len(copies)) as pool:
        for each in [pool.submit(work, c) for c in copies]:
            each.result()
    return [(m, v) for m, v in verdicts.items() if v is not None][:wanted]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="leave the slow tests out")
    parser.add_argument("--folder", help="where the copies are, and stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants") as where:
        copies = [Copy(os.path.join(options.folder or where, str(job)))
                  for job in range(options.jobs)]
        for limit, command in QUICK + ([] if options.quick else SLOW):
            if not copies[0].passes(command, limit):
                sys.exit(f"mutants: `{command}` fails without any change")
        judged = judge_all(copies, mutants(options.seed), options.count, QUICK)
        left = [m for m, v in judged if not v]
        if left and not options.quick:
            print(f"{len(left)} survived the quick tests", flush=True)
            left = [m for m, v in judge_all(copies, left, len(left), SLOW) if not v]
    print(f"{len(judged) - len(left)} killed, {len(left)} survived")


if __name__ == "__main__":
    main()
