"""Exact and near duplicates.

Similarity of two documents = Jaccard index of their sets of shingles, estimated from bottom-k sketches
(Broder 1997, "On the resemblance and containment of documents"; Cohen & Kaplan 2007 for bottom-k).
A shingle is a run of SHINGLE_BYTES bytes of the text without white space, so that formatting does not count.
"""

import hashlib
from collections import defaultdict

import numpy as np

SHINGLE_BYTES = 16  # about four code tokens; a power of two, for the doubling in `shingle_hashes`
SKETCH_SIZE = 128  # standard error of the estimate at 0.7: sqrt(0.7 * 0.3 / 128) = 0.04
INDEXED_HASHES = 8  # two documents of similarity 0.5 share none of their 8 smallest hashes with probability < 1 %
BUCKET_LIMIT = 64  # a shingle in more kept documents than this is boilerplate and not used to find duplicates
NEAR_DUPLICATE = 0.7  # within a split
NEAR_DUPLICATE_ACROSS = 0.5  # a held-out document against train: stricter, what is held out must be unseen

_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_IS_SPACE = np.zeros(256, dtype=bool)
_IS_SPACE[[9, 10, 12, 13, 32]] = True


def exact_key(text: str) -> bytes:
    """A key that is equal for texts that differ only in white space."""
    return hashlib.sha256("".join(text.split()).encode("utf-8")).digest()


def shingle_hashes(text: str) -> np.ndarray:
    """Polynomial hashes of all shingles, well mixed: uint64 (max(bytes - SHINGLE_BYTES + 1, 1),), with repetitions."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    data = data[~_IS_SPACE[data]]
    if len(data) < SHINGLE_BYTES:
        data = np.pad(data, (0, SHINGLE_BYTES - len(data)))
    hashes = data.astype(np.uint64) + np.uint64(1)
    power, width = _BASE, 1
    with np.errstate(over="ignore"):  # arithmetic is modulo 2^64 on purpose
        while width < SHINGLE_BYTES:
            # hash of 2w bytes at i = hash of w bytes at i, shifted, + hash of w bytes at i + w
            hashes = hashes[:-width] * power + hashes[width:]
            power, width = power * power, 2 * width
        # SplitMix64 finaliser: makes the order of the hashes independent of the text.
        hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX_1
        hashes = (hashes ^ (hashes >> np.uint64(27))) * _MIX_2
        return hashes ^ (hashes >> np.uint64(31))


def sketch(text: str) -> np.ndarray:
    """The SKETCH_SIZE smallest distinct shingle hashes, ascending: uint64 (up to SKETCH_SIZE,)."""
    hashes = shingle_hashes(text)
    if len(hashes) > 4 * SKETCH_SIZE:
        # Sorting all hashes would take most of the time. They are uniform, so this bound keeps about twice as many as
        # needed.
        few = np.unique(hashes[hashes < np.uint64((1 << 64) // len(hashes) * 2 * SKETCH_SIZE)])
        if len(few) >= SKETCH_SIZE:
            return few[:SKETCH_SIZE]
    return np.unique(hashes)[:SKETCH_SIZE]


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Jaccard index of two shingle sets, estimated from their sketches; exact when both sets fit in a sketch."""
    merged = np.sort(np.concatenate((a, b)))  # a value of both sketches occurs twice in a row
    repeated = merged[1:] == merged[:-1]
    rank = np.arange(2, len(merged) + 1) - np.cumsum(repeated)  # of each value but the first among the distinct ones
    size = min(len(merged) - int(repeated.sum()), SKETCH_SIZE)
    return int((repeated & (rank <= size)).sum()) / size


class SketchIndex:
    """Finds documents that are similar to earlier ones, without a comparison with each of them."""

    def __init__(self) -> None:
        self._sketches: list[np.ndarray] = []
        self._buckets: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, document_sketch: np.ndarray) -> None:
        """Makes a document findable."""
        number = len(self._sketches)
        self._sketches.append(document_sketch)
        for value in document_sketch[:INDEXED_HASHES].tolist():
            self._buckets[value].append(number)

    def best_similarity(self, document_sketch: np.ndarray) -> float:
        """Highest similarity to a document of the index that shares one of the smallest hashes; 0 without one."""
        candidates: set[int] = set()
        for value in document_sketch[:INDEXED_HASHES].tolist():
            bucket = self._buckets.get(value, ())
            if len(bucket) <= BUCKET_LIMIT:
                candidates.update(bucket)
        return max((similarity(document_sketch, self._sketches[number]) for number in candidates), default=0.0)
