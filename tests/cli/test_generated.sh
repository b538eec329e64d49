#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiled code against the interpreter: 500 random programs.  A failure prints its program, a
# smaller one, and how to run it alone.
cd "$(dirname "$0")/../.." || exit 1
keep=$(mktemp -d)
"$(dirname "${1:-build/moec}")"/tests/gen/moe_gen \
	--count "${MOE_GEN_COUNT:-500}" --seed "${MOE_GEN_SEED:-1}" --jobs "$(nproc)" --keep "$keep"
status=$?
rmdir --ignore-fail-on-non-empty "$keep"
exit $status
