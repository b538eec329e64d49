# SPDX-License-Identifier: Apache-2.0
# Same in, same out: libraries, objects, IR, headers and packed weights are the same bytes
# wherever, by whomever, how often and with how many threads they are made; nothing of the
# place, the time or the environment stands in them.
import os
import shutil
import subprocess
import time

from cli import MOEC, ROOT, SANITIZED, Skip, fixture, main, test

SOURCE = os.path.join(ROOT, "tests/layers/sequences.moe")
STACK = os.path.join(ROOT, "tests/layers/hybrid.moe")
MADE = {                                # the file: how it is made
    "lib.so": ("compile", "a.moe", "-o", "lib.so"),
    "stack.so": ("compile", "stack.moe", "--layer", "stack", "-o", "stack.so"),
    "out.o": ("compile", "a.moe", "--emit=obj", "-o", "out.o"),
    "out.s": ("compile", "a.moe", "--emit=asm", "-o", "out.s"),
    "out.ll": ("compile", "a.moe", "--emit=llvm", "-o", "out.ll"),
    "out.mir": ("compile", "a.moe", "--emit=ir", "-o", "out.mir"),
    "out.h": ("compile", "a.moe", "--emit=header", "-o", "out.h"),
    "w.moew": ("pack", "a.moe", "-o", "w.moew"),
    "y.npy": ("run", "a.moe", "--tokens", "29", "--output", "y.npy"),
    "again.mir": ("opt", "out.mir", "--passes=", "-o", "again.mir"),
}


def make(folder, env=None, before=(), **how):
    """Everything made in a folder; the bytes by name, and what was printed."""
    os.makedirs(folder, exist_ok=True)
    shutil.copy(SOURCE, os.path.join(folder, "a.moe"))
    shutil.copy(STACK, os.path.join(folder, "stack.moe"))
    made, said = {}, ""
    for name, args in MADE.items():
        p = subprocess.run([*before, MOEC, *args], cwd=folder, env=env, capture_output=True,
                           text=True, timeout=100, stdin=subprocess.DEVNULL, **how)
        assert p.returncode == 0, (args, p.stderr)
        said += p.stderr
        with open(os.path.join(folder, name), "rb") as f:
            made[name] = f.read()
    return made, said


FIRST = []


def reference():
    """What they are compared with, made once."""
    if not FIRST:
        made, said = make("here")
        assert said == "", said
        FIRST.append(made)
    return FIRST[0]


def same(a, b, what):
    for name in MADE:
        assert a[name] == b[name], f"{name} differs: {what}"


@test
def again_and_later():
    made = reference()
    time.sleep(1.1)                     # timestamps count seconds
    same(made, make("here")[0], "made again")


@test
def in_another_folder():
    deep = os.path.join("another", "deeper" * 20, "with a space")
    same(reference(), make(deep)[0], "another folder")


@test
def with_another_environment():
    made = reference()
    os.mkdir("tmp")
    turkish = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati",
               "TMPDIR": os.path.abspath("tmp"), "HOME": "/nonexistent", "USER": "somebody"}
    german = {"LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8", "SOURCE_DATE_EPOCH": "1",
              "OMP_NUM_THREADS": "1", "COLUMNS": "20", "CC": "false", "CFLAGS": "-g"}
    for env in (turkish, german):
        same(made, make("here", env={**os.environ, **env})[0], env)
    bare = {"PATH": os.environ["PATH"]}
    same(made, make("here", env=bare)[0], "an empty environment")


@test
def by_another_user():
    made = reference()
    os.mkdir("theirs")
    os.chmod(".", 0o755)
    try:
        os.chown("theirs", 65534, 65534)
    except PermissionError:
        raise Skip("another user needs root")
    if subprocess.run([MOEC, "--version"], user=65534, capture_output=True).returncode != 0:
        raise Skip("moec lies where others cannot run it")
    same(made, make("theirs", user=65534, group=65534, extra_groups=[])[0], "another user")


@test
def on_one_processor_and_without_random_addresses():
    made = reference()
    same(made, make("here", before=("taskset", "-c", "0"))[0], "one processor")
    same(made, make("here", before=("setarch", "-R"))[0], "the same addresses")


@test
def with_any_number_of_threads():
    outputs = {reference()["y.npy"]}
    os.mkdir("here")
    shutil.copy(SOURCE, "here/a.moe")
    for threads in (1, 2, 3, 7, 16):
        p = subprocess.run([MOEC, "run", "a.moe", "--tokens", "29", "--threads", str(threads),
                            "--output", "y.npy"], cwd="here", capture_output=True, timeout=100)
        assert p.returncode == 0, p
        with open("here/y.npy", "rb") as f:
            outputs.add(f.read())
    assert len(outputs) == 1, f"{len(outputs)} different results"


@test
def under_another_umask():
    made = reference()
    old = os.umask(0o077)
    try:
        same(made, make("private")[0], "another umask")
    finally:
        os.umask(old)


@test
def nothing_of_the_place_stands_in_them():
    secret = "moecsecretplace"
    env = {**os.environ, "SECRET": "moecsecretvalue", "USER": "moecsecretuser",
           "HOSTNAME": "moecsecrethost"}
    texts = [secret, "moecsecret", os.getcwd()]
    if not SANITIZED:
        texts += [ROOT, "/tmp/"]        # an instrumented runtime names its source
    for name, data in make(secret, env=env)[0].items():
        for text in texts:
            assert text.encode() not in data, f"{name} holds {text!r}"


@test
def a_models_library_and_import():
    model = fixture("mixtral")
    made = []
    for folder in ("one", "two"):
        os.makedirs(folder)
        os.symlink(model, os.path.join(folder, "model"))
        files = []
        for args in (("import", "model", "-o", "l.moe"), ("compile", "model", "-o", "l.so"),
                     ("pack", "model", "-o", "l.moew")):
            p = subprocess.run([MOEC, *args], cwd=folder, capture_output=True, timeout=100)
            assert p.returncode == 0, p
            with open(os.path.join(folder, args[-1]), "rb") as f:
                files.append(f.read())
        made.append(files)
    assert made[0] == made[1]


main()
