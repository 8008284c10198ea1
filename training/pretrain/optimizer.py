"""Muon for the matrices of the layers, AdamW for embedding and norms.

Muon (Jordan et al., https://kellerjordan.github.io/posts/muon/) orthogonalises the momentum of a matrix by a
Newton-Schulz iteration. In short runs it needs markedly fewer tokens than AdamW (training/LOG.md).
"""

from torch import nn, optim

from training.model.config import TrainConfig
from training.pretrain.scale_tuning import ScaleTuning

ADAMW = {"betas": (0.9, 0.95)}


def build_tuning_optimizer(tuning: ScaleTuning, config: TrainConfig) -> optim.Optimizer:
    """For what learns of a model that keeps its integers."""
    return optim.AdamW(tuning.groups(config.adamw_lr), fused=True, **ADAMW)


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[optim.Optimizer]:
    """One optimizer, or two, of the parameters that learn. Every group has a `peak_lr`, which the schedule scales."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p for name, p in learning.items() if p.dim() == 2 and "embed" not in name]
    embeddings = [p for name, p in learning.items() if "embed" in name]
    norms = [p for p in learning.values() if p.dim() == 1]
    groups = [
        {"params": embeddings, "peak_lr": config.adamw_lr, "weight_decay": 0.0},
        {"params": norms, "peak_lr": config.adamw_lr, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        groups.append({"params": matrices, "peak_lr": config.adamw_lr, "weight_decay": config.weight_decay})
        return [optim.AdamW(groups, fused=True, **ADAMW)]
    if config.optimizer != "muon":
        raise ValueError(f"optimizer is {config.optimizer!r}, expected muon or adamw")
    muon = {"params": matrices, "peak_lr": config.muon_lr, "weight_decay": config.weight_decay}
    return [
        optim.Muon([muon], momentum=0.95, nesterov=True, adjust_lr_fn="original"),
        optim.AdamW(groups, **ADAMW),
    ]
