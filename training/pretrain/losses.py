"""The losses of one training pass: both context streams at every token of a window, its canvases at every slot.

1. context pass: the prefix stream and the reversed suffix stream of each window, stacked in one causal batch
2. next-token loss on the prefix stream, previous-token loss on the suffix stream
3. noise: masks, and wrong visible tokens, some of them wrong guesses of the prefix stream in 2; for a share of the
   batches the canvas then takes one denoising step of its own, mistakes included
4. canvas pass over the states of 1; loss on every slot that exists, with the clean token as target (or a soft target
   from the teacher: distill.py)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model.config import SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser, block_attention, dense_attention
from training.pretrain.noise import add_noise, mask_rate, reveal_own


@dataclass
class Batch:
    """window (batch, tokens); horizon (batch,); x0 (batch, canvases, slots); prefix_seen, suffix_seen (batch,
    canvases). All int64."""

    window: Tensor
    horizon: Tensor
    x0: Tensor
    prefix_seen: Tensor
    suffix_seen: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(t.to(device, non_blocking=True) for t in vars(self).values()))


def prefix_streams(window: Tensor, special: SpecialTokens) -> tuple[Tensor, Tensor]:
    """window (batch, n) → tokens (batch, n+1) of the prefix streams, and their signs."""
    sign = torch.ones(window.shape[0], dtype=torch.long, device=window.device)
    return F.pad(window, (1, 0), value=special.prefix), sign


def context_streams(window: Tensor, horizon: Tensor, special: SpecialTokens) -> tuple[Tensor, Tensor]:
    """Tokens (2·batch, n+1) of the prefix streams of windows (batch, n), then of the suffix streams, which are read
    backwards from the horizons (batch,) and padded with <|pad|>; and the signs of all of them."""
    prefix, sign = prefix_streams(window, special)
    index = horizon[:, None] - 1 - torch.arange(window.shape[1], device=window.device)
    backwards = torch.where(index >= 0, window.gather(1, index.clamp(min=0)), special.pad)
    return torch.cat((prefix, F.pad(backwards, (1, 0), value=special.suffix))), torch.cat((sign, -sign))


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (…, vocabulary) against targets (…), in nats, float32, shaped like targets.

    Autocast is off, because it would convert the logits to float32 first: on a CPU the conversion costs four times as
    much as the loss itself. The kernels sum in float32 in any case; a GPU's compiler fuses the conversion.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float() if logits.is_cuda else logits
        flat = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return flat.view_as(targets).float()


def soft_target_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (n, vocabulary) against probabilities (n, vocabulary), in nats, float32: (n,)."""
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(logits.float(), targets.float(), reduction="none")


def ar_loss(model: Denoiser, window: Tensor, special: SpecialTokens) -> Tensor:
    """Next-token loss of the prefix stream alone, in nats per token: () float."""
    streams, sign = prefix_streams(window, special)
    hidden, _ = model.context(streams[:, :-1], sign)
    return token_losses(model.logits(hidden), window).mean()


# (model, batch, noisy, logits of noisy, states, special) → the slots that get soft targets, and those targets.
Teacher = Callable[..., tuple[Tensor, Tensor]]


def three_stream_losses(
    model: Denoiser, batch: Batch, special: SpecialTokens, config: TrainConfig, teacher: Teacher | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to minimise, and its parts in nats: prefix and suffix (per token), canvas (per hidden or wrong slot;
    with a teacher it is called `taught`, and is against the soft targets where there are some)."""
    rows, n = batch.window.shape
    streams, sign = context_streams(batch.window, batch.horizon, special)
    hidden, states = model.context(streams, sign)
    targets = streams[:, 1:]
    logits = model.logits(hidden[:, :-1])
    losses = token_losses(logits, targets)
    prefix_loss = losses[:rows].mean()
    suffix_loss = losses[rows:][targets[rows:] != special.pad].mean()

    with torch.no_grad():
        # the most probable wrong token at every position of the window, gathered for the slots
        guesses = logits[:rows].scatter(2, targets[:rows, :, None], -torch.inf).argmax(-1)
        slots = batch.x0.shape[-1]
        place = (batch.prefix_seen[..., None] - 1 + torch.arange(slots, device=guesses.device)).clamp(max=n - 1)
        from_model = guesses.gather(1, place.flatten(1)).view_as(batch.x0)
        t = mask_rate(batch.prefix_seen.shape, config.all_mask_share, guesses.device)
        noisy = add_noise(
            batch.x0,
            t,
            special,
            config.corrupt_share,
            config.corrupt_rate,
            from_model,
            batch.window,
            model.config.vocab_size,
        )
        if torch.rand(()) < config.own_step_share:
            logits = canvas_logits(model, batch, noisy.xt, noisy.alive, states)
            noisy = reveal_own(noisy, batch.x0, logits, special)
    logits = canvas_logits(model, batch, noisy.xt, noisy.alive, states)
    slot_losses = token_losses(logits, batch.x0)
    if teacher:
        taught, targets = teacher(model, batch, noisy, logits.detach(), states, special)
        slot_losses = slot_losses.masked_scatter(taught, soft_target_losses(logits[taught], targets))
    to_find = noisy.masked | noisy.wrong
    count = to_find.sum().clamp(min=1)
    canvas_loss = (slot_losses * noisy.alive).sum() / count
    loss = canvas_loss + config.prefix_loss_weight * prefix_loss + config.suffix_loss_weight * suffix_loss
    parts = {
        "prefix": prefix_loss.detach(),
        "suffix": suffix_loss.detach(),
        "taught" if teacher else "canvas": ((slot_losses * to_find).sum() / count).detach(),
    }
    return loss, parts


def canvas_losses(model: Denoiser, batch: Batch, xt: Tensor, alive: Tensor, states) -> Tensor:
    """Cross-entropy of each slot against x0, (batch, canvases, slots), given the states of both stacked streams."""
    return token_losses(canvas_logits(model, batch, xt, alive, states), batch.x0)


def canvas_logits(model: Denoiser, batch: Batch, xt: Tensor, alive: Tensor, states) -> Tensor:
    """Logits of each slot, (batch, canvases, slots, vocabulary), given the states of both stacked streams."""
    rows = batch.window.shape[0]
    prefix = [(k[:rows], v[:rows]) for k, v in states]
    suffix = [(k[rows:], v[rows:]) for k, v in states]
    attention = block_attention if xt.is_cuda else dense_attention
    hidden = model.canvas(xt, alive, prefix, suffix, batch.prefix_seen, batch.suffix_seen, attention)
    return model.logits(hidden)
