"""Scores of completions, their confidence intervals, and tables that state in words which system is better."""

from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from training.evaluation.infilling_tasks import MORE_TASKS, TASKS
from training.evaluation.repair import KINDS

RESAMPLES = 2000  # of the bootstrap: the ends of a 95 % interval are then stable to about a tenth of a point
SYSTEMS = {
    "diffusion": "diffusion",
    "ar": "AR, same weights",
    "fim": "AR, fill-in-the-middle",
    "ngram": "5-gram",
    "float": "diffusion, float weights",
}
SHORT = {"ar": "AR", "fim": "AR-FIM", "ngram": "the 5-gram", "float": "float weights"}  # the same in a sentence
REPAIR_COLUMNS = {
    "repaired": "planted tokens corrected",
    "changed_wrongly": "changed to another wrong token",
    "right_spoiled": "right tokens made wrong",
    "found_masked": "found at the same places when masked",
}
ALL_TASKS = TASKS | MORE_TASKS
SAME_COST = 0.02  # costs that differ by less than this share count as equal


@dataclass(frozen=True)
class Completion:
    """One completion. tokens: emitted ones, an end token included; slot_evaluations: slots (AR: tokens) that the
    denoiser computed to emit them; CPU time in milliseconds, separately for the prompt (its keys and values) and
    decoding."""

    text: str
    tokens: int
    steps: int
    slot_evaluations: int
    prompt_ms: float
    decode_ms: float


@dataclass(frozen=True)
class Measure:
    """A row of the table. better: 'more' or 'less'; percent: a share, printed in per cent."""

    title: str
    better: str
    percent: bool = False


MEASURES = {
    "exact_match": Measure("exact match", "more", True),
    "edit_similarity": Measure("edit similarity", "more", True),
    "parses": Measure("file parses", "more", True),
    "slot_evaluations_per_token": Measure("slot evaluations per token", "less"),
    "steps": Measure("denoiser passes per completion", "less"),
    "prompt_ms": Measure("CPU ms, prompt", "less"),
    "decode_ms": Measure("CPU ms, decoding", "less"),
}


def edit_similarity(found: str, wanted: str) -> float:
    """1 − Levenshtein distance / length of the longer text, in characters."""
    return Levenshtein.normalized_similarity(found, wanted)


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values (n,)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def per_example(completions: list[Completion], middles: list[str]) -> dict[str, np.ndarray]:
    """exact_match and edit_similarity of each example, float64 (examples,)."""
    pairs = list(zip((completion.text for completion in completions), middles, strict=True))
    return {
        "exact_match": np.array([found == wanted for found, wanted in pairs], float),
        "edit_similarity": np.array([edit_similarity(found, wanted) for found, wanted in pairs]),
    }


def summarize(completions: list[Completion], middles: list[str]) -> dict:
    """The measures of one system on one task. A system without a denoiser has no slot evaluations and no passes."""
    quality = per_example(completions, middles)
    summary: dict = {"examples": len(middles)}
    for name, values in quality.items():
        summary[name] = float(values.mean())
        summary[f"{name}_interval"] = interval(values)
    slots = sum(completion.slot_evaluations for completion in completions)
    if slots:
        summary["slot_evaluations_per_token"] = slots / sum(completion.tokens for completion in completions)
        summary["steps"] = float(np.mean([completion.steps for completion in completions]))
        summary["prompt_ms"] = float(np.mean([completion.prompt_ms for completion in completions]))
    summary["decode_ms"] = float(np.mean([completion.decode_ms for completion in completions]))
    return summary


def compare(completions: dict[str, list[Completion]], middles: list[str]) -> dict:
    """Diffusion minus each other system in paired comparison: difference of the means and its 95 % interval."""
    return differences({system: per_example(found, middles) for system, found in completions.items()})


def differences(quality: dict[str, dict[str, np.ndarray]]) -> dict:
    """The same from the values of each example, by system and measure."""
    found: dict = {}
    for system in quality:
        if system == "diffusion":
            continue
        found[system] = {}
        for name, values in quality["diffusion"].items():
            found[system][name] = difference(values, quality[system][name])
    return found


def difference(values: np.ndarray, others: np.ndarray) -> dict:
    """Paired differences, values minus others, both (n,): their mean and its 95 % interval."""
    pairs = values - others
    return {"mean": float(pairs.mean()), "interval": interval(pairs)}


def in_words(name: str, task: dict) -> str:
    """Which system is better in one row, from the results of a task. Costs are compared only with the autoregressive
    systems: the 5-gram has no denoiser, and float weights cost the same in the reference."""
    said = []
    mine = task["systems"]["diffusion"].get(name)
    for system, summary in task["systems"].items():
        if system == "diffusion" or name not in summary:
            continue
        if MEASURES[name].percent:
            difference = task["differences"][system][name]
            said.append(_difference_in_words(SHORT[system], difference["mean"], difference["interval"]))
        elif system in ("ar", "fim"):
            said.append(_cost_in_words(SHORT[system], mine, summary[name]))
    return "; ".join(said)


def _difference_in_words(other: str, mean: float, interval: tuple[float, float]) -> str:
    mean, low, high = (100 * value for value in (mean, *interval))
    if low <= 0 <= high:
        return f"no clear difference to {other} ({mean:+.1f} points [{low:.1f}, {high:.1f}])"
    winner, loser = ("diffusion", other) if mean > 0 else (other, "diffusion")
    low, high = sorted((abs(low), abs(high)))
    return f"{winner} beats {loser} by {abs(mean):.1f} points [{low:.1f}, {high:.1f}]"


def _cost_in_words(other: str, mine: float, theirs: float) -> str:
    less, more = sorted((mine, theirs))
    if more < less * (1 + SAME_COST):
        return f"no difference to {other}"
    winner, loser = ("diffusion", other) if mine < theirs else (other, "diffusion")
    return f"{winner} is cheaper than {loser}, {more / less:.1f} times" if less else f"{winner} is free"


def cell(name: str, summary: dict) -> str:
    if name not in summary:
        return "–"
    if not MEASURES[name].percent:
        return f"{summary[name]:.2f}" if summary[name] < 100 else f"{summary[name]:.0f}"
    low, high = (100 * end for end in summary[f"{name}_interval"])
    return f"{100 * summary[name]:.1f} % [{low:.1f}, {high:.1f}]"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def tasks_table(tasks: dict) -> str:
    """One row for each task and measure, one column for each system, and which one is better."""
    systems = list(dict.fromkeys(system for task in tasks.values() for system in task["systems"]))
    rows = []
    for task_name, task in tasks.items():
        for name, measure in MEASURES.items():
            if not any(name in summary for summary in task["systems"].values()):
                continue
            cells = [cell(name, task["systems"].get(system, {})) for system in systems]
            rows.append([ALL_TASKS[task_name], measure.title, *cells, in_words(name, task)])
    return markdown(["task", "measure", *(SYSTEMS[system] for system in systems), "in words"], rows)


def loss_cell(name: str, losses: dict) -> str:
    if name not in losses:
        return "–"
    ends = losses.get(f"{name}_interval")
    return f"{losses[name]:.3f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def losses_table(losses: dict) -> str:
    """Losses in nats: one row for each loss, one column for each model."""
    titles = {
        "prefix_per_token": "next token, nats a token",
        "prefix_per_character": "next token, nats a character",
        "prefix_first_half": "the same, first half of the window, nats a token",
        "prefix_second_half": "the same, second half of the window, nats a token",
        "canvas_per_slot": "canvas from pure noise, nats a slot",
        "canvas_per_text_slot": "canvas from pure noise, nats a slot up to the end token",
    }
    models = list(losses)
    rows = []
    for name, title in titles.items():
        cells = [loss_cell(name, losses[model]) for model in models]
        words = ""
        if "float" in losses and name in losses["float"]:
            change = losses["quantized"][name] / losses["float"][name] - 1
            words = f"quantization changes it by {100 * change:+.2f} %"
        if "ngram" in losses and name in losses["ngram"]:
            ahead = "the denoiser" if losses["quantized"][name] < losses["ngram"][name] else "the 5-gram"
            words += ("; " if words else "") + f"{ahead} is ahead"
        rows.append([title, *cells, words])
    return markdown(["loss", *({"ngram": "5-gram"}.get(model, model) for model in models), "in words"], rows)


def sweep_table(sweep: list[dict]) -> str:
    """Quality and cost of each pair of thresholds; AR, if it was run, in the last row."""
    rows = [
        [
            row["setting"],
            cell("exact_match", row),
            cell("edit_similarity", row),
            cell("slot_evaluations_per_token", row),
            cell("steps", row),
            cell("decode_ms", row),
        ]
        for row in sweep
    ]
    names = ("exact_match", "edit_similarity", "slot_evaluations_per_token", "steps", "decode_ms")
    return markdown(["setting", *(MEASURES[name].title for name in names)], rows)


def repair_table(repair: list[dict]) -> str:
    """Planted wrong tokens at each edit threshold, see repair.py."""
    rows = [
        [
            KINDS[row["kind"]],
            str(row["count"]),
            str(row["canvases"]),
            str(row["threshold"]),
            *(f"{100 * row[name]:.1f} %" for name in REPAIR_COLUMNS),
        ]
        for row in repair
    ]
    return markdown(["planted", "in a canvas", "canvases", "edit threshold", *REPAIR_COLUMNS.values()], rows)
