"""Data that was prepared with a tokenizer: training, resuming, measuring and generating, and what can be wrong with it."""

import json
import math
import shutil

from token_data import PIECES, shard, tokenizer, write_data
from weir_test import CONTROL, check, checkpoints, metrics, setup

USAGE, DATA, UNAVAILABLE, IO = 2, 65, 69, 74


def settings(weir, run, **changes):
    return weir.train_arguments(run, data__train=weir.folder / "tokens", **changes)


def check_training(weir, run, splits):
    result = weir.succeed_json(*settings(weir, run, eval__max_tokens=0), "--json")
    lines = metrics(run)
    trained = [line for line in lines if "train/loss" in line]
    check(len(trained) == 60, f"{len(trained)} lines of training metrics")
    for line in trained:
        check(math.isclose(line["train/perplexity"], math.exp(line["train/loss"])), f"not its perplexity: {line}")
        check("train/bits_per_byte" not in line, "bits per byte of tokens that are not bytes")
    last = [line for line in lines if "valid/loss" in line][-1]
    valid, nats = splits["valid"], last["valid/loss"]
    for name, expected in (("perplexity", math.exp(nats)),
                           ("bits_per_byte", nats * valid["tokens"] / valid["bytes"] / math.log(2)),
                           ("word_perplexity", math.exp(nats * valid["tokens"] / valid["words"]))):
        check(math.isclose(last[f"valid/{name}"], expected, rel_tol=1e-9), f"valid/{name} is {last}, not {expected}")
        check(math.isclose(result[f"valid_{name}"], expected, rel_tol=1e-9), f"train --json: {name} is {result}")
    check((run / "tokenizer.model").read_bytes() == (weir.folder / "tokens" / "tokenizer.model").read_bytes(),
          "the run has not kept its tokenizer")
    print("ok: training on tokens tells perplexities, and bits per byte of the text", flush=True)
    return last


def check_evaluation(weir, run, splits, last):
    measured = weir.succeed_json("eval", run, "--json", "--threads", 1)
    for name in ("perplexity", "bits_per_byte", "word_perplexity"):
        check(math.isclose(measured[name], last[f"valid/{name}"], rel_tol=1e-6), f"eval gives {measured}, not {last}")
    text = weir.succeed("eval", run)
    for part in (f"perplexity {measured['perplexity']:.2f} per token", f"{measured['bits_per_byte']:.4f} bits per byte",
                 f"perplexity {measured['word_perplexity']:.2f} per word", "tokens (valid)",
                 f"of the {splits['valid']['tokens'] - 1} tokens", "segment 32, memory 32, batch 16, float32"):
        check(part in text, f"{part!r} is not in {text!r}")
    paper = weir.succeed_json("eval", run, "--paper", "--split", "test", "--json")
    same = weir.succeed_json("eval", run, "--memory", 128, "--batch-size", 4, "--split", "test", "--json")
    check(paper == same and paper["memory"] == 128, f"--paper gives {paper}, its settings one by one {same}")
    check(paper["data"].endswith("tokens (test)"), f"--split test measures on {paper['data']}")
    narrow = weir.folder / "narrow"
    weir.succeed(*settings(weir, narrow, model__precision="bf16", train__steps=10), "--quiet")
    check(weir.succeed_json("eval", narrow, "--json")["precision"] == "bf16", "eval changes the precision")
    check(weir.succeed_json("eval", narrow, "--paper", "--json")["precision"] == "float32", "--paper is not in float32")
    print("ok: eval repeats the validation, measures splits, and as the paper does", flush=True)


def check_generation(weir, run):
    text = weir.succeed_json("generate", run, "--prompt", "the weir", "--tokens", 30, "--temperature", 0, "--json")["text"]
    check(0 < len(text.replace("\u2047", "?")) and "\u2581" not in text, f"not decoded: {text!r}")
    asked = weir.run("generate", run, "--prompt", "grön straße", "--tokens", "5")
    check(asked.returncode == 0 and 'no token for 2 parts of the prompt: "ß", "ö"' in asked.stderr.decode(),
          f"generate does not say what it cannot read: {asked}")
    asked = weir.run("tokenize", run / "tokenizer.model", "grön ö straße")
    check('no token for 3 parts of the text: "ö" (2 times), "ß"' in asked.stderr.decode(),
          f"tokenize does not say what has no token: {asked}")
    samples = (run / "samples.txt").read_text()
    check(samples.startswith("--- step 40\n") and "\u2581" not in samples, f"samples: {samples!r}")
    print("ok: text is generated with the tokenizer of the run", flush=True)


def check_unknown(weir):
    """Five bytes of fifteen have no token, one the line end: whoever shows figures of such a text says so."""
    model, odd, data, run = (weir.folder / name for name in ("probe.model", "odd.txt", "partly", "partly-run"))
    odd.write_text("the weir ö ß\n" * 400)
    share = 5 / 15
    lines = weir.text.read_text().splitlines()
    size = weir.text.stat().st_size
    removed = (size - sum(len(" ".join(line.split())) for line in lines)) / size
    arguments = ("prepare", "files", "--train", weir.text, "--valid", odd, "--tokenizer", model, "--out", data)
    said = weir.run(*arguments)
    output = (said.stdout + said.stderr).decode()
    check("valid: the tokenizer has no token for 33.3% of the text" in output and "--tokenizer bytes" in output,
          f"prepare says {output}")
    splits = weir.succeed_json(*arguments, "--force", "--json")["splits"]
    for place, found in (("--json", splits), ("dataset.json", json.loads((data / "dataset.json").read_text())["splits"])):
        check(math.isclose(found["valid"]["unknown_share"], share), f"{place} says {found}")
        check(math.isclose(found["train"]["unknown_share"], removed), f"{place} says {found}, expected {removed}")
    output = weir.succeed(*weir.train_arguments(run, data__train=data, train__steps=10))
    check("33.3% of the text without a token" in output, f"train says {output}")
    for text in ((), ("--data", odd)):
        check(math.isclose(weir.succeed_json("eval", run, *text, "--json")["unknown_share"], share), f"eval {text}")
        check("no token for 33.3% of the text" in weir.succeed("eval", run, *text), f"eval {text} keeps quiet")
    measured = weir.succeed_json("eval", run, "--data", weir.text, "--json")
    check(math.isclose(measured["unknown_share"], removed), f"eval --json says {measured}, expected {removed}")
    check("do not rank these runs: quickstart (33.3%)" in weir.succeed("report", "--table", run), "the table keeps quiet")
    table = weir.succeed_json("report", "--table", run, "--json")
    check(math.isclose(table["runs"][0]["last"]["unknown_share"], share), f"report --table --json says {table}")
    print("ok: text without tokens is told by prepare, train, eval and report", flush=True)


def check_moved_data(weir, run):
    """The data folder goes elsewhere: the run is still usable, and resumes from the new place."""
    there, elsewhere = weir.folder / "tokens", weir.folder / "moved"
    there.rename(elsewhere)
    result = weir.run("generate", run, "--prompt", "the weir", "--tokens", "5")
    check(result.returncode == 0 and b"no context" in result.stderr, f"generate without the data: {result}")
    weir.succeed("eval", run, "--data", elsewhere)
    weir.succeed(*weir.train_arguments(run, data__train=elsewhere, model__vocabulary=len(PIECES), train__steps=62),
                 "--resume", "--quiet")
    elsewhere.rename(there)
    print("ok: a run outlives the place of its data", flush=True)


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def flipped(offset):
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1:]


def edited(**fields):
    return lambda data: json.dumps(json.loads(data) | fields).encode()


def with_first_shard(**fields):
    def change(data):
        content = json.loads(data)
        content["splits"]["train"]["shards"][0].update(fields)
        return json.dumps(content).encode()

    return change


def with_train(**fields):
    def change(data):
        content = json.loads(data)
        content["splits"]["train"].update(fields)
        return json.dumps(content).encode()

    return change


def too_large(data):
    """A token beyond the vocabulary, with checksums that fit."""
    count = (len(data) - 64) // 2
    tokens = [int.from_bytes(data[64 + 2 * i:66 + 2 * i], "little") for i in range(count)]
    tokens[7] = len(PIECES)
    return shard(tokens, len(PIECES))


# Name, exit code, fragments of the message, the file that is damaged and how; DATA stands for the folder.
DAMAGES = [
    ("flipped bit in a shard", DATA, ["DATA/train-00001.tokens", "damaged", "checksum", "weir prepare"],
     "train-00001.tokens", flipped(500)),
    ("flipped bit in a header", DATA, ["DATA/train-00001.tokens", "header"], "train-00001.tokens", flipped(30)),
    ("shard cut off", DATA, ["DATA/train-00000.tokens", "2062 bytes", "1000 tokens"], "train-00000.tokens",
     lambda data: data[:-2]),
    ("shard is a text", DATA, ["DATA/train-00000.tokens", "not a token shard"], "train-00000.tokens",
     lambda data: b"text" * 100),
    ("shard is empty", DATA, ["DATA/train-00000.tokens", "empty"], "train-00000.tokens", lambda data: b""),
    ("token out of range", DATA, ["DATA/valid-00000.tokens", "dataset.json"], "valid-00000.tokens", too_large),
    ("shard of another vocabulary", DATA, ["DATA/train-00000.tokens", "vocabulary is 299", "300"], "train-00000.tokens",
     lambda data: shard([1] * 1000, 299)),
    ("shard leads out of the folder", DATA, ["DATA/dataset.json", "splits.train.shards[0].file"], "dataset.json",
     with_first_shard(file="../run/train-00000.tokens")),
    ("counts disagree", DATA, ["DATA/dataset.json", "splits.train.tokens"], "dataset.json", with_first_shard(tokens=999)),
    ("more than all is unknown", DATA, ["DATA/dataset.json", "splits.train.unknown_share", "1.5"], "dataset.json",
     with_train(unknown_share=1.5)),
    ("unknown in words", DATA, ["DATA/dataset.json", "splits.train.unknown_share", "number"], "dataset.json",
     with_train(unknown_share="some")),
    ("no JSON", DATA, ["DATA/dataset.json", "JSON"], "dataset.json", lambda data: data[:-1]),
    ("no such format", DATA, ["DATA/dataset.json", "format"], "dataset.json", edited(format=2)),
    ("tokenizer of another vocabulary", DATA, ["DATA/tokenizer.model", "299 tokens", "300"], "tokenizer.model",
     lambda data: tokenizer(PIECES[:-1])),
    ("damaged tokenizer", DATA, ["DATA/tokenizer.model"], "tokenizer.model", lambda data: data[:-1]),
]


class Mistakes:
    def __init__(self, weir):
        self.weir = weir
        self.count = 0

    def check(self, name, code, fragments, *arguments):
        result = self.weir.run(*arguments)
        message = result.stderr.decode()
        check(result.returncode == code, f"{name}: exits with {result.returncode}, expected {code}: {message!r}")
        check(message.startswith("weir: ") and message.count("\n") == 1, f"{name}: not one line: {message!r}")
        check(not CONTROL.search(message), f"{name}: control characters in {message!r}")
        for fragment in fragments:
            check(fragment in message, f"{name}: {fragment!r} is not in {message!r}")
        check(not (self.weir.folder / "new").exists(), f"{name}: a run folder is left behind")
        self.count += 1


def check_mistakes(weir, run):
    mistakes = Mistakes(weir)
    data, new, pristine = weir.folder / "tokens", weir.folder / "new", weir.folder / "pristine"
    shutil.copytree(data, pristine)

    def restore():
        shutil.rmtree(data)
        shutil.copytree(pristine, data)

    for name, code, fragments, file, change in DAMAGES:
        damage(data, file, change)
        mistakes.check(name, code, [f.replace("DATA", str(data)) for f in fragments], *settings(weir, new))
        restore()
    for name, code, file in (("absent tokenizer", IO, "tokenizer.model"), ("absent shard", IO, "train-00001.tokens"),
                             ("absent dataset.json", IO, "dataset.json")):
        (data / file).unlink()
        mistakes.check(name, code, [str(data), file], *settings(weir, new))
        restore()
    # Both checksums fit, so that only the value itself is wrong.
    damage(data, "train-00001.tokens", too_large)
    changed = (data / "train-00001.tokens").read_bytes()[40:56]
    digest = changed[:7:-1].hex() + changed[7::-1].hex()
    content = json.loads((data / "dataset.json").read_text())
    content["splits"]["train"]["shards"][1]["xxh3_128"] = digest
    (data / "dataset.json").write_text(json.dumps(content))
    mistakes.check("token out of range, checksums that fit", DATA,
                   [f"{data}/train-00001.tokens: token 7 (byte offset 78) is 300"], *settings(weir, new))
    restore()

    mistakes.check("another vocabulary", USAGE, ["model.vocabulary = 256", "300", "set model.vocabulary=300"],
                   *weir.train_arguments(new, data__train=data, model__vocabulary=256))
    mistakes.check("vocabulary of a preset", USAGE, ["model.vocabulary = 8000", "300", "set model.vocabulary=300"],
                   "train", "wt103-small-dense", f"data.train={data}", "--run", new)
    mistakes.check("validation on bytes", USAGE, ["300 tokens of its tokenizer", str(weir.text), "bytes", "prepare both texts"],
                   *settings(weir, new, data__valid=weir.text))
    other = weir.folder / "other"
    write_data(other, weir.text.read_text().replace("water", "river"))
    resume = weir.train_arguments(run, data__train=other, model__vocabulary=len(PIECES), train__steps=70)
    mistakes.check("resumed with other data", DATA, [str(other), "other data", "data.train"], *resume, "--resume")
    (data / "tokenizer.model").write_bytes(tokenizer(PIECES[:-1] + ["another"]))
    resume = weir.train_arguments(run, data__train=data, model__vocabulary=len(PIECES), train__steps=70)
    mistakes.check("resumed with another tokenizer", DATA,
                   [str(run / "tokenizer.model"), str(data / "tokenizer.model"), "another one"], *resume, "--resume")
    restore()
    in_bytes = weir.folder / "bytes"
    weir.succeed("prepare", "files", "--train", weir.text, "--tokenizer", "bytes", "--out", in_bytes)
    mistakes.check("measured on bytes", DATA, ["bytes", "tokenizer"], "eval", run, "--data", in_bytes, "--split", "train")
    mistakes.check("no such split", USAGE, ["--split"], "eval", run, "--split", "tset")
    mistakes.check("split of a text", USAGE, ["--split test", "no splits"], "eval", run, "--data", weir.text, "--split",
                   "test")
    mistakes.check("the paper's way with another memory", USAGE, ["--paper", "--memory"], "eval", run, "--paper",
                   "--memory", "5")
    (other / "tokenizer.model").write_bytes(tokenizer(PIECES[:-1] + ["another"]))
    mistakes.check("measured on tokens of another tokenizer", DATA, [str(other), "tokenizer"], "eval", run, "--data",
                   other)
    (run / "tokenizer.model").rename(run / "away")
    mistakes.check("tokenizer of the run is gone", IO, [str(run / "tokenizer.model")], "generate", run, "--no-context")
    (run / "away").rename(run / "tokenizer.model")
    print(f"ok: {mistakes.count} mistakes with prepared data are refused in one clear line", flush=True)


def main():
    with setup() as weir:
        (weir.folder / "probe.model").write_bytes(tokenizer(PIECES))
        probe = weir.run("tokenize", weir.folder / "probe.model", "a weir")
        if b"this build cannot" in probe.stderr:
            print("skipped: this build has no SentencePiece")
            raise SystemExit(77)
        check(probe.stdout.decode().split() == [str(PIECES.index(c)) for c in "\u2581a\u2581weir"], f"tokenize: {probe}")
        splits = write_data(weir.folder / "tokens", weir.text.read_text())
        run = weir.folder / "run"
        last = check_training(weir, run, splits)
        check_evaluation(weir, run, splits, last)
        check_generation(weir, run)
        check_unknown(weir)
        check_moved_data(weir, run)
        check_mistakes(weir, run)


main()
