"""A run that is killed, stopped or loses checkpoints ends with the same bits as one that was left alone.

WEIR_KILLS=200 kills so many runs at random moments instead of 33, WEIR_SPLITS=60 stops and resumes so many of random
configurations instead of 3.
"""

import os
import shutil
import signal
import subprocess
import time

from weir_test import QUICK, TENSOR_FILES, check, check_same_end, checkpoints, finish, next_command, patient, seeded, setup


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
        if not in_time:  # the machine has become quicker; and it may become slower again
            seconds = time.monotonic() - before
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


def random_settings(chance):
    feedforward = {
        "dense": {"d_ff": 64},
        "top-k": {"d_ff": 64, "k": chance.choice([4, 16])},
        "pkm": {"sub_keys": 8, "key_heads": chance.choice([1, 2]), "k": chance.choice([2, 4]),
                "activation": chance.choice(["relu", "softmax"])},
        "moe": {"experts": chance.choice([4, 6]), "k": chance.choice([1, 2]),
                "gate": chance.choice(["sigmoid", "softmax"]), "scores": chance.choice(["linear", "noisy"]),
                "selection": chance.choice(["top-k", "bias-balanced", "expert-choice"])},
    }
    kind = chance.choice(list(feedforward))
    return {
        "feedforward__kind": kind, **{f"feedforward__{key}": value for key, value in feedforward[kind].items()},
        "model__memory": chance.choice([-1, 0, 16, 48]), "model__precision": chance.choice(["float32", "bf16"]),
        "model__attention": chance.choice(["relative", "switch-head"]), "train__accumulate": chance.choice([1, 2]),
        "train__seed": chance.randrange(1000), "train__steps": 24, "checkpoint__every": chance.randint(1, 10),
        "checkpoint__keep_last": chance.randint(1, 3), "eval__every": chance.randint(5, 12),
        "sample__every": chance.randint(5, 12),
    }


def stop_after(step, command, what):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stdout:
        if line.startswith(b"step %d/" % step):
            break
    process.terminate()
    _, errors = process.communicate(timeout=patient(60))
    check(process.returncode in (0, 75), f"{what}: exits with {process.returncode}: {errors.decode()}")
    return process.returncode == 75


def check_splits(weir, count, chance):
    stops = 0
    for trial in range(count):
        settings = random_settings(chance)
        places = sorted(chance.sample(range(1, 24), chance.randint(1, 3)))
        what = f"split {trial}, stopped after {places}, {settings}"
        reference, run = weir.folder / "undisturbed", weir.folder / "split"
        weir.succeed(*weir.train_arguments(reference, **settings))
        arguments = weir.train_arguments(run, **settings)
        for place in places:
            stops += stop_after(place, next_command(weir, run, arguments), what)
        finish(weir, run, arguments, what)
        check_same_end(run, reference, what)
        shutil.rmtree(reference)
        shutil.rmtree(run)
    print(f"ok: {count} random configurations stopped {stops} times, all end with the same bits", flush=True)


def check_signal(weir, number, reference):
    run = weir.folder / "stopped"
    process = subprocess.Popen(weir.command(*weir.train_arguments(run)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(number)
    output, errors = process.communicate(timeout=patient(60))
    name = signal.Signals(number).name
    check(process.returncode == 75, f"{name}: exits with {process.returncode}, expected 75: {errors.decode()}")
    check(f"weir train --resume {run}" in errors.decode(), f"{name}: no resume command in {errors.decode()!r}")
    check(output.count(b"\nstep ") < 20, f"{name}: went on for {output.count(b'step ')} lines")
    finish(weir, run, [], name)
    check_same_end(run, reference, name)
    shutil.rmtree(run)
    print(f"ok: {name} exits with 75, resuming ends with the same bits", flush=True)


def check_finished_again(weir, reference):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
                if path.is_file() and path.name != "lock"}

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
        _, errors = process.communicate(timeout=patient(60))
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
        chance = seeded()
        kills = int(os.environ.get("WEIR_KILLS", "11" if QUICK else "33"))
        reference = check_kills(weir, kills - 3 * (kills // 11), chance, "float32")
        check_kills(weir, kills // 11, chance, "accumulate", train__accumulate=2)
        check_kills(weir, kills // 11, chance, "bf16", model__precision="bf16")
        check_kills(weir, kills // 11, chance, "no memory", model__memory=0)
        check_splits(weir, int(os.environ.get("WEIR_SPLITS", "1" if QUICK else "3")), chance)
        threaded, _ = reference_run(weir, "two-threads", train__threads=2)
        check_same_end(threaded, reference, "two threads")
        print("ok: two threads give the bits of one", flush=True)
        check_signal(weir, signal.SIGTERM, reference)
        check_signal(weir, signal.SIGINT, reference)
        check_finished_again(weir, reference)
        check_one_at_a_time(weir)
        check_damage(weir, reference)


main()
