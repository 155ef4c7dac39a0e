#!/usr/bin/env python3
"""Writes gpt-*.safetensors beside itself: small models of model.kind = "gpt" in PyTorch, float64, on a processor.

    python3 tests/reference/gpt.py

Needs torch. Each file holds the initial weights, two segments of tokens, the logits, the loss and all gradients of the
first, the logits of the second with the keys and values of the first as memory, the losses of ten steps of
torch.optim.AdamW on both in turn, and the weights after them. Its metadata has the settings as Weir's command line
takes them, one per line.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

V, D, LAYERS, H, P, T, B = 23, 12, 2, 3, 4, 10, 2
STEPS, LR, WEIGHT_DECAY = 10, 0.01, 0.1

CASES = {
    "gelu": {"feedforward.kind": "gelu", "feedforward.d_ff": 20},
    "swiglu": {"feedforward.kind": "swiglu", "feedforward.d_ff": 16, "gpt.norm": "rms", "gpt.tied": "true"},
    "sigma-moe": {"feedforward.kind": "moe", "feedforward.experts": 5, "feedforward.expert_size": 6, "feedforward.k": 2,
                  "feedforward.regulariser_weight": 0.01, "gpt.norm": "rms", "gpt.rotary_base": 100},
    "pkm": {"feedforward.kind": "pkm", "feedforward.sub_keys": 4, "feedforward.key_heads": 2, "feedforward.k": 3},
}


def matrix(*shape, fan_in=None):
    return torch.randn(*shape, dtype=torch.float64) / math.sqrt(fan_in or shape[-1])


def norm_parameters(name, settings):
    yield f"{name}.weight", 1 + 0.1 * torch.randn(D, dtype=torch.float64)
    if settings.get("gpt.norm", "layer") == "layer":
        yield f"{name}.bias", 0.1 * torch.randn(D, dtype=torch.float64)


def feedforward_parameters(name, settings):
    kind, units = settings["feedforward.kind"], settings.get("feedforward.d_ff", 0)
    if kind == "gelu":
        yield f"{name}.w1", matrix(units, D)
        yield f"{name}.b1", 0.1 * torch.randn(units, dtype=torch.float64)
        yield f"{name}.w2", matrix(D, units)
        yield f"{name}.b2", 0.1 * torch.randn(D, dtype=torch.float64)
    elif kind == "swiglu":
        yield f"{name}.w_gate", matrix(units, D)
        yield f"{name}.w_up", matrix(units, D)
        yield f"{name}.w_down", matrix(D, units)
    elif kind == "moe":
        experts, size = settings["feedforward.experts"], settings["feedforward.expert_size"]
        yield f"{name}.router", matrix(experts, D)
        yield f"{name}.w1", matrix(experts, D, size, fan_in=D)
        yield f"{name}.w2", matrix(experts, size, D, fan_in=size)
    else:
        keys, heads = settings["feedforward.sub_keys"], settings["feedforward.key_heads"]
        yield f"{name}.keys_a", matrix(heads, keys, D // 2)
        yield f"{name}.keys_b", matrix(heads, keys, D // 2)
        yield f"{name}.values", matrix(keys * keys, D)


def make_parameters(settings):
    all_of_them = {"embedding": matrix(V, D)}
    for layer in range(LAYERS):
        name = f"layer{layer}"
        all_of_them |= dict(norm_parameters(f"{name}.norm1", settings))
        all_of_them |= dict(norm_parameters(f"{name}.norm2", settings))
        all_of_them |= {f"{name}.attn.w_q": matrix(H * P, D), f"{name}.attn.w_kv": matrix(2 * H * P, D),
                        f"{name}.attn.w_o": matrix(D, H * P)}
        all_of_them |= dict(feedforward_parameters(f"{name}.ff", settings))
    all_of_them |= dict(norm_parameters("out_norm", settings))
    if settings.get("gpt.tied") != "true":
        all_of_them |= {"output.weight": matrix(V, D), "output.bias": 0.1 * torch.randn(V, dtype=torch.float64)}
    return {name: value.requires_grad_() for name, value in all_of_them.items()}


def norm(p, name, x):
    if f"{name}.bias" in p:
        return F.layer_norm(x, (D,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)
    return F.rms_norm(x, (D,), p[f"{name}.weight"], 1e-5)


def rotated(x, first, base):
    """Element i is paired with i + P / 2; x: [B, T, H, P]."""
    positions = first + torch.arange(x.shape[1], dtype=torch.float64)
    angles = positions[:, None] * base ** (-torch.arange(0, P, 2, dtype=torch.float64) / P)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    a, b = x[..., : P // 2], x[..., P // 2:]
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), -1)


def attention(p, name, x, memory, base):
    b, t, _ = x.shape
    kv = (x @ p[f"{name}.w_kv"].T).view(b, t, 2, H, P)
    seen = kv if memory is None else torch.cat((memory, kv), 1)
    keys = seen.shape[1]
    q = rotated((x @ p[f"{name}.w_q"].T).view(b, t, H, P), keys - t, base)
    k, v = rotated(seen[:, :, 0], 0, base), seen[:, :, 1]
    mask = torch.ones(t, keys, dtype=torch.bool).tril(keys - t)
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return out.transpose(1, 2).reshape(b, t, H * P) @ p[f"{name}.w_o"].T, kv.detach()


def feedforward(p, name, x, settings):
    """Returns what the layer adds and its term of the loss."""
    kind = settings["feedforward.kind"]
    if kind == "gelu":
        return F.linear(F.gelu(F.linear(x, p[f"{name}.w1"], p[f"{name}.b1"])), p[f"{name}.w2"], p[f"{name}.b2"]), 0
    if kind == "swiglu":
        return (F.silu(x @ p[f"{name}.w_gate"].T) * (x @ p[f"{name}.w_up"].T)) @ p[f"{name}.w_down"].T, 0
    flat = x.reshape(-1, D)
    if kind == "moe":
        logits = flat @ p[f"{name}.router"].T
        gates, chosen = torch.sigmoid(logits).topk(settings["feedforward.k"])
        y = torch.zeros_like(flat)
        for slot in range(chosen.shape[1]):
            hidden = torch.relu(torch.einsum("nd,ndg->ng", flat, p[f"{name}.w1"][chosen[:, slot]]))
            y = y + gates[:, slot, None] * torch.einsum("ng,ngd->nd", hidden, p[f"{name}.w2"][chosen[:, slot]])
        mean = logits.softmax(-1).mean(0)
        return y.view_as(x), settings["feedforward.regulariser_weight"] * (mean * mean.log()).sum()
    a = torch.einsum("nd,hkd->nhk", flat[:, : D // 2], p[f"{name}.keys_a"])
    b = torch.einsum("nd,hkd->nhk", flat[:, D // 2:], p[f"{name}.keys_b"])
    scores, index = (a[..., :, None] + b[..., None, :]).flatten(-2).topk(settings["feedforward.k"])
    return torch.einsum("nhk,nhkd->nd", torch.relu(scores), p[f"{name}.values"][index]).view_as(x), 0


def forward(p, settings, ids, memories):
    base = settings.get("gpt.rotary_base", 10000)
    x, auxiliary, carried = p["embedding"][ids], 0, []
    for layer in range(LAYERS):
        name = f"layer{layer}"
        y, kv = attention(p, f"{name}.attn", norm(p, f"{name}.norm1", x), memories[layer], base)
        x = x + y
        y, term = feedforward(p, f"{name}.ff", norm(p, f"{name}.norm2", x), settings)
        x, auxiliary = x + y, auxiliary + term
        carried.append(kv)
    x = norm(p, "out_norm", x)
    if settings.get("gpt.tied") == "true":
        return x @ p["embedding"].T, auxiliary, carried
    return F.linear(x, p["output.weight"], p["output.bias"]), auxiliary, carried


def loss_of(p, settings, tokens, memories):
    logits, auxiliary, carried = forward(p, settings, tokens[:, :-1], memories)
    loss = F.cross_entropy(logits.reshape(-1, V), tokens[:, 1:].reshape(-1))
    return logits, loss, loss + auxiliary, carried


def run(settings):
    p = make_parameters(settings)
    data = torch.randint(V, (2, B, T + 1))
    tensors = {"data": data.to(torch.int32)}
    tensors |= {f"init.{name}": value.detach().clone() for name, value in p.items()}
    nothing = [None] * LAYERS
    logits, loss, total, carried = loss_of(p, settings, data[0], nothing)
    total.backward()
    tensors |= {"logits": logits, "loss": loss, "total": total}
    tensors |= {f"grad.{name}": value.grad.clone() for name, value in p.items()}
    tensors["logits_after"] = forward(p, settings, data[1][:, :-1], carried)[0]
    optimizer = torch.optim.AdamW(p.values(), lr=LR, weight_decay=WEIGHT_DECAY, foreach=False)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        _, loss, total, _ = loss_of(p, settings, data[step % 2], nothing)
        total.backward()
        optimizer.step()
        losses.append(loss.detach())
    tensors["losses"] = torch.stack(losses)
    return tensors | {f"final.{name}": value for name, value in p.items()}


def write_safetensors(path, tensors, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        content = tensor.detach().contiguous().numpy().tobytes()
        kind = {torch.float64: "F64", torch.int32: "I32"}[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


for number, (case, own) in enumerate(CASES.items()):
    torch.manual_seed(number)
    shape = {"model.kind": "gpt", "model.vocabulary": V, "model.d_model": D, "model.layers": LAYERS, "model.heads": H,
             "model.head_size": P, "model.segment": T, "model.memory": 0, "train.batch_size": B, "train.steps": STEPS,
             "optimizer.lr": LR, "optimizer.weight_decay": WEIGHT_DECAY, "optimizer.clip": 0}
    settings = shape | own
    text = "\n".join(f"{key}={value}" for key, value in settings.items())
    write_safetensors(pathlib.Path(__file__).parent / f"gpt-{case}.safetensors", run(settings),
                      {"kind": "gpt", "settings": text, "torch": torch.__version__})
