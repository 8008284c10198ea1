"""Self-correction: wrong tokens are planted in a canvas that is right otherwise, and one denoising pass looks at it.

A denoiser that was trained on masks alone believes what it sees. Counted are, for each edit threshold, planted tokens
that the pass would set right, those it would turn into other wrong ones, and right tokens that it would spoil; and what
the pass would find in the same places were they masked: as much as any self-correction of this model can find there.
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
    "plausible": "what the prefix stream thinks likeliest",
    "early": "the canvas's own mistakes on pure noise, the least sure first",
}


@dataclass(frozen=True)
class Opinion:
    """What a pass thinks of one slot: whether its best token is another than it says, how probable, whether the truth."""

    changes: bool
    probability: float
    truth: bool


@dataclass
class Look:
    """Opinions of a canvas with planted tokens: of the planted slots, of the right ones, and of the planted slots when
    they are masked instead."""

    planted: list[Opinion] = field(default_factory=list)
    right: list[Opinion] = field(default_factory=list)
    masked: list[Opinion] = field(default_factory=list)


def wrong_token(
    kind: str, ids: list[int], slot: int, model: Denoiser, special: SpecialTokens, prefix: Context, rng: random.Random
) -> int:
    """A token, "any" or "plausible", that is not the one of the slot and not special."""
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
    """Slots of the middle at which the pass over pure noise says another text token than ids: slot → token, the least
    sure first."""
    probabilities, best = _opinions([special.mask] * width, width, model, special, prefix, suffix)
    forbidden = vars(special).values()
    slots = range(min(len(ids), width))
    wrong = [slot for slot in slots if best[slot] != ids[slot] and best[slot] not in forbidden]
    return {slot: best[slot] for slot in sorted(wrong, key=lambda slot: probabilities[slot])}


@torch.no_grad()
def look_at_planted(
    kind: str,
    count: int,
    ids: list[int],
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    rng: random.Random,
) -> Look | None:
    """ids: the right middle; of a long one the first canvas is looked at. Plants `count` wrong tokens; None where there
    is no place for so many, or the canvas makes fewer mistakes."""
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
    look = Look()
    for tokens in (canvas, hidden):
        probabilities, best = _opinions(tokens, width, model, special, prefix, suffix)
        for slot, token in enumerate(tokens):
            opinion = Opinion(best[slot] != token, probabilities[slot], best[slot] == right[slot])
            if tokens is hidden:
                look.masked += [opinion] if slot in planted else []
            else:
                (look.planted if slot in planted else look.right).append(opinion)
    return look


def _opinions(tokens: list[int], width: int, model, special: SpecialTokens, prefix, suffix):
    """The best token of each slot and its probability, as the sampler would have them: special tokens but ends out."""
    logits = canvas_logits(model, tokens, width, prefix, suffix)
    probabilities = torch.softmax(logits.float(), dim=-1)
    probabilities[:, [special.mask, special.prefix, special.suffix, special.pad]] = 0
    return (part.tolist() for part in probabilities.max(dim=-1))


def repair_rates(looks: list[Look], threshold: float) -> dict[str, float]:
    """Shares at an edit threshold: of planted tokens, of right tokens, and of planted places when masked."""
    planted = [opinion for look in looks for opinion in look.planted]
    edited = [opinion for opinion in planted if opinion.changes and opinion.probability >= threshold]
    repaired = sum(opinion.truth for opinion in edited)
    right = [opinion for look in looks for opinion in look.right]
    masked = [opinion for look in looks for opinion in look.masked]
    return {
        "threshold": threshold,
        "canvases": len(looks),
        "repaired": repaired / len(planted),
        "changed_wrongly": (len(edited) - repaired) / len(planted),
        "right_spoiled": sum(o.changes and o.probability >= threshold for o in right) / max(len(right), 1),
        "found_masked": sum(o.truth and o.probability >= threshold for o in masked) / len(masked),
    }
