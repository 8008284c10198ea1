"""Completes infilling examples with the reference sampler, autoregressively and with the n-gram model, and measures the
cost. A prompt is computed once for all decoders; the times of the prompt and of decoding are kept separate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer

from training.evaluation.context_ngrams import ContextNgrams
from training.evaluation.cursor_token import TokenTable
from training.evaluation.infilling_tasks import LINE_TASKS, Example
from training.evaluation.ngram import NgramModel, decode_greedily
from training.evaluation.sampler import (
    SERVICE,
    Begun,
    Context,
    Policy,
    Thresholds,
    decode_context,
    infill_contexts,
    open_contexts,
    prompt_ids,
    prompt_ngrams,
    suffix_context,
)
from training.evaluation.scores import Completion
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser


def cpu_ms(call: Callable) -> tuple[object, float]:
    """The result of a call, and the CPU milliseconds of the process that it took."""
    started = time.process_time()
    return call(), 1000 * (time.process_time() - started)


@dataclass
class Prompt:
    """An example as the streams of a model, with their keys and values and the time these took. prefix_ids: the whole
    prompt; begun: what of it the model completes, not in the prefix stream; suffix_start: tokens before which it
    ends."""

    example: Example
    prefix_ids: list[int]
    prefix: Context
    suffix: Context | None
    begun: Begun
    suffix_start: list[int]
    ngrams: ContextNgrams | None
    prefix_ms: float
    suffix_ms: float


class Completer:
    """A model that completes examples, by diffusion or autoregressively."""

    def __init__(self, model: Denoiser, tokenizer: Tokenizer, max_tokens: int, policy: Policy = SERVICE):
        self.model, self.tokenizer, self.max_tokens, self.policy = model, tokenizer, max_tokens, policy
        self.special = SpecialTokens.of(tokenizer)
        self.table = TokenTable(tokenizer)

    def prompt(self, example: Example) -> Prompt:
        left, right = prompt_ids(example.prefix, example.suffix, self.tokenizer, self.special, self.model.config)
        kept, begun = self.table.take_off(left) if self.model.config.shifted else (left, b"")
        (prefix, _), prefix_ms = cpu_ms(lambda: open_contexts(self.model, kept, []))
        suffix, suffix_ms, suffix_start = None, 0.0, []
        if right:
            if self.model.config.ends_before_suffix:
                forwards = right[1:] if self.model.config.suffix_order == "forward" else right[:0:-1]
                suffix_start = self.table.suffix_start(forwards)
            suffix = suffix_context(self.model)
            with torch.no_grad():
                _, suffix_ms = cpu_ms(lambda: suffix.extend(right))
        ngrams = prompt_ngrams(self.model.config, kept, right)
        begun = Begun(begun, self.table)
        return Prompt(example, left, prefix, suffix, begun, suffix_start, ngrams, prefix_ms, suffix_ms)

    def middle_ids(self, prompt: Prompt) -> list[int]:
        """The text after the prefix stream: the removed bytes of the token at the cursor, then the middle."""
        text = prompt.begun.bytes.decode("utf-8", errors="replace") + prompt.example.middle
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def diffuse(self, prompt: Prompt, task: str, thresholds: Thresholds, policy: Policy | None = None) -> Completion:
        """policy: replaces that of the completer."""
        streams, policy = (prompt.prefix, prompt.suffix), policy or self.policy
        _, stop = self._end(prompt, task)
        begun, limit, start, ngrams = prompt.begun, self.max_tokens, prompt.suffix_start, prompt.ngrams
        found, ms = cpu_ms(
            lambda: infill_contexts(
                self.model, self.special, *streams, limit, thresholds, policy, stop, begun, start, ngrams
            )
        )
        tokens = len(found.ids) - self.table.silent(found.ids, begun.bytes) + found.ended
        prompt_ms = prompt.prefix_ms + prompt.suffix_ms
        text = self._cut(self.table.text(found.ids, begun.bytes), task)
        return Completion(text, tokens, found.steps, found.slot_evaluations, prompt_ms, ms)

    def decode(self, prompt: Prompt, task: str) -> Completion:
        limit, stop = self._end(prompt, task)
        begun = prompt.begun
        ngrams = prompt.ngrams and replace(prompt.ngrams, after=[])  # it does not see the suffix
        found, ms = cpu_ms(lambda: decode_context(self.model, self.special, prompt.prefix, limit, stop, begun, ngrams))
        text = self._cut(self.table.text(found.ids, begun.bytes), task)
        # a token costs one pass, the end token too: it is a step, but not among the ids
        tokens = found.steps - self.table.silent(found.ids, begun.bytes)
        return Completion(text, tokens, found.steps, found.slot_evaluations, prompt.prefix_ms, ms)

    def decode_ngram(self, prompt: Prompt, task: str, ngram: NgramModel) -> Completion:
        limit, stop = self._end(prompt, task, b"")
        found, ms = cpu_ms(lambda: decode_greedily(ngram, prompt.prefix_ids[1:], limit, stop))
        return Completion(self._cut(self.table.text(found), task), len(found), 0, 0, 0.0, ms)

    def _end(self, prompt: Prompt, task: str, begun: bytes | None = None) -> tuple[int, Callable[[list[int]], bool]]:
        """Where a completion without an end token ends: for lines at the line end, for other tasks after the true
        number of tokens. begun: bytes before the cursor that the first tokens repeat (default: the prompt's)."""
        before = len(prompt.begun.bytes if begun is None else begun)
        if task in LINE_TASKS:
            of = self.table.bytes
            return self.max_tokens, lambda ids: self.ends_line(b"".join(of[id_] for id_ in ids)[before:])
        return len(self.tokenizer.encode(prompt.example.middle, add_special_tokens=False).ids), lambda ids: False

    def ends_line(self, said: bytes) -> bool:
        return b"\n" in said

    def _cut(self, text: str, task: str) -> str:
        return text.split("\n", 1)[0] if task in LINE_TASKS else text
