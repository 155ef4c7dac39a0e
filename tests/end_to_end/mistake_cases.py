"""What the mistakes in mistakes.txt are made with: files of the wrong kind, damaged runs, tokenizers that are none."""

import io
import os
import shutil
import zipfile

from weir_test import checkpoints

BROKEN_JSON = '{"model": {"type": "BPE"'
OTHER_JSON = '{"version": "1.0", "model": {"type": "Unknown"}}'
WORD_PIECE = '{"version": "1.0", "model": {"type": "WordPiece", "vocab": {"a": 0, "[UNK]": 7}, "unk_token": "[UNK]"}}'
SHORT = {"train__steps": 2, "optimizer__warmup_steps": 1, "eval__every": 0, "sample__every": 0}
VARIANT = 'preset = "quickstart"\n[[variant]]\nname = "a"\n'


def write_texts(folder, text):
    for name, size in (("empty", 0), ("one", 1), ("short", 100), ("middle", 1200)):
        (folder / f"{name}.txt").write_bytes(text[:size])
    files = {
        "lines.txt": text[:9000].replace(b" ", b"\n"), "one-line.txt": text[:3000].replace(b"\n", b" "),
        "utf16.txt": text[:400].decode().encode("utf-16"), "latin1.txt": 300 * b"caf\xe9 caf\xe9\n",
        "zeros.txt": text[:93] + b"\0" + text[:400],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)


def encrypted_zip():
    """What says that it is encrypted, in the flags of both headers."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("text.txt", "secret " * 20)
    data = bytearray(packed.getvalue())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def write_other_files(folder):
    files = {
        "picture.png": b"\x89PNG\r\n\x1a\n0000", "program.txt": b"\x7fELF\x02\x01\x01" + bytes(100),
        "paper.pdf": b"%PDF-1.7\n", "cut.zip": b"PK\x03\x04xx", "locked.zip": encrypted_zip(), "cut.xz": b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F",
        "empty.model": b"", "broken.model": b"x", "cut.json": BROKEN_JSON.encode(), "empty.json": b"{}",
        "other.json": OTHER_JSON.encode(), "one.toml": VARIANT.encode(), "same-names.toml": (
            VARIANT + '[[variant]]\nname = "a"\n').encode(), "no-variants.toml": b'preset = "quickstart"\n',
        "twice.toml": b"[train]\nsteps = 1\nsteps = 2\n", "open.toml": b"[train\nsteps = 1\n",
        "utf16.toml": "[train]\nsteps = 1\n".encode("utf-16"), "configuration": b"# mine\n\n[train]\nsteps = 1\n",
        "seeds.toml": b'seeds = 3\n[[variant]]\nname = "a"\n',
        "docs.jsonl": 40 * b'{"text": "a weir in a river"}\n', "word-piece.json": WORD_PIECE.encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "nothing").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("not-there")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.toml")
    (folder / "swept" / "a-seed1").mkdir(parents=True)
    (folder / "swept" / "a-seed1" / "result.json").write_text('{"outcome": 5}')


def make_words(weir):
    """`words`, prepared with a tokenizer, `words-run` on it, and `other-words` with as many tokens of another one."""
    weir.succeed("prepare", "files", "--train", "lines.txt", "--valid-fraction", "0.1", "--vocabulary", "40", "--out",
                 weir.folder / "words", "--quiet")
    weir.succeed("prepare", "files", "--train", "text.txt", "--valid-fraction", "0.1", "--vocabulary", "40", "--out",
                 weir.folder / "other-words", "--quiet")
    weir.succeed(*weir.train_arguments(weir.folder / "words-run", data__train=weir.folder / "words", **SHORT))


def make_runs(weir):
    """`run` and spoilt copies of it; `data-gone`, whose text is not there."""
    folder = weir.folder
    weir.succeed(*weir.train_arguments(folder / "run", train__steps=16))
    shutil.copy(weir.text, folder / "gone.txt")
    weir.succeed(*weir.train_arguments(folder / "data-gone", data__train="gone.txt", **SHORT))
    (folder / "gone.txt").unlink()
    for name in ("damaged", "newest-damaged", "without-checkpoints", "without-configuration", "bad-configuration",
                 "empty-configuration"):
        shutil.copytree(folder / "run", folder / name)
    for checkpoint in checkpoints(folder / "damaged") + checkpoints(folder / "newest-damaged")[-1:]:
        (checkpoint / "model.safetensors").write_bytes(b"")
    for checkpoint in checkpoints(folder / "without-checkpoints"):
        shutil.rmtree(checkpoint)
    (folder / "without-configuration" / "config.toml").unlink()
    for name in "metrics.jsonl", "samples.txt", "checkpoints":
        shutil.copytree(folder / "run", folder / f"pipe-for-{name}")
        path = folder / f"pipe-for-{name}" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        os.mkfifo(path)
    for name in "one", "two":
        (folder / "shelf" / name).mkdir(parents=True)
        shutil.copy(folder / "run" / "config.toml", folder / "shelf" / name)
    (folder / "bad-configuration" / "config.toml").write_text("model = [\n")
    (folder / "empty-configuration" / "config.toml").write_text("")


def make_occupied(weir):
    """Folders in which no run may begin: with the checkpoints of another, with files of a run's names, with texts."""
    files = {"their-configuration/config.toml": "x = 1\n", "their-metrics/metrics.jsonl": "{}\n",
             "their-lock/lock": "mine\n", "texts/a.txt": "a text\n", "texts/b.txt": "another\n"}
    for name, text in files.items():
        path = weir.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (weir.folder / "linked").mkdir()
    (weir.folder / "linked" / "checkpoints").symlink_to(weir.folder / "run" / "checkpoints")


def make_data(weir):
    """`book`, prepared, with a file of the user in its folder; `book-damaged`, whose description is cut off."""
    for name in "book", "book-damaged":
        weir.succeed("prepare", "files", "--train", "lines.txt", "--valid-fraction", "0.1", "--tokenizer", "bytes",
                     "--out", weir.folder / name, "--quiet")
    (weir.folder / "book" / "notes.txt").write_text("mine")
    (weir.folder / "book-damaged" / "dataset.json").write_text("{")


def make_cases(weir):
    """Returns what this build lacks, as the headings in mistakes.txt name it."""
    write_texts(weir.folder, weir.text.read_bytes())
    write_other_files(weir.folder)
    make_runs(weir)
    make_data(weir)
    make_occupied(weir)
    lacking = set()
    if "packed or not" not in weir.succeed("prepare", "--help"):
        lacking.add("unpacking")
    if any(b"this build cannot" in weir.run("tokenize", name, "x").stderr for name in ("broken.model", "empty.json")):
        lacking.add("tokenizers")
    else:
        make_words(weir)
    return lacking
