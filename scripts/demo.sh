#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows moec at work in a few minutes: a published layer and a policy of one's own, compiled,
# checked against the reference interpreter, looked into, and timed.  Needs 12 GiB of memory.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh
moec=build/moec
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT

heading() {
	printf '\n=== %s\n\n' "$1"
}

show() {                                # runs a command after saying it
	printf '$ %s\n' "${*//$out/\/tmp}"
	"$@"
}

bars() {                                # the routing lines of a summary, as a histogram
	awk '/^routing/ { inside = 1; next }
	     inside && /^ *[0-9]+:/ { for (i = 2; i <= NF; i++) { n[count++] = $i + 0
	                              if ($i + 0 > most) most = $i + 0 }; next }
	     inside { exit }
	     END { for (e = 0; e < count; e++) {
	               bar = ""
	               for (i = 0; i < 50 * n[e] / most; i++) bar = bar "#"
	               printf "  expert %3d %5d  %s\n", e, n[e], bar } }' "$1"
}

kernels() {                             # of IR text, a line each: kind, rows, name, results
	awk '/^\$/ { print $0 "\n" }
	     / = kernel / { split($0, attribute, /[=,"]/)
	                    sub(/ \{$/, "")
	                    sub(/.*\} : /, "")
	                    kind = attribute[3] " over " attribute[5] ":"
	                    printf "  %2d  %-18s %-10s -> %s\n", ++n, kind, attribute[8], $0 }'
}

heading "1. Mixtral 8x7B, one layer: what is written"
cat examples/mixtral_8x7b.moe

heading "2. .. becomes a library with a C header"
show $moec compile examples/mixtral_8x7b.moe -o "$out/mixtral_8x7b.so"
show $moec compile examples/mixtral_8x7b.moe --emit=header -o "$out/mixtral_8x7b.h"
(cd "$out" && wc -c mixtral_8x7b.*)
printf '\n'
sed -n '/^typedef struct mixtral_8x7b_args/,/optional/p; / mixtral_8x7b_run(/p' \
	"$out/mixtral_8x7b.h"

heading "3. .. that computes what the reference interpreter does (2.8 GB of random weights)"
show $moec run examples/mixtral_8x7b.moe --tokens 4 --check

heading "4. A routing policy and an expert of one's own"
cat examples/my_policy.moe

heading "5. .. are compiled and checked like any other"
show $moec run examples/my_policy.moe --tokens 256 --check | tee "$out/run.txt"
printf '\n  tokens of each expert\n'
bars "$out/run.txt"

heading "6. Before fusion every operation is a kernel of its own: the first line of each"
show $moec compile examples/my_policy.moe --print-after=form-kernels -o "$out/layer.so" |
	kernels

heading "7. .. and after it there are few: the IR, with its schedule"
show $moec compile examples/my_policy.moe --print-after=fuse-experts -o "$out/layer.so"

heading "8. How fast: the roofline column is the part reached of what the machine allows"
show $moec bench examples/my_policy.moe --tokens 1,16,256
show $moec bench examples/mixtral_8x7b.moe --tokens 1,64

printf '\nNext: README.md, docs/tour.md, and %s --help.\n' $moec
