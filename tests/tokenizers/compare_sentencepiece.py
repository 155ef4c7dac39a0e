"""Weir's SentencePiece tokens against those of spm_encode and spm_decode, on the same models.

    python3 -B tests/tokenizers/compare_sentencepiece.py build/tools/weir/weir

WEIR_DATA=FOLDER takes the .txt files there instead of this project's own text. Exits with 77, and says why, where the
programs (Debian's package sentencepiece) or Weir's support are absent.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import samples

MODELS = {
    "bpe": ["--model_type=bpe", "--vocab_size=3000", "--split_digits=true"],
    "bpe with byte fallback": ["--model_type=bpe", "--vocab_size=2000", "--byte_fallback=true"],
    "unigram": ["--model_type=unigram", "--vocab_size=1000", "--user_defined_symbols=<mask>,<|end|>"],
    "unigram, no normalisation": ["--model_type=unigram", "--vocab_size=1000", "--normalization_rule_name=identity",
                                  "--remove_extra_whitespaces=false", "--add_dummy_prefix=false"],
    "bpe, lower case, space behind": ["--model_type=bpe", "--vocab_size=1000", "--treat_whitespace_as_suffix=true",
                                      "--normalization_rule_name=nmt_nfkc_cf"],
}


def output_of(command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


def main():
    weir = str(pathlib.Path(sys.argv[1]).resolve())
    for program in ("spm_train", "spm_encode", "spm_decode"):
        if not shutil.which(program):
            samples.skip(f"there is no {program}; Debian's package sentencepiece has it")
    comparison = samples.Comparison()
    lines, source = samples.lines()
    texts = lines + samples.random_strings(without="\n")
    print(f"{len(lines)} lines of {source}, {len(texts) - len(lines)} random strings", flush=True)
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        folder = pathlib.Path(folder)
        (folder / "train").write_text("\n".join(lines), encoding="utf-8")
        (folder / "texts").write_text("\n".join(texts) + "\n", encoding="utf-8", newline="")
        for name, options in MODELS.items():
            output_of(["spm_train", f"--input={folder}/train", f"--model_prefix={folder}/m", "--minloglevel=2",
                       "--hard_vocab_limit=false", *options])
            command = [weir, "tokenize", f"{folder}/m.model", "--file", f"{folder}/texts", "--encoding", "bytes"]
            ours = subprocess.run(command, capture_output=True)
            if b"this build cannot" in ours.stderr:
                samples.skip(f"{ours.stderr.decode().strip()}")
            if ours.returncode != 0:
                sys.exit(f"{command}: {ours.stderr.decode()}")
            theirs = output_of(["spm_encode", f"--model={folder}/m.model", "--output_format=id", f"{folder}/texts"])
            comparison.compare(f"{name}, tokens", texts, ours.stdout.split(b"\n")[:-1], theirs.split(b"\n")[:-1])
            (folder / "ids").write_bytes(theirs)
            decoded = output_of(["spm_decode", f"--model={folder}/m.model", "--input_format=id", f"{folder}/ids"])
            comparison.compare(f"{name}, text", texts, decode(weir, folder), decoded.split(b"\n")[:-1])
    comparison.finish()


def decode(weir, folder):
    result = output_of([weir, "tokenize", f"{folder}/m.model", "--file", f"{folder}/texts", "--encoding", "bytes", "--json"])
    return [json.loads(line)["decoded"].encode() for line in result.split(b"\n")[:-1]]


main()
