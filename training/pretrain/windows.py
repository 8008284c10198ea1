"""Training windows: text cut at random characters, tokenized piece by piece, with the spans that canvases will cover.

A window is a run of tokens from consecutive documents of one package, separated by <|endoftext|>. Its suffix stream
starts at a random token of it, the horizon. If it always started at the end of the window, the lengths of prefix,
middle and suffix would always add up to the window, and a canvas could infer the length of its middle from them.

Both ends of every span are cuts in the *text*: the pieces on both sides are tokenized separately, as they are when the
cursor is in the middle of a word. The context streams also contain each cut inside a word, while a prompt has only one,
so most cuts are moved to the start of a word.
"""

import bisect
import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

from training.model.config import SpecialTokens

# Share of each kind of span; the first is the most frequent request of editors.
SPAN_KINDS = {
    "line_rest": 0.40,  # a random character of a line to its end
    "line": 0.15,  # one whole line, from its start or after its indentation
    "lines": 0.13,  # a random character to the end of one of the next lines
    "random": 0.15,  # any characters
    "continuation": 0.17,  # no suffix: the text that follows, as far as the canvas reaches
}
LINES_MAX = 5  # of a "lines" span, after the first
RANDOM_CHARACTERS_MAX = 160
CHARACTERS_PER_TOKEN = 5.0  # high: enough text is cut for a window to have enough tokens
SPAN_CHARACTERS_PER_TOKEN = 2.6  # low: spans are drawn from the part of the text that the window covers
NEAR_HORIZON_SHARE = 0.35  # windows whose horizon is in their first half: short prompts
HORIZON_MIN = 16  # tokens
TOKENS_PER_SPAN = 10  # within the horizon; if there is room for fewer spans than canvases, canvases share spans
CONTINUATION_CANVASES = 4  # of one continuation, which has no end token
INSIDE_WORD_SHARE = 0.35  # cursors that may be inside a word
DOCUMENT_START_SHARE = 0.1  # windows that begin at the start of a document


@dataclass
class Window:
    """tokens (window,) int32; spans (canvases, 2) int32 [start, end) in tokens: the text that the canvas, and those
    after it, have to predict; end −1: continuation, no suffix; horizon: the suffix stream starts before this token, and
    no span ends after it."""

    tokens: np.ndarray
    spans: np.ndarray
    horizon: int


class WindowSampler:
    """Draws windows from documents. Every character of the split is equally likely to be the first one."""

    def __init__(self, packages: list[list[str]], tokenizer: Tokenizer, window_tokens: int):
        self.packages = packages
        self.tokenizer = tokenizer
        self.special = SpecialTokens.of(tokenizer)
        self.window_tokens = window_tokens
        self.places = [(p, d) for p, documents in enumerate(packages) for d in range(len(documents))]
        self.ends = np.cumsum([len(packages[p][d]) for p, d in self.places]).tolist()

    def draw(self, rng: random.Random, canvases: int, slots: int) -> Window:
        while True:
            window = self._try(rng, canvases, slots)
            if window is not None:
                return window

    def _try(self, rng: random.Random, canvases: int, slots: int) -> Window | None:
        character = rng.randrange(self.ends[-1])
        place = bisect.bisect_right(self.ends, character)
        package, document = self.places[place]
        documents = self.packages[package]
        first = documents[document]
        offset = character - (self.ends[place] - len(first))
        at_start = rng.random() < DOCUMENT_START_SHARE or offset < 40
        wanted = int(self.window_tokens * CHARACTERS_PER_TOKEN)
        texts = [first[0 if at_start else offset :][:wanted]]
        while sum(map(len, texts)) < wanted and document + 1 < len(documents):
            document += 1
            texts.append(documents[document][:wanted])

        half = self.window_tokens // 2
        near = rng.random() < NEAR_HORIZON_SHARE
        horizon = rng.randint(HORIZON_MIN, half) if near else rng.randint(half, self.window_tokens)
        distinct = max(1, min(canvases, horizon // TOKENS_PER_SPAN))
        spans = self._spans(rng, texts, distinct, horizon)
        cuts: list[set[int]] = [set() for _ in texts]
        for text, start, end, _ in spans:
            cuts[text] |= {start, end}
        pieces, owners = [], []
        for index, text in enumerate(texts):
            edges = [0, *sorted(c for c in cuts[index] if 0 < c < len(text)), len(text)]
            for a, b in pairwise(edges):
                pieces.append(text[a:b])
                owners.append((index, a))
        encoded = self.tokenizer.encode_batch(pieces, add_special_tokens=False)

        tokens: list[int] = []
        at: dict[tuple[int, int], int] = {}  # (text, character) → index of the token that starts there
        for (index, start), piece, encoding in zip(owners, pieces, encoded):
            if start == 0 and (index > 0 or at_start):
                tokens.append(self.special.end_of_text)
            at[index, start] = len(tokens)
            tokens.extend(encoding.ids)
            at[index, start + len(piece)] = len(tokens)
            if len(tokens) > self.window_tokens:
                break
        if len(tokens) < self.window_tokens:
            return None
        found = []
        for text, start, end, continuation in spans:
            s, e = at.get((text, start)), at.get((text, end))
            if s is None or s >= self.window_tokens:
                continue
            if continuation:
                if s + slots <= self.window_tokens:
                    found.append((s, -1))
            elif e is not None and s < e <= horizon:
                found.append((s, e))
        if len(found) < distinct:
            return None
        window = np.array(tokens[: self.window_tokens], np.int32)
        texts_end = np.flatnonzero(window == self.special.end_of_text)
        places = [
            (first, end)
            for start, end in found
            for first in canvas_starts(start, end, slots, texts_end, self.window_tokens)
        ]
        if len(places) > canvases:
            places = rng.sample(places, canvases)
        spans = [places[canvas % len(places)] for canvas in range(canvases)]
        return Window(window, np.array(spans, np.int32), horizon)

    def _spans(
        self, rng: random.Random, texts: list[str], count: int, horizon: int
    ) -> list[tuple[int, int, int, bool]]:
        """Candidates (text, start, end, continuation) in characters, more than `count` of them."""
        reach = int(horizon * SPAN_CHARACTERS_PER_TOKEN)
        count += count // 4 + 1  # some will be empty, or after the horizon
        kinds = rng.choices(list(SPAN_KINDS), weights=list(SPAN_KINDS.values()), k=count)
        spans = []
        for kind in kinds:
            character, text = rng.randrange(min(reach, sum(map(len, texts)))), 0
            while character >= len(texts[text]):
                character -= len(texts[text])
                text += 1
            if rng.random() >= INSIDE_WORD_SHARE:
                character = word_start(texts[text], character)
            start, end = cut_span(rng, texts[text], character, kind)
            if kind == "continuation" or end > start:
                spans.append((text, start, end, kind == "continuation"))
        return spans


def cut_span(rng: random.Random, text: str, character: int, kind: str) -> tuple[int, int]:
    """The [start, end) of a span of the given kind around a character of the text."""
    line_start = text.rfind("\n", 0, character) + 1
    line_end = _line_end(text, character)
    if kind == "line_rest":
        return character, line_end
    if kind == "line":
        indent = len(text[line_start:line_end]) - len(text[line_start:line_end].lstrip(" \t"))
        return line_start + (indent if rng.random() < 0.5 else 0), line_end
    if kind == "lines":
        for _ in range(rng.randint(1, LINES_MAX)):
            line_end = _line_end(text, min(line_end + 1, len(text)))
        return (character if rng.random() < 0.7 else line_start), line_end
    if kind == "random":
        length = int(RANDOM_CHARACTERS_MAX ** rng.random())  # log-uniform: short ones are frequent
        return character, min(character + length, len(text))
    return (character if rng.random() < 0.6 else line_start), character


def canvas_starts(start: int, end: int, slots: int, texts_end: np.ndarray, window_tokens: int) -> range:
    """First token of every canvas that a completion of the span [start, end) of tokens opens, one after the other. The
    last canvas is the one with the end.

    All canvases of all spans are drawn with equal probability. If spans were drawn first, short ones as often as long
    ones, a canvas would learn that most completions end in it.
    """
    if end >= 0:
        return range(start, end + 1, slots)  # a middle that fills its canvases has one more, with only the end
    behind = texts_end[texts_end >= start]
    last = min([window_tokens - slots, start + (CONTINUATION_CANVASES - 1) * slots, *behind[:1]])
    return range(start, last + 1, slots)


def word_start(text: str, character: int) -> int:
    """The nearest position to the left where the tokenizer cuts anyway: before a space, or at the edge of a word."""
    while character > 0 and text[character] not in " \t\n":
        if text[character - 1].isalnum() != text[character].isalnum() and text[character - 1] != " ":
            break
        character -= 1
    return character


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def canvas_targets(window: Window, slots: int, special: SpecialTokens) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The targets of the canvases of a window, and how many tokens of each stream they see.

    Returns x0 (canvases, slots): the middle, <|eom|> if it ends inside the canvas, then <|pad|>; prefix_seen and
    suffix_seen (canvases,): tokens of the two streams, their markers included. A continuation sees no suffix and has
    no <|eom|>, but ends with <|endoftext|> at the end of the document.
    """
    canvases = len(window.spans)
    x0 = np.full((canvases, slots), special.pad, np.int32)
    for canvas, (start, end) in enumerate(window.spans):
        stop = start + slots if end < 0 else min(end, start + slots)
        middle = window.tokens[start:stop]
        if end < 0:
            ends = np.flatnonzero(middle == special.end_of_text)
            middle = middle[: ends[0] + 1] if len(ends) else middle
        x0[canvas, : len(middle)] = middle
        if end >= 0 and len(middle) < slots:
            x0[canvas, len(middle)] = special.eom
    prefix_seen = window.spans[:, 0] + 1
    suffix_seen = np.where(window.spans[:, 1] < 0, 0, window.horizon - window.spans[:, 1] + 1)
    return x0, prefix_seen.astype(np.int64), suffix_seen.astype(np.int64)
