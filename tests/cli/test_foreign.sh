#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kernels of machines that this one is not, under qemu-user, against the interpreter: the programs
# of tests/gen/cases and random ones, each for every such target.
cd "$(dirname "$0")/../.." || exit 1
moec=${1:-build/moec}
targets=$("$moec" targets | awk '/under qemu/ { printf "%s%s", sep, $1; sep = "," }')
if [ -z "$targets" ]; then
	echo "skipped: no foreign compiler, or no qemu-user"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
keep=$(mktemp -d)
"$(dirname "$moec")"/tests/gen/moe_gen tests/gen/cases/*.moe --target "$targets" \
	--count "${MOE_GEN_FOREIGN:-25}" --seed "${MOE_GEN_SEED:-1}" --jobs "$(nproc)" --keep "$keep"
status=$?
rmdir --ignore-fail-on-non-empty "$keep"
exit $status
