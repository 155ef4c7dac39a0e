"""A run that is killed, stopped or loses checkpoints ends with the same bits as one that was left alone."""

import hashlib
import random
import shutil
import signal
import subprocess
import time

from weir_test import check, checkpoints, metrics, setup

TENSOR_FILES = ["model.safetensors", "optimizer.safetensors", "memory.safetensors"]
TIMES = ("time", "train/seconds", "train/tokens_per_second")


def digests(run):
    final = checkpoints(run)[-1]
    return {name: hashlib.sha256((final / name).read_bytes()).hexdigest() for name in TENSOR_FILES}


def untimed_metrics(run):
    return [{key: value for key, value in line.items() if key not in TIMES} for line in metrics(run)]


def check_same_end(run, reference, what):
    left = [str(path) for path in run.rglob("*") if ".tmp-" in path.name]
    check(not left, f"{what}: left behind {left}")
    check(checkpoints(run)[-1].name == checkpoints(reference)[-1].name, f"{what}: ends at another step")
    ours, theirs = digests(run), digests(reference)
    for name in TENSOR_FILES:
        check(ours[name] == theirs[name], f"{what}: the final {name} differs from the uninterrupted run's")
    kinds = [(line["step"], "valid/loss" in line) for line in metrics(run)]
    check(len(kinds) == len(set(kinds)), f"{what}: metrics.jsonl has entries twice")
    for ours, theirs in zip(untimed_metrics(run), untimed_metrics(reference)):
        check(ours == theirs, f"{what}: metrics.jsonl says {ours}, the uninterrupted run's {theirs}")
    check(len(metrics(run)) == len(metrics(reference)), f"{what}: metrics.jsonl has another number of lines")


def next_command(weir, run, arguments):
    """Resumes by folder alone as soon as the configuration is stored there."""
    stored = (run / "config.toml").exists()
    return weir.command("train", "--resume", "--run", run) if stored else weir.command(*arguments)


def start(command):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_after(seconds, command):
    process = start(command)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def finish(weir, run, arguments, what):
    process = start(next_command(weir, run, arguments))
    _, errors = process.communicate(timeout=120)
    check(process.returncode == 0, f"{what}: resuming exits with {process.returncode}: {errors.decode()}")
    check(b"warning" not in errors, f"{what}: resuming after a kill warns: {errors.decode()}")


def reference_run(weir, name, **changes):
    run = weir.folder / name
    before = time.monotonic()
    weir.succeed(*weir.train_arguments(run, **changes))
    return run, time.monotonic() - before


def check_kills(weir, count, chance, name, **changes):
    """Runs until `count` runs were killed before their end, at moments spread evenly over their duration."""
    reference, seconds = reference_run(weir, name, **changes)
    killed = trials = 0
    while killed < count:
        check(trials < 10 * count, f"{name}: only {killed} of {trials} kills came before the end of the run")
        run = weir.folder / f"{name}-killed"
        arguments = weir.train_arguments(run, **changes)
        moment, before = chance.uniform(0, seconds), time.monotonic()
        in_time = kill_after(moment, weir.command(*arguments))
        if not in_time:
            seconds = min(seconds, time.monotonic() - before)
        killed += in_time
        if chance.random() < 0.4:
            kill_after(chance.uniform(0, seconds), next_command(weir, run, arguments))
        what = f"{name}, trial {trials}, killed after {moment:.3f} of {seconds:.3f} s"
        finish(weir, run, arguments, what)
        check_same_end(run, reference, what)
        shutil.rmtree(run)
        trials += 1
    print(f"ok: {name}: {killed} runs killed, all end with the same bits", flush=True)
    return reference


def check_signal(weir, number, reference):
    run = weir.folder / "stopped"
    process = subprocess.Popen(weir.command(*weir.train_arguments(run)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    name = signal.Signals(number).name
    check(process.returncode == 75, f"{name}: exits with {process.returncode}, expected 75: {errors.decode()}")
    check(f"weir train --resume --run {run}" in errors.decode(), f"{name}: no resume command in {errors.decode()!r}")
    check(output.count(b"\nstep ") < 20, f"{name}: went on for {output.count(b'step ')} lines")
    finish(weir, run, [], name)
    check_same_end(run, reference, name)
    shutil.rmtree(run)
    print(f"ok: {name} exits with 75, resuming ends with the same bits", flush=True)


def check_finished_again(weir, reference):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
                if path.is_file() and path.name != "lock" and "tfevents" not in path.name}

    before = contents(reference)
    weir.succeed("train", "--resume", "--run", reference)
    check(contents(reference) == before, "resuming a finished run changed its files")
    print("ok: resuming a finished run changes nothing", flush=True)


def check_one_at_a_time(weir):
    run = weir.folder / "shared"
    first = subprocess.Popen(weir.command(*weir.train_arguments(run, train__steps=100000)), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first.stdout.readline()
    second = weir.run("train", "--resume", "--run", run)
    first.kill()
    first.communicate()
    message = second.stderr.decode()
    check(second.returncode == 74, f"a second process on the run exits with {second.returncode}, not 74: {message}")
    check(f"pid {first.pid}" in message, f"the refusal does not name the first process: {message!r}")
    print("ok: a second process on the same run is refused", flush=True)


def damages():
    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    for name in [*TENSOR_FILES, "state.json", "MANIFEST.json"]:
        yield f"a flipped bit in {name}", name, flip
        yield f"{name} cut short", name, lambda path: path.write_bytes(path.read_bytes()[:-7])
        yield f"{name} deleted", name, lambda path: path.unlink()


def check_damage(weir, reference):
    stopped = weir.folder / "damaged-original"
    weir.succeed(*weir.train_arguments(stopped, train__steps=31))
    config = stopped / "config.toml"
    config.write_text(config.read_text().replace("steps = 31", "steps = 60"))
    newest = checkpoints(stopped)[-1].name
    # The learning rate follows train.steps, so the short run is compared with itself, resumed without damage.
    intact = shutil.copytree(stopped, weir.folder / "intact")
    shutil.rmtree(intact / "checkpoints" / newest)
    finish(weir, intact, [], "the older checkpoint")
    for what, name, damage in damages():
        run = shutil.copytree(stopped, weir.folder / "damaged")
        damage(run / "checkpoints" / newest / name)
        process = start(weir.command("train", "--resume", "--run", run))
        _, errors = process.communicate(timeout=60)
        check(process.returncode == 0, f"{what}: exits with {process.returncode}: {errors.decode()}")
        check(b"warning" in errors and f"{newest}/{name}" in errors.decode(), f"{what}: not reported: {errors!r}")
        check_same_end(run, intact, what)
        shutil.rmtree(run)
    print("ok: each kind of damage to the newest checkpoint is reported, the older one takes over", flush=True)

    run = shutil.copytree(stopped, weir.folder / "damaged")
    (run / "checkpoints" / newest / "state.json").write_bytes(b"")
    weir.succeed("train", "--resume", "--run", run, run / "config.toml", "train.steps=33")
    names = [path.name for path in checkpoints(run)]
    check(names == ["step_00000028", "step_00000033"], f"a damaged checkpoint stays: {names}")
    print("ok: a damaged checkpoint does not count among those that are kept", flush=True)

    for path in checkpoints(stopped):
        (path / "model.safetensors").write_bytes(b"")
    before = sorted(stopped.rglob("*"))
    result = weir.run("train", "--resume", "--run", stopped)
    check(result.returncode == 65, f"all damaged: exits with {result.returncode}, not 65: {result.stderr.decode()}")
    check(b"damaged" in result.stderr and sorted(stopped.rglob("*")) == before, "all damaged: not refused cleanly")
    for path in checkpoints(stopped):
        (path / "MANIFEST.json").unlink()
    result = weir.run("train", "--resume", "--run", stopped)
    check(result.returncode == 65, f"no manifest left: exits with {result.returncode}, expected 65")
    print("ok: a run whose checkpoints are all damaged is refused and left alone", flush=True)


def main():
    with setup() as weir:
        chance = random.Random(20240614)
        reference = check_kills(weir, 24, chance, "float32")
        check_kills(weir, 3, chance, "accumulate", train__accumulate=2)
        check_kills(weir, 3, chance, "bf16", model__precision="bf16")
        check_kills(weir, 3, chance, "no memory", model__memory=0)
        threaded, _ = reference_run(weir, "two-threads", train__threads=2)
        check_same_end(threaded, reference, "two threads")
        print("ok: two threads give the bits of one", flush=True)
        check_signal(weir, signal.SIGTERM, reference)
        check_signal(weir, signal.SIGINT, reference)
        check_finished_again(weir, reference)
        check_one_at_a_time(weir)
        check_damage(weir, reference)


main()
