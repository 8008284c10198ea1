"""Integer attention is close to float attention, and the bounds that the kernels rely on hold."""

import pytest
import torch

from training.model.denoiser import attend_causal, dense_attention
from training.model.quantization import fake_quantize_activations
from training.model.quantized_attention import (
    LARGEST_WEIGHT_SUM,
    attend_causal_quantized,
    quantize_weights,
    quantized_attention,
)

# Root-mean-square error over root-mean-square value: 7-bit queries and keys, and weights of 1/124 of a block's sum
TOLERANCE = 0.03


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).square().mean() / expected.square().mean()).sqrt().item()


def heads(*shape: int) -> torch.Tensor:
    """Of the size that QK-norm gives them."""
    return torch.randn(*shape)


def test_causal_attention_is_near_to_that_in_floats():
    torch.manual_seed(0)
    q, k, v = heads(2, 4, 70, 64), heads(2, 2, 100, 64), heads(2, 2, 100, 64)
    assert relative_error(attend_causal_quantized(q, k, v), attend_causal(q, k, v)) < TOLERANCE


@pytest.mark.parametrize("causal", [False, True])
def test_canvas_attention_is_near_to_that_in_floats_whatever_a_canvas_sees(causal):
    torch.manual_seed(1)
    seen = torch.tensor([[40, 17], [1, 33]]), torch.tensor([[0, 35], [20, 5]])
    alive = torch.ones(2, 2, 8, dtype=torch.bool)
    alive[1, 0, 5:] = False
    q_prefix, q_suffix = heads(2, 2, 4, 8, 64), heads(2, 2, 4, 8, 64)
    k, v = heads(2, 2, 2, 8, 64), heads(2, 2, 2, 8, 64)
    prefix, suffix = (heads(2, 2, 40, 64), heads(2, 2, 40, 64)), (heads(2, 2, 35, 64), heads(2, 2, 35, 64))
    arguments = (q_prefix, q_suffix, k, v, prefix, suffix)
    expected = dense_attention(*seen, alive, 40, 35, causal)(*arguments)
    assert relative_error(quantized_attention(*seen, alive, 40, 35, causal)(*arguments), expected) < TOLERANCE


def test_weights_of_a_block_add_up_in_sixteen_bits():
    torch.manual_seed(2)
    values = fake_quantize_activations(heads(75, 64))
    scales = values.abs().amax(dim=-1) / 127
    for powers in (torch.rand(50, 75), torch.eye(75) + 1e-3, torch.rand(50, 75) ** 20):
        weights = quantize_weights(powers, values) * scales  # multiples of the scale of their block
        for block in weights.split(32, dim=-1):
            step = torch.where(block > 0, block, torch.inf).amin(dim=-1, keepdim=True)
            sums = torch.nn.functional.pad(block, (0, -block.shape[-1] % 4)).unflatten(-1, (-1, 4)).sum(dim=-2)
            # the smallest weight is at least one step, so that this is a bound on the sum in steps
            assert ((sums / step)[step.squeeze(-1).isfinite()] <= LARGEST_WEIGHT_SUM + 4).all()


def test_a_token_that_is_not_seen_has_no_part_in_the_result():
    torch.manual_seed(3)
    q, k, v = heads(1, 2, 40, 64), heads(1, 1, 40, 64), heads(1, 1, 40, 64)
    before = attend_causal_quantized(q, k, v)
    k[:, :, 20:], v[:, :, 20:] = 5 * heads(1, 1, 20, 64), 5 * heads(1, 1, 20, 64)
    assert torch.equal(attend_causal_quantized(q, k, v)[:, :, :20], before[:, :, :20])
