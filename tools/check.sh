#!/bin/sh
# Builds everything with warnings as errors and runs every test. The last line says `N passed, N failed, N skipped`;
# the exit status is 0 only where something passed and nothing failed.
#
#   tools/check.sh                    in build-check/
#   tools/check.sh --sanitize         in build-sanitize/, under the address and undefined-behaviour sanitizers
#   tools/check.sh --build-dir DIR    elsewhere
#   tools/check.sh --no-install       installs no packages
#
# JOBS limits the compilers that run side by side.
set -eu

fail() {
  echo "check: $1" >&2
  exit 1
}

build=
sanitize=false
install=true
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) sanitize=true ;;
    --build-dir)
      build=${2:?check: --build-dir takes a folder}
      shift
      ;;
    --no-install) install=false ;;
    -h | --help)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) fail "'$1' is not understood; see $0 --help" ;;
  esac
  shift
done
cd "$(dirname "$0")/.."
if $install; then tools/install_packages.sh; fi

if $sanitize; then
  : "${build:=build-sanitize}"
  # Instrumented code draws false warnings from GCC 12; the other build has judged them already. For the
  # sake of the compiling time: lines without variables, little optimisation, and no checks of null pointers and of the
  # sizes of objects, for most such accesses fault or meet the address sanitizer.
  set -- -Dwerror=false -Doptimization=1 -Ddebug=false -Db_ndebug=false -Db_sanitize=address,undefined \
    '-Dcpp_args=-g1 -fno-sanitize=null,object-size'
  patience=5
else
  : "${build:=build-check}"
  set -- -Dwerror=true -Dbuildtype=release
  patience=1
fi
# An existing folder is configured again, for a source may have been added since.
if [ -f "$build/build.ninja" ]; then set -- "$@" --reconfigure; fi
# The kernels for GPUs are compiled for this processor, and every test of a device runs on it. What is tested multiplies
# as what is used does: by oneDNN.
meson setup "$build" -Dtests=enabled -Dcuda=emulated -Donednn=enabled "$@"
ninja -C "$build" ${JOBS:+-j "$JOBS"}

if $sanitize; then
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  export ASAN_OPTIONS=detect_leaks=1
  export WEIR_QUICK=1 WEIR_PATIENCE=$patience  # less of what is random, and longer waits for programs to end
  if "$build/tools/weir/weir" --version 2>&1 | grep -q 'LeakSanitizer has encountered a fatal error'; then
    echo 'check: leaks are not looked for: LeakSanitizer cannot trace processes here'
    export ASAN_OPTIONS=detect_leaks=0
  fi
fi
log=$build/meson-logs/testlog.json
rm -f "$log"
meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier "$patience" && status=0 || status=$?
[ -s "$log" ] || fail 'no test ran'
tools/test_summary.py "$log"
exit "$status"
