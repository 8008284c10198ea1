"""Training with the matrix products of the layers in 8 bits, for CPUs with AVX-512 VNNI and without fast bfloat16.

PyTorch multiplies int8 four times as fast as float32 there. All three products of a linear layer are rounded: y = x·Wᵀ
and the gradient of x with one scale a row (SwitchBack, arXiv 2304.13013), the gradient of W, which sums over the rows,
with one scale a column of either side. Embedding, head, attention and optimizer stay in float32.
"""

import torch
from torch import Tensor, nn

from training.model.quantization import ACTIVATION_MAX, QuantizableLinear

SMALLEST = 1e-30  # scale of a row or column of zeros


def quantize(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """x (n, k) → int8 of the same shape, and scales: (n, 1) of the rows for dim 1, (1, k) of the columns for dim 0."""
    scale = (x.abs().amax(dim=dim, keepdim=True) / ACTIVATION_MAX).clamp(min=SMALLEST)
    return (x / scale).round().to(torch.int8), scale


class Int8Product(torch.autograd.Function):
    """x (n, k), weight (m, k) → x · weightᵀ (n, m), float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        rows, scale = quantize(x, 1)
        weights, weight_scale = quantize(weight, 1)
        return torch._int_mm(rows, weights.t()).float() * scale * weight_scale.t()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        weights, weight_scale = quantize(weight, 1)
        rows, scale = quantize(gradient * weight_scale.t(), 1)
        of_x = torch._int_mm(rows, weights).float() * scale
        left, left_scale = quantize(gradient, 0)
        right, right_scale = quantize(x, 0)
        of_weight = torch._int_mm(left.t().contiguous(), right).float() * left_scale.t() * right_scale
        return of_x, of_weight


def int8_product(x: Tensor, weight: Tensor) -> Tensor:
    """x (…, k), weight (m, k) → (…, m), float32."""
    return Int8Product.apply(x.flatten(0, -2), weight).unflatten(0, x.shape[:-1])


def multiply_in_int8(model: nn.Module) -> None:
    """Lets every linear layer of a model multiply in 8 bits. Raises ValueError without AVX-512 VNNI."""
    device = next(model.parameters()).device
    if device.type != "cpu" or not torch.cpu._is_vnni_supported():
        raise ValueError("products in int8 need a CPU with AVX-512 VNNI")
    for module in model.modules():
        if isinstance(module, QuantizableLinear):
            module.product = int8_product
