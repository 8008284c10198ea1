"""Few steps: every slot learns to say at once what it will say when those that are surer than it have been revealed.

Where a place has several good completions, one pass over pure noise mixes them: the second slot does not know which
first token it follows. Denoising slot by slot does, since each reveal conditions the next. So a slot that is not the
surest of its canvas gets as its target not the token of the file, but what the denoiser itself believes there behind its
own reveals. One step can then say what several say (as in the distillation of trajectories of d3LLM, arXiv 2601.07568,
and the certainty forcing of dParallel, arXiv 2509.26488, with beliefs as targets instead of tokens).

Teacher and student are the same weights, and cannot talk each other into anything: where a canvas ends, what is visible,
and the surest slot of each canvas always learn the truth, and a belief is that of a slot that is the surest of what is
left, which learns the truth in other batches. Confidence stays what it was, the probability of a token *behind what
is revealed with it*.
"""

import torch
from torch import Tensor

from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.pretrain.losses import Batch, canvas_logits
from training.pretrain.noise import Noisy, ends_of


@torch.no_grad()
def later_beliefs(
    model: Denoiser, batch: Batch, noisy: Noisy, logits: Tensor, states, special: SpecialTokens
) -> tuple[Tensor, Tensor]:
    """Reveals noisy.xt greedily, the surest slot of each canvas first, and notes what the others say when they are.

    logits (batch, canvases, slots, vocabulary) are those of noisy.xt. Returns which slots wait for another one, (batch,
    canvases, slots) bool, and their beliefs when it is their turn, (number of them, vocabulary): probabilities, special
    tokens excluded, in the type of the logits. Slots where the text of batch.x0 has ended are not revealed.
    """
    # Ends are left to the truth. What is surest early is often an end: a model that places ends itself, and learns from
    # what it has said, says less and less.
    left = noisy.masked & ~(ends_of(batch.x0, special) | (batch.x0 == special.pad))
    later = torch.zeros_like(left)
    beliefs = torch.zeros_like(logits)
    xt, first = noisy.xt, True
    while left.any():
        if not first:
            logits = canvas_logits(model, batch, xt, noisy.alive, states)
        text = logits[left].float()
        text[:, list(vars(special).values())] = -torch.inf
        probabilities = torch.softmax(text, dim=-1)
        best, token = probabilities.max(dim=-1)
        sure = torch.full(left.shape, -1.0, device=left.device).masked_scatter(left, best)
        surest = left & torch.zeros_like(left).scatter(-1, sure.argmax(-1, keepdim=True), True)
        if not first:
            beliefs[surest] = probabilities[surest[left]].to(beliefs.dtype)
            later |= surest
        xt = torch.where(surest, torch.zeros_like(xt).masked_scatter(left, token), xt)
        left, first = left & ~surest, False
    return later, beliefs[later]
