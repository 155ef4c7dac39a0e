"""What a run says of itself at its start, when it goes on and at its end, and that it works from any folder."""

import json
import pathlib
import re
import shutil
import subprocess

from weir_test import TINY, check, checkpoints, metrics, patient, setup, small_disk

IO = 74
SETTINGS = {key: value for key, value in TINY.items() if key not in ("train.steps", "train.minutes")}
SETTINGS |= {"optimizer.warmup_steps": 0, "eval.every": 0, "sample.every": 0}


class Place:
    """A working directory and what weir does there."""

    def __init__(self, weir, folder):
        self.weir, self.folder = weir, folder
        folder.mkdir(exist_ok=True)

    def run(self, *arguments):
        return subprocess.run(self.weir.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True,
                              cwd=self.folder, text=True, timeout=patient(120))

    def succeed(self, *arguments):
        result = self.run(*arguments)
        check(result.returncode == 0, f"weir {arguments} exits with {result.returncode}: {result.stderr}")
        return result.stdout

    def refused(self, code, fragments, *arguments):
        result = self.run(*arguments)
        check(result.returncode == code, f"weir {arguments} exits with {result.returncode}, not {code}: {result.stderr}")
        for fragment in fragments:
            check(fragment in result.stderr, f"weir {arguments}: {fragment!r} is not in {result.stderr!r}")
        return result

    def train(self, *changes, preset="quickstart"):
        keys = {change.split("=")[0] for change in changes}
        settings = [f"{key}={value}" for key, value in SETTINGS.items() if key not in keys]
        return self.succeed("train", preset, *settings, *changes)


def face(output):
    """The lines before the first step, and the rest."""
    lines = output.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("step ")), len(lines))
    return lines[:first], lines[first:]


def check_start(weir, place):
    (place.folder / "book.txt").write_bytes(weir.text.read_bytes())
    output = place.train("data.train=book.txt", "train.steps=20", "--run", "runs/first")
    start, rest = face(output)
    counted = json.loads(place.succeed("inspect", "runs/first", "--json"))
    thousands = [re.escape(f"{counted[key] / 1000:.1f}k") for key in ("parameters", "active_parameters")]
    expected = rf"""model   2 layers, width 32, σ-MoE: 4 experts of 16, 2 per token
size    {thousands[0]} parameters, {thousands[1]} active per token
device  cpu with 1 thread, float32, about [\d.]+ (kB|MB) of memory
data    book\.txt: 28\.5k bytes, validation on its last 5%: 1\.50k bytes
steps   4 x 32 = 128 tokens each, 222 per epoch, ends at train\.steps = 20
folder  runs/first
note: train\.minutes = 1\.5 \(preset quickstart\) does not limit this run: train\.steps = 20 takes its place
"""
    found = "\n".join(start) + "\n"
    check(re.fullmatch(expected, found), f"the start of a run says\n{found}")
    check(all(len(line) <= 80 for line in start if not line.startswith("note: ")), f"wider than 80 columns:\n{found}")
    check(re.fullmatch(r"done: 20 steps in \d+ s, ended by train\.steps = 20, validation [\d.]+ bits per byte; "
                       r"the run is in runs/first", rest[-1]), f"the end of a run says {rest[-1]!r}")
    dense = face(place.train("data.train=book.txt", "train.tokens=1280", "train.minutes=5", "data.valid=book.txt",
                             "feedforward.kind=dense", "--run", "runs/dense"))[0]
    check("dense: 512 hidden units" in dense[0], f"dense: {dense}")
    check("data    book.txt: 30.0k bytes, validation on book.txt: 30.0k bytes" in dense, f"another text: {dense}")
    check("ends at train.tokens = 1280 (10 steps) or train.minutes = 5, whichever comes first" in " ".join(dense),
          f"two limits: {dense}")
    check(place.train("data.train=book.txt", "train.steps=2", "--run", "runs/quiet", "--quiet") == "", "--quiet")
    on_gpu = place.run("train", "quickstart", *(f"{key}={value}" for key, value in SETTINGS.items()), "data.train=book.txt",
                       "train.steps=1", "--run", "runs/gpu", "--device", "cuda")
    if on_gpu.returncode == 0 and not pathlib.Path("/dev/nvidiactl").exists():
        check(re.search(r"^device  cuda:0 with \d+ threads?, emulated GPU \(for tests, slow\), float32,", on_gpu.stdout, re.M),
              f"the device of a run on the emulated GPU: {on_gpu.stdout}")
    rounded = " ".join(place.train("data.train=book.txt", "train.tokens=1000", "model.layers=1", "feedforward.experts=1",
                                   "feedforward.k=1", "optimizer.warmup_steps=0", "--run", "runs/rounded").split())
    for part in ("ends at train.tokens = 1000 (rounded up to 8 steps: 1024 tokens)", "1 layer,", ": 1 expert of 16,"):
        check(part in rounded, f"{part} is not in {rounded}")
    result = json.loads(place.train("data.train=book.txt", "train.steps=1", "optimizer.warmup_steps=0", "--run", "runs/json", "--json"))
    check(result["limit"] == "train.steps", f"--json does not say what ended the run: {result}")
    print("ok: a run introduces itself and says what ended it", flush=True)


def check_warmup(place):
    start, rest = face(place.succeed("train", "quickstart", "data.train=book.txt", "train.minutes=0", "train.steps=3",
                                     "train.batch_size=2", "model.layers=1", "eval.every=0", "--run", "runs/short"))
    check("note: optimizer.warmup_steps = 50 (preset quickstart) becomes 0, a tenth of the run's 3 steps" in start,
          f"a short quick start says {start}")
    check(rest[-1].startswith("done: 3 steps"), f"a short quick start ends with {rest[-1]!r}")
    print("ok: a preset's warm-up is shortened, and a note says so", flush=True)


def contents(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}


def check_resume(place):
    run = place.folder / "runs" / "first"
    before = contents(run)
    for words in (["runs/first"], ["first"], ["--run", "runs/first"]):
        output = place.succeed("train", "--resume", *words)
        check(re.fullmatch(r"this run had finished before: 20 steps in \d+ s, ended by train\.steps = 20, validation "
                           r"[\d.]+ bits per byte; nothing was trained\nto train it further: weir train --resume "
                           r"runs/first train\.steps=40\n", output), f"a finished run, resumed as {words}: {output!r}")
        check(contents(run) == before, f"a finished run, resumed as {words}, has other files")
    for limit, further in (("train.steps=10", "train.steps=40"), ("train.tokens=1000", "train.tokens=4000"),
                           ("train.minutes=1e-6", r"train.minutes=[\d.e-]+")):
        past = place.succeed("train", "--resume", "first", limit)
        key, value = limit.split("=")
        value = "1e-06" if key == "train.minutes" else value
        check(re.search(rf"this run is past {key} = {value} already: 20 steps, 2560 tokens in \d+ s, validation "
                        rf"[\d.]+ bits per byte; nothing was trained\nto train it further: weir train --resume "
                        rf"runs/first {further}\n$", past), f"a run that is past {limit} says {past!r}")
        check(contents(run) == before, f"a run that is past {limit} has other files")
        check("learning rate" not in past, f"a run that is past {limit} speaks of a rate to come: {past!r}")
    unmade = place.succeed("train", "--resume", "first", "train.steps=10", "optimizer.lr=0.01")
    check("nothing is left to train, so these settings stay as they were:\n" in unmade and
          unmade.endswith("to train it further: weir train --resume runs/first optimizer.lr=0.01 train.steps=40\n"),
          f"a finished run that is to have another rate says {unmade!r}")
    command = output.splitlines()[-1].split("weir ")[1].split()
    start, rest = face(place.succeed(*command, "train.seed=7", "optimizer.lr=0.004"))
    at = next(i for i, line in enumerate(start) if line.startswith("resumed from "))
    check(re.fullmatch(r"resumed from runs/first/checkpoints/step_00000020 \(step 20, 2\.56k tokens, \d+s\); changed:",
                       start[at]), f"resuming says {start[at]!r}")
    check(start[at + 1:] == ["  train.steps: 20 -> 40", "  train.seed: 1 -> 7 (dropout and samples from here on)",
                             "  optimizer.lr: 0.003 -> 0.004",
                             "  so the learning rate goes from 1.0e-04 to 2.1e-03 here"], f"changes: {start[at + 1:]}")
    check(rest[-1].startswith("done: 40 steps"), f"the extended run ends with {rest[-1]!r}")
    rates = {line["step"]: line["train/learning_rate"] for line in metrics(run) if "train/learning_rate" in line}
    check(abs(rates[21] - 2.05e-3) < 1e-9, f"the rate of step 21 is {rates[21]}")  # half way from 4e-3 to 1e-4
    # A cosine over 40 steps at step 20: 1e-4 + (4e-3 - 1e-4) / 2.
    shutil.rmtree(checkpoints(run)[-1])
    start, _ = face(place.succeed("train", "--resume", "first"))
    check(any(line.endswith("; no setting changed") for line in start), f"an unchanged run says {start}")
    print("ok: resuming says from where, what changed, and what that does to the rate", flush=True)


def check_ways_to_resume(place):
    place.train("data.train=book.txt", "train.steps=10")
    check("ended by train.steps = 10" in place.succeed("train", "quickstart", "--resume"), "PRESET --resume")
    output = place.succeed("train", "quickstart", "--resume", "train.steps=14")
    check("train.steps: 10 -> 14" in output and "done: 14 steps" in output, f"PRESET --resume train.steps: {output}")
    place.refused(2, ["there is no preset \"first\"", "weir train --resume runs/first"], "train", "first")
    place.refused(2, ["runs/first is the folder of a run", "weir train --resume runs/first"], "train", "runs/first")
    place.refused(2, ["runs/first already holds a run", "weir train --resume runs/first"], "train", "quickstart",
                  "data.train=book.txt", "--run", "runs/first")
    place.refused(2, ["model.d_model = 48", "runs/first", "begun with 32", "--run"], "train", "--resume", "first",
                  "model.d_model=48", "train.steps=99")
    print("ok: a run is resumed by its folder, its name or its preset", flush=True)


def check_damaged(place):
    run = place.folder / "runs" / "damaged"
    place.train("data.train=book.txt", "train.steps=14", "--run", "runs/damaged")
    newest, older = checkpoints(run)[-1], checkpoints(run)[-2]
    (newest / "model.safetensors").write_bytes(b"")
    result = place.run("eval", "runs/damaged")
    check(result.returncode == 0 and f"{newest.name}/model.safetensors" in result.stderr
          and f"using runs/damaged/checkpoints/{older.name} instead\n" in result.stderr
          and "use another" not in result.stderr, f"a damaged checkpoint: {result.stderr!r}")
    place.refused(65, [newest.name, "name an earlier checkpoint"], "eval", f"runs/damaged/checkpoints/{newest.name}")
    print("ok: the checkpoint that is used instead of a damaged one is named", flush=True)


def check_moves(weir, place):
    """A run begun with a relative path, used from elsewhere, and after its folder or its data moved."""
    elsewhere = Place(weir, weir.folder / "elsewhere")
    run = place.folder / "runs" / "first"
    result = json.loads(elsewhere.succeed("eval", run, "--json"))
    check(result["data"] == str(place.folder / "book.txt"), f"eval from elsewhere measures on {result['data']}")
    elsewhere.succeed("generate", run, "--tokens", 3)
    elsewhere.succeed("train", "--resume", run, "train.steps=44")
    config = (run / "config.toml").read_text()
    check('\ntrain = "book.txt"\n' in config and f'\nfolder = "{place.folder}"\n' in config, "config.toml: both forms")

    moved = elsewhere.folder / "moved"
    shutil.move(run, moved)
    elsewhere.succeed("eval", "moved")
    elsewhere.succeed("train", "--resume", "moved", "train.steps=46")
    (place.folder / "book.txt").rename(elsewhere.folder / "book.txt")
    elsewhere.succeed("eval", "moved")
    output = elsewhere.succeed("train", "--resume", "moved", "train.steps=48")
    check(f'data.folder: "{place.folder}" -> "{elsewhere.folder}"' in output, f"the data moved: {output}")
    (elsewhere.folder / "book.txt").rename(weir.folder / "away.txt")
    tried = [str(elsewhere.folder) + ",", str(elsewhere.folder / "moved"), str(weir.folder)]
    for way_out, words in (("--data", ["eval"]), ("data.train=PATH", ["train", "--resume"])):
        fragments = [f"book.txt: the data of {elsewhere.folder}/moved is not", *tried, way_out]
        result = Place(weir, weir.folder).refused(IO, fragments, *words, elsewhere.folder / "moved")
        check(result.stderr.count("\n") == 1, f"more than a line: {result.stderr!r}")
    (weir.folder / "away.txt").rename(place.folder / "book.txt")

    inside = place.folder / "runs" / "inside"
    inside.mkdir(parents=True)
    shutil.copy(place.folder / "book.txt", inside / "train.txt")
    place.train("data.train=runs/inside/train.txt", "train.steps=5", "--run", "runs/inside")
    shutil.move(inside, elsewhere.folder / "inside")
    elsewhere.succeed("eval", "inside")
    output = elsewhere.succeed("train", "--resume", "inside", "train.steps=8")
    check("done: 8 steps" in output, f"data in a run folder that moved: {output}")
    output = elsewhere.succeed("train", "--resume", "inside/config.toml", "train.steps=9")
    check("folder  inside\n" in output, f"a run named by its configuration goes on elsewhere: {output}")
    print("ok: a run works from any folder, and after a move", flush=True)


def check_toml(weir, place):
    """Paths in a file start at its folder, those of the command line at the working directory."""
    settings = weir.folder / "settings"
    settings.mkdir()
    shutil.copy(weir.text, settings / "words.txt")
    lines = ['preset = "quickstart"', "train.steps = 3", 'data.train = "words.txt"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items()]
    (settings / "mine.toml").write_text("\n".join(lines) + "\n")
    output = place.succeed("train", settings / "mine.toml")
    start, rest = face(output)
    check(f"data    {settings}/words.txt: " in "\n".join(start), f"a path in a file: {start}")
    check("note: train.minutes = 1.5 (preset quickstart) does not limit this run" in "\n".join(start), f"notes: {start}")
    check("ended by train.steps = 3" in rest[-1], f"a limit in a file: {rest}")
    place.refused(2, ["feedforward.k = 9 (command line)", f"feedforward.experts = 4 ({settings}/mine.toml:"],
                  "train", settings / "mine.toml", "feedforward.k=9", "--run", "runs/none")
    print("ok: paths and limits of a configuration file", flush=True)


def check_disk(weir, place):
    with small_disk(weir.folder / "disk", "1m") as mounted:
        if not mounted:
            print("skipped: a small disk: it cannot be mounted here", flush=True)
            return
        disk = weir.folder / "disk"
        settings = [f"{key}={value}" for key, value in SETTINGS.items()]
        place.refused(IO, [f"{disk}/run: 2.6 MB have to be free there, but only 1.0 MB are: 1.5 MB for the next checkpoint",
                           "before an older one goes", "choose another folder with --run"], "train", "quickstart",
                      *settings, "data.train=book.txt", "train.steps=20", "--run", disk / "run")
        check(list(disk.iterdir()) == [], "a disk that is too small is written to")
    with small_disk(weir.folder / "disk2", "4m"):
        disk = weir.folder / "disk2"
        result = place.run("train", "quickstart", *settings, "data.train=book.txt", "train.steps=20", "--quiet", "--run",
                           disk / "run")
        check(result.returncode == 0 and "checkpoints of 1.5 MB each" in result.stderr and "have room" in result.stderr
              and result.stderr.count("\n") == 1, f"a disk for two checkpoints: {result.returncode} {result.stderr!r}")
        (disk / "filler").write_bytes(bytes(2_000_000))
        refused = place.refused(IO, ["2.6 MB have to be free", "move the folder to another disk and resume the run there"],
                                "train", "--resume", disk / "run", "train.steps=30")
        check("--run" not in refused.stderr, f"a run cannot be resumed in another folder: {refused.stderr!r}")
    print("ok: the room for checkpoints is foreseen", flush=True)


def check_same_text(weir):
    """Validation on the text of training is noted; what training shortens, inspect shortens, and both state one size."""
    run = weir.folder / "same"
    said = weir.succeed(*weir.train_arguments(run, data__valid=weir.text, train__steps=60, optimizer__warmup_steps=50))
    check("note: data.valid is the text of data.train" in said, f"train says {said}")
    memory, = re.findall(r"about (.+?) of memory", said)
    check(f" {memory}  estimate" in weir.succeed("inspect", run), f"inspect of {run} does not say {memory}")
    weir.succeed("inspect", run, "train.steps=5")
    print("ok: train notes that a text is given twice, inspect agrees with train", flush=True)


def main():
    with setup() as weir:
        weir.folder = weir.folder.resolve()
        place = Place(weir, weir.folder / "here")
        check_start(weir, place)
        check_warmup(place)
        check_same_text(weir)
        check_resume(place)
        check_ways_to_resume(place)
        check_damaged(place)
        check_moves(weir, place)
        check_toml(weir, place)
        check_disk(weir, place)


main()
