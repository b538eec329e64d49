# SPDX-License-Identifier: Apache-2.0
# bad: what every refusal owes: status 1, the exact message, in time, in bounded memory,
# and nothing written.  The messages stand in tests/errors/files/KIND.txt, `# NAME` above each;
# BLESS=1 in the environment writes them anew: read the difference.
import os
import signal
import subprocess

from cli import MOEC, ROOT, SLACK, tests, uncoded

SECONDS = 5 * SLACK
MEBIBYTES = 256 * SLACK                         # and twice the file; LLVM alone maps half of that
blessed = os.environ.get("BLESS") == "1"


def listing():
    return sorted(os.path.join(d, f) for d, _, files in os.walk(".") for f in files)


def measured(args, limit):
    """Status, standard output and error, CPU seconds, peak MiB; a hang ends after `limit`."""
    p = subprocess.Popen([MOEC, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=open(".stderr", "wb"))
    signal.signal(signal.SIGALRM, lambda *_: p.kill())
    signal.alarm(limit)
    out = p.stdout.read()
    _, status, used = os.wait4(p.pid, 0)
    signal.alarm(0)
    p.returncode = os.waitstatus_to_exitcode(status)
    p.stdout.close()
    with open(".stderr", "rb") as f:
        said = f.read().decode()
    os.remove(".stderr")
    return p.returncode, out.decode(), said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def refused(args, expect=None, bytes_given=0):
    """What moec says of bad input; expect: exactly that, with or without codes."""
    before = listing()
    status, out, said, took, mebibytes = measured([str(a) for a in args], 10 * SECONDS)
    shown = f"moec {' '.join(map(str, args))}\n{out}{said}"
    assert status == 1, f"status {status}: {shown}"
    assert out == "", f"standard output: {shown}"
    assert expect is None or expect in (said, uncoded(said)), f"not what was expected:\n{expect}but {shown}"
    assert ": error: " in said and "internal error" not in said, shown
    assert took < SECONDS, f"{took:.1f} s: {shown}"
    assert mebibytes < MEBIBYTES + 2 * bytes_given / 2**20, f"{mebibytes:.0f} MiB: {shown}"
    assert listing() == before, f"left behind: {set(listing()) - set(before)}: {shown}"
    return said


def golden_path(kind):
    return os.path.join(ROOT, "tests/errors/files", kind + ".txt")


def golden(kind):
    """The messages of a kind by name."""
    messages, name = {}, None
    if os.path.exists(golden_path(kind)):
        with open(golden_path(kind)) as f:
            for line in f:
                if line.startswith("# "):
                    name = line[2:-1]
                    messages[name] = ""
                else:
                    messages[name] += line
    return messages


def refusals(kind, cases, least):
    """A test for each case: name, text that must be said, function that gives arguments and
    the size of the file."""
    expected = {} if blessed else golden(kind)
    said = {}

    def add(name, text, prepare):
        def run():
            args, size = prepare()
            said[name] = refused(args, None if blessed else expected[name], size)
            assert text in said[name], f"lacks {text!r}: {said[name]}"
        run.__name__ = f"{kind}_{name}"
        tests.append(run)

    names = [name for name, _, _ in cases]
    assert len(names) == len(set(names)) and len(names) >= least, (kind, len(names))
    for case in cases:
        add(*case)
    if not blessed:
        def all_messages_have_a_case():
            assert set(expected) == set(names), set(expected) ^ set(names)
        all_messages_have_a_case.__name__ = f"{kind}_messages_have_a_case_each"
        tests.append(all_messages_have_a_case)
        return

    def write():
        with open(golden_path(kind), "w") as f:
            f.writelines(f"# {name}\n{said[name]}" for name in names)
    write.__name__ = f"{kind}_blessed"
    tests.append(write)
