#!/bin/sh
# Installs what Decant needs on Debian 12 or newer, from Debian's own packages. Idempotent; runs as
# root or through sudo. --check adds the formatter and linter that CI uses.
set -eu

packages="g++ cmake ninja-build ca-certificates doctest-dev nlohmann-json3-dev libstb-dev libcli11-dev"
for argument in "$@"; do
  case $argument in
    --check) packages="$packages clang-format-19 clang-tidy-19" ;;
    *) echo "install.sh: expected --check or nothing, got $argument" >&2; exit 2 ;;
  esac
done

missing=
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing="$missing $package"
done
if [ -z "$missing" ]; then exit 0; fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install.sh: needs root or sudo to install:$missing" >&2; exit 2; }
  as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
