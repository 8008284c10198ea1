"""The reference sampler: completes text canvas by canvas, with a KV cache for the context. Greedy, as the service.

Per step the slots that exist and are not frozen are evaluated. Undecided ones whose best token is sure enough are
revealed, at least one (Fast-dLLM, arXiv 2505.22618); a revealed slot takes another token that has become sure enough, a
bounded number of times; what follows the first end token is dropped. How wide canvases are and when slots are frozen is
a Policy; the default computes everything.

A canvas has rows, which are tokens, and slots, which are predicted. Row j is slot j; of a shifted denoiser row 0 is the
last token before the canvas, which its prefix stream holds back, and row j is slot j − 1. There the token that the
cursor stands in is completed (cursor_token.py): until its bytes are said, a step reveals the leftmost slot alone.

After a canvas, its tokens are read into the prefix stream. If the model keeps rows (`keeps_rows`), the row of a canvas
of one slot stays there instead: as such a row also sees the suffix, so do the tokens after it.
"""

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.evaluation.context_ngrams import ContextNgrams
from training.evaluation.cursor_token import TokenTable
from training.model.config import DenoiserConfig, SpecialTokens
from training.model.denoiser import Denoiser, KeysValues, dense_attention, rotate, rotation
from training.model.quantized_attention import quantized_attention


@dataclass
class Generated:
    """ids: text tokens, no end token, those that complete the cursor's token among them; ended: an end token was
    reached."""

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

    canvas_width: an upper limit, of which the widest of the model's widths is used; 0: that of the model's config;
    None: no limit. freeze_after: number of evaluations after which a revealed slot is frozen and keeps its token, keys
    and values.
    """

    canvas_width: int | None = None
    freeze_after: float = float("inf")

    def width(self, config: DenoiserConfig, left: int) -> int:
        """Slots of a canvas, at most the narrowest width that has room for the `left` tokens still wanted."""
        widths = sorted({*config.canvas_widths, config.canvas_slots})
        limit = widths[-1] if self.canvas_width is None else self.canvas_width or config.canvas_width
        fitting = [width for width in widths if width <= limit]
        enough = next((width for width in widths if width >= left), widths[-1])
        return min(fitting[-1] if fitting else widths[0], enough)

    def always_one_slot(self, config: DenoiserConfig) -> bool:
        """Whether every canvas of a completion has one slot."""
        return (config.canvas_width if self.canvas_width == 0 else self.canvas_width) == 1


EVERYTHING = Policy()
SERVICE = Policy(canvas_width=0, freeze_after=1)  # DEFAULT_FREEZE_AFTER of src/engine


def prompt_ids(
    prefix: str, suffix: str, tokenizer: Tokenizer, special: SpecialTokens, config: DenoiserConfig
) -> tuple[list[int], list[int]]:
    """Texts left and right of the cursor → tokens of the prefix stream and of the suffix stream, in reading order."""
    left = tokenizer.encode(prefix, add_special_tokens=False).ids
    whole = [special.end_of_text, *left]
    left = whole if len(whole) <= config.prefix_tokens else left[-config.prefix_tokens :]
    right = tokenizer.encode(suffix, add_special_tokens=False).ids[: config.suffix_tokens]
    right = right if config.suffix_order == "forward" else right[::-1]
    return [special.prefix, *left], [special.suffix, *right] if suffix else []


@dataclass(frozen=True)
class Begun:
    """The bytes of the token at the cursor, which are not in the prompt's tokens."""

    bytes: bytes
    table: TokenTable


class Context:
    """Keys and values of one stream, grown token by token; exact, because no stream ever sees the canvas. One that
    holds back computes its last token only when another one follows."""

    def __init__(self, model: Denoiser, sign: int, holds_back: bool = False):
        self.model, self.sign, self.holds_back = model, torch.tensor([sign]), holds_back
        self.last: int | None = None  # the token held back
        self.states: list[KeysValues] = self._empty()
        self.last_hidden: Tensor | None = None  # (hidden,) of the last token computed: its next-token prediction

    @property
    def length(self) -> int:
        return self.states[0][0].shape[2]

    def extend(self, ids: list[int]) -> None:
        if self.holds_back:
            *ids, last = [*([] if self.last is None else [self.last]), *ids]
            self.last = last
        if ids:
            hidden, self.states = self.model.context(torch.tensor([ids]), self.sign, self.states)
            self.last_hidden = hidden[0, -1]

    def adopt(self, rows: list[KeysValues], ids: list[int]) -> None:
        """Goes on with a canvas of one slot, as its row was computed: keys and values (kv_heads, 1, d) of each layer.
        The slot, ids[0], is held back."""
        self.states = [
            tuple(torch.cat((old, new[None]), dim=2) for old, new in zip(state, row, strict=True))
            for state, row in zip(self.states, rows, strict=True)
        ]
        (self.last,) = ids

    def whole(self) -> "Context":
        """A copy that holds nothing back: the stream as a language model reads it."""
        other = copy(self)
        other.holds_back, other.last = False, None
        if self.last is not None:
            other.extend([self.last])
        return other

    def rows(self, ids: list[int], width: int) -> list[int]:
        """Tokens of the rows of a canvas after this prefix stream whose computed slots are `ids`."""
        return ids if self.last is None else [self.last, *ids][:width]

    def _empty(self) -> list[KeysValues]:
        config = self.model.config
        nothing = torch.zeros(1, config.num_key_value_heads, 0, config.head_dim)
        return [(nothing, nothing) for _ in self.model.layers]


def canvas_logits(
    model: Denoiser,
    ids: list[int],
    width: int,
    prefix: Context,
    suffix: Context | None,
    trace: list[Tensor] | None = None,
) -> Tensor:
    """Logits (slots, vocabulary) of the slots that exist, of a canvas of `width`."""
    tokens = torch.tensor([[prefix.rows(ids, width)]])
    suffix = suffix or Context(model, 1)
    seen = torch.tensor([[prefix.length]]), torch.tensor([[suffix.length]])
    alive = torch.ones_like(tokens, dtype=torch.bool)
    hidden = model.canvas(tokens, alive, prefix.states, suffix.states, *seen, width=width, trace=trace)
    return model.logits(hidden)[0, 0, : len(ids)]


class CachedCanvas:
    """Keys and values of the rows of a canvas as they were last computed, layer by layer."""

    def __init__(
        self, model: Denoiser, width: int, prefix: Context, suffix: Context | None, kept_rows: int | None = None
    ):
        """kept_rows: of former canvases of one slot, if they are kept: to the suffix they are slots of a canvas of all
        slots, as this one is."""
        config = model.config
        shape = (config.num_key_value_heads, width, config.head_dim)
        self.model, self.width, self.prefix, self.suffix = model, width, prefix, suffix or Context(model, 1)
        slots = config.canvas_slots
        self.first_before_suffix = -width if kept_rows is None else kept_rows % slots - slots
        self.cached = [(torch.zeros(shape), torch.zeros(shape)) for _ in model.layers]

    def logits(self, ids: list[int], rows: list[int]) -> Tensor:
        """Logits (len(rows), vocabulary) of these rows of a canvas whose rows are `ids`; the others keep their cached
        keys and values."""
        model, config, live = self.model, self.model.config, len(ids)
        at = torch.tensor(rows)
        suffix_length = self.suffix.length
        seen = torch.tensor([[self.prefix.length]]), torch.tensor([[suffix_length]])
        attention = quantized_attention if model.quantize_attention else dense_attention
        attend = attention(*seen, torch.ones(1, 1, live, dtype=torch.bool), self.prefix.length, suffix_length)
        turn_prefix = rotation(self.prefix.length + at, config.head_dim, config.rope_theta)
        nearest = 0 if config.suffix_order == "forward" else 1 - suffix_length
        turn_suffix = rotation(nearest + at + self.first_before_suffix, config.head_dim, config.rope_theta)
        x = model.embed_tokens(torch.tensor(ids)[at])
        for layer, (keys, values), *context in zip(model.layers, self.cached, self.prefix.states, self.suffix.states):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x))  # (heads, slots, d)
            keys[:, at], values[:, at] = rotate(k, *turn_prefix), v
            # rows that are not computed are empty, and their results are not used
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
    prefix = Context(model, 1, holds_back=model.config.shifted)
    prefix.extend(prefix_ids)
    suffix = None
    if suffix_ids:
        suffix = suffix_context(model)
        suffix.extend(suffix_ids)
    return prefix, suffix


def suffix_context(model: Denoiser) -> Context:
    """An empty suffix stream."""
    return Context(model, 1 if model.config.suffix_order == "forward" else -1)


def infill(
    model: Denoiser,
    special: SpecialTokens,
    prefix_ids: list[int],
    suffix_ids: list[int],
    max_tokens: int,
    thresholds: Thresholds,
    policy: Policy = EVERYTHING,
    begun: Begun | None = None,
) -> Generated:
    """Denoises canvas after canvas until an end token or max_tokens."""
    contexts = open_contexts(model, prefix_ids, suffix_ids)
    ngrams = prompt_ngrams(model.config, prefix_ids, suffix_ids)
    return infill_contexts(model, special, *contexts, max_tokens, thresholds, policy, begun=begun, ngrams=ngrams)


def prompt_ngrams(config: DenoiserConfig, prefix_ids: list[int], suffix_ids: list[int]) -> ContextNgrams | None:
    """The n-grams of both streams of a prompt, if the model mixes them in. The service reads more of a long text."""
    if config.context_ngrams is None:
        return None
    after = suffix_ids[1:] if config.suffix_order == "forward" else suffix_ids[:0:-1]
    return ContextNgrams(prefix_ids[1:], after, config.context_ngrams)


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
    begun: Begun | None = None,
    suffix_start: Collection[int] = (),
    ngrams: ContextNgrams | None = None,
) -> Generated:
    """infill with a prefilled prompt; the contexts are not changed. stop: whether no canvas follows those with the
    given tokens. Tokens without text after the cursor do not count for max_tokens. suffix_start: tokens that the suffix
    can begin with; the end takes their place at the leftmost undecided slot."""
    prefix = copy(prefix)  # extend replaces the tensors of a context, it never writes into them
    result = Generated()
    keeps_rows = model.config.keeps_rows and policy.always_one_slot(model.config)
    kept_rows = 0 if keeps_rows else None
    while not result.ended and (left := max_tokens - _answered(result.ids, begun)) > 0 and not stop(result.ids):
        width = policy.width(model.config, left)
        canvas = CachedCanvas(model, width, prefix, suffix, kept_rows)
        rest = begun and Begun(begun.table.left_over(begun.bytes, result.ids), begun.table)
        ids, log_probabilities, ended = denoise(
            canvas, special, thresholds, policy, left, result, rest, suffix_start, ngrams
        )
        result.ids += ids
        result.log_probabilities += log_probabilities
        result.ended = ended
        if ended or _answered(result.ids, begun) >= max_tokens:
            continue
        if keeps_rows:
            prefix.adopt(canvas.cached, ids)
            kept_rows += 1
        else:
            prefix.extend(ids)
    return result


def _answered(ids: list[int], begun: Begun | None) -> int:
    """Tokens with text after the cursor."""
    return len(ids) - (begun.table.silent(ids, begun.bytes) if begun else 0)


def denoise(
    canvas: CachedCanvas,
    special: SpecialTokens,
    thresholds: Thresholds,
    policy: Policy,
    left: int,
    count: Generated,
    begun: Begun | None = None,
    suffix_start: Collection[int] = (),
    ngrams: ContextNgrams | None = None,
) -> tuple[list[int], list[float], bool]:
    """One canvas from noise to text: the text tokens, up to `left` with text after the cursor, their log-probabilities,
    and whether an end token closed it. Adds to count's steps and slot evaluations."""
    width = canvas.width
    ends = {special.eom, special.end_of_text}
    tokens, confidence, edits = [special.mask] * width, [0.0] * width, [0] * width
    evaluations = [0] * width  # of a slot with its current token
    computed: list[int | None] = [None] * width  # the token of each row when it was last computed
    live, bound, wanted = width, 0, min(width, left)  # bound: slots that completed the cursor's token
    begun = begun if begun and begun.bytes else None
    while special.mask in tokens[: min(live, wanted)]:
        row_tokens = canvas.prefix.rows(tokens[:live], width)
        rows = [
            row
            for row, token in enumerate(row_tokens)
            if (row < live and (tokens[row] == special.mask or evaluations[row] < policy.freeze_after))
            or computed[row] != token
        ]
        log_p = torch.log_softmax(canvas.logits(row_tokens, rows).float(), dim=-1)
        for row in rows:
            computed[row] = row_tokens[row]
        # the row of an end token predicts nothing
        slots = [row for row in rows if row < live]
        log_p[:, [special.mask, special.prefix, special.suffix]] = -torch.inf
        count.steps += 1
        count.slot_evaluations += len(rows)
        undecided = [slot for slot in range(min(live, wanted)) if tokens[slot] == special.mask]
        rest = begun and begun.table.left_over(begun.bytes, tokens[:bound])
        row = {slot: index for index, slot in enumerate(slots)}
        if ngrams:
            for slot, index in row.items():
                if special.mask not in tokens[:slot]:
                    log_p[index] = ngrams.mix(log_p[index], [*count.ids, *tokens[:slot]])
        if rest:
            agreeing = begun.table.agreeing(rest)
            bound_p = torch.full_like(log_p[0], -torch.inf)
            bound_p[agreeing] = torch.log_softmax(log_p[row[bound], agreeing], dim=-1)
            log_p[row[bound]] = bound_p
        top_p, top = log_p.topk(2, dim=-1)
        best_p = {slot: top_p[index, 0].item() for slot, index in row.items()}
        best = {slot: top[index, 0].item() for slot, index in row.items()}
        changed = {
            slot: best[slot] for slot in _edits(tokens, best, best_p, edits, special, thresholds) if slot >= bound
        }
        for slot in changed:
            edits[slot] += 1
        if rest:
            completes = not begun.table.left_over(rest, [best[bound]])
            undecided = [slot for slot in undecided if slot > bound] if completes else []
        leftmost = undecided[0] if undecided else width
        if special.mask not in tokens[: bound if rest else leftmost] and best.get(leftmost) in suffix_start:
            best[leftmost] = special.eom
        texts = [slot for slot in undecided if best[slot] != special.pad]
        sure = [slot for slot in texts if best_p[slot] >= _log(thresholds.reveal)]
        if rest:
            sure = [bound, *sure]
        elif not sure and texts:
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
        free_p = {slot: p for slot, p in best_p.items() if slot != bound} if rest else best_p
        count.smallest_margin = min(
            count.smallest_margin, *_margins(margins, free_p, undecided, thresholds, only_sure=bool(rest))
        )
        for slot in slots:
            evaluations[slot] += tokens[slot] != special.mask
        for slot, token in changed.items():
            tokens[slot], confidence[slot], evaluations[slot] = token, best_p[slot], 0
        if rest:
            bound += 1
        end = next((slot for slot in range(width) if tokens[slot] in ends), None)
        live = width if end is None else end + 1
        tokens[live:] = [special.mask] * (width - live)
        if begun:
            wanted = min(width, left + begun.table.silent(tokens[:bound], begun.bytes))
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


def _margins(
    second: dict[int, float],
    best_p: dict[int, float],
    undecided: list[int],
    thresholds: Thresholds,
    only_sure: bool = False,
):
    """How far the decisions of a step were from other ones, in log-probability: which token (second: by slot, how far
    behind the second one was), above or below a threshold, and which slot where only the best one was revealed
    (never if only_sure)."""
    yield torch.inf
    yield from second.values()
    for slot, probability in best_p.items():
        threshold = thresholds.reveal if slot in undecided else thresholds.edit
        yield abs(probability - _log(threshold))
    if only_sure:
        return
    if not any(best_p[slot] >= _log(thresholds.reveal) for slot in undecided) and len(undecided) > 1:
        first, other = sorted((best_p[slot] for slot in undecided), reverse=True)[:2]
        yield first - other


def _log(probability: float) -> float:
    return torch.tensor(probability, dtype=torch.float64).log().item()


def decode_autoregressively(
    model: Denoiser,
    special: SpecialTokens,
    prefix_ids: list[int],
    max_tokens: int,
    stop=lambda ids: False,
    begun: Begun | None = None,
) -> Generated:
    """The prefix stream read as a plain left-to-right model, greedily: the baseline of the same weights."""
    context = open_contexts(model, prefix_ids, [])[0]
    return decode_context(model, special, context, max_tokens, stop, begun, prompt_ngrams(model.config, prefix_ids, []))


@torch.no_grad()
def decode_context(
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    max_tokens: int,
    stop=lambda ids: False,
    begun: Begun | None = None,
    ngrams: ContextNgrams | None = None,
) -> Generated:
    """decode_autoregressively with a prefilled prompt; the context is not changed."""
    prefix = prefix.whole()
    result = Generated()
    while _answered(result.ids, begun) < max_tokens:
        log_p = torch.log_softmax(model.logits(prefix.last_hidden).float(), dim=-1)
        if ngrams:
            log_p = ngrams.mix(log_p, result.ids)
        log_p[[special.mask, special.prefix, special.suffix, special.pad, special.eom]] = -torch.inf
        rest = begun and begun.table.left_over(begun.bytes, result.ids)
        if rest:
            agreeing = begun.table.agreeing(rest)
            bound_p = torch.full_like(log_p, -torch.inf)
            bound_p[agreeing] = torch.log_softmax(log_p[agreeing], dim=-1)
            log_p = bound_p
        top_p, top = log_p.topk(2)
        token = int(top[0])
        result.steps += 1
        result.slot_evaluations += 1
        result.smallest_margin = min(result.smallest_margin, float(top_p[0] - top_p[1]))
        if token == special.end_of_text:
            result.ended = True
            break
        result.ids.append(token)
        result.log_probabilities.append(float(top_p[0]))
        if stop(result.ids):
            result.ended = True
            break
        prefix.extend([token])
    return result
