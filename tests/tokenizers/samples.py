"""Texts for the comparisons of tokenizers: lines that people wrote, and strings that nobody would."""

import os
import pathlib
import random
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICK = bool(os.environ.get("WEIR_QUICK"))  # a tenth of the texts, for builds with sanitizers
LINES = 1000 if QUICK else 10000
STRINGS = 2000 if QUICK else 20000

RANGES = [(0x20, 0x7e)] * 6 + [
    (0x00, 0x1f), (0x7f, 0xff), (0x100, 0x17f), (0x250, 0x2af), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x4ff),
    (0x590, 0x5f4), (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff), (0x1ab0, 0x1abe),
    (0x1e00, 0x1eff), (0x1f00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x209c), (0x20a0, 0x20bf), (0x20d0, 0x20f0),
    (0x2100, 0x218b), (0x2460, 0x24ff), (0x2580, 0x259f), (0x3000, 0x30ff), (0x3130, 0x318e), (0x3200, 0x33ff),
    (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xe000, 0xe0ff), (0xf900, 0xfa6d), (0xfb00, 0xfb4f), (0xfb50, 0xfdff),
    (0xfe00, 0xfe2f), (0xfe30, 0xfe6b), (0xff01, 0xffee), (0xfff9, 0xffff), (0x1d400, 0x1d7ff), (0x1f1e6, 0x1f1ff),
    (0x1f300, 0x1f64f), (0x1f900, 0x1f9ff), (0x20000, 0x2a6d6), (0x2f800, 0x2fa1d), (0xe0020, 0xe007f),
    (0x10fff0, 0x10ffff),
]
PIECES = [
    " ", "  ", "   ", "\t", "\r\n", "\n", "\n\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u1680", "\u180e",
    "\u200b", "\u200c", "\u200d", "\u200e", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff",
    "\u2581", "\u2581\u2581", "e\u0301", "\u0301", "\u0345", "o\u0308\u0304", "\u1100\u1161\u11a8", "\ufb01",
    "\ufb01\u0301", "\ufdfa", "\u0130", "\u0131", "\u1e9e", "ß", "ǆ", "ſ", "K", "Å", "\u03c2", "\u0f77", "½", "②", "Ⅻ",
    "１２", "٣٤", "१२", "👩‍👩‍👧", "👍🏽", "🇩🇪", "🏴\U000e0067\U000e0062\U000e007f", "\ufffd", "\ufffe", "\U0010ffff", "<unk>",
    "<s>", "</s>", "<pad>", "<0x41>", "<0xFF>", "<mask>", "<|end|>", "<|end|><|end|>", "WORD", "Word", "word", "'s",
    "'S", "'ſ", "'re", "don't", "I'LL", "1234567", "3.14", "a_b", "--", "...", "!?", "$", "+", "^", "`", "Ġ", "Ċ", "the",
    "The", " the", "ing", "water", "aaaaaaaaaaaaaaaaaaaaaaaa", "\u0915\u094d\u0937", "\u0e33", "\u0643\u0640\u0640",
]


KEPT = set("".join(PIECES))


def is_old(character):
    """In Unicode 3.2, or an emoji of the first years. Every program knows these; the package `tokenizers` has tables of
    Unicode 8, 12 and 16 side by side, so it agrees with nobody on what is newer."""
    return unicodedata.ucd_3_2_0.category(character) != "Cn" or "\U0001f300" <= character <= "\U0001f64f"


def random_strings(without="", count=STRINGS):
    """The same on every call; characters in `without` are left out, and so are those that are too new."""
    source = random.Random(20231016)
    strings = []
    while len(strings) < count:
        string = ""
        for _ in range(source.choice([1, 2, 3, 5, 8, 13, 21, 60])):
            kind = source.random()
            if kind < 0.45:
                string += source.choice(PIECES)
            elif kind < 0.55:
                string += chr(source.choice([source.randrange(0xd800), source.randrange(0xe000, 0x110000)]))
            else:
                first, last = source.choice(RANGES)
                string += chr(source.randint(first, last))
        string = "".join(character for character in string if character not in without and
                         (character in KEPT or is_old(character)))
        if string:
            strings.append(string)
    return strings


def text_files():
    """Those of the folder that WEIR_DATA names, else what this project consists of."""
    folder = os.environ.get("WEIR_DATA")
    if folder:
        files = sorted(pathlib.Path(folder).rglob("*.txt"))
        if not files:
            skip(f"WEIR_DATA is {folder}, and there is no .txt file in it")
        return files
    return sorted(path for pattern in ("**/*.md", "**/*.h", "**/*.cpp", "**/*.py") for path in ROOT.glob(pattern)
                  if not path.relative_to(ROOT).parts[0].startswith(("build", ".")))


def lines():
    """Lines that are not empty, and where they are from."""
    result = []
    files = text_files()
    for path in files:
        result += [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
    # Spread over all that there is; from the beginning again where that is not enough.
    step = max(1, len(result) // LINES)
    spread = result[::step]
    chosen = [spread[i % len(spread)].replace("\0", "") for i in range(LINES)]
    return chosen, str(files[0].parent if os.environ.get("WEIR_DATA") else "this project's own text")


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(77)


class Comparison:
    """Counts the texts whose results differ and shows the first few."""

    def __init__(self):
        self.passed = self.failed = 0

    def compare(self, name, texts, ours, theirs):
        differing = [i for i in range(len(texts)) if i >= len(ours) or i >= len(theirs) or ours[i] != theirs[i]]
        print(f"{name}: {len(texts)} texts, {len(differing)} differ", flush=True)
        for i in differing[:5]:
            print(f"  text   {texts[i]!a}\n  weir   {ours[i] if i < len(ours) else 'nothing'!a}\n"
                  f"  theirs {theirs[i] if i < len(theirs) else 'nothing'!a}")
        if differing or len(ours) != len(texts) or len(theirs) != len(texts):
            self.failed += 1
        else:
            self.passed += 1

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)
