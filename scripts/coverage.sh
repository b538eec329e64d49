#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds with gcov in build/coverage, runs the tests there, and prints which lines and branches
# they took, of each folder and of each reader of files; status 1 below the goals, or if a test
# fails.  scripts/coverage.py says how is counted and what is left out of the count.
#
#     scripts/coverage.sh [FILE ..]           also what was not taken in these files or folders
#
# The tests that repeat others at length, and those to which counters make a difference, are left
# to the plain build; each is named.  The runtime counts in compiled layers as well, not on
# foreign machines.
set -u
cd "$(dirname "$0")/.." || exit 1
build=build/coverage

declare -A left_out=(
	[test_fuzz]="has a build of its own" [test_generated]="repeats"
	[test_configurations]="repeats" [test_foreign]="repeats" [test_layers]="repeats"
	[test_includes]="compiles only" [test_calls]="compares sizes of libraries"
	[test_reduce]="libraries without counters" [test_same]="compares output only"
	[test_docs]="compares output only"
	[test_native]="links without gcov" [test_tails]="links without gcov"
	[test_math]="links without gcov"
)
declare -A part=(                       # gcov takes memory, which must not fail there
	[test_faults.py]=file_calls
)

# A child that ends by _exit() has taken branches, too; libraries need gcov's own functions.
prepare() {
	mkdir -p "$build/bin" "$build/log"
	printf '#!/bin/sh\nexec /usr/bin/cc "$@" -lgcov\n' >"$build/bin/cc"
	chmod +x "$build/bin/cc"
	/usr/bin/cc -c -fPIC -x c -o "$build/end.o" - <<-'END'
		void __gcov_dump(void), __real__exit(int) __attribute__((noreturn));
		__attribute__((noreturn)) void __wrap__exit(int status);
		void __wrap__exit(int status)
		{
			__gcov_dump();
			__real__exit(status);
		}
	END
}

compile() {
	cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER=/usr/bin/cc \
		"-DCMAKE_C_FLAGS=-O0 --coverage -fprofile-update=atomic" \
		"-DCMAKE_EXE_LINKER_FLAGS=-Wl,--wrap=_exit $PWD/$build/end.o" >/dev/null &&
		ninja -C "$build" >"$build/build.log" 2>&1 && return
	sed -n '/^FAILED/,$p' "$build/build.log" >&2
	return 1
}

run() {                                 # name, command ..
	local name=$1 status=0 line
	shift
	PATH=$PWD/$build/bin:$PATH timeout 1200 "$@" >"$build/log/$name" 2>&1 || status=$?
	line=$(grep -E '[0-9]+ passed, [0-9]+ failed' "$build/log/$name" | tail -1)
	[ $status = 0 ] || line="FAILED, status $status: see $build/log/$name"
	printf '%-24s %s\n' "$name" "${line#*: }"
}

every_test() {                          # as many at a time as there are processors
	local name file
	for file in "$build"/tests/unit/test_* tests/cli/test_*; do
		[ -f "$file" ] || continue
		name=$(basename "${file%.*}")
		if [ "${left_out[$name]:-}" ]; then
			echo "$name: left out: ${left_out[$name]}"
			continue
		fi
		while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
		case $file in
		*.py) run "$name" /usr/bin/python3 "$file" "$build/moec" \
			${part[${file##*/}]:-} & ;;
		*.sh) run "$name" bash "$file" "$build/moec" & ;;
		*) run "$name" "$file" & ;;
		esac
	done
	wait
}

prepare && compile || exit 1
find "$build" -name '*.gcda' -delete
every_test | tee "$build/tests.log"
scripts/coverage.py "$build" "$@" || exit 1
! grep -q FAILED "$build/tests.log"
