#!/bin/sh
# From a bare Debian 12 to a distilled network: installs, builds, and does the main job on phantoms.
#   apps/quickstart.sh [FOLDER]      results go to FOLDER, quickstart by default
# About ten minutes on two cores. A second call continues where the first was stopped.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-quickstart}
decant=build/release/bin/decant

step() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - start))"; }
start=$(date +%s)

step "install"
third_party/install.sh

step "build"
cmake --preset release >/dev/null
cmake --build --preset release --target decant

step "phantoms"
data=$folder/phantoms
runs=$folder/runs
if [ ! -d "$data" ]; then
  rm -rf "$data.new"
  "$decant" phantom "$data.new" --count 240 --size 128 --seed 1
  mv "$data.new" "$data"
fi
"$decant" check-data "$data"

# run NAME COMMAND OPTIONS...: a training, or the rest of one.
run() {
  name=$1
  shift
  if [ -f "$runs/$name/config.json" ]; then
    "$decant" train --resume "$runs/$name"
  else
    "$decant" "$@" --data "$data" --split random:1:160:40 --size 128 --batch 8 --seed 0 --out "$runs/$name"
  fi
}

step "teacher: Unet-resnet18, 14.3 million parameters"
run teacher train --model unet/resnet18 --epochs 12

# Both students: cross-entropy as the paper has it, so that only the teacher differs.
step "student alone: a thin separable U-Net, a hundred times smaller"
run student train --model thin_unet --epochs 20 --loss ce

step "student taught by the teacher's logits"
run L_KLD distill --teacher "$runs/teacher" --model thin_unet --preset L_KLD --epochs 20

step "on the 40 images that chose nothing"
"$decant" compare "$runs/teacher" "$runs/student" "$runs/L_KLD" --data "$data" --split test

"$decant" predict "$runs/L_KLD" --input "$data" --out "$folder/masks"
step "done: overlays in $folder/masks"
