#!/bin/bash
# Feeds the parsers, of files and of the command line, inputs that libFuzzer makes up, under AddressSanitizer and
# UndefinedBehaviorSanitizer. A target fails where a parser crashes, leaks, throws what is no weir::Error, computes for
# over a second or has over 256 MiB of memory at once; the input is kept in BUILD/findings/TARGET. The last line says
# `N passed, N failed, N skipped`.
#
#   tools/fuzz.sh [options] [TARGET...]    the names in tests/fuzz without fuzz_; all by default
#
#   --seconds N      for each target, 60 by default
#   --runs N         inputs for each target instead, however long they take
#   --build-dir DIR  the folder to build in, build-fuzz by default
#   --coverage       instead, the share of the parsers' lines that all known inputs reach; builds in DIR-coverage
#
# Inputs found stay in BUILD/inputs/TARGET, where the next call goes on from them. JOBS (2) targets run at a time.
#
# Needs clang and its runtime libraries: tools/install_packages.sh --with fuzz. Exits with 77 where they are missing.
set -u
cd "$(dirname "$0")/.." || exit 2
seconds=60 runs=-1 build=build-fuzz coverage='' targets=()
passed=0 failed=0 skipped=0

usage() {
  echo "fuzz: $1; see the first lines of tools/fuzz.sh" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --seconds | --runs | --build-dir)
      [ $# -gt 1 ] || usage "$1 needs a value"
      [ "$1" = --build-dir ] || [[ $2 =~ ^[1-9][0-9]*$ ]] || usage "$1 takes a whole number, not '$2'"
      case $1 in
        --seconds) seconds=$2 ;;
        --runs) runs=$2 seconds=0 ;;
        *) build=$2 ;;
      esac
      shift
      ;;
    --coverage) coverage=yes ;;
    -*) usage "there is no option $1" ;;
    *)
      [ -f "tests/fuzz/fuzz_$1.cpp" ] || usage "there is no tests/fuzz/fuzz_$1.cpp"
      targets+=("$1")
      ;;
  esac
  shift
done
if [ ${#targets[@]} -eq 0 ]; then
  for source in tests/fuzz/fuzz_*.cpp; do
    source=${source#tests/fuzz/fuzz_}
    targets+=("${source%.cpp}")
  done
fi

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] || exit 1
  [ "$passed" -gt 0 ] || exit 77
  exit 0
}

skip() {
  echo "fuzz: skipped: $1; tools/install_packages.sh --with fuzz installs it" >&2
  skipped=1
  finish
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v clang++ >/dev/null || skip 'there is no clang++'
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$work/probe.cpp"
clang++ -fsanitize=fuzzer,address,undefined "$work/probe.cpp" -o "$work/probe" 2>/dev/null ||
  skip 'clang++ -fsanitize=fuzzer,address,undefined does not link (libFuzzer or the library of a sanitizer is missing)'
if [ -n "$coverage" ] && ! command -v llvm-cov >/dev/null; then skip 'there is no llvm-cov'; fi

# build FOLDER [meson's options]: the targets. Little optimisation, for compiling takes longer than a short run.
build() {
  local folder=$1 compiler=clang++ again=()
  shift
  if command -v ccache >/dev/null; then compiler='ccache clang++'; fi
  [ ! -f "$folder/build.ninja" ] || again=(--reconfigure)
  if ! LLVM_PROFILE_FILE=/dev/null CXX=${FUZZ_CXX:-$compiler} meson setup "$folder" "${again[@]}" \
    -Dbuildtype=plain -Doptimization=1 -Db_ndebug=false -Dnative=false -Dcuda=disabled -Dtests=enabled \
    -Donednn=disabled "$@" >"$work/setup.log" 2>&1; then
    cat "$work/setup.log"
    failed=1
    echo 'FAIL: configuring'
    finish
  fi
  if ! ninja -C "$folder" ${JOBS:+-j "$JOBS"} "${targets[@]/#/tests/fuzz/fuzz_}" >"$work/build.log" 2>&1; then
    # A target that Meson does not have is one whose libraries are not here.
    tail -40 "$work/build.log"
    failed=1
    echo 'FAIL: building'
    finish
  fi
}

# What targets write is synced, which a disk takes long for; and it stays, for libFuzzer ends without cleaning up.
if [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$work" "$TMPDIR"' EXIT
# Messages name lines where llvm-symbolizer is. Freed memory is kept back for a while, less of it than by default, to
# leave the limit below to the parsers.
export ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=4:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# The second of computing and the 256 MiB that a parser may take are measured in tests/fuzz/one_input.cpp. Beyond that,
# nothing may wait for ten seconds by the clock, or ask for 256 MiB at once; the process has 128 MiB more, for itself,
# its coverage, the inputs held, and what AddressSanitizer keeps: a shadow of an eighth, red zones, what was freed.
limits=(-timeout=10 -rss_limit_mb=384 -malloc_limit_mb=256 -max_len=8192 -len_control=0)
# Inputs that take long are chosen less often to make others of: up to ten times as many inputs in a time, and more new
# ones among them.
choice=(-entropic=1 -entropic_scale_per_exec_time=1)

# run TARGET: its log is WORK/TARGET.log, its exit status WORK/TARGET.status.
run() {
  local target=$1 inputs=$build/inputs/$1 findings=$build/findings/$1 words=()
  mkdir -p "$inputs" "$findings"
  [ ! -f "tests/fuzz/$target.dict" ] || words=("-dict=tests/fuzz/$target.dict")
  "$build/tests/fuzz/fuzz_$target" "${limits[@]}" "${choice[@]}" "${words[@]}" -max_total_time="$seconds" \
    -runs="$runs" -close_fd_mask=1 -print_final_stats=1 -artifact_prefix="$findings/" "$inputs" \
    "tests/fuzz/corpus/$target" >"$work/$target.log" 2>&1
  echo $? >"$work/$target.status"
}

figure() { sed -n "s/^stat::$2: *//p" "$work/$1.log"; }

judge() {
  local target=$1
  if [ "$(cat "$work/$target.status")" -eq 0 ]; then
    passed=$((passed + 1))
    echo "pass: $target: $(figure "$target" number_of_executed_units) inputs," \
      "$(figure "$target" average_exec_per_sec)/s, at most $(figure "$target" most_seconds) s and" \
      "$(figure "$target" most_mb) MiB for one, $(figure "$target" peak_rss_mb) MiB for the process"
  else
    failed=$((failed + 1))
    grep -v '^#[0-9]*\s\(NEW\|REDUCE\|pulse\|INITED\|RELOAD\)' "$work/$target.log" | head -60
    echo "FAIL: $target"
  fi
}

run_all() {
  local target
  for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n; done
    run "$target" &
  done
  wait
  for target in "${targets[@]}"; do judge "$target"; done
}

# The parsers: sources that read what others wrote, files and words. What they write, where some do, counts as well, for
# it is read back. Not among them: the writers alone, the tokenizer of bytes, the training of tokenizers.
parsers='^core/(fields|fields_lookup|fields_toml|json_reader|safetensors|stored_json)[.]cpp$'
parsers+='|^tools/weir/command_line[.]cpp$'
parsers+='|^train/(checkpoint_reader|config|config_sources|dataset|metrics_reader|run_result|token_file)[.]cpp$'
parsers+='|^train/(prepare/document|text/.*|tokenizer/(charsmap|sentencepiece_model|tokenizer_sentencepiece|json/.*))[.]cpp$'

# Lines of the parsers that all inputs together reach.
measure_coverage() {
  local target objects=()
  build "$build-coverage" -Dcpp_args='-fprofile-instr-generate -fcoverage-mapping' \
    -Dcpp_link_args=-fprofile-instr-generate
  for target in "${targets[@]}"; do
    mkdir -p "$build/inputs/$target"
    LLVM_PROFILE_FILE=$work/$target.profraw "$build-coverage/tests/fuzz/fuzz_$target" -runs=0 -close_fd_mask=1 \
      -print_final_stats=1 -artifact_prefix="$work/" "$build/inputs/$target" "tests/fuzz/corpus/$target" \
      >"$work/$target.log" 2>&1
    echo $? >"$work/$target.status"
    judge "$target"
    objects+=(-object "$build-coverage/tests/fuzz/fuzz_$target")
  done
  llvm-profdata merge -o "$work/all.profdata" "$work"/*.profraw
  llvm-cov export -format=lcov "${objects[@]}" -instr-profile="$work/all.profdata" >"$work/lines" 2>"$work/lines.log"
  # SF:BUILD/../NAME begins a source, DA:NUMBER,COUNT is one of its lines.
  awk -v parsers="$parsers" -F '[:,]' '
    $1 == "SF" { name = $2; sub(".*/[.][.]/", "", name); wanted = name ~ parsers }
    $1 == "DA" && wanted { all[name]++; total++; if ($3 > 0) { reached[name]++; sum++ } }
    END {
      for (name in all)
        printf "%6.2f %% of %4d lines  %s\n", 100 * reached[name] / all[name], all[name], name | "sort -k 6"
      close("sort -k 6")
      printf "%6.2f %% of %4d lines\n", 100 * sum / total, total
    }' "$work/lines"
}

if [ -n "$coverage" ]; then
  measure_coverage
else
  build "$build"
  run_all
fi
finish
