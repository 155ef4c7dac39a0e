"""Texts as users bring them: packed, in other encodings, no texts at all; JSON lines as other programs write them."""

import bz2
import gzip
import io
import json
import lzma
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

from token_data import hex_digest, load_hashes, write_data
from weir_test import CONTROL, check, checkpoints, setup

USAGE, DATA, IO = 2, 65, 74


def refused(weir, code, fragments, *arguments):
    result = weir.run(*arguments)
    message = result.stderr.decode()  # strictly
    where = f"weir {' '.join(map(str, arguments))}"
    check(result.returncode == code, f"{where} exits with {result.returncode}, expected {code}: {message}")
    check(message.startswith("weir: ") and message.count("\n") == 1, f"{where} says {message!r}")
    check(not CONTROL.search(message), f"{where} prints control characters: {message!r}")
    for fragment in fragments:
        check(fragment in message, f"{where}: no {fragment!r} in {message!r}")


def train(weir, run, **changes):
    settings = {"train__steps": 3, "optimizer__warmup_steps": 1, "sample__every": 0} | changes
    weir.succeed(*weir.train_arguments(run, **settings))
    return (checkpoints(run)[-1] / "model.safetensors").read_bytes()


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return packed.getvalue()


def tar_of(members, mode):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as file:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def packings(text):
    packed = {"gz": gzip.compress(text), "bz2": bz2.compress(text), "xz": lzma.compress(text),
              "zip": zip_of({"folder/text.txt": text}), "tar": tar_of({"text.txt": text}, "w"),
              "tar.gz": tar_of({"text.txt": text}, "w:gz"), "tar.xz": tar_of({"text.txt": text}, "w:xz")}
    if shutil.which("zstd"):
        packed["zst"] = subprocess.run(["zstd", "-q", "-c"], input=text, capture_output=True, check=True).stdout
    return packed


def png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(9 * 8 * b"\0")) + chunk(b"IEND", b""))


def commands(weir, path):
    """Every way to name a text, with how to say there that any bytes are meant."""
    settings = {"train__steps": 3, "optimizer__warmup_steps": 1, "sample__every": 0, "eval__max_tokens": 512}
    new = weir.folder / "new"
    prepare = ["prepare", "files", "--tokenizer", "bytes", "--out", weir.folder / "out", "--quiet"]
    return [
        (weir.train_arguments(new, data__train=path, **settings), "data.encoding=bytes"),
        (weir.train_arguments(new, data__valid=path, **settings), "data.encoding=bytes"),
        (["eval", weir.folder / "run", "--max-tokens", 512, "--data", path], "--encoding bytes"),
        (["tokenize", "bytes", "--count", "--file", path], "--encoding bytes"),
        (["text", path], "--encoding bytes"),
        ([*prepare, "--train", path], "--encoding bytes"),
        ([*prepare, "--train", weir.text, "--valid", path], "--encoding bytes"),
    ]


def clean_up(weir):
    for name in ("new", "out"):
        shutil.rmtree(weir.folder / name, ignore_errors=True)


def check_packed(weir):
    text = weir.text.read_bytes()
    plain = train(weir, weir.folder / "run")
    for ending, packed in packings(text).items():
        path = weir.folder / f"text.txt.{ending}"
        path.write_bytes(packed)
        check(train(weir, weir.folder / "new", data__train=path) == plain, f"{ending}: trains other weights")
        shutil.rmtree(weir.folder / "new")
        result = weir.run("text", path)
        check(result.stdout == text, f"{ending}: weir text prints another text: {result.stderr}")
        for arguments, _ in commands(weir, path):
            weir.succeed(*arguments)
            clean_up(weir)
        path.write_bytes(packed[:len(packed) // 2])
        for arguments, _ in commands(weir, path):
            refused(weir, DATA, [f"text.txt.{ending}"], *arguments)
        check(not (weir.folder / "new").exists() and not (weir.folder / "out").exists(), f"{ending}: half is left")
        path.unlink()
    for name, data in {"two.zip": zip_of({"a": b"a", "b": b"b"}), "two.tar": tar_of({"a": b"a", "b": b"b"}, "w"),
                       "two.tar.gz": tar_of({"a": b"a", "b": b"b"}, "w:gz")}.items():
        (weir.folder / name).write_bytes(data)
        refused(weir, DATA, [name, "several files (a, b)"], "text", weir.folder / name)
    bomb = weir.folder / "bomb.xz"
    bomb.write_bytes(lzma.compress(bytes(97) + 100_000_000 * b"a"))
    refused(weir, DATA, ["bomb.xz"], *weir.train_arguments(weir.folder / "new", data__train=bomb))
    broken = bytearray(tar_of({"text.txt": text}, "w:gz"))
    broken[-8] ^= 1  # of the checksum
    (weir.folder / "broken.tar.gz").write_bytes(broken)
    refused(weir, DATA, ["broken.tar.gz", "damaged"], "text", weir.folder / "broken.tar.gz")
    print("ok: packed texts train, evaluate, tokenize and prepare as plain ones do", flush=True)


def check_other_files(weir):
    words = 300 * "Ein Wehr staut das Wasser über der Größe seiner Öffnung.\n"
    files = {
        "utf16.txt": (words.encode("utf-16"), "UTF-16: its byte-order mark"),
        "utf16le.txt": (words.encode("utf-16-le"), "iconv -f UTF-16LE"),
        "utf16be.txt": (words.encode("utf-16-be"), "iconv -f UTF-16BE"),
        "utf32.txt": (words.encode("utf-32"), "UTF-32"),
        "latin1.txt": (words.encode("latin-1"), "iconv -f LATIN1"),
        "zeros.txt": (words.encode() + b"\0" + words.encode(), f"offset {len(words.encode())} is zero"),
        "image.png": (20 * png(), "a PNG image"),
        "image.txt.gz": (gzip.compress(20 * png()), "a PNG image"),
        "program": (pathlib.Path(weir.binary).read_bytes()[:20000], "(ELF)"),
        "letter.docx": (zip_of({"[Content_Types].xml": "<x/>", "word/document.xml": words}), "a Word"),
        "model.pt": (zip_of({"archive/data.pkl": words}), "a PyTorch file"),
        "book.pdf": (b"%PDF-1.7\n" + words.encode(), "pdftotext"),
        "run.safetensors": ((checkpoints(weir.folder / "run")[-1] / "model.safetensors").read_bytes(), "(safetensors)"),
    }
    for name, (data, fragment) in files.items():
        path = weir.folder / name
        path.write_bytes(data)
        for arguments, meant in commands(weir, path):
            refused(weir, DATA, [name, fragment, meant], *arguments)
            check(not (weir.folder / "new").exists() and not (weir.folder / "out").exists(), f"{name}: half is left")
            if len(data) > 5000:
                result = weir.run(*arguments, *meant.split())
                check(result.returncode == 0, f"{name} with {meant}: {result.stderr}")
                clean_up(weir)
        check(weir.run("text", path, "--encoding", "bytes").stdout == data, f"{name} is not taken as it is")
    print(f"ok: {len(files)} files that are no UTF-8 text are refused by every command, unless bytes are meant", flush=True)

    late = 60000 * words[:57].encode() + b"\0"
    for name, data in (("late.txt", late), ("late.txt.gz", gzip.compress(late))):
        (weir.folder / name).write_bytes(data)
        result = weir.run("text", weir.folder / name)
        check(result.returncode == DATA and not result.stdout, f"{name} is printed as far as it is a text: {result.stderr}")

    few = weir.folder / "few.txt"
    few.write_bytes(words.encode() + b"caf\xe9\n" + words.encode())
    marked = weir.folder / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + words.encode())
    for path in (few, marked):
        for arguments, _ in commands(weir, path):
            result = weir.run(*arguments)
            check(result.returncode == 0, f"{path}: {result.stderr}")
            clean_up(weir)
    check(weir.run("text", few).stdout == few.read_bytes(), "a few bytes that are not UTF-8 are changed")
    check(weir.run("text", marked).stdout == words.encode(), "the mark of UTF-8 is taken for text")
    result = subprocess.run(weir.command("tokenize", "bytes", "--file", "/dev/stdin"), input=b"\xef\xbb\xbfab\nc\n",
                            capture_output=True, check=True)
    check(result.stdout == b"97 98\n99\n", f"tokenize reads a pipe as {result.stdout}")
    result = subprocess.run(weir.command("tokenize", "bytes", "--file", "/dev/stdin", "--zero"), input=b"a\nb\0c\0",
                            capture_output=True, check=True)
    check(result.stdout == b"97 10 98\n99\n", f"tokenize --zero reads a pipe as {result.stdout}")
    print("ok: a few stray bytes, a mark of UTF-8, a pipe", flush=True)


def check_unreadable(weir):
    (weir.folder / "loop").symlink_to(weir.folder / "loop")
    (weir.folder / "gone").symlink_to(weir.folder / "nothing")
    (weir.folder / "empty").touch()
    (weir.folder / "nothing.gz").write_bytes(gzip.compress(b""))
    subprocess.run(["mkfifo", str(weir.folder / "pipe")], check=True)
    for name, code, fragment in (("loop", IO, "symbolic link leads back to itself"), ("gone", IO, "nothing"),
                                 ("empty", DATA, "empty"), ("nothing.gz", DATA, "nothing in this text"),
                                 ("pipe", IO, "pipe")):
        refused(weir, code, [name, fragment], *weir.train_arguments(weir.folder / "new",
                                                                    data__train=weir.folder / name))
    print("ok: what cannot be read is told apart", flush=True)


def check_evaluation(weir):
    """A text given to eval is measured as the same text in a prepared folder."""
    text = weir.text.read_text()
    write_data(weir.folder / "data", text)
    run = weir.folder / "words"
    train(weir, run, data__train=weir.folder / "data", model__vocabulary=300, train__steps=10)
    prepared = weir.succeed_json("eval", run, "--json", "--threads", 1)
    valid = "".join(line + "\n" for line in text.splitlines()[-20:-10])
    (weir.folder / "valid.txt").write_text(valid)
    (weir.folder / "valid.txt.xz").write_bytes(lzma.compress(valid.encode()))
    for name in ("valid.txt", "valid.txt.xz"):
        result = weir.succeed_json("eval", run, "--data", weir.folder / name, "--json", "--threads", 1)
        check(result["data"].endswith(name), f"eval says that it measured {result['data']}")
        for key in ("tokens", "nats_per_token", "perplexity", "bits_per_byte", "word_perplexity"):
            check(result[key] == prepared[key], f"{name}: {key} is {result[key]}, of the prepared text {prepared[key]}")
    whole = sum(1 + len(" " + line.strip()) - 1 for line in valid.splitlines())
    bits = prepared["nats_per_token"] * whole / len(valid) / math.log(2)
    check(abs(bits - prepared["bits_per_byte"]) < 1e-9, f"{prepared['bits_per_byte']} bits per byte, expected {bits}")
    refused(weir, USAGE, ["--split"], "eval", run, "--data", weir.folder / "valid.txt", "--split", "valid")
    (weir.folder / "blank.txt").write_text("\n\n\n")
    refused(weir, DATA, ["blank.txt", "no token"], "eval", run, "--data", weir.folder / "blank.txt")
    print("ok: eval encodes a text with the tokenizer of the run, as prepare does", flush=True)


MARK = "\ufffd"
SOUND = '{"text":"one two three"}\n'
ODD_LINES = {
    "surrogate": ('{"text":"half \\ud83d pair"}\n', f"half {MARK} pair", {"lone_surrogates": 1}),
    "surrogates": ('{"text":"\\udc00\\ud83d\\ude00\\ud83d","\\udfff":1}\n', f"{MARK}\U0001f600{MARK}",
                   {"lone_surrogates": 3}),
    "blank": ("\n", None, {"blank_lines": 1}),
    "blanks": ("  \t\r\n\n", None, {"blank_lines": 2}),
    "overflow": ('{"text":"one","score":1e999}\n', "one", {"odd_numbers": 1}),
    "nan": ('{"a":NaN,"text":"one","b":[-Infinity,{"c":Infinity}]}\n', "one", {"odd_numbers": 3}),
    "latin": ('{"text":"caf\\e9"}\n'.replace("\\e9", "\udce9"), f"caf{MARK}", {"invalid_bytes": 1}),
    "both": ('{"text":"\\ud83d","b":NaN}\n', MARK, {"lone_surrogates": 1, "odd_numbers": 1}),
    "cut off": ('{"text":"one', None, {"bad_lines": 1}),
    "no text": ('{"txt":"one"}\n', None, {"bad_lines": 1}),
    "wrong type": ('{"text":["one"]}\n', None, {"bad_lines": 1}),
}


def check_odd_lines(weir):
    valid = weir.folder / "c4-validation.json"
    valid.write_text(3 * SOUND)
    path, out = weir.folder / "c4-train.json", weir.folder / "out"
    arguments = ["prepare", "c4", "--from", path, valid, "--tokenizer", "bytes", "--out", out]
    for name, (line, text, mended) in ODD_LINES.items():
        after = "" if not line.endswith("\n") else 5 * SOUND
        path.write_bytes((9 * SOUND + line + after).encode(errors="surrogateescape"))
        result = weir.succeed_json(*arguments, "--json")
        documents = 9 * ["one two three"] + ([] if text is None else [text]) + (5 * ["one two three"] if after else [])
        expected = "".join(document + "<STORY_SEP>" for document in documents).encode()
        check((out / "train-00000.tokens").read_bytes()[64:] == expected, f"{name}: other tokens")
        said = result["splits"]["train"]["mended"]
        check({what: entry["count"] for what, entry in said.items()} == mended, f"{name}: prepare --json says {said}")
        check(all(entry["first"] == f"{path}:10" for entry in said.values()), f"{name}: prepare --json says {said}")
        check("mended" not in result["splits"]["valid"], f"{name}: prepare --json says {result}")
        check(json.loads((out / "dataset.json").read_text())["splits"]["train"]["mended"] == said,
              f"{name}: dataset.json says otherwise")
        output = weir.succeed(*arguments, "--force")
        check("train: mended: " in output and f"(first: {path}:10)" in output, f"{name}: prepare says {output}")
        shutil.rmtree(out)
    path.write_bytes(b"\xef\xbb\xbf" + 3 * SOUND.encode())
    check("mended" not in weir.succeed_json(*arguments, "--json")["splits"]["train"], "a mark is mended")
    shutil.rmtree(out)
    path.write_text(18 * SOUND + 3 * '{"txt":"one"}\n')
    for more in ([], ["--tokenizer", "train", "--vocabulary", 40]):
        refused(weir, DATA, [f"weir: {path}: line 19", "3 of the first 21"], *arguments[:-4], *more or arguments[-4:-2],
                *arguments[-2:])
    path.write_bytes((20 * SOUND).encode("utf-16"))
    refused(weir, DATA, ["c4-train.json", "UTF-16"], *arguments)
    check(not out.exists(), "a refusal leaves something")
    print(f"ok: {len(ODD_LINES)} kinds of odd JSON lines are mended or skipped, and counted", flush=True)


def half(value):
    return struct.pack("<e", value)


def check_edited_weights(weir):
    """Weights that another program wrote, as docs/formats.md tells how to put them back."""
    run = weir.folder / "edited"
    shutil.copytree(weir.folder / "run", run)
    before = weir.succeed_json("eval", run, "--json", "--threads", 1)["nats_per_token"]
    checkpoint = checkpoints(run)[-1]
    path = checkpoint / "model.safetensors"
    data = path.read_bytes()
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:size])
    values = struct.unpack(f"<{(len(data) - size) // 4}f", data[size:])
    for name, entry in header.items():
        if name != "__metadata__":
            entry["dtype"] = "F16"
            entry["data_offsets"] = [offset // 2 for offset in entry["data_offsets"]]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(map(half, values)))
    refused(weir, DATA, ["model.safetensors", "bytes, the manifest says"], "eval", checkpoint)
    manifest = json.loads((checkpoint / "MANIFEST.json").read_text())
    xxh128, _ = load_hashes()
    data = path.read_bytes()
    manifest["model.safetensors"] = {"bytes": len(data), "xxh3_128": hex_digest(xxh128(data))}
    (checkpoint / "MANIFEST.json").write_text(json.dumps(manifest))
    after = weir.succeed_json("eval", checkpoint, "--json", "--threads", 1)["nats_per_token"]
    check(after != before and abs(after - before) < 1e-3, f"F16 weights give {after} nats, float32 {before}")
    print("ok: edited weights, in half precision, under a manifest without a line end", flush=True)


def main():
    with setup() as weir:
        if "packed or not" not in weir.succeed("prepare", "--help"):
            print("skipped: this build lacks libarchive or zlib", flush=True)
            sys.exit(77)
        check_packed(weir)
        check_other_files(weir)
        check_unreadable(weir)
        check_evaluation(weir)
        check_odd_lines(weir)
        check_edited_weights(weir)


main()
