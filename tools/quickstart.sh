#!/bin/sh
# From a fresh clone to a trained language model: installs what is missing, builds, trains for a minute and a half,
# and shows what was learnt, beside what counting bytes and xz make of the same text.
#
#   tools/quickstart.sh                    on this project's own pages and headers
#   tools/quickstart.sh --data FILE        on a text of yours, packed or not: the last 5 % (at most 1 MiB) are kept for
#                                          validation; of less than 4096 bytes nothing can be learnt
#   tools/quickstart.sh --encoding bytes   takes any file that --data names as it is
#   tools/quickstart.sh --minutes M        trains longer or shorter
#   tools/quickstart.sh --run DIR          where the run is kept; default runs/quickstart, runs/quickstart-2, ...
#   tools/quickstart.sh --no-install       installs no packages
set -eu

fail() {
  printf 'quickstart: %s\n' "$1" >&2
  exit 2
}

# A word as a shell takes it, for commands that are printed.
shell_word() {
  case $1 in
    *[!A-Za-z0-9_./,:=@%+-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
  esac
}

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac }

least=4096  # bytes of text: several times what a step trains on
data=
encoding=utf-8
minutes=1.5
run=
install=true
while [ $# -gt 0 ]; do
  case $1 in
    --data | --encoding | --minutes | --run)
      [ -n "${2-}" ] || fail "$1 takes a value; see $0 --help"
      case $2 in *[[:cntrl:]]*) fail "$1 takes no line ends and no other control characters; give another name" ;; esac
      case $1 in
        --data) data=$(absolute "$2") ;;
        --encoding) encoding=$2 ;;
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

# What can be seen without a build is seen before it.
case $encoding in utf-8 | bytes) ;; *) fail "--encoding is '$encoding'; it takes utf-8 or bytes" ;; esac
case $minutes in *[!0-9.]* | *.*.* | .) fail "--minutes is '$minutes'; it takes a number, such as 1.5" ;; esac
[ -n "$(printf '%s' "$minutes" | tr -d 0.)" ] || fail '--minutes is 0, and a model learns nothing in no time; give more'
[ -z "$data" ] || [ -f "$data" ] || fail "$data: there is no such file; name a text with --data FILE"
[ -z "$data" ] || [ -r "$data" ] || fail "$data: this file may not be read; check its permissions"
if [ -z "$run" ]; then
  run=runs/quickstart
  count=1
  while [ -e "$run" ]; do
    count=$((count + 1))
    run=runs/quickstart-$count
  done
fi
[ ! -e "$run" ] || [ -z "$(ls -A "$run")" ] || fail "$run is there already; choose a new folder with --run"

# --- build --------------------------------------------------------------------------------------------------------

if $install; then tools/install_packages.sh --build-only; fi
build=build
weir=$build/tools/weir/weir
mkdir -p $build
if [ -f $build/build.ninja ]; then
  set -- --reconfigure  # for a source may have been added since
else
  set -- -Dtests=disabled -Db_pch=true
fi
meson setup $build "$@" >$build/quickstart.log 2>&1 || {
  cat $build/quickstart.log
  fail 'configuring failed; the messages above say why'
}
ninja -C $build ${JOBS:+-j "$JOBS"} tools/weir/weir

# --- text ---------------------------------------------------------------------------------------------------------

mkdir -p "$run"
text=$run/text.txt
# Where no run comes of it, its folder is not left behind.
trap '[ -e "$run/config.toml" ] || { rm -f "$text" "$run/train.txt" "$run/valid.txt" && rmdir "$run"; } 2>/dev/null' EXIT
if [ -n "$data" ]; then
  # As weir reads it: unpacked, and refused where it is no text.
  "$weir" text "$data" --encoding "$encoding" >"$text"
else
  data=$text
  # Pages and headers: there people write for people. Other sources repeat themselves so often that copying, which is
  # all that xz does, gets as far as a small model in a minute and a half on a slow processor.
  git ls-files -z -- '*.md' '*.h' | LC_ALL=C sort -z | xargs -0 cat >"$data"
  [ -s "$data" ] || fail 'git lists no text files here; name a text with --data FILE'
fi
size=$(wc -c <"$text")
[ "$size" -ge $least ] || fail "$data: $size bytes are too little text to learn from; name one of $least or more with --data"
held_back=$(((size + 19) / 20))
[ "$held_back" -le 1048576 ] || held_back=1048576
head -c $((size - held_back)) "$text" >"$run/train.txt"
tail -c "$held_back" "$text" >"$run/valid.txt"
rm "$text"  # beside its data a run wants its folder for itself
[ "$data" != "$text" ] || data='the pages and headers of this project'
printf 'Text: %s, %d bytes to train on, the last %d bytes to validate on.\n' "$data" $((size - held_back)) "$held_back"

# --- train --------------------------------------------------------------------------------------------------------

"$weir" train quickstart --run "$run" "data.train=$run/train.txt" "data.valid=$run/valid.txt" \
  "data.encoding=$encoding" "train.minutes=$minutes"

# --- compare ------------------------------------------------------------------------------------------------------

export LC_ALL=C  # numbers with a point

# The value of a number in a line of JSON.
number() { printf '%s\n' "$evaluation" | sed "s/.*\"$1\":\([^,}]*\).*/\1/"; }

evaluation=$("$weir" eval "$run" --json)
bytes=$(number tokens)  # of this text bytes are the tokens
# What the model predicted: all of the validation text but its first byte, which has nothing before it.
tail -c +2 "$run/valid.txt" | head -c "$bytes" >"$run/compared.txt"
counted=$(od -An -v -tu1 -w1 "$run/compared.txt" |
  awk '{ seen[$1]++ } END { for (b in seen) bits -= seen[b] * log(seen[b] / NR) / log(2); printf "%.4f", bits / NR }')
compressed=$(xz -9 -c "$run/compared.txt" | wc -c | awk -v bytes="$bytes" '{ printf "%.4f", 8 * $1 / bytes }')
echo
echo "Bits per byte on the same $bytes bytes of validation text, less is better:"
measured=$(sed -n 's/^max_tokens = \([0-9]*\).*/\1/p' "$run/config.toml")
if [ "$measured" -gt 0 ] && [ "$measured" -lt "$bytes" ]; then
  echo "(The validation lines above are of its first $measured bytes, so that training is not held up.)"
fi
printf '  %-28s %s\n' 'order-0 entropy' "$counted" 'xz -9' "$compressed"
printf '  %-28s %.4f\n' 'this model' "$(number bits_per_byte)"
sample=$("$weir" generate "$run" --tokens 400)
echo
echo 'A sample from the model:'
printf '%s\n' "$sample" | sed 's/^/  | /'
echo
printf 'The run is in %s. To go on, from %s:\n' "$run" "$PWD"
word=$(shell_word "$run")
printf '  %s\n' "$weir generate $word --prompt 'The '" "$weir eval $word --data FILE" \
  "$weir train --resume $word train.minutes=10"
