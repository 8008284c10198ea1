"""What a shorter view costs: completions from the whole window of a model, from a near and from a narrow one, at the
same held-out places (docs/editors.md says when an editor is answered from which).

    npm ci && npm run build:kernels
    python -m training.evaluation.near_windows --model models/small --split test

Only places with more text before the cursor than a near window holds count: elsewhere all windows see the same.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from training.evaluation.editor_places import Answer, Place, complete, confidences, draw_places, least_shown
from training.evaluation.scores import markdown

WINDOWS = {"whole": "whole", "near, 256 + 64": "256,64", "narrow, 128 + 31": "128,31"}
LEAST_CHARACTERS = 4_000  # before the cursor: about 1,000 tokens


def far_places(split: str, count: int, seed: int) -> list[Place]:
    """`count` places with enough text before the cursor, languages and tasks in turn."""
    drawn = draw_places(split, 8 * count, seed)
    far = [place for place in drawn if len(place.example.prefix) >= LEAST_CHARACTERS]
    kinds = sorted({(place.task, place.language) for place in far})
    groups = [[place for place in far if (place.task, place.language) == kind] for kind in kinds]
    longest = max(map(len, groups), default=0)
    in_turn = [group[index] for index in range(longest) for group in groups if index < len(group)]
    return in_turn[:count]


def interval(differences: np.ndarray) -> float:
    """Half of the 95 % interval of a mean of paired differences."""
    return 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5


def report(answers: dict[str, list[Answer]], scale: dict | None) -> str:
    """One row for each window; differences are to the first."""
    first = next(iter(answers.values()))
    whole = np.array([answer.right for answer in first], float)
    rows = []
    for name, found in answers.items():
        right = np.array([answer.right for answer in found], float)
        shown = np.array([answer.text != "" for answer in found]) & (confidences(found, scale) >= least_shown(scale))
        same = np.mean([answer.text == other.text for answer, other in zip(found, first, strict=True)])
        difference = right - whole
        rows.append(
            [
                name,
                f"{np.mean([answer.seen for answer in found]):.0f}",
                f"{100 * right.mean():.1f} %",
                f"{100 * difference.mean():+.1f} ± {100 * interval(difference):.1f}",
                f"{100 * same:.0f} %",
                f"{100 * shown.mean():.0f} %",
                f"{100 * right[shown].mean():.0f} %" if shown.any() else "–",
            ]
        )
    header = ["window", "tokens seen", "right", "to the whole window", "same text", "something is shown", "of it right"]
    return markdown(header, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/small"))
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--places", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    places = far_places(options.split, options.places, options.seed)
    answers = {name: complete(options.model, places, window) for name, window in WINDOWS.items()}
    scale = json.loads((options.model / "config.json").read_text())["diffusion"].get("confidence")
    print(f"{options.model.name} at {len(places)} places of the {options.split} packages\n")
    print(report(answers, scale))


if __name__ == "__main__":
    main()
