# SPDX-License-Identifier: Apache-2.0
# cpu: what this machine's CPU is and can do.


def _info(key):
    """Of the first CPU; "" where the kernel does not say."""
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "")


def flags():
    return _info("flags").split()


def model():
    return _info("model name")
