"""Weir's tokens of tokenizer.json files against those of the Python package `tokenizers`, on the same files.

    python3 -B tests/tokenizers/compare_tokenizers.py build/tools/weir/weir build/tokenizers-venv

The second argument is a folder for a virtual environment, which is made and filled from PyPI where it is not there.
WEIR_DATA=FOLDER takes the .txt files there instead of this project's own text. Exits with 77, and says why, where the
package cannot be had or Weir's support is absent.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import package
import samples


def message_fields(data):
    """The fields of a protocol buffers message whose values are bytes: (number, value)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            varint()
        elif key & 7 == 2:
            length = varint()
            yield key >> 3, data[at:at + length]
            at += length
        else:
            at += {1: 8, 5: 4}[key & 7]


def charsmap(folder, lines):
    """SentencePiece's table of replacements, out of a model; nothing where its programs are absent."""
    if not shutil.which("spm_train"):
        print("without Precompiled: there is no spm_train (Debian's package sentencepiece) to take a table from")
        return b""
    (folder / "train").write_text("\n".join(lines[:2000]), encoding="utf-8")
    subprocess.run(["spm_train", f"--input={folder}/train", f"--model_prefix={folder}/m", "--vocab_size=500",
                    "--hard_vocab_limit=false", "--minloglevel=2"], check=True)
    normalizer = dict(message_fields((folder / "m.model").read_bytes()))[3]
    return dict(message_fields(normalizer))[2]


def results_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def main():
    weir = str(pathlib.Path(sys.argv[1]).resolve())
    python = package.python_with_package(pathlib.Path(sys.argv[2]).resolve())
    comparison = samples.Comparison()
    lines, source = samples.lines()
    texts = lines + samples.random_strings(without="\0")
    print(f"{len(lines)} lines of {source}, {len(texts) - len(lines)} random strings, {package.PACKAGE}", flush=True)
    with tempfile.TemporaryDirectory(prefix="weir-test-") as name:
        folder = pathlib.Path(name)
        given = {"lines": lines, "texts": texts, "charsmap": charsmap(folder, lines).hex()}
        (folder / "texts.json").write_text(json.dumps(given))
        (folder / "texts").write_bytes(b"".join(text.encode() + b"\0" for text in texts))
        subprocess.run([python, "-B", str(pathlib.Path(__file__).with_name("reference.py")), name], check=True)
        for path in sorted(folder.glob("*.result")):
            command = [weir, "tokenize", str(path.with_suffix(".json")), "--file", f"{name}/texts", "--zero", "--json"]
            ours = subprocess.run(command, capture_output=True, text=True)
            if "this build cannot" in ours.stderr:
                samples.skip(ours.stderr.strip())
            if ours.returncode != 0:
                sys.exit(f"{' '.join(command)}: {ours.stderr}")
            ours = [json.loads(line) for line in ours.stdout.split("\n")[:-1]]
            theirs = results_of(path)
            for field in ("tokens", "decoded"):
                comparison.compare(f"{path.stem}, {field}", texts, [o[field] for o in ours],
                                   [t[field] for t in theirs])
    comparison.finish()


main()
