"""Windows around a cursor: canvases hold what stands before their horizon, and end there."""

import random

import pytest

from training.model.tokenizer import train_tokenizer
from training.pretrain.cursor_windows import CursorSampler, draw_boundary, draw_horizon, lowest_start
from training.tests.made_up import readable_code

PREFIX, SUFFIX, SLOTS, CANVASES = 96, 24, 4, 8
PACKAGES = [[readable_code(seed, 30) for seed in range(start, start + 3)] for start in (0, 10)]
TEXTS = [text for package in PACKAGES for text in package]


@pytest.fixture(scope="module")
def sampler():
    tokenizer = train_tokenizer(TEXTS, 400)
    return CursorSampler(PACKAGES, tokenizer, PREFIX, SUFFIX)


def test_all_windows_have_the_same_shape(sampler):
    rng = random.Random(1)
    for _ in range(20):
        batch = sampler.batch(rng, 3, CANVASES, SLOTS)
        assert batch.prefix.shape == (3, PREFIX)
        assert batch.suffix.shape == (3, SUFFIX + 1)
        assert batch.x0.shape == (3, CANVASES, SLOTS)
        assert batch.before.shape == batch.prefix_seen.shape == batch.suffix_seen.shape == (3, CANVASES)


def test_prefix_and_suffix_meet_in_a_document(sampler):
    rng, special = random.Random(2), sampler.special
    for _ in range(60):
        prefix, (suffix,), *_ = sampler.draw(rng, CANVASES, SLOTS)
        before = [i for i in prefix.tolist() if i != special.pad]
        own = before[max((i for i, t in enumerate(before) if t == special.end_of_text), default=-1) + 1 :]
        after = [i for i in suffix.tolist()[1:] if i != special.pad]
        assert suffix[0] == special.suffix
        meeting = sampler.tokenizer.decode(own[-12:]) + sampler.tokenizer.decode(after[:12])
        assert any(meeting in text for text in TEXTS)


def test_a_backward_suffix_stream_ends_with_the_token_at_the_cursor():
    tokenizer = train_tokenizer(TEXTS, 400)
    samplers = [CursorSampler(PACKAGES, tokenizer, PREFIX, SUFFIX, suffix_order=o) for o in ("forward", "backward")]
    for seed in range(20):
        (_, (forward,), *others), (_, (backward,), *same) = (
            sampler.draw(random.Random(seed), CANVASES, SLOTS) for sampler in samplers
        )
        text = [token for token in forward.tolist()[1:] if token != samplers[0].special.pad]
        assert backward.tolist()[: len(text) + 1] == [forward[0], *text[::-1]]
        assert all((one == other).all() for one, other in zip(others, same, strict=True))


def test_a_canvas_continues_the_token_before_it_and_ends_at_the_horizon(sampler):
    rng, special = random.Random(3), sampler.special
    ended = empty = 0
    for _ in range(60):
        prefix, _, (x0,), (before,), (prefix_seen,), (suffix_seen,) = sampler.draw(rng, CANVASES, SLOTS)
        tokens = [special.prefix, *(i for i in prefix.tolist() if i != special.pad)]
        for canvas, last, precede, seen in zip(x0.tolist(), before, prefix_seen, suffix_seen):
            assert tokens[precede - 1] == last
            middle = tokens[precede : precede + SLOTS]
            full = len(middle) == SLOTS
            assert canvas[: len(middle)] == middle
            assert canvas[len(middle) :] == ([] if full else [special.eom] + [special.pad] * (SLOTS - len(middle) - 1))
            assert seen or full  # a continuation does not know where the document goes on
            ended += not full
            empty += not middle
    assert ended > 50
    assert empty > 5


def test_horizons_of_a_window_share_its_prefix_stream():
    tokenizer = train_tokenizer(TEXTS, 400)
    sampler, rng = CursorSampler(PACKAGES, tokenizer, PREFIX, SUFFIX, horizons=3), random.Random(6)
    special = sampler.special
    batch = sampler.batch(rng, 2, CANVASES, SLOTS)
    assert batch.prefix.shape == (2, PREFIX)
    assert batch.suffix.shape == (6, SUFFIX + 1)
    assert batch.x0.shape == (6, CANVASES, SLOTS)
    ends = set()
    for _ in range(40):
        prefix, suffix, x0, _, prefix_seen, suffix_seen = sampler.draw(rng, CANVASES, SLOTS)
        tokens = [special.prefix, *(i for i in prefix.tolist() if i != special.pad)]
        for row in range(3):
            after = [i for i in suffix[row].tolist()[1:] if i != special.pad]
            for canvas, precede, seen in zip(x0[row].tolist(), prefix_seen[row], suffix_seen[row]):
                if special.eom not in canvas or not seen:
                    continue
                end = precede + canvas.index(special.eom)
                assert tokens[precede:end] == canvas[: canvas.index(special.eom)]
                around = sampler.tokenizer.decode(tokens[max(1, end - 6) : end]) + sampler.tokenizer.decode(after[:8])
                assert any(around.split("<|endoftext|>")[-1] in text for text in TEXTS)
                ends.add(len(tokens) - end)
    assert 0 in ends
    assert len(ends) > 10


def test_no_suffix_begins_inside_a_character():
    text = "x = 1;\n" * 20 + "const s = 'é';\n"
    ids = train_tokenizer([text], 263).encode(text, add_special_tokens=False)
    assert any(a[1] != b[0] for a, b in zip(ids.offsets, ids.offsets[1:]))
    for seed in range(200):
        index, kind = draw_boundary(random.Random(seed), text, ids.offsets)
        assert ids.offsets[index - 1][1] == ids.offsets[index][0]
        assert kind not in ("line_end", "lines") or text[ids.offsets[index][0]] == "\n"
    assert draw_boundary(random.Random(0), "a", [(0, 1)]) is None


def test_some_windows_begin_with_their_document_and_the_others_are_filled_up(sampler):
    rng, special = random.Random(4), sampler.special
    drawn = [sampler.draw(rng, 1, SLOTS)[0].tolist() for _ in range(200)]
    assert any(special.pad in prefix for prefix in drawn)
    assert any(special.end_of_text in prefix for prefix in drawn)


def test_horizons_stand_where_suffixes_begin():
    rng, text = random.Random(5), "const a = f(b);\n  return [a, b];\n"
    kinds = {}
    for _ in range(400):
        at, kind = draw_horizon(rng, text, rng.randrange(len(text)))
        assert 0 < at <= len(text)
        kinds.setdefault(kind, set()).add(text[at : at + 1])
    assert kinds["line_end"] == kinds["lines"] == {"\n"}
    assert kinds["inside"] <= set(")];,")
    assert len(kinds["random"]) > 8


def test_middles_that_end_with_a_line_start_in_it_or_in_a_line_before():
    line_ends = [False, True, False, True, False, False]
    assert lowest_start(random.Random(0), line_ends, 0, "line_end") == 4
    assert {lowest_start(random.Random(seed), line_ends, 0, "lines") for seed in range(20)} == {0, 2}
    assert lowest_start(random.Random(0), line_ends, 5, "line_end") == 5  # not before the document
