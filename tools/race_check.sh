#!/bin/bash
# Looks for races in kernels: builds the emulator's tests and the kernels of all ops with clang and ThreadSanitizer,
# where a CUDA thread is a thread to the sanitizer, and runs them. Planted races must be reported, and nothing else may
# be. The last line says `N passed, N failed, N skipped`.
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
  if output=$("$@" 2>&1); then note pass "$name${output:+: $(tail -n 1 <<<"$output")}"; else
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

if [ -f "$build/build.ninja" ]; then set -- --reconfigure; else set --; fi
compiler=clang++
if command -v ccache >/dev/null; then compiler='ccache clang++'; fi
# No oneDNN: its threads are nothing to look at. Little optimisation, for compiling takes longer than running.
CXX=${RACE_CXX:-$compiler} meson setup "$build" "$@" -Db_sanitize=thread -Db_lundef=false -Dbuildtype=plain \
  -Doptimization=1 -Dcpp_args=-g1 -Db_ndebug=false -Dnative=false -Dcuda=emulated -Dtests=enabled -Donednn=disabled \
  >"$probe/setup.log" 2>&1 || { cat "$probe/setup.log"; note FAIL 'configuring'; finish; }
ninja -C "$build" ${JOBS:+-j "$JOBS"} tests/races tests/emulator_tests tests/kernel_races >"$probe/build.log" 2>&1 || {
  tail -40 "$probe/build.log"
  note FAIL 'building'
  finish
}

# An early end, for one report is enough, and no search for the names of functions that are not shown.
export TSAN_OPTIONS='halt_on_error=1 exitcode=66'
# Runs every case that the program lists. Planted races must be among them, and others: a program that lists nothing has
# shown nothing.
check_all() {
  local program=$1 name planted=0 others=0
  while IFS= read -r name; do
    case $name in
      race*)
        planted=$((planted + 1))
        expect_race "$name" "$program" "$name"
        ;;
      *)
        others=$((others + 1))
        expect_clean "$name" "$program" "$name"
        ;;
    esac
  done < <("$program")
  if [ "$planted" -eq 0 ] || [ "$others" -eq 0 ]; then
    note FAIL "$program lists $planted planted races and $others other cases; it must list some of each"
  fi
}

check_all "$build/tests/races"
expect_clean 'the emulator tests whose kernels are right' "$build/tests/emulator_tests" \
  --test-case-exclude='*race*,*missing*'
echo 'The kernels of ops, forwards and backwards, float32, tf32 and bf16, on four threads and two blocks at a time:'
check_all "$build/tests/kernel_races"

finish
