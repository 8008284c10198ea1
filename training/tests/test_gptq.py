"""GPTQ: the outputs of rounded weights are nearer to those in float than with rounding to nearest."""

import copy
import dataclasses

import pytest
import torch

from training.model.config import DENOISERS
from training.model.denoiser import Denoiser
from training.model.gptq import round_columns, round_weights
from training.model.quantization import QuantizableLinear, fake_quantize_groups
from training.tests.made_up import randomise

CONFIG = dataclasses.replace(DENOISERS["tiny"], num_hidden_layers=3, vocab_size=400)
FORWARDS = torch.ones(1, dtype=torch.long)


def squared(error: torch.Tensor) -> float:
    return error.pow(2).mean().item()


@pytest.mark.parametrize("inputs", [64, 96])
def test_correlated_inputs_make_up_for_each_other(inputs):
    torch.manual_seed(inputs)
    weight = torch.randn(48, inputs) * torch.rand(48, 1)
    x = torch.randn(1000, inputs // 4) @ torch.randn(inputs // 4, inputs) + 0.1 * torch.randn(1000, inputs)
    rounded = round_columns(weight, x.T @ x)
    nearest = fake_quantize_groups(weight)
    assert squared(x @ (rounded - weight).T) < 0.4 * squared(x @ (nearest - weight).T)
    assert squared(rounded - weight) < 4 * squared(nearest - weight)


def test_independent_inputs_take_the_nearest_values():
    torch.manual_seed(1)
    weight = torch.randn(16, 64)
    assert torch.equal(round_columns(weight, torch.eye(64)), fake_quantize_groups(weight))


@torch.no_grad()
def test_a_model_is_nearer_to_its_float_weights():
    torch.manual_seed(2)
    model = Denoiser(CONFIG).eval()
    randomise(model, gain=1)
    model.embed_tokens.weight.copy_(torch.randn(CONFIG.vocab_size, 12) @ torch.randn(12, CONFIG.hidden_size))
    streams, others = torch.randint(6, CONFIG.vocab_size, (2, 48, 32))
    rounded, nearest = copy.deepcopy(model), copy.deepcopy(model)
    round_weights(rounded, streams)
    for module in nearest.modules():
        if isinstance(module, QuantizableLinear):
            module.weight.copy_(fake_quantize_groups(module.weight))
    wanted = model.context(others, FORWARDS)[0]
    errors = [squared(each.context(others, FORWARDS)[0] - wanted) for each in (rounded, nearest)]
    assert errors[0] < 0.8 * errors[1]
    for module in rounded.modules():
        if isinstance(module, QuantizableLinear):
            # a group whose largest value is no end of the grid may be read with another scale
            again = fake_quantize_groups(module.weight)
            assert squared(again - module.weight) < 1e-4 * squared(module.weight)
