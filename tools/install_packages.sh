#!/bin/sh
# Installs the Debian packages that Weir needs and that are not there yet. Does nothing where nothing is missing.
#
#   tools/install_packages.sh                 what building and testing need
#   tools/install_packages.sh --build-only    what building alone needs
#   tools/install_packages.sh --with format   clang-format as well, for tools/format.sh
#   tools/install_packages.sh --with race     clang and ThreadSanitizer as well, for tools/race_check.sh
#   tools/install_packages.sh --with fuzz     clang, libFuzzer and llvm-cov as well, for tools/fuzz.sh
#   tools/install_packages.sh --with browser  Chromium as well, in which tests look at reports
set -eu

# group, package, what it is there for
packages='
build  g++                  compiles C++20 with OpenMP
build  meson                configures the build
build  ninja-build          runs the build
build  pkg-config           finds the libraries
build  libfmt-dev           formats text
build  libdnnl-dev          oneDNN: fast matrix products
build  libcli11-dev         reads command lines
build  libtomlplusplus-dev  reads configuration files
build  nlohmann-json3-dev   reads JSON
build  libxxhash-dev        checksums of checkpoints
build  libsentencepiece-dev trains and reads SentencePiece tokenizers
build  libonig-dev          regular expressions of tokenizer.json
build  libutf8proc-dev      Unicode normalisation of tokenizer.json
build  libcurl4-openssl-dev downloads data sets
build  libssl-dev           SHA-256 of data sets
build  libarchive-dev       unpacks data sets while reading them
build  zlib1g-dev           the same for gzip, checksums compared
build  xz-utils             the figure that the quick start compares with
test   python3              sums up test results
test   doctest-dev          runs the unit tests
test   sentencepiece        spm_encode, whose tokens ours are compared with
test   python3-venv         holds the Python package whose tokens ours are compared with
test   cmake                tests the installed library in a CMake project
format clang-format         formats the sources
race   clang                compiles kernels for ThreadSanitizer
race   libclang-rt-14-dev   ThreadSanitizer itself
fuzz   clang                compiles fuzz targets
fuzz   libclang-rt-14-dev   libFuzzer and the sanitizers
fuzz   llvm                 names the lines in a report, counts those that inputs reach
browser chromium            shows reports to their test
'

fail() {
  echo "install_packages: $1" >&2
  exit 1
}

groups='build test'
while [ $# -gt 0 ]; do
  case $1 in
    --build-only) groups=build ;;
    --with)
      case ${2-} in
        format | race | fuzz | browser) groups="$groups $2" ;;
        *) fail "--with takes a group: format, race, fuzz or browser" ;;
      esac
      shift
      ;;
    -h | --help)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) fail "'$1' is not understood; see $0 --help" ;;
  esac
  shift
done

# The lines of the table that belong to the groups asked for.
wanted() {
  echo "$packages" | while read -r group package reason; do
    case " $groups " in *" $group "*) [ -z "$package" ] || echo "$package $reason" ;; esac
  done
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  fail "this system has no apt-get, so its packages are yours to install; Weir needs what Debian calls:
$(wanted | sed 's/^\([^ ]*\) /  \1: /')
Then run the scripts with --no-install."
fi

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=$(wanted | while read -r package reason; do is_installed "$package" || echo "$package $reason"; done)
[ -n "$missing" ] || exit 0
echo "Packages to install:"
echo "$missing" | while read -r package reason; do printf '  %-20s %s\n' "$package" "$reason"; done

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "installing needs root and there is no sudo here; run this as root:
  apt-get update && apt-get install $(echo "$missing" | cut -d ' ' -f 1 | tr '\n' ' ')"
  as_root=sudo
fi
$as_root apt-get update -q || fail "apt-get update failed; its messages above say why (is the network there?)"
# shellcheck disable=SC2046,SC2086  # one word per package
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
  $(echo "$missing" | cut -d ' ' -f 1) || fail "apt-get install failed; its messages above say why"
