"""Self-correction: one denoising pass over a canvas that is right except for planted wrong tokens.

A denoiser that was trained on masks alone trusts every visible token. For each edit threshold this counts the planted
tokens that the pass would correct, those that it would change to another wrong token, and the right tokens that it
would change. It also counts the tokens that the pass finds at the same places when they are masked: the upper bound of
any self-correction of this model there.
"""

import random
from dataclasses import dataclass, field

import torch

from training.evaluation.sampler import Context, canvas_logits
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser

EDIT_THRESHOLDS = (0.5, 0.7, 0.9)
COUNTS = (1, 2, 4)  # wrong tokens in one canvas
KINDS = {
    "any": "any token",
    "plausible": "the most probable wrong token of the prefix stream",
    "early": "the canvas's own mistakes on pure noise, lowest confidence first",
}


@dataclass(frozen=True)
class SlotPrediction:
    """The prediction for one slot. changes: its best token is another than the slot has; truth: it is the right one."""

    changes: bool
    probability: float
    truth: bool


@dataclass
class PlantedCanvas:
    """Predictions for a canvas with planted tokens: for the planted slots, for the right ones, and for the planted
    slots when they are masked instead."""

    planted: list[SlotPrediction] = field(default_factory=list)
    right: list[SlotPrediction] = field(default_factory=list)
    masked: list[SlotPrediction] = field(default_factory=list)


def wrong_token(
    kind: str, ids: list[int], slot: int, model: Denoiser, special: SpecialTokens, prefix: Context, rng: random.Random
) -> int:
    """A token of the kind "any" or "plausible" that differs from the token of the slot and is not special."""
    forbidden = [*vars(special).values(), ids[slot]]
    if kind == "any":
        return rng.choice([token for token in range(model.config.vocab_size) if token not in forbidden])
    before = prefix.whole()
    if slot:
        before.extend(ids[:slot])
    logits = model.logits(before.last_hidden).clone()
    logits[forbidden] = -torch.inf
    return int(logits.argmax())


def early_mistakes(
    ids: list[int], width: int, model: Denoiser, special: SpecialTokens, prefix: Context, suffix: Context | None
) -> dict[int, int]:
    """Slots of the middle at which a pass over pure noise predicts another text token than `ids`: slot → token, the
    lowest confidence first."""
    probabilities, best = _predictions([special.mask] * width, width, model, special, prefix, suffix)
    forbidden = vars(special).values()
    slots = range(min(len(ids), width))
    wrong = [slot for slot in slots if best[slot] != ids[slot] and best[slot] not in forbidden]
    return {slot: best[slot] for slot in sorted(wrong, key=lambda slot: probabilities[slot])}


@torch.no_grad()
def predict_planted(
    kind: str,
    count: int,
    ids: list[int],
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    rng: random.Random,
) -> PlantedCanvas | None:
    """Plants `count` wrong tokens into the middle `ids`, of which only the first canvas is used, and predicts its
    slots. None if there are not so many slots, or not so many early mistakes."""
    width = min((w for w in model.config.canvas_widths if w > len(ids)), default=model.config.canvas_slots)
    places = min(len(ids), width)
    if kind == "early":
        planted = dict(list(early_mistakes(ids, width, model, special, prefix, suffix).items())[:count])
    else:
        slots = rng.sample(range(places), min(count, places))
        planted = {slot: wrong_token(kind, ids, slot, model, special, prefix, rng) for slot in slots}
    if len(planted) < count:
        return None
    right = [*ids, special.eom][:width]
    canvas = [planted.get(slot, token) for slot, token in enumerate(right)]
    hidden = [special.mask if slot in planted else token for slot, token in enumerate(right)]
    predicted = PlantedCanvas()
    for tokens in (canvas, hidden):
        probabilities, best = _predictions(tokens, width, model, special, prefix, suffix)
        for slot, token in enumerate(tokens):
            prediction = SlotPrediction(best[slot] != token, probabilities[slot], best[slot] == right[slot])
            if tokens is hidden:
                predicted.masked += [prediction] if slot in planted else []
            else:
                (predicted.planted if slot in planted else predicted.right).append(prediction)
    return predicted


def _predictions(tokens: list[int], width: int, model, special: SpecialTokens, prefix, suffix):
    """The probability of the best token of each slot and that token, as in the sampler: no special tokens except
    ends."""
    logits = canvas_logits(model, tokens, width, prefix, suffix)
    probabilities = torch.softmax(logits.float(), dim=-1)
    probabilities[:, [special.mask, special.prefix, special.suffix, special.pad]] = 0
    return (part.tolist() for part in probabilities.max(dim=-1))


def repair_rates(canvases: list[PlantedCanvas], threshold: float) -> dict[str, float]:
    """Shares at an edit threshold: of planted tokens, of right tokens, and of planted slots when masked."""
    planted = [prediction for canvas in canvases for prediction in canvas.planted]
    edited = [prediction for prediction in planted if prediction.changes and prediction.probability >= threshold]
    repaired = sum(prediction.truth for prediction in edited)
    right = [prediction for canvas in canvases for prediction in canvas.right]
    masked = [prediction for canvas in canvases for prediction in canvas.masked]
    return {
        "threshold": threshold,
        "canvases": len(canvases),
        "repaired": repaired / len(planted),
        "changed_wrongly": (len(edited) - repaired) / len(planted),
        "right_spoiled": sum(o.changes and o.probability >= threshold for o in right) / max(len(right), 1),
        "found_masked": sum(o.truth and o.probability >= threshold for o in masked) / len(masked),
    }
