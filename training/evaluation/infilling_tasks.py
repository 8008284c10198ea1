"""Infilling examples from held-out packages: a span is removed from a file and has to be completed.

The prefix and the suffix are the whole file around the span, so a completion has to predict where to stop. The same
seed gives every system the same examples.
"""

import bisect
import random
from dataclasses import dataclass
from itertools import accumulate

from training.pretrain.windows import RANDOM_CHARACTERS_MAX, cut_span

# Name of a task → kind of span (windows.cut_span), title.
TASKS = {
    "line_rest": "rest of the line",
    "line": "whole line",
    "random": "random span",
}
LINE_TASKS = ("line_rest", "line", "continuation")  # a middle without a line end
# Tasks that only training.evaluation.compare has.
MORE_TASKS = {
    "lines": "several lines",
    "continuation": "continuation",  # rest of the line, with nothing on the right of the cursor
}
MIDDLE_CHARACTERS_MAX = RANDOM_CHARACTERS_MAX  # longer lines are data more often than code


@dataclass(frozen=True)
class Example:
    prefix: str
    middle: str
    suffix: str


def draw_examples(packages: list[list[str]], task: str, count: int, seed: int) -> list[Example]:
    """Examples of a task: every package is equally likely, and every character in it. A middle is never blank."""
    rng = random.Random(f"{seed}/{task}")
    ends = [list(accumulate(map(len, documents))) for documents in packages]
    examples: list[Example] = []
    while len(examples) < count:
        package = rng.randrange(len(packages))
        character = rng.randrange(ends[package][-1])
        document = bisect.bisect_right(ends[package], character)
        text = packages[package][document]
        kind = "line_rest" if task == "continuation" else task
        start, end = cut_span(rng, text, character - (ends[package][document] - len(text)), kind)
        middle = text[start:end]
        if task == "lines" and "\n" not in middle.rstrip("\n"):
            continue
        if middle.strip() and len(middle) <= MIDDLE_CHARACTERS_MAX:
            examples.append(Example(text[:start], middle, "" if task == "continuation" else text[end:]))
    return examples
