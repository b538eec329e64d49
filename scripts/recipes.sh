#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tries CONTRIBUTING.md's recipes for real: each diff on a copy of this tree, which is built,
# and in which the commands behind the diff are run.  Takes some minutes.
#
#     scripts/recipes.sh [part of a diff's text]
set -u
cd "$(dirname "$0")/.." || exit 1

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export PATH=$copy/build:$PATH
tar c --exclude ./build --exclude ./.git . | tar x -C "$copy"

# Blocks n.diff and n.sh.
awk -v to="$copy/" '/^```diff/ { out = to (++n) ".diff"; next }
		    /^```sh/ { out = to (n) ".sh"; next }
		    /^```/ { out = ""; next }
		    out { print > out }' CONTRIBUTING.md
cd "$copy" || exit 1
cmake -G Ninja -S . -B build >/dev/null

failed=0
for recipe in *.diff; do
	grep -q -- "${1:-}" "$recipe" || continue
	name=$(sed -n 's,^+++ b/,,p' "$recipe" | head -1)
	if git apply "$recipe" && nice ninja -C build moec >build.log 2>&1 &&
	   bash -eu "${recipe%.diff}.sh" >run.log 2>&1; then
		echo "works: $name .."
	else
		failed=1
		echo "FAILED: $name .."
		tail -n 20 build.log run.log
	fi
	git apply -R "$recipe"
done
exit $failed
