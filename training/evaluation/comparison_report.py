"""The result of training.evaluation.compare as text: Markdown tables, and sentences generated from the numbers."""

import re
from pathlib import Path

from training.evaluation.scores import ALL_TASKS, MEASURES, cell, markdown, repair_table, tasks_table

MAIN = ("diffusion", "ar", "fim", "ngram")  # systems of the first table
NAMES = {"ar": "AR, same weights", "fim": "AR-FIM", "ngram": "5-gram"}
QUALITY = ("exact_match", "edit_similarity", "parses")
COSTS = {"slot_evaluations_per_token": "slot evaluations per token", "decode_ms": "CPU ms"}


def main_table(result: dict) -> str:
    """Systems side by side, diffusion with the model's own thresholds, and which one is better."""
    tasks = {
        name: {
            "systems": {system: task["settings"][system] for system in MAIN if system in task["settings"]},
            "differences": task["differences"],
        }
        for name, task in result["tasks"].items()
    }
    return tasks_table(tasks)


def curve_table(result: dict) -> str:
    """A row for each task and setting."""
    names = [setting["name"] for setting in result["settings"]] + ["ngram"]
    columns = [*QUALITY, "slot_evaluations_per_token", "steps", "decode_ms"]
    rows = []
    for task, scores in result["tasks"].items():
        for name in names:
            summary = scores["settings"].get(name)
            if summary:
                cells = [cell(column, summary) for column in columns]
                rows.append([ALL_TASKS[task], NAMES.get(name, name), *cells])
    return markdown(["task", "setting", *(MEASURES[column].title for column in columns)], rows)


def verdicts(result: dict) -> str:
    """Which of autoregressive decoding and diffusion wins: the best setting of diffusion against each baseline, and its
    cheapest setting that is at least as good as the baseline."""
    curves = {setting["name"]: setting["curve"] for setting in result["settings"]}
    rows = []
    for task, scores in result["tasks"].items():
        settings = scores["settings"]
        diffusion = {name: settings[name] for name, curve in curves.items() if curve not in ("ar", "fim", "given")}
        for baseline in ("ar", "fim"):
            if baseline in settings:
                rows.append(
                    [ALL_TASKS[task], NAMES[baseline], *_verdict(diffusion, settings[baseline], NAMES[baseline])]
                )
    header = [
        "task",
        "against",
        "edit similarity, diffusion at its best",
        *(f"{t} at that quality" for t in COSTS.values()),
    ]
    return markdown([*header, "who wins"], rows)


def _verdict(diffusion: dict[str, dict], baseline: dict, name: str) -> list[str]:
    best = max(diffusion, key=lambda setting: diffusion[setting]["edit_similarity"])
    quality = (
        f"{100 * diffusion[best]['edit_similarity']:.1f} % ({best}) against {100 * baseline['edit_similarity']:.1f} %"
    )
    as_good = {s: row for s, row in diffusion.items() if row["edit_similarity"] >= baseline["edit_similarity"]}
    cells, cheaper = [], []
    for cost, title in COSTS.items():
        if not as_good:
            cells.append("not reached")
            continue
        cheapest = min(as_good, key=lambda setting: as_good[setting][cost])
        cells.append(f"{as_good[cheapest][cost]:.1f} ({cheapest}) against {baseline[cost]:.1f}")
        if as_good[cheapest][cost] < baseline[cost]:
            cheaper.append(title)
    if not as_good:
        winner = f"{name}: better"
    elif len(cheaper) == len(COSTS):
        winner = "diffusion: as good for less"
    elif cheaper:
        winner = f"diffusion in {cheaper[0]}, {name} in the rest"
    else:
        winner = f"{name}: as good for less" + (
            "" if len(as_good) == len(diffusion) else ", though diffusion can be better"
        )
    return [quality, *cells, winner]


def given_table(result: dict) -> str:
    """Diffusion and AR when both are given the length."""
    rows = []
    for task, scores in result["tasks"].items():
        for name, change in scores.get("given", {}).items():
            cells = [cell(name, scores["settings"][system]) for system in ("length given", "ar", "diffusion")]
            said = _in_words(change, "diffusion is ahead", "AR is ahead")
            rows.append([ALL_TASKS[task], MEASURES[name].title, *cells, said])
    header = ["task", "measure", "diffusion, length given", "AR, length given", "diffusion, which ends by itself"]
    return markdown([*header, "with the length given, in words"], rows)


def edits_table(result: dict) -> str:
    """With edits and without, at no more slot evaluations."""
    columns = ("edit_similarity", "slot_evaluations_per_token")
    rows = []
    for task, scores in result["tasks"].items():
        for row in scores["edits"]:
            cells = [cell(column, scores["settings"][row[side]]) for side in ("with", "without") for column in columns]
            said = _in_words(row, "edits help", "edits harm")
            rows.append([ALL_TASKS[task], row["with"], *cells[:2], row["without"], *cells[2:], said])
    titles = [MEASURES[column].title for column in columns]
    return markdown(["task", "with edits", *titles, "without, at no more evaluations", *titles, "in words"], rows)


def few_table(result: dict) -> str:
    """The best setting of diffusion with few slot evaluations, against revealing slot by slot and the baselines."""
    rows = []
    for task, scores in result["tasks"].items():
        few, settings = scores["few"], scores["settings"]
        if few is None:
            rows.append([ALL_TASKS[task], *["–"] * 6, "no setting is so cheap"])
            continue
        row = settings[few["setting"]]
        lost, low, high = _points(few["lost"]["exact_match"])
        similarity, *_ = _points(few["lost"]["edit_similarity"])
        baselines = [settings[name] for name in ("ar", "fim") if name in settings]
        cheaper = all(row["decode_ms"] < baseline["decode_ms"] for baseline in baselines)
        better = all(row["edit_similarity"] >= baseline["edit_similarity"] for baseline in baselines)
        said = (
            f"{'cheaper' if cheaper else 'dearer'} than autoregressive decoding and {'as good' if better else 'worse'}"
        )
        rows.append(
            [
                ALL_TASKS[task],
                few["setting"],
                *(cell(name, row) for name in ("slot_evaluations_per_token", "decode_ms", "exact_match")),
                f"{lost:+.1f} [{low:.1f}, {high:.1f}]",
                f"{similarity:+.1f}",
                said,
            ]
        )
    header = ["task", "setting", "slot evaluations per token", "CPU ms", "exact match", "exact match lost, points"]
    return markdown([*header, "edit similarity lost, points", "in words"], rows)


def _points(difference: dict) -> tuple[float, float, float]:
    """Mean and bounds of the interval, in points."""
    low, high = difference["interval"]
    return 100 * difference["mean"], 100 * low, 100 * high


def _in_words(difference: dict, more: str, less: str) -> str:
    """`more` or `less` by the sign of a clear difference, and its size."""
    mean, low, high = _points(difference)
    verdict = "no clear difference" if low <= 0 <= high else more if mean > 0 else less
    return f"{verdict} ({mean:+.1f} points [{low:.1f}, {high:.1f}])"


def headline(result: dict) -> str:
    """The settings of the run."""
    return (
        f"{result['model']} on the {result['split']} packages, {result['examples']} examples a task, "
        f"seed {result['seed']}; reveal threshold {result['reveal_threshold']} and "
        f"edit threshold {result['edit_threshold']} unless stated otherwise. "
        "Intervals are 95 % bootstrap intervals over the examples. CPU ms are processor time of the WASM runtime for a "
        "completion whose context has been read."
    )


def parts_of(result: dict) -> dict[str, str]:
    """Name of a marker in docs/diffusion.md → the text for it."""
    return {
        "run": headline(result),
        "systems": main_table(result),
        "given": given_table(result),
        "verdicts": verdicts(result),
        "few": few_table(result),
        "edits": edits_table(result),
        "repair": repair_table(result["repair"]),
        "curve": curve_table(result),
    }


def report(result: dict) -> str:
    return "\n\n".join(parts_of(result).values())


def write_into(page: Path, parts: dict[str, str]) -> None:
    """Writes the parts between the markers `<!-- name -->` and `<!-- /name -->` of a page. Raises ValueError if a
    marker is not there exactly once."""
    text = page.read_text()
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->).*?(<!-- /{name} -->)", re.DOTALL)
        # a function, because the part may contain backslashes
        text, count = pattern.subn(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)
        if count != 1:
            raise ValueError(f"{page}: expected one place <!-- {name} --> … <!-- /{name} -->, found {count}")
    page.write_text(text)
