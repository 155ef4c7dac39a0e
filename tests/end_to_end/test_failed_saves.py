"""Saves that the file system refuses: training goes on, three in a row end it, and what it says is so.

WEIR_DISKS=60 fills so many small disks of random sizes instead of 3.
"""

import collections
import contextlib
import os
import resource
import subprocess
import time

from weir_test import QUICK, check, check_same_end, checkpoints, digests, finish, patient, seeded, setup, small_disk, untimed_metrics

LIMIT = 60_000  # bytes per file: less than the moments of the tiny model take, more than its logs


def start(weir, run, **changes):
    arguments = weir.train_arguments(run, train__log_every=1000, **changes)
    return subprocess.Popen(weir.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def limit_files(process, size):
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def wait_for(condition, process, what):
    end = time.monotonic() + patient(60)
    while not condition():
        check(time.monotonic() < end, f"{what}: waited for 60 s")
        check(process.poll() is None, f"{what}: the run has ended")
        time.sleep(0.005)


def check_recovery(weir):
    """The disk is full for a while: one or two warnings, and the end is that of a run that met nothing."""
    settings = {"train__steps": 3000, "checkpoint__every": 500, "eval__every": 0, "sample__every": 0}
    whole, run = weir.folder / "whole", weir.folder / "full-for-a-while"
    weir.succeed(*weir.train_arguments(whole, train__log_every=1000, **settings))
    process = start(weir, run, **settings)
    wait_for(lambda: checkpoints(run), process, "the first checkpoint")
    limit_files(process, LIMIT)
    warning = process.stderr.readline()
    limit_files(process, resource.RLIM_INFINITY)
    _, errors = process.communicate(timeout=patient(120))
    errors = warning + errors
    check(process.returncode == 0, f"a disk that is full for a while: exit {process.returncode}: {errors}")
    check(errors.count("\n") <= 2, f"more than one warning per failed save: {errors}")
    for part in ("weir: warning: ", f"{run}/checkpoints/step_0000", "bytes done): File too large",
                 "could not be saved (a checkpoint takes about 1.5 MB); training goes on and tries again"):
        check(part in warning, f"the warning does not say {part!r}: {warning}")
    check_same_end(run, whole, "a failed save")
    print("ok: a failed save is a warning, and the run ends as one that met nothing", flush=True)


def check_three(weir):
    run = weir.folder / "three"
    process = start(weir, run, train__steps=100000, checkpoint__every=200, eval__every=0, sample__every=0)
    wait_for(lambda: checkpoints(run), process, "the first checkpoint")
    limit_files(process, LIMIT)
    _, errors = process.communicate(timeout=patient(120))
    last = checkpoints(run)[-1]
    check(process.returncode == 74, f"three failed saves: exit {process.returncode}: {errors}")
    check(errors.count("warning") == 2, f"three failed saves give two warnings and an error: {errors}")
    check(f"the third time in a row, so training ends at step {int(last.name[5:]) + 600}; the last checkpoint is {last}; "
          f"continue with: weir train --resume {run}\n" in errors, f"three failed saves: {errors}")
    output = weir.succeed("train", "--resume", run, f"train.steps={int(last.name[5:]) + 10}")
    check(f"resumed from {last}" in output, f"the cure does not go on from {last}: {output}")
    print("ok: three failed saves in a row end with 74, and the run goes on from where that says", flush=True)


def check_last(weir):
    """At a stop and at the end nothing would try again."""
    for name, stopped in (("stopped", True), ("ended", False)):
        run = weir.folder / name
        process = start(weir, run, train__steps=1_000_000 if stopped else 400, checkpoint__every=0, eval__every=0,
                        sample__every=0)
        process.stdout.readline()
        limit_files(process, LIMIT)
        if stopped:
            process.terminate()
        _, errors = process.communicate(timeout=patient(120))
        check(process.returncode == 74 and "training ends here; nothing was saved yet; begin anew with: weir train --resume" in errors,
              f"the last save fails ({name}): exit {process.returncode}: {errors}")
        check(not checkpoints(run) and not list((run / "checkpoints").iterdir()), f"{name}: something was left behind")
    print("ok: a failed save at a stop or at the end ends with 74", flush=True)


def check_logs(weir):
    """What cannot be logged is missed at the end, which says what was saved."""
    run = weir.folder / "logs"
    process = start(weir, run, train__steps=400, checkpoint__every=100, eval__every=0, sample__every=0)
    wait_for(lambda: checkpoints(run), process, "the first checkpoint")
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    _, errors = process.communicate(timeout=patient(120))
    last = checkpoints(run)[-1]
    check(process.returncode == 74 and errors.endswith(f"; the last checkpoint is {last}; continue with: weir train "
                                                       f"--resume {run}\n"), f"no log: {process.returncode}: {errors}")
    print("ok: a run that could not log says what was saved", flush=True)


def fill(disk, left):
    """Somebody else's file takes what is free on it, up to `left` bytes."""
    status = os.statvfs(disk)
    with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as file:
        file.write(bytes(max(0, status.f_bavail * status.f_frsize - left)))


def check_small_disks(weir, count):
    """They fill up while a run goes on, some for a moment: it ends as one that met nothing, then or with more room."""
    chance, ends = seeded(), collections.Counter()
    settings = {"train__steps": 80, "checkpoint__every": 4, "eval__every": 10, "sample__every": 10}
    whole = weir.folder / "with-room"
    weir.succeed(*weir.train_arguments(whole, **settings))
    checkpoint = sum(path.stat().st_size for path in checkpoints(whole)[-1].iterdir())
    for trial in range(count):
        disk = weir.folder / f"disk-{trial}"
        with small_disk(disk, 20 * checkpoint) as mounted:
            if not mounted:
                print("skipped: small disks: they cannot be mounted here", flush=True)
                return
            left, run = chance.randrange(2 * checkpoint), disk / "run"
            what, arguments = f"a disk with {left} bytes left", weir.train_arguments(run, **settings)
            process = subprocess.Popen(weir.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            for _ in range(chance.randint(1, 40)):
                process.stdout.readline()
            fill(disk, left)
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, 0.3))
                (disk / "ballast").unlink()
            _, errors = process.communicate(timeout=patient(120))
            ends[process.returncode] += 1
            check(process.returncode in (0, 74), f"{what}: exit {process.returncode}: {errors}")
            (disk / "ballast").unlink(missing_ok=True)
            finish(weir, run, arguments, what)
            check_same_end(run, whole, what)
    print(f"ok: {count} disks that fill up: exit codes {dict(ends)}, and the same bits with more room", flush=True)


def main():
    with setup() as weir:
        check_recovery(weir)
        check_three(weir)
        check_last(weir)
        check_logs(weir)
        check_small_disks(weir, int(os.environ.get("WEIR_DISKS", "1" if QUICK else "3")))


main()
