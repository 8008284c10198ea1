"""The policies of the reference sampler: narrow canvases and frozen slots."""

import dataclasses

import pytest
import torch

from training.evaluation.sampler import (
    EVERYTHING,
    CachedCanvas,
    Generated,
    Policy,
    Thresholds,
    canvas_logits,
    denoise,
    infill,
    open_contexts,
)
from training.model.config import DENOISERS, SpecialTokens
from training.model.denoiser import Denoiser

SPECIAL = SpecialTokens(pad=0, mask=1, eom=2, prefix=3, suffix=4, end_of_text=5)
CONFIG = dataclasses.replace(DENOISERS["tiny"], canvas_slots=16, canvas_widths=(4, 8, 16))
LEFT, RIGHT = [SPECIAL.prefix, 20, 21, 22, 23, 24], [SPECIAL.suffix, 30, 31, 32]
NO_EDITS = Thresholds(0.9, 1.0, 2)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    torch.manual_seed(3)
    model = Denoiser(CONFIG)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("right", [RIGHT, []])
@torch.no_grad()
def test_a_held_canvas_whose_slots_are_all_computed_is_a_canvas(model, right, quantized, monkeypatch):
    monkeypatch.setattr(model, "quantize_attention", quantized)
    prefix, suffix = open_contexts(model, LEFT, right)
    ids = [SPECIAL.mask, 40, 41, SPECIAL.mask, 42]
    held = CachedCanvas(model, 8, prefix, suffix).logits(ids, list(range(len(ids))))
    assert torch.allclose(held, canvas_logits(model, ids, 8, prefix, suffix), atol=1e-4)


@torch.no_grad()
def test_slots_that_are_not_computed_are_seen_as_they_were(model):
    prefix, suffix = open_contexts(model, LEFT, RIGHT)
    canvas = CachedCanvas(model, 8, prefix, suffix)
    ids = [40, 41, SPECIAL.mask, 42]
    whole = canvas.logits(ids, [0, 1, 2, 3])
    # nothing has changed: the part is that of the whole
    assert torch.allclose(canvas.logits(ids, [2]), whole[2:3], atol=1e-4)
    # slot 2 does not see the new token of slot 0 until slot 0 is computed again
    other = [50, 41, SPECIAL.mask, 42]
    assert torch.allclose(canvas.logits(other, [2]), whole[2:3], atol=1e-4)
    assert not torch.allclose(canvas.logits(other, [0, 2])[1:], whole[2:3], atol=1e-4)


@pytest.mark.parametrize(
    ("canvas_width", "left", "width"),
    [
        (None, 64, 16),
        (8, 64, 8),
        (2, 64, 4),  # narrower than any: the narrowest
        (None, 5, 8),  # no wider than what is wanted needs
        (4, 5, 4),
        (16, 3, 4),
    ],
)
def test_widths_follow_the_policy(canvas_width, left, width):
    assert Policy(canvas_width).width(CONFIG, left) == width


@torch.no_grad()
def test_a_frozen_slot_is_evaluated_no_more(model):
    prefix, suffix = open_contexts(model, LEFT, RIGHT)
    counts = {}
    for freeze_after in (1, 2, float("inf")):
        seen: list[list[int]] = []

        class Watched(CachedCanvas):
            def logits(self, ids, slots, seen=seen):
                seen.append(slots)
                return super().logits(ids, slots)

        policy, count = Policy(freeze_after=freeze_after), Generated()
        denoise(Watched(model, 8, prefix, suffix), SPECIAL, NO_EDITS, policy, 8, count)
        assert count.steps == len(seen)
        assert count.slot_evaluations == sum(map(len, seen))
        counts[freeze_after] = count.slot_evaluations
        if freeze_after == 1:
            # every slot: as a mask until it is revealed, and once with its token
            revealed = {slot for slots in seen for slot in slots}
            for slot in revealed:
                turns = [step for step, slots in enumerate(seen) if slot in slots]
                assert turns == list(range(len(turns)))
    assert counts[1] <= counts[2] <= counts[float("inf")]
    assert counts[1] < counts[float("inf")]


def test_no_more_is_decided_than_is_wanted(model):
    result = infill(model, SPECIAL, LEFT, RIGHT, 3, NO_EDITS, Policy(canvas_width=8))
    assert len(result.ids) == 3 or result.ended
    assert result.steps <= 3
    assert result.slot_evaluations <= 4 * result.steps  # the narrowest canvas that holds three


def test_computing_everything_is_the_default(model):
    thresholds = Thresholds(0.5, 0.3, 2)
    default, named = (infill(model, SPECIAL, LEFT, RIGHT, 20, thresholds, *policy) for policy in ((), (EVERYTHING,)))
    assert default == named
