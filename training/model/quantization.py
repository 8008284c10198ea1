"""The runtime's number formats in PyTorch: fake quantization for training and reference, packing for export.

Weights of the layers: 4 bits, groups of 32 along the input, symmetric, stored as w + 8 in 0…15. Embedding and tied
head: 7 of 8 bits, one scale a row, values −63…63 (the kernels add 64; the product of an int8 and a 7-bit number never
saturates in the relaxed SIMD dot). Activations: int8 with one scale a row. Scales are bfloat16 in the file, so they
are rounded to bfloat16 before the values are chosen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 32
EMBEDDING_MAX = 63
ACTIVATION_MAX = 127


def quantize_groups(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (n, k) → integers −8…7 (n, k) and bfloat16-valued scales (n, k/32).

    A group's largest weight need not be representable: of a few scales, the one with the least squared error is taken.
    The first is that of Q4_0, which fits weights that were read from a quantized file exactly: they stay what they are.
    """
    groups = weight.float().unflatten(1, (-1, GROUP))
    extreme = groups.gather(2, groups.abs().argmax(dim=2, keepdim=True))
    best_error = torch.full_like(extreme, torch.inf)
    best_scale = torch.zeros_like(extreme)
    for divisor in (-8.0, -7.6, -7.2, 7.0, 7.6, 8.2):  # the sign lets −8 serve the largest weight
        scale = (extreme / divisor).bfloat16().float()
        error = (nearest_integers(groups, scale, -8, 7) * scale - groups).pow(2).sum(dim=2, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
    return nearest_integers(groups, best_scale, -8, 7).flatten(1), best_scale.squeeze(2)


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (n, k) → integers −63…63 (n, k) and bfloat16-valued scales (n, 1)."""
    scale = (weight.float().abs().amax(dim=1, keepdim=True) / EMBEDDING_MAX).bfloat16().float()
    return nearest_integers(weight.float(), scale, -EMBEDDING_MAX, EMBEDDING_MAX), scale


def nearest_integers(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """values / scale to the nearest integer from low to high; 0 where the scale is 0."""
    return torch.where(scale == 0, 0, values / torch.where(scale == 0, 1, scale)).round().clamp(low, high)


def fake_quantize_groups(weight: Tensor) -> Tensor:
    values, scale = quantize_groups(weight.detach())
    return (values.unflatten(1, (-1, GROUP)) * scale[..., None]).flatten(1)


def fake_quantize_rows(weight: Tensor) -> Tensor:
    values, scale = quantize_rows(weight.detach())
    return values * scale


def fake_quantize_activations(x: Tensor, largest: int = ACTIVATION_MAX) -> Tensor:
    """Each row of the last axis, quantized as by the kernels: x · largest/absmax, rounded to nearest even."""
    wide = x.float()
    absmax = wide.abs().amax(dim=-1, keepdim=True)
    inverse = torch.where(absmax > 0, largest / absmax, 0)
    return (wide * inverse).round() * (absmax / largest)


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Forward: quantized. Backward: as if it were x (Bengio et al., arXiv 1308.3432)."""
    return x + (quantized.to(x.dtype) - x).detach()


class QuantizableLinear(nn.Linear):
    """A linear layer without bias that can compute with its 4-bit weights; see set_quantized."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)
        self.quantize_weights = self.quantize_activations = False
        self.product = F.linear

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.quantize_weights:
            weight = straight_through(weight, fake_quantize_groups(weight))
        if self.quantize_activations:
            x = straight_through(x, fake_quantize_activations(x))
        return self.product(x, weight)


class QuantizableEmbedding(nn.Module):
    """Token embedding and tied head."""

    def __init__(self, vocabulary: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, size))
        self.quantize_weights = self.quantize_activations = False

    def _weight(self) -> Tensor:
        return straight_through(self.weight, fake_quantize_rows(self.weight)) if self.quantize_weights else self.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self._weight())

    def head(self, hidden: Tensor) -> Tensor:
        x = straight_through(hidden, fake_quantize_activations(hidden)) if self.quantize_activations else hidden
        return F.linear(x, self._weight())


def set_quantized(model: nn.Module, weights: bool, activations: bool) -> None:
    """Switches every linear layer and the embedding between float arithmetic and that of the runtime. For weights that
    were read from a quantized file, only the activations need to be quantized."""
    for module in model.modules():
        if isinstance(module, QuantizableLinear | QuantizableEmbedding):
            module.quantize_weights, module.quantize_activations = weights, activations


@contextmanager
def rounded_weights(model: nn.Module, compiled: bool = False) -> Iterator[None]:
    """While open, every linear layer and the embedding have their quantized weights; afterwards what they had before.

    A gradient that is computed meanwhile is the straight-through one. The weights are rounded once, however often a
    pass uses them."""
    round_groups = _compiled_groups() if compiled else fake_quantize_groups
    kept = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, QuantizableLinear | QuantizableEmbedding):
                kept.append((module.weight, module.weight.clone()))
                linear = isinstance(module, QuantizableLinear)
                module.weight.copy_((round_groups if linear else fake_quantize_rows)(module.weight))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)


@cache
def _compiled_groups() -> Callable[[Tensor], Tensor]:
    # without the option the compiler leaves out the rounding of scales to bfloat16
    return torch.compile(fake_quantize_groups, dynamic=False, options={"emulate_precision_casts": True})


def pack_nibbles(values: Tensor) -> Tensor:
    """Integers −8…7 (n, k) → int32 (n, k/8): element e of a word at bits 4·e, stored as value + 8."""
    unsigned = (values.to(torch.int64) + 8).unflatten(1, (-1, 8))
    words = (unsigned << (4 * torch.arange(8))).sum(dim=2)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def unpack_nibbles(words: Tensor) -> Tensor:
    """The inverse of pack_nibbles: int32 (n, k/8) → integers −8…7 (n, k)."""
    return ((words.to(torch.int64)[..., None] >> (4 * torch.arange(8))) & 15).flatten(1) - 8
