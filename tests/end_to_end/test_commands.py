"""The commands say the same thing about the same model, repeat themselves, and suit both programs and terminals."""

import fcntl
import json
import math
import os
import pty
import re
import struct
import subprocess
import termios
import time

from weir_test import CONTROL, TINY, check, checkpoints, metrics, patient, setup, tensor_header

COMMANDS = ["prepare", "tokenize", "train", "sweep", "eval", "generate", "report", "presets", "inspect", "bench"]
UNAVAILABLE = 69  # the exit code where a device is not there


def check_help(weir):
    overview = weir.succeed("--help")
    for command in COMMANDS:
        check(re.search(rf"^  {command}\b", overview, re.M), f"weir --help does not list {command}")
        text = weir.succeed(command, "--help")
        check(f"weir {command}" in text, f"weir {command} --help does not show its usage")
        check(not CONTROL.search(text), f"weir {command} --help has control characters")
    keys = weir.succeed("train", "--keys")
    for key in TINY:
        check(key.split(".")[1] in keys, f"weir train --keys does not list {key}")
    print("ok: every command has its help", flush=True)


def check_presets(weir):
    presets = json.loads(weir.succeed("presets", "--json"))
    table = weir.succeed("presets")
    check(len(presets) >= 2, "fewer than two presets")
    for preset in presets:
        check(preset["name"] in table, f"weir presets does not list {preset['name']}")
        inspected = weir.succeed_json("inspect", preset["name"], "--json")
        for key in ("parameters", "active_parameters"):
            check(preset[key] == inspected[key] > 0, f"{preset['name']}: presets and inspect differ in {key}")
        check(inspected["flops_per_token"] > 2 * 4 * 128 * 128, f"{preset['name']}: flops_per_token is too low")
        check(inspected["active_parameters"] <= inspected["parameters"], f"{preset['name']}: too many active")
    print(f"ok: {len(presets)} presets, inspect agrees", flush=True)


REFERENCE_PARAMETERS = {
    ("wt103-small-dense",): (47260136, 16), ("wt103-small-sigma-moe",): (47260248, 16),
    ("wt103-big-dense",): (262479968, 18), ("wt103-big-sigma-moe",): (262461284, 18),
    ("wt103-small-star-sigma-moe",): (237004376, 16), ("enwik8-dense",): (41286996, 12),
    ("enwik8-sigma-moe",): (41293080, 12), ("wt103-small-pkm", "feedforward.sub_keys=46"): (35315544, 16),
    ("wt103-small-pkm", "feedforward.sub_keys=62"): (47128408, 16),
}


def check_paper_presets(weir):
    before = time.monotonic()
    table = weir.succeed("presets")
    check(time.monotonic() - before < 5, "weir presets takes seconds")  # 0.1 on a quiet machine
    check(all(len(line) <= 80 for line in table.splitlines()), "weir presets is wider than 80 columns")
    some = weir.succeed_json("presets", "enwik8-s-base", "--json")
    check([preset["name"] for preset in some] == ["enwik8-s-base", "enwik8-s-base-k1-g512"], f"the filter gives {some}")
    check(some[0]["published"] == {"value": 1.17, "unit": "bpc", "table": "Tab. 10"}, f"published: {some[0]}")
    none = weir.run("presets", "enwik9-dense")
    check(none.returncode == 2 and b"did you mean enwik8-dense?" in none.stderr, f"a wrong filter: {none.stderr}")
    for what, (parameters, unused) in REFERENCE_PARAMETERS.items():
        inspected = weir.succeed_json("inspect", *what, "--json")
        found = inspected["reference_parameters"], inspected["unused_reference_scalars"]
        check(found == (parameters, unused), f"inspect {what}: {found}, the authors have {parameters}, {unused}")
        check(inspected["parameters"] == parameters - unused, f"inspect {what}: {inspected['parameters']} parameters")
    moe = weir.succeed_json("inspect", "wt103-big-sigma-moe", "--json")["feedforward_flops_percent"]
    check(moe["paper"] == 12.5 and abs(moe["exact"] - 12.85) < 0.01 and moe["dense_d_ff"] == 4110, f"FLOPs: {moe}")
    text = weir.succeed("inspect", "wt103-small-sigma-moe")
    for part in ("47260232", "47260248", "25.33%", "25.0% as the paper counts", "11.71 ppl"):
        check(part in text, f"inspect wt103-small-sigma-moe does not say {part}:\n{text}")
    check("reference_parameters" not in weir.succeed_json("inspect", "quickstart", "--json"), "quickstart is no row")
    print(f"ok: {len(REFERENCE_PARAMETERS)} parameter counts are the authors'", flush=True)


def check_tokenize(weir):
    check(weir.succeed("tokenize", "bytes", "aé") == "97 195 169\n", "tokenize prints other tokens")
    check(weir.succeed("tokenize", "bytes", "a\x1b", "--pieces") == "a \\x1b\n", "tokenize prints other pieces")
    text = weir.succeed_json("tokenize", "bytes", "ab", "--json")
    check(text == {"tokens": [97, 98], "pieces": ["a", "b"], "decoded": "ab"}, f"tokenize --json prints {text}")
    (weir.folder / "lines").write_bytes(b"ab\n\nc")
    check(weir.succeed("tokenize", "bytes", "--file", "lines") == "97 98\n\n99\n", "a line is not a text")
    totals = weir.succeed_json("tokenize", "bytes", "--file", "lines", "--zero", "--count", "--json")
    check((totals["texts"], totals["bytes"], totals["tokens"]) == (1, 5, 5), f"tokenize --count prints {totals}")
    print("ok: tokenize prints tokens, pieces and totals", flush=True)


def check_training(weir, run):
    result = weir.succeed_json(*weir.train_arguments(run, eval__max_tokens=0), "--json")
    check(result["outcome"] == "finished" and result["steps"] == 60, f"train --json says {result}")
    check(result["tokens"] == 60 * 4 * 32, f"train --json counts {result['tokens']} tokens")
    check(result["checkpoint"] == str(checkpoints(run)[-1]), f"train --json names {result['checkpoint']}")
    print("ok: train --json prints one object", flush=True)
    return result


def check_parameters(weir, run):
    header = tensor_header(checkpoints(run)[-1] / "model.safetensors")
    stored = sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    for what in (run, checkpoints(run)[-1], run / "config.toml"):
        inspected = weir.succeed_json("inspect", what, "--json")
        check(inspected["parameters"] == stored, f"inspect {what}: {inspected['parameters']}, the file has {stored}")
    wider = weir.succeed_json("inspect", run, "model.d_model=64", "--json")
    check(wider["parameters"] > stored, "an override does not change what inspect counts")
    print(f"ok: inspect counts the {stored} parameters of the checkpoint", flush=True)


def check_evaluation(weir, run, trained):
    last = [line["valid/bits_per_byte"] for line in metrics(run) if "valid/bits_per_byte" in line][-1]
    measured = weir.succeed_json("eval", run, "--threads", 1, "--json")
    check(abs(measured["bits_per_byte"] - last) <= 1e-6, f"eval says {measured['bits_per_byte']}, metrics.jsonl {last}")
    check(abs(trained["valid_bits_per_byte"] - last) <= 1e-6, "train --json and metrics.jsonl differ")
    check(0 < last < 8, f"{last} bits per byte after training")
    check(f"{last:.4f} bits per byte" in weir.succeed("eval", run), "eval and eval --json differ")

    none = weir.succeed_json("eval", run, "--memory", 0, "--threads", 1, "--json")
    check(none["memory"] == 0 and none["bits_per_byte"] != measured["bits_per_byte"], "--memory 0 changes nothing")
    long = weir.succeed_json("eval", run, "--memory", 100, "--threads", 1, "--json")
    check(long["memory"] == 100 and long["bits_per_byte"] < none["bits_per_byte"] + 0.5, "--memory 100 harms")
    some = weir.succeed_json("eval", run, "--max-tokens", 64, "--batch-size", 2, "--threads", 1, "--json")
    check(some["tokens"] == 64 and some["batch_size"] == 2, f"--max-tokens 64 --batch-size 2 gives {some}")
    other = weir.succeed_json("eval", checkpoints(run)[-1], "--data", weir.text, "--threads", 1, "--json")
    size = weir.text.stat().st_size
    check(other["data"] == str(weir.text) and other["tokens"] == other["predictable_tokens"] == size - 1,
          f"--data gives {other}, of a text of {size} bytes")
    check(some["predictable_tokens"] == measured["tokens"] > 64, f"--max-tokens 64 gives {some}")
    short = weir.folder / "two.txt"
    short.write_bytes(b"ab")
    for paper in ([], ["--paper"]):
        both = weir.succeed("eval", run, "--data", short, *paper)
        check(f"on the only token of {short} with a context" in both, f"eval of two bytes prints {both}")
    print("ok: eval repeats the validation of the run, and measures otherwise if asked", flush=True)


def check_generation(weir, run):
    def text(*flags, threads=1):
        return weir.succeed_json("generate", run, "--prompt", "the ", "--tokens", 40, "--threads", threads, "--json",
                                 *flags)["text"]

    first = text("--seed", 7)
    check(len(first) > 0 and first == text("--seed", 7), "the same seed gives another text")
    check(first != text("--seed", 8), "another seed gives the same text")
    coldest = text("--temperature", 0)
    check(coldest == text("--temperature", 0, "--seed", 99), "temperature 0 depends on the seed")
    check(coldest == text("--top-k", 1), "the most likely byte of one is not the one of temperature 0")
    check(first == text("--seed", 7, threads=2), "the text depends on the threads")
    for prompt in ("", "\x1b[31m\x07", "é" * 50):
        output = weir.succeed("generate", run, "--prompt", prompt, "--temperature", 100, "--tokens", 60,
                              "--threads", 1)
        check(not CONTROL.search(output), f"generate prints control characters: {output!r}")
    print("ok: generate repeats itself, and prints no control characters", flush=True)


def check_plain_output(weir):
    output = weir.succeed(*weir.train_arguments(weir.folder / "plain", train__steps=10))
    check(not CONTROL.search(output), "train prints control characters into a pipe")
    steps = [line for line in output.splitlines() if line.startswith("step ") and "| loss" in line]
    check(len(steps) == 10, f"train with train.log_every=1 prints {len(steps)} lines for 10 steps")
    check(weir.succeed(*weir.train_arguments(weir.folder / "quiet", train__steps=10), "--quiet") == "",
          "train --quiet prints something")
    print("ok: plain output in a pipe", flush=True)


def check_terminal(weir):
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        print(f"skipped: the live line in a terminal: {error}", flush=True)
        return
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = weir.train_arguments(weir.folder / "live", train__steps=200)
    process = subprocess.Popen(weir.command(*arguments), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                               env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    output = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        output += piece
    check(process.wait(patient(60)) == 0, "training in a terminal fails")
    screens = output.decode().replace("\r\n", "\n")
    live = re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", screens)
    check(live, f"no live line in a terminal: {screens[:300]!r}")
    for line in live:
        check(line.startswith("step ") and len(line) < 80, f"a live line of {len(line)} columns: {line!r}")
    rest = re.sub(r"\r|\x1b\[K", "", screens)
    check(not CONTROL.search(rest), f"other control characters in a terminal: {rest[:300]!r}")
    check(screens.rstrip("\n").splitlines()[-1].startswith("done: 200 steps"), "the terminal does not end with done:")
    print(f"ok: a live line within 80 columns in a terminal, drawn {len(live)} times", flush=True)


def check_cases(weir, what, fields, *arguments):
    """Runs a benchmark as JSON and returns its cases. `fields` holds what each has to have above 0, by case."""
    output = weir.succeed("bench", what, *arguments, "--runs", 3, "--warm-up", 4, "--threads", 2, "--json")
    cases = [json.loads(line) for line in output.splitlines()]
    check([case["case"] for case in cases] == list(fields), f"the cases of bench {what}: {[c['case'] for c in cases]}")
    for case in cases:
        flags = {"runs": 3, "threads": 2, "warm_up": 4}
        check(flags.items() <= case.items(), f"bench {what} does not repeat its flags: {case}")
        check(case["seconds"] > 0 and case["spread"] >= 0, f"bench {what}: {case}")
        for field in fields[case["case"]]:
            check(case.get(field, 0) > 0, f"bench {what}: no {field} in {case}")
    return cases


def check_share(case, rate, roof):
    check(math.isclose(case["roof_share"], case[rate] / case[roof], rel_tol=1e-6), f"roof_share is off: {case}")


ARITHMETIC = ["gflops", "roof_gflops", "roof_share"]
STEP = {"step": [*ARITHMETIC, "tokens_per_second", "peak_bytes"]}
STEP_SETTINGS = ["train.batch_size=4", *(f"{key}={value}" for key, value in TINY.items()
                                         if key.split(".")[0] in ("model", "feedforward"))]


def check_gemm(weir):
    sizes = ["--m", 96, "--n", 64, "--k", 80]
    table = weir.succeed("bench", "gemm", *sizes)
    rows = re.findall(r"^(\w+(?: directly)?) +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+%$", table, re.M)
    check(rows[:1] == ["gemm"] and len(rows) <= 2, f"bench gemm prints {table}")
    check(("times as fast as" in table) == (len(rows) == 2), f"bench gemm prints no ratio, or one of nothing: {table}")
    for flags in ([], ["--trans-a"], ["--trans-b"], ["--dtype", "tf32"], ["--dtype", "bf16"]):
        if "bf16" in flags and "directly" not in weir.succeed("bench", "gemm", *sizes, *flags):
            rows = rows[:1]  # a processor without such products
        for case in check_cases(weir, "gemm", dict.fromkeys(rows, ARITHMETIC), *sizes, *flags):
            flops = case["gflops"] * 1e9 * case["seconds"]
            check(math.isclose(flops, 2 * 96 * 64 * 80, rel_tol=1e-6), f"bench gemm counts {flops} FLOPs")
            check((case["trans_a"], case["trans_b"]) == ("--trans-a" in flags, "--trans-b" in flags), f"{case}")
            check(case.get("ratio", 0) > 0 if len(rows) == 2 else "ratio" not in case, f"bench gemm's ratio: {case}")
            check_share(case, "gflops", "roof_gflops")


MEMORY = ["gigabytes_per_second", "roof_gigabytes_per_second", "roof_share"]


def check_memory(weir, *device):
    # Tensors of [rows, d_model], [rows, vocabulary], [parameters] float32 and [copy MiB], read or written by each case;
    # beside a norm its weights and four numbers per row, beside the logits a target and a number per row, the loss too.
    rows, d_model, vocabulary, parameters, copy = 48, 24, 40, 1000, 2
    sizes = ["--rows", rows, "--d-model", d_model, "--vocabulary", vocabulary, "--parameters", parameters,
             "--copy", copy, *device]
    for dtype, width in (("float32", 4), ("bf16", 2)):
        for dropout in (0, 0.5):
            norm, logits = width * rows * d_model, width * rows * vocabulary
            weight, statistics, targets = 4 * d_model, 16 * rows, 8 * rows + 4
            forward, backward = 2 * weight + statistics, 3 * weight + statistics
            expected = {"copy": 2 * copy * 2**20,
                        "layer_norm": 2 * norm + forward, "layer_norm backward": 3 * norm + backward,
                        "residual_layer_norm": 4 * norm + forward,
                        "residual_layer_norm backward": (5 if dropout else 4) * norm + backward,
                        "adamw_update": 7 * 4 * parameters + 4 * 8,
                        "cross_entropy": logits + targets, "cross_entropy backward": 2 * logits + targets}
            cases = check_cases(weir, "memory", dict.fromkeys(expected, MEMORY), *sizes, "--dtype", dtype,
                                "--dropout", dropout)
            for case in cases:
                count = case["gigabytes_per_second"] * 1e9 * case["seconds"]
                check(math.isclose(count, expected[case["case"]], rel_tol=1e-6), f"{count} bytes counted in {case}")
                check((case["rows"], case["dtype"], case["dropout"]) == (rows, dtype, dropout), f"the flags of {case}")
                check_share(case, "gigabytes_per_second", "roof_gigabytes_per_second")
            check(math.isclose(cases[0]["roof_share"], 1), f"a copy is not its own roof: {cases[0]}")
    table = weir.succeed("bench", "memory", *sizes)
    found = re.findall(r"^(\w+(?: backward)?) +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+%$", table, re.M)
    check(found == list(expected) and "as the copy reaches" in table, f"bench memory prints {table}")


def check_op(weir, *device):
    # 70 rows of 33 times 33 columns of 150, of float32: what a product and its two gradients compute and touch.
    m, k, n = 70, 33, 150
    flops, elements = 2 * m * k * n, m * k + k * n + m * n
    cases = check_cases(weir, "op", {"matmul": ARITHMETIC, "and its gradients": ARITHMETIC}, "matmul",
                        "--sample", "several tiles", *device)
    for case, products in zip(cases, (1, 3)):
        check(math.isclose(case["gflops"] * 1e9 * case["seconds"], products * flops, rel_tol=1e-6), f"flops of {case}")
        count = case["gigabytes_per_second"] * 1e9 * case["seconds"]
        check(math.isclose(count, products * 4 * elements, rel_tol=1e-6), f"{count} bytes counted in {case}")
        shares = [case["gflops"] / case["roof_gflops"],
                  case["gigabytes_per_second"] / case["roof_gigabytes_per_second"]]
        check(math.isclose(case["roof_share"], max(shares), rel_tol=1e-6), f"roof_share is off: {case}")
    # Sixteen rows of four: read once and written once.
    case = check_cases(weir, "op", dict.fromkeys(("relu", "and its gradients"), MEMORY), "relu", "--sample", "usual",
                       "--dtype", "bf16", *device)[0]
    check(math.isclose(case["gigabytes_per_second"] * 1e9 * case["seconds"], 2 * 2 * 64, rel_tol=1e-6), f"{case}")
    for words, fragment in ((("rellu",), "did you mean relu?"), (("relu", "--sample", "usul"), "did you mean usual?"),
                            (("standard_normal", "--dtype", "int8"), "--dtype")):
        run = weir.run("bench", "op", *words, *device)
        check(run.returncode == 2 and fragment.encode() in run.stderr, f"bench op {words}: {run.returncode}, {run.stderr}")


def check_bench(weir, *device):
    check_memory(weir, *device)
    check_op(weir, *device)
    feedforward = ["--tokens", 64, "--d-model", 32, "--experts", 4, "--expert-size", 16, "--k", 2, *device]
    attention = ["--batch", 2, "--segment", 16, "--memory", 8, "--heads", 2, "--head-size", 8, *device]
    pkm = ["--tokens", 16, "--d-model", 32, "--sub-keys", 64, "--k", 4, *device]
    for case in (check_cases(weir, "feedforward", dict.fromkeys(("dense", "sigma-moe"), ARITHMETIC), *feedforward) +
                 check_cases(weir, "attention", dict.fromkeys(("forward", "forward and backward"), ARITHMETIC),
                             *attention)):
        check_share(case, "gflops", "roof_gflops")
    fields = dict.fromkeys(("read", "gather-sum", "search"), MEMORY)
    fields |= dict.fromkeys(("forward", "forward and backward"), ["tokens_per_second"])
    for case in check_cases(weir, "pkm", fields, *pkm)[:3]:
        check_share(case, "gigabytes_per_second", "roof_gigabytes_per_second")
    for precision in ("float32", "bf16", "tf32"):
        case, = check_cases(weir, "step", STEP, *STEP_SETTINGS, f"model.precision={precision}", *device)
        check("breakdown" not in case, "bench step breaks down without being asked")
        check_share(case, "gflops", "roof_gflops")
    print(" ".join(["ok: the benchmarks' cases, their rates and their shares of the roof", *device]), flush=True)


def check_bench_on_gpu(weir):
    if weir.run("bench", "attention", "--batch", 1, "--segment", 8, "--device", "cuda").returncode == UNAVAILABLE:
        print("skipped: the benchmarks on a GPU: there is none, nor an emulated one", flush=True)
        return
    check_bench(weir, "--device", "cuda")


def check_breakdown(weir):
    case, = check_cases(weir, "step", STEP, *STEP_SETTINGS, "--breakdown")
    b = case["breakdown"]
    ops = {row["op"]: row for row in b["ops"]}
    check(len(ops) == len(b["ops"]), "an op has two rows")
    check(math.isclose(sum(row["share"] for row in b["ops"]), 1, abs_tol=1e-6), "the shares of the ops are not a whole")
    check([row["share"] for row in b["ops"]] == sorted((row["share"] for row in b["ops"]), reverse=True), "no order")
    for name in ("linear", "linear backward", "expert_feedforward", "relative_attention backward"):
        check(ops[name]["product_flops"] > 0 and ops[name]["calls"] >= 1, f"{name} has no products: {ops[name]}")
    for name in ("adamw_update", "global_norm", "outside of any op"):
        check(ops[name]["product_flops"] == 0 and ops[name]["seconds"] > 0, f"{name}: {ops[name]}")
    check(ops["adamw_update"]["calls"] == 1, f"a step has {ops['adamw_update']['calls']} updates")
    check(0 < b["product_seconds"] <= b["seconds"], f"products take {b['product_seconds']} of {b['seconds']} s")
    check(b["product_seconds"] >= max(row["product_seconds"] for row in b["ops"]), "a row has more than the whole")
    # The products that a step executes are those that the model counts, and attention's masked ones.
    executed = sum(row["product_flops"] for row in b["ops"])
    counted = case["gflops"] * 1e9 * case["seconds"]
    check(0.5 * counted < executed < 3 * counted, f"{executed} FLOPs in products, the model counts {counted}")
    at_roof = executed / (b["roof_gflops"] * 1e9) / b["seconds"]
    check(math.isclose(b["share_at_roof"], at_roof, rel_tol=1e-6), f"share_at_roof is not {at_roof}: {b}")
    text = weir.succeed("bench", "step", *STEP_SETTINGS, "--runs", 2, "--breakdown")
    for part in ("linear backward", "outside of any op", "inside matrix products", "matrix work at the machine's rate"):
        check(part in text, f"bench step --breakdown does not print {part}:\n{text}")
    print(f"ok: a step in {len(ops)} rows that are a whole", flush=True)


def main():
    with setup() as weir:
        run = weir.folder / "run"
        check_help(weir)
        check_presets(weir)
        check_paper_presets(weir)
        check_tokenize(weir)
        trained = check_training(weir, run)
        check_parameters(weir, run)
        check_evaluation(weir, run, trained)
        check_generation(weir, run)
        check_plain_output(weir)
        check_terminal(weir)
        check_gemm(weir)
        check_bench(weir)
        check_bench_on_gpu(weir)
        check_breakdown(weir)


main()
