#!/bin/bash
# Checks Weir on this machine's NVIDIA GPU, in less than nine minutes: builds with nvcc, then runs every test that uses a
# device and the authors' cases on the GPU; trains for 100 steps recorded, eager and recorded again, whose checkpoints
# must be the same bytes; measures; and runs the fused ops, forward and backward, under compute-sanitizer. A table of
# times comes at the end. What does not fit into the time, or is missing here, is skipped aloud. Without a GPU nothing is
# checked, and the exit status is 77. The last line sums up: `N passed, N failed, N skipped`.
#
#   tools/gpu_check.sh                    in build-gpu/
#   tools/gpu_check.sh --build-dir DIR    elsewhere
#   tools/gpu_check.sh --no-build         with what is built there already; needs no nvcc
#
# JOBS limits the compilers that run side by side, SECONDS_IN_ALL the time (520).
set -u
cd "$(dirname "$0")/.." || exit 1
command_line="tools/gpu_check.sh${*:+ $*}"

build='build-gpu'
make=true
while [ $# -gt 0 ]; do
  case $1 in
    --build-dir)
      build=${2:?gpu_check: --build-dir takes a folder}
      shift
      ;;
    --no-build) make=false ;;
    -h | --help)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'
      exit 0
      ;;
    *)
      echo "gpu_check: '$1' is not understood; see $0 --help" >&2
      exit 2
      ;;
  esac
  shift
done
unit=$build/tests/unit
weir=$build/tools/weir/weir

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
deadline=${SECONDS_IN_ALL:-520}
# shellcheck source=/dev/null
. tools/counted.sh
unset WEIR_OP WEIR_EXACT_MEMORY
export WEIR_DEVICE=cuda

# --- build ----------------------------------------------------------------------------------------------------------

nothing_checked() {
  echo "gpu_check: nothing was checked: $1"
  echo '0 passed, 0 failed, 1 skipped'
  exit 77
}

# What a figure in docs/results needs beside it.
print_head() {
  local changes=''
  [ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || changes=', with changes'
  echo "date     $(date -u '+%Y-%m-%d %H:%M UTC')"
  echo "machine  $(nvidia-smi --query-gpu=name,compute_cap,memory.total,driver_version --format=csv,noheader | paste -sd ';')"
  echo "nvcc     $(sed -n '2p; $!d; 1p' <<<"$toolkit")"
  echo "commit   $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$changes"
  echo "command  $command_line"
}

build_all() {
  local architecture status=0
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
  if [ "$architecture" = 90 ]; then architecture=90a; fi
  begin "build in $build for sm_$architecture"
  set -- -Dcuda=enabled -Dgpu_architectures="$architecture" -Dtests=enabled -Dwerror=true
  if [ -f "$build/build.ninja" ]; then set -- "$@" --reconfigure; fi
  limited 120 meson setup "$build" "$@" &&
    limited "$deadline" ninja -C "$build" ${JOBS:+-j "$JOBS"} tests/unit tests/reference tools/weir/weir || status=$?
  if [ "$status" -ne 0 ]; then
    if grep -E 'ERROR|error|FAILED' "$log" | head -n 40 >"$work/errors"; then cp "$work/errors" "$log"; fi
    fail_with_log 'build' "$status"
    begin
    finish
  fi
  pass
}

# --- tests ----------------------------------------------------------------------------------------------------------

# All ops in one process. Where that fails, a process for each tells which, for after an illegal access a process can use
# its GPU no more.
check_ops() {
  local op end filters=('-tc=ops:*,kernels:*,repeat:*' '-tce=ops: every file*')
  begin 'every op: values, strides, gradients, repeated and replayed runs'
  fits 'ops' || return
  check_cases 'all ops together' 150 "$unit" "${filters[@]}" && return
  end=$((SECONDS + 100))
  for op in $(find ops -maxdepth 1 -name '*.cpp' | sed 's|ops/||; s|\.cpp$||' | LC_ALL=C sort); do
    if [ "$SECONDS" -ge "$end" ]; then
      skip "one by one, op $op and those behind it: the time for that is used up"
      return
    fi
    LINES_SHOWN=20 check_cases "op $op" 60 env WEIR_OP="$op" "$unit" "${filters[@]}"
  done
}

check_models() {
  local names='devices:*,recording:*,attention:*,moe:*,routing:*,outer_sum_product:*,residual_layer_norm:*,basic ops:*'
  begin 'training, recordings and blocks on the GPU'
  fits 'cases that use devices' || return
  check_cases 'cases that use devices' 120 "$unit" -tc="$names,*every device*"
}

check_reference() {
  local status=0
  begin "the authors' cases on the GPU"
  fits "the authors' cases" || return
  limited 90 "$build/tests/reference" --device cuda tests/reference || status=$?
  if [ "$status" -eq 0 ] && [[ $(tail -n 1 "$log") =~ ^([1-9][0-9]*)\ passed,\ 0\ failed$ ]]; then
    pass "${BASH_REMATCH[1]}"
  else
    fail_with_log "the authors' cases" "$status"
  fi
}

# --- equality over 100 steps ----------------------------------------------------------------------------------------

# train RUN ARGUMENT...: a hundred steps, none of them logged, for those that are logged are eager in any case.
train() {
  local run=$work/$1
  shift
  limited 40 "$weir" train "$@" --run "$run" --device cuda --quiet data.train="$work/text" train.steps=100 \
    train.minutes=0 train.log_every=1000 eval.every=1000 sample.every=0 model.precision=bf16 model.dropout=0.1
}

# same_training NAME ARGUMENT...: recorded, eager and recorded again, weights, optimiser and memory are the same.
same_training() {
  local name=$1 status=0 file run same=0
  shift
  fits "100 steps, $name" || return
  { train "$name-recorded" "$@" && train "$name-eager" "$@" --eager && train "$name-again" "$@"; } || status=$?
  if [ "$status" -ne 0 ]; then
    fail_with_log "100 steps, $name" "$status"
    return
  fi
  for file in model optimizer memory; do
    file=checkpoints/step_00000100/$file.safetensors
    for run in eager again; do
      if cmp "$work/$name-recorded/$file" "$work/$name-$run/$file"; then same=$((same + 1)); fi
    done
  done
  if [ "$same" -eq 6 ]; then pass; else fail "100 steps, $name: $((6 - same)) of 6 files differ"; fi
}

check_equality() {
  begin '100 steps in bf16 with dropout: recorded, eager, recorded again'
  cat docs/*.md >"$work/text"
  same_training dense quickstart-dense
  same_training sigma-moe quickstart feedforward.expert_dropout=0.1
  same_training pkm quickstart-dense feedforward.kind=pkm
}

# --- times ----------------------------------------------------------------------------------------------------------

# measure NAME COMMAND...: adds each line of JSON that it prints to the times, behind the name and a tab.
measure() {
  local name=$1 status=0
  shift
  fits "$name" || return
  limited 60 "$@" || status=$?
  if [ "$status" -eq 0 ] && grep -q '^{' "$log"; then
    sed -n "s/^{/$name\t{/p" "$log" >>"$work/times"
    pass
  else
    fail_with_log "$name" "$status"
  fi
}

measure_all() {
  local block=(--tokens 32768 --d-model 1024 --experts 32 --expert-size 128 --k 4)
  begin 'times, shown at the end'
  measure 'feedforward' "$weir" bench feedforward --device cuda "${block[@]}" --dtype bf16 --json
  if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    measure 'PyTorch' python3 docs/peers/torch_feedforward.py --device cuda "${block[@]}" --dtype bfloat16
  else
    skip 'PyTorch for comparison: python3 has none that sees the GPU'
  fi
  measure 'attention' "$weir" bench attention --device cuda --batch 64 --segment 256 --memory 256 --heads 8 \
    --dtype bf16 --json
  measure 'memory' "$weir" bench memory --device cuda --json
  measure 'product keys' "$weir" bench pkm --device cuda --tokens 16384 --json
  measure 'training' "$weir" bench step --device cuda --preset wt103-small-sigma-moe model.precision=bf16 --json
}

print_times() {
  [ -s "$work/times" ] || return
  echo '=== times'
  LC_ALL=C awk -f tools/times.awk "$work/times"
}

# --- compute-sanitizer ----------------------------------------------------------------------------------------------

# Ops that share a process, which costs seconds to start; the most delicate come first.
fused='expert_feedforward,grouped_matmul,sort_by_expert,route_top_k,top_k
relative_attention
cross_entropy,layer_norm,residual_layer_norm,adamw_update,embedding
product_key_search,gather_sum,outer_sum_product'

find_sanitizer() {
  command -v compute-sanitizer && return
  local folder
  for folder in "$(dirname "$(head -n 1 <<<"$toolkit")")" "${CUDA_HOME:-/usr/local/cuda}/bin"; do
    if [ -x "$folder/compute-sanitizer" ]; then
      echo "$folder/compute-sanitizer"
      return
    fi
  done
  return 1
}

# sanitized SECONDS TOOL OPS CASES: every block of memory has the size of its tensor meanwhile.
sanitized() {
  limited "$1" env WEIR_EXACT_MEMORY=1 ${3:+WEIR_OP="$3"} "$sanitizer" --tool "$2" --error-exitcode 9 "$unit" -tc="$4"
}

# The tool has come to its end and found nothing, and the cases have checked something.
log_is_clean() {
  grep -Eq '^=+ (ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: .*\(0 errors)' "$log" && cases_in_log >/dev/null
}

# sanitize TOOL SECONDS: the fused ops, and a step in tf32, each begun only where it should end within the seconds.
sanitize() {
  local tool=$1 end=$((SECONDS + $2)) longest=10 done=0 ops what cases began status
  for ops in $fused ''; do
    what="$tool over ${ops:-a step in tf32}"
    cases='repeat: every run*'
    [ -n "$ops" ] || cases='devices: tf32*'
    if [ $((end - SECONDS)) -lt $((2 * longest)) ]; then
      skip "$what: the tool's time is used up"
      continue
    fi
    began=$SECONDS status=0
    sanitized $((end - SECONDS)) "$tool" "$ops" "$cases" || status=$?
    if [ "$status" -eq 0 ] && log_is_clean; then pass; else LINES_SHOWN=30 fail_with_log "$what" "$status"; fi
    done=$((done + 1))
    if [ $((SECONDS - began)) -gt "$longest" ]; then longest=$((SECONDS - began)); fi
  done
  [ "$done" -gt 0 ] || fail "$tool: had no time for any op"
}

# Some machines let no tool watch their GPU. That shows in a run that is right without it.
can_sanitize() {
  local status=0 message
  sanitized 60 memcheck relu 'ops: float32*' || status=$?
  if [ "$status" -eq 0 ] && log_is_clean; then return; fi
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ] ||
    grep -Eq '^=+ (Invalid|Uninitialized|Misaligned) |\] assertions: .* [1-9][0-9]* failed' "$log"; then
    fail_with_log 'memcheck over relu' "$status"
  else
    message=$(grep '^===' "$log" | grep -v 'COMPUTE-SANITIZER' | head -n 3 | paste -sd ' ')
    skip "compute-sanitizer cannot watch this GPU: ${message:-$(tail -n 2 "$log")}"
  fi
  return 1
}

check_sanitizers() {
  local sanitizer tool tools=4
  begin 'compute-sanitizer'
  if ! sanitizer=$(find_sanitizer); then
    skip 'compute-sanitizer is not here'
    return
  fi
  fits 'compute-sanitizer' && can_sanitize || return
  for tool in memcheck racecheck synccheck initcheck; do
    sanitize "$tool" $(($(left) / tools))
    tools=$((tools - 1))
  done
}

# --------------------------------------------------------------------------------------------------------------------

tools/find_cuda --gpu || nothing_checked 'this machine has no NVIDIA GPU with a driver (nvidia-smi lists none)'
if ! toolkit=$(tools/find_cuda) && $make; then nothing_checked "$toolkit"; fi
print_head
if $make; then build_all; fi
check_ops
check_models
check_reference
check_equality
measure_all
check_sanitizers
begin
print_times
finish
