#!/bin/sh
# Installs the build folder given into a temporary prefix and uses Weir from outside: every public header alone, main.cpp
# through pkg-config and through CMake, and kinds.cpp, which adds a model and other things that register themselves. Prints a line per check and `N passed, N failed, N skipped` at the end.
# Of a build with sanitizers it leaves out the headers, which are the same.
#
#   tests/consumer/run.sh BUILD_DIR
set -eu

build=$(cd "${1:?usage: $0 BUILD_DIR}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An option that the build folder was configured with.
build_option() {
  meson introspect --buildoptions "$build" | python3 -c '
import json, sys
print(next(option["value"] for option in json.load(sys.stdin) if option["name"] == sys.argv[1]))' "$1"
}

DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet >"$work/log" 2>&1 || {
  cat "$work/log"
  exit 1
}
prefix=$work/root$(build_option prefix)
library_dir=$prefix/$(build_option libdir)
export PKG_CONFIG_PATH="$library_dir/pkgconfig"
# What links with an instrumented library has to be instrumented as well.
sanitizers=$(build_option b_sanitize)
flags='-O1 -Wall -Wextra -Werror'
[ "$sanitizers" = none ] || flags="$flags -fsanitize=$sanitizers"
compiler=${CXX:-c++}

passed=0
failed=0
check() {
  name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
    cat "$work/log"
  fi
}

# Compiles by itself, and leans on nothing but the standard library and Weir's other headers.
header_stands_alone() {
  # shellcheck disable=SC2046,SC2086  # flags are words
  $compiler -std=c++20 $flags $(pkg-config --cflags weir) -fsyntax-only -include "$1" -MD -MF "$work/uses" \
    -x c++ /dev/null || return 1
  ! grep -E '/(fmt|CLI|toml\+\+|nlohmann|oneapi|doctest)/|/(xxhash|omp)\.h' "$work/uses"
}

command_runs() {
  "$prefix/$(build_option bindir)/weir" presets
}

with_pkg_config() {
  # shellcheck disable=SC2046,SC2086
  $compiler -std=c++20 $flags "$here/main.cpp" -o "$work/consumer" $(pkg-config --cflags --libs weir) \
    -Wl,-rpath,"$library_dir" || return 1
  "$work/consumer"
}

with_own_kinds() {
  # shellcheck disable=SC2046,SC2086
  $compiler -std=c++20 $flags "$here/kinds.cpp" -o "$work/kinds" $(pkg-config --cflags --libs weir) \
    -Wl,-rpath,"$library_dir" || return 1
  "$work/kinds"
}

with_cmake() {
  CXXFLAGS=$flags cmake -G Ninja -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" || return 1
  cmake --build "$work/cmake" || return 1
  "$work/cmake/consumer"
}

(cd "$prefix/include/weir" && find . -name '*.h' | sed 's|^\./||' | sort) >"$work/headers"
[ -s "$work/headers" ] || { echo "no header was installed"; exit 1; }
[ "$sanitizers" = none ] || : >"$work/headers"
while read -r header; do
  check "$header" header_stands_alone "$header"
done <"$work/headers"
check 'the installed command runs' command_runs
check 'program found through pkg-config' with_pkg_config
sed 's/^/     /' "$work/log"
check 'program with kinds of its own' with_own_kinds
sed 's/^/     /' "$work/log"
skipped=0
if command -v cmake >/dev/null; then
  check 'program found through CMake' with_cmake
else
  skipped=1
  echo 'skip program found through CMake: there is no cmake'
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
