"""What every command has in common: its help, what it says of a command line that cannot be meant, and that nothing
which it prints is lost without a word.
"""

import os
import re
import subprocess

from weir_test import CONTROL, check, fail, patient, setup

USAGE, IO = 2, 74

GOLDEN_HELP = """\
Usage: weir tokenize TOKENIZER [TEXT] [options]

Show what a tokenizer makes of a text.

Arguments:
  TOKENIZER        'bytes', a SentencePiece model (.model) or a tokenizer.json
                   (.json)
  TEXT             a text

Options:
  --file FILE      take each line of a file as a text instead
  --encoding NAME  of the file; bytes takes any file as it is; one of utf-8,
                   bytes; default utf-8
  --zero           the texts in the file end in zero bytes instead of line ends
  --pieces         print pieces of text instead of numbers
  --count          print only how many tokens there are, and how fast they came
  --json           print one JSON object per text
  --help           print this
"""


def commands_in(text):
    return re.findall(r"^  ([a-z]+)  ", text[text.index("\nCommands:\n"):], re.M)


def every_command(weir):
    """All commands as lists of words, groups before their members."""
    commands = []
    for name in commands_in(weir.succeed("--help")):
        commands.append([name])
        text = weir.succeed(name, "--help")
        if "\nCommands:\n" in text:
            commands += [[name, member] for member in commands_in(text)]
    return commands


def check_help(weir):
    overview = weir.succeed("--help")
    for words in ([], ["help"], ["-h"]):
        check(weir.succeed(*words) == overview, f"weir {' '.join(words)} is not weir --help")
    commands = every_command(weir)
    check(len(commands) == 18 and ["bench", "gemm"] in commands, f"found the commands {commands}")
    for words in [[]] + commands:
        text = weir.succeed(*words, "--help")
        check(text.startswith("Usage: " + " ".join(["weir", *words])), f"{words}: no usage line in {text!r}")
        check(not CONTROL.search(text) and text.endswith("\n"), f"{words}: the help is not plain lines")
        for line in text.splitlines():
            check(len(line) <= 80 and line == line.rstrip(), f"{words}: more than 80 columns or blanks at the end: {line!r}")
        check(weir.succeed("help", *words) == text, f"weir help {' '.join(words)} says something else")
    check(weir.succeed("bench") == weir.succeed("bench", "--help"), "weir bench alone is not its help")
    check(weir.succeed("train", "no-such-preset", "--quiet", "--help") == weir.succeed("train", "--help"),
          "--help does not come first")
    check(weir.succeed("tokenize", "--help") == GOLDEN_HELP, f"not as it should be: {weir.succeed('tokenize', '--help')}")
    generate = weir.succeed("generate", "--help")
    check(re.search(r"^  --tokens N +tokens to generate; 1 to 16777216, default 200$", generate, re.M), generate)
    for line in weir.succeed("train", "--keys").splitlines():
        check(len(line) <= 80, f"train --keys: more than 80 columns: {line!r}")
    check(re.fullmatch(r"weir \d+\.\d+\.\d+\n", weir.succeed("--version")), "weir --version is not one")
    print(f"ok: the help of {len(commands)} commands, at most 80 columns", flush=True)


# The words after `weir`, and the whole message.
MISTAKES = [
    ("trian", "there is no command \"trian\" (did you mean train?); see 'weir --help'"),
    ("help trian", "there is no command \"trian\" (did you mean train?); see 'weir --help'"),
    ("bench gem", "there is no command \"bench gem\" (did you mean bench gemm?); see 'weir bench --help'"),
    ("zzzzzzzzzz", "there is no command \"zzzzzzzzzz\"; see 'weir --help'"),
    ("--jsn", "there is no command \"--jsn\"; see 'weir --help'"),
    ("generate RUN --top-p 0.9",
     "generate: there is no option --top-p (did you mean --top-k?); see 'weir generate --help'"),
    ("generate RUN --top-p=0.9",
     "generate: there is no option --top-p (did you mean --top-k?); see 'weir generate --help'"),
    ("generate RUN --temprature 1",
     "generate: there is no option --temprature (did you mean --temperature?); see 'weir generate --help'"),
    ("eval RUN --prompt x", "eval: there is no option --prompt ('weir generate' has --prompt); see 'weir eval --help'"),
    ("generate RUN --temp 3",
     "generate: there is no option --temp (did you mean --temperature?); see 'weir generate --help'"),
    ("gen RUN", "there is no command \"gen\" (did you mean generate?); see 'weir --help'"),
    ("bench gemm --dtype bfloat16",
     'bench gemm: --dtype cannot be the text "bfloat16": give one of float32, bf16, tf32; did you mean bf16?'),
    ("generate RUN --seed 99999999999999999999",
     "generate: --seed cannot be 1e+20: give an integer, 0 to 9223372036854775807, such as 1"),
    ("eval RUN --frobnicate", "eval: there is no option --frobnicate; see 'weir eval --help'"),
    ("presets --jsn", "presets: there is no option --jsn (did you mean --json?); see 'weir presets --help'"),
    ("generate RUN -n 5",
     "generate: there is no option -n (write -- before a text that begins with a dash); see 'weir generate --help'"),
    ("generate RUN --temperature 0,8",
     'generate: --temperature: not a number: "0,8"; numbers have a point: 0.8'),
    ("generate RUN --temperature warm",
     'generate: --temperature: not a number: "warm"; give a number, 0 to 100, such as 0.8'),
    ("generate RUN --temperature nan",
     "generate: --temperature cannot be nan: give a number, 0 to 100, such as 0.8"),
    ("generate RUN --tokens 0",
     "generate: --tokens cannot be 0: give an integer, 1 to 16777216, such as 200"),
    ("generate RUN --tokens 2.5",
     "generate: --tokens cannot be 2.5: give an integer, 1 to 16777216, such as 200"),
    ("generate RUN --tokens=",
     'generate: --tokens: not an integer: ""; give an integer, 1 to 16777216, such as 200'),
    ("eval RUN --memory -1", "eval: --memory cannot be -1: give an integer, 0 to 1048576"),
    ("eval RUN --split tset",
     'eval: --split cannot be the text "tset": give one of train, valid, test; did you mean test?'),
    ("bench gemm --dtype bf17",
     'bench gemm: --dtype cannot be the text "bf17": give one of float32, bf16, tf32; did you mean bf16?'),
    ("generate RUN --prompt", "generate: --prompt needs a value: --prompt TEXT; see 'weir generate --help'"),
    ("generate RUN --prompt --json",
     "generate: --prompt needs a value: --prompt TEXT (one that looks like an option is given with =); see 'weir "
     "generate --help'"),
    ("presets --json=yes", "presets: --json takes no value; leave out \"=yes\"; see 'weir presets --help'"),
    ("eval RUN --memory 3 --memory 4", "eval: --memory is given twice; give it once; see 'weir eval --help'"),
    ("eval RUN --paper --memory 3",
     "eval: --paper and --memory exclude each other; leave one of them out; see 'weir eval --help'"),
    ("report RUN --markdown", "report: --markdown needs --table beside it; see 'weir report --help'"),
    ("eval", "eval: RUN is missing: a run (its newest checkpoint): its folder, or its name below runs/; or a checkpoint folder; see 'weir eval --help'"),
    ("report --table", "report: RUN is missing: runs: their folders, or names below runs/; several are drawn over one another; see 'weir report --help'"),
    ("eval RUN other", "eval: \"other\" is one argument too many; see 'weir eval --help'"),
    ("train quickstart optimizer.lr=0,001",
     'argument "optimizer.lr=0,001": optimizer.lr: not a number: "0,001"; numbers have a point: 0.001'),
]


def check_mistakes(weir):
    for words, message in MISTAKES:
        result = weir.run(*words.split())
        check(result.returncode == USAGE, f"weir {words} exits with {result.returncode}: {result.stderr!r}")
        check(result.stderr.decode() == f"weir: {message}\n" and not result.stdout,
              f"weir {words} says\n{result.stderr.decode()}and not\nweir: {message}")
    print(f"ok: {len(MISTAKES)} command lines that cannot be meant", flush=True)


def check_forms(weir):
    """Different ways to write the same."""
    pieces = weir.succeed("tokenize", "bytes", "a-b", "--pieces")
    for words in (["--pieces", "bytes", "a-b"], ["bytes", "--pieces", "--", "a-b"]):
        check(weir.succeed("tokenize", *words) == pieces, f"tokenize {words} prints something else")
    check(weir.succeed("tokenize", "bytes", "--", "--json") == "45 45 106 115 111 110\n", "-- does not end the options")
    prepare = ["prepare", "files", "--train", weir.text, weir.text, "--valid", weir.text, "--tokenizer", "bytes", "--json"]
    several = weir.succeed_json(*prepare, "--out", "several")
    check(several["splits"]["train"]["tokens"] >= 60000, f"two training texts: {several}")
    first = weir.succeed_json("prepare", "--out=first", "--json", "--tokenizer=bytes", f"--valid={weir.text}", "--train",
                              weir.text, "files")  # the data set after a list
    check(first["splits"]["train"]["tokens"] < 60000, f"one training text: {first}")
    after = ["prepare", "--tokenizer", "bytes", "--valid", weir.text, "--out", "after-list", "--train", weir.text, "--"]
    weir.succeed(*after, "files")
    refused = weir.run(*after, "files", "--force")
    check(refused.returncode == USAGE and b"\"--force\" is one argument too many" in refused.stderr,
          f"-- after a list does not end the options: {refused.stderr!r}")
    print("ok: options before and after arguments, with = and without, lists, --", flush=True)


def every_output(weir):
    """Command lines that print something, after `weir`; those that leave something behind get another folder each."""
    sweep = weir.folder / "sweep.toml"
    sweep.write_text('preset = "quickstart"\n[[variant]]\nname = "one"\n')
    (weir.folder / "runs" / "sweep" / "one-seed1").mkdir(parents=True, exist_ok=True)
    text, run = weir.text, weir.folder / "run"
    size = ["--runs", "1", "--warm-up", "0", "--threads", "1"]
    train = weir.train_arguments("new", train__steps=8)
    return [
        ["--help"], ["help", "train"], ["--version"], ["bench"],
        ["presets"], ["presets", "--json"], ["inspect", "quickstart"], ["inspect", "quickstart", "--json"],
        ["tokenize", "bytes", "abc"], ["tokenize", "bytes", "abc", "--json"], ["tokenize", "bytes", "--file", text],
        ["tokenize", "bytes", "--file", text, "--count"], ["train", "--keys"],
        ["eval", run], ["eval", run, "--json"], ["generate", run, "--tokens", "5"],
        ["generate", run, "--tokens", "5", "--json"], ["report", run, "--out", "page.html"],
        ["report", run, "--out", "page.html", "--json"], ["report", run, "--table"], ["report", run, "--table", "--json"],
        ["sweep", sweep, f"data.train={text}", "--table"],
        ["bench", "gemm", "--m", "16", "--n", "16", "--k", "16", *size],
        ["bench", "gemm", "--m", "16", "--n", "16", "--k", "16", "--json", *size],
        ["prepare", "files", "--train", text, "--valid", text, "--tokenizer", "bytes", "--force", "--out", "data"],
        train, [*train, "--json"],
    ]


def run_into(weir, words, **where):
    command = weir.command(*words)
    if words[0] == "train" and "--run" in words:  # a new one
        subprocess.run(["rm", "-rf", str(weir.folder / "new")], check=True)
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=patient(120),
                              cwd=weir.folder, **where)
    except subprocess.TimeoutExpired:
        fail(f"{command} still runs after {patient(120):.0f} s")


def check_run_is_whole(weir, words):
    if words[0] == "train" and "--run" in words:
        weir.succeed("eval", "new", "--json")
        last = weir.folder / "new" / "checkpoints" / "step_00000008"
        check(any(last.parent.glob("step_*8")), f"{words}: the run did not go on to its last step")


def check_full(weir, outputs):
    expected = "weir: standard output: cannot write: No space left on device; free some space or use another place\n"
    for words in outputs:
        with open("/dev/full", "wb") as full:
            result = run_into(weir, words, stdout=full)
        check(result.returncode == IO and result.stderr.decode() == expected,
              f"{words} into /dev/full exits with {result.returncode}: {result.stderr!r}")
        check_run_is_whole(weir, words)
    print(f"ok: {len(outputs)} commands into a full device: a message and {IO}", flush=True)


def check_closed(weir, outputs):
    expected = "weir: standard output: it is closed; leave it open, or send it to /dev/null\n"
    for words in outputs:
        result = run_into(weir, words, preexec_fn=lambda: os.close(1))
        check(result.returncode == IO and result.stderr.decode() == expected,
              f"{words} with a closed output exits with {result.returncode}: {result.stderr!r}")
        check_run_is_whole(weir, words)
    for words in (["presets"], ["tokenize", "bytes", "abc"]):
        for descriptors in ([0], [2], [0, 2], [0, 1, 2]):
            result = run_into(weir, words, stdout=subprocess.PIPE,
                              preexec_fn=lambda: [os.close(descriptor) for descriptor in descriptors])
            check(result.returncode == (IO if 1 in descriptors else 0), f"{words} without {descriptors} fails")
    print(f"ok: {len(outputs)} commands with a closed output: a message and {IO}", flush=True)


def check_reader_gone(weir, outputs):
    for words in outputs:
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            result = run_into(weir, words, stdout=write_end)
        finally:
            os.close(write_end)
        check(result.returncode == 0 and not result.stderr,
              f"{words} without a reader exits with {result.returncode}: {result.stderr!r}")
        check_run_is_whole(weir, words)
    head = subprocess.run(["bash", "-c", f"set -o pipefail; {weir.binary} presets | head -1"], capture_output=True,
                          timeout=patient(60), check=False)
    check(head.returncode == 0 and head.stdout.count(b"\n") == 1 and not head.stderr, f"presets | head -1: {head}")
    print(f"ok: {len(outputs)} commands whose reader has gone: no error", flush=True)


def main():
    with setup() as weir:
        check_help(weir)
        check_mistakes(weir)
        check_forms(weir)
        weir.succeed(*weir.train_arguments(weir.folder / "run", train__steps=8))
        outputs = every_output(weir)
        check_full(weir, outputs)
        check_closed(weir, outputs)
        check_reader_gone(weir, outputs)


main()
