"""A call of the system on a file of the run fails, or the process is killed at it: the run goes on to the same bits, or
says why it ends and resumes to the same bits.

WEIR_FAULTS=700 tries so many instead of 36. Which calls there are is recorded first (tests/system_calls); then a random
one meets with a random error, is cut short, or is the process's last.
"""

import collections
import errno
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from weir_test import CONTROL, check, check_same_end, checkpoints, finish, patient, seeded, setup

ERRORS = ["EACCES", "EDQUOT", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOENT", "ENOMEM", "ENOSPC", "EPERM",
          "EROFS", "ESTALE"]
TRANSFERS = ["read", "pread64", "write", "pwrite64"]
INTERRUPTIBLE = [*TRANSFERS, "open64", "openat64", "fsync", "close"]
# After which the system says that what was written is gone: no run, a damaged checkpoint.
LOSSES = ["EIO", "ENOENT"]
SETTINGS = {"train__steps": 12, "checkpoint__every": 4, "eval__every": 6, "sample__every": 6}
# Of which the product makes use, so that each of them must be seen.
EXPECTED = {"open64", "close", "read", "pread64", "write", "pwrite64", "fsync", "ftruncate64", "mkdir", "rename",
            "renameat2", "unlinkat", "rmdir", "readdir", "flock", "fstat64"}


def name_of(call):
    return call.split(" ")[0]


class Scenario:
    """A command in `run`, which is made ready with `prepare`."""

    def __init__(self, weir, library, name, prepare, arguments):
        self.weir, self.library, self.name, self.prepare, self.arguments = weir, library, name, prepare, arguments
        self.run = weir.folder / "faulty" / name
        log = weir.folder / f"{name}.log"
        self.prepare(self.run)
        check(self.start(log).returncode == 0, f"{name}: fails without a fault")
        shutil.rmtree(self.run)
        self.calls = log.read_text().splitlines()
        self.places = collections.defaultdict(list)  # numbers of the calls that differ in a step or a process alone
        for number, call in enumerate(self.calls, 1):
            self.places[re.sub(r"\d+", "", call)].append(number)

    def start(self, log="", fault=""):
        environment = {"LD_PRELOAD": str(self.library), "WEIR_CALLS_BELOW": str(self.weir.folder), "WEIR_FAULT": fault,
                       "WEIR_CALLS_LOG": str(log)}
        command = self.weir.command(*self.arguments(self.run))
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patient(60),
                              env=os.environ | environment)

    def describe(self, number, kind):
        return f"{self.name}: {kind} at call {number} ({self.calls[number - 1]})"


def random_fault(scenario, chance):
    """A call, rare ones as often as frequent ones, and what happens to it."""
    for_good = f"{chance.choice([error for error in ERRORS if error != 'EINTR'])} on"
    kind = chance.choice([chance.choice(ERRORS), for_good, "short", chance.choice(["before", "after"])])
    places = [calls for call, calls in scenario.places.items() if kind != "short" or name_of(call) in TRANSFERS]
    return chance.choice(chance.choice(places)), kind


def error_of(kind):
    return kind.removesuffix(" on")


def check_code(scenario, number, kind, code, message):
    if kind in ("before", "after"):
        check(code == -signal.SIGKILL, message)
    elif kind == "short" or (kind == "EINTR" and name_of(scenario.calls[number - 1]) in INTERRUPTIBLE):
        check(code == 0 and "warning" not in message, message)
    else:
        check(code in (0, 71, 74) or (code in (2, 65) and error_of(kind) in LOSSES), message)


def in_numbers(kind):
    return re.sub(r"E\w+", lambda name: str(getattr(errno, name[0])), kind)


def check_message(errors, what):
    check(not CONTROL.search(errors), f"{what}: control characters in {errors!r}")
    lines = errors.splitlines()
    check(lines and all(line.startswith("weir: ") for line in lines), f"{what}: says {errors!r}")
    check([line.startswith("weir: warning: ") for line in lines].count(False) == 1 and
          not lines[-1].startswith("weir: warning: "), f"{what}: one line is to say why it ends: {errors!r}")


def try_fault(scenario, reference, number, kind):
    """The exit code."""
    what, run = scenario.describe(number, kind), scenario.run
    scenario.prepare(run)
    before = checkpoints(run)
    try:
        result = scenario.start(fault=f"{number} {in_numbers(kind)}")
    except subprocess.TimeoutExpired:
        check(False, f"{what}: still runs after 60 s")
    code, errors = result.returncode, result.stderr.decode()
    check_code(scenario, number, kind, code, f"{what}: exits with {code}: {errors}")
    if code > 0:
        check_message(errors, what)
    if before:
        check(checkpoints(run)[-1:] >= before[-1:], f"{what}: the newest checkpoint is gone: {errors}")
        check(code != 0 or error_of(kind) in LOSSES or f"resumed from {before[-1]}" in result.stdout.decode(),
              f"{what}: does not go on from the newest checkpoint: {result.stdout.decode()}{errors}")
    finish(scenario.weir, run, scenario.arguments(run), what)
    check_same_end(run, reference, what, errors)
    shutil.rmtree(run)
    return code


def find_library(weir):
    library = pathlib.Path(weir.binary).parents[2] / "tests" / "libfaulty_calls.so"
    if weir.is_sanitized() or not library.exists():
        print(f"skipped: {library} is not there, or a sanitizer has to be the first library", flush=True)
        sys.exit(77)
    return library


def main():
    count = int(os.environ.get("WEIR_FAULTS", "36"))
    chance = seeded()
    with setup() as weir:
        library = find_library(weir)
        reference = weir.folder / "reference"
        weir.succeed(*weir.train_arguments(reference, **SETTINGS))

        def cut_off(run):
            shutil.copytree(reference, run)
            shutil.rmtree(checkpoints(run)[-1])

        scenarios = [Scenario(weir, library, "begun", lambda run: None,
                              lambda run: weir.train_arguments(run, **SETTINGS)),
                     Scenario(weir, library, "resumed", cut_off, lambda run: ["train", "--resume", "--run", run])]
        seen = {name_of(call) for scenario in scenarios for call in scenario.calls}
        check(EXPECTED <= seen, f"calls that are not seen: {EXPECTED - seen}")
        ends = collections.Counter()
        for i in range(count):
            scenario = scenarios[i % 2]
            ends[try_fault(scenario, reference, *random_fault(scenario, chance))] += 1
            if (i + 1) % 100 == 0:
                print(f"{i + 1} faults so far: {dict(ends)}", flush=True)
        calls = ", ".join(f"{len(scenario.calls)} calls of a run that is {scenario.name}" for scenario in scenarios)
        print(f"ok: {count} faults at {calls}: exit codes {dict(ends)}, and the same bits", flush=True)


main()
