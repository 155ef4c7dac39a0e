#!/bin/bash
# For scripts that check many things within a limited time: what passed, failed and was skipped, parts with their
# seconds, commands with a time limit. To be sourced; the caller sets `deadline`, in seconds from its start, and `log`, a
# file for what commands print.
# shellcheck disable=SC2154
passed=0 failed=0 skipped=0 part='' part_began=0

pass() { passed=$((passed + ${1:-1})); }
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

# Ends a part, saying how long it took, and begins the next; without a name there is none.
begin() {
  [ -z "$part" ] || echo "    $((SECONDS - part_began)) s"
  part=${1-} part_began=$SECONDS
  [ -z "$part" ] || echo "=== $part"
}

left() { echo $((deadline - SECONDS)); }

# Whether something can still be begun; skips it where not.
fits() {
  [ "$(left)" -ge 15 ] && return
  skip "$1: the time is used up"
  return 1
}

# limited SECONDS COMMAND...: runs it, into the log, for at most so many seconds, and what is left in all.
limited() {
  local seconds=$1
  shift
  [ "$seconds" -le "$(left)" ] || seconds=$(left)
  [ "$seconds" -gt 0 ] || seconds=1
  timeout -k 5 "$seconds" "$@" >"$log" 2>&1
}

# fail_with_log NAME STATUS: what the log is of failed, with that exit status; 0: it did nothing.
fail_with_log() {
  grep -vE '^\[doctest\] (doctest version|run with)' "$log" | tail -n "${LINES_SHOWN:-40}"
  case $2 in
    0) fail "$1: nothing was checked" ;;
    124 | 137) fail "$1: did not end in time" ;;
    *) fail "$1: exit status $2" ;;
  esac
}

# How many cases of doctest have passed, by the log, where none failed and something was asserted.
cases_in_log() {
  grep -Eq '^\[doctest\] assertions: +[1-9]' "$log" &&
    sed -nE 's/^\[doctest\] test cases: +[0-9]+ \| +([1-9][0-9]*) passed \| +0 failed.*/\1/p' "$log" | grep .
}

# check_cases NAME SECONDS COMMAND...: a run of doctest's cases.
check_cases() {
  local name=$1 status=0 cases
  shift
  limited "$@" || status=$?
  if [ "$status" -eq 0 ] && cases=$(cases_in_log); then
    pass "$cases"
  else
    fail_with_log "$name" "$status"
    return 1
  fi
}
