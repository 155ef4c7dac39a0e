#!/bin/bash
# Checks Weir on this machine's NVIDIA GPU: builds with nvcc, then runs every op's tests, the reference cases and the
# repeated runs on the GPU, and the fused kernels under compute-sanitizer; ends with a table of times. A part for which
# something is missing is skipped, and says what. Without a GPU nothing is checked, and the exit status is 77.
# The last line sums up: `N passed, N failed, N skipped`.
#
#   tools/gpu_check.sh                    in build-gpu/
#   tools/gpu_check.sh --build-dir DIR    elsewhere
#   tools/gpu_check.sh --no-build         with what is built there already
#
# JOBS limits the compilers that run side by side; SANITIZER_SECONDS the time given to compute-sanitizer (200).
set -u
cd "$(dirname "$0")/.." || exit 1

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

passed=0
failed=0
skipped=0

pass() { passed=$((passed + 1)); }
fail() {
  failed=$((failed + 1))
  echo "FAILED: $1"
}
skip() {
  skipped=$((skipped + 1))
  echo "skipped: $1"
}
finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
nothing_checked() {
  echo "gpu_check: nothing was checked: $1"
  echo '0 passed, 0 failed, 1 skipped'
  exit 77
}

# Runs a command under a time limit; shows what it printed only where it failed.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
  local seconds=$1 status
  shift
  timeout "$seconds" "$@" >"$log" 2>&1 && return
  status=$?
  grep -vE '^\[doctest\] (doctest version|run with)' "$log" | tail -n "${LINES_SHOWN:-40}"
  [ "$status" -ne 124 ] || echo "  (ended after $seconds seconds)"
  return "$status"
}

# --- build ----------------------------------------------------------------------------------------------------------

tools/find_cuda --gpu || nothing_checked 'this machine has no NVIDIA GPU with a driver (nvidia-smi lists none)'
toolkit=$(tools/find_cuda) || nothing_checked "$toolkit"
nvidia-smi --query-gpu=name,compute_cap,memory.total,driver_version --format=csv,noheader
if $make; then
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)
  architecture=80 # and its intermediate code, for what came after
  if [ "$capability" = 9.0 ]; then architecture=90a; fi
  set -- -Dcuda=enabled -Dgpu_architectures="$architecture" -Dtests=enabled -Dwerror=true
  if [ -f "$build/build.ninja" ]; then set -- "$@" --reconfigure; fi
  echo "=== build in $build for sm_$architecture"
  if ! meson setup "$build" "$@" >"$log" 2>&1 ||
    ! ninja -C "$build" ${JOBS:+-j "$JOBS"} tests/unit tests/reference tools/weir/weir >"$log" 2>&1; then
    grep -E 'ERROR|error|FAILED' "$log" | head -n 40
    fail 'build'
    finish
  fi
  pass
fi
unit=$build/tests/unit
weir=$build/tools/weir/weir

# --- ops ------------------------------------------------------------------------------------------------------------

# One process per op: after an illegal access a process can use its GPU no more.
ops=$(find ops -maxdepth 1 -name '*.cpp' | sed 's|ops/||; s|\.cpp$||' | LC_ALL=C sort)
export WEIR_DEVICE=cuda
echo "=== ops on the GPU: values, strides, gradients, repeated and replayed runs"
for op in $ops; do
  if WEIR_OP=$op quietly 120 "$unit" -tc='ops:*,repeat:*' -tce='ops: every file*'; then pass; else fail "op $op"; fi
done
echo '=== recordings'
if quietly 60 "$unit" -tc='recording:*'; then pass; else fail 'recordings'; fi

# --- models ---------------------------------------------------------------------------------------------------------

echo "=== the authors' cases on the GPU"
timeout 120 "$build/tests/reference" --device cuda tests/reference 2>&1 | tee "$log"
if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
  passed=$((passed + BASH_REMATCH[1]))
  failed=$((failed + BASH_REMATCH[2]))
else
  fail 'reference cases'
fi

# --- compute-sanitizer ----------------------------------------------------------------------------------------------

fused='expert_feedforward relative_attention cross_entropy layer_norm sort_by_expert product_key_search gather_sum '
fused+='outer_sum_product'
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$(echo "$toolkit" | head -n 1)")/compute-sanitizer")
echo "=== compute-sanitizer over $fused"
if [ -x "$sanitizer" ]; then
  end=$((SECONDS + ${SANITIZER_SECONDS:-200}))
  for tool in memcheck racecheck synccheck initcheck; do
    for op in $fused; do
      left=$((end - SECONDS))
      if [ "$left" -lt 5 ]; then
        skip "$tool over $op: the time for compute-sanitizer is used up"
        continue
      fi
      WEIR_OP=$op LINES_SHOWN=20 quietly "$left" "$sanitizer" --tool "$tool" --error-exitcode 9 "$unit" \
        -tc='ops: float32*,ops: bf16*' && status=0 || status=$?
      case $status in
        0) pass ;;
        124) skip "$tool over $op: the time for compute-sanitizer is used up" ;;
        *) fail "$tool over $op" ;;
      esac
    done
  done
else
  skip 'compute-sanitizer is not in the toolkit'
fi

# --- times ----------------------------------------------------------------------------------------------------------

unset WEIR_DEVICE
echo '=== times'
for what in attention feedforward memory pkm step; do
  if timeout 100 "$weir" bench "$what" --device cuda; then
    pass
  else
    fail "weir bench $what --device cuda"
  fi
done
finish
