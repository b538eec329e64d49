#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# includes: scripts/layers.sh finds nothing in this tree, and each thing it looks for.
set -u
cd "$(dirname "$0")/../.." || exit 1

passed=0 failed=0
copy=$(mktemp -d)
trap 'rm -r "$copy"' EXIT
cp -r ir io frontend passes backend foreign runtime driver tests scripts examples "$copy"

outcome() {                             # whether it is as it should be, what it was about
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $2"
	fi
}

finds() {                               # file, a line put at its end, what is said of it
	local said
	cp "$copy/$1" "$copy/kept"
	printf '%b\n' "$2" >>"$copy/$1"
	said=$("$copy/scripts/layers.sh")
	[ $? = 1 ] && grep -q "^$3" <<<"$said" && grep -q "^  $1" <<<"$said"
	outcome $? "$1 with $2 is not found: $said"
	mv "$copy/kept" "$copy/$1"
}

scripts/layers.sh
outcome $? "this tree breaks a rule"
finds passes/cse.c '#include <llvm-c/Core.h>' 'only backend/'
finds driver/run.c '#include "llvm-c/Core.h"' 'only backend/'
finds ir/arena.c '#include "../passes/pass.h"' 'ir/ includes'
finds runtime/call.c '#include "../ir/base.h"' 'runtime/ includes'
finds io/npy.c '#include "../runtime/moert.h"' 'io/ includes'
finds frontend/ast.c ' # include "../passes/pass.h"' 'frontend/ includes'
finds passes/cse.c '#include "../backend/backend.h"' 'passes/ includes'
finds backend/ew.c '#include "../driver/moec.h"' 'backend/ includes'
finds ir/arena.c "$(printf '\\n%.0s' {1..600})" 'no file is longer'
finds ir/arena.c "$(printf '\\t%.0s' {1..13})x" 'no line but'
finds ir/arena.c '#if 0\n#endif' 'no code is'
finds ir/arena.c '/* TODO: all */' 'nothing is left'
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
