"""The order-5 n-gram baseline: interpolated modified Kneser-Ney over the tokens of the denoiser.

    python -m training.evaluation.ngram --tokenizer models/nano/tokenizer.json
                                        builds the model of the train split, or reads it, and prints its validation loss

The baseline that a neural model must beat to be worth its arithmetic. Estimation as in Chen & Goodman (1998) and lmplz
(Heafield et al., 2013): discounts D1, D2, D3+ of each order from its counts of counts, all orders interpolated, order 1
with the uniform distribution. No n-gram is pruned.

An n-gram is one unsigned 64-bit key with the first token in the highest bits. In sorted order all continuations of a
context are adjacent, and `searchsorted` finds an n-gram or a context. <|endoftext|> separates documents: it may be the
first token of an n-gram (as lmplz's <s>) or the last (as </s>), never one in the middle.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from training.corpus.documents import DATA_FOLDER, load_documents, split_path
from training.model.config import SpecialTokens
from training.model.tokenizer import load_tokenizer

ORDER = 5
KEY_BITS = 64
CACHE_FOLDER = DATA_FOLDER / "ngram"
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # of lmplz, where the counts of counts give none (few words, many tokens)
DOCUMENTS_A_BATCH = 256


class VocabularyTooLarge(ValueError):
    """The tokens of one n-gram do not fit in a key."""


@dataclass
class NgramModel:
    """For each order 1…n, at index order − 1: sorted keys (uint64); the interpolated probability of the last token
    given the others (float32); the backoff weight of the lower order when the n-gram is the context (float32; 1 if it
    was never one). Order 1 has the whole vocabulary."""

    vocab_size: int
    boundary: int
    keys: list[np.ndarray]
    probabilities: list[np.ndarray]
    backoffs: list[np.ndarray]

    @property
    def order(self) -> int:
        return len(self.keys)

    @property
    def bits(self) -> int:
        return token_bits(self.vocab_size, self.order)

    @classmethod
    def build(cls, tokens: np.ndarray, vocab_size: int, boundary: int, order: int = ORDER) -> "NgramModel":
        """tokens (n,): boundary, document, boundary, …, document, boundary. Raises VocabularyTooLarge."""
        bits = token_bits(vocab_size, order)
        counted = count_ngrams(tokens, vocab_size, boundary, order, bits)
        model = cls(vocab_size, boundary, [], [], [])
        for n, (keys, counts) in enumerate(counted, start=1):
            model._add_order(n, keys, counts, bits)
        return model

    def _add_order(self, n: int, keys: np.ndarray, counts: np.ndarray, bits: int) -> None:
        """Probabilities of order n from its (adjusted) counts and the order below; backoff weights of its contexts."""
        discount = np.concatenate(([0.0], discounts(counts)))[np.minimum(counts, 3)].astype(np.float32)
        contexts = keys >> np.uint64(bits)
        starts = np.flatnonzero(np.diff(contexts, prepend=~contexts[:1]))
        totals = np.add.reduceat(counts, starts, dtype=np.float64)
        freed = (np.add.reduceat(discount, starts, dtype=np.float64) / totals).astype(np.float32)
        sizes = np.diff(starts, append=len(keys))
        if n == 1:
            lower = np.float32(1 / self.vocab_size)
        else:
            suffixes = keys & np.uint64((1 << bits * (n - 1)) - 1)
            lower = self.probabilities[-1][np.searchsorted(self.keys[-1], suffixes)]
            self.backoffs[-1][np.searchsorted(self.keys[-1], contexts[starts])] = freed
        share = (counts - discount) / np.repeat(totals, sizes).astype(np.float32)
        self.keys.append(keys)
        self.probabilities.append(share + np.repeat(freed, sizes) * lower)
        self.backoffs.append(np.ones(len(keys), np.float32))

    def _find(self, n: int, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of n-grams in the arrays of order n, and whether they exist."""
        places = np.minimum(np.searchsorted(self.keys[n - 1], keys), len(self.keys[n - 1]) - 1)
        return places, self.keys[n - 1][places] == keys

    def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """tokens (n,) → log-probability in nats (n−1,) of each token but the first, given up to order − 1 tokens before
        it, back to the last boundary."""
        result = np.zeros(len(tokens) - 1)
        undecided = np.ones(len(tokens) - 1, bool)
        for n in range(min(self.order, len(tokens)), 0, -1):
            skip = max(n - 2, 0)  # the first targets have shorter contexts
            ends = np.arange(skip + 1, len(tokens))
            ends = ends[undecided[skip:] & inside_documents(tokens, self.boundary, n)[ends - n + 1]]
            keys = pack(tokens, n, self.bits)[ends - n + 1]
            places, found = self._find(n, keys)
            result[ends[found] - 1] += np.log(self.probabilities[n - 1][places[found]])
            undecided[ends[found] - 1] = False
            if n > 1:
                places, known = self._find(n - 1, keys[~found] >> np.uint64(self.bits))
                result[ends[~found][known] - 1] += np.log(self.backoffs[n - 2][places[known]])
        return result

    def distribution(self, context: list[int]) -> np.ndarray:
        """Probabilities (vocabulary,) of the next token."""
        probabilities = self.probabilities[0].astype(np.float64)
        known = list(context[-(self.order - 1) :]) if self.order > 1 else []
        if self.boundary in known:
            known = known[len(known) - 1 - known[::-1].index(self.boundary) :]
        key = 0
        for n in range(2, len(known) + 2):
            key |= known[-(n - 1)] << self.bits * (n - 2)
            places, found = self._find(n - 1, np.array([key], np.uint64))
            if not found[0]:
                break
            probabilities *= self.backoffs[n - 2][places[0]]
            edges = np.array([key << self.bits, (key << self.bits) + self.vocab_size], np.uint64)
            first, last = np.searchsorted(self.keys[n - 1], edges)
            next_tokens = self.keys[n - 1][first:last] & np.uint64((1 << self.bits) - 1)
            probabilities[next_tokens.astype(np.int64)] = self.probabilities[n - 1][first:last]
        return probabilities

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {}
        for n in range(self.order):
            arrays |= {f"keys_{n}": self.keys[n], f"p_{n}": self.probabilities[n], f"backoff_{n}": self.backoffs[n]}
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, shape=np.array([self.vocab_size, self.boundary, self.order]), **arrays)
        partial.replace(path)  # never a half-written model

    @classmethod
    def load(cls, path: Path) -> "NgramModel":
        with np.load(path) as file:
            vocab_size, boundary, order = file["shape"].tolist()
            parts = [[file[f"{name}_{n}"] for n in range(order)] for name in ("keys", "p", "backoff")]
        return cls(vocab_size, boundary, *parts)


def token_bits(vocab_size: int, order: int) -> int:
    """Bits of a token in a key."""
    bits = (vocab_size - 1).bit_length()
    if bits * order > KEY_BITS:
        raise VocabularyTooLarge(f"{order} tokens of {bits} bits need {bits * order} bits, a key has {KEY_BITS}")
    return bits


def pack(tokens: np.ndarray, n: int, bits: int) -> np.ndarray:
    """Keys (tokens − n + 1,) of all runs of n tokens."""
    count = len(tokens) - n + 1
    keys = np.zeros(count, np.uint64)
    for offset in range(n):
        keys <<= np.uint64(bits)
        keys |= tokens[offset : offset + count].astype(np.uint64)
    return keys


def inside_documents(tokens: np.ndarray, boundary: int, n: int) -> np.ndarray:
    """Which runs of n tokens (tokens − n + 1,) have no boundary inside: only the first or the last may be one."""
    count = len(tokens) - n + 1
    good = np.ones(count, bool)
    for offset in range(1, n - 1):
        good &= tokens[offset : offset + count] != boundary
    if n == 2:
        good &= (tokens[:-1] != boundary) | (tokens[1:] != boundary)
    return good


def unique_counts(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct keys and how often each occurs (uint32). Sorts `keys` in place: memory is the limit here."""
    keys.sort()
    starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    return keys[starts], np.diff(starts, append=len(keys)).astype(np.uint32)


def count_ngrams(
    tokens: np.ndarray, vocab_size: int, boundary: int, order: int, bits: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(keys, counts) of order 1…order. The highest order is counted as it occurs; below it, the count of an n-gram is
    the number of different tokens before it (Kneser & Ney, 1995), or how often it occurs if it begins a document."""
    counted = [unique_counts(pack(tokens, order, bits)[inside_documents(tokens, boundary, order)])]
    for n in range(order - 1, 0, -1):
        keys, counts = unique_counts(counted[0][0] & np.uint64((1 << bits * n) - 1))
        if n > 1:
            begins = inside_documents(tokens, boundary, n) & (tokens[: len(tokens) - n + 1] == boundary)
            more_keys, more_counts = unique_counts(pack(tokens, n, bits)[begins])
            keys, counts = np.concatenate((keys, more_keys)), np.concatenate((counts, more_counts))
            by_key = np.argsort(keys, kind="stable")
            keys, counts = keys[by_key], counts[by_key]
        else:
            dense = np.zeros(vocab_size, np.uint32)
            dense[keys.astype(np.int64)] = counts
            keys, counts = np.arange(vocab_size, dtype=np.uint64), dense
        counted.insert(0, (keys, counts))
    return counted


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """D1, D2, D3+ (Chen & Goodman, 1998, eq. 26), or FALLBACK_DISCOUNTS where one of them would not lie in (0, k)."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(n1, n2, n3) == 0:
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    return found if all(0 < d < k for k, d in enumerate(found, start=1)) else FALLBACK_DISCOUNTS


def decode_greedily(model: NgramModel, context: list[int], max_tokens: int, stop=lambda ids: False) -> list[int]:
    """Greedy decoding: the most probable next token until the boundary, max_tokens or stop."""
    ids: list[int] = []
    while len(ids) < max_tokens and not stop(ids):
        token = int(model.distribution([*context, *ids]).argmax())
        if token == model.boundary:
            break
        ids.append(token)
    return ids


def split_tokens(tokenizer: Tokenizer, split: str) -> np.ndarray:
    """All documents of a split, uint16, <|endoftext|> before, between and after them."""
    boundary = SpecialTokens.of(tokenizer).end_of_text
    texts = [document.text for document in load_documents(split)]
    pieces = [np.array([boundary], np.uint16)]
    for i in tqdm(range(0, len(texts), DOCUMENTS_A_BATCH), desc=f"tokens of {split}", unit="batch"):
        for encoding in tokenizer.encode_batch(texts[i : i + DOCUMENTS_A_BATCH], add_special_tokens=False):
            if encoding.ids:
                pieces.append(np.array([*encoding.ids, boundary], np.uint16))
    return np.concatenate(pieces)


def ngram_of_train(tokenizer_path: Path) -> NgramModel:
    """The model of the train split, built at the first call; later calls read it from the cache folder."""
    digest = hashlib.sha256()
    for path in (tokenizer_path, split_path("train")):
        digest.update(path.read_bytes())
    cached = CACHE_FOLDER / f"{digest.hexdigest()[:16]}.npz"
    if not cached.exists():
        tokenizer = load_tokenizer(tokenizer_path)
        tokens = split_tokens(tokenizer, "train")
        model = NgramModel.build(tokens, tokenizer.get_vocab_size(), SpecialTokens.of(tokenizer).end_of_text)
        model.save(cached)
    return NgramModel.load(cached)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, default=Path("models/nano/tokenizer.json"))
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    arguments = parser.parse_args()
    model = ngram_of_train(arguments.tokenizer)
    for n, keys in enumerate(model.keys, start=1):
        print(f"order {n}: {len(keys):>12,} n-grams")
    held_out = split_tokens(load_tokenizer(arguments.tokenizer), arguments.split)
    print(
        f"{-model.log_probabilities(held_out).mean():.4f} nats a token on {arguments.split} ({len(held_out):,} tokens)"
    )


if __name__ == "__main__":
    main()
