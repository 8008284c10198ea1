"""The confidence of editor completions: fitted, it says how many are right; the threshold keeps enough of them right."""

import random

import numpy as np

from training.evaluation.editor_places import (
    LEAST_PRECISION,
    Answer,
    Place,
    choose_threshold,
    confidences,
    curve,
    draw_places,
    examples,
    fit,
    reliability,
    without_space,
)
from training.evaluation.infilling_tasks import Example


def made_up(count: int, seed: int) -> list[Answer]:
    """Answers that are right as often as their first token says, whatever the later ones do."""
    rng = random.Random(seed)
    answers = []
    for _ in range(count):
        tokens = rng.randint(1, 12)
        chance = rng.uniform(0.02, 0.98)
        total = float(np.log(chance))
        answers.append(Answer("text", total, tokens, rng.random() < chance))
    return answers


def test_a_fitted_confidence_is_the_share_that_is_right():
    answers = made_up(4000, 1)
    scale = fit(answers)
    sure = confidences(answers, scale)
    assert scale["mean"] >= 0 and scale["odds"] > 0
    for mean, share, _ in reliability(answers, sure):
        assert abs(mean - share) < 0.18
    # sure answers without text, wrong where no middle is empty, change nothing
    assert fit([*answers, *(Answer("", -0.001, 0, False) for _ in range(500))]) == scale
    # the geometric mean of the probabilities is far above it
    plain = confidences(answers, None)
    assert max(abs(mean - share) for mean, share, _ in reliability(answers, plain)) > 0.2


def test_examples_are_the_first_right_and_wrong_ones_that_are_shown():
    places = [Place("python", "line_rest", Example(f"a\nx{index} = ", f"y|{index}", "  # z\n")) for index in range(40)]
    answers = [Answer(f"y|{index}", -0.1, 2, index % 3 == 0) for index in range(40)]
    sure = np.array([0.9 if index % 2 else 0.1 for index in range(40)])
    rows = examples(places, answers, sure, 0.5).split("\n")[2:]
    assert [row.split(" | ")[-1].rstrip(" |") for row in rows] == ["yes", "yes", "no"]
    for row in rows:
        index = int(row.split("`x")[1].split(" ")[0])
        assert sure[index] >= 0.5
        assert answers[index].right == row.endswith("yes |")
        assert f"`x{index} = █  # z`" in row and f"`y\\|{index}`" in row
    # nothing is shown
    assert len(examples(places, answers, sure, 0.95).split("\n")) == 2


def test_the_threshold_is_the_lowest_that_keeps_enough_of_what_is_shown_right():
    answers = made_up(2000, 2)
    answers += [Answer("", 0.0, 0, False)] * 100
    sure = confidences(answers, fit(answers))
    threshold = choose_threshold(answers, sure)

    def precision(at: float) -> float:
        shown = [answer.right for answer, value in zip(answers, sure) if answer.text and value >= at]
        return sum(shown) / len(shown)

    assert precision(threshold) >= LEAST_PRECISION > precision(threshold - 0.02) - 0.02
    # where that is out of reach, the threshold is the best one that still shows something at a tenth of the places
    wrong = [Answer("x", -0.1, 1, index % 5 == 0) for index in range(900)]
    guesses = [Answer("x", -0.05, 1, index % 3 == 0) for index in range(150)]
    values = np.array([0.2] * 900 + [0.4] * 150)
    assert 0.2 < choose_threshold(wrong + guesses, values) <= 0.4
    rows = curve(answers, sure)
    assert [row["coverage"] for row in rows] == sorted((row["coverage"] for row in rows), reverse=True)
    assert rows[0]["coverage"] == 2000 / 2100


def test_places_are_the_same_for_the_same_seed_and_end_within_their_line(monkeypatch):
    from training.evaluation import editor_places
    from training.tests.made_up import readable_code

    packages = [[readable_code(seed, 40)] for seed in range(3)]
    monkeypatch.setattr(editor_places, "texts_by_package", lambda split, languages: packages)
    places = draw_places("validation", 9, 1)
    assert places == draw_places("validation", 9, 1)
    assert len(places) == 9 * 4
    assert all(place.example.middle.strip() for place in places)
    assert not any("\n" in place.example.middle for place in places)


def test_white_space_does_not_count():
    assert without_space(" a  =\tb ") == "a=b"
