#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing with apt and builds build/moec and the test programs.
# Quick when nothing is to be done; says so only when something is.
# BUILD is the folder, `build` unless it is set; CC, CFLAGS and CMAKE_BUILD_TYPE count when that
# is new:  BUILD=build/ndebug CFLAGS=-DNDEBUG scripts/test.sh
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}

packages="gcc libc6-dev cmake ninja-build pkg-config llvm-19-dev flex bison libjansson-dev
          libcunit1-dev python3-numpy clang-19 libclang-rt-19-dev
          gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
missing=""
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
		grep -q "install ok installed" || missing="$missing $package"
done
if [ -n "$missing" ]; then
	echo "installing:$missing"
	sudo=""
	[ "$(id -u)" = 0 ] || sudo="sudo"
	$sudo apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
fi

[ -f "$build/build.ninja" ] && [ -z "$missing" ] || cmake -G Ninja -S . -B "$build" >/dev/null
log=$build/build.log
ninja -C "$build" -n | grep -q "no work to do" || echo "building $build/moec"
if ! ninja -C "$build" >"$log" 2>&1; then
	sed -n '/^FAILED/,$p' "$log" >&2
	exit 1
fi
