"""What users get wrong: each mistake ends with its exit code and one line that says what, where and what to do.

mistakes.txt holds a command line and the whole message for each. Below are those whose message depends on the machine
or whose words are no plain text: a name, the exit code, fragments of the message, the arguments. Settings of a tiny run
come first in `train` rows, so that only the mistake is wrong. FOLDER stands for the test's folder.
"""

import json
import math
import pathlib
import re
import shlex
import shutil
import signal
import struct
import subprocess
import time

from mistake_cases import make_cases
from token_data import hex_digest, load_hashes
from weir_test import CONTROL, check, checkpoints, patient, setup, tensor_header

USAGE, DATA, UNAVAILABLE, IO, STOPPED = 2, 65, 69, 74, 75

ODD_WORDS = {
    "empty override": (USAGE, ["section.key=value"], ["TRAIN", ""]),
    "control characters": (USAGE, [r"\u001b[31mred\n"], ["TRAIN", "train.\x1b[31mred\n=5"]),
    "name with a line end": (USAGE, [r'name = "a\nb" (command line) has control characters'], ["TRAIN", "name=a\nb"]),
    "name that is too long": (USAGE, ["is longer than 200 bytes"], ["TRAIN", "name=" + 201 * "x"]),
    "not UTF-8": (USAGE, ["train."], ["TRAIN", b"train.\xff\xfe=5"]),
    "text with a wild name": (IO, [r"\x1b"], ["TRAIN", "data.train=FOLDER/\x1b]0;x\x07\n.txt"]),
    "text with a long name": (IO, ["shorter"], ["TRAIN", "data.train=" + 5000 * "x"]),
    "run with a long name": (USAGE, ["there is no run"], ["eval", 5000 * "x"]),
    "no such device": (UNAVAILABLE, ["'cuda:63'", "not available", "'cpu'"], ["TRAIN", "--device", "cuda:63"]),
    "no such device to measure on": (UNAVAILABLE, ["'cuda:63'"], ["eval", "FOLDER/run", "--device", "cuda:63"]),
}

# Content of a configuration file, then fragments of the message; the place is line and column.
TOML = {
    "syntax error": ("[model]\nlayers = = 4\n", ["config.toml", "2"]),
    "unclosed text": ('name = "x\n', ["config.toml", "1"]),
    "key twice": ("[model]\nlayers = 4\nlayers = 5\n", ["config.toml", "layers"]),
    "mistyped key": ("[model]\nlayer = 4\n", ["config.toml", "2", "did you mean", "layers"]),
    "mistyped section": ("[modle]\nlayers = 4\n", ["config.toml", "did you mean", "model"]),
    "wrong type": ('[model]\nlayers = "four"\n', ["config.toml", "layers", "2"]),
    "out of range": ("[model]\nlayers = -4\n", ["config.toml", "layers", "-4"]),
    "a list for a number": ("[model]\nlayers = [1, 2]\n", ["config.toml", "layers"]),
    "a value for a section": ("model = 4\n", ["config.toml", "model"]),
    "unknown preset": ('preset = "quickstrat"\n', ["quickstrat", "did you mean quickstart"]),
    "deeply nested": ("a = " + 100000 * "[" + "\n", ["config.toml"]),
    "not text": ("\x00\x01\x02", ["config.toml"]),
}


class Mistakes:
    def __init__(self, weir):
        self.weir = weir
        self.count = 0
        self.lacking = make_cases(weir)

    def fill_in(self, argument):
        folder = str(self.weir.folder)
        return argument.replace(b"FOLDER", folder.encode()) if isinstance(argument, bytes) else argument.replace(
            "FOLDER", folder)

    def arguments(self, words):
        new_run, old_run = str(self.weir.folder / "new"), str(self.weir.folder / "run")
        words = [self.fill_in(word) for word in words]
        if words[:1] == ["TRAIN"]:
            train = self.weir.train_arguments(new_run)
            return train[:-2] + words[1:] + ([] if "--run" in words else train[-2:])
        if words[:1] == ["RESUME"]:
            train = self.weir.train_arguments(old_run, train__steps=20)
            return [*train, "--resume", *words[1:]]
        return words

    def check(self, name, code, fragments, words):
        message = self.refused(name, code, words)
        for fragment in map(self.fill_in, fragments):
            check(fragment in message, f"{name}: {fragment!r} is not in {message!r}")

    def refused(self, name, code, words):
        """The message."""
        before = self.contents()
        result = self.weir.run(*self.arguments(words))
        message = result.stderr.decode()  # strictly
        check(result.returncode == code, f"{name}: exits with {result.returncode}, expected {code}: {message!r}")
        check(message.startswith("weir: ") and message.count("\n") == 1 and message.endswith("\n"),
              f"{name}: expected one line that starts with 'weir: ', got {message!r}")
        check(not CONTROL.search(message), f"{name}: control characters in {message!r}")
        self.check_unchanged(name, before)
        self.count += 1
        return message

    def contents(self):
        return {path: path.read_bytes() if path.is_file() else None
                for path in self.weir.folder.rglob("*")
                if path.name != "lock" or not (path.parent / "checkpoints").exists()}

    def check_unchanged(self, name, before):
        after = self.contents()
        changed = sorted(str(path) for path in before.keys() | after.keys()
                         if before.get(path, 0) != after.get(path, 0))
        check(not changed, f"{name}: left behind or changed {changed}")


def golden_mistakes(lacking):
    """The exit code, the words after `weir`, and the message of each mistake in mistakes.txt. What its heading has in
    parentheses is needed for it.
    """
    text = (pathlib.Path(__file__).parent / "mistakes.txt").read_text()
    for section in text.split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        if any(f"({name})" in heading for name in lacking):
            print(f"skipped: {heading}: this build cannot do that", flush=True)
            continue
        rows = [line for line in lines if line]
        for command, answer in zip(rows[::2], rows[1::2], strict=True):
            code, message = re.fullmatch(r"  (\d+) (weir: .+)", answer).groups()
            yield int(code), shlex.split(command.removeprefix("$ weir ")), message


def check_golden(mistakes):
    for code, words, message in golden_mistakes(mistakes.lacking):
        name = shlex.join(words)
        found = mistakes.refused(name, code, words).rstrip("\n").replace(str(mistakes.weir.folder), "FOLDER")
        pattern = re.escape(message).replace("<n>", r"[\d.,]+")
        check(re.fullmatch(pattern, found), f"{name} says\n{found}\nand not\n{message}")


def check_stopped(weir):
    """What a run says that Ctrl-C ends, in one line: a command that a shell takes, whatever the folder is called."""
    run = weir.folder / "it's stopped\n$HOME=x"
    process = subprocess.Popen(weir.command(*weir.train_arguments(run, train__steps=10**6)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=weir.folder)
    end = time.monotonic() + patient(60)
    while not checkpoints(run) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=patient(60))
    folder = re.escape(str(run).replace("\n", "\\n"))
    expected = (rf"weir: stopped after step (\d+), saved in {folder}/checkpoints/step_0*\1; continue with: "
                r"weir (train --resume .+)\n")
    found = re.fullmatch(expected, message)
    check(process.returncode == STOPPED and found,
          f"a run that is stopped exits with {process.returncode} and says {message!r}")
    command = f"{shlex.quote(weir.binary)} {found[2]} train.steps={int(found[1]) + 1}"
    resumed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=weir.folder)
    check(resumed.returncode == 0 and f"(step {found[1]}, " in resumed.stdout,
          f"{command} exits with {resumed.returncode} and says {resumed.stdout} {resumed.stderr}")
    print("ok: a run that is stopped says where it was saved and how it goes on", flush=True)


def check_toml(mistakes):
    for name, (text, fragments) in TOML.items():
        (mistakes.weir.folder / "config.toml").write_text(text)
        mistakes.check(f"TOML: {name}", USAGE, fragments, ["train", "FOLDER/config.toml"])


def with_header(data, change):
    """A safetensors file with its header changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    text = change(header)
    text = text if isinstance(text, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length:]


def hostile_tensors(first):
    """Damaged safetensors files: name, fragment of the message, change of the bytes. `first` is a tensor's name."""

    def entry(**fields):
        return lambda data: with_header(data, lambda header: header[first].update(fields))

    yield "no bytes beyond a length", "", lambda data: data[:4]
    yield "header longer than the file", "", lambda data: (len(data) * 2).to_bytes(8, "little") + data[8:]
    yield "header of 2^63 bytes", "", lambda data: (2**63).to_bytes(8, "little") + data[8:]
    yield "header is no JSON", "JSON", lambda data: with_header(
        data, lambda header: json.dumps(header).encode() + b"}")
    yield "header is deeply nested", "", lambda data: with_header(data, lambda header: b'{"a":' * 20000)
    yield "data cut off", "", lambda data: data[:-5]
    yield "bytes at the end", "trailing", lambda data: data + b"more"
    yield "tensor missing", first, lambda data: with_header(data, lambda header: header.update(
        {"other": header.pop(first)}))
    yield "unknown dtype", "F8_E4M3", entry(dtype="F8_E4M3")
    yield "negative size", first, entry(shape=[-1, 32])
    yield "size beyond 64 bits", first, entry(shape=[2**47, 2**47])
    yield "size that is a fraction", first, entry(shape=[1.5])
    yield "offsets beyond the file", first, entry(data_offsets=[0, 2**40])
    yield "offsets backwards", first, entry(data_offsets=[8, 0])
    yield "a tensor twice", "twice", lambda data: with_header(
        data, lambda header: json.dumps(header).replace(
            "{", '{"%s":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % first, 1).encode())
    yield "another shape", first, lambda data: with_header(data, lambda header: header[first].update(
        shape=header[first]["shape"][::-1] + [1]))


def with_value(data, name, element, value):
    """The float32 `element` of a tensor becomes `value`."""
    length = int.from_bytes(data[:8], "little")
    begin = 8 + length + json.loads(data[8:8 + length])[name]["data_offsets"][0] + 4 * element
    return data[:begin] + struct.pack("<f", value) + data[begin + 4:]


def hostile_states():
    def value(**fields):
        return lambda data: (json.dumps(json.loads(data) | fields) + "\n").encode()

    yield "not JSON", lambda data: b"{" + data
    yield "a list", lambda data: b"[1]"
    yield "deeply nested", lambda data: b"[" * 500000
    yield "another format", value(format=99)
    yield "no configuration", value(config=7)
    yield "negative step", value(step=-1)
    yield "step beyond 64 bits", value(step=2**70)
    yield "block beyond the text", value(block=10**9)
    yield "negative block", value(block=-5)
    yield "endless memory", value(memory_groups=10**15)
    yield "more memory than stored", value(memory_groups=3)
    yield "seconds as text", value(seconds="long")
    yield "other data", value(data_checksum="0" * 32)
    yield "data of another length", value(data_tokens=1)
    yield "tokenizer out of the run folder", value(tokenizer="../tokenizer.model")
    yield "losses as text", value(accepted_losses="1")
    yield "losses of other kinds", value(accepted_losses=[1, "2"], accepted_gradient_norms=[1, 2])
    yield "more losses than norms", value(accepted_losses=[1, 2], accepted_gradient_norms=[1])
    yield "endless losses", value(accepted_losses=[1] * 65, accepted_gradient_norms=[1] * 65)
    yield "no lowest loss", value(lowest_loss=None)
    yield "negative roll-backs", value(rollbacks=-1)
    yield "held-back loss as text", value(held_back_nats="low")


def check_hostile_checkpoints(mistakes):
    """Files whose checksums were made to fit, so that what reads them has to notice."""
    xxh128, _ = load_hashes()
    run = mistakes.weir.folder / "hostile"
    shutil.copytree(mistakes.weir.folder / "run", run)
    for extra in checkpoints(run)[:-1]:
        shutil.rmtree(extra)
    checkpoint = checkpoints(run)[-1]

    def check_one(name, file_name, change, code, fragment, words):
        path, manifest = checkpoint / file_name, checkpoint / "MANIFEST.json"
        good, good_manifest = path.read_bytes(), manifest.read_bytes()
        bad = change(good)
        check(bad != good, f"{name}: the damage changes nothing")
        path.write_bytes(bad)
        entries = json.loads(good_manifest)
        entries[file_name] = {"bytes": len(bad), "xxh3_128": hex_digest(xxh128(bad))}
        manifest.write_text(json.dumps(entries) + "\n")
        mistakes.check(f"{file_name}: {name}", code, [fragment or file_name], words)
        path.write_bytes(good)
        manifest.write_bytes(good_manifest)

    resume = ["train", "--resume", "--run", "FOLDER/hostile"]
    for file_name, words in (("model.safetensors", ["eval", "FOLDER/hostile", "--threads", "1"]),
                             ("optimizer.safetensors", resume), ("memory.safetensors", resume)):
        first = next(name for name in tensor_header(checkpoint / file_name) if name != "__metadata__")
        for name, fragment, change in hostile_tensors(first):
            if file_name == "memory.safetensors" and name in ("tensor missing", "another shape"):
                fragment = "do not fit"
            check_one(name, file_name, change, DATA, fragment, words)
    for name, value in (("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf)):
        # Two experts' worth of [4, 32, 16] and one row more, and one element.
        place = f"the tensor layer1.ff.w1 is {name} at [2, 1, 3], in expert 2: these weights compute nothing"
        for words in (["eval", "FOLDER/hostile"], ["generate", "FOLDER/hostile"], resume,
                      ["eval", str(checkpoint), "--json"]):
            check_one(f"{name}, {words[0]}", "model.safetensors",
                      lambda data: with_value(data, "layer1.ff.w1", 2 * 512 + 16 + 3, value), DATA, place, words)
        check_one(f"{name} in a moment", "optimizer.safetensors",
                  lambda data: with_value(data, "v.layer0.ff.w2", 5, value), DATA,
                  f"the tensor v.layer0.ff.w2 is {name} at [0, 0, 5], in expert 0", resume)
    for name, change in hostile_states():
        fragment = "memory.safetensors" if name == "more memory than stored" else "state.json"
        check_one(name, "state.json", change, DATA, fragment, resume)
    for name, change in (("not JSON", lambda data: data[1:]), ("no entries", lambda data: b"{}"),
                         ("wrong types", lambda data: data.replace(b'"bytes":', b'"bytes":"x","b":'))):
        path = checkpoint / "MANIFEST.json"
        good = path.read_bytes()
        path.write_bytes(change(good))
        mistakes.check(f"MANIFEST.json: {name}", DATA, ["MANIFEST.json"], ["eval", str(checkpoint)])
        path.write_bytes(good)
    mistakes.weir.succeed("eval", run)


def check_large_heads(mistakes):
    """Heads that only the CPU takes, where there is a GPU, emulated or not."""
    weir = mistakes.weir
    weir.succeed(*weir.train_arguments(weir.folder / "large-heads", train__steps=8, model__head_size=300))
    fragments = ["model.head_size = 300; on cuda:0 at most 256: "]
    advice = [*fragments, "raise model.heads and lower model.head_size, or train on the cpu"]
    mistakes.check("large heads", USAGE, advice, ["TRAIN", "model.head_size=300", "--device", "cuda"])
    mistakes.check("large heads, resumed", USAGE, advice,
                   ["train", "--resume", "--run", "FOLDER/large-heads", "--device", "cuda"])
    for command in "eval", "generate":
        mistakes.check(f"large heads to {command}", USAGE, [*fragments, "leave --device out"],
                       [command, "FOLDER/large-heads", "--device", "cuda"])


def check_without_validation(weir):
    """Not a mistake: the way out that a message names."""
    arguments = weir.train_arguments(weir.folder / "trained-only", train__steps=8, eval__every=0,
                                     data__valid_fraction=0)
    check("done: 8 steps" in weir.succeed(*arguments), "a run without validation text does not end well")
    result = weir.run("eval", weir.folder / "trained-only")
    check(result.returncode == 65, f"eval of a run without validation text: {result.returncode} {result.stderr!r}")


def main():
    with setup() as weir:
        mistakes = Mistakes(weir)
        for name, (code, fragments, words) in ODD_WORDS.items():
            mistakes.check(name, code, fragments, words)
        check_toml(mistakes)
        check_golden(mistakes)
        if b"'cuda:0'" in weir.run(*mistakes.arguments(["TRAIN", "--device", "cuda:63"])).stderr:
            check_large_heads(mistakes)
        print(f"ok: {mistakes.count} mistakes of users are refused in one clear line", flush=True)
        check_stopped(weir)
        before = mistakes.count
        check_hostile_checkpoints(mistakes)
        print(f"ok: {mistakes.count - before} hostile checkpoints with fitting checksums are refused", flush=True)
        check_without_validation(weir)
        print("ok: a run without validation text ends well", flush=True)


main()
