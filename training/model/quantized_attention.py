"""Attention as the kernels compute it (assembly/quantized/attention.ts), for the reference: queries and keys in 7 bits,
values in 8, one scale per head and token; softmax weights in 7 bits, one scale per query and block of 32 tokens.

The scale of a value is multiplied into its weight. The weights of a block are scaled so that, for each j, those of the
tokens 4i + j add up to at most 124: the sums of their products with values then fit 16 bits. Blocks are counted from
the start of the suffix stream, and from the start of the prefix stream, which the canvas follows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model.quantization import fake_quantize_activations

QUERY_MAX = KEY_MAX = 63
VALUE_MAX = 127
TOKEN_BLOCK = 32
LARGEST_WEIGHT_SUM = 124
SMALLEST = 1e-30  # a sum of weights below it counts as zero


def quantize_weights(powers: Tensor, values: Tensor) -> Tensor:
    """Weights (…, queries, tokens) of values (…, tokens, d) → the same, rounded to multiples of the block's scale."""
    tokens = powers.shape[-1]
    scales = values.abs().amax(dim=-1)[..., None, :] / VALUE_MAX
    blocks = F.pad(powers * scales, (0, -tokens % TOKEN_BLOCK)).unflatten(-1, (-1, TOKEN_BLOCK // 4, 4))
    largest = blocks.sum(dim=-2, keepdim=True).amax(dim=-1, keepdim=True)
    some = largest >= SMALLEST
    inverse = torch.where(some, LARGEST_WEIGHT_SUM / largest.clamp(min=SMALLEST), 0)
    quantized = (blocks * inverse).round() * torch.where(some, largest / LARGEST_WEIGHT_SUM, 0)
    return torch.where(scales > 0, quantized.flatten(-3)[..., :tokens] / scales.clamp(min=SMALLEST), 0)


def _mix(scores: Tensor, segments: list[tuple[int, Tensor]]) -> Tensor:
    """Softmax of scores (…, queries, all tokens) over segments of tokens with their values (…, tokens, d)."""
    powers = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    parts = powers.split([count for count, _ in segments], dim=-1)
    mixed = sum(quantize_weights(part, values) @ values for part, (_, values) in zip(parts, segments))
    return mixed / powers.sum(dim=-1, keepdim=True)


def attend_causal_quantized(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `attend_causal`: q (batch, heads, n, d) are the last n of the tokens in k, v (batch, kv_heads, tokens, d)."""
    n, tokens = q.shape[2], k.shape[2]
    q = fake_quantize_activations(q, QUERY_MAX).unflatten(1, (k.shape[1], -1))
    k = fake_quantize_activations(k, KEY_MAX)[:, :, None]
    v = fake_quantize_activations(v, VALUE_MAX)[:, :, None]
    hidden = torch.ones(n, tokens, dtype=torch.bool, device=q.device).triu(tokens - n + 1)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
    return _mix(scores, [(tokens, v)]).flatten(1, 2)


def quantized_attention(
    prefix_seen: Tensor, suffix_seen: Tensor, alive: Tensor, n_prefix: int, n_suffix: int, causal: bool = False
):
    """As `dense_attention`. Exact if every canvas sees the whole prefix of its window; if it sees less, its own slots
    share blocks with other tokens than in the service."""

    def beyond(seen: Tensor, count: int) -> Tensor:  # (batch, 1, 1, canvases, 1, count)
        return (torch.arange(count, device=seen.device) >= seen[..., None])[:, None, None, :, None]

    hidden = [beyond(suffix_seen, n_suffix), beyond(prefix_seen, n_prefix), ~alive[:, None, None, :, None]]
    if causal:
        slots = alive.shape[-1]
        hidden[2] = hidden[2] | torch.ones(slots, slots, dtype=torch.bool, device=alive.device).triu(1)
        hidden = [part.expand(*part.shape[:4], slots, part.shape[-1]) for part in hidden]
    hidden = torch.cat(hidden, dim=-1)

    def attend(q_prefix: Tensor, q_suffix: Tensor, k: Tensor, v: Tensor, prefix, suffix) -> Tensor:
        canvases, slots, d, kv_heads = q_prefix.shape[1], q_prefix.shape[3], q_prefix.shape[4], k.shape[2]

        def queries(q: Tensor) -> Tensor:  # (batch, kv_heads, group, canvases, slots, d)
            return fake_quantize_activations(q, QUERY_MAX).unflatten(2, (kv_heads, -1)).permute(0, 2, 3, 1, 4, 5)

        def own(x: Tensor) -> Tensor:  # (batch, kv_heads, 1, canvases, slots, d)
            return x.transpose(1, 2)[:, :, None]

        def shared(x: Tensor) -> Tensor:  # (batch, kv_heads, 1, canvases, tokens, d)
            return x[:, :, None, None].expand(-1, -1, -1, canvases, -1, -1)

        k = fake_quantize_activations(torch.cat((shared(prefix[0]), own(k)), dim=-2), KEY_MAX)
        v = fake_quantize_activations(torch.cat((shared(prefix[1]), own(v)), dim=-2), VALUE_MAX)
        suffix_k = fake_quantize_activations(shared(suffix[0]), KEY_MAX)
        suffix_v = fake_quantize_activations(shared(suffix[1]), VALUE_MAX)
        scores = torch.cat(
            (queries(q_suffix) @ suffix_k.transpose(-1, -2), queries(q_prefix) @ k.transpose(-1, -2)), dim=-1
        )
        scores = (scores * d**-0.5).masked_fill(hidden, -torch.inf)
        mixed = _mix(scores, [(n_suffix, suffix_v), (n_prefix + slots, v)])
        return mixed.permute(0, 3, 1, 2, 4, 5).flatten(2, 3)

    return attend
