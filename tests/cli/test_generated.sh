#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiled code against the interpreter: the layers of tests/layers, the programs of
# tests/gen/cases, each of which once found a bug, and 100 random ones in 4 configurations
# each.  A failure prints its program, a smaller one, and how to run it alone.
cd "$(dirname "$0")/../.." || exit 1
keep=$(mktemp -d)
"$(dirname "${1:-build/moec}")"/tests/gen/moe_gen tests/layers/*.moe tests/gen/cases/*.moe \
	--count "${MOE_GEN_COUNT:-100}" --seed "${MOE_GEN_SEED:-1}" \
	--configs "${MOE_GEN_CONFIGS:-4}" --jobs "$(nproc)" --keep "$keep"
status=$?
rmdir --ignore-fail-on-non-empty "$keep"
exit $status
