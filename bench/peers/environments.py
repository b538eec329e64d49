# SPDX-License-Identifier: Apache-2.0
# environments: a virtual environment for each peer's packages, made when first needed.
import glob
import os
import subprocess
import sys
import tarfile

from tables import CMAKE, ENVIRONMENTS, SOURCES


def root():
    return os.environ.get("MOEC_PEERS") or os.path.expanduser("~/.cache/moec-peers")


def python(name):
    return os.path.join(root(), name, "bin", "python")


def _stamp(name):
    return os.path.join(root(), name, "pins")


def _pins(name):
    return "\n".join([*ENVIRONMENTS[name], *SOURCES.get(name, ())]) + "\n"


def _ready(name):
    try:
        with open(_stamp(name)) as f:
            return f.read() == _pins(name)
    except FileNotFoundError:
        return False


def install(name):
    """None, or why the packages cannot be had."""
    if _ready(name):
        return None
    print(f"installing {name}: {', '.join(ENVIRONMENTS[name])}", flush=True)
    log = os.path.join(root(), name + ".log")
    os.makedirs(root(), exist_ok=True)
    with open(log, "w") as out:
        if not os.path.exists(python(name)):
            subprocess.run([sys.executable, "-m", "venv", os.path.join(root(), name)],
                           check=True, stdout=out, stderr=out)
        for pins in ENVIRONMENTS[name]:
            done = subprocess.run(
                [python(name), "-m", "pip", "install", *pins.split()],
                env=os.environ | {"CMAKE_ARGS": CMAKE}, stdout=out, stderr=out)
            if done.returncode:
                return f"pip install {pins} failed: {_last_error(log)}"
        if name in SOURCES and not _build(name, out):
            return f"building {SOURCES[name].package} failed: {_last_error(log)}"
    with open(_stamp(name), "w") as f:
        f.write(_pins(name))
    return None


def _build(name, out):
    """In NAME/build; one that was interrupted goes on where it was."""
    source, at = SOURCES[name], os.path.join(root(), name)
    unpacked, build = os.path.join(at, "source"), os.path.join(at, "build")

    def ran(*command):
        return subprocess.run(command, stdout=out, stderr=out).returncode == 0

    if not os.path.exists(unpacked):
        if not ran(python(name), "-m", "pip", "download", "--no-deps", "--no-binary", ":all:",
                   "-d", at, source.package):
            return False
        package, = glob.glob(os.path.join(at, "*.tar.gz"))
        with tarfile.open(package) as tar:      # in it all is in one folder
            top = tar.getnames()[0].split("/")[0]
            tar.extractall(at, filter="data")
        os.rename(os.path.join(at, top), unpacked)
    return (ran("cmake", "-S", os.path.join(unpacked, source.folder), "-B", build,
                *source.cmake.split())
            and ran("cmake", "--build", build, "--target", source.target, "-j",
                    str(os.cpu_count())))


def _last_error(log):
    with open(log, errors="replace") as f:
        lines = [line.strip() for line in f if "ERROR" in line or "rror:" in line]
    return lines[-1][:200] if lines else f"see {log}"
