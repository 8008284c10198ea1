"""Scale tuning: integers stay, gradients are those of the scales, and the exported weights are the trained ones."""

import dataclasses
import random

import pytest
import torch
from torch import nn

from training.model.config import DENOISERS, TrainConfig
from training.model.denoiser import Denoiser
from training.model.quantization import QuantizableLinear, rounded_weights
from training.model.tokenizer import train_tokenizer
from training.pretrain.cursor_losses import cursor_losses
from training.pretrain.cursor_windows import CursorSampler
from training.pretrain.optimizer import build_tuning_optimizer
from training.pretrain.scale_tuning import ScaleTuning
from training.tests.made_up import readable_code

PACKAGES = [[readable_code(seed, 30) for seed in range(start, start + 3)] for start in (0, 10)]
CONFIG = dataclasses.replace(
    DENOISERS["tiny"], vocab_size=400, qk_norm=False, shifted=True, suffix_order="forward", rope_theta=1e5
)


@pytest.fixture(scope="module")
def sampler():
    tokenizer = train_tokenizer([text for package in PACKAGES for text in package], 400)
    return CursorSampler(PACKAGES, tokenizer, 64, 24)


@pytest.fixture
def model() -> Denoiser:
    """With weights as they are read from a quantized file."""
    torch.manual_seed(0)
    network = Denoiser(CONFIG)
    for parameter in network.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    with rounded_weights(network):
        state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    return network


def train(model: Denoiser, tuning: ScaleTuning, sampler: CursorSampler, steps: int) -> list[float]:
    config = TrainConfig(adamw_lr=5e-3, all_mask_share=1.0)
    optimizer = build_tuning_optimizer(tuning, config)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"]
    drawn = sampler.batch(random.Random(2), 4, 6, 4)
    losses = []
    for _ in range(steps):
        loss, _ = cursor_losses(model, drawn, sampler.special, config)
        loss.backward()
        tuning.collect()
        optimizer.step()
        optimizer.zero_grad()
        tuning.write()
        losses.append(loss.item())
    return losses


def test_nothing_changes_before_the_first_step(model, sampler):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ScaleTuning(model, sampler.special)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-7)


def test_it_learns_while_every_integer_stays(model, sampler):
    linear = [module for module in model.modules() if isinstance(module, QuantizableLinear)]
    integers = [(module.weight.unflatten(1, (-1, 32))) for module in linear]
    patterns = [(group / group.abs().amax(-1, keepdim=True)).detach().clone() for group in integers]
    losses = train(model, ScaleTuning(model, sampler.special), sampler, 25)
    assert losses[-1] < losses[0] - 0.2
    for module, pattern in zip(linear, patterns, strict=True):
        group = module.weight.unflatten(1, (-1, 32))
        torch.testing.assert_close(group / group.abs().amax(-1, keepdim=True), pattern)


def test_what_is_trained_is_what_the_file_holds(model, sampler):
    train(model, ScaleTuning(model, sampler.special), sampler, 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with rounded_weights(model):  # as the export rounds
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-7)


def test_a_scale_gets_the_gradient_of_its_weights(model, sampler):
    special = sampler.special
    tuning = ScaleTuning(model, special)
    module = model.layers[0].mlp.up_proj
    (tuned,) = [each for each in tuning.tuned if each.target is module.weight]
    x = torch.randn(7, module.in_features)
    model.embed_tokens(torch.arange(9)).sum().backward()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    module.weight.grad = None
    module(x).square().sum().backward()
    tuning.collect()
    change = torch.zeros_like(tuned.change, requires_grad=True)
    weight = (tuned.integers * tuned.scales * (1 + change)).flatten(1)
    nn.functional.linear(x, weight).square().sum().backward()
    torch.testing.assert_close(tuned.change.grad, change.grad, rtol=1e-4, atol=1e-5)


def test_only_special_tokens_get_new_embeddings(model, sampler):
    special = sampler.special
    names = set(vars(special).values())
    before = model.embed_tokens.weight.detach().clone()
    train(model, ScaleTuning(model, special), sampler, 25)
    after = model.embed_tokens.weight.detach()
    along = nn.functional.cosine_similarity(before, after)
    others = [token for token in range(len(after)) if token not in names]
    torch.testing.assert_close(along[others], torch.ones(len(others)), rtol=0, atol=1e-5)
    assert along[special.mask] < 0.999


def test_a_saved_state_gives_the_same_weights(model, sampler):
    fresh = Denoiser(CONFIG)
    fresh.load_state_dict(model.state_dict())
    tuning = ScaleTuning(model, sampler.special)
    train(model, tuning, sampler, 5)
    ScaleTuning(fresh, sampler.special).load(tuning.state())
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_frozen_layers_are_left_alone(model, sampler):
    model.freeze(1)
    tuning = ScaleTuning(model, sampler.special)
    before = {name: value.clone() for name, value in model.layers[0].state_dict().items()}
    train(model, tuning, sampler, 3)
    for name, value in model.layers[0].state_dict().items():
        assert torch.equal(value, before[name])
    assert len(tuning.tuned) == len([p for p in model.parameters() if p.requires_grad])
