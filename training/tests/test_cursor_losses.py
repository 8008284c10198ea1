"""Shifted canvases: untrained, slot 0 is the next token of the language model; what sees what; how noise is drawn."""

import dataclasses
import itertools
import random
from collections import Counter

import pytest
import torch

from training.model.config import DENOISERS, TrainConfig
from training.model.denoiser import Denoiser
from training.model.tokenizer import train_tokenizer
from training.pretrain.cursor_losses import (
    CursorValidator,
    add_left_noise,
    canvas_hidden,
    cursor_losses,
    read_streams,
    rollout_targets,
    soft_losses,
)
from training.pretrain.cursor_windows import CursorSampler
from training.pretrain.data import EndlessBatches
from training.pretrain.optimizer import build_optimizers
from training.tests.made_up import randomise, readable_code

SLOTS, CANVASES = 4, 6
PACKAGES = [[readable_code(seed, 30) for seed in range(start, start + 3)] for start in (0, 10)]
CONFIG = dataclasses.replace(
    DENOISERS["tiny"], vocab_size=400, qk_norm=False, shifted=True, suffix_order="forward", rope_theta=1e5
)
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def sampler():
    tokenizer = train_tokenizer([text for package in PACKAGES for text in package], 400)
    return CursorSampler(PACKAGES, tokenizer, 64, 24)


@pytest.fixture(scope="module")
def batch(sampler):
    return sampler.batch(random.Random(1), 3, CANVASES, SLOTS)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(CONFIG)
    randomise(network, gain=2)
    return network.eval()


def all_mask(batch, special):
    return torch.full_like(batch.x0, special.mask), torch.ones_like(batch.x0, dtype=torch.bool)


def test_a_canvas_of_one_slot_without_suffix_is_the_language_model(model, batch, sampler):
    before, _, states = read_streams(model, batch, sampler.special)
    alone = dataclasses.replace(batch, x0=batch.x0[..., :1], suffix_seen=torch.zeros_like(batch.suffix_seen))
    hidden = canvas_hidden(model, alone, *all_mask(alone, sampler.special), states)[:, :, 0]
    inside = batch.prefix_seen <= batch.prefix.shape[1]
    rows = (batch.prefix_seen - 1).clamp(max=batch.prefix.shape[1] - 1)
    expected = before.gather(1, rows[..., None].expand_as(hidden))
    torch.testing.assert_close(hidden[inside], expected[inside], **CLOSE)


def test_a_canvas_sees_its_suffix_and_none_of_its_targets(model, batch, sampler):
    special = sampler.special

    def hidden(batch):
        _, _, states = read_streams(model, batch, special)
        return canvas_hidden(model, batch, *all_mask(batch, special), states)

    found = hidden(batch)
    changed = hidden(dataclasses.replace(batch, suffix=batch.suffix.clone().index_fill_(1, torch.tensor([1]), 77)))
    sees = batch.suffix_seen > 1
    assert (found != changed).any(-1).any(-1)[sees].all()
    assert torch.equal(found[batch.suffix_seen == 0], changed[batch.suffix_seen == 0])
    # tokens from slot 0 on
    later = batch.prefix.clone()
    start = int(batch.prefix_seen[0, 0]) - 1
    later[0, start:] = 78
    torch.testing.assert_close(hidden(dataclasses.replace(batch, prefix=later))[0, 0], found[0, 0], **CLOSE)


def test_a_run_of_rows_sees_what_is_before_each_row_alone(model, batch, sampler):
    _, _, states = read_streams(model, batch, sampler.special)
    run, there = dataclasses.replace(batch, runs=True), batch.x0 != sampler.special.pad
    rows = canvas_hidden(model, run, batch.x0, there, states, CONFIG.canvas_slots)
    changed = torch.cat((batch.x0[..., :2], (batch.x0[..., 2:] + 1) % CONFIG.vocab_size), dim=-1)
    others = canvas_hidden(model, run, changed, there, states, CONFIG.canvas_slots)
    torch.testing.assert_close(others[..., :3, :], rows[..., :3, :], **CLOSE)
    assert not torch.allclose(others[..., 3, :][there[..., 2]], rows[..., 3, :][there[..., 2]])
    # the first row is that of a canvas of one slot, at the same distance from the suffix
    alone = dataclasses.replace(batch, x0=batch.x0[..., :1])
    first = canvas_hidden(model, alone, *all_mask(alone, sampler.special), states, CONFIG.canvas_slots)
    torch.testing.assert_close(rows[..., :1, :], first, **CLOSE)


def test_a_run_of_rows_without_suffix_is_the_language_model(model, batch, sampler):
    before, _, states = read_streams(model, batch, sampler.special)
    run = dataclasses.replace(batch, runs=True, suffix_seen=torch.zeros_like(batch.suffix_seen))
    rows = canvas_hidden(model, run, batch.x0, batch.x0 != sampler.special.pad, states)
    for window, canvas in ((0, 0), (2, 5)):
        start = batch.prefix_seen[window, canvas] - 1
        left = int((batch.prefix.shape[1] - start).clamp(max=SLOTS))  # rows within the prefix stream
        torch.testing.assert_close(rows[window, canvas, :left], before[window, start : start + left], **CLOSE)


def test_every_row_of_a_run_learns_what_follows_it(model, batch, sampler):
    _, _, states = read_streams(model, batch, sampler.special)
    run, there = dataclasses.replace(batch, runs=True), batch.x0 != sampler.special.pad
    rows = model.logits(canvas_hidden(model, run, batch.x0, there, states))
    expected = torch.nn.functional.cross_entropy(rows[there], batch.x0[there])
    _, parts = cursor_losses(model, run, sampler.special, TrainConfig())
    torch.testing.assert_close(parts["canvas"], expected, **CLOSE)


def test_a_share_of_the_batches_are_runs_of_rows(sampler):
    config = TrainConfig(run_share=0.5, run_rows=8, canvas_widths=(2,), batch_windows=1, window_slots=8)
    drawn = itertools.islice(EndlessBatches(config, 1, lambda *_: sampler.batch), 40)
    kinds = Counter((batch.runs, batch.x0.shape[-1]) for batch in drawn)
    assert set(kinds) == {(True, 8), (False, 2)}
    assert min(kinds.values()) > 10


def test_noise_hides_the_right_more_often_than_the_left(batch, sampler):
    torch.manual_seed(0)
    config = TrainConfig(all_mask_share=0.3, corrupt_share=0.5, corrupt_rate=0.5)
    special = sampler.special
    x0 = torch.randint(6, 400, (40, 50, SLOTS))
    x0[:, :10, 2], x0[:, :10, 3] = special.eom, special.pad
    xt, alive, to_find = add_left_noise(x0, special, config, x0.flatten(1), 400)
    masked = (xt == special.mask).float().mean((0, 1))
    assert (masked[1:] > masked[:-1]).all()
    assert (xt[x0 == special.pad] == special.mask).all()
    visible_end = xt[:, :10, 2] == special.eom
    assert not alive[:, :10, 3][visible_end].any()
    wrong = (xt != special.mask) & (xt != x0)
    assert 0.02 < wrong.float().mean() < 0.3
    assert torch.equal(to_find, ((xt == special.mask) | wrong) & alive)


def test_a_rollout_teaches_what_the_model_says_after_its_own_reveals(model, batch, sampler):
    special = sampler.special
    _, _, states = read_streams(model, batch, special)
    xt, alive = all_mask(batch, special)
    with torch.no_grad():
        logits = model.logits(canvas_hidden(model, batch, xt, alive, states))
    teaching, targets = rollout_targets(model, batch, xt, alive, states, logits, special)
    ended = (batch.x0 == special.eom) | (batch.x0 == special.pad)
    # the first reveal of a canvas, ends, and what follows them are learned from the file
    assert not teaching[..., 0].any()
    assert torch.equal(teaching[..., 1:], ~ended[..., 1:])
    torch.testing.assert_close(targets.sum(-1), torch.ones(len(targets)))
    assert (targets[:, list(vars(special).values())] == 0).all()
    # slot 1 of a canvas, by hand: after the best text token of slot 0
    at = tuple(teaching[..., 1].nonzero()[0].tolist())
    text = logits[at][0].clone()
    text[list(vars(special).values())] = -torch.inf
    revealed = xt.clone()
    revealed[..., 0][~ended[..., 0]] = text.argmax()
    with torch.no_grad():
        expected = model.logits(canvas_hidden(model, batch, revealed, alive, states))[at][1]
    expected[list(vars(special).values())] = -torch.inf
    found = torch.zeros(*teaching.shape, targets.shape[-1]).masked_scatter(teaching[..., None], targets)
    torch.testing.assert_close(found[at][1], expected.softmax(-1), **CLOSE)


def test_slots_after_hidden_ones_count_less(model, batch, sampler):
    def losses(weight: float) -> float:
        torch.manual_seed(0)
        config = TrainConfig(all_mask_share=1.0, corrupt_share=0.0, hidden_left_weight=weight)
        return cursor_losses(model, batch, sampler.special, config)[1]["canvas"].item()

    # with weight 0 only the first hidden slot of each canvas counts
    torch.manual_seed(0)
    config = TrainConfig(all_mask_share=1.0, corrupt_share=0.0)
    first = cursor_losses(model, batch, sampler.special, config)[1]["first"].item()
    assert losses(0.0) == pytest.approx(first, rel=1e-5)
    assert losses(1.0) != pytest.approx(first, rel=1e-3)


def test_soft_losses_are_least_for_the_teacher_itself():
    teacher = torch.randn(5, 30)
    entropy = torch.distributions.Categorical(logits=teacher).entropy()
    torch.testing.assert_close(soft_losses(teacher, teacher), entropy)
    assert (soft_losses(torch.randn(5, 30), teacher) > entropy).all()


def test_a_few_steps_lower_every_part_of_the_loss(sampler):
    torch.manual_seed(1)
    network, base = Denoiser(CONFIG), Denoiser(CONFIG).eval()
    config = TrainConfig(base_share=0.3, all_mask_share=0.5)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    drawn = sampler.batch(random.Random(2), 4, CANVASES, SLOTS)
    history = []
    for _ in range(25):
        loss, parts = cursor_losses(network, drawn, sampler.special, config, base)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: value.item() for name, value in parts.items()})
    assert {"prefix", "suffix", "base", "canvas", "first"} == set(history[0])
    for name in ("prefix", "suffix", "canvas"):
        assert history[-1][name] < history[0][name] - 0.5


def test_frozen_layers_stay_and_the_others_learn(sampler):
    torch.manual_seed(1)
    network = Denoiser(CONFIG)
    network.freeze(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = TrainConfig(optimizer="adamw", adamw_lr=1e-2)
    (optimizer,) = build_optimizers(network, config)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"]
    drawn = sampler.batch(random.Random(2), 4, CANVASES, SLOTS)
    for _ in range(3):
        cursor_losses(network, drawn, sampler.special, config)[0].backward()
        optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("layers.0.") for name in changed)
    assert {name for name in before if name.startswith("layers.1.")} <= changed
    assert "embed_tokens.weight" in changed


def test_a_backward_suffix_is_read_at_falling_positions(model, batch, sampler):
    """The keys of the token at place i are those of a forward stream at position −i."""
    backward = Denoiser(dataclasses.replace(CONFIG, suffix_order="backward")).eval()
    backward.load_state_dict(model.state_dict())
    _, _, (_, suffix) = read_streams(backward, batch, sampler.special)
    _, expected = model.context(batch.suffix, -torch.ones(1, dtype=torch.long))
    for found, wanted in zip(suffix, expected, strict=True):
        torch.testing.assert_close(found[0], wanted[0], **CLOSE)


def test_validation_measures_each_slot_and_what_is_known_of_it(model, sampler):
    batches = [sampler.batch(random.Random(3), 4, CANVASES, CursorValidator.SLOTS)]
    scores = CursorValidator(batches, sampler.special, torch.device("cpu")).scores(model)
    slots = range(CursorValidator.SLOTS)
    names = {
        "prefix",
        "text",
        "end",
        "run_text",
        "run_end",
        *(f"{kind}_{slot}" for kind in ("slot", "right") for slot in slots),
    }
    assert set(scores) == names | {f"given_{slot}" for slot in slots if slot}
    assert all(0 <= scores[f"right_{slot}"] <= 1 for slot in slots)
    ends = (batches[0].x0[..., 0] == sampler.special.eom).float().mean().item()
    assert 0 < ends < 1
    assert scores["slot_0"] == pytest.approx(ends * scores["end"] + (1 - ends) * scores["text"], abs=1e-3)
    assert scores == CursorValidator(batches, sampler.special, torch.device("cpu")).scores(model)
