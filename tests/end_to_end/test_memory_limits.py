"""Little memory and few threads: training ends as ever, or says what it lacks; nothing crashes or is left half-written."""

import os
import pwd
import resource
import subprocess
import sys

import weir_test
from weir_test import check, check_same_end, checkpoints, patient

KIBI, MEBI = 1 << 10, 1 << 20
LOADER = 127  # the program does not even start
OUT_OF_MEMORY = 71


def train(weir, run, before, threads=2, steps=6, **changes):
    arguments = weir.train_arguments(run, train__steps=steps, train__threads=threads, checkpoint__every=3,
                                     eval__every=3, sample__every=3, **changes)
    result = subprocess.run(weir.command(*arguments, "--quiet"), stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=patient(120), cwd=weir.folder, preexec_fn=before)
    if result.returncode == 1:  # libgomp's own, at least while the libraries are loaded
        start = subprocess.run(weir.command("--version"), capture_output=True, preexec_fn=before)
        result.returncode = LOADER if start.returncode == 1 else 1
    return result


def limited(limit, value):
    def before():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(limit, (value, value))
    return before


def check_left(run, what):
    """A run folder has whole checkpoints, which were once complete, or none."""
    if not run.exists():
        return
    for checkpoint in checkpoints(run):
        names = {path.name for path in checkpoint.iterdir()}
        check({"MANIFEST.json", *weir_test.TENSOR_FILES} <= names, f"{what}: {checkpoint} has only {names}")


def ended_in_loading(result):
    """In the loader, or where a library is initialised before anything of Weir runs."""
    return result.returncode == LOADER or (result.returncode == 1 and b"libgomp: Out of memory" in result.stderr)


def judge(result, run, what):
    if ended_in_loading(result):
        return LOADER
    errors = result.stderr.decode(errors="replace")
    told = f"{what}: exit {result.returncode}: {errors!r}"
    check(result.returncode in (0, OUT_OF_MEMORY), told)
    last = errors.splitlines()[-1] if errors else ""
    if result.returncode == OUT_OF_MEMORY:
        check(last.startswith("weir: ") and "out of memory" in last and "ulimit -v" in last, told)
    check_left(run, what)
    return result.returncode


def sweep(weir, kind, reference, **settings):
    """From where the program does not start up to where it trains, in steps."""
    smallest, largest, step = 60 * MEBI, 2 << 30, 768 * KIBI
    ends, value, trained = {}, smallest, 0
    # Where it starts, by halving; a step is only of interest from there on.
    low, high = smallest, largest
    while high - low > step:
        middle = (low + high) // 2
        run = weir.folder / "start"
        result = train(weir, run, limited(resource.RLIMIT_AS, middle), **settings)
        low, high = (middle, high) if ended_in_loading(result) else (low, middle)
        subprocess.run(["rm", "-rf", run], check=True)
    value = max(smallest, high - 4 * step)
    while trained < 4 and value < largest:
        run = weir.folder / f"limit-{kind}-{value // KIBI}"
        what = f"{kind}, ulimit -v {value // KIBI}"
        code = judge(train(weir, run, limited(resource.RLIMIT_AS, value), **settings), run, what)
        ends[code] = ends.get(code, 0) + 1
        trained = trained + 1 if code == 0 else 0
        if code == 0:
            check_same_end(run, reference, what)
        elif code != LOADER and run.exists() and ends[code] <= 3:
            # What is left is a run that goes on, where there is memory, and comes to the same end.
            left = checkpoints(run)
            if left:
                weir.succeed("train", "--resume", run, "--quiet")
                check_same_end(run, reference, what + ", resumed")
        subprocess.run(["rm", "-rf", run], check=True)
        value += step
    check(trained == 4, f"{kind}: does not train in {value >> 20} MiB")
    check(ends.get(OUT_OF_MEMORY, 0) > 0, f"{kind}: no limit was too small: {ends}")
    print(f"{kind}: {sum(ends.values())} limits up to {value >> 20} MiB; exit codes "
          + ", ".join(f"{code}: {count}" for code, count in sorted(ends.items())), flush=True)


def few_threads(weir, reference):
    """A limit of processes does not hold for root, so that this takes another user."""
    if os.getuid() != 0:
        print("skipped: few threads (only root can become a user who has no other processes)")
        return
    nobody = pwd.getpwnam("nobody")
    weir.folder.chmod(0o777)
    weir.text.chmod(0o644)

    def become_nobody(processes):
        def before():
            limited(resource.RLIMIT_NPROC, processes)()
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        return before

    try:
        subprocess.run([weir.binary, "--version"], check=True, capture_output=True, preexec_fn=become_nobody(100))
    except (OSError, subprocess.SubprocessError):
        print(f"skipped: few threads (the user nobody cannot run {weir.binary})")
        return
    for processes in range(1, 10):
        run = weir.folder / f"processes-{processes}"
        result = train(weir, run, become_nobody(processes), threads=8)
        errors = result.stderr.decode()
        what = f"{processes} processes allowed: exit {result.returncode}: {errors!r}"
        check(result.returncode == 0, what)
        # One process is the program, one is left to wait for signals; eight threads are seven beside that.
        granted = max(1, processes - 1)
        wanted = f"weir: warning: 8 threads asked for, {granted} granted: "
        check(errors.count("granted") == (1 if granted < 8 else 0) and (granted == 8 or wanted in errors), what)
        check_same_end(run, reference, what)
    result = subprocess.run(weir.command("prepare", "files", "--train", weir.text, "--valid-fraction", "0.1",
                                         "--tokenizer", "bytes", "--out", weir.folder / "few", "--threads", "4"),
                            stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=become_nobody(1))
    check(result.returncode == 0, f"prepare without threads: exit {result.returncode}: {result.stderr.decode()!r}")
    print("few threads: 9 limits, all trained to the same end", flush=True)


def main():
    with weir_test.setup() as weir:
        if weir.is_sanitized():
            print("skipped: AddressSanitizer takes more address space than any of these limits leaves")
            sys.exit(77)
        reference = weir.folder / "reference"
        result = train(weir, reference, None)
        check(result.returncode == 0, result.stderr.decode())
        few_threads(weir, reference)
        sweep(weir, "float32", reference)
        bf16 = weir.folder / "reference-bf16"
        check(train(weir, bf16, None, model__precision="bf16").returncode == 0, "bf16 does not train")
        sweep(weir, "bf16", bf16, model__precision="bf16")
    print("memory limits: passed")


main()
