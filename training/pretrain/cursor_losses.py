"""One training pass of a shifted denoiser that begins as a language model.

1. prefix stream of each window, causal; next-token loss, and where a base is given, cross-entropy against its own
   distribution
2. suffix streams from the horizons on, causal as well, with the same losses for the last horizon of each window
3. noise: masks, more of them on the right, and some wrong visible tokens
4. canvas pass: the row of the last known token predicts slot 0, the row of slot j predicts slot j + 1. A slot counts the
   less, the more hidden slots are left of it: its loss is large and mostly what no model can know. With `taught`, each
   hidden slot but the first of a canvas learns what the model itself predicts once those to its left are revealed
   (distill.py), so that several can be revealed in one pass
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model.config import SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser, KeysValues, dense_attention
from training.pretrain.cursor_windows import CursorBatch
from training.pretrain.losses import soft_target_losses, token_losses
from training.pretrain.noise import after_first, ends_of
from training.pretrain.precision import narrow_products

LEFT_RUN_SHARE = 0.75  # canvases whose visible slots are the first ones, as decoding mostly reveals them
States = tuple[list[KeysValues], list[KeysValues]]  # of the prefix and of the suffix streams


def read_streams(model: Denoiser, batch: CursorBatch, special: SpecialTokens) -> tuple[Tensor, Tensor, States]:
    """Normed hidden states of the prefix stream (b, n, hidden), whose row i precedes token i, and of the suffix stream
    (b · h, s, hidden), whose row i precedes token i of batch.suffix[:, 1:]; and keys and values of both, those of the
    prefix once for each of the h horizons of its window."""
    forwards = torch.ones(1, dtype=torch.long, device=batch.prefix.device)
    reading = forwards if model.config.suffix_order == "forward" else -forwards
    before, prefix = model.context(F.pad(batch.prefix[:, :-1], (1, 0), value=special.prefix), forwards)
    after, suffix = model.context(batch.suffix, reading)
    if batch.horizons > 1:
        prefix = [tuple(part.repeat_interleave(batch.horizons, 0) for part in layer) for layer in prefix]
    return before, after[:, :-1], (prefix, suffix)


def canvas_hidden(
    model: Denoiser, batch: CursorBatch, xt: Tensor, alive: Tensor, states: States, width: int | None = None
) -> Tensor:
    """Normed hidden states of the rows that predict each slot of xt (b, canvases, slots); width: that of
    `Denoiser.canvas`."""
    rows = torch.cat((batch.before[..., None], xt[..., :-1]), dim=-1)
    there = torch.cat((torch.ones_like(alive[..., :1]), alive[..., :-1]), dim=-1)
    seen = batch.prefix_seen - 1, batch.suffix_seen
    return model.canvas(rows, there, *states, *seen, dense_attention, width, causal=batch.runs)


def add_left_noise(x0: Tensor, special: SpecialTokens, config: TrainConfig, window: Tensor, vocabulary: int):
    """Noisy canvases: (xt, alive, to_find), all shaped like x0 (b, canvases, slots).

    A share is pure noise; of the others most show their first slots only. Some visible tokens are replaced."""
    slots, device = x0.shape[-1], x0.device
    shape = x0.shape[:-1]
    slot = torch.arange(slots, device=device)
    run = slot >= torch.randint(1, max(slots, 2), shape, device=device)[..., None]
    scattered = torch.rand(x0.shape, device=device) < torch.rand(shape, device=device)[..., None]
    masked = torch.where((torch.rand(shape, device=device) < LEFT_RUN_SHARE)[..., None], run, scattered)
    masked = masked | (torch.rand(shape, device=device) < config.all_mask_share)[..., None] | (x0 == special.pad)
    alive = ~after_first(ends_of(x0, special) & ~masked)
    rate = torch.where(torch.rand(shape, device=device) < config.corrupt_share, config.corrupt_rate, 0.0)
    wrong = (torch.rand(x0.shape, device=device) < rate[..., None]) & ~masked & ~ends_of(x0, special)
    # a window's own tokens are the likeliest mistakes, any token the rarest
    flat, last_special = window.flatten(), max(vars(special).values())
    elsewhere = flat[torch.randint(len(flat), x0.shape, device=device)]
    anything = torch.randint(last_special + 1, vocabulary, x0.shape, device=device)
    token = torch.where(torch.rand(x0.shape, device=device) < 0.7, elsewhere, anything)
    wrong = wrong & (token != x0) & (token > last_special)
    xt = torch.where(masked, special.mask, torch.where(wrong, token, x0))
    return xt, alive, (masked | wrong) & alive


def soft_losses(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of logits (…, vocabulary) against the distribution of the teacher's logits: (…)."""
    return -(teacher.float().softmax(-1) * logits.float().log_softmax(-1)).sum(-1)


@torch.no_grad()
def rollout_targets(
    model: Denoiser,
    batch: CursorBatch,
    xt: Tensor,
    alive: Tensor,
    states: States,
    logits: Tensor,
    special: SpecialTokens,
) -> tuple[Tensor, Tensor]:
    """Reveals the hidden slots of xt greedily from left to right, the logits (b, canvases, slots, vocabulary) of xt
    being there. Returns which slots get a soft target, all that are revealed after the first one of their canvas: (b,
    canvases, slots) bool. And the targets (number of them, vocabulary): the probabilities at the reveal of the slot,
    special tokens excluded. Ends, and slots after them, are learned from the file."""
    # a model that learned ends from its own predictions would write shorter and shorter completions
    open_slots = (xt == special.mask) & ~(ends_of(batch.x0, special) | (batch.x0 == special.pad))
    teaching = torch.zeros_like(open_slots)
    targets = torch.zeros_like(logits)
    revealed = torch.zeros_like(open_slots[..., 0])  # whether a slot of the canvas has been revealed
    names = list(vars(special).values())
    for slot in range(xt.shape[-1]):
        here = open_slots[..., slot]
        if slot == 0:
            text = logits[..., slot, :].float()
        else:
            text = model.logits(canvas_hidden(model, batch, xt, alive, states)[..., slot, :]).float()
        text[..., names] = -torch.inf
        probabilities = text.softmax(-1)
        targets[..., slot, :] = probabilities.to(targets.dtype)
        teaching[..., slot] = here & revealed
        revealed = revealed | here
        token = torch.where(here, probabilities.argmax(-1), xt[..., slot])
        xt = torch.cat((xt[..., :slot], token[..., None], xt[..., slot + 1 :]), dim=-1)
    return teaching, targets[teaching]


def cursor_losses(
    model: Denoiser,
    batch: CursorBatch,
    special: SpecialTokens,
    config: TrainConfig,
    base: Denoiser | None = None,
    taught: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to minimise, and its parts in nats: prefix and suffix (a token), base (against its distribution), canvas
    (a hidden or wrong slot, weighted; `taught` with soft targets), first (slot 0 alone where hidden)."""
    before, after, states = read_streams(model, batch, special)
    # the head is a seventh of the work: not every position is needed, all of them have been attended to
    chosen, chosen_after = (
        torch.randperm(rows.shape[1], device=rows.device)[: int(rows.shape[1] * config.prefix_loss_share)]
        for rows in (before, after)
    )
    # suffixes of the last horizons: the text of the others is in the prefix stream as well
    suffix = batch.suffix[:: batch.horizons]
    targets = torch.cat((batch.prefix[:, chosen], suffix[:, 1:][:, chosen_after]), dim=1)
    there = targets != special.pad
    logits = model.logits(torch.cat((before[:, chosen], after[:: batch.horizons][:, chosen_after]), dim=1))
    losses = token_losses(logits, targets)
    taken = len(chosen)
    stream_loss = (losses * there).sum() / there.sum()
    parts = {
        "prefix": ((losses * there)[:, :taken].sum() / there[:, :taken].sum().clamp(min=1)).detach(),
        "suffix": ((losses * there)[:, taken:].sum() / there[:, taken:].sum().clamp(min=1)).detach(),
    }
    if base is not None and config.base_share:
        with torch.no_grad():
            theirs, after_theirs, _ = read_streams(base, replace(batch, suffix=suffix), special)
            theirs = base.logits(torch.cat((theirs[:, chosen], after_theirs[:, chosen_after]), dim=1))
        soft = (soft_losses(logits, theirs) * there).sum() / there.sum()
        parts["base"] = soft.detach()
        stream_loss = (1 - config.base_share) * stream_loss + config.base_share * soft
    loss = config.prefix_loss_weight * stream_loss
    if config.canvas_loss_weight:
        if batch.runs:  # each row is that of the last known token
            xt, alive = batch.x0, batch.x0 != special.pad
            to_find = alive
        else:
            xt, alive, to_find = add_left_noise(batch.x0, special, config, batch.prefix, model.config.vocab_size)
        logits = model.logits(canvas_hidden(model, batch, xt, alive, states))
        losses = token_losses(logits, batch.x0)
        hidden = (xt == special.mask).long()
        weights = alive * config.hidden_left_weight ** (hidden.cumsum(-1) - hidden)
        if taught:
            teaching, targets = rollout_targets(model, batch, xt, alive, states, logits.detach(), special)
            losses = losses.masked_scatter(teaching, soft_target_losses(logits[teaching], targets))
        count = (weights * to_find).sum().clamp(min=1)
        loss = loss + config.canvas_loss_weight * (losses * weights).sum() / count
        first = to_find[..., 0]
        parts |= {
            "taught" if taught else "canvas": ((losses * weights * to_find).sum() / count).detach(),
            "first": ((losses[..., 0] * first).sum() / first.sum().clamp(min=1)).detach(),
        }
    return loss, parts


class CursorValidator:
    """Losses on fixed windows of held-out packages: `prefix` (nats a token), and for canvases of 4 slots that are all
    mask `slot_j`, with the share of first choices that are right, `right_j`; `given_j` is slot j with the slots
    before it visible. slot_0 apart: `text` where there is text, `end` where nothing is to be added.
    `run_text`, `run_end`: the same for all slots of runs of rows."""

    SLOTS = 4

    def __init__(self, batches: list[CursorBatch], special: SpecialTokens, device: torch.device):
        self.special, self.device = special, device
        self.batches = [batch.to(device) for batch in batches]

    @torch.no_grad()
    def scores(self, model: Denoiser) -> dict[str, float]:
        sums: dict[str, list[float]] = {}

        def add(name: str, values: Tensor, where: Tensor) -> None:
            total = sums.setdefault(name, [0.0, 0])
            total[0] += (values.float() * where).sum().item()
            total[1] += int(where.sum())

        for batch in self.batches:
            with narrow_products(self.device):
                before, _, states = read_streams(model, batch, self.special)
                add("prefix", token_losses(model.logits(before), batch.prefix), batch.prefix != self.special.pad)
                for visible in range(self.SLOTS):
                    masked = torch.arange(self.SLOTS, device=self.device) >= visible
                    xt = torch.where(masked, self.special.mask, batch.x0)
                    ended = after_first(ends_of(xt, self.special))
                    logits = model.logits(canvas_hidden(model, batch, xt, ~ended, states))
                    losses = token_losses(logits, batch.x0)
                    right = logits.argmax(-1) == batch.x0
                    text = (batch.x0 != self.special.pad) & ~ended
                    if visible:
                        add(f"given_{visible}", losses[..., visible], text[..., visible])
                        continue
                    ends = batch.x0[..., 0] == self.special.eom
                    add("text", losses[..., 0], text[..., 0] & ~ends)
                    add("end", losses[..., 0], ends)
                    for slot in range(self.SLOTS):
                        add(f"slot_{slot}", losses[..., slot], text[..., slot])
                        add(f"right_{slot}", right[..., slot], text[..., slot])
                run = replace(batch, runs=True)
                there = batch.x0 != self.special.pad
                ends = batch.x0 == self.special.eom
                width = model.config.canvas_slots
                losses = token_losses(model.logits(canvas_hidden(model, run, batch.x0, there, states, width)), batch.x0)
                add("run_text", losses, there & ~ends)
                add("run_end", losses, ends)
        return {name: round(total / max(count, 1), 4) for name, (total, count) in sums.items()}
