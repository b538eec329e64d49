#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds with clang's sanitizers and runs the tests with them: ASan with UBSan and its checks of
# implicit conversions in build/asan, TSan in build/tsan.  Any report fails its test.
#
#     scripts/sanitize.sh [asan|tsan ..]
#
# The runtime that compiled layers carry is instrumented as well, so tests whose own programs
# load such layers (and those that measure memory and time, or preload) are left to the plain
# build; each is named.  Unsigned numbers may wrap: hashes and random numbers are made so.
set -u
cd "$(dirname "$0")/.." || exit 1
packages="clang-19 libclang-rt-19-dev"
for package in $packages; do
	dpkg-query -W "$package" >/dev/null 2>&1 || { echo "needs $package: scripts/build.sh"; exit 1; }
done

declare -A sanitizers=(
	[asan]=address,undefined,implicit-conversion,local-bounds,nullability
	[tsan]=thread
)
declare -A left_out=(                   # of both
	[test_bench]="measures time" [test_fuzz]="has a build of its own"
	[test_faults]="preloads" [test_embed]="host programs of its own"
	[test_bad_files]="measures memory" [test_bad_texts]="measures memory"
	[test_bad_use]="measures memory" [test_docs]="compares output only"
	[test_includes]="compiles only" [test_same]="compares output only"
	[test_compile]="host programs of its own" [test_generated]="limits memory"
)
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
passed=0 failed=0 skipped=0

compile() {                             # asan or tsan
	local flags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
	cmake -G Ninja -S . -B "build/$1" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER=clang-19 \
		"-DCMAKE_C_FLAGS=$flags -fsanitize=${sanitizers[$1]}" >/dev/null &&
		ninja -C "build/$1" >"build/$1/build.log" 2>&1 && return
	sed -n '/^FAILED/,$p' "build/$1/build.log" >&2
	return 1
}

run() {                                 # asan or tsan, name, command ..
	local kind=$1 name=$2 log=build/$1/$2.log status=0 line
	shift 2
	timeout 900 "$@" >"$log" 2>&1 || status=$?
	line=$(grep -E '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log" | tail -1)
	if [ $status = 0 ] && ! grep -qE 'Sanitizer|runtime error' "$log"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		line="FAILED, status $status: see $log"
		grep -hE 'SUMMARY|runtime error' "$log" | sort | uniq -c | sort -rn | head -5
	fi
	printf '%-5s %-22s %s\n' "$kind" "$name" "${line#*: }"
}

one_kind() {                            # asan or tsan
	compile "$1" || exit 1
	for program in build/"$1"/tests/unit/test_*; do
		[ -f "$program" ] && [ -x "$program" ] && run "$1" "${program##*/}" "$program"
	done
	for script in tests/cli/test_*.py tests/cli/test_generated.sh; do
		local name=${script##*/}
		name=${name%.*}
		if [ "${left_out[$name]:-}" ]; then
			skipped=$((skipped + 1))
			echo "$1  $name: left out: ${left_out[$name]}"
		else
			run "$1" "$name" /usr/bin/python3 "$script" "build/$1/moec"
		fi
	done
}

mkdir -p build
[ $# -gt 0 ] || set -- asan tsan
for kind; do one_kind "$kind"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
