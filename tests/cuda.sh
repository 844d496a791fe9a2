#!/bin/sh
# The CUDA backend where there is no card: runs every kernel on the emulated device, also with blocks
# and threads in another order, and compiles the kernels for real where nvcc is installed.
# tests/checked.sh runs them under sanitizers, with the tests of nn and data that have a device;
# tests/gpu.sh runs them on a card.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)

cmake --preset emulated -DDECANT_WERROR=ON >/dev/null
cmake --build --preset emulated -j "$jobs" --target test_engine test_cuda test_apps_cuda gpu_bench decant
ctest --preset emulated --no-tests=error -R '^(engine|cuda.*|gpu_script)$'
DECANT_EMULATED_SEED=7 build/emulated/bin/test_cuda
build/emulated/bin/test_apps_cuda
build/emulated/bin/gpu_bench --tiny

if ! command -v nvcc >/dev/null; then
  echo "cuda.sh: no nvcc here: the kernels ran on the emulated device and were not compiled for a card"
  exit 0
fi
# The kernels as a machine with a card compiles them, for both kinds of code that are shipped, with
# what runs them alone; the sources of all else the emulated build has compiled. Type None: what runs
# on the host is not optimised, since it does not run.
GPU_ARCH='80-real;90a-real' GPU_TYPE=None GPU_TARGETS='test_cuda gpu_bench' GPU_BUILD=build/cuda GPU_RESULTS=build/cuda/results GPU_LIMIT=1800 tests/gpu.sh build
ctest --preset cuda -j "$jobs" --no-tests=error -R '^ptx_without_double:'
