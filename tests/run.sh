#!/bin/sh
# Installs what is needed, builds the release and runs all tests. On a bare Debian 12:
#   tests/run.sh            everything but the linter
#   tests/run.sh --quick    the release build, the op table and the unit tests: no parity, no CUDA
#   tests/run.sh --lint     everything, clang-tidy over all sources as well: 10 minutes more on 2 cores
# Images and parity values beside the checkout (../shared) are used where they are; every test that
# needs them says so where they are not.
set -eu
cd "$(dirname "$0")/.."

quick=
lint=
for argument in "$@"; do
  case $argument in
    --quick) quick=yes ;;
    --lint) lint=yes ;;
    *) echo "run.sh: expected --quick, --lint or nothing, got $argument" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - start))"; }
start=$(date +%s)
jobs=$(nproc)

step "install"
third_party/install.sh --check

step "style: clang-format"
git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' '*.inc' | xargs clang-format-19 --dry-run -Werror

step "release build"
cmake --preset release -DDECANT_WERROR=ON >/dev/null
cmake --build --preset release -j "$jobs"

if [ -n "$lint" ]; then
  step "lint: clang-tidy"
  tests/lint.sh
fi

if [ -z "$quick" ]; then
  step "CUDA: the emulated device, nvcc"
  tests/cuda.sh

  step "AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer"
  tests/checked.sh
fi

step "tests"
ctest --preset release -j "$jobs" ${quick:+-LE parity}
