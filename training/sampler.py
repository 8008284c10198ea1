"""The reference sampler: a completion from text, block after block, with cached context. Greedy, as the service's.

Per step every slot that exists is evaluated. Undecided slots whose best token is sure enough are revealed, at least one
(Fast-dLLM, arXiv 2505.22618); a revealed slot takes another token that has become sure enough, a bounded number of
times; what lies behind the first end token is dropped.
"""

from copy import copy
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.config import DenoiserConfig, SpecialTokens
from training.denoiser import Denoiser, KeysValues


@dataclass
class Generated:
    """ids: text tokens, no end token; ended: an end token was reached."""

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    ended: bool = False
    steps: int = 0
    slot_evaluations: int = 0
    smallest_margin: float = float("inf")  # log-probability by which the closest decision was made


@dataclass(frozen=True)
class Thresholds:
    reveal: float
    edit: float  # 1 turns editing off
    max_edits_per_slot: int

    @classmethod
    def of(cls, config: DenoiserConfig) -> "Thresholds":
        return cls(config.reveal_threshold, config.edit_threshold, config.max_edits_per_slot)


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
    """Keys and values of one stream, grown token by token; exact, because no stream ever sees the canvas."""

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
    """Logits (slots, vocabulary) of the slots that exist, of a canvas of `width`."""
    tokens = torch.tensor([[ids]])
    states = suffix.states if suffix else Context.empty_like(prefix)
    seen = torch.tensor([[prefix.length]]), torch.tensor([[suffix.length if suffix else 0]])
    alive = torch.ones_like(tokens, dtype=torch.bool)
    hidden = model.canvas(tokens, alive, prefix.states, states, *seen, width=width, trace=trace)
    return model.logits(hidden)[0, 0]


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
) -> Generated:
    """Denoises canvas after canvas until an end token or max_tokens."""
    return infill_contexts(model, special, *open_contexts(model, prefix_ids, suffix_ids), max_tokens, thresholds)


@torch.no_grad()
def infill_contexts(
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    max_tokens: int,
    thresholds: Thresholds,
) -> Generated:
    """infill, the prompt being there already; the contexts stay as they are."""
    prefix = copy(prefix)  # extend replaces the tensors of a context, it never writes into them
    result = Generated()
    while not result.ended and len(result.ids) < max_tokens:
        ids, log_probabilities, ended = denoise(model, special, prefix, suffix, thresholds, result)
        keep = max_tokens - len(result.ids)
        result.ids += ids[:keep]
        result.log_probabilities += log_probabilities[:keep]
        result.ended = ended and len(ids) <= keep
        if not ended and len(result.ids) < max_tokens:
            prefix.extend(ids)
    return result


def denoise(
    model: Denoiser,
    special: SpecialTokens,
    prefix: Context,
    suffix: Context | None,
    thresholds: Thresholds,
    count: Generated,
) -> tuple[list[int], list[float], bool]:
    """One canvas from noise to text: its text tokens, their log-probabilities, whether an end token closed it.
    Adds to count's steps and slot evaluations."""
    width = model.config.canvas_slots
    ends = {special.eom, special.end_of_text}
    tokens, confidence, edits = [special.mask] * width, [0.0] * width, [0] * width
    live = width
    while special.mask in tokens[:live]:
        logits = canvas_logits(model, tokens[:live], width, prefix, suffix)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        log_p[:, [special.mask, special.prefix, special.suffix]] = -torch.inf
        count.steps += 1
        count.slot_evaluations += live
        top_p, top = log_p.topk(2, dim=-1)
        best_p, best = top_p[:, 0].tolist(), top[:, 0].tolist()
        text_p = log_p.clone()
        text_p[:, special.pad] = -torch.inf
        changed = {slot: best[slot] for slot in _edits(tokens[:live], best, best_p, edits, special, thresholds)}
        for slot in changed:
            edits[slot] += 1
        undecided = [slot for slot in range(live) if tokens[slot] == special.mask]
        texts = [slot for slot in undecided if best[slot] != special.pad]
        sure = [slot for slot in texts if best_p[slot] >= _log(thresholds.reveal)]
        if not sure and texts:
            sure = [max(texts, key=lambda slot: best_p[slot])]
        if not sure:
            # all say that the text has ended, but none is the end: the leftmost decides between the end and a token
            leftmost = undecided[0]
            best[leftmost] = int(text_p[leftmost].argmax())
            best_p[leftmost] = float(text_p[leftmost, best[leftmost]])
            sure = [leftmost]
        changed |= {slot: best[slot] for slot in sure}
        count.smallest_margin = min(count.smallest_margin, *_margins(top_p, best_p, changed, undecided, thresholds))
        for slot, token in changed.items():
            tokens[slot], confidence[slot] = token, best_p[slot]
        end = next((slot for slot in range(width) if tokens[slot] in ends), None)
        live = width if end is None else end + 1
        tokens[live:] = [special.mask] * (width - live)
    ended = tokens[live - 1] in ends
    kept = live - 1 if ended else live
    return tokens[:kept], confidence[:kept], ended


def _edits(tokens, best, best_p, edits, special: SpecialTokens, thresholds: Thresholds) -> list[int]:
    if thresholds.edit >= 1:
        return []
    return [
        slot
        for slot, token in enumerate(tokens)
        if token not in (special.mask, best[slot])
        and best[slot] != special.pad
        and best_p[slot] >= _log(thresholds.edit)
        and edits[slot] < thresholds.max_edits_per_slot
    ]


def _margins(top_p: Tensor, best_p: list[float], changed, undecided: list[int], thresholds: Thresholds):
    """How far the decisions of a step were from other ones, in log-probability: which token, above or below a threshold,
    and which slot where only the best one was revealed."""
    yield torch.inf
    for slot in changed:
        yield (top_p[slot, 0] - top_p[slot, 1]).item()
    for slot, probability in enumerate(best_p):
        threshold = thresholds.reveal if slot in undecided else thresholds.edit
        yield abs(probability - _log(threshold))
    if not any(best_p[slot] >= _log(thresholds.reveal) for slot in undecided) and len(undecided) > 1:
        first, second = sorted((best_p[slot] for slot in undecided), reverse=True)[:2]
        yield first - second


def _log(probability: float) -> float:
    return torch.tensor(probability, dtype=torch.float64).log().item()


def decode_autoregressively(
    model: Denoiser, special: SpecialTokens, prefix_ids: list[int], max_tokens: int, stop=lambda ids: False
) -> Generated:
    """The prefix stream read as a plain left-to-right model, greedily: the baseline of the same weights."""
    return decode_context(model, special, open_contexts(model, prefix_ids, [])[0], max_tokens, stop)


@torch.no_grad()
def decode_context(
    model: Denoiser, special: SpecialTokens, prefix: Context, max_tokens: int, stop=lambda ids: False
) -> Generated:
    """decode_autoregressively, the prompt being there already; the context stays as it is."""
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
