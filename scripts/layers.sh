#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whether folders include only what they may, and files are of a size that can be read.
# Prints what breaks a rule; status 1 if something does.
set -u
cd "$(dirname "$0")/.." || exit 1

broken=0

rule() {                                # what must hold; what breaks it, a line each
	[ -z "$2" ] && return
	broken=1
	printf '%s, but:\n' "$1"
	printf '  %s\n' "${2//$'\n'/$'\n'  }"
}

sources() {                             # folders
	find "$@" -type f \( -name '*.[chly]' -o -name '*.def' \) | sort
}

code=$(sources ir io frontend passes backend foreign runtime driver tests/unit examples)
tables=$(grep '\.def$' <<<"$code")
scripts=$(find scripts tests/cli tests/ops -name '*.sh' -o -name '*.py')

includes() {                            # pattern of what is included, folders
	local pattern=$1
	shift
	# shellcheck disable=SC2046
	grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+[<\"]$pattern" $(sources "$@")
}

# Its own files and system headers are always allowed.
may_include() {                         # folder, pattern of what it may of the others
	rule "$1/ includes of the other folders only ${2:-nothing}" \
		"$(includes '\.\./' "$1" | grep -vE "\"\.\./(${2:-/})")"
}

wide_lines() {                          # files; a tab goes to the next multiple of 8
	awk '{
		wide = 0
		n = split($0, part, "\t")
		for (i = 1; i <= n; i++)
			wide += length(part[i]) + (i < n ? 8 - (wide + length(part[i])) % 8 : 0)
		if (wide > 100)
			print FILENAME ":" FNR ": " wide " columns"
	}' "$@"
}

rule "only backend/ includes LLVM's headers" \
	"$(includes 'llvm' ir io frontend passes foreign runtime driver tests/unit)"
may_include ir "runtime/(philox|cpu)\.h"
may_include runtime 'ir/dtypes\.def'
may_include io 'ir/'
may_include frontend 'ir/|io/'
may_include passes 'ir/'
may_include backend 'ir/|runtime/'
may_include foreign 'ir/|backend/|runtime/|wire\.h|\.\./(ir|runtime)/'

# shellcheck disable=SC2086,SC2046
{
	rule "no file is longer than 600 lines" "$(wc -l $code $scripts |
		awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines" }')"
	rule "no line but a table's is longer than 100 columns" \
		"$(wide_lines $(comm -23 <(echo "$code") <(echo "$tables")))"
	rule "no code is switched off" \
		"$(grep -nE '^[[:space:]]*#[[:space:]]*if[[:space:]]+0' $code)"
	rule "nothing is left to do in comments" "$(grep -nwE 'TODO|FIXME|XXX|HACK' $code)"
	rule "every file names its license" \
		"$(grep -L 'SPDX-License-Identifier: Apache-2.0' $(grep '\.[chly]$' <<<"$code"))"
}
exit $broken
