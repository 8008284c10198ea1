"""The three-stream denoiser: one transformer, a causal prefix stream, an anti-causal suffix stream and a canvas.

    prefix stream   <|prefix|> p1 … pP        position i, sees itself and what is left of it
    suffix stream   <|suffix|> sS … s1        position −i: the suffix read backwards is a causal stream as well
    canvas          c0 … c(B−1)               sees both streams whole and every slot

So one function, `context`, computes both context streams. They never see the canvas, so their keys and values are exact
for every denoising step. A slot attends to the prefix and the canvas with its query rotated to position P+1+j, and to
the suffix with the same query rotated to −S+(j−B), where S is the number of suffix tokens: the distance to either side
is known, the length of the missing middle is not.

Layer: Qwen3 (RMSNorm, grouped-query attention with QK-norm, RoPE, SwiGLU, tied embeddings, no biases, no time input;
MDLM, arXiv 2406.07524, shows that masked diffusion needs none).
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model.config import DenoiserConfig
from training.model.quantization import QuantizableEmbedding, QuantizableLinear
from training.model.quantized_attention import attend_causal_quantized, quantized_attention

KeysValues = tuple[Tensor, Tensor]  # each (batch, kv_heads, tokens, head_dim), keys rotated
Rotation = tuple[Tensor, Tensor]  # cosines and sines

# Attention of the canvases of a window: (q for the prefix, q for the suffix, k, v, prefix state, suffix state) →
# output. q and the output (batch, canvases, heads, slots, d), k and v (batch, canvases, kv_heads, slots, d).
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, KeysValues, KeysValues], Tensor]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last axis, in float32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rotation(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE, each positions.shape + (head_dim/2,); negative positions turn the other way."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions.float()[..., None] * theta**-exponents
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (d, d + head_dim/2) of the last axis; cos and sin broadcast against x's halves."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.q_proj = QuantizableLinear(config.hidden_size, self.heads * self.head_dim)
        self.k_proj = QuantizableLinear(config.hidden_size, self.kv_heads * self.head_dim)
        self.v_proj = QuantizableLinear(config.hidden_size, self.kv_heads * self.head_dim)
        self.o_proj = QuantizableLinear(self.heads * self.head_dim, config.hidden_size)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (…, tokens, hidden) → normed, unrotated q (…, heads, tokens, d) and k, and v (…, kv_heads, tokens, d)."""

        def split(y: Tensor, heads: int) -> Tensor:
            return y.unflatten(-1, (heads, self.head_dim)).transpose(-3, -2)

        q = self.q_norm(split(self.q_proj(x), self.heads))
        k = self.k_norm(split(self.k_proj(x), self.kv_heads))
        return q, k, split(self.v_proj(x), self.kv_heads)

    def merge(self, heads: Tensor) -> Tensor:
        """(…, heads, tokens, d) → (…, tokens, hidden)"""
        return self.o_proj(heads.transpose(-3, -2).flatten(-2))


class MLP(nn.Module):
    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.gate_proj = QuantizableLinear(config.hidden_size, config.intermediate_size)
        self.up_proj = QuantizableLinear(config.hidden_size, config.intermediate_size)
        self.down_proj = QuantizableLinear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def stream(self, x: Tensor, cos: Tensor, sin: Tensor, cached: KeysValues | None, attend: Callable[..., Tensor]):
        """Rows of a context stream (batch, n, hidden) → the same after this layer, and keys and values of all
        tokens."""
        q, k, v = self.self_attn.project(self.input_layernorm(x))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cached:
            k, v = torch.cat((cached[0], k), dim=2), torch.cat((cached[1], v), dim=2)
        x = x + self.self_attn.merge(attend(q, k, v))
        return x + self.mlp(self.post_attention_layernorm(x)), (k, v)

    def canvas(
        self,
        x: Tensor,
        in_prefix: Rotation,
        in_suffix: Rotation,
        prefix: KeysValues,
        suffix: KeysValues,
        attend: Attend,
    ) -> Tensor:
        """Rows of canvases (batch, canvases, slots, hidden) → the same after this layer."""
        q, k, v = self.self_attn.project(self.input_layernorm(x))
        turned = rotate(q, *in_prefix), rotate(q, *in_suffix), rotate(k, *in_prefix)
        x = x + self.self_attn.merge(attend(*turned, v, prefix, suffix))
        return x + self.mlp(self.post_attention_layernorm(x))


class Denoiser(nn.Module):
    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        # attention in the integer arithmetic of the service; not for training: it has no gradient
        self.quantize_attention = False
        self.frozen_layers = 0
        self.embed_tokens = QuantizableEmbedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # the residual branches start at zero, so that the untrained network is the identity
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = 0.0 if residual else parameter.shape[1] ** -0.5 * (1.0 if "embed" not in name else 0.5)
                nn.init.normal_(parameter, std=scale) if scale else nn.init.zeros_(parameter)

    def freeze(self, layers: int) -> None:
        """The first `layers` layers and the embedding of inputs get no gradient; the tied head still does."""
        self.frozen_layers = layers
        for layer in self.layers[:layers]:
            layer.requires_grad_(False)

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embeddings in the type of autocast, so that the residual stream has the same type as the matrix products."""
        x = self.embed_tokens(tokens)
        if self.frozen_layers:
            x = x.detach()
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x

    def context(
        self, tokens: Tensor, sign: Tensor, cached: list[KeysValues] | None = None, trace: list[Tensor] | None = None
    ) -> tuple[Tensor, list[KeysValues]]:
        """One causal pass over a context stream.

        tokens (batch, n); sign (batch,) +1 for streams that are read forwards, −1 for suffix streams, given in reading
        order from <|suffix|> backwards; cached: keys and values of the earlier tokens. Returns the normed hidden states
        (batch, n, hidden) and, for each layer, keys and values of the n new tokens appended to the cached ones. The
        residual stream after each layer is appended to `trace`.
        """
        n = tokens.shape[1]
        past = cached[0][0].shape[2] if cached else 0
        positions = sign[:, None] * torch.arange(past, past + n, device=tokens.device)[None]
        cos, sin = (part[:, None] for part in rotation(positions, self.config.head_dim, self.config.rope_theta))
        x = self._embed(tokens)
        states = []
        attend = attend_causal_quantized if self.quantize_attention else attend_causal
        for index, layer in enumerate(self.layers):
            x, state = layer.stream(x, cos, sin, cached[index] if cached else None, attend)
            states.append(state)
            if trace is not None:
                trace.append(x)
        return self.norm(x), states

    def canvas(
        self,
        tokens: Tensor,
        alive: Tensor,
        prefix: list[KeysValues],
        suffix: list[KeysValues],
        prefix_seen: Tensor,
        suffix_seen: Tensor,
        attention: Callable[..., Attend] | None = None,
        width: int | None = None,
        trace: list[Tensor] | None = None,
        causal: bool = False,
    ) -> Tensor:
        """One denoising pass over several canvases that share a window.

        tokens, alive (batch, canvases, slots): a slot that is not alive (dropped after <|eom|>) is masked for all
        others; prefix, suffix: states of `context` over the whole window; prefix_seen, suffix_seen (batch, canvases):
        how many tokens of each stream a canvas sees, the marker included (0: nothing of the stream); width: B, if the
        canvas has fewer slots left than that; causal: a slot does not see those after it. Returns normed hidden states
        (batch, canvases, slots, hidden).
        """
        seen = (prefix_seen, suffix_seen, alive, prefix[0][0].shape[2], suffix[0][0].shape[2])
        attend = (quantized_attention if self.quantize_attention else attention or dense_attention)(*seen, causal)
        slots = tokens.shape[2]
        slot = torch.arange(slots, device=tokens.device)
        after_prefix = prefix_seen[..., None] + slot  # (batch, canvases, slots): P + 1 + j
        # −S + (j − B) if the suffix stream is read backwards, j − B if it starts at the cursor
        nearest = 0 if self.config.suffix_order == "forward" else 1 - suffix_seen[..., None]
        before_suffix = nearest + (slot - (width or slots)).expand(*alive.shape)
        head_dim, theta = self.config.head_dim, self.config.rope_theta
        turn_prefix, turn_suffix = (
            tuple(part[:, :, None] for part in rotation(positions, head_dim, theta))
            for positions in (after_prefix, before_suffix)
        )
        x = self._embed(tokens)
        for layer, prefix_state, suffix_state in zip(self.layers, prefix, suffix):
            x = layer.canvas(x, turn_prefix, turn_suffix, prefix_state, suffix_state, attend)
            if trace is not None:
                trace.append(x)
        return self.norm(x)

    def compile_layers(self) -> None:
        """Compiles one layer instead of the whole pass: all layers share the result, so it takes a minute, not ten."""
        torch._dynamo.config.recompile_limit = 64  # streams and widths of training and of validation
        for layer in self.layers:
            layer.stream = torch.compile(layer.stream, dynamic=False)
            layer.canvas = torch.compile(layer.canvas, dynamic=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Normed hidden states (…, hidden) → (…, vocabulary), through the tied embedding."""
        return self.embed_tokens.head(hidden)


# On a CPU the compiled backward pass of attention is slower, and gave NaN gradients in bfloat16 (LOG.md, 2026-12-01).
not_compiled_on_cpu = torch.compiler.disable if not torch.cuda.is_available() else lambda function: function


@not_compiled_on_cpu
def attend_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (batch, heads, n, d) for the last n tokens of k, v (batch, kv_heads, tokens, d) → (batch, heads, n, d)."""
    n, tokens = q.shape[2], k.shape[2]
    if (q.is_cuda or not torch.is_grad_enabled()) and n == tokens:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    # on a CPU the backward pass of plain products is twice as fast as that of the fused kernel
    group = q.shape[1] // k.shape[1]
    q = q * q.shape[-1] ** -0.5
    scores = (q.unflatten(1, (-1, group)).flatten(2, 3) @ k.transpose(-1, -2)).unflatten(2, (group, n))
    hidden = torch.ones(n, tokens, dtype=torch.bool, device=q.device).triu(tokens - n + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.flatten(2, 3) @ v).unflatten(2, (group, n)).flatten(1, 2)


@not_compiled_on_cpu
def attend_dense(
    hidden: Tensor, q_prefix: Tensor, q_suffix: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, suffix: KeysValues
) -> Tensor:
    """As `Attend`; hidden (batch, 1, canvases, 1, 1 or slots, all keys) bool: keys that are not seen."""
    _, canvases, heads, slots, d = q_prefix.shape
    n_prefix, n_suffix = prefix[0].shape[2], suffix[0].shape[2]
    kv_heads = k.shape[2]
    group = heads // kv_heads

    def grouped(q: Tensor) -> Tensor:  # (batch, kv_heads, canvases · group · slots, d)
        return q.unflatten(2, (kv_heads, group)).transpose(1, 2).flatten(2, 4)

    def shaped(scores: Tensor) -> Tensor:  # (batch, kv_heads, canvases, group, slots, keys)
        return scores.unflatten(2, (canvases, group, slots))

    # The product has already rounded the scores to its own type, and softmax sums in float32 for any input type.
    # Reading the narrow type halves the memory traffic, which takes most of the time of this function.
    q_prefix, q_suffix = q_prefix * d**-0.5, q_suffix * d**-0.5
    own_q = q_prefix.unflatten(2, (kv_heads, group)).flatten(3, 4)  # (batch, canvases, kv_heads, group · slots, d)
    own = (own_q @ k.transpose(-1, -2)).transpose(1, 2).unflatten(3, (group, slots))
    on_prefix = shaped(grouped(q_prefix) @ prefix[0].transpose(-1, -2))
    on_suffix = shaped(grouped(q_suffix) @ suffix[0].transpose(-1, -2))
    scores = torch.cat((on_prefix, on_suffix, own), dim=-1).masked_fill(hidden, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    on_prefix, on_suffix, own = weights.split((n_prefix, n_suffix, slots), dim=-1)
    context = shaped(on_prefix.flatten(2, 4) @ prefix[1] + on_suffix.flatten(2, 4) @ suffix[1])
    canvas = (own.transpose(1, 2).flatten(3, 4) @ v).unflatten(3, (group, slots)).transpose(1, 2)
    return (context + canvas).transpose(1, 2).flatten(2, 3)


def dense_attention(
    prefix_seen: Tensor, suffix_seen: Tensor, alive: Tensor, n_prefix: int, n_suffix: int, causal: bool = False
) -> Attend:
    """Canvas attention with plain matrix products; softmax over [prefix | suffix | own canvas] at once. causal: a slot
    does not see those after it."""

    def beyond(seen: Tensor, count: int) -> Tensor:  # (batch, 1, canvases, 1, 1, count)
        return (torch.arange(count, device=seen.device) >= seen[..., None])[:, None, :, None, None]

    hidden = [beyond(prefix_seen, n_prefix), beyond(suffix_seen, n_suffix), ~alive[:, None, :, None, None]]
    if causal:
        slots = alive.shape[-1]
        hidden[2] = hidden[2] | torch.ones(slots, slots, dtype=torch.bool, device=alive.device).triu(1)
        hidden = [part.expand(*part.shape[:4], slots, part.shape[-1]) for part in hidden]
    return partial(attend_dense, torch.cat(hidden, dim=-1))


def block_attention(
    prefix_seen: Tensor, suffix_seen: Tensor, alive: Tensor, n_prefix: int, n_suffix: int, causal: bool = False
) -> Attend:
    """The same with `flex_attention` and a block mask, for GPUs.

    One kernel computes both rotations: queries are [q for the prefix | q for the suffix] (2d wide), prefix and canvas
    keys are [k | 0], suffix keys [0 | k], so that each score is the product with the right rotation.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    batch, canvases, slots = alive.shape
    exists = alive.reshape(batch, canvases * slots)

    def sees(b, _head, query, key):
        canvas = query // slots
        own = key - n_prefix - n_suffix
        in_prefix = (key < n_prefix) & (key < prefix_seen[b, canvas])
        in_suffix = (key >= n_prefix) & (own < 0) & (key - n_prefix < suffix_seen[b, canvas])
        in_canvas = (own >= 0) & (own // slots == canvas) & exists[b, own.clamp(min=0)]
        if causal:
            in_canvas &= own % slots <= query % slots
        return in_prefix | in_suffix | in_canvas

    keys = n_prefix + n_suffix + canvases * slots
    mask = create_block_mask(sees, batch, None, canvases * slots, keys, device=str(alive.device))
    fused = torch.compile(flex_attention, dynamic=False) if alive.is_cuda else flex_attention

    def flat(own: Tensor) -> Tensor:  # (batch, canvases, h, slots, d) → (batch, h, canvases · slots, d)
        return own.transpose(1, 2).flatten(2, 3)

    def attend(q_prefix: Tensor, q_suffix: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, suffix: KeysValues):
        d = q_prefix.shape[-1]
        queries = torch.cat((flat(q_prefix), flat(q_suffix)), dim=-1)
        keys = torch.cat((F.pad(prefix[0], (0, d)), F.pad(suffix[0], (d, 0)), F.pad(flat(k), (0, d))), dim=2)
        values = torch.cat((prefix[1], suffix[1], flat(v)), dim=2)
        mixed = fused(queries, keys, values, block_mask=mask, scale=d**-0.5, enable_gqa=True)
        return mixed.unflatten(2, (canvases, slots)).transpose(1, 2)

    return attend
