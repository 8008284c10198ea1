"""Writes the model card, models/<name>/README.md, and the loss curves beside it.

    python -m training.export.model_card --model models/nano --run training/.runs/nano --out models/nano/README.md \\
        --evaluation training/.runs/eval.json --hardware "two cores of an x86-64 server" [--sweep
        training/.runs/sweep.json]

Every number comes from a file: the model's config and manifest, the run's config and metrics, the corpus statistics and
manifest, the evaluation.
"""

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path

from training.corpus.manifest import MANIFEST_PATH, load_manifest
from training.evaluation.infilling_tasks import TASKS
from training.evaluation.scores import in_words, losses_table, markdown, repair_table, sweep_table, tasks_table
from training.export.weights import quantized_tensors
from training.model.config import DenoiserConfig, TrainConfig
from training.model.denoiser import Denoiser
from training.pretrain.curves import draw_curves
from training.pretrain.run_record import RunRecord, run_chain

STATISTICS_PATH = MANIFEST_PATH.with_name("statistics.json")
SAMPLE_LINE_CHARACTERS = 60  # of the text before the cursor


class ModelCardError(ValueError):
    """The evaluation is of another model."""


def train_command(run: RunRecord) -> str:
    """The command that starts a run, with the settings that differ from the defaults."""
    defaults = dataclasses.asdict(TrainConfig())
    words = ["python -m training.pretrain.train"]
    for name, value in run.config.items():
        default = list(defaults[name]) if isinstance(defaults[name], tuple) else defaults[name]
        flag = "--" + name.replace("_", "-")
        if name == "run":
            words.append(f"{flag} training/.runs/{run.folder}")
        elif name == "model":
            words.append(f"{flag} {value}")
        elif value == default or name == "notes":
            continue
        elif isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words.append(f"{flag} {' '.join(map(str, value))}")
        else:
            words.append(f"{flag} {value}")
    return " ".join(words)


def front_matter(name: str) -> str:
    tags = ["diffusion", "masked-diffusion", "code", "fill-in-the-middle", "javascript", "typescript", "quantized"]
    lines = ["---", "license: mit", "pipeline_tag: text-generation", f"model_name: quicksilver-{name}", "tags:"]
    return "\n".join([*lines, *(f"  - {tag}" for tag in tags), "---"])


def model_section(config: DenoiserConfig, manifest: dict) -> str:
    parameters = sum(parameter.numel() for parameter in Denoiser(config).parameters())
    size = next(file["size"] for file in manifest["files"] if file["path"] == "model.safetensors")
    facts = [
        ["parameters", f"{parameters / 1e6:.2f} million"],
        ["layers, hidden size", f"{config.num_hidden_layers}, {config.hidden_size}"],
        [
            "attention",
            f"{config.num_attention_heads} heads, {config.num_key_value_heads} key-value heads of {config.head_dim}",
        ],
        ["MLP", f"SwiGLU, {config.intermediate_size}"],
        ["vocabulary", f"{config.vocab_size} byte-level BPE tokens"],
        ["canvas", f"{config.canvas_slots} slots"],
        ["context", f"{config.prefix_tokens} tokens of prefix, {config.suffix_tokens} of suffix"],
        ["weights", f"4 bits in groups of 32, embedding 8 bits; model.safetensors has {size / 1e6:.2f} MB"],
        ["activations", "8 bits, one scale per row"],
    ]
    return "## Model\n\n" + markdown(["", ""], facts)


def data_section(statistics: dict, licences: Counter, seen: int) -> str:
    rows = []
    for split, counts in statistics["splits"].items():
        languages = ", ".join(
            f"{name} {100 * part['tokens'] / counts['tokens']:.0f} %" for name, part in counts["languages"].items()
        )
        packages = str(len(statistics["packages"][split]))
        rows.append(
            [split, packages, *(f"{counts[key]:,}" for key in ("documents", "characters", "tokens")), languages]
        )
    header = ["split", "packages", "documents", "characters", "tokens", "languages by tokens"]
    said = ", ".join(f"{name} ({count})" for name, count in licences.most_common())
    held_out = {split: ", ".join(statistics["packages"][split]) for split in ("validation", "test")}
    share = seen / statistics["splits"]["train"]["tokens"]
    return "\n\n".join(
        [
            "## Data",
            "Source files of published npm packages under permissive licences, filtered and without near duplicates. "
            + "`training/corpus/manifest.json` lists the packages with exact versions and integrity. "
            + "Splits are by package.",
            markdown(header, rows),
            f"Licences (packages): {said}.",
            f"Training drew {seen / 1e6:.1f} million tokens, {share:.2f} times the train split. "
            + f"Validation packages: {held_out['validation']}. Test packages: {held_out['test']}.",
        ]
    )


def compute_section(chain: list[RunRecord], hardware: str) -> str:
    rows = [
        [
            run.folder,
            f"{run.minutes:.1f} of {run.config['minutes']:.1f} planned",
            f"{run.steps:,}",
            f"{run.tokens / 1e6:.2f}",
            str(run.config["window_slots"]),
            run.config.get("notes") or "–",
        ]
        for run in chain
    ]
    minutes, tokens = sum(run.minutes for run in chain), sum(run.tokens for run in chain)
    last = chain[-1]
    losses = ", ".join(f"{name} {value}" for name, value in last.validation.items())
    return "\n\n".join(
        [
            "## Compute",
            f"{minutes:.0f} minutes on {hardware}, {tokens / 1e6:.2f} million window tokens. "
            + "Each token is in the prefix and in the suffix stream; the table has the canvas slots of each window.",
            markdown(["run", "minutes", "steps", "million tokens", "canvas slots per window", "notes"], rows),
            *([f"Losses of the last validation, in nats: {losses}."] if losses else []),
            "![Loss curves of the last run](curves.png)",
        ]
    )


def quantization_section(errors: list[tuple[str, float, float]], losses: dict) -> str:
    parts = ["## Quantization"]
    if errors:
        relative = [error for _, error, _ in errors]
        worst = max(errors, key=lambda error: error[1])
        parts.append(
            f"Relative root-mean-square error of the weights: {100 * sum(relative) / len(relative):.2f} % on average "
            + f"over {len(errors)} matrices, at most {100 * worst[1]:.2f} % (`{worst[0]}`)."
        )
    if "float" in losses:
        change = losses["quantized"]["prefix_per_token"] / losses["float"]["prefix_per_token"] - 1
        canvas = losses["quantized"]["canvas_per_slot"] / losses["float"]["canvas_per_slot"] - 1
        parts.append(f"Change of the loss: next token {100 * change:+.2f} %, canvas from noise {100 * canvas:+.2f} %.")
    return "\n\n".join(parts) if len(parts) > 1 else ""


def scores_section(evaluation: dict) -> str:
    settings = evaluation["settings"]
    said = [
        f"- {TASKS[name]}, {measure.replace('_', ' ')}: {in_words(measure, task)}."
        for name, task in evaluation["tasks"].items()
        for measure in ("exact_match", "slot_evaluations_per_token")
    ]
    return "\n\n".join(
        [
            "## Scores",
            f"On the {settings['split']} packages, {settings['examples']} examples per task, seed {settings['seed']}, "
            + f"reveal threshold {settings['reveal_threshold']}, edit threshold {settings['edit_threshold']}, "
            + f"canvases of {settings['canvas_width']} slots, "
            + f"at most {settings['prefix_tokens']} + {settings['suffix_tokens']} tokens of context.",
            "\n".join(said),
            tasks_table(evaluation["tasks"]),
            losses_table(evaluation["losses"]),
            "\n".join(f"- {note}" for note in evaluation["notes"]),
            samples_table(evaluation["tasks"]),
        ]
    )


def samples_table(tasks: dict) -> str:
    """The first completions of each task, good or bad."""
    rows = []
    for name, task in tasks.items():
        for sample in task["samples"]:
            before = sample["prefix"].rsplit("\n", 1)[-1][-SAMPLE_LINE_CHARACTERS:]
            found = [code(sample["found"].get(system, "")) for system in ("diffusion", "ar")]
            rows.append([TASKS[name], code(before), code(sample["middle"]), *found])
    header = ["task", "before the cursor", "original text", "diffusion", "AR"]
    return "The first examples drawn, without selection:\n\n" + markdown(header, rows)


def code(text: str) -> str:
    """Text as inline code inside a table cell."""
    if not text:
        return "–"
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence} {shown} {fence}" if fence == "``" else f"`{shown}`"


def use_section(chain: list[RunRecord], hardware: str) -> str:
    minutes = sum(run.minutes for run in chain)
    return f"""## Intended use

Short completions at the cursor in JavaScript and TypeScript, and testing and demonstrating a diffusion language model
that runs inside an edge worker without a GPU. For anything longer, route requests to a larger model.

## Limits

- It is small, and was trained for about {minutes:.0f} minutes on {hardware}. It knows the syntax and idioms of common
  code. It does not reason, and has almost no factual knowledge.
- It sees only the context stated above, of one file: no other files, no types, no documentation.
- It does not follow instructions, and knows natural language only from comments and documentation in English.
- Other programming languages were not in its training data.
- Its completions may be wrong, insecure, or close to code it was trained on. Review them like any suggestion.
- Its confidence is not calibrated beyond the training loss. The thresholds are choices, not guarantees."""


def reproduce_section(name: str, chain: list[RunRecord], settings: dict, hardware: str) -> str:
    last = f"training/.runs/{chain[-1].folder}"
    result = "training/.runs/eval.json"
    commands = [
        "python -m training.corpus.build",
        f"python -m training.model.tokenizer --vocab {settings['vocab_size']} --out models/{name}/tokenizer.json",
        *(train_command(run) for run in chain),
        f"python -m training.export.weights --checkpoint {last}/last.pt --out models/{name}",
        f"python -m training.evaluation.evaluate --model models/{name} --split {settings['split']} "
        + f"--examples {settings['examples']} --checkpoint {last}/last.pt --out {result}",
        f"python -m training.export.model_card --model models/{name} --run {last} --evaluation {result} "
        + f"--hardware '{hardware}' --out models/{name}/README.md",
    ]
    return (
        "## How to reproduce\n\nWith Python 3.11 and `training/requirements.txt`, from the root of the repository. "
        + "Runs are limited by time, so another machine processes another number of tokens.\n\n```sh\n"
        + "\n".join(commands)
        + "\n```"
    )


def model_card(
    model: Path, run: Path, evaluation: dict, hardware: str, statistics: dict, licences: Counter, sweep: dict | None
) -> str:
    """The card as Markdown. Raises ModelCardError when the evaluation is of another model."""
    config = DenoiserConfig.from_json(json.loads((model / "config.json").read_text()))
    manifest = json.loads((model / "manifest.json").read_text())
    if evaluation["settings"]["model"] != manifest["name"]:
        raise ModelCardError(f"the evaluation is of {evaluation['settings']['model']}, the model is {manifest['name']}")
    chain = run_chain(run)
    errors = []
    if (run / "last.pt").exists():
        from training.pretrain.train import load_denoiser

        errors = quantized_tensors(load_denoiser(run / "last.pt"))[1]
    settings = evaluation["settings"] | {"vocab_size": config.vocab_size}
    sections = [
        front_matter(manifest["name"]),
        f"# Quicksilver {manifest['name']}",
        "A masked diffusion language model for code: it completes the text at the cursor in a few denoising steps, "
        + "from the text on both sides. Generated by `training/export/model_card.py`; every number comes from the files "
        + "of the run and of the evaluation.",
        model_section(config, manifest),
        data_section(statistics, licences, sum(record.tokens for record in chain)),
        compute_section(chain, hardware),
        scores_section(evaluation),
        *(thresholds_sections(sweep) if sweep else []),
        quantization_section(errors, evaluation["losses"]),
        use_section(chain, hardware),
        reproduce_section(manifest["name"], chain, settings, hardware),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def thresholds_sections(sweep: dict) -> list[str]:
    settings = sweep["settings"]
    return [
        "## Thresholds and self-correction",
        f"Rest of the line on the {settings['split']} packages, {settings['examples']} examples. "
        + "For the second table, wrong tokens were planted in canvases that were right otherwise.",
        sweep_table(sweep["sweep"]),
        repair_table(sweep["repair"]),
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--sweep", type=Path, help="result of training.evaluation.evaluate --sweep")
    parser.add_argument("--hardware", required=True, help="in words, as in 'trained on …'")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    statistics = json.loads(STATISTICS_PATH.read_text(encoding="utf-8"))
    licences = Counter(package.licence for package in load_manifest())
    evaluation = json.loads(options.evaluation.read_text(encoding="utf-8"))
    sweep = json.loads(options.sweep.read_text(encoding="utf-8")) if options.sweep else None
    card = model_card(options.model, options.run, evaluation, options.hardware, statistics, licences, sweep)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(card, encoding="utf-8")
    draw_curves(options.run / "metrics.jsonl", options.out.parent / "curves.png")


if __name__ == "__main__":
    main()
