#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds, then runs every test program, or those that are named.  Each closes with `N passed,
# N failed, N skipped`; the last line is the sum.  A program that does not say so, or crashes,
# counts as failed, and so does one that leaves a file in the folder REPORTS, if that is set.
# Output of programs that pass is kept in build/tests/*.log.
#
#     scripts/test.sh [NAME ..]                 (BUILD=.., see scripts/build.sh)
set -u
cd "$(dirname "$0")/.."
scripts/build.sh || exit 1

build=${BUILD:-build} only=" $* "
passed=0 failed=0 skipped=0
mkdir -p "$build/tests"

reports() {                             # those of a sanitizer, which also children leave
	[ "${REPORTS:-}" ] && find "$REPORTS" -type f
}

run() {                                 # name, command ..
	local name=$1 status=0 line log
	shift
	[ "$only" = "  " ] || [[ $only == *" $name "* ]] || return
	log=$build/tests/$name.log
	timeout 3600 "$@" >"$log" 2>&1 || status=$?
	if [ "$(reports)" ]; then
		reports | xargs cat >>"$log"
		reports | xargs rm
		status="$status, with reports"
	fi
	line=$(grep -aE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log" | tail -1)
	if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		if [ "$status" != 0 ] && [ "${BASH_REMATCH[2]}" = 0 ]; then
			failed=$((failed + 1))
			line="$line, then exit status $status"
		fi
	else
		failed=$((failed + 1))
		line="crashed: exit status $status"
	fi
	printf '%-24s %s\n' "$name" "${line#*: }"
	[ "$status" = 0 ] || cat "$log"
}

for program in "$build"/tests/unit/test_*; do
	[ -f "$program" ] && [ -x "$program" ] && run "$(basename "$program")" "$program"
done
for script in tests/cli/test_*.py; do
	[ -f "$script" ] &&
		run "$(basename "$script" .py)" /usr/bin/python3 "$script" "$build/moec"
done
for script in tests/cli/test_*.sh; do
	[ -f "$script" ] && run "$(basename "$script" .sh)" bash "$script" "$build/moec"
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
