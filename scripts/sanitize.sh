#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds with clang's sanitizers and runs the tests with them: ASan and UBSan with its checks of
# integers and implicit conversions in build/asan, TSan in build/tsan.  Any report, also of a
# process that a test starts, fails its test.
#
#     scripts/sanitize.sh [asan|tsan ..] [TEST ..]
#
# The runtime inside compiled layers is instrumented, too: it is there that threads meet.  So the
# programs of tests that load such layers must bring a sanitizer with them, and do: `cc` and
# `gcc` are clang with the same sanitizers here, for them and for moec.  Kernels are machine code
# of moec's own; what they read and write is tested between guard pages (tests/gen/guard).
#
# Unsigned numbers wrap only where the code says so (WRAPS); programs of users may let them.
set -u
cd "$(dirname "$0")/.." || exit 1

declare -A sanitizers=(
	[asan]=address,undefined,float-cast-overflow,integer,implicit-conversion,local-bounds,nullability
	[tsan]=thread
)
declare -A left_out=(
	[test_fuzz]="builds with sanitizers itself"
	[test_faults]="its library takes the place of malloc and open, as sanitizers do"
	[test_includes]="runs no program of ours"
)
# Tests grant so many times the time and memory; programs of moe_gen are fewer.
export MOEC_TEST_SLACK=8 MOE_GEN_COUNT=${MOE_GEN_COUNT:-30} MOE_GEN_FOREIGN=${MOE_GEN_FOREIGN:-4}

compilers() {                           # folder, flags: cc and gcc are clang in there
	local name
	mkdir -p "$1"
	for name in cc gcc; do
		printf '#!/bin/sh\nexec clang-19 %s "$@"\n' "$2" >"$1/$name"
		chmod +x "$1/$name"
	done
}

tests() {                               # all names but those left out
	local file name
	for file in tests/unit/test_*.c tests/cli/test_*.py tests/cli/test_*.sh; do
		name=$(basename "${file%.*}")
		[ "${left_out[$name]:-}" ] || echo "$name"
	done
}

one_kind() (                            # asan or tsan, names
	kind=$1 build=$PWD/build/$1 options=log_path=$PWD/build/$1/reports/r:exitcode=99
	shift
	flags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
	flags="$flags -fsanitize=${sanitizers[$kind]}"
	rm -rf "$build/reports"
	mkdir -p "$build/reports"
	BUILD=$build CC=clang-19 CFLAGS=$flags CMAKE_BUILD_TYPE=None scripts/build.sh || exit 1
	compilers "$build/cc" "$flags -fno-sanitize=unsigned-integer-overflow,unsigned-shift-base"
	if [ "$kind" = asan ]; then
		export ASAN_OPTIONS=$options:strict_string_checks=1:quarantine_size_mb=16
		export UBSAN_OPTIONS=$options:print_stacktrace=1
	else
		export TSAN_OPTIONS=$options:halt_on_error=1
	fi
	PATH=$build/cc:$PATH BUILD=$build REPORTS=$build/reports scripts/test.sh "$@"
)

kinds=()
while [ "${1:-}" ] && [ "${sanitizers[$1]:-}" ]; do
	kinds+=("$1")
	shift
done
[ ${#kinds[@]} -gt 0 ] || kinds=(asan tsan)
if [ $# = 0 ]; then
	for name in "${!left_out[@]}"; do echo "left out: $name: ${left_out[$name]}"; done
	# shellcheck disable=SC2046
	set -- $(tests)
fi
status=0
for kind in "${kinds[@]}"; do
	echo "$kind:"
	one_kind "$kind" "$@" || status=1
done
exit $status
