"""Training windows for a shifted denoiser: a cursor in a text, the text on both sides, and canvases before it.

Each window has one or more *horizons*: places where an editor's suffix may begin. The text before the last one is the
prefix stream; each has a suffix stream, read from the horizon on or towards it. The states of the prefix stream are the
same for all of them, so several horizons a window teach more canvases for the same work. Canvases start at token
boundaries before their horizon, at the distances that decoding visits; the token that a cursor stands in is completed
by the sampler, so cursors inside a token need no training. The last canvas of a middle holds <|eom|>; one that starts
at the horizon holds nothing else. All windows have the same shape, so a GPU's compiler sees one.
"""

import bisect
import random
from dataclasses import dataclass, replace

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
EMPTY_SHARE = 0.03  # canvases of the kinds "inside" and "random" that start at the horizon: nothing to add
LINES_MAX = 4  # of "lines", beyond the first
# Tokens of a middle of the other kinds; log-uniform. Decoding goes through every distance from there to its end.
DISTANCE_MAX = 40
HORIZON_MIN = 16  # tokens of the document before a horizon that is not the last of its window
CHARACTERS_PER_TOKEN = 5.0  # generous: so many are cut out for a stream that its tokens surely suffice
# Windows whose prefix stream begins with the document; the others are filled up with the package's earlier documents.
DOCUMENT_START_SHARE = 0.2
SHORT_SUFFIX_SHARE = 0.2  # suffixes cut short, as those of short files
CLOSERS = ")]};,'\"`>:"


@dataclass
class CursorBatch:
    """prefix (b, n), <|prefix|> left out, and suffix (b · h, s + 1), <|suffix|> first and the text in the order in which
    the model reads it, both padded at their end; row r
    of suffix belongs to row r // h of prefix, h being the horizons of a window. x0 (b · h, canvases, slots); before,
    prefix_seen, suffix_seen (b · h, canvases): the token before slot 0, how many tokens precede slot 0 (the marker
    included), and how many of the suffix stream are seen (the marker included; 0: none). All int64. runs: the canvases
    are runs of rows that see only those before them, as `keeps_rows` decodes."""

    prefix: Tensor
    suffix: Tensor
    x0: Tensor
    before: Tensor
    prefix_seen: Tensor
    suffix_seen: Tensor
    runs: bool = False

    def to(self, device: torch.device) -> "CursorBatch":
        tensors = {name: t.to(device, non_blocking=True) for name, t in vars(self).items() if name != "runs"}
        return replace(self, **tensors)

    @property
    def horizons(self) -> int:
        """Of each window."""
        return len(self.suffix) // len(self.prefix)

    @property
    def tokens(self) -> int:
        """Of both streams, padding included."""
        return self.prefix.numel() + self.suffix.numel()


class CursorSampler:
    """Draws windows from documents, every character of the split being equally likely to be near the horizon."""

    def __init__(
        self,
        packages: list[list[str]],
        tokenizer: Tokenizer,
        prefix_tokens: int,
        suffix_tokens: int,
        horizons: int = 1,
        suffix_order: str = "forward",
    ):
        self.packages, self.tokenizer, self.horizons = packages, tokenizer, horizons
        self.suffix_order = suffix_order
        self.special = SpecialTokens.of(tokenizer)
        self.prefix_tokens, self.suffix_tokens = prefix_tokens, suffix_tokens
        self.places = [(p, d) for p, documents in enumerate(packages) for d in range(len(documents))]
        self.ends = np.cumsum([len(packages[p][d]) for p, d in self.places]).tolist()

    def batch(self, rng: random.Random, windows: int, canvases: int, slots: int) -> CursorBatch:
        """Each horizon has `canvases` canvases of `slots` slots."""
        drawn = [self.draw(rng, canvases, slots) for _ in range(windows)]
        prefix = np.stack([window[0] for window in drawn])
        others = [np.concatenate(part) for part in zip(*(window[1:] for window in drawn), strict=True)]
        return CursorBatch(*(torch.from_numpy(array.astype(np.int64)) for array in (prefix, *others)))

    def draw(self, rng: random.Random, canvases: int, slots: int) -> tuple[np.ndarray, ...]:
        """Fields of a CursorBatch for one window, as arrays."""
        character = rng.randrange(self.ends[-1])
        place = bisect.bisect_right(self.ends, character)
        package, document = self.places[place]
        text = self.packages[package][document]
        horizon, kind = draw_horizon(rng, text, character - (self.ends[place] - len(text)))
        left = text[max(0, horizon - int(self.prefix_tokens * CHARACTERS_PER_TOKEN)) : horizon]
        encoding = self.tokenizer.encode(left, add_special_tokens=False)
        tokens, offsets = encoding.ids[-self.prefix_tokens :], encoding.offsets[-self.prefix_tokens :]
        line_ends = ["\n" in left[a:b] for a, b in offsets]
        own = len(tokens)
        if own < self.prefix_tokens:
            filler = []
            if rng.random() >= DOCUMENT_START_SHARE:
                filler = self._filler(package, document, self.prefix_tokens - own)
            filler = filler or [self.special.end_of_text]  # as the service marks the start of a document
            tokens, line_ends = filler + tokens, [True] * len(filler) + line_ends
        first = len(tokens) - own  # token of the document itself

        # (tokens before the horizon, its character in the text, kind); only the last horizon can be inside a token
        ends = [(len(tokens), horizon, kind)]
        for _ in range(self.horizons - 1):
            found = draw_boundary(rng, left, offsets)
            ends.append((first + found[0], horizon - len(left) + offsets[found[0]][0], found[1]) if found else ends[0])
        reach = int(self.suffix_tokens * CHARACTERS_PER_TOKEN)
        encodings = self.tokenizer.encode_batch([text[at : at + reach] for _, at, _ in ends], add_special_tokens=False)
        prefix = np.full(self.prefix_tokens, self.special.pad)
        prefix[: len(tokens)] = tokens
        suffix = np.full((self.horizons, self.suffix_tokens + 1), self.special.pad)
        fields = []
        for row, ((end, _, kind), encoded) in enumerate(zip(ends, encodings, strict=True)):
            after = encoded.ids[: self.suffix_tokens]
            if rng.random() < SHORT_SUFFIX_SHARE:
                after = after[: rng.randint(1, 24)]
            ordered = after if self.suffix_order == "forward" else after[::-1]
            suffix[row, : len(after) + 1] = [self.special.suffix, *ordered]
            lowest = lowest_start(rng, line_ends[:end], first, kind)
            seen = 1 + len(after)
            drawn = [self._canvas(rng, tokens[:end], first, lowest, kind, seen, slots) for _ in range(canvases)]
            fields.append([np.array(part) for part in zip(*drawn, strict=True)])
        return prefix, suffix, *(np.stack(part) for part in zip(*fields, strict=True))

    def _filler(self, package: int, document: int, room: int) -> list[int]:
        """The last `room` tokens, or fewer, of the documents before this one, each followed by <|endoftext|>."""
        filler: list[int] = []
        for earlier in range(document - 1, max(-1, document - 4), -1):
            text = self.packages[package][earlier][-int(room * CHARACTERS_PER_TOKEN) :]
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            filler = [*ids, self.special.end_of_text, *filler]
            if len(filler) >= room:
                break
        return filler[-room:]

    def _canvas(
        self, rng: random.Random, tokens: list[int], first: int, lowest: int, kind: str, seen: int, slots: int
    ) -> tuple[list[int], int, int, int]:
        """x0, before, prefix_seen and suffix_seen of one canvas of a window whose horizon is at the end of `tokens`."""
        end = len(tokens)
        if rng.random() < CONTINUATION_SHARE and end - first > slots:
            start, seen = rng.randint(first, end - slots), 0
        elif kind in ("line_end", "lines"):
            start = rng.randint(lowest, end)
        else:
            farthest = 0 if rng.random() < EMPTY_SHARE else int((DISTANCE_MAX + 1) ** rng.random())
            start = max(first, end - rng.randint(0, farthest))
        middle = tokens[start : start + slots]
        ended = [] if len(middle) == slots else [self.special.eom]
        x0 = middle + ended + [self.special.pad] * (slots - len(middle) - len(ended))
        before = tokens[start - 1] if start else self.special.prefix
        return x0, before, start + 1, seen


def lowest_start(rng: random.Random, line_ends: list[bool], first: int, kind: str) -> int:
    """The first token from which a middle may start that ends at the horizon, the end of the tokens."""
    lines = 1 if kind == "line_end" else 1 + rng.randint(1, LINES_MAX)
    at = len(line_ends)
    while at > first and len(line_ends) - at < 4 * DISTANCE_MAX:
        if line_ends[at - 1]:
            lines -= 1
            if not lines:
                break
        at -= 1
    return at


def draw_kind(rng: random.Random) -> str:
    return rng.choices(list(HORIZON_KINDS), weights=list(HORIZON_KINDS.values()))[0]


def closes(text: str, at: int) -> bool:
    """Whether the character at `at`, which is not the first, closes or separates what stands right before it."""
    return text[at] in CLOSERS and text[at - 1] not in " \n\t"


def draw_horizon(rng: random.Random, text: str, character: int) -> tuple[int, str]:
    """A place near `character` where a suffix may begin, not the start of the text, and its kind."""
    kind = draw_kind(rng)
    if kind in ("line_end", "lines"):
        end = text.find("\n", max(1, character))
        return (len(text) if end < 0 else end), kind
    if kind == "inside":
        for at in range(max(1, character), min(character + 120, len(text))):
            if closes(text, at):
                return at, kind
    return max(1, character), "random"


def draw_boundary(rng: random.Random, text: str, offsets: list[tuple[int, int]]) -> tuple[int, str] | None:
    """A token of the text before which a suffix may begin, and the kind of that place; none if the text is short."""
    kind = draw_kind(rng)
    cuts = [
        index
        for index in range(HORIZON_MIN, len(offsets))
        if offsets[index - 1][1] == offsets[index][0]  # not inside a character, whose bytes are several tokens
    ]
    if kind in ("line_end", "lines"):
        cuts = [index for index in cuts if text[offsets[index][0]] == "\n"]
    elif kind == "inside":
        closers = [index for index in cuts if closes(text, offsets[index][0])]
        cuts, kind = (closers, kind) if closers else (cuts, "random")
    return (rng.choice(cuts), kind) if cuts else None
