"""Validation during training: losses on fixed windows of held-out packages under fixed noise."""

import torch

from training.model.config import SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser
from training.pretrain.data import validation_batches
from training.pretrain.losses import Batch, canvas_losses, context_streams, token_losses
from training.pretrain.noise import after_first, ends_of
from training.pretrain.precision import narrow_products

WIDTHS = (2, 8, 32)  # from the narrowest canvas, which the service opens, to the widest
HALF_SEED = 7


class Validator:
    """Nats per token of the two context streams, nats per slot of canvases: all masks, and half of them revealed."""

    def __init__(self, config: TrainConfig, special: SpecialTokens, device: torch.device):
        self.special, self.device = special, device
        self.batches = {
            width: [batch.to(device) for batch in validation_batches(config, width)]
            for width in WIDTHS
            if width <= config.window_slots
        }

    @torch.no_grad()
    def scores(self, model: Denoiser) -> dict[str, float]:
        """Losses in nats; `noise_B` and `text_B` for all-mask canvases of B slots (over all slots, and over those
        before the end only), `half_B` for half-masked ones over the masked slots."""
        sums: dict[str, list[float]] = {}

        def add(name: str, losses: torch.Tensor, where: torch.Tensor) -> None:
            total = sums.setdefault(name, [0.0, 0])
            total[0] += (losses * where).sum().item()
            total[1] += int(where.sum())

        generator = torch.Generator().manual_seed(HALF_SEED)
        for width, batch in ((width, batch) for width, batches in self.batches.items() for batch in batches):
            with narrow_products(self.device):
                states = self._streams(model, batch, add)
                for name, rate in (("noise", 1.0), ("half", 0.5)):
                    drawn = torch.rand(batch.x0.shape, generator=generator).to(self.device)
                    masked = (drawn < rate) | (batch.x0 == self.special.pad)
                    alive = ~after_first(ends_of(batch.x0, self.special) & ~masked)
                    xt = torch.where(masked, self.special.mask, batch.x0)
                    losses = canvas_losses(model, batch, xt, alive, states)
                    add(f"{name}_{width}", losses, masked & alive)
                    if name == "noise":
                        add(f"text_{width}", losses, batch.x0 != self.special.pad)
        return {name: round(total / max(count, 1), 4) for name, (total, count) in sums.items()}

    def _streams(self, model: Denoiser, batch: Batch, add):
        streams, sign = context_streams(batch.window, batch.horizon, self.special)
        hidden, states = model.context(streams, sign)
        targets = streams[:, 1:]
        losses = token_losses(model.logits(hidden[:, :-1]), targets)
        for name, part, target in zip(("prefix", "suffix"), losses.chunk(2), targets.chunk(2)):
            add(name, part, target != self.special.pad)
        return states
