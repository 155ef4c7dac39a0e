"""What the end-to-end tests share: a tiny model, a text, running weir, and failing with a message."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
TINY = {
    "model.layers": 2, "model.d_model": 32, "model.heads": 2, "model.head_size": 16, "model.segment": 32,
    "model.dropout": 0.1, "feedforward.experts": 4, "feedforward.expert_size": 16, "feedforward.k": 2,
    "feedforward.expert_dropout": 0.1, "optimizer.warmup_steps": 5, "train.batch_size": 4, "train.steps": 60,
    "train.minutes": 0, "train.log_every": 1, "train.threads": 1, "checkpoint.every": 7, "eval.every": 25,
    "eval.max_tokens": 512, "sample.every": 40, "sample.tokens": 5,
}


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def check(condition, message):
    if not condition:
        fail(message)


def write_text(path, size):
    """Words of a small vocabulary in an order that repeats only after a long time."""
    words = ["weir", "water", "stone", "the", "over", "falls", "expert", "of", "token", "a", "reads", "river"]
    state, parts, length = 1, [], 0
    while length < size:
        state = (state * 1103515245 + 12345) % 2**31
        word = words[(state >> 16) % len(words)] + ("\n" if state % 97 == 0 else " ")
        parts.append(word)
        length += len(word)
    path.write_text("".join(parts)[:size])


class Weir:
    """The binary, and a folder for everything a test writes."""

    def __init__(self, binary, folder):
        self.binary = str(pathlib.Path(binary).resolve())
        self.folder = pathlib.Path(folder)
        self.text = self.folder / "text.txt"
        write_text(self.text, 30000)

    def command(self, *arguments):
        return [self.binary, *map(str, arguments)]

    def train_arguments(self, run, **changes):
        """`changes` are settings with __ for the dot: model__layers=3."""
        settings = TINY | {"data.train": self.text} | {key.replace("__", "."): v for key, v in changes.items()}
        return ["train", "quickstart", *(f"{key}={value}" for key, value in settings.items()), "--run", run]

    def run(self, *arguments, timeout=120):
        """Arguments that are bytes go as they are."""
        command = [self.binary, *(a if isinstance(a, bytes) else str(a) for a in arguments)]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
                                  cwd=self.folder)
        except subprocess.TimeoutExpired:
            fail(f"{command} still runs after {timeout} s")

    def succeed(self, *arguments):
        result = self.run(*arguments)
        check(result.returncode == 0, f"weir {' '.join(map(str, arguments))} exits with {result.returncode}: "
                                      f"{result.stderr.decode(errors='replace')}")
        return result.stdout.decode()

    def succeed_json(self, *arguments):
        output = self.succeed(*arguments)
        check(output.count("\n") == 1, f"{arguments[0]} --json printed more than one line: {output!r}")
        return json.loads(output)


@contextlib.contextmanager
def setup():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        fail(f"usage: {sys.argv[0]} PATH_TO_WEIR")
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        yield Weir(sys.argv[1], folder)


def checkpoints(run):
    """The checkpoint folders of a run, oldest first."""
    return sorted(path for path in (pathlib.Path(run) / "checkpoints").glob("step_*") if ".tmp-" not in path.name)


def metrics(run):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def tensor_header(path):
    data = pathlib.Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8:8 + length])
