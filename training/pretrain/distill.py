"""Distillation to few steps: each slot learns in one pass what the model predicts there after several steps.

Where several completions are good, one pass over pure noise mixes them: the second slot does not know which first token
it follows. Denoising slot by slot does, because each reveal conditions the next. So only the slot with the highest
confidence of a canvas keeps the token of the file as its target. Every other slot gets a soft target: the distribution
that the denoiser itself predicts there after its own reveals. One step then predicts what several would (as in the
distillation of trajectories of d3LLM, arXiv 2601.07568, and the certainty forcing of dParallel, arXiv 2509.26488, with
distributions as targets instead of tokens).

Teacher and student share their weights. They cannot drift together, because the ends of canvases, the visible slots and
the slot with the highest confidence of each canvas always learn the token of the file. A soft target is the prediction
for a slot that has the highest confidence of those left, a case which other batches train on the file. Confidence keeps
its meaning: the probability of a token *given what is revealed with it*.
"""

import torch
from torch import Tensor

from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.pretrain.losses import Batch, canvas_logits
from training.pretrain.noise import Noisy, ends_of


@torch.no_grad()
def teacher_soft_targets(
    model: Denoiser, batch: Batch, noisy: Noisy, logits: Tensor, states, special: SpecialTokens
) -> tuple[Tensor, Tensor]:
    """Reveals noisy.xt greedily, one slot of each canvas a pass, and keeps the predictions that this gives.

    logits (batch, canvases, slots, vocabulary) are those of noisy.xt. Returns which slots get a soft target, (batch,
    canvases, slots) bool: all that are revealed after the first one of their canvas. And the targets, (number of them,
    vocabulary): the probabilities at the reveal of the slot, special tokens excluded, in the type of the logits. Slots
    where the text of batch.x0 has ended are not revealed.
    """
    # Ends are learned from the file only. An end often has the highest confidence early: a model that places ends
    # itself, and learns from its own predictions, writes shorter and shorter completions.
    left = noisy.masked & ~(ends_of(batch.x0, special) | (batch.x0 == special.pad))
    taught = torch.zeros_like(left)
    targets = torch.zeros_like(logits)
    xt, first = noisy.xt, True
    while left.any():
        if not first:
            logits = canvas_logits(model, batch, xt, noisy.alive, states)
        text = logits[left].float()
        text[:, list(vars(special).values())] = -torch.inf
        probabilities = torch.softmax(text, dim=-1)
        best, token = probabilities.max(dim=-1)
        confidence = torch.full(left.shape, -1.0, device=left.device).masked_scatter(left, best)
        surest = left & torch.zeros_like(left).scatter(-1, confidence.argmax(-1, keepdim=True), True)
        if not first:
            targets[surest] = probabilities[surest[left]].to(targets.dtype)
            taught |= surest
        xt = torch.where(surest, torch.zeros_like(xt).masked_scatter(left, token), xt)
        left, first = left & ~surest, False
    return taught, targets[taught]
