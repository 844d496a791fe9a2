#!/bin/sh
# Runs clang-tidy over all sources of the project: tests/lint.sh BUILD_FOLDER [FILE...]
# The build folder holds the compile_commands.json to read.
set -eu
cd "$(dirname "$0")/.."
build=${1:?usage: tests/lint.sh BUILD_FOLDER [FILE...]}
shift
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046  # no file name of the project holds a space
  set -- $(git ls-files '*.cpp')
fi
# libstdc++ 12 uses a deprecated function of its own in stable_sort.
printf "%s\n" "$@" | xargs -P "$(nproc)" -n 1 clang-tidy-19 -p "$build" --quiet --extra-arg=-Wno-deprecated-declarations
