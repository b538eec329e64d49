# SPDX-License-Identifier: Apache-2.0
# policies: what each policy of std.moe costs, as bench/policies tells it: every one is compiled,
# and a cascade's full router does not run where the cheap one is sure of all tokens.
import os
import re
import subprocess

from cli import MOEC, ROOT, main, moec, test


def table(*names):
    p = subprocess.run([os.path.join(ROOT, "bench", "policies"), "--tokens", "7", "--width", "64",
                        "--hidden", "16", "--tries", "1", *names], text=True,
                       env={**os.environ, "BUILD": os.path.dirname(MOEC)}, capture_output=True,
                       timeout=600)
    assert p.returncode == 0, p.stderr
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in p.stdout.splitlines()[2:]]
    return {row[0]: row for row in rows}


@test
def every_policy_is_compiled():
    rows = table()
    known = set(re.findall(r"^policy (\w+)", moec("std"), re.M))
    assert known and known <= set(rows), known - set(rows)
    for name, ms, _, share, picks, steps in rows.values():
        assert float(ms) >= 0 and 0 < float(share.split()[0]) < 100 and int(picks) > 0, name
        assert steps, name


@test
def sure_tokens_skip_the_full_router():
    rows = table("cascade_all_sure", "cascade_none_sure")
    assert "router" not in rows["cascade_all_sure"][5], rows
    assert "router" in rows["cascade_none_sure"][5], rows


main()
