"""Soft targets: which slots get one, its distribution, and which slots still learn the token of the file."""

import random

import pytest
import torch

from training.model.config import DENOISERS, SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser
from training.model.tokenizer import train_tokenizer
from training.pretrain.data import collate
from training.pretrain.distill import teacher_soft_targets
from training.pretrain.losses import canvas_logits, context_streams, three_stream_losses
from training.pretrain.noise import add_noise
from training.pretrain.windows import WindowSampler
from training.tests.made_up import readable_code

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


def hidden_text(batch, noisy, special):
    return noisy.masked & ~torch.isin(batch.x0, torch.tensor([special.eom, special.end_of_text, special.pad]))


def targets_of(scene, noisy):
    model, batch, states, special = scene
    logits = canvas_logits(model, batch, noisy.xt, noisy.alive, states)
    return teacher_soft_targets(model, batch, noisy, logits, states, special)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_all_hidden_text_gets_a_soft_target_except_the_most_confident_slot_of_each_canvas(scene, rate):
    _, batch, _, special = scene
    noisy = noise(batch, special, rate)
    taught, targets = targets_of(scene, noisy)
    hidden = hidden_text(batch, noisy, special)
    assert taught.any()
    assert not (taught & ~hidden).any()
    assert torch.equal((hidden & ~taught).sum(-1), hidden.any(-1).long())
    assert torch.allclose(targets.sum(-1), torch.ones(len(targets)), atol=1e-4)
    assert (targets[:, list(vars(special).values())] == 0).all()


def test_a_soft_target_is_the_prediction_after_the_more_confident_reveals(scene):
    model, batch, states, special = scene
    noisy = noise(batch, special, 1.0)
    taught, targets = targets_of(scene, noisy)
    of_slot = dict(zip(map(tuple, taught.nonzero().tolist()), targets))
    row, canvas = (taught.sum(-1) == taught.sum(-1).max()).nonzero()[0].tolist()
    left = set(hidden_text(batch, noisy, special)[row, canvas].nonzero().flatten().tolist())
    assert len(left) > 3
    xt, first = noisy.xt.clone(), True
    while left:
        logits = canvas_logits(model, batch, xt, noisy.alive, states)[row, canvas].clone()
        logits[:, list(vars(special).values())] = -torch.inf
        said = torch.softmax(logits, -1)
        surest = max(left, key=lambda slot: said[slot].max())
        if not first:
            assert torch.allclose(of_slot[row, canvas, surest], said[surest], atol=1e-5)
        xt[row, canvas, surest] = said[surest].argmax()
        left.remove(surest)
        first = False


def test_there_is_no_soft_target_where_one_slot_is_hidden(scene):
    _, batch, _, special = scene
    noisy = noise(batch, special, 0.0)
    one = torch.zeros_like(noisy.masked)
    one[..., 0] = True
    noisy.xt = torch.where(one, special.mask, noisy.xt)
    noisy.masked = noisy.masked | one
    taught, targets = targets_of(scene, noisy)
    assert not taught.any()
    assert targets.shape == (0, DENOISERS["tiny"].vocab_size)


def test_only_slots_with_a_soft_target_have_their_loss_taken_against_it(scene):
    """Soft targets that are the true tokens give the loss without a teacher."""
    model, batch, _, special = scene
    config = TrainConfig(own_step_share=0.0, all_mask_share=1.0)

    def loss_with(teacher):
        torch.manual_seed(2)
        return three_stream_losses(model, batch, special, config, teacher)[0]

    def truth(model, batch, noisy, logits, *_):
        taught, targets = teacher_soft_targets(model, batch, noisy, logits, *_)
        return taught, torch.nn.functional.one_hot(batch.x0[taught], targets.shape[-1]).to(targets.dtype)

    plain = loss_with(None)
    assert torch.allclose(loss_with(truth), plain)
    distilled = loss_with(teacher_soft_targets)
    assert not torch.allclose(distilled, plain, atol=1e-3)
    distilled.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
