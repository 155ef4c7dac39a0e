"""Weir's tokens against those of the Python package `tokenizers`: random patterns, and every component by itself.

    python3 -B tests/tokenizers/compare_cases.py build/tests/encode_cases build/tokenizers-venv

The second argument is a folder for a virtual environment, as for compare_tokenizers.py. Exits with 77, and says why, where the
package cannot be had or Weir's support is absent. WEIR_PATTERNS=N compares so many patterns, WEIR_SEED=N others.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import components
import package
import patterns
import samples

PATTERNS = int(os.environ.get("WEIR_PATTERNS", 300 if samples.QUICK else 3000))
SEED = int(os.environ.get("WEIR_SEED", 20231016))
STRINGS = 200 if samples.QUICK else 2000


def pattern_cases():
    generator = patterns.Generator(SEED)
    for number in range(PATTERNS):
        pattern = generator.pattern()
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        yield f"pattern {pattern!a}", components.showing_words(pre_tokenizer=split), [generator.text() for _ in range(12)]


def compare(name, cases, encode_cases, python):
    """Runs both programs on the cases and shows the first few that differ."""
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        with open(f"{folder}/cases", "w") as file:
            for _, content, texts in cases:
                file.write(json.dumps({"file": json.dumps(content), "texts": texts}) + "\n")
        subprocess.run([encode_cases, folder], check=True)
        reference = pathlib.Path(__file__).with_name("reference_cases.py")
        subprocess.run([python, "-B", str(reference), folder], check=True)
        with open(f"{folder}/ours") as ours, open(f"{folder}/theirs") as theirs:
            results = [(case, json.loads(a), json.loads(b)) for case, a, b in zip(cases, ours, theirs, strict=True)]
    differing = refused = stopped = 0
    for (what, _, texts), ours, theirs in results:
        if isinstance(ours, dict) and "this build cannot" in ours["error"]:
            samples.skip(ours["error"])
        if isinstance(ours, dict) and isinstance(theirs, dict):
            refused += 1
        elif any(isinstance(result, dict) and text in result["error"]
                 for result, text in ((ours, "takes too long"), (theirs, "retry-limit-in-match over"))):
            stopped += 1  # the package counts the steps at each place of a text, Weir the time
        elif ours != theirs:
            differing += 1
            if differing <= 5:
                show(what, texts, ours, theirs)
    print(f"{name}: {len(results)} compared, {refused} of them refused by both, {stopped} stopped as too slow, "
          f"{differing} differ", flush=True)
    return differing == 0 and stopped <= len(results) // 200


def show(what, texts, ours, theirs):
    print(f"  {what}")
    if isinstance(ours, dict) or isinstance(theirs, dict):
        print(f"    weir   {str(ours)[:200]}\n    theirs {str(theirs)[:200]}")
        return
    at = next(i for i in range(len(texts)) if ours[i] != theirs[i])
    print(f"    text   {texts[at]!a}\n    weir   {ours[at]!a}\n    theirs {theirs[at]!a}")


def main():
    encode_cases = str(pathlib.Path(sys.argv[1]).resolve())
    python = package.python_with_package(pathlib.Path(sys.argv[2]).resolve())
    strings = samples.random_strings(without="\0", count=STRINGS)
    passed = [compare("components", list(components.cases(strings)), encode_cases, python),
              compare("patterns", list(pattern_cases()), encode_cases, python)]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed", flush=True)
    sys.exit(0 if all(passed) else 1)


main()
