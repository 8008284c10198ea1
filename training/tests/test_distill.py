"""The teacher: it ends, keeps what stands, and says what many steps say."""

import random

import pytest
import torch

from training.config import DENOISERS, SpecialTokens
from training.data import collate
from training.denoiser import Denoiser
from training.distill import settle
from training.losses import context_streams
from training.noise import add_noise
from training.tests.made_up import readable_code
from training.tokenizer import train_tokenizer
from training.windows import WindowSampler

SLOTS = 8


@pytest.fixture
def scene():
    torch.manual_seed(0)
    texts = [readable_code(seed, 30) for seed in range(3)]
    tokenizer = train_tokenizer(texts, DENOISERS["tiny"].vocab_size)
    special = SpecialTokens.of(tokenizer)
    sampler, rng = WindowSampler([texts], tokenizer, 48), random.Random(1)
    batch = collate([sampler.draw(rng, 4, SLOTS) for _ in range(3)], SLOTS, special)
    model = Denoiser(DENOISERS["tiny"]).eval()
    for parameter in model.parameters():  # residual branches start at zero: give the untrained model something to say
        torch.nn.init.normal_(parameter, std=0.3) if parameter.dim() == 2 else None
    streams, sign = context_streams(batch.window, batch.horizon, special)
    with torch.no_grad():
        states = model.context(streams, sign)[1]
    return model, batch, states, special


def noise(batch, special, rate: float, corrupt: float = 0.0):
    t = torch.full(batch.prefix_seen.shape, rate)
    guesses = torch.full_like(batch.x0, max(vars(special).values()) + 9)
    vocabulary = DENOISERS["tiny"].vocab_size
    return add_noise(batch.x0, t, special, corrupt, corrupt, guesses, batch.window, vocabulary)


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_pure_noise_becomes_text_that_is_as_long_as_the_true_one(scene, steps):
    model, batch, states, special = scene
    text = settle(model, batch, noise(batch, special, 1.0), states, special, steps)
    frame = torch.isin(batch.x0, torch.tensor([special.eom, special.end_of_text, special.pad]))
    assert frame.any()
    assert torch.equal(text[frame], batch.x0[frame])
    assert not torch.isin(text[~frame], torch.tensor(list(vars(special).values()))).any()
    assert (text[~frame] != batch.x0[~frame]).any()


def test_more_steps_say_something_else_than_one(scene):
    model, batch, states, special = scene
    noisy = noise(batch, special, 1.0)
    texts = [settle(model, batch, noisy, states, special, steps) for steps in (1, 6)]
    assert not torch.equal(*texts)


def test_what_stands_is_kept_and_what_stands_wrong_is_set_right(scene):
    model, batch, states, special = scene
    torch.manual_seed(1)
    noisy = noise(batch, special, 0.4, corrupt=1.0)
    assert noisy.wrong.any()
    text = settle(model, batch, noisy, states, special)
    visible = noisy.alive & ~noisy.masked
    assert (text[visible] == batch.x0[visible]).all()
    assert (text[noisy.wrong] == batch.x0[noisy.wrong]).all()
