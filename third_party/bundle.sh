#!/bin/sh
# Copies the headers of the libraries that Decant uses from where install.sh put them into one
# folder, third_party/bundled (not part of the repository), so that a copy of this tree builds on a
# machine without them and without a network:
#   third_party/bundle.sh                                 # here
#   cmake --preset cuda -DDECANT_BUNDLED=third_party/bundled     # there
# A folder given as argument is used instead. DECANT_HEADERS names other places to look, before
# /usr/local/include and /usr/include, separated by colons.
set -eu
cd "$(dirname "$0")"
target=${1:-bundled}

# find_header FILE: the include folder that has it.
find_header() {
  places=$(printf '%s' "${DECANT_HEADERS:-}:/usr/local/include:/usr/include" | tr ':' '\n')
  for place in $places; do
    if [ -f "$place/$1" ]; then printf '%s\n' "$place"; return 0; fi
  done
  echo "bundle.sh: expected $1 in one of $(echo "$places" | tr '\n' ' ')(third_party/install.sh installs it)" >&2
  return 2
}

# Next to the target, and renamed when whole.
fresh=$target.part
rm -rf "$fresh"
mkdir -p "$fresh/doctest" "$fresh/stb"
from=$(find_header nlohmann/json.hpp); cp -RL "$from/nlohmann" "$fresh/nlohmann"
from=$(find_header CLI/CLI.hpp);       cp -RL "$from/CLI" "$fresh/CLI"
from=$(find_header doctest/doctest.h); cp -L "$from/doctest/doctest.h" "$fresh/doctest/"
from=$(find_header stb/stb_image.h)
cp -L "$from/stb/stb_image.h" "$from/stb/stb_image_write.h" "$fresh/stb/"
rm -rf "$target"
mv "$fresh" "$target"
echo "$(pwd)/$target: $(find "$target" -type f | wc -l) headers"
