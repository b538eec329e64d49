# SPDX-License-Identifier: Apache-2.0
# Wrong and absurd uses: options, outputs that cannot be written, places that are no files,
# limits of the machine, signals.
import os
import resource
import signal
import subprocess
import time

import numpy as np

from bad import listing, measured, refused
from cli import MOEC, SLACK, Skip, main, moec, test, uncoded, write

LAYER = """layer tiny {
  input   x: f32[T, 4]
  experts 2 of relu_ffn(3)
  route   softmax_topk(1)
}
"""
WRONG = [                               # the command line, all that is said of it
    (["run", "a.moe", "--threads", "0"],
     "--threads takes a number from 1 to 1024, not '0'"),
    (["run", "a.moe", "--threads", "-1"],
     "--threads takes a number from 1 to 1024, not '-1'"),
    (["run", "a.moe", "--threads=1025"],
     "--threads takes a number from 1 to 1024, not '1025'"),
    (["run", "a.moe", "--threads", "2 "],
     "--threads takes a number from 1 to 1024, not '2 '"),
    (["run", "a.moe", "--tokens", "-1"], "--tokens takes a number of tokens, not '-1'"),
    (["run", "a.moe", "--tokens", "1e3"], "--tokens takes a number of tokens, not '1e3'"),
    (["run", "a.moe", "--tokens", ""], "--tokens takes a number of tokens, not ''"),
    (["run", "a.moe", "--tokens", "2147483648"],
     "--tokens takes a number of tokens, not '2147483648'"),
    (["run", "a.moe", "--tokens", "9" * 30],
     f"--tokens takes a number of tokens, not '{'9' * 30}'"),
    (["run", "a.moe", "--seed", "-1"], "--seed takes a number below 2^64, not '-1'"),
    (["run", "a.moe", "--seed", "18446744073709551616"],
     "--seed takes a number below 2^64, not '18446744073709551616'"),
    (["run", "a.moe", "--layer", ""], "--layer takes LAYER, not ''"),
    (["run", "a.moe", "--input", ""], "--input takes [NAME=]FILE, not ''"),
    (["run", "a.moe", "--input", "x="], "--input takes [NAME=]FILE, not 'x='"),
    (["run", "a.moe", "--reference", "--check"],
     "--reference and --check exclude each other"),
    (["run", "a.moe", "--\x1b[2J"], "`moec run` has no option '--\\x1b[2J'"),
    (["run", "a.moe", "--check=1"], "--check takes no value"),
    (["run"], "`moec run` needs SRC"),
    (["run", ""], "`moec run` needs SRC, not ''"),
    (["opt", ""], "`moec opt` needs FILE.mir, not ''"),
    (["\x1b[2J"], "no command '\\x1b[2J'"),
    ([""], "no command ''"),
    (["std", "x"], "`moec std` takes no argument 'x'"),
    (["compile", "a.moe", "b.moe"], "`moec compile` takes no further 'b.moe'"),
    (["compile", "a.moe", "-o"], "-o needs a value: OUT"),
    (["compile", "a.moe", "-o", ""], "-o takes OUT, not ''"),
    (["compile", "a.moe", "--weights", ""], "--weights takes PATH, not ''"),
    (["compile", "a.moe", "--target", ""], "--target: no target ''"),
    (["compile", "a.moe", "--emit=", ], "--emit: no kind ''"),
    (["compile", "a.moe", "--stop-after=simplify", "--emit=obj"],
     "--stop-after writes IR, not --emit=obj"),
    (["compile", "a.moe", "--no-pass=pack"], "--no-pass: 'pack' cannot be skipped"),
    (["pack", "a.moe"], "`moec pack` needs -o OUT"),
    (["opt", "a.mir", "--passes=,"], "--passes: no pass ''"),
    (["opt", "a.mir", "--passes=lower"],
     "--passes: 'lower' gives no IR, use `moec compile`"),
    (["bench", "a.moe", "--tokens", "1,,2"],
     "--tokens takes numbers of tokens separated by commas (1,64,2048), not ''"),
    (["bench", "a.moe", "--tokens", "0"],
     "--tokens takes numbers of tokens separated by commas (1,64,2048), not '0'"),
]


def source():
    return write("tiny.moe", LAYER)


@test
def wrong_usage_is_status_2():
    for args, said in WRONG:
        status, out, err, _, _ = measured(args, 20)
        assert (status, out, uncoded(err)) == (2, "", f"moec: error: {said}\n"), (args, status, out, err)


@test
def passes_run_in_the_order_of_their_contracts():
    source()
    for after, passes, said in (
            ("inline-std", "simplify,pack", "pack wants form-kernels before it"),
            ("inline-std", "schedule-blocks", "schedule-blocks wants form-kernels before it"),
            ("form-kernels", "fuse-experts,simplify",
             "simplify comes too late: form-kernels is done already"),
            ("pack", "fuse-experts", "fuse-experts comes too late: pack is done already")):
        part = write("part.mir", moec("compile", "tiny.moe", f"--stop-after={after}"))
        moec("opt", part, f"--passes={passes}", "-o", "out.mir", status=1, said=said)
        assert not os.path.exists("out.mir")
    part = write("part.mir", moec("compile", "tiny.moe", "--stop-after=inline-std"))
    moec("opt", part, "--passes=simplify,inline-std,form-kernels,schedule-blocks,fuse-experts,"
         "schedule-blocks,pack")


@test
def names_are_printed_escaped():
    source()
    refused(("run", "\x1b[2Jx.moe"),
            "\\x1b[2Jx.moe: error: cannot open: No such file or directory\n")
    refused(("run", "tiny.moe", "--layer", "\x1b]0;\x07"),
            "tiny.moe: error: there is no layer `\\x1b]0;\\x07`\n  fix: it has tiny\n")
    refused(("run", "tiny.moe", "--input", "\x1b=y.npy"),
            "\\x1b=y.npy: error: cannot open: No such file or directory\n")
    refused(("run", "x" * 300 + ".moe"), "x" * 300 + ".moe: error: cannot open: "
            "File name too long\n")


@test
def what_is_no_file_is_never_waited_for():
    source()
    for end in ("moe", "mir", "npy", "moew", "safetensors"):
        os.mkfifo(f"fifo.{end}")
    for args in (("compile", "fifo.moe"), ("opt", "fifo.mir"),
                 ("run", "tiny.moe", "--input", "fifo.npy"),
                 ("run", "tiny.moe", "--weights", "fifo.safetensors")):
        refused(args, f"{args[-1]}: error: cannot read: not a regular file\n")
    refused(("run", "tiny.moe", "--weights", "fifo.moew"),
            "fifo.moew: error: not a regular file\n")
    for device in ("/dev/zero", "/dev/null"):
        refused(("run", device), f"{device}: error: cannot read: not a regular file\n")
    refused(("run", "."), "./config.json: error: cannot open: No such file or directory\n")


@test
def outputs_that_are_folders_or_inputs():
    source()
    os.mkdir("d")
    commands = [("compile", "tiny.moe", f"--emit={kind}", "-o")
                for kind in ("lib", "obj", "asm", "llvm", "ir", "header")]
    commands += [("pack", "tiny.moe", "-o"), ("run", "tiny.moe", "--output"),
                 ("bench", "tiny.moe", "--json")]
    for args in commands:
        refused((*args, "d"), "d: error: cannot be written: it is a folder\n")
        refused((*args, "./tiny.moe"),
                "./tiny.moe: error: cannot be written: it is what is read\n")
    with open("tiny.moe") as f:
        assert f.read() == LAYER


@test
def devices_are_written_through_or_refused_never_replaced():
    source()
    os.mkdir("dev")
    try:
        os.mknod("dev/full", 0o20666, os.makedev(1, 7))
        open("dev/full", "w").close()
    except OSError:
        raise Skip("devices need root")
    for kind in ("obj", "asm", "llvm", "ir", "header"):
        refused(("compile", "tiny.moe", f"--emit={kind}", "-o", "dev/full"),
                "dev/full: error: cannot write: No space left on device\n")
    for args in (("compile", "tiny.moe", "-o"), ("pack", "tiny.moe", "-o")):
        refused((*args, "dev/full"),
                "dev/full: error: cannot be written: not a regular file\n")
    moec("run", "tiny.moe", "--output", "dev/full", status=1, said="No space left")
    assert os.stat("dev/full").st_rdev == os.makedev(1, 7)


@test
def links_keep_pointing():
    source()
    for name, args in (("so", ("compile", "tiny.moe", "-o")),
                       ("o", ("compile", "tiny.moe", "--emit=obj", "-o"))):
        write(f"real.{name}", "old")
        os.symlink(f"real.{name}", f"link.{name}")
        moec(*args, f"link.{name}")
        assert os.readlink(f"link.{name}") == f"real.{name}"
        with open(f"real.{name}", "rb") as f:
            assert f.read(4) == b"\x7fELF"


@test
def modes_follow_the_umask():
    source()
    old = os.umask(0o077)
    try:
        moec("compile", "tiny.moe", "-o", "a.so")
        moec("pack", "tiny.moe", "-o", "a.moew")
    finally:
        os.umask(old)
    assert os.stat("a.so").st_mode & 0o777 == 0o700
    assert os.stat("a.moew").st_mode & 0o777 == 0o600


def limited(args, which, value, env=None):
    """The status and stderr of moec under a limit; the folder must stay as it is."""
    before = listing()
    p = subprocess.run([MOEC, *args], capture_output=True, text=True, timeout=100 * SLACK,
                       stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                       preexec_fn=which and (lambda: resource.setrlimit(which, (value, value))))
    assert "internal error" not in p.stderr, p.stderr
    assert p.returncode == 0 or listing() == before, set(listing()) - set(before)
    return p.returncode, p.stderr


@test
def files_that_may_not_grow():
    if "TSAN_OPTIONS" in os.environ:
        raise Skip("TSan begins with a file of its own")
    source()
    np.save("x", np.zeros((4000, 4), np.float32))
    for args in (("compile", "tiny.moe", "-o", "a.so"), ("pack", "tiny.moe", "-o", "a.moew"),
                 ("compile", "tiny.moe", "--emit=llvm", "-o", "a.ll"),
                 ("run", "tiny.moe", "--reference", "--input", "x.npy", "--output", "y.npy")):
        status, said = limited(args, resource.RLIMIT_FSIZE, 4096)
        assert status == 1 and ": error: " in said and "File too large" in said, (args, said)


@test
def calls_larger_than_any_memory():
    write("wide.moe", "layer wide {\n  input  x: f32[T, 262144]\n  output silu(x)\n}\n")
    said = refused(["run", "wide.moe", "--tokens", "2147483647"])
    assert said.startswith("wide.moe: error: 2147483647 tokens need 13510798"), said


@test
def an_input_is_given_once():
    source()
    np.save("x", np.ones((5, 4), np.float32))
    for second in ("x=x.npy", "x.npy"):
        refused(["run", "tiny.moe", "--input", "x.npy", "--input", second],
                "x.npy: error: `x` was given already\n")


@test
def a_number_that_is_none_is_said_once():
    for number in ("99999999999999999999", "0x10", "1e999"):
        write("wrong.moe", LAYER.replace("relu_ffn(3)", f"relu_ffn({number})"))
        said = refused(["run", "wrong.moe"])
        assert said.count(": error: ") == 1 and "wrong.moe:3:" in said, said


@test
def memory_that_is_not_given():
    source()
    which, env = resource.RLIMIT_AS, {}
    for name in {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ):
        which = None                    # they reserve terabytes, and have a limit
        env[name] = os.environ[name] + ":log_path=stderr"
        if name != "UBSAN_OPTIONS":
            env[name] += ":allocator_may_return_null=1:max_allocation_size_mb=1024"
    for tokens in ("2147483647", "100000000"):
        status, said = limited(("run", "tiny.moe", "--reference", "--tokens", tokens),
                               which, 1 << 30, env)
        assert status == 1 and "memory" in said, said


@test
def no_compiler_driver():
    source()
    for args in (("compile", "tiny.moe"), ("run", "tiny.moe")):     # packing needs none
        status, said = limited(args, None, None, {"PATH": "/nonexistent"})
        assert status == 1 and "linking needs the C compiler driver `cc`" in said, said
    moec("compile", "tiny.moe", "--emit=obj", "-o", "a.o")


@test
def no_place_for_temporary_files():
    source()
    status, said = limited(("run", "tiny.moe"), None, None, {"TMPDIR": "/nonexistent"})
    assert status == 1 and said.startswith("/nonexistent/moec.") and "cannot create" in said


def read(path):
    with open(path, "rb") as f:
        return f.read()


@test
def signals_leave_nothing():
    big = LAYER.replace("4]", "512]").replace("2 of relu_ffn(3)", "64 of swiglu(1024)")
    write("tiny.moe", big)
    os.mkdir("tmp")
    before = listing()
    for args in (("compile", "tiny.moe", "-o", "a.so"), ("pack", "tiny.moe", "-o", "a.moew"),
                 ("run", "tiny.moe", "--output", "y.npy")):
        moec(*args)
        whole = read(args[-1])
        os.remove(args[-1])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for delay in (0.02, 0.1, 0.25, 0.5):
                p = subprocess.Popen([MOEC, *args], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     env={**os.environ, "TMPDIR": "tmp"})
                time.sleep(delay)
                p.send_signal(number)
                status = p.wait(30)
                if os.path.exists(args[-1]):    # it was faster: then all of it is there
                    assert read(args[-1]) == whole, (args, number, delay)
                    os.remove(args[-1])
                    assert status in (0, -number), (args, number, delay, status)
                    continue
                assert status == -number, (args, number, delay, status)
                assert listing() == before, (args, delay, set(listing()) - set(before))
                assert os.listdir("tmp") == [], (args, delay, os.listdir("tmp"))


@test
def numbers_that_are_none():
    source()
    for value in (np.nan, np.inf, -np.inf, 3e38, 1e-45):
        x = np.ones((5, 4), np.float32)
        x[2, 1] = value
        np.save("x", x)
        moec("run", "tiny.moe", "--input", "x.npy", "--output", "y.npy")
        got = np.load("y.npy")
        np.save("x", np.ones((5, 4), np.float32))
        moec("run", "tiny.moe", "--input", "x.npy", "--output", "y.npy")
        others = [0, 1, 3, 4]           # it stays in its token
        assert np.array_equal(got[others], np.load("y.npy")[others]), value


main()
