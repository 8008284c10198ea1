"""Post-training quantization to 4 bits that minimises the error of each layer's outputs (GPTQ, arXiv 2210.17323).

Layer by layer, calibrated on the prefix streams of some windows: the inputs of a matrix are those that the rounded
layers before it compute. Its columns are rounded one after the other. The columns that are not rounded yet compensate
for the error of each, by the Hessian of the squared error of the outputs.
"""

import torch
from torch import Tensor, nn

from training.model.denoiser import Denoiser, Layer, attend_causal, rotation
from training.model.quantization import GROUP, QuantizableLinear, nearest_integers, quantize_groups

DAMPING = 0.01  # of the mean of the Hessian's diagonal
WINDOWS_AT_ONCE = 8


def round_columns(weight: Tensor, hessian: Tensor) -> Tensor:
    """weight (n, k) on the grid of quantize_groups; hessian (k, k): the sum of x xᵀ over the inputs x."""
    weight = weight.float().clone()
    hessian = hessian.double()
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean())
    # Cholesky factor of the inverse: row i says how the columns after i compensate for the error of column i
    spread = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True).float()
    rounded = torch.empty_like(weight)
    for start in range(0, weight.shape[1], GROUP):
        group = slice(start, start + GROUP)
        scale = quantize_groups(weight[:, group])[1][:, 0]
        errors = torch.empty_like(weight[:, group])
        for column in range(start, start + GROUP):
            rounded[:, column] = nearest_integers(weight[:, column], scale, -8, 7) * scale
            error = (weight[:, column] - rounded[:, column]) / spread[column, column]
            weight[:, column + 1 : group.stop] -= error[:, None] * spread[column, column + 1 : group.stop]
            errors[:, column - start] = error
        weight[:, group.stop :] -= errors @ spread[group, group.stop :]
    return rounded


@torch.no_grad()
def round_weights(model: Denoiser, tokens: Tensor) -> None:
    """Puts the weights of the layers on the grid of the export, in place. tokens (windows, n): prefix streams, from
    <|prefix|> on. Does not round the embedding."""
    config = model.config
    turn = [part[:, None] for part in rotation(torch.arange(tokens.shape[1])[None], config.head_dim, config.rope_theta)]
    parts = model.embed_tokens(tokens).split(WINDOWS_AT_ONCE)
    for layer in model.layers:
        for matrix, hessian in _hessians(layer, parts, turn).items():
            matrix.weight.copy_(round_columns(matrix.weight, hessian))
        parts = [layer.stream(rows, *turn, None, attend_causal)[0] for rows in parts]


def _hessians(layer: Layer, parts: list[Tensor], turn: list[Tensor]) -> dict[QuantizableLinear, Tensor]:
    sums: dict[QuantizableLinear, Tensor] = {}

    def add(matrix: nn.Module, inputs: tuple[Tensor]) -> None:
        rows = inputs[0].flatten(0, -2).float()
        sums[matrix] = sums.get(matrix, 0) + rows.T @ rows

    hooks = [m.register_forward_pre_hook(add) for m in layer.modules() if isinstance(m, QuantizableLinear)]
    for rows in parts:
        layer.stream(rows, *turn, None, attend_causal)
    for hook in hooks:
        hook.remove()
    return sums
