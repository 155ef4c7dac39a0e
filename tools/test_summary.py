#!/usr/bin/env python3
"""Sums up Meson test logs: prints every test that failed or was skipped, then `N passed, N failed, N skipped`.

    tools/test_summary.py build/meson-logs/testlog.json ...

A program that prints how many cases it ran (doctest's summary, or a last line `N passed, N failed[, N skipped]`) counts
as so many tests, any other as one. What doctest calls skipped is what its filter left to another run of the program: not
counted. Exits with 1 where a test failed or none ran.
"""

import json
import re
import sys

DOCTEST_TOTALS = re.compile(r"\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed \|")
PLAIN_TOTALS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
DOCTEST_CASE = re.compile(r"^TEST CASE: +(.*)$")
REPORTED_CASE = re.compile(r"^FAIL(?:ED:)? +(.*?) *$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def totals(output):
    """(passed, failed, skipped) as the program itself counted, or None where it did not."""
    lines = output.rstrip().splitlines()
    plain = PLAIN_TOTALS.match(lines[-1]) if lines else None
    found = plain or next(filter(None, map(DOCTEST_TOTALS.match, lines)), None)
    if not found:
        return None
    passed, failed, *skipped = (int(n or 0) for n in found.groups())
    return passed, failed, sum(skipped)


def failing_cases(output):
    """Names of the cases that failed, as far as the program tells: doctest's report, or lines that say FAIL."""
    names, case = [], ""
    for line in output.splitlines():
        if match := DOCTEST_CASE.match(line):
            case = match.group(1)
        elif line.startswith("====="):
            case = ""
        elif " ERROR: " in line and case and case not in names:
            names.append(case)
        elif match := REPORTED_CASE.match(line):
            names.append(match.group(1))
    return names


def judge(test):
    """(passed, failed, skipped, lines to print) of one entry of the log."""
    output = COLOUR.sub("", test.get("stdout", ""))
    name, result = test["name"], test["result"]
    if result == "SKIP":
        reason = output.strip().splitlines()
        return 0, 0, 1, [f"skipped: {name}: {reason[-1] if reason else 'no reason given'}"]
    succeeded = result in ("OK", "EXPECTEDFAIL")
    passed, failed, skipped = totals(output) or ((1, 0, 0) if succeeded else (0, 1, 0))
    lines = [f"skipped: {name}: {line[len('skip '):]}" for line in output.splitlines() if line.startswith("skip ")]
    cases = failing_cases(output)
    if not succeeded and failed == 0:
        failed, cases = 1, [f"ended badly ({result}, exit status {test.get('returncode')})"]
    if failed:
        lines += [f"failed: {name}: {case}" for case in cases] or [f"failed: {name} ({result})"]
    return passed, failed, skipped, lines


def main(paths):
    sums = [0, 0, 0]
    for path in paths:
        with open(path, encoding="utf-8") as log:
            for line in log:
                *counts, report = judge(json.loads(line))
                sums = [a + b for a, b in zip(sums, counts)]
                print("".join(entry + "\n" for entry in report), end="")
    print("{} passed, {} failed, {} skipped".format(*sums))
    return 0 if sums[1] == 0 and sums[0] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
