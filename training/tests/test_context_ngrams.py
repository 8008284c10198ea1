import math
import random

import pytest
import torch

from training.evaluation.context_ngrams import ContextNgrams
from training.evaluation.ngram_weights import Token, fit, mixed, nats

WEIGHTS = {"bias": -2.0, "length": 1.0, "share": 0.5, "count": 0.25}


def test_the_longest_match_counts_most():
    weight, probabilities = ContextNgrams([5, 6, 7, 2, 6, 8, 5, 6], [], WEIGHTS).next([])
    assert probabilities == pytest.approx({7: 0.8, 8: 0.2})
    assert weight == pytest.approx(1 / (1 + math.exp(-(-2 + math.log(2) + 0.5 * 0.8))))


def test_both_sides_and_the_completion_are_read_but_not_across_it():
    assert ContextNgrams([9, 5], [5, 7], WEIGHTS).next([])[1] == {7: 1}
    assert ContextNgrams([9], [], WEIGHTS).next([5, 7, 5])[1] == {7: 1}
    assert ContextNgrams([5], [7], WEIGHTS).next([]) is None


def test_the_mixture_is_a_distribution():
    torch.manual_seed(0)
    log_p = torch.log_softmax(torch.randn(12), dim=-1)
    ngrams = ContextNgrams([3, 4, 3, 5, 3], [], WEIGHTS)
    weight, probabilities = ngrams.next([])
    found = ngrams.mix(log_p.clone(), []).exp()
    assert found.sum().item() == pytest.approx(1, abs=1e-6)
    for token in range(12):
        expected = (1 - weight) * log_p[token].exp().item() + weight * probabilities.get(token, 0)
        assert found[token].item() == pytest.approx(expected, abs=1e-6)


def test_fitted_weights_gain_where_long_matches_are_right():
    rng = random.Random(0)
    tokens = []
    for _ in range(2000):
        length = rng.choice([1, 1, 2, 4, 8])
        right = rng.random() < 1 - 1 / (1 + length)
        match = {"length": length, "share": 1.0, "count": 1}
        tokens.append(Token(rng.uniform(0.05, 0.6), 1.0 if right else 0.0, match))
    tokens += [Token(0.5, 0.0) for _ in range(500)]
    train, test = tokens[::2], tokens[1::2]
    weights = fit(train)
    alone = nats(torch.tensor([token.model for token in test], dtype=torch.float64))
    assert nats(mixed(test, weights)) < alone - 0.1
    assert weights[1] > 0
    # nothing matches: the model decides
    assert mixed([Token(0.5, 0.0)], weights).item() == 0.5
