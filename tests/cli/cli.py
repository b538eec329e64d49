# SPDX-License-Identifier: Apache-2.0
# cli: the runner of the command line's tests: `@test` functions, each in a folder of its own.
#
#     /usr/bin/python3 tests/cli/test_usage.py build/moec [part of a name]
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

MOEC = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/moec")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLACK = int(os.environ.get("MOEC_TEST_SLACK", 1))       # how often time and memory are granted
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
SANITIZED = bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ))
tests = []
if not os.access(MOEC, os.X_OK):
    sys.exit(f"no program {MOEC}")


class Skip(Exception):
    pass


def test(f):
    tests.append(f)
    return f


def moec(*args, status=0, said=(), stdin=None, limit=300):
    """Runs moec; checks its status and that stderr holds every text of `said`."""
    if isinstance(said, str):
        said = [said]
    p = subprocess.run([MOEC, *map(str, args)], capture_output=True, text=True,
                       timeout=limit * SLACK, stdin=subprocess.DEVNULL)
    shown = f"moec {' '.join(map(str, args))}\n{p.stdout}{p.stderr}"
    assert p.returncode == status, f"status {p.returncode}, not {status}: {shown}"
    for text in said:
        assert text in p.stderr, f"stderr lacks {text!r}: {shown}"
    return p.stdout


def uncoded(said):
    """Diagnostics without the ` [E0123]` in which each error ends."""
    for line in said.splitlines():
        assert ": error: " not in line or re.search(r" \[E\d{4}\]$", line), f"no code: {line}"
    return re.sub(r" \[E\d{4}\]$", "", said, flags=re.M)


def summary(text):
    """A run's summary as a dictionary: the first word of each line and the rest."""
    return {line.split(None, 1)[0]: line.split(None, 1)[1] for line in text.splitlines()
            if line and not line[0].isspace()}


def write(name, text):
    with open(name, "w") as f:
        f.write(text)
    return name


def fixture(name):
    path = os.path.join(SHARED, "fixtures", name)
    if not os.path.isdir(path):
        raise Skip(f"no {path}")
    return path


def main():
    passed = failed = skipped = 0
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    for f in tests:
        if part not in f.__name__:
            continue
        folder = tempfile.mkdtemp(prefix="moec-cli.")
        os.chdir(folder)
        try:
            f()
            passed += 1
        except Skip as why:
            skipped += 1
            print(f"skipped: {f.__name__}: {why}")
        except Exception:
            failed += 1
            print(f"FAILED: {f.__name__}")
            traceback.print_exc(limit=-2, file=sys.stdout)
        finally:
            os.chdir(ROOT)
            shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)
