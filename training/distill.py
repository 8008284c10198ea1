"""Few steps: the denoiser learns to say in one pass what it says in many.

Where a place has several good completions, one pass over pure noise mixes them; denoising step by step picks one, since
each reveal conditions the next. So the model's own step-by-step text, not the text of the file, is made the target of
its first pass: the same picture from fewer steps. Hard targets sharpen what was right already, which lets more slots
pass the reveal threshold at once (certainty forcing, dParallel, arXiv 2509.26488; trajectories as in d3LLM, arXiv
2601.07568). Teacher and student are the same weights; batches with the true text alternate with these and keep them
from drifting.

1. teacher (no gradient): `settle` runs the sampler on noisy canvases for up to TEACHER_STEPS steps
2. student: cross-entropy of the pass over the same noisy canvases against the settled text
"""

import torch
from torch import Tensor

from training.config import SpecialTokens
from training.denoiser import Denoiser
from training.losses import Batch, canvas_logits
from training.noise import Noisy, behind_first, ends_of

TEACHER_STEPS = 8  # enough to settle a narrow canvas slot by slot
TEACHER_REVEAL = 0.8  # careful: the teacher is what the student will be


@torch.no_grad()
def settle(
    model: Denoiser, batch: Batch, noisy: Noisy, states, special: SpecialTokens, steps: int = TEACHER_STEPS
) -> Tensor:
    """Denoises noisy.xt greedily and returns the text (batch, canvases, slots): <|pad|> behind the end.

    Reveals what is at least TEACHER_REVEAL sure and the surest slot of each canvas; the last step reveals everything.
    Visible tokens stay, but wrong ones: those are as in batch.x0.
    """
    xt, masked, alive = noisy.xt.clone(), noisy.masked.clone(), noisy.alive.clone()
    for step in range(steps):
        logits = canvas_logits(model, batch, xt, alive, states)
        logits[..., [special.mask, special.prefix, special.suffix]] = -torch.inf
        sure, token = torch.softmax(logits.float(), dim=-1).max(dim=-1)
        sure = sure.masked_fill(~masked, -1.0)
        candidates = masked & (token != special.pad)
        surest = candidates & (sure == sure.masked_fill(~candidates, -1.0).amax(dim=-1, keepdim=True))
        shown = masked & (sure >= 0) if step == steps - 1 else surest | (candidates & (sure >= TEACHER_REVEAL))
        xt = torch.where(shown, token, xt)
        masked = masked & ~shown
        behind = behind_first((ends_of(xt, special) | (xt == special.pad)) & ~masked)
        xt = torch.where(behind, special.pad, xt)
        alive, masked = alive & ~behind, masked & ~behind
        if not masked.any():
            break
    return torch.where(noisy.wrong, batch.x0, xt)
