#!/bin/sh
# Formats every tracked C++ file in place; with --check changes nothing and fails where something would change.
# Debian's clang-format (`tools/install_packages.sh --with format`) is the one whose taste counts.
set -eu

command -v clang-format >/dev/null || {
  echo "format: there is no clang-format; tools/install_packages.sh --with format installs it" >&2
  exit 2
}
case ${1-} in
  '') set -- -i ;;
  --check) set -- --dry-run -Werror ;;
  *)
    echo "format: '$1' is not understood; usage: $0 [--check]" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
git ls-files -z -- '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format "$@"
