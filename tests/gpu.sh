#!/bin/sh
# Everything that only a real card can show: builds with nvcc, runs the op table and the training
# tests on the card, then measures, beside PyTorch where Python has it, and prints one table.
#   tests/gpu.sh                    all stages that have not been done, then the table
#   tests/gpu.sh STAGE ...          these stages, again where they were done
#   tests/gpu.sh --list             their names
# A stage takes less than 8 minutes and leaves DONE marks and figures in gpu-results/, so that all can
# be done one by one, and what was stopped goes on: a row of figures is taken again only where it is
# older than the program. Needs nvcc, CMake, Ninja or make, Python for the table, and third-party
# headers: installed, or in third_party/bundled (third_party/bundle.sh makes it beforehand elsewhere).
# Settings, by environment:
#   GPU_RESULTS  folder of the results         (gpu-results)
#   GPU_BUILD    build folder                  (build/gpu)
#   GPU_ARCH     CMAKE_CUDA_ARCHITECTURES      (the card's own)
#   GPU_TYPE     CMAKE_BUILD_TYPE of what runs on the host (Release)
#   GPU_TARGETS  what the stage build makes   (all that the other stages run)
#   GPU_STEPS    steps that are timed together (30)
#   GPU_PYTHON   a Python with PyTorch         (python3)
#   GPU_LIMIT    seconds that a stage may take (470)
set -eu
cd "$(dirname "$0")/.."

self=$(pwd)/tests/gpu.sh
stages="build optable training sanitize kernels resnet18 resnet34 mobilenet distill infer"
results=${GPU_RESULTS:-gpu-results}
build=${GPU_BUILD:-build/gpu}
targets=${GPU_TARGETS:-decant test_cuda test_nn test_data test_apps_cuda gpu_bench}
steps=${GPU_STEPS:-30}
python=${GPU_PYTHON:-python3}
limit=${GPU_LIMIT:-470}

command -v nvcc >/dev/null || PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin  # where the toolkit lies when nobody says

# The first card that CUDA shows: both count by bus.
export CUDA_DEVICE_ORDER=PCI_BUS_ID
device=${CUDA_VISIBLE_DEVICES:-0}
card() { nvidia-smi --id="${device%%,*}" --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -1; }

stage_build() {
  arch=${GPU_ARCH:-$(card compute_cap | tr -d '.')-real}
  [ "$arch" = "90-real" ] && arch=90a-real
  [ "$arch" = "-real" ] && { echo "gpu.sh: expected a card, nvidia-smi shows none (GPU_ARCH names one)" >&2; return 2; }
  set -- -S . -B "$build" -DCMAKE_BUILD_TYPE="${GPU_TYPE:-Release}" -DDECANT_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$arch"
  [ -d third_party/bundled ] && set -- "$@" -DDECANT_BUNDLED=third_party/bundled
  command -v ninja >/dev/null && set -- "$@" -G Ninja
  cmake "$@" >"$results/configure.log" 2>&1 || { cat "$results/configure.log"; return 1; }
  # shellcheck disable=SC2086  # names without spaces
  cmake --build "$build" -j "$(nproc)" --target $targets \
    >"$results/build.log" 2>&1 || { tail -40 "$results/build.log"; return 1; }
}

# The op table's JSON has every row's error on the card beside the tolerance that was derived for it;
# it is written whatever the other tests found.
stage_optable() {
  failed=0
  "$build/bin/decant" gradcheck --json "$results/optable.json" || failed=1
  "$build/bin/test_cuda" || failed=1
  return $failed
}

stage_training() {
  "$build/bin/test_nn" --test-case='*cuda*'
  "$build/bin/test_data" --test-case='*device*'
  "$build/bin/test_apps_cuda"
}

# Tiny shapes: a sanitizer makes everything a hundred times slower, and is stopped after a while.
# What CUDA's functions return the tests themselves judge (an event that is not reached is no error).
stage_sanitize() {
  if ! command -v compute-sanitizer >/dev/null; then echo "not available" >"$results/sanitize.txt"; return 0; fi
  : >"$results/sanitize.txt"
  failed=0
  for tool in "memcheck --report-api-errors no" racecheck; do
    log="$results/${tool%% *}.log"
    code=0
    # shellcheck disable=SC2086  # a tool and its options
    timeout 220 compute-sanitizer --tool $tool --error-exitcode 9 "$build/bin/test_cuda" >"$log" 2>&1 || code=$?
    case $code in
      0) verdict="no errors" ;;
      124) verdict="no errors in 220 s, then stopped" ;;
      *) verdict="exit $code: $(tail -1 "$log")"; failed=1 ;;
    esac
    echo "${tool%% *}: $verdict" >>"$results/sanitize.txt"
  done
  return $failed
}

stage_kernels() { "$build/bin/gpu_bench" --json "$results/kernels.json"; }

has_pytorch() { "$python" -c 'import torch' 2>/dev/null; }

# row FILE words...: the figures that a program writes to FILE, unless an earlier try of the stage has.
row() {
  file=$results/$1; shift
  if [ -n "$(find "$file" -newer "$build/bin/decant" 2>/dev/null)" ]; then echo "$file: done before"; return 0; fi
  echo "$file: $*"
  "$@" --json "$file" >/dev/null || { echo "$file: exit $?"; failed=1; }
}

# measure NAME WHAT BATCHES SIZE words...: ours in every precision, eager and as a graph, then PyTorch's.
# A row that fails, for memory say, leaves the others.
measure() {
  name=$1; what=$2; batches=$3; size=$4; shift 4
  failed=0
  for batch in $batches; do
    for precision in float32 tf32 bf16; do
      row "$name-$batch-$precision.json" "$build/bin/decant" bench "$what" "$@" --size "$size" --batch "$batch" \
        --device cuda --precision "$precision" --steps $((3 * steps)) --warmup 5
    done
    if has_pytorch; then
      row "$name-$batch-pytorch.json" "$python" tests/bench/gpu_pytorch.py "$what" "$@" --size "$size" \
        --batch "$batch" --steps "$steps" --seconds $((180 / $(echo "$batches" | wc -w)))
    fi
  done
  return $failed
}

stage_resnet18() { measure resnet18 train "16 64" 256 --model unet/resnet18; }
stage_resnet34() { measure resnet34 train "16 64" 256 --model unet/resnet34; }
stage_mobilenet() { measure mobilenet train 64 224 --model linknet/mobilenet_v3_small_075; }
stage_distill() {
  measure distill distill 64 224 --model linknet/mobilenet_v3_small_075 --teacher unet/resnext101_32x8d
}
stage_infer() { measure infer infer "1 64" 224 --model linknet/mobilenet_v3_small_075; }

# run STAGE in a shell of its own, so that a limit can end it.
run() {
  echo "== $1"
  rm -f "$results/$1.done"
  begin=$(date +%s)
  if timeout "$limit" sh "$self" --inside "$1" >"$results/$1.log" 2>&1; then
    card name >"$results/card.txt"
    echo "$(($(date +%s) - begin))" >"$results/$1.done"
  else
    echo "gpu.sh: $1 failed ($?) after $(($(date +%s) - begin)) s; the end of $results/$1.log:" >&2
    tail -20 "$results/$1.log" >&2
    return 1
  fi
}

case ${1:-} in
  --list) echo "$stages"; exit 0 ;;
  --inside) "stage_$2"; exit 0 ;;
esac
for word in "$@"; do
  case " $stages table " in
    *" $word "*) ;;
    *) echo "gpu.sh: expected --list or stages of: $stages table; got $word" >&2; exit 2 ;;
  esac
done

mkdir -p "$results"
failed=
if [ $# -eq 0 ]; then
  for stage in $stages; do
    if [ -f "$results/$stage.done" ]; then echo "== $stage: done before"; continue; fi
    run "$stage" || failed="$failed $stage"
    [ "$stage" = build ] && [ -n "$failed" ] && break
  done
else
  for stage in "$@"; do [ "$stage" = table ] || run "$stage" || failed="$failed $stage"; done
fi
if command -v "$python" >/dev/null; then
  "$python" tests/bench/gpu_table.py "$results"
else
  echo "gpu.sh: no $python here to print the table of $results"
fi
[ -z "$failed" ] || { echo "gpu.sh: failed:$failed" >&2; exit 1; }
