"""Runs under a Python that has the package `tokenizers`: makes tokenizer.json files of every supported kind, and says what
the package makes of the texts. Called by compare_tokenizers.py.

    python reference.py FOLDER    FOLDER/texts.json: {"lines": [...], "texts": [...], "charsmap": base64}
                                  writes FOLDER/NAME.json and FOLDER/NAME.result for each tokenizer
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA3_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ADDED = [
    AddedToken("<|end|>", special=True, normalized=False),
    AddedToken("<mask>", lstrip=True, special=True, normalized=False),
    AddedToken("WORD", single_word=True, normalized=False),
    AddedToken("<pad>", rstrip=True, normalized=False),
    AddedToken("Word", normalized=True, lstrip=True, rstrip=True),
    AddedToken("water", normalized=True, single_word=True),
]


def byte_level_bpe(lines):
    """As GPT-2: bytes, words by a regular expression."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(vocab_size=8256, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def llama3(lines):
    """As Llama 3: another expression, whole words before merges."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens(ADDED)
    return tokenizer


def metaspace_bpe(lines):
    """Words begin with a mark; unknown characters become bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=["<unk>", "<s>", "</s>", *BYTES], limit_alphabet=200,
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:3]  # the bytes are no special tokens
    return Tokenizer.from_str(json.dumps(content))


def llama2(lines):
    """As Llama 2: the mark comes from the normalizer, words are not cut at all."""
    content = json.loads(metaspace_bpe(lines).to_str())
    content["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_tokens(ADDED)
    return tokenizer


def unigram(lines, charsmap, name):
    tokenizer = Tokenizer(models.Unigram())
    if name == "precompiled":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap),
                                                     normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Digits(individual_digits=True)])
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    special = ["<unk>", *BYTES] if name == "bytes" else ["<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=3000, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    if name == "bytes":  # and with a special token among the learned pieces, where such a trainer puts it if its text has it
        content = json.loads(tokenizer.to_str())
        content["added_tokens"] = content["added_tokens"][:1]
        content["model"]["byte_fallback"] = True
        content["model"]["vocab"].append(["<unk>", -5.0])
        tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_tokens(ADDED)
    return tokenizer


def classic_bpe(lines):
    """As the first BPE models: words end in a mark, accents and case are lost."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                                 normalizers.Strip(left=True, right=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=["<unk>"], end_of_word_suffix="</w>",
                                  limit_alphabet=150, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens(ADDED)
    return tokenizer


def prefix_bpe(lines):
    """Pieces within a word begin with ##; unknown neighbours become one."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True))
    tokenizer.normalizer = normalizers.NFKD()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\s+"), behavior="removed"),
        pre_tokenizers.Split(Regex(r"\w+"), behavior="merged_with_previous", invert=True),
        pre_tokenizers.Split("-", behavior="merged_with_next"),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Punctuation(behavior="contiguous")])
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=["<unk>"], continuing_subword_prefix="##",
                                  limit_alphabet=150, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def main():
    folder = pathlib.Path(sys.argv[1])
    given = json.loads((folder / "texts.json").read_text())
    lines, texts, charsmap = given["lines"], given["texts"], bytes.fromhex(given["charsmap"])
    made = {
        "byte-level-bpe": byte_level_bpe(lines), "llama3": llama3(lines), "metaspace-bpe": metaspace_bpe(lines),
        "llama2": llama2(lines), "unigram-nfkc-bytes": unigram(lines, charsmap, "bytes"),
        "classic-bpe": classic_bpe(lines), "prefix-bpe": prefix_bpe(lines),
    }
    if charsmap:
        made["unigram-precompiled"] = unigram(lines, charsmap, "precompiled")
    for name, tokenizer in made.items():
        tokenizer.save(str(folder / f"{name}.json"))
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        with open(folder / f"{name}.result", "w") as file:
            for tokens in ids:
                file.write(json.dumps({"tokens": tokens, "decoded": tokenizer.decode(tokens)}) + "\n")


main()
