#!/bin/sh
# From a fresh clone to a trained language model: installs what is missing, builds, trains for a minute and a half,
# and shows what was learnt, beside what counting bytes and xz make of the same text.
#
#   tools/quickstart.sh                    on this project's own text files
#   tools/quickstart.sh --data FILE        on a text of yours: the last 5 % (at most 1 MiB) are kept for validation
#   tools/quickstart.sh --minutes M        trains longer or shorter
#   tools/quickstart.sh --run DIR          where the run is kept; default runs/quickstart, runs/quickstart-2, ...
#   tools/quickstart.sh --no-install       installs no packages
set -eu

fail() {
  echo "quickstart: $1" >&2
  exit 2
}

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac }

data=
minutes=1.5
run=
install=true
while [ $# -gt 0 ]; do
  case $1 in
    --data | --minutes | --run)
      [ -n "${2-}" ] || fail "$1 takes a value; see $0 --help"
      case $1 in
        --data) data=$(absolute "$2") ;;
        --minutes) minutes=$2 ;;
        --run) run=$(absolute "$2") ;;
      esac
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

# --- build --------------------------------------------------------------------------------------------------------

if $install; then tools/install_packages.sh --build-only; fi
build=build
weir=$build/tools/weir/weir
mkdir -p $build
if [ -f $build/build.ninja ]; then
  set -- --reconfigure  # for a source may have been added since
else
  set -- -Dtests=disabled
fi
meson setup $build "$@" >$build/quickstart.log 2>&1 || {
  cat $build/quickstart.log
  fail 'configuring failed; the messages above say why'
}
ninja -C $build ${JOBS:+-j "$JOBS"} tools/weir/weir

# --- text ---------------------------------------------------------------------------------------------------------

if [ -z "$run" ]; then
  run=runs/quickstart
  count=1
  while [ -e "$run/config.toml" ]; do
    count=$((count + 1))
    run=runs/quickstart-$count
  done
fi
# A file that cannot be read is for weir to explain.
if [ -n "$data" ] && ! { [ -f "$data" ] && [ -r "$data" ] && [ -s "$data" ]; }; then
  exec "$weir" train quickstart "data.train=$data" --run "$run"
fi
[ ! -e "$run/config.toml" ] || fail "$run already holds a run; choose another folder with --run"
mkdir -p "$run"
if [ -z "$data" ]; then
  data=$run/text.txt
  git ls-files -z -- '*.md' '*.h' '*.cpp' '*.sh' '*.py' '*.build' '*.toml' | LC_ALL=C sort -z | xargs -0 cat >"$data"
  [ -s "$data" ] || fail 'git lists no text files here; name a text with --data FILE'
fi
size=$(wc -c <"$data")
held_back=$(((size + 19) / 20))
[ "$held_back" -le 1048576 ] || held_back=1048576
head -c $((size - held_back)) "$data" >"$run/train.txt"
tail -c "$held_back" "$data" >"$run/valid.txt"
echo "Text: $data, $((size - held_back)) bytes to train on, the last $held_back bytes to validate on."

# --- train --------------------------------------------------------------------------------------------------------

"$weir" train quickstart --run "$run" "data.train=$run/train.txt" "data.valid=$run/valid.txt" "train.minutes=$minutes"

# --- compare ------------------------------------------------------------------------------------------------------

export LC_ALL=C  # numbers with a point

# The value of a number in a line of JSON.
number() { printf '%s\n' "$evaluation" | sed "s/.*\"$1\":\([^,}]*\).*/\1/"; }

evaluation=$("$weir" eval "$run" --json)
bytes=$(number tokens)  # of this text bytes are the tokens
# What the model predicted: from the second byte of the validation text on (the first has nothing before it), up to
# the last whole segment.
tail -c +2 "$run/valid.txt" | head -c "$bytes" >"$run/compared.txt"
counted=$(od -An -v -tu1 -w1 "$run/compared.txt" |
  awk '{ seen[$1]++ } END { for (b in seen) bits -= seen[b] * log(seen[b] / NR) / log(2); printf "%.4f", bits / NR }')
compressed=$(xz -9 -c "$run/compared.txt" | wc -c | awk -v bytes="$bytes" '{ printf "%.4f", 8 * $1 / bytes }')
echo
echo "Bits per byte on the same $bytes bytes of validation text, less is better:"
printf '  %-28s %s\n' 'order-0 entropy' "$counted" 'xz -9' "$compressed"
printf '  %-28s %.4f\n' 'this model' "$(number bits_per_byte)"
sample=$("$weir" generate "$run" --tokens 400)
echo
echo 'A sample from the model:'
printf '%s\n' "$sample" | sed 's/^/  | /'
echo
echo "The run is in $run. To go on, from $PWD:"
echo "  $weir generate $run --prompt 'The '"
echo "  $weir eval $run --data FILE"
echo "  $weir train --resume --run $run train.minutes=10"
