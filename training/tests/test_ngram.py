"""The n-gram model against a slow one that follows the formulas with dictionaries."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from training.evaluation.ngram import NgramModel, VocabularyTooLarge, decode_greedily, discounts

BOUNDARY = 0
VOCABULARY = 12
# float32 arithmetic against float64: five interpolations of numbers below 1
TOLERANCE = 2e-6


def made_up_stream(seed: int, documents: int = 60) -> np.ndarray:
    """Documents of 1 to 30 tokens in which each token mostly follows from the one before."""
    draw = np.random.default_rng(seed)
    stream = [BOUNDARY]
    for _ in range(documents):
        token = int(draw.integers(1, VOCABULARY))
        for _ in range(draw.integers(1, 31)):
            stream.append(token)
            token = token * 5 % 11 + 1 if draw.random() < 0.7 else int(draw.integers(1, VOCABULARY))
            token = min(token, VOCABULARY - 1)
        stream.append(BOUNDARY)
    return np.array(stream, np.uint16)


class SlowKneserNey:
    """The same estimate, n-gram by n-gram."""

    def __init__(self, stream: list[int], order: int):
        documents, current = [], []
        for token in stream[1:]:
            current.append(token)
            if token == BOUNDARY:
                documents.append([BOUNDARY, *current])
                current = []
        grams = [Counter() for _ in range(order + 1)]
        for document in documents:
            for n in range(1, order + 1):
                grams[n].update(tuple(document[i : i + n]) for i in range(len(document) - n + 1))
        self.order, self.counts = order, {order: grams[order]}
        for n in range(1, order):
            before = defaultdict(set)
            for gram in grams[n + 1]:
                before[gram[1:]].add(gram[0])
            self.counts[n] = {gram: len(tokens) for gram, tokens in before.items()}
            if n > 1:
                self.counts[n] |= {gram: count for gram, count in grams[n].items() if gram[0] == BOUNDARY}
        self.discounts = {n: discounts(np.array(list(c.values()))) for n, c in self.counts.items()}

    def probability(self, context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / VOCABULARY
        following = {gram[-1]: count for gram, count in self.counts[n].items() if gram[:-1] == context}
        if not following:
            return lower
        discount = self.discounts[n]
        total = sum(following.values())
        freed = sum(discount[min(count, 3) - 1] for count in following.values())
        count = following.get(token, 0)
        kept = count - discount[min(count, 3) - 1] if count else 0
        return kept / total + freed / total * lower


def context_of(tokens: list[int], order: int) -> tuple[int, ...]:
    """The last order − 1 tokens, back to the last boundary."""
    context = tokens[-(order - 1) :]
    starts = [i for i, token in enumerate(context) if token == BOUNDARY]
    return tuple(context[starts[-1] :] if starts else context)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_probabilities_are_those_of_the_slow_model(order):
    train, held_out = made_up_stream(1), made_up_stream(2, documents=8)
    model, slow = NgramModel.build(train, VOCABULARY, BOUNDARY, order), SlowKneserNey(train.tolist(), order)
    tokens = held_out.tolist()
    expected = [slow.probability(context_of(tokens[:i], order), tokens[i]) for i in range(1, len(tokens))]
    assert np.exp(model.log_probabilities(held_out)) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("order", [2, 5])
def test_the_distribution_sums_to_one_and_holds_the_probability_of_every_token(order):
    model = NgramModel.build(made_up_stream(1), VOCABULARY, BOUNDARY, order)
    tokens = made_up_stream(3, documents=4)
    scored = np.exp(model.log_probabilities(tokens))
    for i in range(1, len(tokens)):
        distribution = model.distribution(tokens[:i].tolist())
        assert distribution.sum() == pytest.approx(1, abs=1e-5)
        assert distribution[tokens[i]] == pytest.approx(scored[i - 1], abs=TOLERANCE)


def test_a_token_that_was_never_seen_has_a_probability():
    stream = np.array([BOUNDARY, 1, 2, 3, 1, 2, 4, BOUNDARY], np.uint16)
    model = NgramModel.build(stream, VOCABULARY, BOUNDARY)
    assert 0 < np.exp(model.log_probabilities(np.array([1, 2, 9]))[1]) < 1 / VOCABULARY


def test_decoding_repeats_what_was_seen_and_ends_where_documents_end():
    stream = np.array([BOUNDARY, *[1, 2, 3, 4, 5, BOUNDARY] * 5], np.uint16)
    model = NgramModel.build(stream, VOCABULARY, BOUNDARY)
    assert decode_greedily(model, [BOUNDARY, 1], max_tokens=10) == [2, 3, 4, 5]
    assert decode_greedily(model, [BOUNDARY, 1], max_tokens=2) == [2, 3]
    assert decode_greedily(model, [1], max_tokens=10, stop=lambda ids: 3 in ids) == [2, 3]


def test_a_saved_model_is_read_back(tmp_path):
    model = NgramModel.build(made_up_stream(1), VOCABULARY, BOUNDARY)
    model.save(tmp_path / "model.npz")
    again = NgramModel.load(tmp_path / "model.npz")
    tokens = made_up_stream(2)
    assert np.array_equal(again.log_probabilities(tokens), model.log_probabilities(tokens))
    assert (again.vocab_size, again.boundary, again.order) == (VOCABULARY, BOUNDARY, model.order)


def test_a_vocabulary_that_does_not_fit_is_refused():
    with pytest.raises(VocabularyTooLarge, match="5 tokens of 13 bits need 65 bits"):
        NgramModel.build(made_up_stream(1), 8192, BOUNDARY)
