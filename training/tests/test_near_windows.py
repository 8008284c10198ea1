"""Answers from shorter windows beside those from the whole one, at the same places."""

from training.evaluation import near_windows
from training.evaluation.editor_places import Answer, Place
from training.evaluation.infilling_tasks import Example


def test_each_window_is_compared_with_the_first():
    whole = [
        Answer("right", -0.1, 1, True, seen=1200),
        Answer("right", -0.1, 1, True, seen=1200),
        Answer("no", -9.0, 1, False, seen=900),
    ]
    near = [
        Answer("right", -0.1, 1, True, seen=320),
        Answer("wrong", -0.1, 1, False, seen=320),
        Answer("no", -9.0, 1, False, seen=300),
    ]
    lines = near_windows.report({"whole": whole, "near": near}, None).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == ["whole", "1100", "66.7 %", "+0.0 ± 0.0", "100 %", "67 %", "100 %"]
    assert cells[1][:3] == ["near", "313", "33.3 %"]
    assert cells[1][3].startswith("-33.3 ± ")
    assert cells[1][4:] == ["67 %", "67 %", "50 %"]


def test_places_have_more_text_than_a_near_window_and_take_turns(monkeypatch):
    def place(language: str, characters: int) -> Place:
        return Place(language, "line", Example("x" * characters, "middle", "suffix"))

    drawn = [place("python", 5_000)] * 3 + [place("python", 100)] + [place("markdown", 4_000)] * 2
    monkeypatch.setattr(near_windows, "draw_places", lambda split, count, seed: drawn)
    found = near_windows.far_places("test", 4, 1)
    assert [one.language for one in found] == ["markdown", "python", "markdown", "python"]
    assert len(near_windows.far_places("test", 10, 1)) == 5
