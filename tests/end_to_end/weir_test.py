"""What the end-to-end tests share: a tiny model, a text, running weir, and failing with a message."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile

QUICK = bool(os.environ.get("WEIR_QUICK"))  # less of everything, for builds with sanitizers
PATIENCE = float(os.environ.get("WEIR_PATIENCE", 1))  # how many times as long anything may take there
TENSOR_FILES = ["model.safetensors", "optimizer.safetensors", "memory.safetensors"]
TIMES = ("time", "train/seconds", "train/tokens_per_second")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
TINY = {
    "model.layers": 2, "model.d_model": 32, "model.heads": 2, "model.head_size": 16, "model.segment": 32,
    "model.dropout": 0.1, "feedforward.experts": 4, "feedforward.expert_size": 16, "feedforward.k": 2,
    "feedforward.expert_dropout": 0.1, "optimizer.warmup_steps": 5, "train.batch_size": 4, "train.steps": 60,
    "train.minutes": 0, "train.log_every": 1, "train.threads": 1, "checkpoint.every": 7, "eval.every": 25,
    "eval.max_tokens": 512, "sample.every": 40, "sample.tokens": 5,
}


def patient(seconds):
    """What a wait of so many seconds comes to in this build."""
    return seconds * PATIENCE


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

    def is_sanitized(self):
        """Built with AddressSanitizer, which needs much address space and handles some signals itself."""
        return b"libasan" in subprocess.run(["ldd", self.binary], capture_output=True).stdout

    def command(self, *arguments):
        return [self.binary, *map(str, arguments)]

    def train_arguments(self, run, **changes):
        """`changes` are settings with __ for the dot: model__layers=3."""
        settings = TINY | {"data.train": self.text} | {key.replace("__", "."): v for key, v in changes.items()}
        return ["train", "quickstart", *(f"{key}={value}" for key, value in settings.items()), "--run", run]

    def run(self, *arguments, timeout=patient(120)):
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
    # A test may be run in the background or by nohup; what they ignore would be ignored by the runs it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        yield Weir(sys.argv[1], folder)


def seeded():
    """Other random numbers each time; WEIR_SEED repeats those of a run that has failed."""
    seed = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WEIR_SEED={seed}", flush=True)
    return random.Random(seed)


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of that size (for mount: bytes, 4m) at a new folder; False where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


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


def digests(run):
    """Of the tensors in each checkpoint."""
    return {f"{path.name}/{name}": hashlib.sha256((path / name).read_bytes()).hexdigest()
            for path in checkpoints(run) for name in TENSOR_FILES}


def untimed_metrics(run):
    return [{key: value for key, value in line.items() if key not in TIMES} for line in metrics(run)]


def next_command(weir, run, arguments):
    """Resumes by folder alone as soon as the configuration is stored there."""
    stored = (run / "config.toml").exists()
    return weir.command("train", "--resume", "--run", run) if stored else weir.command(*arguments)


def finish(weir, run, arguments, what):
    """The rest of a run that has ended early, or all of it where it had hardly begun."""
    result = subprocess.run(next_command(weir, run, arguments), stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=patient(120))
    errors = result.stderr.decode()
    check(result.returncode == 0, f"{what}: resuming exits with {result.returncode}: {errors}")
    check("warning" not in errors, f"{what}: resuming warns: {errors}")


def check_same_end(run, reference, what, announced=""):
    """`announced` is what the run has warned of: that steps may stand in its metrics twice is no fault then."""
    left = [str(path) for path in run.rglob("*") if ".tmp-" in path.name]
    check(not left, f"{what}: left behind {left}")
    check(checkpoints(run)[-1].name == checkpoints(reference)[-1].name, f"{what}: ends at another step")
    ours, theirs = digests(run), digests(reference)
    for name in ours.keys() & theirs.keys():  # which checkpoints are kept depends on what was met
        check(ours[name] == theirs[name], f"{what}: {name} differs from the uninterrupted run's")
    lines = untimed_metrics(run)
    last = {(line["step"], "valid/loss" in line): line for line in lines}
    check(len(last) == len(lines) or "may stand in it twice" in announced, f"{what}: metrics.jsonl has entries twice")
    for ours, theirs in zip(last.values(), untimed_metrics(reference)):
        check(ours == theirs, f"{what}: metrics.jsonl says {ours}, the uninterrupted run's {theirs}")
    check(len(last) == len(metrics(reference)), f"{what}: metrics.jsonl has another number of lines")
