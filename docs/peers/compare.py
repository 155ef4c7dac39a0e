#!/usr/bin/env python3
"""weir beside PyTorch on the processor: Markdown tables on standard output.

  docs/peers/compare.py --weir build/tools/weir/weir --python VENV/bin/python [--rounds 5] [--only step pkm feedforward]

VENV is any environment with PyTorch. Both sides run with --threads threads, one after the other, --rounds times; a ratio
is the median of the rounds' ratios, so that a machine whose speed drifts does not favour one side. Seconds are medians.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile
from statistics import median

HERE = pathlib.Path(__file__).parent


def run(command):
    """The JSON objects a command prints, and its peak resident memory in MiB."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as errors, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors) as process:
        out = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise SystemExit(f"{' '.join(words)}: exit status {process.returncode}\n{errors.read().decode()}")
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], usage.ru_maxrss / 1024


def feedforward(a):
    print(f"\n## Feedforward, forward and backward, {a.dtype}, experts of 128, 4 per token\n")
    print("| tokens | d_model | experts | dense, GFLOP/s | sigma-MoE, GFLOP/s | rate over dense | faster than dense "
          "| PyTorch sigma-MoE, GFLOP/s | faster than PyTorch |")
    print("|---|---|---|---|---|---|---|---|---|")
    torch_dtype = {"bf16": "bfloat16"}.get(a.dtype, a.dtype)
    for tokens in a.tokens:
        for d_model in a.d_model:
            for experts in a.experts:
                sizes = ["--tokens", tokens, "--d-model", d_model, "--experts", experts, "--threads", a.threads]
                rounds = []
                for _ in range(a.rounds):
                    (dense, moe), _ = run([a.weir, "bench", "feedforward", *sizes, "--runs", 5, "--warm-up", 1, "--dtype",
                                           a.dtype, "--json"])
                    (peer,), _ = run([a.python, HERE / "torch_feedforward.py", *sizes, "--runs", 5, "--dtype",
                                      torch_dtype, "--only-moe"])
                    rounds.append((dense["gflops"], moe["gflops"], moe["gflops"] / dense["gflops"],
                                   dense["seconds"] / moe["seconds"], peer["moe_gflops"],
                                   peer["moe_s"] / moe["seconds"]))
                cells = [median(column) for column in zip(*rounds)]
                print(f"| {tokens} | {d_model} | {experts} | {cells[0]:.0f} | {cells[1]:.0f} | {cells[2]:.2f} | "
                      f"{cells[3]:.1f} | {cells[4]:.0f} | {cells[5]:.2f} |", flush=True)


def pkm(a):
    print("\n## Product-key memory, 1024 x 1024 values of 512, 4 heads, k 32, 1024 tokens, float32\n")
    print("| | weir | PyTorch | faster by |")
    print("|---|---|---|---|")
    rounds = []
    for _ in range(a.rounds):
        printed, _ = run([a.weir, "bench", "pkm", "--tokens", 1024, "--runs", 7, "--threads", a.threads, "--json"])
        cases = {c["case"]: c for c in printed}
        (peer,), _ = run([a.python, HERE / "torch_pkm.py", "--threads", a.threads])
        step, forward = cases["forward and backward"]["seconds"], cases["forward"]["seconds"]
        rounds.append((step, peer["step_s"], peer["step_s"] / step, forward, peer["forward_s"],
                       peer["forward_s"] / forward, cases["gather-sum"]["gigabytes_per_second"],
                       cases["gather-sum"]["roof_share"]))
    cells = [median(column) for column in zip(*rounds)]
    print(f"| forward and backward, ms | {1e3 * cells[0]:.1f} | {1e3 * cells[1]:.1f} | {cells[2]:.2f} |")
    print(f"| forward, ms | {1e3 * cells[3]:.1f} | {1e3 * cells[4]:.1f} | {cells[5]:.2f} |")
    print(f"| gather-sum, GB/s | {cells[6]:.1f}, {cells[7]:.2f} of reading in order | | |", flush=True)


SMALL = dict(d_model=256, layers=4, heads=4, head_size=64, segment=128, batch=8, experts=8, k=2, d_ff=1032)
ENWIK8 = dict(d_model=512, layers=12, heads=8, head_size=64, segment=512, batch=2, experts=16, k=4, d_ff=2053)

MODELS = dict(small=("4 layers of 256, batch 8", SMALL), enwik8=("enwik8, 12 layers of 512, batch 2", ENWIK8))


def step_commands(a, sizes, kind, precision):
    s = sizes
    ours = [a.weir, "bench", "step", "--preset", "quickstart" if kind == "moe" else "quickstart-dense", "--json", "--runs",
            a.runs, "--threads", a.threads, f"model.precision={precision}", f"model.d_model={s['d_model']}",
            f"model.layers={s['layers']}", f"model.heads={s['heads']}", f"model.head_size={s['head_size']}",
            f"model.segment={s['segment']}", f"model.memory={s['segment']}", "model.dropout=0.1",
            f"train.batch_size={s['batch']}"]
    if kind == "moe":
        ours += [f"feedforward.experts={s['experts']}", "feedforward.expert_size=128", f"feedforward.k={s['k']}"]
    else:
        ours += [f"feedforward.d_ff={s['d_ff']}"]
    peer = [a.python, HERE / "torch_transformer_xl.py", "--ff", kind, "--threads", a.threads, "--runs", a.runs]
    for name, value in s.items():
        peer += ["--" + name.replace("_", "-"), value]
    if precision == "bf16":
        peer += ["--autocast", "bfloat16"]
    if precision == "tf32":
        peer += ["--tf32"]
    return ours, peer


def step(a):
    print("\n## A training step, dropout 0.1\n")
    print("| model | feedforward | precision | weir, tokens/s | PyTorch, tokens/s | faster by | weir, peak MiB "
          "| PyTorch, peak MiB | share |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in a.models:
        name, sizes = MODELS[model]
        for kind in ("moe", "dense"):
            for precision in a.precisions:
                ours, peer = step_commands(a, sizes, kind, precision)
                rounds = []
                for _ in range(a.rounds):
                    (own,), own_peak = run(ours)
                    (other,), other_peak = run(peer)
                    rounds.append((own["tokens_per_second"], other["tokens_per_s"],
                                   own["tokens_per_second"] / other["tokens_per_s"], own_peak, other_peak,
                                   own_peak / other_peak))
                cells = [median(column) for column in zip(*rounds)]
                print(f"| {name} | {kind} | {precision} | {cells[0]:.0f} | {cells[1]:.0f} | {cells[2]:.2f} | "
                      f"{cells[3]:.0f} | {cells[4]:.0f} | {cells[5]:.2f} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weir", required=True)
    p.add_argument("--python", required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--runs", type=int, default=10, help="measured steps of a round")
    p.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    p.add_argument("--only", nargs="+", choices=["step", "pkm", "feedforward"], default=["step", "pkm", "feedforward"])
    p.add_argument("--dtype", choices=["float32", "bf16"], default="float32", help="of the feedforward")
    p.add_argument("--precisions", nargs="+", choices=["float32", "tf32", "bf16"],
                   default=["float32", "tf32", "bf16"])
    p.add_argument("--tokens", type=int, nargs="+", default=[2048, 8192])
    p.add_argument("--d-model", type=int, nargs="+", default=[412, 512, 1024])
    p.add_argument("--experts", type=int, nargs="+", default=[16, 32, 128])
    a = p.parse_args()
    for name in a.only:
        dict(step=step, pkm=pkm, feedforward=feedforward)[name](a)


if __name__ == "__main__":
    main()
