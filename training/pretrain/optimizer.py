"""Muon for the matrices of the layers, AdamW for embedding and norms.

Muon (Jordan et al., https://kellerjordan.github.io/posts/muon/) orthogonalises the momentum of a matrix by a
Newton-Schulz iteration. In short runs it needs markedly fewer tokens than AdamW (training/LOG.md).
"""

from torch import nn, optim

from training.model.config import TrainConfig


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[optim.Optimizer]:
    """One optimizer, or two. Every group has a `peak_lr`, which the schedule scales."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    embeddings = [p for name, p in model.named_parameters() if "embed" in name]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": embeddings, "peak_lr": config.adamw_lr, "weight_decay": 0.0},
        {"params": norms, "peak_lr": config.adamw_lr, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        groups.append({"params": matrices, "peak_lr": config.adamw_lr, "weight_decay": config.weight_decay})
        return [optim.AdamW(groups, betas=(0.9, 0.95), fused=True)]
    if config.optimizer != "muon":
        raise ValueError(f"optimizer is {config.optimizer!r}, expected muon or adamw")
    muon = {"params": matrices, "peak_lr": config.muon_lr, "weight_decay": config.weight_decay}
    return [
        optim.Muon([muon], momentum=0.95, nesterov=True, adjust_lr_fn="original"),
        optim.AdamW(groups, betas=(0.9, 0.95)),
    ]
