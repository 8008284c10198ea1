"""Diffusion against autoregressive decoding: quality against compute, on the kernels of the runtime.

    npm ci && npm run build:kernels
    python -m training.evaluation.compare                                validation packages, 300 examples a task
    python -m training.evaluation.compare --split test --docs docs       tables and figures of docs/diffusion.md
    python -m training.evaluation.compare --fim training/.runs/fim/model with the fill-in-the-middle baseline

Up to four systems complete the same examples: diffusion over reveal thresholds, canvas widths and step budgets; the
same weights decoded from left to right (the prefix stream, which cannot see the suffix); an autoregressive
fill-in-the-middle model of the same shape (training.evaluation.fim_baseline); the 5-gram model.
bench/quality/systems.ts runs the first three and measures their cost.
"""

import argparse
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from training.corpus.documents import load_documents
from training.corpus.paths import LANGUAGES
from training.evaluation.comparison_figures import draw_canvas, draw_confidence, draw_quality
from training.evaluation.comparison_report import parts_of, report, write_into
from training.evaluation.completer import Completer, Prompt
from training.evaluation.evaluate import repairs
from training.evaluation.infilling_tasks import LINE_TASKS, Example, draw_examples
from training.evaluation.ngram import ngram_of_train
from training.evaluation.parses import has_grammar, parses
from training.evaluation.sampler import Begun, prompt_ids
from training.evaluation.scores import (
    ALL_TASKS,
    SAME_COST,
    Completion,
    difference,
    differences,
    interval,
    per_example,
    summarize,
)
from training.export.weights import read_quantized
from training.model.config import DenoiserConfig
from training.model.tokenizer import load_tokenizer
from training.pretrain.data import texts_by_package

ROOT = Path(__file__).parents[2]
NODE = ROOT / "node_modules/.bin/node"
THRESHOLDS = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    1,
)  # the first reveals nearly everything in the first step, the last slot by slot
MANY_STEPS = "τ 1"  # the reference for few steps
EDIT_THRESHOLDS = (0.1, 0.5, 1)  # of reveals, with edits off
EDIT_WIDTH = 8  # slots: on two slots that are frozen after one evaluation there is almost nothing to edit
STEP_BUDGETS = (1, 2, 4, 8)
# Evaluations of a token before it is frozen, for settings that allow more edits than the service.
LOOKS = 3
EDIT_THRESHOLD = 0.5
FEW = 1.5  # slot evaluations per token up to which diffusion should beat autoregressive decoding on one core
MAX_TOKENS = 64
DIFFUSION = "diffusion"  # with the settings of the model's config
GIVEN = "length given"  # the same, given the true length as AR is at tasks other than lines
REPAIR_TASK = "line_rest"
NO_RIVALS = ("ar", "fim", "ngram", GIVEN)  # of the other settings of diffusion


@dataclass(frozen=True)
class Setting:
    """One way to complete an example, in the format of bench/quality/systems.ts. curve: the curve that it is a point
    of; given_length: it is given the true number of tokens."""

    name: str
    system: str
    curve: str
    request: dict = field(default_factory=dict)
    given_length: bool = False


def settings_of(config: DenoiserConfig, has_fim: bool) -> list[Setting]:
    """All settings. The first is diffusion with the settings of the model's config, a point of the threshold curve."""
    found = [Setting(DIFFUSION, "diffusion", "thresholds")]
    others = [t for t in THRESHOLDS if t != config.reveal_threshold]
    found += [Setting(f"τ {t}", "diffusion", "thresholds", {"revealThreshold": t}) for t in others]
    widths = [width for width in config.canvas_widths if width != config.canvas_width]
    found += [Setting(f"canvas {width}", "diffusion", "widths", {"canvasWidth": width}) for width in widths]
    found += [Setting(f"{n} steps", "diffusion", "budgets", {"maxSteps": n}) for n in STEP_BUDGETS]
    wide = {"canvasWidth": EDIT_WIDTH}
    found.append(Setting("no edits", "diffusion", "no edits", {"editThreshold": 1}))
    found += [
        Setting(
            f"no edits, canvas {EDIT_WIDTH}, τ {t}",
            "diffusion",
            "no edits",
            wide | {"editThreshold": 1, "revealThreshold": t},
        )
        for t in EDIT_THRESHOLDS
    ]
    willing = wide | {"editThreshold": EDIT_THRESHOLD}
    patient = willing | {"freezeAfter": LOOKS}
    for t in EDIT_THRESHOLDS[:-1]:
        name = f"edits at {EDIT_THRESHOLD}, canvas {EDIT_WIDTH}, τ {t}"
        found.append(Setting(name, "diffusion", "edits", willing | {"revealThreshold": t}))
        found.append(Setting(f"{name}, {LOOKS} looks", "diffusion", "edits", patient | {"revealThreshold": t}))
    found.append(Setting(GIVEN, "diffusion", "given", given_length=True))
    found.append(Setting("ar", "ar", "ar"))
    return found + ([Setting("fim", "fim", "fim")] if has_fim else [])


def shown_setting(settings: list[Setting]) -> str:
    """The setting whose steps are drawn: the widest canvas, to see something."""
    widths = [setting for setting in settings if setting.curve == "widths"]
    return max(widths, key=lambda setting: setting.request["canvasWidth"]).name if widths else settings[0].name


def run_systems(
    examples: list[Example],
    line: bool,
    settings: list[Setting],
    model: Path,
    fim: Path | None,
    bar: tqdm,
    shown: str = "",
) -> list[list[dict]]:
    """The record of each setting for each example, [example][setting]; for the setting `shown` with every step. Raises
    RuntimeError if Node fails."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            {"system": s.system, "request": s.request, "givenLength": s.given_length, "frames": s.name == shown}
            for s in settings
        ]
        (Path(folder) / "settings.json").write_text(json.dumps({"maxTokens": MAX_TOKENS, "settings": asked}))
        lines = [json.dumps({**asdict(example), "line": line}) for example in examples]
        (Path(folder) / "examples.jsonl").write_text("\n".join(lines) + "\n")
        command = [NODE, "bench/quality/systems.ts", "--model", model.resolve()]
        command += ["--settings", f"{folder}/settings.json", "--examples", f"{folder}/examples.jsonl"]
        command += ["--fim", fim.resolve()] if fim else []
        found: list[list[dict]] = [[] for _ in examples]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
            for answer in node.stdout:
                record = json.loads(answer)
                found[record["example"]].append(record)
                if record["setting"] == len(settings) - 1:
                    bar.update()
        if node.returncode:
            raise RuntimeError(
                f"bench/quality/systems.ts ended with {node.returncode}; npm ci && npm run build:kernels first"
            )
    return found


def as_completion(record: dict) -> Completion:
    return Completion(
        record["text"], record["tokens"], record["steps"], record["slotEvaluations"],
        record["promptMs"], record["decodeMs"],
    )  # fmt: skip


def parse_shares(examples: list[Example], texts: list[str], extensions: dict[str, str]) -> np.ndarray:
    """For each example 1 if its file has no syntax error with the text inserted, else 0; only examples whose original
    file had none, and that have a suffix."""
    shares = []
    for example, text in zip(examples, texts):
        extension = extensions[example.prefix + example.middle + example.suffix]
        if has_grammar(extension) and parses(example.prefix + example.middle + example.suffix, extension):
            shares.append(parses(example.prefix + text + example.suffix, extension))
    return np.array(shares, float)


def score_task(
    task: str, examples: list[Example], completions: dict[str, list[Completion]], extensions: dict[str, str]
) -> dict:
    """Summaries of all settings and their differences from diffusion, the effect of edits and of few steps, and, at
    tasks where AR is given the length, that of the length on diffusion."""
    middles = [example.middle for example in examples]
    summaries, quality = {}, {}
    for name, found in completions.items():
        summary = summarize(found, middles)
        values = per_example(found, middles)
        # a file that ends at the cursor rarely parses, with any completion
        if task != "continuation":
            shares = parse_shares(examples, [completion.text for completion in found], extensions)
            if len(shares):
                values["parses"] = shares
                summary |= {"parses": float(shares.mean()), "parses_interval": interval(shares)}
                summary["parses_examples"] = len(shares)
        summaries[name], quality[name] = summary, values
    scores = {"settings": summaries, "differences": differences(quality)}
    if task not in LINE_TASKS and GIVEN in quality:
        scores["given"] = {name: difference(quality[GIVEN][name], quality["ar"][name]) for name in quality[GIVEN]}
    return scores | {"edits": with_and_without_edits(summaries, quality), "few": few_steps(summaries, quality)}


def with_and_without_edits(summaries: dict[str, dict], quality: dict) -> list[dict]:
    """Each setting with edits against the best one without (by edit similarity) that needs no more slot evaluations;
    paired difference, with edits minus without. A setting is left out if no setting without edits is as cheap."""
    rows = []
    no_edits = {name: row for name, row in summaries.items() if name.startswith("no edits")}
    for name, row in summaries.items():
        if name != DIFFUSION and not name.startswith("edits"):
            continue
        cost = row["slot_evaluations_per_token"]
        affordable = [n for n in no_edits if no_edits[n]["slot_evaluations_per_token"] <= cost * (1 + SAME_COST)]
        if not affordable:
            continue
        other = max(affordable, key=lambda n: no_edits[n]["edit_similarity"])
        gain = difference(quality[name]["edit_similarity"], quality[other]["edit_similarity"])
        rows.append({"with": name, "without": other, **gain})
    return rows


def few_steps(summaries: dict[str, dict], quality: dict) -> dict | None:
    """The best setting of diffusion (by edit similarity) that needs at most FEW slot evaluations per token, and its
    paired loss against revealing slot by slot. None if no setting is that cheap."""
    if MANY_STEPS not in quality:
        return None
    cheap = [
        name for name, row in summaries.items() if name not in NO_RIVALS and row["slot_evaluations_per_token"] <= FEW
    ]
    if not cheap:
        return None
    best = max(cheap, key=lambda name: summaries[name]["edit_similarity"])
    measures = ("exact_match", "edit_similarity")
    lost = {measure: difference(quality[MANY_STEPS][measure], quality[best][measure]) for measure in measures}
    return {"setting": best, "lost": lost}


class Ngram:
    """The 5-gram model on the examples."""

    def __init__(self, tokenizer_path: Path, config: DenoiserConfig):
        self.model = ngram_of_train(tokenizer_path)
        self.config = config
        self.completer = Completer(None, load_tokenizer(str(tokenizer_path)), MAX_TOKENS)

    def complete(self, example: Example, task: str) -> Completion:
        tokenizer, special = self.completer.tokenizer, self.completer.special
        left, _ = prompt_ids(example.prefix, "", tokenizer, special, self.config)
        prompt = Prompt(example, left, None, None, Begun(b"", self.completer.table), 0.0, 0.0)
        return self.completer.decode_ngram(prompt, task, self.model)


def repairs_of(options: argparse.Namespace, packages: list[list[str]]) -> list[dict]:
    """Self-correction of planted tokens by the quantized model in PyTorch; see training.evaluation.repair."""
    tokenizer = load_tokenizer(str(options.model / "tokenizer.json"))
    completer = Completer(read_quantized(options.model), tokenizer, MAX_TOKENS)
    examples = draw_examples(packages, REPAIR_TASK, options.examples, options.seed)
    with tqdm(total=len(examples), desc="planted tokens", unit="example") as bar, torch.inference_mode():
        return repairs(examples, completer, options.seed, bar)


def compare(options: argparse.Namespace) -> dict:
    """Runs all systems. Returns the content of the JSON file."""
    torch.set_num_threads(1)
    config = DenoiserConfig.from_json(json.loads((options.model / "config.json").read_text()))
    packages = texts_by_package(options.split, options.languages)
    extensions = {document.text: Path(document.path).suffix for document in load_documents(options.split)}
    settings = [
        setting
        for setting in settings_of(config, options.fim is not None)
        if not options.only or setting.name in (DIFFUSION, *options.only)
    ]
    ngram = Ngram(options.model / "tokenizer.json", config) if options.ngram else None
    result: dict = {
        "model": options.model.name,
        "split": options.split,
        "examples": options.examples,
        "seed": options.seed,
        "reveal_threshold": config.reveal_threshold,
        "edit_threshold": config.edit_threshold,
        "settings": [asdict(setting) for setting in settings],
        "tasks": {},
        "frames": [],
        "repair": [] if options.only else repairs_of(options, packages),
    }
    with tqdm(total=options.examples * len(options.tasks), unit="example", smoothing=0.05) as bar:
        for task in options.tasks:
            bar.set_description(ALL_TASKS[task])
            examples = draw_examples(packages, task, options.examples, options.seed)
            shown = shown_setting(settings) if task == options.tasks[0] else ""
            found = run_systems(examples, task in LINE_TASKS, settings, options.model, options.fim, bar, shown)
            completions = {
                setting.name: [as_completion(of_example[index]) for of_example in found]
                for index, setting in enumerate(settings)
            }
            if ngram:
                completions["ngram"] = [ngram.complete(example, task) for example in examples]
            result["tasks"][task] = score_task(task, examples, completions, extensions)
            if shown:
                index = [setting.name for setting in settings].index(shown)
                result["frames"] = [
                    {"prefix": e.prefix, "suffix": e.suffix, "middle": e.middle, "frames": of_example[index]["frames"]}
                    for e, of_example in zip(examples, found)
                ]
    return result


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"), help="folder of the quantized model")
    parser.add_argument("--fim", type=Path, help="folder of the exported fill-in-the-middle baseline")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--examples", type=int, default=300, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=tuple(ALL_TASKS), default=list(ALL_TASKS))
    parser.add_argument("--languages", nargs="+", choices=sorted(set(LANGUAGES.values())), help="all unless given")
    parser.add_argument(
        "--only", nargs="+", default=[], help="settings in addition to the default, by name: 'τ 1' ar …"
    )
    parser.add_argument("--no-ngram", dest="ngram", action="store_false", help="leave the 5-gram model out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--docs", type=Path, help="folder with diffusion.md, whose tables and figures are updated")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    result = compare(options)
    print(report(result))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.docs:
        images = options.docs / "images"
        images.mkdir(exist_ok=True)
        draw_quality(result, images / "quality.svg", "slot_evaluations_per_token")
        draw_quality(result, images / "quality-cpu.svg", "decode_ms")
        draw_canvas(result["frames"], images / "canvas.svg")
        draw_confidence(result["frames"], images / "confidence.svg")
        write_into(options.docs / "diffusion.md", parts_of(result))


if __name__ == "__main__":
    main()
