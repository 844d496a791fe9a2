#!/bin/sh
# Runs clang-tidy over all sources of the project: tests/lint.sh [FILE...]
set -eu
cd "$(dirname "$0")/.."
# Another compiler's precompiled headers would be of no use to it.
cmake --preset release -B build/lint -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046  # no file name of the project holds a space
  set -- $(git ls-files '*.cpp')
fi
# libstdc++ 12 uses a deprecated function of its own in stable_sort.
printf "%s\n" "$@" | xargs -P "$(nproc)" -n 1 clang-tidy-19 -p build/lint --quiet --extra-arg=-Wno-deprecated-declarations
