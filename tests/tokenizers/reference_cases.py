"""Runs under a Python that has the package `tokenizers`: what the package makes of many tokenizers. Called by
compare_cases.py.

    python reference_cases.py FOLDER    for each line of FOLDER/cases, {"file": content of a tokenizer.json, "texts": [...]},
                                        a line of FOLDER/theirs: [{"tokens": [...], "decoded": "..."}, ...] or
                                        {"error": "..."}
"""

import json
import os
import pathlib
import sys

from tokenizers import Tokenizer


def results(case):
    try:
        tokenizer = Tokenizer.from_str(case["file"])
        made = []
        for text in case["texts"]:
            tokens = tokenizer.encode(text, add_special_tokens=False).ids
            made.append({"tokens": tokens, "decoded": tokenizer.decode(tokens)})
        return made
    except BaseException as error:  # a pattern that takes too long ends in a panic, which is no Exception
        return {"error": str(error)}


def main():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a panic writes a page about itself
    folder = pathlib.Path(sys.argv[1])
    with open(folder / "cases") as cases, open(folder / "theirs", "w") as theirs:
        for line in cases:
            theirs.write(json.dumps(results(json.loads(line))) + "\n")


main()
