#!/bin/sh
# Builds and runs the unit tests with AddressSanitizer and UndefinedBehaviorSanitizer (tensors
# poisoned and guarded by red zones as well), and what runs on several threads with ThreadSanitizer.
# The build has the emulated CUDA device, so that its kernels are under the same eyes. The program,
# parity and long trainings are left to the other builds: under a sanitizer they take many times as
# long and walk the same code (by hand: cmake --build --preset emulated-asan --target test_apps).
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)

cmake --preset emulated-asan -DDECANT_WERROR=ON >/dev/null
cmake --build --preset emulated-asan -j "$jobs" \
  --target test_engine test_nn test_data test_kd test_cuda
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# One per core, each shown when it is done: the emulated device runs on one thread. The tables of all
# networks' names and sums walk the same code 43 times: without.
printf '%s\n' engine nn data kd | xargs -P "$jobs" -I ROOM sh -c '
  log=build/emulated-asan/ROOM.log
  build/emulated-asan/bin/test_ROOM --test-case-exclude="*state dict are*,summary: parameters*" >$log 2>&1; code=$?
  cat $log; exit $code'
ctest --preset emulated-asan -j "$jobs" --no-tests=error -R '^cuda'  # with the planted bugs that must end a program

# Without precompiled headers, so that a source which forgets to include what it uses is found.
cmake --preset tsan -DDECANT_WERROR=ON -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
cmake --build --preset tsan -j "$jobs" --target test_data test_engine
export TSAN_OPTIONS=halt_on_error=1
build/tsan/bin/test_data --test-case='*threads*,*loader*'
build/tsan/bin/test_engine --test-case='*thread*,*parallel*,*allocator*'
