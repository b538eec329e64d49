#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiled code against the interpreter: the programs of tests/gen/cases, each of which once
# found a bug, and 500 random ones.  A failure prints its program and how to run it alone.
cd "$(dirname "$0")/../.." || exit 1
exec "$(dirname "${1:-build/moec}")"/tests/gen/moe_gen tests/gen/cases/*.moe \
	--count "${MOE_GEN_COUNT:-500}" --seed "${MOE_GEN_SEED:-1}" --jobs "$(nproc)"
