"""The reference sampler: completes text canvas by canvas, with a KV cache for the context. Greedy, as the service.

Each step evaluates the slots that exist and are not frozen. It reveals the undecided slots whose best token reaches the
reveal threshold, and at least one (Fast-dLLM, arXiv 2505.22618). A revealed slot takes another token that reaches the
edit threshold, a limited number of times. Slots after the first end token are dropped. A Policy says how wide canvases
are and when slots are frozen; the default evaluates everything.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.model.config import DenoiserConfig, SpecialTokens
from training.model.denoiser import Denoiser, KeysValues, dense_attention, rotate, rotation
from training.model.quantized_attention import quantized_attention


@dataclass
class Generated:
    """ids: text tokens, no end token; ended: an end token was reached."""

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    ended: bool = False
    steps: int = 0
    slot_evaluations: int = 0
    smallest_margin: float = float("inf")  # of the closest decision, in log-probability


@dataclass(frozen=True)
class Thresholds:
    reveal: float
    edit: float  # 1 turns editing off
    max_edits_per_slot: int

    @classmethod
    def of(cls, config: DenoiserConfig) -> "Thresholds":
        return cls(config.reveal_threshold, config.edit_threshold, config.max_edits_per_slot)


@dataclass(frozen=True)
class Policy:
    """What is left out of the computation (src/engine/three-stream/canvas-width.ts, src/diffusion/canvas.ts).

    canvas_width: an upper limit, of which the widest of the model's widths is used; None: no limit. freeze_after:
    number of evaluations after which a revealed slot is frozen and keeps its token, keys and values.
    """

    canvas_width: int | None = None
    freeze_after: float = float("inf")

    def width(self, config: DenoiserConfig, left: int) -> int:
        """Slots of a canvas, at most the narrowest width that has room for the `left` tokens still wanted."""
        widths = sorted({*config.canvas_widths, config.canvas_slots})
        fitting = [width for width in widths if width <= (self.canvas_width or widths[-1])]
        enough = next((width for width in widths if width >= left), widths[-1])
        return min(fitting[-1] if fitting else widths[0], enough)


EVERYTHING = Policy()
SERVICE = Policy(canvas_width=2, freeze_after=1)  # DEFAULT_CANVAS_WIDTH and DEFAULT_FREEZE_AFTER of src/engine


def prompt_ids(
    prefix: str, suffix: str, tokenizer: Tokenizer, special: SpecialTokens, config: DenoiserConfig
) -> tuple[list[int], list[int]]:
    """Texts left and right of the cursor → tokens of the prefix stream and of the (reversed) suffix stream."""
    left = tokenizer.encode(prefix, add_special_tokens=False).ids
    whole = [special.end_of_text, *left]
    left = whole if len(whole) <= config.prefix_tokens else left[-config.prefix_tokens :]
    right = tokenizer.encode(suffix, add_special_tokens=False).ids[: config.suffix_tokens]
    return [special.prefix, *left], [special.suffix, *reversed(right)] if suffix else []


class Context:
    """Keys and values of one stream, extended token by token; exact, because no stream ever sees the canvas."""

    def __init__(self, model: Denoiser, sign: int):
        self.model, self.sign = model, torch.tensor([sign])
        self.states: list[KeysValues] | None = None
        self.last_hidden: Tensor | None = None  # (hidden,) of the last token: its next-token prediction

    @property
    def length(self) -> int:
        return self.states[0][0].shape[2] if self.states else 0

    def extend(self, ids: list[int]) -> None:
        hidden, self.states = self.model.context(torch.tensor([ids]), self.sign, self.states)
        self.last_hidden = hidden[0, -1]

    @staticmethod
    def empty_like(other: "Context") -> list[KeysValues]:
        return [(k[:, :, :0], v[:, :, :0]) for k, v in other.states]


def canvas_logits(
    model: Denoiser,
    ids: list[int],
    width: int,
    prefix: Context,
    suffix: Context | None,
    trace: list[Tensor] | None = None,
) -> Tensor:
    """Logits (slots, vocabulary) of the existing slots `ids` of a canvas of `width` slots."""
    tokens = torch.tensor([[ids]])
    states = suffix.states if suffix else Context.empty_like(prefix)
    seen = torch.tensor([[prefix.length]]), torch.tensor([[suffix.length if suffix else 0]])
    alive = torch.ones_like(tokens, dtype=torch.bool)
    hidden = model.canvas(tokens, alive, prefix.states, states, *seen, width=width, trace=trace)
    return model.logits(hidden)[0, 0]


class CachedCanvas:
    """Cached keys and values of the slots of a canvas, for each layer, as last computed."""

    def __init__(self, model: Denoiser, width: int, prefix: Context, suffix: Context | None):
        config = model.config
        shape = (config.num_key_value_heads, width, config.head_dim)
        self.model, self.width, self.prefix, self.suffix = model, width, prefix, suffix
        self.cached = [(torch.zeros(shape), torch.zeros(shape)) for _ in model.layers]

    def logits(self, ids: list[int], slots: list[int]) -> Tensor:
        """Logits (len(slots), vocabulary) of these slots of the canvas `ids`; the others are read from the cache."""
        model, config, live = self.model, self.model.config, len(ids)
        at = torch.tensor(slots)
        suffix = self.suffix.states if self.suffix else Context.empty_like(self.prefix)
        suffix_length = self.suffix.length if self.suffix else 0
        seen = torch.tensor([[self.prefix.length]]), torch.tensor([[suffix_length]])
        attention = quantized_attention if model.quantize_attention else dense_attention
        attend = attention(*seen, torch.ones(1, 1, live, dtype=torch.bool), self.prefix.length, suffix_length)
        turn_prefix = rotation(self.prefix.length + at, config.head_dim, config.rope_theta)
        turn_suffix = rotation(at - (suffix_length - 1) - self.width, config.head_dim, config.rope_theta)
        x = model.embed_tokens(torch.tensor(ids)[at])
        for layer, (keys, values), *context in zip(model.layers, self.cached, self.prefix.states, suffix):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x))  # (heads, slots, d)
            keys[:, at], values[:, at] = rotate(k, *turn_prefix), v
            # rows of slots that are not computed are zero, and their output is ignored
            queries = q.new_zeros(2, q.shape[0], live, q.shape[2])
            queries[0, :, at], queries[1, :, at] = rotate(q, *turn_prefix), rotate(q, *turn_suffix)
            states = queries[0], queries[1], keys[:, :live], values[:, :live]
            mixed = attend(*(state[None, None] for state in states), *context)[0, 0, :, at]
            x = x + layer.self_attn.merge(mixed)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return model.logits(model.norm(x))


@torch.no_grad()
def open_contexts(model: Denoiser, prefix_ids: list[int], suffix_ids: list[int]) -> tuple[Context, Context | None]:
    """Keys and values of a prompt; no suffix stream without a suffix."""
    prefix, suffix = Context(model, 1), Context(model, -1) if suffix_ids else None
    prefix.extend(prefix_ids)
    if suffix:
        suffix.extend(suffix_ids)
    return prefix, suffix


def infill(
    model: Denoiser,
    special: SpecialTokens,
    prefix_ids: list[int],
    suffix_ids: list[int],
    max_tokens: int,
    thresholds: Thresholds,
    policy: Policy = EVERYTHING,
) -> Generated:
    """Denoises canvas after canvas until an end token or max_tokens."""
    contexts = open_contexts(model, prefix_ids, suffix_ids)
    return infill_contexts(model, special, *contexts, max_tokens, thresholds, policy)


@torch.no_grad()
def infill_contexts(
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    max_tokens: int,
    thresholds: Thresholds,
    policy: Policy = EVERYTHING,
    stop: Callable[[list[int]], bool] = lambda ids: False,
) -> Generated:
    """`infill` with a prompt that is already computed; the contexts are not changed. stop: whether to open no further
    canvas after the given tokens."""
    prefix = copy(prefix)  # extend replaces the tensors of a context, it never writes into them
    result = Generated()
    while not result.ended and len(result.ids) < max_tokens and not stop(result.ids):
        left = max_tokens - len(result.ids)
        width = policy.width(model.config, left)
        canvas = CachedCanvas(model, width, prefix, suffix)
        ids, log_probabilities, ended = denoise(canvas, special, thresholds, policy, min(width, left), result)
        result.ids += ids
        result.log_probabilities += log_probabilities
        result.ended = ended
        if not ended and len(result.ids) < max_tokens:
            prefix.extend(ids)
    return result


def denoise(
    canvas: CachedCanvas, special: SpecialTokens, thresholds: Thresholds, policy: Policy, wanted: int, count: Generated
) -> tuple[list[int], list[float], bool]:
    """Denoises one canvas. Returns the text tokens of its first `wanted` slots, their log-probabilities, and whether an
    end token closed it. Adds to count's steps and slot evaluations."""
    width = canvas.width
    ends = {special.eom, special.end_of_text}
    tokens, confidence, edits = [special.mask] * width, [0.0] * width, [0] * width
    evaluations = [0] * width  # of a slot with its current token
    live = width
    while special.mask in tokens[: min(live, wanted)]:
        slots = [
            slot for slot in range(live) if tokens[slot] == special.mask or evaluations[slot] < policy.freeze_after
        ]
        log_p = torch.log_softmax(canvas.logits(tokens[:live], slots).float(), dim=-1)
        log_p[:, [special.mask, special.prefix, special.suffix]] = -torch.inf
        count.steps += 1
        count.slot_evaluations += len(slots)
        row = {slot: index for index, slot in enumerate(slots)}
        top_p, top = log_p.topk(2, dim=-1)
        best_p, best = dict(zip(slots, top_p[:, 0].tolist())), dict(zip(slots, top[:, 0].tolist()))
        changed = {slot: best[slot] for slot in _edits(tokens, best, best_p, edits, special, thresholds)}
        for slot in changed:
            edits[slot] += 1
        undecided = [slot for slot in range(min(live, wanted)) if tokens[slot] == special.mask]
        texts = [slot for slot in undecided if best[slot] != special.pad]
        sure = [slot for slot in texts if best_p[slot] >= _log(thresholds.reveal)]
        if not sure and texts:
            sure = [max(texts, key=lambda slot: best_p[slot])]
        if not sure:
            # every slot predicts padding, but no end is revealed: the leftmost slot takes an end or a text token
            leftmost = undecided[0]
            text_p = log_p[row[leftmost]].clone()
            text_p[special.pad] = -torch.inf
            best[leftmost] = int(text_p.argmax())
            best_p[leftmost] = float(text_p[best[leftmost]])
            sure = [leftmost]
        changed |= {slot: best[slot] for slot in sure}
        margins = {slot: (top_p[row[slot], 0] - top_p[row[slot], 1]).item() for slot in changed}
        count.smallest_margin = min(count.smallest_margin, *_margins(margins, best_p, undecided, thresholds))
        for slot in slots:
            evaluations[slot] += tokens[slot] != special.mask
        for slot, token in changed.items():
            tokens[slot], confidence[slot], evaluations[slot] = token, best_p[slot], 0
        end = next((slot for slot in range(width) if tokens[slot] in ends), None)
        live = width if end is None else end + 1
        tokens[live:] = [special.mask] * (width - live)
    ended = tokens[live - 1] in ends and live <= wanted
    kept = live - 1 if ended else min(live, wanted)
    return tokens[:kept], confidence[:kept], ended


def _edits(tokens, best, best_p, edits, special: SpecialTokens, thresholds: Thresholds) -> list[int]:
    """Evaluated slots whose token is replaced."""
    if thresholds.edit >= 1:
        return []
    return [
        slot
        for slot in best
        if tokens[slot] not in (special.mask, best[slot])
        and best[slot] != special.pad
        and best_p[slot] >= _log(thresholds.edit)
        and edits[slot] < thresholds.max_edits_per_slot
    ]


def _margins(second: dict[int, float], best_p: dict[int, float], undecided: list[int], thresholds: Thresholds):
    """Margins of the decisions of a step, in log-probability: between the best token and the second one (`second`, by
    slot), to the threshold, and, where only the best slot was revealed, between it and the second one."""
    yield torch.inf
    yield from second.values()
    for slot, probability in best_p.items():
        threshold = thresholds.reveal if slot in undecided else thresholds.edit
        yield abs(probability - _log(threshold))
    if not any(best_p[slot] >= _log(thresholds.reveal) for slot in undecided) and len(undecided) > 1:
        first, other = sorted((best_p[slot] for slot in undecided), reverse=True)[:2]
        yield first - other


def _log(probability: float) -> float:
    return torch.tensor(probability, dtype=torch.float64).log().item()


def decode_autoregressively(
    model: Denoiser, special: SpecialTokens, prefix_ids: list[int], max_tokens: int, stop=lambda ids: False
) -> Generated:
    """Greedy decoding of the prefix stream from left to right: the baseline of the same weights."""
    return decode_context(model, special, open_contexts(model, prefix_ids, [])[0], max_tokens, stop)


@torch.no_grad()
def decode_context(
    model: Denoiser, special: SpecialTokens, prefix: Context, max_tokens: int, stop=lambda ids: False
) -> Generated:
    """`decode_autoregressively` with a prompt that is already computed; the context is not changed."""
    prefix = copy(prefix)
    result = Generated()
    while len(result.ids) < max_tokens:
        log_p = torch.log_softmax(model.logits(prefix.last_hidden).float(), dim=-1)
        log_p[[special.mask, special.prefix, special.suffix, special.pad, special.eom]] = -torch.inf
        token = int(log_p.argmax())
        result.steps += 1
        result.slot_evaluations += 1
        if token == special.end_of_text:
            result.ended = True
            break
        result.ids.append(token)
        result.log_probabilities.append(float(log_p[token]))
        if stop(result.ids):
            result.ended = True
            break
        prefix.extend([token])
    return result
