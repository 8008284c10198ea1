"""Training windows for a shifted denoiser: cursors in a text, what follows each, and canvases before it.

A window is a run of tokens of one package, as in `windows`. Its text is cut at a few *horizons*: places where an editor's
suffix may begin. A suffix stream reads forwards from each. Canvases start at token boundaries before their horizon, at
distances that editors ask for; the token that a cursor stands in is completed by the sampler, so cursors inside a token
need no training. The last canvas of a middle holds <|eom|>; a canvas right at its horizon holds nothing else.
"""

import bisect
import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.model.config import SpecialTokens

# Where a suffix begins: share of each kind.
HORIZON_KINDS = {
    "line_end": 0.5,  # the middle is the rest of a line, or a whole line
    "lines": 0.14,  # the middle ends with one of the next lines
    "inside": 0.18,  # before what closes or separates: `)`, `]`, `;`, `,`, a quote
    "random": 0.18,  # any character
}
CONTINUATION_SHARE = 0.12  # canvases without a suffix
LINES_MAX = 4  # of "lines", beyond the first
DISTANCE_MAX = 40  # tokens of a middle of the other kinds; log-uniform
CHARACTERS_PER_TOKEN = 5.0  # generous: so many are cut out for a window that its tokens surely suffice
DOCUMENT_START_SHARE = 0.15  # windows that begin at the start of a document
SHORT_SUFFIX_SHARE = 0.2  # suffixes cut short, as those of short files
CLOSERS = ")]};,'\"`>:"


@dataclass
class CursorBatch:
    """window (b, n); suffix (b·g, s + 1), <|suffix|> first, then padded; x0 (b·g, canvases, slots); before, prefix_seen,
    suffix_seen (b·g, canvases): the token before slot 0, how many tokens precede slot 0 (the marker included), and how
    many of the suffix stream are seen (the marker included; 0: none). All int64. Groups of a window follow each other."""

    window: Tensor
    suffix: Tensor
    x0: Tensor
    before: Tensor
    prefix_seen: Tensor
    suffix_seen: Tensor

    def to(self, device: torch.device) -> "CursorBatch":
        return CursorBatch(*(t.to(device, non_blocking=True) for t in vars(self).values()))


@dataclass
class Cut:
    """A horizon: character of the text, its kind."""

    character: int
    kind: str


class CursorSampler:
    """Draws windows from documents, every character of the split being equally likely to be the first one."""

    def __init__(self, packages: list[list[str]], tokenizer: Tokenizer, window_tokens: int, suffix_tokens: int):
        self.packages, self.tokenizer = packages, tokenizer
        self.special = SpecialTokens.of(tokenizer)
        self.window_tokens, self.suffix_tokens = window_tokens, suffix_tokens
        self.places = [(p, d) for p, documents in enumerate(packages) for d in range(len(documents))]
        self.ends = np.cumsum([len(packages[p][d]) for p, d in self.places]).tolist()

    def draw(self, rng: random.Random, groups: int, canvases: int, slots: int) -> tuple[np.ndarray, ...]:
        """Fields of a CursorBatch for one window, as arrays."""
        while True:
            found = self._try(rng, groups, canvases, slots)
            if found is not None:
                return found

    def batch(self, rng: random.Random, windows: int, groups: int, canvases: int, slots: int) -> CursorBatch:
        drawn = [self.draw(rng, groups, canvases, slots) for _ in range(windows)]
        window, *rest = zip(*drawn, strict=True)
        arrays = [np.stack(window), *(np.concatenate(part) for part in rest)]
        return CursorBatch(*(torch.from_numpy(array.astype(np.int64)) for array in arrays))

    def _texts(self, rng: random.Random) -> tuple[list[str], bool]:
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
        return texts, at_start

    def _try(self, rng: random.Random, groups: int, canvases: int, slots: int) -> tuple[np.ndarray, ...] | None:
        texts, at_start = self._texts(rng)
        # horizons are drawn in the part of the text that the window's tokens will surely cover
        reach = int(self.window_tokens * 2.2)
        cuts: list[list[Cut]] = [[] for _ in texts]
        for _ in range(groups):
            character, text = rng.randrange(min(reach, sum(map(len, texts)))), 0
            while character >= len(texts[text]):
                character -= len(texts[text])
                text += 1
            cut = draw_horizon(rng, texts[text], character)
            if any(other.character == cut.character for other in cuts[text]):
                return None
            cuts[text].append(cut)
        pieces, starts = [], []  # of the text, and whether a document starts with the piece
        kinds: list[str | None] = []  # the kind of the horizon at the end of each piece
        for index, text in enumerate(texts):
            by_character = {cut.character: cut.kind for cut in cuts[index]}
            edges = sorted({0, len(text), *by_character})
            for a, b in pairwise(edges):
                pieces.append(text[a:b])
                starts.append(a == 0 and (index > 0 or at_start))
                kinds.append(by_character.get(b))
        encoded = self.tokenizer.encode_batch(pieces, add_special_tokens=False)
        tokens: list[int] = []
        newline: list[bool] = []  # whether a line ends in the token
        horizons: list[tuple[int, str]] = []
        document_start = [0]
        for piece, starts_document, kind, encoding in zip(pieces, starts, kinds, encoded, strict=True):
            if starts_document:
                tokens.append(self.special.end_of_text)
                newline.append(True)
                document_start.append(len(tokens))
            tokens.extend(encoding.ids)
            newline.extend("\n" in piece[a:b] for a, b in encoding.offsets)
            if kind is not None:
                horizons.append((len(tokens), kind))
        if len(tokens) < self.window_tokens or len(horizons) < groups:
            return None
        tokens, ends = tokens[: self.window_tokens + self.suffix_tokens], document_start[1:]
        fields = []
        for horizon, kind in horizons:
            if horizon > self.window_tokens:
                return None
            fields.append(self._group(rng, tokens, newline, ends, horizon, kind, canvases, slots))
        if any(field is None for field in fields):
            return None
        return np.array(tokens[: self.window_tokens]), *(np.stack(part) for part in zip(*fields, strict=True))

    def _group(self, rng, tokens, newline, ends, horizon, kind, canvases, slots):
        """suffix, x0, before, prefix_seen, suffix_seen of the canvases before one horizon."""
        first = max((end for end in ends if end <= horizon), default=0)  # of its document
        stop = min((end - 1 for end in ends if end > horizon), default=len(tokens))
        room = min(self.suffix_tokens, stop - horizon)
        if rng.random() < SHORT_SUFFIX_SHARE:
            room = min(room, rng.randint(1, 24))
        suffix = np.full(self.suffix_tokens + 1, self.special.pad)
        suffix[0] = self.special.suffix
        suffix[1 : 1 + room] = tokens[horizon : horizon + room]
        x0 = np.full((canvases, slots), self.special.pad)
        before, prefix_seen, suffix_seen = (np.zeros(canvases) for _ in range(3))
        lowest = self._lowest(rng, newline, first, horizon, kind)
        for canvas in range(canvases):
            if rng.random() < CONTINUATION_SHARE:
                limit = min(stop, self.window_tokens) - slots
                if limit <= first:
                    return None
                start, end, seen = rng.randint(first, limit), None, 0
            elif kind in ("line_end", "lines"):
                start, end, seen = rng.randint(lowest, horizon), horizon, 1 + room
            else:
                distance = int((DISTANCE_MAX + 1) ** rng.random())
                start, end, seen = max(first, horizon - distance + (rng.random() < 0.15)), horizon, 1 + room
            middle = tokens[start : start + slots if end is None else min(end, start + slots)]
            x0[canvas, : len(middle)] = middle
            if len(middle) < slots:
                x0[canvas, len(middle)] = self.special.eom
            before[canvas] = tokens[start - 1] if start else self.special.prefix
            prefix_seen[canvas], suffix_seen[canvas] = start + 1, seen
        return suffix, x0, before, prefix_seen, suffix_seen

    def _lowest(self, rng: random.Random, newline: list[bool], first: int, horizon: int, kind: str) -> int:
        """The first token from which a middle that ends at a line end may start."""
        lines = 1 if kind == "line_end" else 1 + rng.randint(1, LINES_MAX)
        at = horizon
        while at > first and horizon - at < 4 * DISTANCE_MAX:
            if newline[at - 1]:
                lines -= 1
                if not lines:
                    break
            at -= 1
        return at


def draw_horizon(rng: random.Random, text: str, character: int) -> Cut:
    """A place near `character` where a suffix may begin."""
    kind = rng.choices(list(HORIZON_KINDS), weights=list(HORIZON_KINDS.values()))[0]
    if kind in ("line_end", "lines"):
        end = text.find("\n", character)
        return Cut(len(text) if end < 0 else end, kind)
    if kind == "inside":
        for at in range(character, min(character + 120, len(text))):
            if text[at] in CLOSERS and at and text[at - 1] not in " \n\t":
                return Cut(at, kind)
    return Cut(max(1, character), "random")
