#!/usr/bin/env python3
"""Writes optimizers.safetensors beside this file: what PyTorch's optimisers make of 50 made-up gradients, in float64.

Needs torch, numpy and safetensors. tests/unit/test_optimizers.cpp compares Weir with it. The file holds

  initial.NAME                values before the first step
  gradients.NAME  [50, ...]   one per step, to be multiplied by
  factors         [50]        as clipping would, and
  rates           [50]        the learning rates
  CASE.STEP.NAME              values after STEP steps

The settings of each case are in CASES here and in the test.
"""
import pathlib

import numpy
import torch
from safetensors.torch import save_file

STEPS, SAVED = 50, (1, 10, 50)
SHAPES = {"layer0.w": (3, 5), "layer0.bias": (7,), "layer0.norm.weight": (6,), "layer1.w": (2, 3, 3), "layer1.bias": (4,)}

# optimiser, settings; names without weight decay, names whose rate is multiplied.
SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW
NO_DECAY = {"layer0.bias", "layer0.norm.weight", "layer1.bias"}
RATES = {"layer0.w": 0.3, "layer0.bias": 0.3, "layer0.norm.weight": 0.3, "layer1.bias": 2.0}
CASES = {
    "sgd": (SGD, {}, set(), {}),
    "sgd-momentum": (SGD, {"momentum": 0.9}, set(), {}),
    "sgd-decay": (SGD, {"momentum": 0.8, "weight_decay": 0.1}, set(), {}),
    "sgd-nesterov": (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}, set(), {}),
    "sgd-groups": (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, NO_DECAY, RATES),
    "adamw": (ADAMW, {"betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}, set(), {}),
    "adamw-groups": (ADAMW, {"betas": (0.8, 0.99), "eps": 1e-8, "weight_decay": 0.2}, NO_DECAY, RATES),
}


def main():
    random = numpy.random.default_rng(1)

    def normal(*shape):
        return torch.from_numpy(random.standard_normal(shape))

    tensors = {f"initial.{name}": normal(*shape) for name, shape in SHAPES.items()}
    tensors |= {f"gradients.{name}": normal(STEPS, *shape) for name, shape in SHAPES.items()}
    tensors["factors"] = torch.from_numpy(random.uniform(0.2, 1, STEPS))
    tensors["rates"] = torch.from_numpy(0.1 / (1 + 0.1 * numpy.arange(STEPS)))
    for case, (optimizer, settings, no_decay, rates) in CASES.items():
        run(tensors, case, optimizer, settings, no_decay, rates)
    save_file(tensors, pathlib.Path(__file__).parent / "optimizers.safetensors")


def run(tensors, case, optimizer, settings, no_decay, rates):
    parameters = {name: tensors[f"initial.{name}"].clone().requires_grad_() for name in SHAPES}
    groups = [{"params": [p]} | ({"weight_decay": 0.0} if name in no_decay else {}) for name, p in parameters.items()]
    update = optimizer(groups, lr=1.0, **settings)
    for step in range(STEPS):
        for (name, p), group in zip(parameters.items(), update.param_groups):
            p.grad = tensors["factors"][step] * tensors[f"gradients.{name}"][step]
            group["lr"] = tensors["rates"][step].item() * rates.get(name, 1.0)
        update.step()
        if step + 1 in SAVED:
            tensors |= {f"{case}.{step + 1}.{name}": p.detach().clone() for name, p in parameters.items()}


main()
