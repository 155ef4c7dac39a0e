"""What others put into a folder of ours, or do to it while a run goes on: nothing of theirs is lost, followed or waited
for, nothing wrong is taken for a result, and a run that lost something says so.
"""

import json
import os
import shutil
import signal
import subprocess
import time

from test_sweep import write_sweep
from weir_test import check, checkpoints, metrics, patient, setup

USAGE, DATA, IO, STOPPED = 2, 65, 74, 75
PROMPTLY = patient(20)  # seconds, on a machine that does other things as well
ENDLESS = {"train__steps": 10**6, "eval__every": 0, "sample__every": 0, "checkpoint__every": 10}
ONE_VARIANT = '[[variant]]\nname = "a"\n'


def refused(weir, code, fragments, *words):
    result = weir.run(*words, timeout=PROMPTLY)
    message = result.stderr.decode()
    name = " ".join(map(str, words))
    check(result.returncode == code, f"{name}: exits with {result.returncode}, expected {code}: {message!r}")
    for fragment in fragments:
        check(fragment in message, f"{name}: {fragment!r} is not in {message!r}")
    return message


def plant_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def contents(folder):
    """Every file below a folder, links as links; without the lock, which says whose it was last."""
    return {path: path.readlink() if path.is_symlink() else path.read_bytes()
            for path in sorted(folder.rglob("*")) if (path.is_symlink() or path.is_file()) and path.name != "lock"}


def copy_of(run, name):
    copy = run.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(run, copy, symlinks=True)


# --- folders of somebody else ------------------------------------------------------------------------------------------


def check_others_folders(weir, run):
    """Folders with names like ours, beside checkpoints: a run that resumes, prunes and saves leaves them alone."""
    mine, elsewhere = copy_of(run, "others"), weir.folder / "elsewhere"
    saved = mine / "checkpoints"
    shutil.copytree(checkpoints(run)[-1], elsewhere / "step_00000002")
    for name in ("step_1", "step_7.tmp-notes", "step_00000003.tmp-4711"):
        (saved / name).mkdir()
        (saved / name / "thesis.txt").write_text("mine")
    (saved / "step_00000002").symlink_to(elsewhere / "step_00000002")
    shutil.copytree(checkpoints(run)[-1], saved / "step_00000004")  # a checkpoint, and a file beside its own
    (saved / "step_00000004" / "thesis.txt").write_text("mine")
    (saved / "step_00000018").mkdir()  # where one is to be saved
    (saved / "step_00000018" / "thesis.txt").write_text("mine")
    for name in (".notes.tmp-1", ".config.toml.tmp-mine"):
        (mine / name).write_text("mine")
    (mine / ".config.toml.tmp-4711").write_text("left by a run that was killed")
    kept = {path: data for path, data in contents(weir.folder).items()
            if "thesis.txt" in path.name or elsewhere in path.parents or path.name.endswith(("tmp-1", "tmp-mine"))}
    kept |= {path: data for path, data in contents(saved / "step_00000004").items()}
    check(len(kept) == 17, f"the test plants other files than it says: {len(kept)}")

    result = weir.run("train", "--resume", mine, "train.steps=20", "checkpoint.every=2", "checkpoint.keep_last=1")
    check(result.returncode == 0, f"resumed beside others' folders: {result.stderr.decode()}")
    aside = saved / "step_00000018.kept-1"
    for path, data in kept.items():
        now = aside / path.name if path.parent.name == "step_00000018" else path
        there = now.is_file() and now.read_bytes() == data
        check(there, f"{path} was {'changed' if now.exists() else 'lost'}")
    check((saved / "step_00000002").is_symlink(), "the link to another folder was replaced")
    check("it is kept as" in result.stderr.decode(), f"not said: {result.stderr.decode()!r}")
    check(not (mine / ".config.toml.tmp-4711").exists(), "what a killed run left is still there")
    left = sorted(path.name for path in saved.iterdir() if (path / "MANIFEST.json").exists())
    check(left == ["step_00000002", "step_00000004", "step_00000020"], f"pruning left {left}")
    print("ok: folders and files of others stay, whatever their names", flush=True)


def check_forced_prepare(weir):
    """`prepare --force` replaces a data set, and nothing else that is in its folder."""
    arguments = ["prepare", "files", "--train", weir.text, "--valid-fraction", "0.1", "--tokenizer", "bytes", "--quiet"]
    out = weir.folder / "data" / "book"
    weir.succeed(*arguments, "--out", out)
    (out / "notes.txt").write_text("mine")
    refused(weir, USAGE, ['"notes.txt" is in this folder and no part of the data set'], *arguments, "--out", out,
            "--force")
    (out / "notes.txt").unlink()
    weir.succeed(*arguments, "--out", out, "--force")
    return arguments


def check_two_prepares(weir, arguments):
    big = weir.folder / "big.txt"
    big.write_bytes(weir.text.read_bytes() * 300)
    words = weir.command(*[big if word == weir.text else word for word in arguments], "--out", weir.folder / "data/two")
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, cwd=weir.folder) for _ in range(2)]
    messages = [process.communicate(timeout=patient(60))[1].decode() for process in both]
    codes = sorted(process.returncode for process in both)
    check(codes in ([0, IO], [0, USAGE]), f"two prepares at once end with {codes}: {messages}")
    check(any(part in "".join(messages) for part in ("another process is preparing", "was put there while",
                                                     "is there already")), f"the loser says {messages}")
    left = sorted(path.name for path in (weir.folder / "data").iterdir())
    check(left == ["book", "two"], f"two prepares leave {left}")
    dataset = json.loads((weir.folder / "data/two/dataset.json").read_text())
    size = sum(split["tokens"] for split in dataset["splits"].values())
    check(size == big.stat().st_size, f"the winner has {size} tokens of {big.stat().st_size} bytes")
    print("ok: a data set is replaced alone, and of two that are prepared at once one is there, whole", flush=True)


# --- links, pipes and wrong kinds --------------------------------------------------------------------------------------


def planted(folder, names, precious):
    """Puts a link to a user's file, then a pipe, in the place of each file. Yields its name and what stands there."""
    for name in names:
        for kind in ("symbolic link", "pipe"):
            path = folder() / name
            path.unlink(missing_ok=True)
            path.symlink_to(precious) if kind == "symbolic link" else os.mkfifo(path)
            yield name, kind


def check_links(weir, run, sweep):
    """Every file that a command writes, as a link to a user's file and as a pipe."""
    precious, folder = weir.folder / "precious.txt", weir.folder / "swept"
    precious.write_text("mine")

    def new_variant():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "a-seed1").mkdir(parents=True)
        return folder / "a-seed1"

    of_train = ("metrics.jsonl", "samples.txt", "lock")
    for name, kind in planted(new_variant, ("result.json", "log.txt", *of_train), precious):
        refused(weir, IO, [f"{name}: this is a {kind}"], "sweep", sweep, "--run", folder, "--quiet")
        check(precious.read_text() == "mine", f"sweep overwrote a user's file through {name}")
    for name, kind in planted(lambda: copy_of(run, "planted"), of_train, precious):
        refused(weir, IO, [f"{name}: this is a {kind}"], "train", "--resume", weir.folder / "planted", "train.steps=20")
        check(precious.read_text() == "mine", f"train overwrote a user's file through {name}")
    for name in ("config.toml", "metrics.jsonl", "samples.txt"):
        copy = copy_of(run, "read")
        (copy / name).unlink()
        (copy / name).symlink_to(run / name)
        commands = [["report", copy], ["train", "--resume", copy]] + [["report", copy, "--table"]] * (name != "samples.txt")
        for words in commands:
            refused(weir, IO, [f"{name}: this is a symbolic link"], *words)
    saved, disk = copy_of(run, "linked") / "checkpoints", weir.folder / "other-disk"
    saved.rename(disk)
    saved.symlink_to(disk)
    weir.succeed("eval", saved.parent)
    weir.succeed("train", "--resume", saved.parent, "train.steps=20")
    new = weir.folder / "new"
    new.mkdir()
    (new / "config.toml").symlink_to(weir.folder / "nothing")
    refused(weir, IO, ["config.toml: this is a symbolic link"], *weir.train_arguments(new))

    outside = weir.folder / "outside"
    outside.mkdir()
    new_variant().rmdir()
    (folder / "a-seed1").symlink_to(outside)
    refused(weir, IO, ["a-seed1: this is a symbolic link"], "sweep", sweep, "--run", folder, "--quiet")
    check(not list(outside.iterdir()), "sweep wrote through a link to another folder")
    (folder / "a-seed1").unlink()
    os.link(precious, new_variant() / "log.txt")
    weir.succeed("sweep", sweep, "--run", folder, "--quiet")
    check(precious.read_text() == "mine", "sweep overwrote a user's file through its second name")
    print("ok: links are not followed, and pipes not waited for, in the place of files of a run", flush=True)


def check_pipes(weir, run, sweep, data):
    """A pipe that nobody writes to, in the place of each file that a command reads."""
    cases = []
    for name in ("MANIFEST.json", "state.json", "model.safetensors"):
        copy = copy_of(run, f"pipe-{name}")
        plant_pipe(checkpoints(copy)[-1] / name)
        cases.append(("eval", checkpoints(copy)[-1]))
        for extra in checkpoints(copy)[:-1]:
            shutil.rmtree(extra)
        cases.append(("generate", copy))
    for name in ("metrics.jsonl", "samples.txt", "config.toml"):
        copy = copy_of(run, f"pipe-{name}")
        plant_pipe(copy / name)
        cases.append(("report", copy))
    for name in ("dataset.json", "train-00000.tokens"):
        copy = copy_of(data, f"pipe-{name}")
        plant_pipe(copy / name)
        cases.append(weir.train_arguments(weir.folder / "none", data__train=copy))
    pipe, done = weir.folder / "pipe.toml", weir.folder / "swept-before"
    plant_pipe(pipe)
    for suffix in ("json", "model"):
        plant_pipe(weir.folder / f"pipe.{suffix}")
        cases.append(("tokenize", weir.folder / f"pipe.{suffix}", "text"))
    cases += [("train", pipe), ("sweep", pipe), ("text", pipe), ("inspect", pipe), ("eval", run, "--data", pipe),
              ("prepare", "files", "--train", pipe, "--out", weir.folder / "none"),
              weir.train_arguments(weir.folder / "none", data__train=pipe)]
    weir.succeed("sweep", sweep, "--run", done, "--quiet")
    plant_pipe(done / "a-seed1" / "result.json")
    cases.append(("sweep", sweep, "--run", done, "--table"))
    for words in cases:
        started = time.monotonic()
        result = weir.run(*words, timeout=PROMPTLY)
        message = result.stderr.decode()
        check(result.returncode in (DATA, IO) and ("this is a pipe" in message), f"{words}: exits with "
              f"{result.returncode} after {time.monotonic() - started:.1f} s: {message!r}")
    print(f"ok: {len(cases)} pipes in the place of files are refused at once", flush=True)


def check_streams(weir):
    """`tokenize --file` reads what is piped to it; while it waits for a writer, one signal ends it."""
    tokens = subprocess.run(weir.command("tokenize", "bytes", "--file", "/dev/stdin"), input=b"ab\n",
                            capture_output=True, timeout=PROMPTLY)
    check(tokens.stdout == b"97 98\n", f"a piped text becomes {tokens.stdout!r} {tokens.stderr!r}")
    plant_pipe(weir.folder / "quiet")
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(weir.command("tokenize", "bytes", "--file", weir.folder / "quiet"))
        time.sleep(0.3)
        check(process.poll() is None, "tokenize does not wait for what is piped to it")
        process.send_signal(number)
        check(process.wait(timeout=PROMPTLY) == -number, f"{number} does not end a tokenize that waits")
    refused(weir, IO, ["/dev/zero: this is a device"], "tokenize", "bytes", "--file", "/dev/zero")
    print("ok: tokenize reads pipes, and a signal ends it while it waits", flush=True)


# --- JSON of ours that others changed ----------------------------------------------------------------------------------


def check_stored_json(weir, run, sweep):
    folder = weir.folder / "stored"
    weir.succeed("sweep", sweep, "--run", folder, "--quiet")
    result = folder / "a-seed1" / "result.json"
    good = result.read_text()
    for text, fragment in (('{"outcome":5}', "outcome: expected a text, found a whole number"),
                           ('{"outcome":null}', "outcome: expected a text, found null"),
                           ("{}", "outcome: the field is missing")):
        result.write_text(text)
        for extra in ((), ("--table",)):
            refused(weir, DATA, [f"{result}: {fragment}"], "sweep", sweep, "--run", folder, "--quiet", *extra)
    result.write_text(good)
    table = weir.succeed_json("report", folder / "a-seed1", "--table", "--json")
    steps = folder / "a-seed1" / "metrics.jsonl"
    lines = steps.read_text()
    for step in ("-1", "18446744073709551615", "9007199254740993", '"16"', "1.5", "null"):
        steps.write_text(lines + f'{{"step":{step},"time":1,"valid/loss":0.001,"valid/bits_per_byte":0.001}}\n')
        answer = weir.run("report", folder / "a-seed1", "--table", "--json")
        check(json.loads(answer.stdout) == table, f"a line with step {step} becomes the result: {answer.stdout}")
        check(f"{steps}:{lines.count(chr(10)) + 1}: step: " in answer.stderr.decode(), f"step {step}: {answer.stderr}")
    steps.write_text(lines)

    copy = copy_of(run, "state")
    newest = checkpoints(copy)[-1]
    for extra in checkpoints(copy)[:-1]:
        shutil.rmtree(extra)
    manifest, state = newest / "MANIFEST.json", newest / "state.json"
    good_manifest, good_state = manifest.read_text(), state.read_text()
    for text in (good_manifest.replace('"bytes":', '"bytes":-'), good_manifest.replace('"bytes":', '"bytes":"x'),
                 '{"model.safetensors": 5}', "[]", ""):
        manifest.write_text(text)
        for words in (("eval", newest), ("eval", copy), ("train", "--resume", "--run", copy, "train.steps=20")):
            refused(weir, DATA, ["MANIFEST.json"], *words)
    manifest.write_text(good_manifest)
    for text in ("", "{", '{"format": "2"}', good_state.replace("layers = 2", "layers = [").replace("2,", "2,"),
                 good_state.replace("layers = 2", "layers = -2"), good_state.replace("[model]", "[modle]")):
        state.write_text(text)
        for words in (("inspect", newest), ("eval", newest), ("generate", newest), ("train", "--resume", "--run", copy)):
            refused(weir, DATA, ["state.json"], *words)
    print("ok: stored JSON with wrong types or numbers out of bounds is refused by file and field", flush=True)


# --- while a run goes on -----------------------------------------------------------------------------------------------


class Running:
    """A run that goes on until it is told to stop, or finds something wrong."""

    def __init__(self, weir, name, **changes):
        self.run = weir.folder / name
        self.process = subprocess.Popen(weir.command(*weir.train_arguments(self.run, **(ENDLESS | changes))),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        cwd=weir.folder)
        self.wait_for(lambda: checkpoints(self.run), "the first checkpoint")

    def wait_for(self, condition, what):
        end = time.monotonic() + patient(60)
        while not condition():
            check(time.monotonic() < end and self.process.poll() is None, f"{what} does not come")
            time.sleep(0.01)

    def wait_for_steps(self, count):
        newest = int(checkpoints(self.run)[-1].name[5:])
        self.wait_for(lambda: int(checkpoints(self.run)[-1].name[5:]) >= newest + count, f"{count} steps more")

    def end(self, stop=True):
        if stop:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=patient(60))[1].decode(), self.process.returncode


def check_deleted(weir):
    running = Running(weir, "deleted")
    while running.run.exists():  # it may save in between
        shutil.rmtree(running.run, ignore_errors=True)
    message, code = running.end(stop=False)
    check(code == IO and "the run's folder is no longer at this name: while the run went on it was removed, or moved to where "
          "it cannot be seen" in message, f"rm -rf RUN: {code}: {message!r}")
    check(not running.run.exists(), "a run brings its folder back, without what was in it")

    running = Running(weir, "renamed")
    moved = running.run.rename(weir.folder / "moved it")
    message, code = running.end(stop=False)
    last = message.splitlines()[-1]
    newest = int(checkpoints(moved)[-1].name[5:])
    check(code == IO and last.endswith(f"it was moved to {moved}; step {newest}, the last one, is saved there; continue "
                                       f"with: weir train --resume '{moved}'"), f"mv RUN: {code}: {message!r}")
    check([line["step"] for line in metrics(moved)] == list(range(1, newest + 1)), "metrics are lost when a run moves")
    weir.succeed("train", "--resume", moved, f"train.steps={newest + 3}")

    running = Running(weir, "moved", train__steps=400)
    (running.run / "metrics.jsonl").unlink()
    message, code = running.end(stop=False)
    check(code == IO and message.count("metrics.jsonl: this file was moved, removed or replaced") == 2,
          f"rm metrics.jsonl: {code}: {message!r}")
    check(metrics(running.run)[-1]["step"] == 400, "the metrics that came after are not in a new file")

    running = Running(weir, "lost-config", train__steps=400)
    (running.run / "config.toml").unlink()
    message, code = running.end(stop=False)
    check(code == IO and "config.toml: the run wrote this file, and it is not there any more" in message,
          f"rm config.toml: {code}: {message!r}")
    print("ok: a run whose folder or files are deleted ends with a message about them", flush=True)


def check_second_trainer(weir):
    running = Running(weir, "locked")
    lock = running.run / "lock"
    for put in (lambda: None, lambda: lock.write_text("pid 1\n")):
        lock.unlink()
        put()
        refused(weir, IO, ["another process", "trains in this folder"], "train", "--resume", "--run", running.run)
        running.wait_for_steps(20)
        check(lock.read_text() == f"pid {running.process.pid}", "the lock is not put back")
    message, code = running.end()
    check(code == STOPPED and message.count("lock: this file was removed or replaced") == 2, f"{code}: {message!r}")
    steps = [line["step"] for line in metrics(running.run)]
    check(steps == list(range(1, len(steps) + 1)), "the metrics of the run are not its own")
    print("ok: without its lock file a run still keeps a second one out", flush=True)


def check_overwritten(weir):
    """The same number of other bytes, in place; and the same bytes again, which is nothing."""
    text = weir.folder / "changing.txt"
    original = weir.text.read_bytes()
    text.write_bytes(original)
    running = Running(weir, "overwritten", data__train=text)
    with open(text, "r+b") as file:
        file.write(original)
    running.wait_for_steps(20)
    with open(text, "r+b") as file:
        file.write(original[::-1])
    message, code = running.end(stop=False)
    check(code == DATA and "changing.txt: this text was changed while the run went on" in message, f"{code}: {message!r}")
    refused(weir, DATA, ["the run was begun with other data"], "train", "--resume", "--run", running.run)
    text.write_bytes(original)
    newest = int(checkpoints(running.run)[-1].name[5:])
    weir.succeed("train", "--resume", "--run", running.run, f"train.steps={newest + 3}")
    print("ok: a text that is overwritten in place ends the run, and the last checkpoint goes on with the old one",
          flush=True)


def check_samples(weir):
    """Killed after a sample and before the next checkpoint, a run has each sample once."""
    settings = ENDLESS | {"sample__every": 5, "sample__tokens": 2, "checkpoint__every": 7}
    running = Running(weir, "samples", **settings)
    samples = running.run / "samples.txt"

    def ahead():
        marks = [int(line[9:]) for line in samples.read_text().splitlines() if line.startswith("--- step ")]
        return marks and checkpoints(running.run) and marks[-1] > int(checkpoints(running.run)[-1].name[5:])

    running.wait_for(lambda: samples.exists() and ahead(), "a sample after a checkpoint")
    running.process.kill()
    running.process.communicate()
    last = int(checkpoints(running.run)[-1].name[5:])
    weir.succeed("train", "--resume", "--run", running.run, f"train.steps={last + 15}")
    marks = [line for line in samples.read_text().splitlines() if line.startswith("--- step ")]
    check(len(marks) == len(set(marks)) and len(marks) > 1, f"samples.txt has a step twice: {marks[-6:]}")
    print("ok: a step that a killed run had sampled is there once", flush=True)


# --- reports -----------------------------------------------------------------------------------------------------------


def check_reports(weir, run):
    mine, page = weir.folder / "thesis.html", weir.folder / "page.html"
    mine.write_text("<!DOCTYPE html>\n<html><head><title>my thesis</title></head></html>\n")
    before = mine.read_bytes()
    refused(weir, IO, ["thesis.html: this file is there already, and is no report of Weir"], "report", run, "--out", mine)
    page.write_text("")
    for _ in range(2):
        weir.succeed("report", run, "--out", page)
    check(b"Weir report" in page.read_bytes(), "an empty file was not replaced by the report")
    printed = weir.run("report", run, "--out", "-")
    check(printed.stdout.startswith(b"<!DOCTYPE html>") and not (weir.folder / "-").exists(), "--out - is not printed")
    refused(weir, USAGE, ["--out -"], "report", run, "--out", "-", "--json")
    (weir.folder / "link.html").symlink_to(mine)
    refused(weir, IO, ["link.html: this is a symbolic link"], "report", run, "--out", weir.folder / "link.html")
    check(mine.read_bytes() == before, "a report replaced a file that is none")
    print("ok: a report replaces reports alone", flush=True)


def main():
    with setup() as weir:
        run = weir.folder / "run"
        weir.succeed(*weir.train_arguments(run, train__steps=16, sample__every=5, eval__every=0))
        sweep = write_sweep(weir, "small", ONE_VARIANT, seeds=1, train__steps=8)
        check_others_folders(weir, run)
        arguments = check_forced_prepare(weir)
        check_two_prepares(weir, arguments)
        check_links(weir, run, sweep)
        check_pipes(weir, run, sweep, weir.folder / "data" / "book")
        check_streams(weir)
        check_stored_json(weir, run, sweep)
        check_deleted(weir)
        check_second_trainer(weir)
        check_overwritten(weir)
        check_samples(weir)
        check_reports(weir, run)


if __name__ == "__main__":
    main()
