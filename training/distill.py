"""Few steps: the denoiser learns to say in one pass what it says in many.

Where a place has several good completions, one pass over pure noise mixes them; denoising step by step picks one, since
each reveal conditions the next. So the model's own step-by-step text, not the text of the file, is made the target of
its first pass: the same picture from fewer steps. Hard targets sharpen what was right already, which lets more slots
pass the reveal threshold at once (certainty forcing, dParallel, arXiv 2509.26488; trajectories as in d3LLM, arXiv
2601.07568). Teacher and student are the same weights: batches with the true text between them, and lengths
that are always the true ones, keep the two from drifting away together (training/LOG.md has what happens otherwise).

1. teacher (no gradient): `settle` runs the sampler on noisy canvases for up to TEACHER_STEPS steps
2. student: cross-entropy of the pass over the same noisy canvases against the settled text
"""

import torch
from torch import Tensor

from training.config import SpecialTokens
from training.denoiser import Denoiser
from training.losses import Batch, canvas_logits
from training.noise import Noisy, ends_of

TEACHER_STEPS = 8  # enough to settle a narrow canvas slot by slot
TEACHER_REVEAL = 0.8  # careful: the teacher is what the student will be


@torch.no_grad()
def settle(
    model: Denoiser, batch: Batch, noisy: Noisy, states, special: SpecialTokens, steps: int = TEACHER_STEPS
) -> Tensor:
    """Denoises noisy.xt greedily and returns the text (batch, canvases, slots), which is as long as that of batch.x0.

    Reveals what is at least TEACHER_REVEAL sure and the surest slot of each canvas; the last step reveals everything.
    Visible tokens stay, but wrong ones: those are as in batch.x0.
    """
    # Ends stay where they are. What is surest early is often an end: a teacher that places them itself, and learns
    # from what it has said, says less and less.
    text = ~(ends_of(batch.x0, special) | (batch.x0 == special.pad))
    xt, masked = noisy.xt.clone(), noisy.masked & text
    for step in range(steps):
        if not masked.any():
            break
        logits = canvas_logits(model, batch, xt, noisy.alive, states)
        logits[..., list(vars(special).values())] = -torch.inf
        sure, token = torch.softmax(logits.float(), dim=-1).max(dim=-1)
        sure = sure.masked_fill(~masked, -1.0)
        surest = sure == sure.amax(dim=-1, keepdim=True)
        shown = masked & (surest | (sure >= TEACHER_REVEAL) | (step == steps - 1))
        xt = torch.where(shown, token, xt)
        masked = masked & ~shown
    return torch.where(text & ~noisy.wrong, xt, batch.x0)
