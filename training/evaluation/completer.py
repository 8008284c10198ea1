"""Completes infilling examples with the reference sampler, autoregressively and with the n-gram model, and measures the
cost. A prompt is computed once for all decoders; the times of the prompt and of decoding are kept separate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from training.evaluation.infilling_tasks import LINE_TASKS, Example
from training.evaluation.ngram import NgramModel, decode_greedily
from training.evaluation.sampler import (
    SERVICE,
    Context,
    Policy,
    Thresholds,
    decode_context,
    infill_contexts,
    open_contexts,
    prompt_ids,
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
    """An example as the streams of a model, with their keys and values and the time to compute them."""

    example: Example
    prefix_ids: list[int]
    prefix: Context
    suffix: Context | None
    prefix_ms: float
    suffix_ms: float


class Completer:
    """A model that completes examples, by diffusion or autoregressively."""

    def __init__(self, model: Denoiser, tokenizer: Tokenizer, max_tokens: int, policy: Policy = SERVICE):
        self.model, self.tokenizer, self.max_tokens, self.policy = model, tokenizer, max_tokens, policy
        self.special = SpecialTokens.of(tokenizer)
        self.line_ends = {id_ for content, id_ in tokenizer.get_vocab().items() if "\n" in tokenizer.decode([id_])}

    def prompt(self, example: Example) -> Prompt:
        left, right = prompt_ids(example.prefix, example.suffix, self.tokenizer, self.special, self.model.config)
        (prefix, _), prefix_ms = cpu_ms(lambda: open_contexts(self.model, left, []))
        suffix, suffix_ms = None, 0.0
        if right:
            suffix = Context(self.model, -1)
            with torch.no_grad():
                _, suffix_ms = cpu_ms(lambda: suffix.extend(right))
        return Prompt(example, left, prefix, suffix, prefix_ms, suffix_ms)

    def diffuse(self, prompt: Prompt, task: str, thresholds: Thresholds, policy: Policy | None = None) -> Completion:
        """policy: replaces that of the completer."""
        streams, policy = (prompt.prefix, prompt.suffix), policy or self.policy
        _, stop = self._end(prompt.example, task)
        found, ms = cpu_ms(
            lambda: infill_contexts(self.model, self.special, *streams, self.max_tokens, thresholds, policy, stop)
        )
        tokens = len(found.ids) + found.ended
        prompt_ms = prompt.prefix_ms + prompt.suffix_ms
        text = self._cut(self._text(found.ids), task)
        return Completion(text, tokens, found.steps, found.slot_evaluations, prompt_ms, ms)

    def decode(self, prompt: Prompt, task: str) -> Completion:
        limit, stop = self._end(prompt.example, task)
        found, ms = cpu_ms(lambda: decode_context(self.model, self.special, prompt.prefix, limit, stop))
        text = self._cut(self._text(found.ids), task)
        # every token costs one pass; the end token is a step too, but is not in the ids
        return Completion(text, found.steps, found.steps, found.slot_evaluations, prompt.prefix_ms, ms)

    def decode_ngram(self, prompt: Prompt, task: str, ngram: NgramModel) -> Completion:
        limit, stop = self._end(prompt.example, task)
        found, ms = cpu_ms(lambda: decode_greedily(ngram, prompt.prefix_ids[1:], limit, stop))
        return Completion(self._cut(self._text(found), task), len(found), 0, 0, 0.0, ms)

    def _end(self, example: Example, task: str) -> tuple[int, Callable[[list[int]], bool]]:
        """Limits for decoders that cannot predict the end: the line end at line tasks, and the true number of tokens at
        others."""
        if task in LINE_TASKS:
            return self.max_tokens, lambda ids: any(id_ in self.line_ends for id_ in ids)
        return len(self.tokenizer.encode(example.middle, add_special_tokens=False).ids), lambda ids: False

    def _cut(self, text: str, task: str) -> str:
        return text.split("\n", 1)[0] if task in LINE_TASKS else text

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)
