"""Windows and spans: text is cut at characters, pieces are tokenized separately, targets are the text of the canvas."""

import random

import numpy as np
import pytest

from training.model.config import SpecialTokens
from training.model.tokenizer import encode, train_tokenizer
from training.pretrain.windows import (
    SPAN_KINDS,
    Window,
    WindowSampler,
    canvas_starts,
    canvas_targets,
    cut_span,
    word_start,
)
from training.tests.made_up import readable_code

WINDOW, SLOTS, CANVASES = 96, 8, 6
PACKAGES = [[readable_code(seed, 30) for seed in range(start, start + 3)] for start in (0, 10)]


@pytest.fixture(scope="module")
def sampler():
    tokenizer = train_tokenizer([text for package in PACKAGES for text in package], 400)
    tokenizer.encode_special_tokens = True
    return WindowSampler(PACKAGES, tokenizer, WINDOW)


def decode(sampler, ids):
    return sampler.tokenizer.decode([int(i) for i in ids])


def test_windows_are_full_and_have_as_many_spans_as_asked(sampler):
    rng = random.Random(1)
    for _ in range(50):
        window = sampler.draw(rng, CANVASES, SLOTS)
        assert window.tokens.shape == (WINDOW,)
        assert window.spans.shape == (CANVASES, 2)
        starts, ends = window.spans.T
        assert ((ends == -1) | ((starts <= ends) & (ends <= window.horizon))).all()
        assert (starts <= WINDOW - SLOTS)[ends == -1].all()
        assert window.horizon <= WINDOW


@pytest.mark.parametrize(
    ("start", "end", "slots", "expected"),
    [
        (10, 15, 2, [10, 12, 14]),  # two full canvases, one with the last token and the end
        (10, 14, 2, [10, 12, 14]),  # the last has only the end
        (10, 13, 8, [10]),
        (10, -1, 2, [10, 12, 14, 16]),  # the document ends at 17
        (14, -1, 2, [14, 16]),
        (18, -1, 4, [18, 22, 26, 30]),
        (26, -1, 4, [26, 30]),  # the window ends at 34
        (18, -1, 2, [18, 20, 22, 24]),
    ],
)
def test_the_canvases_of_a_completion_follow_each_other(start, end, slots, expected):
    assert list(canvas_starts(start, end, slots, np.array([3, 17]), 34)) == expected


def test_a_narrow_canvas_ends_as_seldom_as_those_of_completions_do(sampler):
    """All canvases of the completions of the spans are equally likely; one of them has the end."""
    rng, width, canvases = random.Random(6), 2, 40
    ended = drawn = 0
    lengths = []
    for _ in range(300):
        window = sampler.draw(rng, canvases, width)
        x0, _, suffix_seen = canvas_targets(window, width, sampler.special)
        middles = suffix_seen > 0
        reach = window.spans[:, 1] - window.spans[:, 0]
        ends = (x0 == sampler.special.eom).any(-1)
        assert (ends == (reach < width))[middles].all()
        ended += int(ends[middles].sum())
        drawn += int(middles.sum())
        whole = sampler.draw(rng, 5, 64)  # fewer than there are spans: first canvases alone
        lengths += (whole.spans[:, 1] - whole.spans[:, 0])[whole.spans[:, 1] >= 0].tolist()
    opened = np.mean([length // width + 1 for length in lengths])
    assert ended / drawn == pytest.approx(1 / opened, rel=0.15)


def test_prefix_middle_and_suffix_do_not_add_up_to_the_window(sampler):
    """Otherwise a canvas could infer the length of its middle from its context."""
    rng = random.Random(5)
    sums = []
    for _ in range(200):
        window = sampler.draw(rng, CANVASES, SLOTS)
        _, prefix_seen, suffix_seen = canvas_targets(window, SLOTS, sampler.special)
        middles = window.spans[:, 1] - window.spans[:, 0]
        sums += (prefix_seen + suffix_seen + middles)[suffix_seen > 0].tolist()
    assert min(sums) < 0.3 * WINDOW
    assert max(sums) > 0.9 * WINDOW
    assert len(set(sums)) > 0.5 * WINDOW


def test_what_lies_around_a_span_is_tokenized_without_it(sampler):
    """Both sides of a cut are tokenized as separate texts, even in the middle of a word."""
    rng = random.Random(2)
    inside_words = canonical = spans = 0
    for _ in range(60):
        window = sampler.draw(rng, CANVASES, SLOTS)
        for start, end in window.spans:
            if end < 0:
                continue
            middle = window.tokens[start:end]
            left, right = decode(sampler, window.tokens[:start]), decode(sampler, window.tokens[end:])
            text = decode(sampler, middle)
            canonical += middle.tolist() == encode(sampler.tokenizer, text)
            spans += 1
            assert any(left[-40:] + text + right[:40] in document for package in PACKAGES for document in package) or (
                sampler.special.end_of_text in window.tokens
            )
            inside_words += left[-1:].isalnum() and text[:1].isalnum()
    assert inside_words > 10
    assert canonical > 0.7 * spans  # the others hold a cut of another canvas


def test_documents_are_separated(sampler):
    rng = random.Random(3)
    windows = [sampler.draw(rng, CANVASES, SLOTS) for _ in range(200)]
    starts = sum(int(window.tokens[0] == sampler.special.end_of_text) for window in windows)
    inside = sum(int((window.tokens[1:] == sampler.special.end_of_text).any()) for window in windows)
    assert starts > 0
    assert inside > 0


def test_words_start_where_the_tokenizer_cuts():
    text = "foo(barBaz) + 12\n  x"
    assert [word_start(text, i) for i in (1, 3, 4, 6, 10, 11, 12, 15, 16, 19)] == [0, 3, 4, 4, 10, 11, 11, 13, 16, 18]


@pytest.mark.parametrize("kind", SPAN_KINDS)
def test_spans_are_what_their_kind_says(kind):
    rng = random.Random(4)
    text = PACKAGES[0][0]
    for _ in range(200):
        character = rng.randrange(len(text))
        start, end = cut_span(rng, text, character, kind)
        assert 0 <= start <= end <= len(text)
        at_line_end = end == len(text) or text[end] == "\n"
        if kind == "line_rest":
            assert start == character
            assert at_line_end
            assert "\n" not in text[start:end]
        elif kind == "line":
            assert text[:start].rsplit("\n", 1)[-1].strip(" \t") == ""
            assert at_line_end
            assert "\n" not in text[start:end]
        elif kind == "lines":
            assert at_line_end
            assert text[start:end].count("\n") >= (1 if text[end:] else 0)
        elif kind == "random":
            assert end - start <= 160
        else:
            assert start == end or text[start - 1] == "\n" or start == 0


SPECIAL = SpecialTokens(pad=0, mask=1, eom=2, prefix=3, suffix=4, end_of_text=5)


def targets_of(start: int, end: int, tokens=range(10, 40)):
    window = Window(np.array(list(tokens), np.int32), np.array([[start, end]], np.int32), 30)
    x0, prefix_seen, suffix_seen = canvas_targets(window, SLOTS, SPECIAL)
    return x0[0].tolist(), int(prefix_seen[0]), int(suffix_seen[0])


def test_a_short_middle_is_followed_by_its_end_and_padding():
    assert targets_of(4, 7) == ([14, 15, 16, 2, 0, 0, 0, 0], 5, 24)


def test_an_empty_middle_is_its_end_alone():
    assert targets_of(4, 4)[0] == [2, 0, 0, 0, 0, 0, 0, 0]


def test_a_middle_of_all_slots_or_more_fills_the_canvas():
    assert targets_of(4, 12) == ([14, 15, 16, 17, 18, 19, 20, 21], 5, 19)
    assert targets_of(4, 25) == ([14, 15, 16, 17, 18, 19, 20, 21], 5, 6)


def test_a_continuation_sees_no_suffix_and_ends_only_with_its_document():
    assert targets_of(4, -1) == ([14, 15, 16, 17, 18, 19, 20, 21], 5, 0)
    assert targets_of(0, -1, [10, 11, 5, *range(20, 40)])[0] == [10, 11, 5, 0, 0, 0, 0, 0]
