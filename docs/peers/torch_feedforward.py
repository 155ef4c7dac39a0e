"""Side-by-side peer: one feedforward block in PyTorch, forward + backward.

Times a dense two-layer ReLU block and a sigma-MoE block with the same number of parameters, on CPU or CUDA,
and prints one JSON line per case. The MoE sorts (token, choice) pairs by expert and multiplies one slice per
expert: the fastest way to write it in plain PyTorch that runs on both devices.

  python3 torch_feedforward.py --device cpu --tokens 2048 --d-model 512 --experts 8 16 32 64 --expert-size 128 --k 4
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F


def dense(x, w1, w2):
    return F.relu(x @ w1) @ w2


def sigma_moe(x, router, w1, w2, k):
    gate, expert = torch.sigmoid(x @ router.t()).topk(k, dim=-1)
    flat = expert.flatten()
    order = flat.argsort(stable=True)
    token = order // k
    counts = torch.bincount(flat, minlength=w1.shape[0]).tolist()
    gathered = x[token]
    pieces = []
    # split and unbind, not indexing: their backward writes each gradient once instead of once per expert
    for rows, a, b in zip(gathered.split(counts), w1.unbind(0), w2.unbind(0)):
        pieces.append(F.relu(rows @ a) @ b)
    y = torch.cat(pieces) * gate.flatten()[order].unsqueeze(-1)
    return torch.zeros_like(x, dtype=y.dtype).index_add(0, token, y)


def median_seconds(step, device, runs):
    for _ in range(3):
        step()
    times = []
    for _ in range(runs):
        if device == "cuda":
            torch.cuda.synchronize()
        t = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - t)
    return sorted(times)[len(times) // 2]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--device", default="cpu")
    p.add_argument("--dtype", default="float32")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--tokens", type=int, default=2048)
    p.add_argument("--d-model", type=int, default=512)
    p.add_argument("--experts", type=int, nargs="+", default=[8, 16, 32, 64])
    p.add_argument("--expert-size", type=int, default=128)
    p.add_argument("--k", type=int, default=4)
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--only-moe", action="store_true", help="leave the dense block out")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    dtype = getattr(torch, a.dtype)

    def leaf(*shape):
        return (torch.randn(*shape, device=a.device) * shape[-2] ** -0.5).to(dtype).requires_grad_()

    for n in a.experts:
        x, dy = leaf(a.tokens, a.d_model), torch.randn(a.tokens, a.d_model, device=a.device).to(dtype)
        d1, d2 = leaf(a.d_model, n * a.expert_size), leaf(n * a.expert_size, a.d_model)
        router, w1, w2 = leaf(n, a.d_model), leaf(n, a.d_model, a.expert_size), leaf(n, a.expert_size, a.d_model)

        def dense_step():
            for t in (x, d1, d2):
                t.grad = None
            dense(x, d1, d2).backward(dy)

        def moe_step():
            for t in (x, router, w1, w2):
                t.grad = None
            sigma_moe(x, router, w1, w2, a.k).backward(dy)

        tm = median_seconds(moe_step, a.device, a.runs)
        td = median_seconds(dense_step, a.device, a.runs) if not a.only_moe else float("nan")
        flop_dense = 12 * a.tokens * a.d_model * n * a.expert_size
        flop_moe = 12 * a.tokens * a.d_model * a.k * a.expert_size
        print(json.dumps(dict(peer="pytorch", version=torch.__version__, device=a.device, dtype=a.dtype, tokens=a.tokens,
                              d_model=a.d_model, experts=n, expert_size=a.expert_size, k=a.k, dense_s=td, moe_s=tm,
                              dense_gflops=flop_dense / td / 1e9, moe_gflops=flop_moe / tm / 1e9,
                              moe_speedup_over_dense=td / tm, flop_ratio=flop_dense / flop_moe)))


if __name__ == "__main__":
    main()
