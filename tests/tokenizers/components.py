"""Contents of tokenizer.json files, one for each component and its options."""

import random

SUFFIX = "|"  # of the last piece of a word
PIECES = ["a", "b", "ab", "##a", "##", "|", "||", "<pad>", "▁", "▁a", "a▁b", "<0x41>", "<0xC3>", "<0xA9>", "<0xff>", "Ġ", "Ã", "©",
          "日", ".", "?", "!", ",", "'", "n't", "'m", "do", "not", "do not", "'s", "'ve", "'re", "x</w>", "</w>", " ", " .", " ' ",
          "_", "__", "", "aa"]


def byte_alphabet():
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(0x100 + i) for i in range(len(others))]


def file(model, **parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
            "post_processor": None, "decoder": None, "model": model} | parts


def bpe(vocabulary, **options):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {piece: token for token, piece in enumerate(vocabulary)}, "merges": []} | options


def showing_words(pre_tokenizer=None, normalizer=None):
    """Every byte is a token, and the last of a word another."""
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    parts = [pre_tokenizer, bytes_only] if pre_tokenizer else [bytes_only]
    alphabet = byte_alphabet()
    return file(bpe(alphabet + [character + SUFFIX for character in alphabet], end_of_word_suffix=SUFFIX), normalizer=normalizer,
                pre_tokenizer={"type": "Sequence", "pretokenizers": parts}, decoder={"type": "BPEDecoder", "suffix": SUFFIX})


def normalizers():
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "ByteLevel"):
        yield {"type": name}
    for clean in (True, False):
        for chinese in (True, False):
            for accents in (None, True, False):
                for lower in (True, False):
                    yield {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents,
                           "lowercase": lower}
    for left, right in ((True, True), (True, False), (False, True)):
        yield {"type": "Strip", "strip_left": left, "strip_right": right}
    yield {"type": "Replace", "pattern": {"String": "  "}, "content": "_"}
    yield {"type": "Replace", "pattern": {"Regex": r"\s+|[[:punct:]]"}, "content": " "}
    yield {"type": "Replace", "pattern": {"Regex": r"(?i)th*"}, "content": "Ü"}
    yield {"type": "Prepend", "prepend": "▁"}
    yield {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "x"}]}


def pre_tokenizers():
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts", "FixedLength", "Punctuation"):
        yield {"type": name}
    for length in (1, 2, 7):
        yield {"type": "FixedLength", "length": length}
    for delimiter in (" ", "-", "é", "\u3000"):
        yield {"type": "CharDelimiterSplit", "delimiter": delimiter}
    for individual in (True, False):
        yield {"type": "Digits", "individual_digits": individual}
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
    for prefix in (True, False):
        for words in (True, False):
            yield {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": words}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield {"type": "Punctuation", "behavior": behavior}
        for pattern in ({"String": "e"}, {"Regex": r"\w+"}, {"Regex": r"\d?"}):
            for invert in (True, False):
                yield {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    yield {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}]}


def decoders():
    for name in ("ByteLevel", "ByteFallback", "Fuse"):
        yield {"type": name} | ({"add_prefix_space": True, "trim_offsets": True, "use_regex": True} if name == "ByteLevel" else {})
    for scheme in ("always", "first", "never"):
        yield {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
    for cleanup in (True, False):
        yield {"type": "WordPiece", "prefix": "##", "cleanup": cleanup}
        yield {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": cleanup}
    yield {"type": "BPEDecoder", "suffix": "</w>"}
    yield {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    yield {"type": "Replace", "pattern": {"Regex": "[ab]+"}, "content": "-"}
    yield {"type": "Strip", "content": "_", "start": 2, "stop": 0}
    yield {"type": "Strip", "content": "a", "start": 0, "stop": 1}
    yield {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 1, "stop": 0}]}


def models():
    vocabulary = ["[UNK]", "a", "b", "c", "the", "water", "##a", "##b", "##the", "word", "##er", "1", "##2", "日", "本", ".", "'", "s", ""]
    ids = {piece: 2 * token for token, piece in enumerate(vocabulary)}  # every second number is not used
    bert = {"pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                           "lowercase": True}}
    for most in (100, 3):
        yield file({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": most,
                    "vocab": ids}, **bert)
    yield file({"unk_token": "[UNK]", "continuing_subword_prefix": "", "max_input_chars_per_word": 9, "vocab": ids}, **bert)
    yield file({"type": "WordLevel", "unk_token": "[UNK]", "vocab": ids}, **bert)
    yield file({"unk_token": "[UNK]", "vocab": ids}, pre_tokenizer={"type": "WhitespaceSplit"})
    yield file(bpe(vocabulary, vocab=ids, unk_token="[UNK]", fuse_unk=True, merges=[["a", "b"]] if "ab" in ids else []))
    yield file(bpe(vocabulary, vocab=ids, ignore_merges=True), pre_tokenizer={"type": "BertPreTokenizer"})
    yield file(bpe(vocabulary, vocab=ids, unk_token="nowhere"))  # refused with most texts
    yield {key: part for key, part in file(bpe(vocabulary, vocab=ids)).items() if key != "version"}
    yield file(bpe(vocabulary), added_tokens=[
        {"id": 40, "content": "", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True},
        {"id": 19, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}])


def piece_texts(count):
    """Texts that a file of decoder_file turns into random pieces."""
    source = random.Random(7)
    return ["\x01".join(source.choice(PIECES) for _ in range(source.choice([1, 2, 5, 12]))) for _ in range(count)]


def decoder_file(decoder):
    split = {"type": "Split", "pattern": {"String": "\x01"}, "behavior": "Removed", "invert": False}
    return file(bpe(PIECES, ignore_merges=True), pre_tokenizer=split, decoder=decoder)


def cases(strings):
    """Name, file and texts of every component."""
    for part in normalizers():
        yield f"normalizer {part}", showing_words(normalizer=part), strings
    for part in pre_tokenizers():
        yield f"pre_tokenizer {part}", showing_words(pre_tokenizer=part), strings
    for part in (None, *decoders()):
        yield f"decoder {part}", decoder_file(part), piece_texts(len(strings))
    for content in models():
        yield f"model {content['model']}", content, strings
