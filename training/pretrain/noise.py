"""Noise for canvases: masks, and wrong visible tokens that the model has to detect.

A denoiser trained on masks alone trusts its own mistakes. So a share of the visible tokens is replaced by wrong ones,
and the clean token is the target everywhere (GIDD, arXiv 2503.04482; Seed Diffusion, arXiv 2508.02193). Wrong tokens
have three sources: the prefix stream (its most probable token that is not the right one, a mistake that the model
itself would make), other tokens of the window, and any token of the vocabulary. `reveal_own` adds a fourth: the canvas
itself one step earlier, which has the mistakes that the sampler makes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.model.config import SpecialTokens

WRONG_FROM_MODEL, WRONG_FROM_WINDOW = 0.45, 0.35  # the rest: uniform over the vocabulary
# reveal thresholds of the steps that `reveal_own` takes; a lower one makes more mistakes
REVEAL_MIN, REVEAL_MAX = 0.1, 0.9


@dataclass
class Noisy:
    """A noisy canvas. All (batch, canvases, slots).

    xt: input tokens; alive: slots that exist (those after a visible <|eom|> are dropped); masked: slots that are
    <|mask|>; wrong: visible slots whose token was replaced.
    """

    xt: Tensor
    alive: Tensor
    masked: Tensor
    wrong: Tensor


def mask_rate(shape: tuple[int, ...], all_mask_share: float, device: torch.device) -> Tensor:
    """Share of masked slots of each canvas: 1 (pure noise) with probability all_mask_share, else uniform in (0, 1]."""
    t = 1 - torch.rand(shape, device=device)
    return torch.where(torch.rand(shape, device=device) < all_mask_share, 1.0, t)


def ends_of(tokens: Tensor, special: SpecialTokens) -> Tensor:
    """Where a completion ends: <|eom|> or <|endoftext|>."""
    return (tokens == special.eom) | (tokens == special.end_of_text)


def after_first(ends: Tensor) -> Tensor:
    """Slots after the first true one of their canvas."""
    return (ends.int().cumsum(-1) - ends.int()) > 0


def add_noise(
    x0: Tensor,
    t: Tensor,
    special: SpecialTokens,
    corrupt_share: float,
    corrupt_rate: float,
    from_model: Tensor,
    window: Tensor,
    vocab_size: int,
) -> Noisy:
    """x0 (batch, canvases, slots) clean; t (batch, canvases) mask rates; from_model like x0: the model's wrong guesses;
    window (batch, tokens)."""
    masked = torch.rand(x0.shape, device=x0.device) < t[..., None]
    padding = x0 == special.pad
    # <|pad|> is never revealed: after a masked end all slots are masks, after a visible one no slot exists
    masked = masked | padding
    alive = ~after_first(ends_of(x0, special) & ~masked)

    rate = torch.rand(t.shape, device=x0.device) * corrupt_rate
    rate = torch.where(torch.rand(t.shape, device=x0.device) < corrupt_share, rate, 0.0)
    # a visible end is always right: a wrong one would drop slots, and their targets with them
    wrong = (torch.rand(x0.shape, device=x0.device) < rate[..., None]) & ~masked & ~ends_of(x0, special)
    source = torch.rand(x0.shape, device=x0.device)
    elsewhere = window.gather(1, torch.randint(window.shape[1], x0.flatten(1).shape, device=x0.device)).reshape(
        x0.shape
    )
    anything = torch.randint(max(vars(special).values()) + 1, vocab_size, x0.shape, device=x0.device)
    token = torch.where(
        source < WRONG_FROM_MODEL,
        from_model,
        torch.where(source < WRONG_FROM_MODEL + WRONG_FROM_WINDOW, elsewhere, anything),
    )
    wrong = wrong & (token != x0) & ~ends_of(token, special)
    xt = torch.where(masked, special.mask, torch.where(wrong, token, x0))
    return Noisy(xt, alive, masked & alive, wrong & alive)


def reveal_own(noisy: Noisy, x0: Tensor, logits: Tensor, special: SpecialTokens) -> Noisy:
    """The canvas after one denoising step: masked slots with enough confidence take the model's token, right or wrong.

    logits (batch, canvases, slots, vocabulary) of noisy.xt. Each canvas has its own reveal threshold, uniform between
    REVEAL_MIN and REVEAL_MAX, and reveals at least its most confident slot, as the sampler does. Only right ends are
    revealed: a wrong one would drop slots, and their targets with them.
    """
    possible = logits.clone()
    possible[..., [special.mask, special.prefix, special.suffix]] = -torch.inf
    sure, token = torch.softmax(possible.float(), dim=-1).max(dim=-1)
    ends = ends_of(token, special)
    may = noisy.masked & (token != special.pad) & (~ends | (token == x0))
    threshold = torch.rand(x0.shape[:2], device=x0.device)[..., None] * (REVEAL_MAX - REVEAL_MIN) + REVEAL_MIN
    sure = sure.masked_fill(~may, 0.0)
    shown = may & ((sure >= threshold) | (sure == sure.amax(dim=-1, keepdim=True)))
    xt = torch.where(shown, token, noisy.xt)
    masked = noisy.masked & ~shown
    wrong = noisy.wrong | (shown & (token != x0))
    alive = noisy.alive & ~after_first(ends_of(x0, special) & ~masked)
    return Noisy(xt, alive, masked & alive, wrong & alive)
