"""Runs at ruinous learning rates: they end with 77, what they say is so, and the cure that they name works."""

import math
import re
import shlex

from weir_test import check, checkpoints, metrics, setup

RUINOUS = {"train__steps": 200, "checkpoint__every": 5, "eval__every": 0, "sample__every": 0,
           "optimizer__schedule": "constant", "optimizer__warmup_steps": 150}
GUESSING = 8  # bits per byte
LEARNT = 5  # what the cure gets below in the steps that are left; by counting bytes the text takes 3.7


def check_ruin(weir, name, **changes):
    run = weir.folder / f"it's {name}"  # which a shell takes in quotes
    result = weir.run(*weir.train_arguments(run, **(RUINOUS | changes)))
    errors = result.stderr.decode()
    check(result.returncode == 77, f"{name}: exits with {result.returncode}, expected 77: {errors}")
    found = re.search(r"the last good checkpoint is (.+); go on from there with a lower learning rate: (weir .*)$",
                      errors.strip())
    check(found, f"{name}: no checkpoint and no command in {errors}")
    check("repeating the step" in errors, f"{name}: no tensor is named: {errors}")
    good, command = found[1], shlex.split(found[2])
    check(str(checkpoints(run)[-1]) == good, f"{name}: {good} is not the newest of {checkpoints(run)}")
    bits = weir.succeed_json("eval", good, "--json")["bits_per_byte"]
    check(bits < GUESSING + 2, f"{name}: the good checkpoint has {bits} bits per byte")
    weir.succeed(*command[1:])
    last = weir.succeed_json("eval", run, "--json")["bits_per_byte"]
    check(last < LEARNT and metrics(run)[-1]["step"] == 200, f"{name}: the cure '{found[2]}' comes to {last} bits per byte")
    steps = [line["step"] for line in metrics(run) if "train/loss" in line]
    check(steps == sorted(set(steps)) and len(steps) == 200, f"{name}: the metrics have steps twice or not at all")
    check(all(line["train/loss"] is not None and math.isfinite(line["train/loss"])
              for line in metrics(run) if "train/loss" in line), f"{name}: ruined steps stay in the metrics")
    print(f"ok: {name}: 77, {bits:.2f} bits per byte in the good checkpoint, {last:.2f} after the cure", flush=True)


def check_once(weir):
    """train.max_rollbacks = 0 ends at once, and with no checkpoint the cure begins anew."""
    run = weir.folder / "once"
    result = weir.run(*weir.train_arguments(run, **(RUINOUS | {"optimizer__lr": 100, "checkpoint__every": 0,
                                                               "train__max_rollbacks": 0})))
    errors = result.stderr.decode()
    check(result.returncode == 77 and "warning" not in errors, f"max_rollbacks = 0: {result.returncode}, {errors}")
    found = re.search(r"no checkpoint was saved before, so begin anew with a lower learning rate: (weir .*)", errors)
    check(found, f"no command in {errors}")
    weir.succeed(*shlex.split(found[1])[1:])
    print("ok: without a checkpoint the cure begins anew", flush=True)


def main():
    with setup() as weir:
        check_ruin(weir, "rate-100", optimizer__lr=100)
        check_ruin(weir, "rate-1000-without-clipping", optimizer__lr=1000, optimizer__clip=0)
        check_ruin(weir, "rate-1-for-long", optimizer__lr=1, optimizer__warmup_steps=20, train__steps=200)
        check_once(weir)


main()
