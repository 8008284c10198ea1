"""Figures of docs/diffusion.md, drawn from the result of training.evaluation.compare."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from training.evaluation.scores import ALL_TASKS, MEASURES

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quicksilver",
    "font.size": 9,
}  # small files, byte for byte the same each time
COLOURS = {
    "thresholds": "tab:blue",
    "widths": "tab:green",
    "budgets": "tab:cyan",
    "ar": "tab:red",
    "fim": "tab:orange",
    "ngram": "grey",
}
LABELS = {
    "thresholds": "diffusion, reveal threshold",
    "widths": "diffusion, canvas width",
    "budgets": "diffusion, step budget",
    "ar": "AR, same weights",
    "fim": "AR, fill-in-the-middle",
    "ngram": "5-gram",
}
STEPS_SHOWN = range(4, 9)  # of the completion that is drawn: enough to see something, few enough for the page
SLOTS_SHOWN = 16
TOKEN_CHARACTERS = 9
NOTHING = "∅"  # a mask that is predicted to be the end, or after it
MEAN_STEPS = 12  # of the heat map


def save(figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def draw_quality(result: dict, path: Path, cost: str) -> None:
    """Quality against cost: a column for each task, a row for each measure."""
    tasks = result["tasks"]
    curves = {setting["name"]: setting["curve"] for setting in result["settings"]}
    with pyplot.rc_context(STYLE):
        size = (2.4 * len(tasks) + 0.6, 4.6)
        figure, axes = pyplot.subplots(2, len(tasks), figsize=size, sharex=True, sharey="row", squeeze=False)
        for column, (task, scores) in enumerate(tasks.items()):
            for axis, measure in zip(axes[:, column], ("exact_match", "edit_similarity")):
                _curves(axis, scores["settings"], curves, cost, measure)
                axis.set_xscale("log")
                axis.grid(alpha=0.3)
            axes[0, column].set_title(ALL_TASKS[task])
            axes[1, column].set_xlabel(MEASURES[cost].title)
        for axis, measure in zip(axes[:, 0], ("exact_match", "edit_similarity")):
            axis.set_ylabel(f"{MEASURES[measure].title}, %")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=5, bbox_to_anchor=(0.5, -0.06), frameon=False)
        figure.tight_layout()
        save(figure, path)


def _curves(axis, settings: dict[str, dict], curves: dict[str, str], cost: str, measure: str) -> None:
    for curve in ("thresholds", "widths", "budgets"):
        # every curve goes through the settings of the model
        points = [settings[name] for name, of in curves.items() if of == curve or name == "diffusion"]
        points.sort(key=lambda point: point[cost])
        x, y = [point[cost] for point in points], [100 * point[measure] for point in points]
        axis.plot(x, y, marker=".", color=COLOURS[curve], label=LABELS[curve])
    for system in ("ar", "fim"):
        if system in settings:
            point = settings[system]
            low, high = (100 * end for end in point[f"{measure}_interval"])
            y = 100 * point[measure]
            axis.errorbar(
                point[cost], y, [[y - low], [high - y]], marker="o", color=COLOURS[system], label=LABELS[system],
                linestyle="none", capsize=2,
            )  # fmt: skip
    if "ngram" in settings:
        axis.axhline(
            100 * settings["ngram"][measure], color=COLOURS["ngram"], linestyle=":", label=LABELS["ngram"]
        )  # fmt: skip


def visible(text: str) -> str:
    """Text of a token with visible white space, short enough for a cell."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·")
    return shown if len(shown) <= TOKEN_CHARACTERS else shown[: TOKEN_CHARACTERS - 1] + "…"


def chosen_frames(shown: list[dict]) -> dict:
    """The first completion on one canvas with STEPS_SHOWN steps, right or wrong."""
    for completion in shown:
        frames = completion["frames"]
        if len(frames) in STEPS_SHOWN and frames[-1]["canvas"]["block"] == 0:
            return completion
    raise ValueError(f"no completion of {STEPS_SHOWN.start} to {STEPS_SHOWN.stop - 1} steps on one canvas")


def draw_canvas(shown: list[dict], path: Path) -> None:
    """One completion step by step. Colour: confidence; black: decided tokens; grey: predictions for masks; frames:
    changes of the step."""
    completion = chosen_frames(shown)
    canvases = [frame["canvas"]["slots"][:SLOTS_SHOWN] for frame in completion["frames"]]
    with pyplot.rc_context(STYLE):
        size = (0.78 * len(canvases[0]) + 1.6, 0.42 * len(canvases) + 1)
        figure, axis = pyplot.subplots(figsize=size)
        image = _heat(axis, [[slot["confidence"] for slot in slots] for slots in canvases])
        for row, slots in enumerate(canvases):
            for column, slot in enumerate(slots):
                _slot(axis, column, row, slot)
        axis.set_xticks(range(len(canvases[0])))
        axis.set_yticks(range(len(canvases)), [f"step {row + 1}" for row in range(len(canvases))])
        width = len(completion["frames"][0]["canvas"]["slots"])
        axis.set_xlabel("slot" if width <= SLOTS_SHOWN else f"slot (the first {SLOTS_SHOWN} of {width})")
        before = completion["prefix"].rsplit("\n", 1)[-1][-60:]
        title = f"{before}█    stands in the file: {completion['middle']}".replace("$", r"\$")
        axis.set_title(title, loc="left", family="monospace", fontsize=8)
        figure.colorbar(image, label="confidence", pad=0.01)
        save(figure, path)


def _slot(axis, column: int, row: int, slot: dict) -> None:
    undecided = slot["state"] == "mask"
    text = {"dropped": "", "end": "end"}.get(slot["state"], visible(slot["text"]))
    if undecided and not text and slot["confidence"]:
        text = NOTHING
    axis.text(
        column, row, text.replace("$", r"\$"), ha="center", va="center", family="monospace", fontsize=6.5,
        color="0.45" if undecided else "black", style="italic" if undecided else "normal",
    )  # fmt: skip
    if slot.get("change") in ("reveal", "edit"):
        colour = "black" if slot["change"] == "reveal" else "tab:red"
        axis.add_patch(pyplot.Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=colour))


def _heat(axis, values):
    return axis.imshow(values, vmin=0, vmax=1, cmap="YlGn", aspect="auto", alpha=0.75)


def draw_confidence(shown: list[dict], path: Path) -> None:
    """Mean confidence of each slot at each step of the first canvas, over all completions. Dropped slots and finished
    completions are not counted."""
    sums, counts = {}, {}
    for completion in shown:
        for frame in completion["frames"]:
            if frame["canvas"]["block"] or frame["canvas"]["step"] > MEAN_STEPS:
                continue
            for slot, view in enumerate(frame["canvas"]["slots"]):
                if view["state"] == "dropped" or not view["confidence"]:
                    continue
                place = frame["canvas"]["step"] - 1, slot
                sums[place] = sums.get(place, 0.0) + view["confidence"]
                counts[place] = counts.get(place, 0) + 1
    steps, slots = (1 + max(place[axis] for place in sums) for axis in (0, 1))
    grid = [
        [sums[step, slot] / counts[step, slot] if (step, slot) in sums else float("nan") for slot in range(slots)]
        for step in range(steps)
    ]
    with pyplot.rc_context(STYLE):
        figure, axis = pyplot.subplots(figsize=(7.5, 3.2))
        image = _heat(axis, grid)
        axis.set(xlabel="slot", ylabel="step", title=f"mean confidence of slots, {len(shown)} completions")
        axis.set_yticks(range(steps), [str(step + 1) for step in range(steps)])
        figure.colorbar(image, label="confidence", pad=0.01)
        save(figure, path)
