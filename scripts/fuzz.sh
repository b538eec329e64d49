#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzzers of tests/fuzz in build/fuzz with clang and runs each for a while, two at
# a time.  New inputs that reach new code go to build/fuzz/corpus, findings to
# build/fuzz/findings.  Status 1 if there are findings.
#
#     scripts/fuzz.sh [SECONDS [NAME ..]]     60 seconds, all fuzzers
#     scripts/fuzz.sh --keep [NAME ..]        the smallest inputs that reach what was reached
#                                             so far become tests/fuzz/corpus/NAME
set -u
cd "$(dirname "$0")/.." || exit 1
build=${FUZZ_BUILD:-build/fuzz} moec=$(realpath "${MOEC:-build/moec}")
seconds=60 keep=
[ "${1:-}" = --keep ] && keep=1 && shift
[[ ${1:-} =~ ^[0-9]+$ ]] && seconds=$1 && shift

# Slow is what takes a second without sanitizers, large what io/README.md promises.
limits=(-timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512 -detect_leaks=1)
export ASAN_OPTIONS=quarantine_size_mb=16:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1

compile() {
	local flags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
	flags="$flags -fsanitize=fuzzer-no-link,address,undefined"
	cmake -G Ninja -S . -B "$build" -DMOEC_FUZZ=ON "-DMOEC=$moec" -DCMAKE_BUILD_TYPE=None \
		-DCMAKE_C_COMPILER=clang-19 "-DCMAKE_C_FLAGS=$flags" >/dev/null &&
		ninja -C "$build" fuzzers >"$build/build.log" 2>&1 && return
	sed -n '/^FAILED/,$p' "$build/build.log" >&2
	return 1
}

words() {                               # texts on stdin to a dictionary
	grep -oE '[A-Za-z_][A-Za-z0-9_]*|[-+*/<>=!?.&|]{2,}' | sort -u | sed 's/.*/"&"/'
}

dictionary() {                          # fuzzer: the words that its inputs are made of
	case $1 in
	moe)         cat frontend/std.moe frontend/moe.l examples/*.moe | words ;;
	mir)         { "$moec" ops; cat tests/golden/ir/*.mir; } | words ;;
	config)      cat models/*.moe | words ;;
	safetensors) { cat ir/dtypes.def; echo dtype shape data_offsets __metadata__; } | words ;;
	index)       echo weight_map metadata total_size a safetensors .. | words ;;
	npy)         echo descr fortran_order shape True False f4 i4 NUMPY | words ;;
	moew)        echo router gate up first any | words ;;
	*)           echo run | words ;;
	esac
}

longest() {                             # fuzzer
	case $1 in
	moew) echo 40000 ;;
	run)  echo 1000 ;;
	*)    echo 4096 ;;
	esac
}

run() {                                 # fuzzer; its log's last line says how it went
	local name=$1 log=$build/$1.log corpus=$build/corpus/$1 status=0
	mkdir -p "$corpus" "$build/findings" "tests/fuzz/corpus/$name"
	dictionary "$name" >"$build/$name.dict"
	"$build/tests/fuzz/fuzz_$name" "${limits[@]}" -max_len="$(longest "$name")" \
		-max_total_time="$seconds" -print_final_stats=1 ${FUZZ_SEED:+-seed=$FUZZ_SEED} \
		-dict="$build/$name.dict" -artifact_prefix="$build/findings/$name-" \
		"$corpus" "tests/fuzz/corpus/$name" >"$log" 2>&1 || status=$?
	if [ $status = 0 ]; then
		echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
	else
		tail -n 60 "$log" >&2
		echo "$name: FINDING, status $status: see $log"
	fi
}

keep_smallest() {                       # fuzzer; by the code they reach, not how often
	local name=$1 kept from=tests/fuzz/corpus/$1
	kept=$(mktemp -d)
	"$build/tests/fuzz/fuzz_$name" "${limits[@]}" -set_cover_merge=1 -use_counters=0 \
		"$kept" "$from" "$build/corpus/$name" >"$build/$name.log" 2>&1 &&
		rm -rf "$from" && mv "$kept" "$from" && chmod 755 "$from"
	echo "$name: $(find "$from" -type f | wc -l) inputs, $(du -sb "$from" | cut -f1) bytes"
}

mkdir -p "$build"
compile || exit 1
[ $# -gt 0 ] || set -- $(cd tests/fuzz && printf '%s\n' fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
if [ "$keep" ]; then
	for name; do keep_smallest "$name"; done
	exit
fi
for name; do
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
	run "$name" &
done | tee "$build/summary"
! grep -q FINDING "$build/summary"
