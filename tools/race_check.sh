#!/bin/bash
# Looks for races in kernels: builds the emulator's tests with clang and ThreadSanitizer, where every CUDA thread is a
# thread to the sanitizer, and runs them. Planted races must be reported, and nothing else may be.
#
#   tools/race_check.sh [BUILD]    BUILD: the folder to build in, build-races by default
#
# Needs clang and its runtime libraries: tools/install_packages.sh --with race. Exits with 77 where they are missing.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1:-build-races}
passed=0 failed=0 skipped=0

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] || exit 1
  [ "$passed" -gt 0 ] || exit 77
  exit 0
}

skip() {
  echo "race_check: skipped: $1; tools/install_packages.sh --with race installs it" >&2
  skipped=1
  finish
}

note() {
  if [ "$1" = pass ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  echo "$1: $2"
}

# A report where none belongs, or an error, is shown: it names the kernel's lines.
expect_clean() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then note pass "$name"; else
    echo "$output" | head -60
    note FAIL "$name"
  fi
}

expect_race() {
  local name=$1 output
  shift
  output=$("$@" 2>&1)
  if grep -q 'WARNING: ThreadSanitizer: data race' <<<"$output"; then note pass "$name"; else
    echo "$output" | head -60
    note FAIL "$name: no race was reported"
  fi
}

command -v clang++ >/dev/null || skip 'there is no clang++'
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'int main() {}' >"$probe/probe.cpp"
if ! clang++ -fsanitize=thread "$probe/probe.cpp" -o "$probe/probe" 2>/dev/null || ! "$probe/probe"; then
  skip 'a program built with clang++ -fsanitize=thread does not link or run (the library of its runtime is missing)'
fi

if [ ! -f "$build/build.ninja" ]; then
  CXX=${RACE_CXX:-clang++} meson setup "$build" -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized \
    -Dnative=false >"$probe/setup.log" 2>&1 || { cat "$probe/setup.log"; note FAIL 'configuring'; finish; }
fi
ninja -C "$build" tests/races tests/emulator_tests >"$probe/build.log" 2>&1 || {
  tail -40 "$probe/build.log"
  note FAIL 'building'
  finish
}

# An early end, for one report is enough, and no search for the names of functions that are not shown.
export TSAN_OPTIONS='halt_on_error=1 exitcode=66'
while IFS= read -r name; do
  case $name in
    race*) expect_race "$name" "$build/tests/races" "$name" ;;
    *) expect_clean "$name" "$build/tests/races" "$name" ;;
  esac
done < <("$build/tests/races")

# Test programs whose kernels must have no race, one a line: the kernels of ops belong here.
expect_clean 'the emulator tests whose kernels are right' "$build/tests/emulator_tests" \
  --test-case-exclude='*race*,*missing*'

[ "$passed" -gt 0 ] || note FAIL 'no case ran'
finish
