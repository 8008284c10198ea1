"""Self-correction: a wrong token is planted in a canvas that is right otherwise, and one denoising pass looks at it.

A denoiser that was trained on masks alone believes what it sees. Counted are, for each edit threshold, planted tokens
that the pass would set right, those it would turn into another wrong one, and right tokens that it would spoil. The
planted token is the one the prefix stream would most likely have put there by mistake, or any token of the vocabulary.
"""

import random
from copy import copy
from dataclasses import dataclass

import torch

from training.config import SpecialTokens
from training.denoiser import Denoiser
from training.sampler import Context, canvas_logits

EDIT_THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
KINDS = {"own": "the model's own mistake", "any": "any token"}


@dataclass(frozen=True)
class Look:
    """What one pass thinks of a canvas: for the planted slot and for the right ones, whether its best token is another
    one, with which probability; for the planted slot, whether that is the truth."""

    planted_changes: bool
    planted_probability: float
    planted_truth: bool
    right_changes: list[bool]
    right_probabilities: list[float]


def wrong_token(
    kind: str, ids: list[int], slot: int, model: Denoiser, special: SpecialTokens, prefix: Context, rng: random.Random
) -> int:
    """A token that is not the one of the slot and not special."""
    forbidden = [*vars(special).values(), ids[slot]]
    if kind == "any":
        return rng.choice([token for token in range(model.config.vocab_size) if token not in forbidden])
    before = copy(prefix)
    if slot:
        before.extend(ids[:slot])
    logits = model.logits(before.last_hidden).clone()
    logits[forbidden] = -torch.inf
    return int(logits.argmax())


@torch.no_grad()
def look_at_planted(
    kind: str,
    ids: list[int],
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    rng: random.Random,
) -> Look:
    """ids: the right middle; of a long one the first canvas is looked at. Plants a wrong token at a random slot."""
    width = model.config.canvas_slots
    slot = rng.randrange(min(len(ids), width))
    canvas = [*ids, special.eom][:width]
    canvas[slot] = wrong_token(kind, ids, slot, model, special, prefix, rng)
    logits = canvas_logits(model, canvas, width, prefix, suffix)
    probabilities = torch.softmax(logits.float(), dim=-1)
    # as in the sampler: these are never put into the text, and no slot becomes <|pad|>
    probabilities[:, [special.mask, special.prefix, special.suffix, special.pad]] = 0
    best_p, best = (part.tolist() for part in probabilities.max(dim=-1))
    right = [other for other in range(len(canvas)) if other != slot]
    return Look(
        best[slot] != canvas[slot],
        best_p[slot],
        best[slot] == ids[slot],
        [best[other] != canvas[other] for other in right],
        [best_p[other] for other in right],
    )


def repair_rates(looks: list[Look], threshold: float) -> dict[str, float]:
    """Shares at an edit threshold: of planted tokens, and of right tokens."""
    edited = [look for look in looks if look.planted_changes and look.planted_probability >= threshold]
    repaired = sum(look.planted_truth for look in edited)
    spoiled = sum(
        changes and probability >= threshold
        for look in looks
        for changes, probability in zip(look.right_changes, look.right_probabilities)
    )
    return {
        "threshold": threshold,
        "repaired": repaired / len(looks),
        "changed_wrongly": (len(edited) - repaired) / len(looks),
        "right_spoiled": spoiled / sum(len(look.right_changes) for look in looks),
    }
