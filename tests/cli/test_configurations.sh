#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiled code against the interpreter in four configurations a program: the layers of
# tests/layers, the programs of tests/gen/cases, each of which once found a bug, and 50 random
# ones.
cd "$(dirname "$0")/../.." || exit 1
keep=$(mktemp -d)
"$(dirname "${1:-build/moec}")"/tests/gen/moe_gen tests/layers/*.moe tests/gen/cases/*.moe \
	--count "${MOE_GEN_COUNT:-50}" --seed 20000 --configs 4 --jobs "$(nproc)" --keep "$keep"
status=$?
rmdir --ignore-fail-on-non-empty "$keep"
exit $status
