"""Random regular expressions, of all that Oniguruma has, and texts for them."""

import random

LETTERS = "aabbcABkKsSßſéÉσςΣ日本ab12٣½ _-.,€$'\n\t"
ESCAPES = [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\h", r"\H", r"\N", r"\O", r"\X", r"\R", r"\.", r"\-", r"\x61", r"\u00e9",
           r"\x{65E5}", r"\t", r"\n", r"\\", r"\/", r"\$", r"\{", r"\]"]
PROPERTIES = ["L", "Lu", "Ll", "Lo", "M", "N", "Nd", "No", "P", "Pd", "S", "Sc", "Z", "Zs", "C", "Alpha", "Alnum", "Punct", "Space",
              "Upper", "Lower", "PosixPunct", "Letter", "Han", "Latin", "Greek", "Cyrillic", "Katakana", "Hiragana", "Common",
              "Arabic", "Emoji", "White_Space", "posix punct", "ALNUM", "InBasicLatin"]
POSIX = ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit", "word"]
# \p{Word} outside of a class is left out: there, version 6.9.8 does not count ² ³ ¹ ¼ ½ ¾ as \w does.


ANCHORS = [r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z", r"\G", r"\y", r"\K"]


class Generator:
    def __init__(self, seed):
        self.source = random.Random(seed)
        self.groups = 0

    def one_of(self, things):
        return self.source.choice(things)

    def name(self, names):
        return "wrong" if self.source.random() < 0.01 else self.one_of(names)

    def property(self):
        return self.one_of([r"\p{%s}", r"\p{%s}", r"\P{%s}", r"\p{^%s}"]) % self.name(PROPERTIES)

    def literal(self):
        letter = self.one_of(LETTERS)
        return "\\" + letter if letter in ".$" else letter

    def class_member(self, depth):
        kind = self.source.random()
        if kind < 0.35:
            return self.one_of("abcABks12é日€_. ")
        if kind < 0.50:
            first, last = sorted(self.source.sample("059akszAKZéßσ日龠", 2))
            return f"{first}-{last}"
        if kind < 0.65:
            return self.one_of(ESCAPES[:8] + [r"\]", r"\\", r"\-", r"\x61", r"\u00e9", r"\n"])
        if kind < 0.78:
            return self.property()
        if kind < 0.90 or depth == 0:
            return "[:%s%s:]" % (self.one_of(["", "", "^"]), self.name(POSIX))
        return self.char_class(depth - 1)

    def char_class(self, depth):
        text = "[" + self.one_of(["", "", "^"]) + "".join(self.class_member(depth) for _ in range(self.source.randint(1, 3)))
        if self.source.random() < 0.25:
            text += "&&" + self.class_member(depth) + self.one_of(["", self.class_member(depth)])
        return text + "]"

    def atom(self, depth):
        kind = self.source.random()
        if kind < 0.30 or depth == 0:
            return self.literal()
        if kind < 0.45:
            return self.one_of(ESCAPES)
        if kind < 0.55:
            return self.property()
        if kind < 0.70:
            return self.char_class(2)
        if kind < 0.74:
            return "."
        if kind < 0.80:
            return self.one_of(ANCHORS)
        if kind < 0.83 and self.groups:
            return "\\%d" % self.source.randint(1, self.groups)
        opening = self.one_of(["(?:"] * 4 + ["(", "(", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?i:", "(?m:", "(?x:", "(?-i:", "(?W:",
                               "(?~", "(?i)(?:"])
        if opening == "(?~":  # within one another, they take for ever
            return opening + self.alternatives(0) + ")"
        if opening == "(":
            self.groups += 1
        return opening + self.alternatives(depth - 1) + ")"

    def quantifier(self):
        low, more = self.source.randint(0, 3), self.source.randint(0, 3)
        counted = self.one_of(["{%d}" % low, "{%d,}" % low, "{,%d}" % more, "{%d,%d}" % (low, low + more), "{%d,%d}" % (low + more, low)])
        return self.one_of(["*", "+", "?", "*", "+", "?", counted, counted]) + self.one_of(["", "", "", "?", "+"])

    def alternatives(self, depth):
        branches = []
        for _ in range(self.one_of([1, 1, 2, 3])):
            branch = ""
            for _ in range(self.source.randint(1, 3)):
                atom = self.atom(depth)
                rarely = atom in ANCHORS or atom.startswith(("(?=", "(?!", "(?<"))  # for most of these are refused
                branch += atom + (self.quantifier() if self.source.random() < (0.01 if rarely else 0.4) else "")
            branches.append(branch)
        return "|".join(branches)

    def pattern(self):
        self.groups = 0
        text = self.one_of(["", "", "", "", "(?i)"]) + self.alternatives(3)
        if self.source.random() < 0.03:  # damaged
            at = self.source.randrange(len(text))
            if "[:" in text:
                return text  # how a damaged name in [: :] is taken has changed since version 6.9.8
            text = text[:at] + self.one_of(["", "(", ")", "[", "]", "{", "\\", "*", "?"]) + text[at + 1:]
        return text

    def text(self):
        return "".join(self.one_of(LETTERS) for _ in range(self.one_of([1, 3, 8, 20])))
