"""What users get wrong: each mistake ends with its exit code and one line that says what, where and what to do.

One row per mistake: its name, the exit code, fragments of the message, the arguments. Settings of a tiny run come first
in `train` rows, so that only the mistake is wrong. FOLDER stands for the test's folder.
"""

import json
import shutil

from token_data import hex_digest, load_hashes
from weir_test import CONTROL, check, checkpoints, setup, tensor_header

USAGE, DATA, UNAVAILABLE, MEMORY, IO = 2, 65, 69, 71, 74


def setting(fragments, *changes, code=USAGE):
    """A training run with these settings besides the good ones."""
    return code, fragments, ["TRAIN", *changes]


SETTINGS = {
    "mistyped key": setting(["train.step", "did you mean", "train.steps"], "train.step=5"),
    "mistyped section": setting(["modle", "did you mean", "model"], "modle.layers=5"),
    "unknown key": setting(["train.zebra"], "train.zebra=5"),
    "a section": setting(["model", "section"], "model=5"),
    "no equals sign": setting(["section.key=value"], "train.steps"),
    "no value": setting(["train.steps"], "train.steps="),
    "empty override": setting(["section.key=value"], ""),
    "text for an integer": setting(["train.steps", "many"], "train.steps=many"),
    "fraction for an integer": setting(["train.steps", "1.5"], "train.steps=1.5"),
    "exponent for an integer": setting(["train.batch_size"], "train.batch_size=1e9"),
    "text for a number": setting(["optimizer.lr", "fast"], "optimizer.lr=fast"),
    "nan": setting(["optimizer.lr"], "optimizer.lr=nan"),
    "infinity": setting(["optimizer.lr"], "optimizer.lr=inf"),
    "number for a truth value": setting(["checkpoint.keep_best", "true"], "checkpoint.keep_best=7"),
    "unknown choice": setting(["feedforward.kind", "dense", "moe"], "feedforward.kind=mixture"),
    "unknown precision": setting(["model.precision", "float32", "bf16"], "model.precision=fp8"),
    "zero layers": setting(["model.layers", "1"], "model.layers=0"),
    "negative batch": setting(["train.batch_size", "-4"], "train.batch_size=-4"),
    "negative rate": setting(["optimizer.lr"], "optimizer.lr=-0.1"),
    "dropout of one": setting(["model.dropout", "below 1"], "model.dropout=1"),
    "huge d_model": setting(["model.d_model", "65536"], "model.d_model=1000000000"),
    "huge batch": setting(["train.batch_size", "1048576"], "train.batch_size=100000000"),
    "huge segment": setting(["model.segment", "1048576"], "model.segment=100000000"),
    "beyond 64 bits": setting(["train.steps"], "train.steps=99999999999999999999999"),
    "more experts used than there are": setting(["feedforward.k", "feedforward.experts"], "feedforward.k=9"),
    "assignment of two experts": setting(["feedforward.selection", "feedforward.k", "set feedforward.k = 1"],
                                         "feedforward.selection=assignment"),
    "mistyped selection": setting(["feedforward.selection", "did you mean sinkhorn?"], "feedforward.selection=sinkhron"),
    "uneven accumulation": setting(["train.batch_size", "train.accumulate"], "train.accumulate=3"),
    "warm-up beyond the end": setting(["optimizer.warmup_steps", "train.steps"], "optimizer.warmup_steps=500"),
    "rate rises at the end": setting(["optimizer.min_lr", "optimizer.lr"], "optimizer.min_lr=1"),
    "fewer tokens than a step": setting(["train.tokens", "train.batch_size"], "train.tokens=5"),
    "evaluation without text": setting(["data.valid", "eval.every"], "data.valid_fraction=0"),
    "words as tokens": setting(["model.vocabulary", "bytes", "256"], "model.vocabulary=100"),
    "more tokens than bytes": setting(["model.vocabulary", "bytes", "256"], "model.vocabulary=50000"),
    "control characters": setting([r"\u001b[31mred\n"], "train.\x1b[31mred\n=5"),
    "not UTF-8": setting(["train."], b"train.\xff\xfe=5"),
    "no such text": setting(["FOLDER/nothing.txt", "check the path"], "data.train=FOLDER/nothing.txt", code=IO),
    "text with a wild name": setting([r"\x1b"], "data.train=FOLDER/\x1b]0;x\x07\n.txt", code=IO),
    "text with a long name": setting(["shorter"], "data.train=" + 5000 * "x", code=IO),
    "empty text": setting(["FOLDER/empty.txt", "empty"], "data.train=FOLDER/empty.txt", code=IO),
    "text is a folder": setting(["FOLDER", "directory", "dataset.json"], "data.train=FOLDER", code=IO),
    "text is a device": setting(["/dev/zero", "regular file"], "data.train=/dev/zero", code=IO),
    "text not named": setting(["data.train=FILE"], "data.train="),
    "text too short": setting(["FOLDER/short.txt", "95 tokens", "train.batch_size"], "data.train=FOLDER/short.txt",
                              code=DATA),
    "validation text too short": setting(["FOLDER/tiny.txt", "model.segment"], "data.valid=FOLDER/tiny.txt", code=DATA),
    "batch beyond the text": setting(["train.batch_size"], "train.batch_size=1000000", code=DATA),
    "segment beyond the text": setting(["model.segment"], "model.segment=1000000", "eval.max_tokens=0", code=DATA),
    "layers beyond the memory": setting(["GiB", "lower"], "model.layers=1024", "model.d_model=65536",
                                        "model.heads=1024", "model.head_size=4096", code=MEMORY),
    "experts beyond the memory": setting(["GiB", "lower"], "feedforward.experts=65536", "feedforward.expert_size=65536",
                                         "model.d_model=65536", "model.layers=1024", code=MEMORY),
    "memory beyond the memory": setting(["GiB", "lower"], "model.memory=1048576", "model.d_model=4096",
                                        "model.layers=100", code=MEMORY),
}

COMMANDS = {
    "no command": (USAGE, ["--help"], []),
    "unknown command": (USAGE, ["trian", "did you mean train", "--help"], ["trian"]),
    "unknown flag": (USAGE, ["--frobnicate"], ["eval", "FOLDER/run", "--frobnicate"]),
    "unknown preset": (USAGE, ["quickstrat", "did you mean quickstart"], ["train", "quickstrat"]),
    "preset to inspect": (USAGE, ["quickstrat", "did you mean quickstart"], ["inspect", "quickstrat"]),
    "setting to inspect": (USAGE, ["model.layer", "did you mean"], ["inspect", "quickstart", "model.layer=3"]),
    "nothing to train": (USAGE, ["weir presets"], ["train"]),
    "nothing to resume": (USAGE, ["--run"], ["train", "--resume"]),
    "no run to resume": (USAGE, ["FOLDER/no-run"], ["train", "--resume", "--run", "FOLDER/no-run"]),
    "run exists": (USAGE, ["FOLDER/run", "--resume", "--run"], ["TRAIN", "--run", "FOLDER/run"]),
    "a file in the way of the run": (IO, ["FOLDER/short.txt", "--run"], ["TRAIN", "--run", "FOLDER/short.txt"]),
    "a file in the way of its parent": (IO, ["FOLDER/short.txt", "--run"], ["TRAIN", "--run", "FOLDER/short.txt/run"]),
    "resumed with another batch": (USAGE, ["train.batch_size = 2", "4"], ["RESUME", "train.batch_size=2"]),
    "resumed with another segment": (USAGE, ["model.segment"], ["RESUME", "model.segment=16", "model.memory=32"]),
    "resumed with another width": (DATA, ["model.safetensors", "shape"], ["RESUME", "model.d_model=48"]),
    "resumed with more layers": (DATA, ["model.safetensors", "layer2"], ["RESUME", "model.layers=3"]),
    "resumed with another precision": (DATA, ["memory.safetensors"], ["RESUME", "model.precision=bf16"]),
    "resumed with a shorter text": (DATA, ["middle.txt", "other data", "data.train"], ["RESUME", "data.train=FOLDER/middle.txt"]),
    "unknown device": (USAGE, ["'gpu'", "cpu, cuda"], ["TRAIN", "--device", "gpu"]),
    "no such device": (UNAVAILABLE, ["'cuda:63'", "not available", "'cpu'"], ["TRAIN", "--device", "cuda:63"]),
    "no such device to measure on": (UNAVAILABLE, ["'cuda:63'"], ["eval", "FOLDER/run", "--device", "cuda:63"]),
    "no TOML file": (USAGE, ["FOLDER/no.toml", "path"], ["train", "FOLDER/no.toml"]),
    "TOML is a folder": (USAGE, ["FOLDER/run", "directory"], ["train", "FOLDER/run/"]),
    "nothing to evaluate": (USAGE, ["run"], ["eval"]),
    "no such run": (IO, ["FOLDER/no-run"], ["eval", "FOLDER/no-run"]),
    "no such run for text": (IO, ["FOLDER/no-run"], ["generate", "FOLDER/no-run"]),
    "run with a long name": (IO, ["path"], ["eval", 5000 * "x"]),
    "empty run": (DATA, ["FOLDER/nothing", "weir train"], ["eval", "FOLDER/nothing"]),
    "run is a file": (IO, ["FOLDER/short.txt"], ["generate", "FOLDER/short.txt"]),
    "no such text to measure": (IO, ["FOLDER/no.txt"], ["eval", "FOLDER/run", "--data", "FOLDER/no.txt"]),
    "text to measure too short": (DATA, ["FOLDER/tiny.txt", "segment"],
                                  ["eval", "FOLDER/run", "--data", "FOLDER/tiny.txt"]),
    "negative memory": (USAGE, ["--memory"], ["eval", "FOLDER/run", "--memory=-1"]),
    "zero batch": (USAGE, ["--batch-size"], ["eval", "FOLDER/run", "--batch-size", "0"]),
    "memory is text": (USAGE, ["--memory"], ["eval", "FOLDER/run", "--memory", "long"]),
    "zero tokens": (USAGE, ["--tokens"], ["generate", "FOLDER/run", "--tokens", "0"]),
    "negative temperature": (USAGE, ["--temperature"], ["generate", "FOLDER/run", "--temperature=-1"]),
    "temperature is nan": (USAGE, ["--temperature"], ["generate", "FOLDER/run", "--temperature=nan"]),
    "negative seed": (USAGE, ["--seed"], ["generate", "FOLDER/run", "--seed=-1"]),
    "negative top-k": (USAGE, ["--top-k"], ["generate", "FOLDER/run", "--top-k=-1"]),
    "no such tokenizer": (USAGE, ["bites", "bytes", ".model", ".json"], ["tokenize", "bites", "x"]),
    "nothing to tokenize": (USAGE, ["--file"], ["tokenize", "bytes"]),
    "two texts to tokenize": (USAGE, ["--file"], ["tokenize", "bytes", "x", "--file", "FOLDER/short.txt"]),
    "no such text to tokenize": (IO, ["FOLDER/no.txt"], ["tokenize", "bytes", "--file", "FOLDER/no.txt"]),
    "prompt without text": (USAGE, ["--prompt"], ["generate", "FOLDER/run", "--prompt"]),
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
        for name, size in (("empty", 0), ("tiny", 10), ("short", 100), ("middle", 1200)):
            (weir.folder / f"{name}.txt").write_bytes(weir.text.read_bytes()[:size])
        (weir.folder / "nothing").mkdir()
        weir.succeed(*weir.train_arguments(weir.folder / "run", train__steps=16))

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
        before = self.contents()
        result = self.weir.run(*self.arguments(words))
        message = result.stderr.decode()  # strictly
        check(result.returncode == code, f"{name}: exits with {result.returncode}, expected {code}: {message!r}")
        check(message.startswith("weir: ") and message.count("\n") == 1 and message.endswith("\n"),
              f"{name}: expected one line that starts with 'weir: ', got {message!r}")
        check(not CONTROL.search(message), f"{name}: control characters in {message!r}")
        for fragment in map(self.fill_in, fragments):
            check(fragment in message, f"{name}: {fragment!r} is not in {message!r}")
        self.check_unchanged(name, before)
        self.count += 1

    def contents(self):
        return {path: path.read_bytes() if path.is_file() else None
                for path in self.weir.folder.rglob("*") if path.name != "lock"}

    def check_unchanged(self, name, before):
        after = self.contents()
        changed = sorted(str(path) for path in before.keys() | after.keys()
                         if before.get(path, 0) != after.get(path, 0))
        check(not changed, f"{name}: left behind or changed {changed}")


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
    for name, change in hostile_states():
        fragment = "memory.safetensors" if name == "more memory than stored" else "state.json"
        check_one(name, "state.json", change, DATA, fragment, resume)
    for name, change in (("not JSON", lambda data: data[1:]), ("no entries", lambda data: b"{}"),
                         ("wrong types", lambda data: data.replace(b'"bytes": ', b'"bytes": "x", "b": '))):
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
        for name, (code, fragments, words) in (SETTINGS | COMMANDS).items():
            mistakes.check(name, code, fragments, words)
        check_toml(mistakes)
        if b"'cuda:0'" in weir.run(*mistakes.arguments(["TRAIN", "--device", "cuda:63"])).stderr:
            check_large_heads(mistakes)
        print(f"ok: {mistakes.count} mistakes of users are refused in one clear line", flush=True)
        before = mistakes.count
        check_hostile_checkpoints(mistakes)
        print(f"ok: {mistakes.count - before} hostile checkpoints with fitting checksums are refused", flush=True)
        check_without_validation(weir)
        print("ok: a run without validation text ends well", flush=True)


main()
