"""Trains a quantized model without rounding it: the integers stay, their scales learn (PEQA, arXiv 2305.14152).

Weights that were read from 4 bits are on a grid. What a short run adds to them is less than half a step of it, so
rounding takes most of it away again (training/LOG.md). Here a weight is integer · scale · (1 + change), with one change
for the 32 weights of a scale, for a row of the embedding, or for an element of a norm. The embeddings of special tokens
learn whole.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser, RMSNorm
from training.model.quantization import (
    GROUP,
    QuantizableEmbedding,
    QuantizableLinear,
    fake_quantize_rows,
    quantize_groups,
    quantize_rows,
)

ROW_STEP = 0.3  # the learning rate of embeddings of special tokens, as a share of that of relative changes


@dataclass
class Tuned:
    """A parameter of the model: integers (n, groups, size) · scales (n, groups, 1) · (1 + change)."""

    target: nn.Parameter
    integers: Tensor  # int8
    scales: Tensor
    change: nn.Parameter
    narrow: bool  # whether the file has its scales in bfloat16

    def write(self) -> None:
        scales = self.scales * (1 + self.change)
        if self.narrow:
            scales = scales.bfloat16().float()
        self.target.copy_((self.integers * scales).view_as(self.target))

    def collect(self) -> None:
        by_weight = self.target.grad.view_as(self.integers)
        self.change.grad = (by_weight * self.integers).sum(-1, keepdim=True) * self.scales
        self.target.grad = None


class ScaleTuning:
    """Holds the weights of `model`, which are those of a quantized file, and what may change of them. Frozen layers
    stay."""

    @torch.no_grad()
    def __init__(self, model: Denoiser, special: SpecialTokens):
        self.tuned: list[Tuned] = []
        for module in model.modules():
            if not isinstance(module, QuantizableLinear | QuantizableEmbedding | RMSNorm):
                continue
            weight = module.weight
            if not weight.requires_grad:
                continue
            if isinstance(module, QuantizableLinear):
                integers, scales = quantize_groups(weight)
                integers = integers.unflatten(1, (-1, GROUP))
            elif isinstance(module, QuantizableEmbedding):
                integers, scales = quantize_rows(weight)
                integers = integers[:, None]
            else:
                integers, scales = torch.ones_like(weight)[:, None, None], weight.detach().clone()[:, None]
            scales = scales[..., None]
            change = nn.Parameter(torch.zeros_like(scales))
            narrow = not isinstance(module, RMSNorm)
            self.tuned.append(Tuned(weight, integers.to(torch.int8), scales, change, narrow))
        self.embedding = model.embed_tokens.weight
        self.names = list(vars(special).values())
        self.rows = nn.Parameter(self.embedding.detach()[self.names].clone())
        self.write()

    def groups(self, learning_rate: float) -> list[dict]:
        """Parameter groups of an optimizer."""
        changes = [tuned.change for tuned in self.tuned]
        return [
            {"params": changes, "peak_lr": learning_rate, "weight_decay": 0.0},
            {"params": [self.rows], "peak_lr": learning_rate * ROW_STEP, "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def write(self) -> None:
        """Puts the weights, as the service will have them, into the model."""
        for tuned in self.tuned:
            tuned.write()
        self.embedding[self.names] = fake_quantize_rows(self.rows)

    @torch.no_grad()
    def collect(self) -> None:
        """Turns the gradients of the weights into those of what learns."""
        self.rows.grad = self.embedding.grad[self.names].clone()
        self.embedding.grad[self.names] = 0
        for tuned in self.tuned:
            tuned.collect()

    def state(self) -> dict:
        return {"changes": [tuned.change.detach() for tuned in self.tuned], "rows": self.rows.detach()}

    @torch.no_grad()
    def load(self, state: dict) -> None:
        for tuned, change in zip(self.tuned, state["changes"], strict=True):
            tuned.change.copy_(change)
        self.rows.copy_(state["rows"])
        self.write()
