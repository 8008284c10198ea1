"""What followed the last tokens elsewhere in a text, mixed into what a model predicts: the reference of
src/diffusion/context-ngrams.ts, which says how and why.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

LONGEST_MATCH = 16  # tokens that are compared
WEIGHT_OF_A_TOKEN = 4  # a match counts this many times one that is a token shorter


@dataclass(frozen=True)
class ContextNgrams:
    """before, after: tokens on both sides of a completion, in the order of the text; weights: `context_ngrams` of a
    config, a logistic function's bias, length, share and count."""

    before: list[int]
    after: list[int]
    weights: dict[str, float]

    def next(self, written: list[int]) -> tuple[float, dict[int, float]] | None:
        """Their weight in the mixture, and the probability of each token; None if the last token is nowhere else."""
        text = [*self.before, *written]
        matches = [*_matches(text, text), *_matches(self.after, text)]
        if not matches:
            return None
        longest = max(length for length, _ in matches)
        sums: dict[int, float] = defaultdict(float)
        for length, token in matches:
            sums[token] += float(WEIGHT_OF_A_TOKEN) ** (length - longest)
        total = sum(sums.values())
        probabilities = {token: value / total for token, value in sums.items()}
        count = sum(length == longest for length, _ in matches)
        share = max(probabilities.values())
        logit = self.weights["bias"] + self.weights["length"] * math.log(longest)
        logit += self.weights["share"] * share + self.weights["count"] * math.log(count)
        return 1 / (1 + math.exp(-logit)), probabilities

    def mix(self, log_p: Tensor, written: list[int]) -> Tensor:
        """Log-probabilities (vocabulary,) of a model → of the mixture."""
        found = self.next(written)
        if found is None:
            return log_p
        weight, probabilities = found
        mixed = log_p + math.log1p(-weight)
        tokens = list(probabilities)
        ngrams = torch.tensor([weight * probabilities[token] for token in tokens], dtype=log_p.dtype)
        mixed[tokens] = (mixed[tokens].exp() + ngrams).log()
        return mixed


def _matches(tokens: list[int], text: list[int]) -> list[tuple[int, int]]:
    """Places of `tokens`, except its end, that end as `text` does: how many tokens agree, and the token after them."""
    matches = []
    end = len(text) - 1
    for at in range(len(tokens) - 1):
        if tokens[at] != text[end]:
            continue
        length = 1
        while length < LONGEST_MATCH and length <= min(at, end) and tokens[at - length] == text[end - length]:
            length += 1
        matches.append((length, tokens[at + 1]))
    return matches
