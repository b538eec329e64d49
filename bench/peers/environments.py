# SPDX-License-Identifier: Apache-2.0
# environments: a virtual environment for each peer's packages, made when first needed.
import os
import subprocess
import sys

from tables import CMAKE, ENVIRONMENTS


def root():
    return os.environ.get("MOEC_PEERS") or os.path.expanduser("~/.cache/moec-peers")


def python(name):
    return os.path.join(root(), name, "bin", "python")


def _stamp(name):
    return os.path.join(root(), name, "pins")


def _pins(name):
    return "\n".join(ENVIRONMENTS[name]) + "\n"


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
    with open(_stamp(name), "w") as f:
        f.write(_pins(name))
    return None


def _last_error(log):
    with open(log, errors="replace") as f:
        lines = [line.strip() for line in f if "ERROR" in line or "rror:" in line]
    return lines[-1][:200] if lines else f"see {log}"
