"""A sweep: killed, stopped and resumed it ends with the results of one that was left alone; failures do not stop it."""

import json
import signal
import statistics
import subprocess
import time

from weir_test import TINY, check, checkpoints, metrics, patient, setup, tensor_header

VARIANTS = """
[[variant]]
name = "moe"
published = 11.59

[[variant]]
name = "narrow"
feedforward = { k = 1, expert_size = 8 }

[[variant]]
name = "dense"
feedforward = { kind = "dense", d_ff = 64, regulariser = "none" }
"""


def toml_value(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


def write_sweep(weir, name, variants=VARIANTS, seeds=2, **changes):
    settings = TINY | {"data.train": str(weir.text), "sample.every": 0, "eval.every": 0, "train.steps": 40}
    settings |= {key.replace("__", "."): value for key, value in changes.items()}
    sections = {}
    for key, value in settings.items():
        section, field = key.split(".")
        sections.setdefault(section, []).append(f"{field} = {toml_value(value)}")
    lines = [f"seeds = {seeds}"]
    for section, fields in sections.items():
        lines += [f"[{section}]", *fields]
    path = weir.folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n" + variants)
    return path


def start(weir, *arguments):
    return subprocess.Popen(weir.command("sweep", *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, cwd=weir.folder)


def results(table):
    return {row["variant"]: row["results"] for row in table["variants"]}


def check_table(weir, file, folder):
    table = weir.succeed_json("sweep", file, "--run", folder, "--jobs", 2, "--json")
    check([row["variant"] for row in table["variants"]] == ["moe", "narrow", "dense"], "rows out of the file's order")
    for row in table["variants"]:
        runs = [folder / f"{row['variant']}-seed{seed}" for seed in (1, 2)]
        last = [metrics(run)[-1]["valid/bits_per_byte"] for run in runs]
        check(row["results"] == last, f"{row['variant']}: the table has {row['results']}, metrics.jsonl {last}")
        check(last[0] != last[1], f"{row['variant']}: both seeds give the same result")
        check(abs(row["mean"] - statistics.mean(last)) < 1e-12, f"{row['variant']}: mean {row['mean']} of {last}")
        check(abs(row["spread"] - statistics.stdev(last)) < 1e-12, f"{row['variant']}: spread {row['spread']} of {last}")
        inspected = weir.succeed_json("inspect", runs[0], "--json")
        for key in ("parameters", "active_parameters"):
            check(row[key] == inspected[key], f"{row['variant']}: {key} differs from what inspect says")
    moe, narrow, dense = table["variants"]
    check(moe["published"] == 11.59 and "published" not in narrow, "the published column is not the file's")
    check(dense["flops_percent"] == 100, f"dense: {dense['flops_percent']} % FLOPs")
    check(abs(moe["flops_percent"] - 100 * (2 * 32 * 32 + 4 * 32) / (2 * 32 * 64)) < 1e-9, "moe: % FLOPs")
    names = [f"{row['variant']}-seed1" for row in table["variants"]]
    report = weir.succeed_json("report", "--table", "--json", *(folder / name for name in names))
    check([row["flops_percent"] for row in report["runs"]] == [row["flops_percent"] for row in table["variants"]],
          "the report's table counts FLOPs in another way")
    check("FLOPs are the feedforward's, in percent of a dense one with 64 hidden units." in weir.succeed(
        "report", "--table", folder / "moe-seed1", folder / "dense-seed1"), "the report does not say what FLOPs are of")
    again = weir.succeed_json("sweep", file, "--run", folder, "--json", "--table")
    check(again == table, "--table prints another table")
    text = weir.succeed("sweep", file, "--run", folder, "--table")
    check(all(len(line) <= 80 for line in text.splitlines()), f"the table is wider than 80 columns:\n{text}")
    check(f"{moe['mean']:.4f} ± {moe['spread']:.4f}" in text, f"no mean and spread of moe in\n{text}")
    markdown = weir.succeed("sweep", file, "--run", folder, "--table", "--markdown")
    check(markdown.splitlines()[1].startswith("|---|") and markdown.count("\n") == 7, f"not a table: {markdown}")
    print("ok: six runs, and their table as text, JSON and Markdown", flush=True)
    return table


def check_interruptions(weir, file, expected):
    """SIGTERM after the first steps, then SIGKILL, then to the end."""
    folder = weir.folder / "cut"
    sweep = start(weir, file, "--run", folder, "--jobs", 2)
    sweep.stdout.readline()
    wait_for(lambda: (folder / "moe-seed1" / "metrics.jsonl").exists(), "the first run's metrics")
    sweep.send_signal(signal.SIGTERM)
    output, errors = sweep.communicate(timeout=patient(60))
    check(sweep.returncode == 75, f"SIGTERM: exits with {sweep.returncode}: {errors.decode()}")
    check(f"weir sweep {file} --run {folder} --jobs 2" in errors.decode(), f"no resume command in {errors.decode()!r}")
    stopped = [run for run in folder.iterdir() if run.is_dir() and checkpoints(run)]
    check(stopped, f"SIGTERM: no run saved a checkpoint: {output.decode()}")

    sweep = start(weir, file, "--run", folder, "--jobs", 2)
    sweep.stdout.readline()
    time.sleep(0.2)
    sweep.kill()
    sweep.communicate()
    wait_for(lambda: weir.run("sweep", file, "--run", folder, "--json").returncode == 0, "the sweep's end")
    table = weir.succeed_json("sweep", file, "--run", folder, "--json")
    check(results(table) == expected, f"after the interruptions {results(table)}, without {expected}")
    print("ok: stopped, killed and resumed, the sweep ends with the same results", flush=True)


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + patient(seconds)
    while not condition():
        check(time.monotonic() < end, f"{what} did not come within {seconds} s")
        time.sleep(0.02)


def check_finished_stay(weir, file, folder):
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    weir.succeed("sweep", file, "--run", folder)
    for path, before in files.items():
        check(path.stat().st_mtime_ns == before, f"a finished sweep was touched: {path}")
    print("ok: finished runs stay as they are", flush=True)


def check_failures(weir):
    file = write_sweep(weir, "failing", seeds=1)
    folder = weir.folder / "failing"
    (folder / "narrow-seed1").mkdir(parents=True)
    (folder / "narrow-seed1" / "checkpoints").write_text("in the way of the folder")
    result = weir.run("sweep", file, "--run", folder, "--json", "--jobs", 1)
    errors = result.stderr.decode()
    check(result.returncode == 74 and "1 of 3 runs failed" in errors, f"exits with {result.returncode}: {errors}")
    check("narrow-seed1: exit code" in errors, f"the failed run is not named: {errors}")
    found = results(json.loads(result.stdout))
    check([len(found[name]) for name in ("moe", "narrow", "dense")] == [1, 0, 1], f"results {found}")
    (folder / "narrow-seed1" / "checkpoints").unlink()
    table = weir.succeed_json("sweep", file, "--run", folder, "--json")
    check([len(row["results"]) for row in table["variants"]] == [1, 1, 1], f"the failed run was not tried again: {table}")
    print("ok: a failed run is reported, the others are done; it is tried again", flush=True)


def check_divergence(weir):
    """A run that diverges is named with a cure that works, and what was begun with other settings is not to be lost."""
    variants = '[[variant]]\nname = "wild"\noptimizer = { lr = 100.0 }\n[[variant]]\nname = "calm"\n'
    settings = {"train__steps": 60, "checkpoint__every": 5, "train__max_rollbacks": 0, "optimizer__warmup_steps": 30}
    file, folder = write_sweep(weir, "wild", variants, seeds=1, **settings), weir.folder / "wild"
    result = weir.run("sweep", file, "--run", folder, "--json")
    errors = result.stderr.decode()
    check(result.returncode == 77 and "1 of 2 runs failed, the first was wild-seed1: exit code 77: step" in errors and
          errors.strip().endswith(f"a run that diverged would do so again: lower optimizer.lr in {file}, and move the "
                                  "folder of that run away first"), f"{result.returncode}: {errors}")
    check("weir train" not in errors, f"the sweep advises what it would refuse: {errors}")
    check([len(row["results"]) for row in json.loads(result.stdout)["variants"]] == [0, 1], f"{result.stdout}")
    file.write_text(file.read_text().replace("100.0", "1e-3"))
    errors = weir.run("sweep", file, "--run", folder, "--json").stderr.decode()
    check("wild-seed1: this run has optimizer.lr = 100.0, but the sweep wants 0.001; " in errors and
          "move that folder away" in errors and "remove" not in errors, f"with another rate: {errors}")
    (folder / "wild-seed1").rename(weir.folder / "away")
    table = weir.succeed_json("sweep", file, "--run", folder, "--json")
    check([len(row["results"]) for row in table["variants"]] == [1, 1], f"the cure does not work: {table}")
    print("ok: a run that diverges is told, with a cure that works", flush=True)


def check_mistakes(weir, file, folder):
    other = write_sweep(weir, "other", optimizer__lr=1e-3)
    cases = [
        ((other, "--run", folder), "moe-seed1: this run has optimizer.lr = 0.00025, but the sweep wants 0.001 (and 5 others have other settings)"),
        ((file, "--run", weir.folder / "nothing", "--table"), "nothing: there is no such folder"),
        ((file, "--run", weir.folder, "--table"), 'none of the runs of "whole" is in this folder, not even moe-seed1'),
        ((file, "--only", "moo"), "did you mean moe?"),
        ((write_sweep(weir, "empty", ""),), "no [[variant]] tables"),
        ((write_sweep(weir, "unnamed", "[[variant]]\n"),), "a [[variant]] without a name"),
        ((write_sweep(weir, "twice", '[[variant]]\nname = "a"\n' * 2),), 'two variants are named "a"'),
        ((write_sweep(weir, "slash", '[[variant]]\nname = "a/b"\n'),), "its name becomes a folder's"),
        ((write_sweep(weir, "mistyped", '[[variant]]\nname = "a"\nfeedforward = { kk = 1 }\n'),), "feedforward.kk"),
        ((write_sweep(weir, "much", '[[variant]]\nname = "a"\nfeedforward = { k = 9 }\n'),), "variant a: feedforward.k = 9"),
        ((write_sweep(weir, "one", '[variant]\nname = "a"\n'),), "write [[variant]]"),
        ((weir.folder / "absent.toml",), "absent.toml"),
    ]
    for arguments, message in cases:
        result = weir.run("sweep", *arguments)
        errors = result.stderr.decode()
        check(result.returncode in (2, 74) and message in errors and errors.count("\n") == 1,
              f"sweep {arguments} exits with {result.returncode} and says {errors!r}, expected {message!r}")
    print(f"ok: {len(cases)} mistakes refused", flush=True)


def main():
    with setup() as weir:
        file = write_sweep(weir, "whole")
        whole = weir.folder / "whole"
        table = check_table(weir, file, whole)
        check_interruptions(weir, file, results(table))
        check_finished_stay(weir, file, whole)
        check_failures(weir)
        check_divergence(weir)
        check_mistakes(weir, file, whole)


if __name__ == "__main__":
    main()
