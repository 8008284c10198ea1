"""A model is cut without training: neurons that are the sum of others cost nothing, layers are made up for."""

import dataclasses

import pytest
import torch

from training.model.config import DENOISERS
from training.model.denoiser import Denoiser
from training.model.neuron_pruning import fit_neurons, prune
from training.tests.made_up import randomise

CONFIG = dataclasses.replace(DENOISERS["tiny"], num_hidden_layers=4, vocab_size=400, qk_norm=False, shifted=True)
FORWARDS = torch.ones(1, dtype=torch.long)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(CONFIG)
    randomise(network, gain=1)
    return network.eval()


@pytest.fixture(scope="module")
def streams() -> torch.Tensor:
    return torch.randint(6, CONFIG.vocab_size, (24, 32), generator=torch.Generator().manual_seed(1))


def error(small: Denoiser, model: Denoiser, tokens: torch.Tensor) -> float:
    """Of the last hidden states, relative to their size."""
    with torch.no_grad():
        found, expected = (each.context(tokens, FORWARDS)[0] for each in (small, model))
    return ((found - expected).norm() / expected.norm()).item()


def test_neurons_that_others_can_replace_go_first():
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(600, 8, generator=generator)
    inputs[:, 3] = inputs[:, 0] - 2 * inputs[:, 5]
    inputs[:, 6] = 0.01 * torch.randn(600, generator=generator)
    weight = torch.randn(5, 8, generator=generator)
    targets = inputs @ weight.T
    kept, fitted = fit_neurons(weight, inputs, targets, 6)
    assert {1, 2, 4, 7} <= set(kept.tolist()) and 6 not in kept
    assert (inputs[:, kept] @ fitted.T - targets).norm() < 0.05 * targets.norm()
    # one more costs more than what replaced it
    fewer, worse = fit_neurons(weight, inputs, targets, 5)
    assert (inputs[:, fewer] @ worse.T - targets).norm() > 0.2 * targets.norm()


def test_a_model_of_which_nothing_is_left_out_stays_the_same(model, streams):
    whole = prune(model, streams, (), CONFIG.intermediate_size)
    assert error(whole, model, streams) < 0.05


def test_what_stays_makes_up_for_a_layer_that_is_left_out(model, streams):
    small = prune(model, streams, (1,), CONFIG.intermediate_size)
    assert small.config.num_hidden_layers == len(small.layers) == 3
    left_out = prune(model, streams, (), CONFIG.intermediate_size)
    del left_out.layers[1]
    assert error(small, model, streams) < 0.9 * error(left_out, model, streams)


def test_fitted_neurons_come_nearer_than_the_same_without_fitting(model, streams):
    small = prune(model, streams, (), 64)
    assert small.layers[0].mlp.down_proj.weight.shape == (CONFIG.hidden_size, 64)
    plain = prune(model, streams, (), 64)
    for fitted, layer in zip(plain.layers, model.layers, strict=True):
        rows = layer.mlp.gate_proj.weight
        columns = [int((rows == row).all(1).nonzero()[0]) for row in fitted.mlp.gate_proj.weight]
        fitted.mlp.down_proj.weight.data = layer.mlp.down_proj.weight[:, columns]
    assert error(small, model, streams) < 0.9 * error(plain, model, streams)
    # the weights that are kept load into a model of that shape
    Denoiser(small.config).load_state_dict(small.state_dict())


@pytest.mark.parametrize("removed, neurons", [((4,), 64), ((-1,), 64), ((), 0), ((), 97)])
def test_layers_and_neurons_that_are_not_there_are_refused(model, streams, removed, neurons):
    with pytest.raises(ValueError, match="expected layers below 4"):
        prune(model, streams, removed, neurons)
