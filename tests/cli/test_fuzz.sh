#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every fuzzer of tests/fuzz for a minute from its corpus, two at a time: no findings.
cd "$(dirname "$0")/../.." || exit 1
moec=$(realpath "$1")
if ! command -v clang-19 >/dev/null; then
	echo "skipped: no clang-19"
	echo "0 passed, 0 failed, 1 skipped"
	exit
fi
said=$(MOEC=$moec FUZZ_SEED=${FUZZ_SEED:-1} scripts/fuzz.sh "${FUZZ_SECONDS:-60}")
echo "$said"
passed=$(grep -c ' inputs$' <<<"$said")
failed=$(grep -c ' FINDING' <<<"$said")
[ "$((passed + failed))" = "$(find tests/fuzz -name 'fuzz_*.c' | wc -l)" ] || failed=$((failed + 1))
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
