"""Makes a language model smaller without training: layers and neurons of its MLPs are left out, and the output matrices
of the MLPs that stay are fitted anew, so that the residual stream is again what the whole model has there.

Layer by layer, on the tokens of some windows. What an MLP has to add is the residual stream of the whole model before
the next layer that is kept, minus what arrives here: with that it makes up for the layers that are left out after it,
and for the errors before it. Its output matrix is the least-squares solution. Then neurons go one by one, always the
one whose loss is the least after the others are fitted again (Optimal Brain Surgeon, Hassibi & Stork 1993, with the
Hessian of the layer's output as in Optimal Brain Compression, arXiv 2208.11580).
"""

import copy
import dataclasses
import random
from collections.abc import Collection

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser, Layer, attend_causal, rotate, rotation
from training.pretrain.precision import narrow_products

RIDGE = 0.01  # of the mean of the Hessian's diagonal
WINDOWS_AT_ONCE = 8


def first_tokens(texts: list[str], tokenizer: Tokenizer, count: int, tokens: int, seed: int) -> Tensor:
    """Beginnings of texts that are long enough, <|prefix|> first: (count, tokens + 1)."""
    rng, special = random.Random(seed), SpecialTokens.of(tokenizer)
    rows: list[list[int]] = []
    while len(rows) < count:
        ids = tokenizer.encode(rng.choice(texts)[: 8 * tokens], add_special_tokens=False).ids
        if len(ids) >= tokens:
            rows.append([special.prefix, *ids[:tokens]])
    return torch.tensor(rows)


@torch.no_grad()
def _after_attention(model: Denoiser, layer: Layer, x: Tensor) -> Tensor:
    """The residual stream x (windows, tokens, hidden) after the attention of this layer, float32."""
    positions = torch.arange(x.shape[1])[None]
    turn = [part[:, None] for part in rotation(positions, model.config.head_dim, model.config.rope_theta)]
    parts = []
    for rows in x.split(WINDOWS_AT_ONCE):
        with narrow_products(x.device):
            q, k, v = layer.self_attn.project(layer.input_layernorm(rows))
            added = layer.self_attn.merge(attend_causal(rotate(q, *turn), rotate(k, *turn), v))
        parts.append(rows + added)
    return torch.cat(parts)


@torch.no_grad()
def _neurons(layer: Layer, x: Tensor) -> Tensor:
    """What the output matrix of the MLP multiplies: (windows, tokens, neurons)."""
    with narrow_products(x.device):
        y = layer.post_attention_layernorm(x)
        return F.silu(layer.mlp.gate_proj(y)) * layer.mlp.up_proj(y)


@torch.no_grad()
def _residuals(model: Denoiser, tokens: Tensor) -> list[Tensor]:
    """The residual stream after each layer, bfloat16."""
    x = model.embed_tokens(tokens)
    after = []
    for layer in model.layers:
        x = _after_attention(model, layer, x)
        neurons = _neurons(layer, x)
        with narrow_products(x.device):
            x = x + layer.mlp.down_proj(neurons)
        after.append(x.bfloat16())
    return after


def fit_neurons(weight: Tensor, inputs: Tensor, targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` columns of `weight` (outputs, neurons) to keep, ascending, and the matrix (outputs, count) with which
    they come nearest to `targets` (tokens, outputs), given `inputs` (tokens, neurons); the squared change of `weight`
    costs as well."""
    hessian = (inputs.T @ inputs).double()
    hessian.diagonal().add_(RIDGE * hessian.diagonal().mean())
    missing = (inputs.T @ (targets - inputs @ weight.T)).double()
    fitted = (weight.double() + torch.linalg.solve(hessian, missing).T).float()
    inverse = torch.linalg.inv(hessian).float()
    alive = torch.ones(weight.shape[1], dtype=torch.bool)
    for _ in range(weight.shape[1] - count):
        costs = fitted.pow(2).sum(0) / inverse.diagonal()
        least = int(costs.masked_fill(~alive, torch.inf).argmin())
        row, corner = inverse[least].clone(), inverse[least, least].item()
        fitted.addr_(fitted[:, least].clone(), row, alpha=-1 / corner)
        inverse.addr_(row, row, alpha=-1 / corner)
        inverse[least, least] = 1.0  # the rest of row and column is zero now
        fitted[:, least] = 0.0
        alive[least] = False
    kept = alive.nonzero()[:, 0]
    return kept, fitted[:, kept].contiguous()


def prune(model: Denoiser, tokens: Tensor, removed: Collection[int], neurons: int) -> Denoiser:
    """A model without the layers `removed` and with so many neurons in each MLP, fitted on the prefix streams `tokens`
    (windows, tokens). Raises ValueError for layers or neurons that the model does not have."""
    layers, most = len(model.layers), model.config.intermediate_size
    unknown = set(removed) - set(range(layers))
    if unknown or not 0 < neurons <= most:
        raise ValueError(f"expected layers below {layers} and 1 to {most} neurons, got {sorted(removed)}, {neurons}")
    whole = _residuals(model, tokens)
    kept = [index for index in range(layers) if index not in set(removed)]
    config = dataclasses.replace(model.config, num_hidden_layers=len(kept), intermediate_size=neurons)
    small = Denoiser(config)
    small.embed_tokens.load_state_dict(model.embed_tokens.state_dict())
    small.norm.load_state_dict(model.norm.state_dict())
    x = model.embed_tokens(tokens).detach()
    for place, index in enumerate(kept):
        layer = copy.deepcopy(model.layers[index])
        x = _after_attention(model, layer, x)
        inputs = _neurons(layer, x)
        target = whole[(kept[place + 1] if place + 1 < len(kept) else layers) - 1].float()
        # relative to its size, so that the few tokens with a residual a hundred times as large do not decide
        scale = target.pow(2).mean(-1, keepdim=True).clamp(min=1e-6).rsqrt()
        scale = scale / scale.pow(2).mean().sqrt()
        columns, weight = fit_neurons(
            layer.mlp.down_proj.weight.detach(),
            (inputs.float() * scale).flatten(0, 1),
            ((target - x) * scale).flatten(0, 1),
            neurons,
        )
        for matrix in (layer.mlp.gate_proj, layer.mlp.up_proj):
            matrix.weight = nn.Parameter(matrix.weight.detach()[columns].contiguous())
            matrix.out_features = neurons
        layer.mlp.down_proj.weight = nn.Parameter(weight)
        layer.mlp.down_proj.in_features = neurons
        with torch.no_grad(), narrow_products(x.device):
            x = x + layer.mlp.down_proj(inputs[..., columns])
        small.layers[place] = layer
    return small
