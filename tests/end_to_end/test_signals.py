"""A run that gets a signal ends with 75 and resumes to the bits of a run that was left alone; broken pipes, nohup, limits.

WEIR_SIGNALS=300 sends so many signals at random moments instead of 40, or of 9 with WEIR_QUICK=1.
"""

import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import subprocess
import time

from weir_test import QUICK, check, check_same_end, checkpoints, patient, seeded, setup

STOPPED, IO = 75, 74
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]
# Products of some milliseconds in steps of some ten, so that most moments lie in a product. Evaluations and saves take
# as long as a few steps; the step that each comes after is told by its progress line.
MODEL = {"model__d_model": 256, "model__head_size": 128, "model__segment": 64, "feedforward__experts": 4,
         "feedforward__expert_size": 128, "train__batch_size": 8, "train__steps": 14, "eval__max_tokens": 3000,
         "eval__batch_size": 8, "sample__every": 0, "eval__every": 5, "checkpoint__every": 4}
STEPS_BEFORE = {"products": [1, 2, 3, 6, 7, 9, 11], "evaluation": [5, 10], "saving": [4, 8, 12]}


def start(command, **options):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def read_until_step(process, step):
    """Until the progress line of that step: what follows it goes on now."""
    for line in process.stdout:
        if line.startswith(b"step %d/" % step):
            return
    check(False, f"the run ended before step {step}: {process.stderr.read().decode()}")


def finish(process, what, expected, seconds=120):
    try:
        output, errors = process.communicate(timeout=patient(seconds))
    except subprocess.TimeoutExpired:
        process.kill()
        check(False, f"{what}: still runs after {seconds} s")
    errors = errors.decode()
    check(process.returncode == expected, f"{what}: exits with {process.returncode}, expected {expected}: {errors}")
    return output.decode(), errors


def resume(weir, run, reference, what):
    finish(start(weir.command("train", "--resume", "--run", run)), f"{what}, resumed", 0)
    check_same_end(run, reference, what)
    shutil.rmtree(run)


def arguments(weir, run, precision="float32", threads=1, **changes):
    return weir.train_arguments(run, **(MODEL | {"model__precision": precision, "train__threads": threads} | changes))


def unfinished(run):
    folder = run / "checkpoints"
    return folder.exists() and any(".tmp-" in name for name in os.listdir(folder))


def durations(weir, precision):
    """A run that is left alone, and how long its steps and its evaluation take."""
    run = weir.folder / f"reference-{precision}"
    process, times = start(weir.command(*arguments(weir, run, precision))), {}
    for line in process.stdout:
        found = re.match(rb"step (\d+)(/|: valid)", line)
        if found:
            times[found[1] + found[2]] = time.monotonic()
    finish(process, "the run that is left alone", 0)
    return run, {"products": times[b"3/"] - times[b"2/"], "evaluation": times[b"5: valid"] - times[b"5/"]}


def send_at(process, run, phase, seconds, number, chance):
    """Sends the signal at a random moment of that phase. Whether it is known to have come while the run was saving."""
    read_until_step(process, chance.choice(STEPS_BEFORE[phase]))
    if phase == "saving":
        while process.poll() is None and not unfinished(run):
            pass
        time.sleep(chance.uniform(0, 0.005))
        process.send_signal(number)
        return unfinished(run)
    # An evaluation is shorter with more threads than those that were measured.
    time.sleep(chance.uniform(0, seconds[phase] * (0.5 if phase == "evaluation" else 1)))
    process.send_signal(number)
    return False


def check_random_moments(weir, references, count):
    chance = seeded()
    met = dict.fromkeys(STEPS_BEFORE, 0)
    sent = 0
    while min(met.values()) < count // 3 or sent < count:
        check(sent < 5 * count, f"{sent} signals, and only so many came when they were to: {met}")
        phase = min(met, key=met.get)
        number, threads, precision = NUMBERS[sent % 4], chance.randint(1, 3), chance.choice(["float32", "bf16"])
        reference, seconds = references[precision]
        run = weir.folder / "stopped"
        process = start(weir.command(*arguments(weir, run, precision, threads)))
        saving = send_at(process, run, phase, seconds, number, chance)
        what = f"{signal.Signals(number).name} during {phase}, {precision}, {threads} threads"
        _, errors = finish(process, what, STOPPED)
        check("--resume" in errors and errors.count("\n") == 1, f"{what}: says {errors!r}")
        state = json.loads((checkpoints(run)[-1] / "state.json").read_text())
        met["saving" if saving else "evaluation" if state["pending"] else "products"] += 1
        resume(weir, run, references[precision][0], what)
        sent += 1
        if sent % 50 == 0:
            print(f"{sent} signals so far: {met}", flush=True)
    print(f"ok: {sent} signals at random moments ({', '.join(f'{n} in {phase}' for phase, n in met.items())}): "
          f"{sent} exits with 75, {sent} resumes with the same bits", flush=True)


def check_no_handlers(weir):
    """No thread can get one of the signals, and there is no handler for any but the two that glibc keeps for itself."""
    run = weir.folder / "watched"
    process = start(weir.command(*arguments(weir, run, threads=3, train__steps=200)))
    read_until_step(process, 2)
    found = []
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{thread}/status") as status:
            found.append({line.split(":")[0]: int(line.split()[1], 16) for line in status if line.startswith("Sig")
                          and not line.startswith("SigQ")})
    process.kill()
    process.communicate()
    ours = sum(1 << (number - 1) for number in NUMBERS)
    check(len(found) >= 4, f"only {len(found)} threads with train.threads=3: two helpers, and the one that waits")
    # sigwait unblocks what it waits for only while the signal cannot be delivered elsewhere.
    open_in = [masks for masks in found if masks["SigBlk"] & ours != ours]
    check(len(open_in) <= 1, f"threads in which the signals are not blocked: {found}")
    handled = found[0]["SigCgt"] & ~(0b11 << 31)
    if weir.is_sanitized():
        handled &= ~sum(1 << (number - 1) for number in (signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV))
    check(handled == 0, f"handlers for {[n for n in range(1, 65) if handled >> (n - 1) & 1]}")
    print("ok: no handler is installed, and the signals are blocked in every thread that computes", flush=True)


def check_second_signal(weir, references):
    """During a step that takes long, and while saving: at once, with what was saved before."""
    run = weir.folder / "long-steps"
    for _ in range(8):  # the first signal may come between two steps, where there is nothing to wait for
        process = start(weir.command(*arguments(weir, run, train__batch_size=64, model__segment=256,
                                                model__d_model=512, train__log_every=1, eval__every=0)))
        read_until_step(process, 1)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = finish(process, "a second signal", STOPPED)
        at_once = "stopped at once, before anything was saved" in errors and not checkpoints(run)
        shutil.rmtree(run)
        if at_once:
            break
    check(at_once, f"a second signal waited for the step: {errors!r}")
    cut = 0
    for trial in range(6):
        run = weir.folder / "twice"
        process = start(weir.command(*arguments(weir, run)))
        read_until_step(process, 6)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None and not unfinished(run):
            pass
        time.sleep(0.002 * trial)
        process.send_signal(signal.SIGINT)
        _, errors = finish(process, "a second signal while saving", STOPPED)
        if "stopped at once, without saving" in errors:
            cut += 1
            check(f"{run}/checkpoints/step_" in errors and "--resume" in errors, f"a second signal says {errors!r}")
        resume(weir, run, references["float32"][0], "a second signal while saving")
    check(cut > 0, "no second signal came while the run was saving")
    print(f"ok: a second signal ends a run at once; {cut} times while it was saving", flush=True)


def check_early(weir, reference):
    """While the libraries are initialised, before main(): the run begins, and saves at once."""
    library = pathlib.Path(weir.binary).parents[2] / "tests" / "libearly_signal.so"
    if weir.is_sanitized() or not library.exists():
        print(f"skipped: no signal before main(): {library} is not there, or a sanitizer has to be the first library")
        return
    run = weir.folder / "early"
    process = start(weir.command(*arguments(weir, run)), env=os.environ | {"LD_PRELOAD": str(library)})
    _, errors = finish(process, "a signal before main()", STOPPED)
    check("stopped after step 0, saved in" in errors, f"a signal before main(): says {errors!r}")
    resume(weir, run, reference, "a signal before main()")
    print("ok: a signal before main() stops a run before its first step", flush=True)


def check_ignored(weir, reference):
    """nohup, and a shell's background jobs."""
    def ignore_interrupt():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    run = weir.folder / "ignoring"
    for what, number, wrapper, before in (("nohup", signal.SIGHUP, ["nohup"], None),
                                          ("in the background", signal.SIGINT, [], ignore_interrupt)):
        process = start([*wrapper, *weir.command(*arguments(weir, run))], preexec_fn=before)
        for step in (2, 5, 8):
            read_until_step(process, step)
            process.send_signal(number)
        finish(process, f"{number} {what}", 0)
        check_same_end(run, reference, what)
        shutil.rmtree(run)
    print("ok: what nohup or a shell ignores stays ignored", flush=True)


def start_on_terminal(command):
    """Returns the process, its terminal and what it has printed once it makes its third step."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    seen = b""
    while b"step 3/" not in seen:
        seen += os.read(terminal, 4096)
    return child, terminal, seen


def check_closed_terminal(weir, reference):
    run = weir.folder / "hung-up"
    command = weir.command(*arguments(weir, run))
    child, terminal, _ = start_on_terminal(command)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    check(os.waitstatus_to_exitcode(status) == STOPPED, f"a closed terminal: ends with status {status}")
    resume(weir, run, reference, "a closed terminal")
    print("ok: a closed terminal saves and ends with 75", flush=True)


def check_terminal(weir, reference):
    """Who presses Ctrl-C there learns at once what it does, and what a second one would."""
    run = weir.folder / "on-a-terminal"
    command = weir.command(*arguments(weir, run))
    child, terminal, seen = start_on_terminal(command)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # its end
        while part := os.read(terminal, 4096):
            seen += part
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    check(os.waitstatus_to_exitcode(status) == STOPPED, f"Ctrl-C on a terminal: ends with status {status}")
    check(b"saving after this step, then stopping; again to stop at once" in seen, f"Ctrl-C on a terminal: {seen!r}")
    resume(weir, run, reference, "Ctrl-C on a terminal")
    print("ok: Ctrl-C on a terminal is answered at once", flush=True)


def check_broken_pipe(weir, reference):
    run = weir.folder / "unheard"
    for json_too in ([], ["--json"]):
        process = subprocess.Popen(weir.command(*arguments(weir, run), *json_too), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not json_too:
            process.stdout.readline()
        process.stdout.close()
        check(process.wait(patient(60)) == 0, f"nobody reads {json_too}: exits with {process.returncode}")
        check_same_end(run, reference, "nobody reads")
        shutil.rmtree(run)
    script = 'set -o pipefail; "$@" 2>&1 | head -n 2 >/dev/null'
    check(subprocess.run(["bash", "-c", script, "bash", *weir.command(*arguments(weir, run))]).returncode == 0,
          "weir train | head fails")
    check_same_end(run, reference, "weir train | head")
    shutil.rmtree(run)
    process = subprocess.Popen(weir.command(*arguments(weir, run)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    read_until_step(process, 2)
    process.stdout.close()
    process.send_signal(signal.SIGTERM)
    check(process.wait(patient(60)) == STOPPED, f"nobody reads, and SIGTERM: exits with {process.returncode}")
    resume(weir, run, reference, "nobody reads, and SIGTERM")
    print("ok: a run goes on when nobody reads what it prints", flush=True)


def check_file_size_limit(weir, reference):
    run = weir.folder / "limited"
    limit = 200_000
    process = start(weir.command(*arguments(weir, run)),
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, errors = finish(process, "ulimit -f", IO)
    check("ulimit -f" in errors and errors.startswith("weir: "), f"ulimit -f: says {errors!r}")
    resume(weir, run, reference, "ulimit -f")
    print("ok: a limit on the size of files is an error of the write", flush=True)


def check_sweep(weir):
    file = weir.folder / "sweep.toml"
    settings = {key.replace("__", "."): value for key, value in MODEL.items()}
    lines = [f"{key} = {value}" for key, value in settings.items()]
    file.write_text("\n".join(["seeds = 1", f'data.train = "{weir.text}"', *lines,
                               "train.minutes = 0", "train.threads = 1", "optimizer.warmup_steps = 5", "model.layers = 2",
                               "model.heads = 2", "feedforward.k = 2",
                               *(f'[[variant]]\nname = "{name}"\noptimizer = {{ lr = {lr} }}' for name, lr in
                                 (("a", 1e-3), ("b", 2e-3), ("c", 3e-3)))]) + "\n")

    def results(output):
        return {row["variant"]: row["results"] for row in json.loads(output)["variants"]}

    whole, _ = finish(start(weir.command("sweep", file, "--run", weir.folder / "whole", "--jobs", 2, "--json")), "sweep", 0)
    folder = weir.folder / "cut"
    command = weir.command("sweep", file, "--run", folder, "--jobs", 2)
    for number in NUMBERS:
        process = start(command)
        end = time.monotonic() + patient(60)
        lines_before = lines_now = sum(count_lines(path) for path in folder.glob("*/metrics.jsonl"))
        while lines_now < lines_before + 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
            lines_now = sum(count_lines(path) for path in folder.glob("*/metrics.jsonl"))
        process.send_signal(number)
        _, errors = finish(process, f"{number.name} to a sweep", STOPPED)
        check("continue with: weir sweep" in errors, f"{number.name} to a sweep: says {errors!r}")
        check(any(checkpoints(run) for run in folder.iterdir() if run.is_dir()), f"{number.name}: no run has saved")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process.stdout.readline()
    process.stdout.close()
    check(process.wait(patient(120)) == 0, f"nobody reads what the sweep prints: exits with {process.returncode}")
    table, _ = finish(start([*command, "--table", "--json"]), "sweep --table", 0)
    check(results(table) == results(whole), f"after the signals {results(table)}, without {results(whole)}")
    print("ok: a sweep takes the same signals, and ends with the same results", flush=True)


def count_lines(path):
    return path.read_bytes().count(b"\n")


def main():
    with setup() as weir:
        references = {precision: durations(weir, precision) for precision in ("float32", "bf16")}
        reference = references["float32"][0]
        check_no_handlers(weir)
        check_early(weir, reference)
        check_second_signal(weir, references)
        check_ignored(weir, reference)
        check_closed_terminal(weir, reference)
        check_terminal(weir, reference)
        check_broken_pipe(weir, reference)
        check_file_size_limit(weir, reference)
        check_sweep(weir)
        check_random_moments(weir, references, int(os.environ.get("WEIR_SIGNALS", "9" if QUICK else "40")))


main()
