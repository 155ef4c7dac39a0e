#!/bin/bash
# Brings back real faults of the past, one at a time, and wants the test that each names to fail: a suite that has
# stopped seeing one of them is found here. The last line says `N passed, N failed, N skipped`.
#
#   tools/known_bugs.sh                     all of tests/known_bugs/
#   tools/known_bugs.sh NAME...             these, by the names of their patches
#   tools/known_bugs.sh --build-dir DIR     where the patched copy is kept and built; default build-known-bugs/
#
# A patch begins with the fault in a sentence and a line `Test: COMMAND`, to be run in the copy's build folder. Every
# test must pass without its patch. JOBS limits the compilers that run side by side.
set -u

build='build-known-bugs'
while [ $# -gt 0 ]; do
  case $1 in
    --build-dir)
      build=${2:?known_bugs: --build-dir takes a folder}
      shift 2
      ;;
    -h | --help)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*)
      echo "known_bugs: '$1' is not understood; see $0 --help" >&2
      exit 2
      ;;
    *) break ;;
  esac
done
mkdir -p "$build" || exit 2
build=$(cd "$build" && pwd)
cd "$(dirname "$0")/.." || exit 2
copy=$build/source
patches=("$@")
if [ $# -eq 0 ]; then mapfile -t patches < <(basename -s .patch tests/known_bugs/*.patch); fi
# What tools/check.sh has compiled is found in the cache.
export CCACHE_BASEDIR=$copy CCACHE_NOHASHDIR=1
passed=0 failed=0 sound=() applied=''

# The copy is left as it was, even after Ctrl-C.
undo() {
  [ -z "$applied" ] || patch -s -p1 -R --no-backup-if-mismatch -d "$copy" <"$applied"
  applied=
}
trap undo EXIT

# Only files that changed are copied, for the sake of the next build.
copy_sources() {
  mkdir -p "$copy"
  git ls-files -z | xargs -0 cp --parents --preserve --update -t "$copy"
  comm -23 <(cd "$copy" && find . -path ./build -prune -o -type f -printf '%P\n' | LC_ALL=C sort) \
    <(git ls-files | LC_ALL=C sort) | (cd "$copy" && xargs -r -d '\n' rm)  # what is no source any more
}

note() {
  if [ "$1" = pass ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  echo "$1: $2"
}

compile() {
  local target=tests/unit
  case $1 in
    *tools/weir/weir*) target=tools/weir/weir ;;
    tests/*) target=${1%% *} ;;
  esac
  ninja -C "$copy/build" ${JOBS:+-j "$JOBS"} "$target" >"$build/log" 2>&1
}

# The braces keep bash from telling of a crash.
run_test() { { (cd "$copy/build" && timeout 300 bash -c "$1; exit \$?") >"$build/log" 2>&1; } 2>/dev/null; }

test_of() { sed -n 's/^Test: //p' "tests/known_bugs/$1.patch"; }

# A test that fails without its patch, or looks at nothing, shows nothing.
try_without() {
  local name=$1 test
  test=$(test_of "$name")
  if [ -z "$test" ]; then
    note FAIL "$name: it names no test"
  elif compile "$test" && run_test "$test" && ! grep -q 'test cases: *0 ' "$build/log"; then
    sound+=("$name")
  else
    tail -n 20 "$build/log"
    note FAIL "$name: its test fails without it"
  fi
}

# Nor does a patch that does not compile, or does not apply any more.
try_with() {
  local name=$1 patch=tests/known_bugs/$1.patch test
  test=$(test_of "$name")
  if ! patch -s -p1 --dry-run -d "$copy" <"$patch"; then
    note FAIL "$name: the patch does not apply any more"
    return
  fi
  applied=$patch
  patch -s -p1 --no-backup-if-mismatch -d "$copy" <"$patch"
  if ! compile "$test"; then
    tail -n 20 "$build/log"
    note FAIL "$name: it does not compile"
  elif run_test "$test"; then
    note FAIL "$name: nothing noticed it: $test"
  else
    note pass "$name: $(head -n 1 "$patch")"
  fi
  undo
}

copy_sources || exit 2
again=()
[ ! -f "$copy/build/build.ninja" ] || again=(--reconfigure)  # for a source may have been added since
meson setup "$copy/build" "$copy" "${again[@]}" -Dwerror=true -Dbuildtype=release -Dtests=enabled \
  -Dcuda=emulated -Donednn=enabled >"$build/log" 2>&1 || { cat "$build/log" && exit 2; }
# In this order, for it takes half as many builds.
for name in "${patches[@]}"; do try_without "$name"; done
for name in "${sound[@]}"; do try_with "$name"; done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
