"""How often what an editor shows is right, and how sure the model has to be: precision against coverage.

    npm ci && npm run build:kernels
    python -m training.evaluation.editor_places --model models/small --fit          fits the confidence on validation
    python -m training.evaluation.editor_places --model models/small --split test --docs docs --readme README.md

Places are drawn from held-out packages, as many of each language: rests of lines from a random character on, whole
lines, and spans inside a line, before what stands there already. The service completes them by its editor rules
(bench/quality/editor-places.ts), each from its whole window, as after the first key in a file. A completion is right if
it equals what stood there, up to white space.

The confidence is a logistic function of the log-probabilities of the tokens that are shown, and of the token that ended
the completion.
`--fit` writes it, with the least confidence that is shown, to the model's config.json and manifest. `--readme` writes
three completions into a page: in the order of drawing the first two right ones that are shown and the first wrong one.
"""

import argparse
import json
import math
import random
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm

from training.evaluation.compare import NODE, ROOT
from training.evaluation.comparison_report import write_into
from training.evaluation.infilling_tasks import Example, draw_examples
from training.evaluation.scores import markdown
from training.export.model_card import code
from training.export.weights import write_manifest
from training.pretrain.data import texts_by_package

LANGUAGES = ("javascript", "typescript", "python", "markdown")
TASKS = ("line_rest", "line", "random")
# Of what is shown, in the choice of the threshold: on other packages half of it should be right.
LEAST_PRECISION = 0.55
LEAST_COVERAGE = 0.1  # of the places, in the choice of the threshold: fewer say nothing about precision
SUREST = -1e-3  # log-probabilities above it count as this one: its odds are finite
DEFAULT_LEAST_SHOWN = 0.2  # DEFAULT_MIN_CONFIDENCE of src/api/editor, for a model without a scale
BINS = 8  # of the reliability diagram, with as many completions each


@dataclass
class Place:
    language: str
    task: str
    example: Example


@dataclass
class Answer:
    """What would be shown, and the sum of the log-probabilities of its tokens. right: it equals what stood there; end:
    log-probability of the token that ended it, None if none did; seen: tokens of context that it was computed from."""

    text: str
    total: float
    tokens: int
    right: bool
    end: float | None = None
    seen: int = 0

    @property
    def mean(self) -> float:
        return self.total / max(1, self.tokens)


def draw_places(split: str, count: int, seed: int) -> list[Place]:
    """`count` places of each language, a third of each task. The middle has no line end."""
    places = []
    for language in LANGUAGES:
        packages = texts_by_package(split, [language])
        for task in TASKS:
            # some are left out below
            drawn = draw_examples(packages, task, 4 * count, seed)
            inside = [example for example in drawn if task != "random" or "\n" not in example.middle]
            places += [Place(language, task, example) for example in inside[: count // len(TASKS)]]
    return places


def complete(model: Path, places: list[Place], window: str | None = None) -> list[Answer]:
    """window: see bench/quality/editor-places.ts. Raises RuntimeError if Node fails."""
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "places.jsonl"
        file.write_text("".join(json.dumps(asdict(place.example)) + "\n" for place in places))
        command = [NODE, "bench/quality/editor-places.ts", "--model", model.resolve(), "--places", file]
        command += ["--window", window] if window else []
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
            for place, line in zip(tqdm(places, unit="place"), node.stdout):
                found = json.loads(line)
                right = without_space(found["text"]) == without_space(place.example.middle)
                end, seen = found.get("end"), found["seen"]
                answers.append(Answer(found["text"], found["total"], found["tokens"], right, end, seen))
    if node.returncode or len(answers) < len(places):
        raise RuntimeError(f"bench/quality/editor-places.ts ended with {node.returncode}")
    return answers


def without_space(text: str) -> str:
    return "".join(text.split())


def log_odds(log_probability: float) -> float:
    """ln(p / (1 − p)) of ln p."""
    bounded = min(log_probability, SUREST)
    return bounded - math.log(-math.expm1(bounded))


def features(answers: list[Answer]) -> torch.Tensor:
    """(answers, 4): 1, mean, log-odds of the whole answer and its end, whether it has no end."""
    rows = [
        [1.0, answer.mean, log_odds(answer.total + (answer.end or 0.0)), float(answer.end is None)]
        for answer in answers
    ]
    return torch.tensor(rows, dtype=torch.float64)


def fit(answers: list[Answer]) -> dict[str, float]:
    """The logistic function that predicts `right` best, slightly regularised; slopes are not negative. Answers without
    text are left out: no middle is empty here, so they would make a sure end look wrong."""
    answers = [answer for answer in answers if answer.text]
    inputs = features(answers)
    right = torch.tensor([float(answer.right) for answer in answers], dtype=torch.float64)
    weights = torch.tensor([0.0, 1.0, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def slopes() -> torch.Tensor:
        return torch.cat((weights[:1], weights[1:3].clamp(min=0), weights[3:]))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ slopes(), right)
        loss = loss + 1e-3 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    names = ("bias", "mean", "odds", "open")
    return {name: round(float(value), 4) for name, value in zip(names, slopes().detach())}


def confidences(answers: list[Answer], scale: dict[str, float] | None) -> np.ndarray:
    """Probability that each answer is right; without a scale the geometric mean of its token probabilities."""
    if scale is None:
        return np.exp([answer.mean for answer in answers])
    weights = torch.tensor([scale[name] for name in ("bias", "mean", "odds", "open")], dtype=torch.float64)
    return torch.sigmoid(features(answers) @ weights).numpy()


def least_shown(scale: dict[str, float] | None) -> float:
    return scale["least_shown"] if scale else DEFAULT_LEAST_SHOWN


def shown_and_right(answers: list[Answer]) -> tuple[np.ndarray, np.ndarray]:
    """For each answer whether it has text, and whether it is right."""
    return np.array([answer.text != "" for answer in answers]), np.array([answer.right for answer in answers])


def curve(answers: list[Answer], sure: np.ndarray) -> list[dict]:
    """For each threshold the share of places at which something is shown, and the share of that which is right."""
    shown, right = shown_and_right(answers)
    rows = []
    for threshold in (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9):
        taken = shown & (sure >= threshold)
        precision = right[taken].mean() if taken.any() else float("nan")
        rows.append({"threshold": threshold, "coverage": taken.mean(), "precision": precision})
    return rows


def choose_threshold(answers: list[Answer], sure: np.ndarray) -> float:
    """The lowest threshold, in steps of 0.01, from which on at least LEAST_PRECISION of what is shown is right; the one
    with the highest share where none reaches it."""
    shown, right = shown_and_right(answers)
    best, best_precision = 0.0, -1.0
    for threshold in np.arange(0, 1, 0.01):
        taken = shown & (sure >= threshold)
        if taken.mean() < LEAST_COVERAGE:
            break
        if right[taken].mean() > best_precision:
            best, best_precision = float(threshold), right[taken].mean()
        if best_precision >= LEAST_PRECISION:
            break
    return round(best, 2)


def reliability(answers: list[Answer], sure: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence, share that is right, and number of the completions of each bin; bins have equally many."""
    order = [index for index in np.argsort(sure) if answers[index].text != ""]
    right = np.array([answer.right for answer in answers])
    parts = [part for part in np.array_split(np.array(order, dtype=int), BINS) if len(part)]
    return [(float(sure[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def draw(path: Path, rows: list[dict], bins: list[tuple[float, float, int]], chosen: float) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    left.plot([row["coverage"] for row in rows], [row["precision"] for row in rows], marker="o", color="#1a7f37")
    for row in rows[::2]:
        left.annotate(f"{row['threshold']:g}", (row["coverage"], row["precision"]), fontsize=7)
    left.set(xlabel="places at which something is shown", ylabel="of it right", xlim=(0, 1), ylim=(0, 1))
    left.set_title(f"threshold as shipped: {chosen:g}", fontsize=9)
    right.plot([0, 1], [0, 1], color="#999", linewidth=1)
    right.plot([mean for mean, _, _ in bins], [share for _, share, _ in bins], marker="o", color="#1a7f37")
    right.set(xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def report(model: str, split: str, places: list[Place], answers: list[Answer], scale: dict | None) -> str:
    sure = confidences(answers, scale)
    shown, right = shown_and_right(answers)
    chosen = least_shown(scale)

    def row(name: str, where: np.ndarray) -> list[str]:
        taken = where & shown & (sure >= chosen)
        share = f"{100 * right[taken].mean():.0f} %" if taken.any() else "–"
        return [name, str(where.sum()), f"{100 * taken.sum() / where.sum():.0f} %", share]

    of = {name: np.array([getattr(place, kind) == name for place in places])
          for kind, names in (("language", LANGUAGES), ("task", TASKS)) for name in names}  # fmt: skip
    rows = [row("all", np.ones(len(places), bool)), *(row(name, where) for name, where in of.items())]
    points = [
        [f"{point['threshold']:g}", f"{100 * point['coverage']:.0f} %", f"{100 * point['precision']:.0f} %"]
        for point in curve(answers, sure)
        if point["coverage"]
    ]
    what = f"{model} at {len(places)} places of the {split} packages; shown from a confidence of {chosen:g} on."
    by_place = markdown(["places", "number", "something is shown", "of it right"], rows)
    by_threshold = markdown(["threshold", "something is shown", "of it right"], points)
    return f"{what}\n\n{by_place}\n\n{by_threshold}"


EXAMPLES = (True, True, False)  # right?
BEFORE_CHARACTERS, AFTER_CHARACTERS = 44, 16  # of the line with the cursor


def examples(places: list[Place], answers: list[Answer], sure: np.ndarray, chosen: float) -> str:
    """A table of completions that are shown: of each kind of EXAMPLES the first ones, unedited."""
    order = list(range(len(places)))
    random.Random(0).shuffle(order)  # the places are sorted by language
    taken: list[int] = []
    for right in EXAMPLES:
        taken += [
            index
            for index in order
            if index not in taken and answers[index].text and sure[index] >= chosen and answers[index].right == right
        ][:1]
    rows = []
    for index in taken:
        example = places[index].example
        before = example.prefix.rsplit("\n", 1)[-1][-BEFORE_CHARACTERS:].lstrip()
        after = example.suffix.split("\n", 1)[0][:AFTER_CHARACTERS]
        verdict = "yes" if answers[index].right else "no"
        rows.append([code(f"{before}█{after}"), code(answers[index].text), code(example.middle), verdict])
    return markdown(["at the cursor (█)", "`small` shows", "what stood there", "right"], rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/small"))
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--places", type=int, default=99, help="of each language")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fit", action="store_true", help="fit the confidence, and write it to the model's config")
    parser.add_argument("--readme", type=Path, help="page whose table of examples is updated")
    parser.add_argument("--docs", type=Path, help="folder with diffusion.md, whose table and figure are updated")
    options = parser.parse_args(arguments)
    places = draw_places(options.split, options.places, options.seed)
    answers = complete(options.model, places, "whole")
    path = options.model / "config.json"
    config = json.loads(path.read_text())
    if options.fit:
        scale = fit(answers)
        scale["least_shown"] = choose_threshold(answers, confidences(answers, scale))
        config["diffusion"]["confidence"] = scale
        path.write_text(json.dumps(config, indent=2) + "\n")
        write_manifest(options.model)
        print(json.dumps(scale))
    scale = config["diffusion"].get("confidence")
    text = report(options.model.name, options.split, places, answers, scale)
    print(text)
    sure = confidences(answers, scale)
    chosen = least_shown(scale)
    if options.readme:
        write_into(options.readme, {"examples": examples(places, answers, sure, chosen)})
    if options.docs:
        image = options.docs / "images/editor-confidence.svg"
        draw(image, curve(answers, sure), reliability(answers, sure), chosen)
        write_into(options.docs / "diffusion.md", {"editor": text})


if __name__ == "__main__":
    main()
