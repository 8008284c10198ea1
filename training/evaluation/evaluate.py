"""Scores a model on packages it was not trained on: diffusion against autoregressive decoding of the same weights and
against a 5-gram model, on the same examples.

    python -m training.evaluation.evaluate --model models/nano --examples 300 --out training/.runs/eval.json
    python -m training.evaluation.evaluate --model models/nano --split test --checkpoint training/.runs/nano/last.pt
                                                        float weights too
    python -m training.evaluation.evaluate --model models/nano --sweep
                                                        quality and cost over thresholds and widths, self-correction
    python -m training.evaluation.evaluate --model models/small --planted
                                                        self-correction alone

Use the validation split (default) during development, and the test split once, for the model that ships. Everything
runs on one CPU thread.
"""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from training.evaluation.completer import Completer
from training.evaluation.held_out_losses import (
    WINDOW_TOKENS,
    WINDOWS,
    canvas_noise_losses,
    characters_of_tokens,
    even_windows,
    ngram_losses,
    per_token_and_character,
    prefix_losses,
)
from training.evaluation.infilling_tasks import TASKS, Example, draw_examples
from training.evaluation.ngram import NgramModel, ngram_of_train, split_tokens
from training.evaluation.repair import COUNTS, EDIT_THRESHOLDS, KINDS, PlantedCanvas, predict_planted, repair_rates
from training.evaluation.sampler import SERVICE, Policy, Thresholds
from training.evaluation.scores import (
    SYSTEMS,
    Completion,
    compare,
    losses_table,
    repair_table,
    summarize,
    sweep_table,
    tasks_table,
)
from training.export.weights import read_quantized
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.pretrain.data import load_tokenizer, texts_by_package

SWEEP_TASK = "line_rest"
SWEEP_REVEAL = (0.05, 0.1, 0.2, 0.5, 0.9)
SAMPLES = 4  # completions of each task that are kept in the result, the first ones drawn
SAMPLE_CONTEXT = 120  # characters of prefix and suffix kept with them
MAX_TOKENS = 64

NOTES = (
    "AR is the prefix stream of the same weights, decoded greedily. It cannot see the suffix.",
    "At the line tasks all are stopped at the line end and cut there; diffusion may end before it.",
    "At random spans AR and the 5-gram are given the true length in tokens, because they cannot predict it; diffusion "
    + "has to end by itself.",
    "The 5-gram knows only canonical tokenization: a cursor in the middle of a word costs it more than the denoiser, "
    + "which was trained on text cut at random characters.",
    "CPU time is that of this PyTorch reference on one thread, where a pass over a canvas costs little more than one "
    + "over a single token; it says nothing about the kernels of the service. Slot evaluations are the same in both.",
    "The prompt of diffusion is the prefix and the suffix stream, that of AR the prefix stream alone.",
    f"Next-token losses: {WINDOWS} windows of {WINDOW_TOKENS} tokens, spaced evenly over the split; a token is "
    + "predicted from the tokens before it in its window. The 5-gram has the same tokens.",
    "Intervals are 95 % bootstrap intervals over the examples; differences are paired.",
)


def evaluate_task(
    task: str, examples: list[Example], completer: Completer, floating: Completer | None, ngram: NgramModel | None,
    ar: bool, bar: tqdm,
) -> dict:  # fmt: skip
    """Scores of every system on one task, their differences from diffusion, and the first completions."""
    thresholds = Thresholds.of(completer.model.config)
    found: dict[str, list[Completion]] = {}
    for example in examples:
        prompt = completer.prompt(example)
        found.setdefault("diffusion", []).append(completer.diffuse(prompt, task, thresholds))
        if ar:
            found.setdefault("ar", []).append(completer.decode(prompt, task))
        if ngram:
            found.setdefault("ngram", []).append(completer.decode_ngram(prompt, task, ngram))
        if floating:
            found.setdefault("float", []).append(floating.diffuse(floating.prompt(example), task, thresholds))
        bar.update()
    middles = [example.middle for example in examples]
    return {
        "systems": {system: summarize(completions, middles) for system, completions in found.items()},
        "differences": compare(found, middles),
        "samples": [
            {
                "prefix": example.prefix[-SAMPLE_CONTEXT:],
                "middle": example.middle,
                "suffix": example.suffix[:SAMPLE_CONTEXT],
                "found": {system: completions[i].text for system, completions in found.items()},
            }
            for i, example in enumerate(examples[:SAMPLES])
        ],
    }


def sweep(examples: list[Example], completer: Completer, bar: tqdm) -> list[dict]:
    """Scores at the rest of a line: for each reveal threshold, with edits off and on; for each canvas width and without
    freezing, with the thresholds of the config; and for AR."""
    config, policy = completer.model.config, completer.policy
    settings = [
        (policy, Thresholds(reveal, edit, config.max_edits_per_slot))
        for edit in (1.0, config.edit_threshold)
        for reveal in SWEEP_REVEAL
    ]
    others = [Policy(width, freeze_after=policy.freeze_after) for width in config.canvas_widths]
    settings += [(other, Thresholds.of(config)) for other in [*others, Policy(policy.canvas_width)] if other != policy]
    # by name, because a width that the model does not have is replaced by one that it has
    named = {}
    for way, thresholds in settings:
        edits = "no edits" if thresholds.edit == 1 else f"edit {thresholds.edit}"
        frozen = "never frozen, " if way.freeze_after > policy.freeze_after else ""
        width = way.width(config, completer.max_tokens)
        named[f"canvas {width}, {frozen}reveal {thresholds.reveal}, {edits}"] = thresholds, way
    found: dict[str, list[Completion]] = {}
    for example in examples:
        prompt = completer.prompt(example)
        for name, setting in named.items():
            found.setdefault(name, []).append(completer.diffuse(prompt, SWEEP_TASK, *setting))
        found.setdefault(SYSTEMS["ar"], []).append(completer.decode(prompt, SWEEP_TASK))
        bar.update()
    middles = [example.middle for example in examples]
    return [{"setting": setting, **summarize(completions, middles)} for setting, completions in found.items()]


def repairs(examples: list[Example], completer: Completer, seed: int, bar: tqdm) -> list[dict]:
    """Self-correction of planted tokens: a row for each kind and number of wrong tokens and each edit threshold."""
    rng = random.Random(seed)
    predicted: dict[tuple[str, int], list[PlantedCanvas]] = {(kind, count): [] for kind in KINDS for count in COUNTS}
    for example in examples:
        prompt = completer.prompt(example)
        ids = completer.middle_ids(prompt)
        for (kind, count), found in predicted.items():
            canvas = predict_planted(
                kind, count, ids, completer.model, completer.special, prompt.prefix, prompt.suffix, rng
            )
            found += [canvas] if canvas else []
        bar.update()
    return [
        {"kind": kind, "count": count, **repair_rates(found, threshold)}
        for (kind, count), found in predicted.items()
        if found
        for threshold in EDIT_THRESHOLDS
    ]


def held_out_losses(
    split: str, packages, tokenizer: Tokenizer, models: dict[str, Denoiser], ngram: NgramModel | None, seed: int
) -> dict:
    """Losses of each model, see held_out_losses.py."""
    special = SpecialTokens.of(tokenizer)
    windows = even_windows(split_tokens(tokenizer, split), WINDOWS, WINDOW_TOKENS)
    characters = characters_of_tokens(tokenizer)
    losses = {}
    for name, model in models.items():
        losses[name] = per_token_and_character(prefix_losses(model, special, windows), windows, characters)
        losses[name] |= canvas_noise_losses(model, special, packages, tokenizer, seed)
    if ngram:
        losses["ngram"] = per_token_and_character(ngram_losses(ngram, windows), windows, characters)
    return losses


def report(result: dict) -> str:
    """The result as text, tables in Markdown."""
    settings = result["settings"]
    parts = [
        f"{settings['model']} on {settings['split']}: {settings['examples']} examples a task, seed {settings['seed']}, "
        + f"reveal threshold {settings['reveal_threshold']}, edit threshold {settings['edit_threshold']}, "
        + f"canvas of {settings['canvas_width']} slots, "
        + f"up to {settings['prefix_tokens']} + {settings['suffix_tokens']} tokens of context."
    ]
    if "tasks" in result:
        parts += [tasks_table(result["tasks"]), losses_table(result["losses"])]
        parts.append("\n".join(f"- {note}" for note in result["notes"]))
    if "sweep" in result:
        parts.append(sweep_table(result["sweep"]))
    if "repair" in result:
        parts.append(repair_table(result["repair"]))
    return "\n\n".join(parts)


@torch.inference_mode()
def evaluate(arguments: argparse.Namespace) -> dict:
    """Runs the evaluation of the command line. Returns the content of the JSON file."""
    torch.set_num_threads(1)
    tokenizer_path = arguments.model / "tokenizer.json"
    tokenizer = load_tokenizer(str(tokenizer_path))
    model = read_quantized(arguments.model)
    if arguments.context:
        model.config = replace(model.config, prefix_tokens=arguments.context, suffix_tokens=arguments.context)
    policy = Policy(arguments.canvas, freeze_after=SERVICE.freeze_after) if arguments.canvas else SERVICE
    packages = texts_by_package(arguments.split)
    completer = Completer(model, tokenizer, arguments.max_tokens, policy)
    result: dict = {
        "settings": {
            "model": arguments.model.name,
            "split": arguments.split,
            "examples": arguments.examples,
            "seed": arguments.seed,
            "max_tokens": arguments.max_tokens,
            **{key: getattr(model.config, key) for key in model.config.DIFFUSION_KEYS},
            "canvas_width": policy.canvas_width or model.config.canvas_width,
            "freeze_after": policy.freeze_after,
        },
    }
    if arguments.sweep or arguments.planted:
        examples = draw_examples(packages, SWEEP_TASK, arguments.examples, arguments.seed)
        with tqdm(total=(1 + arguments.sweep) * len(examples), unit="example") as bar:
            result["repair"] = repairs(examples, completer, arguments.seed, bar)
            if arguments.sweep:
                result["sweep"] = sweep(examples, completer, bar)
        return result
    floating = None
    if arguments.checkpoint:
        from training.pretrain.train import load_denoiser

        floating = Completer(load_denoiser(arguments.checkpoint), tokenizer, arguments.max_tokens, policy)
        floating.model.config = model.config
    ngram = ngram_of_train(tokenizer_path) if "ngram" in arguments.baselines else None
    result["notes"] = list(NOTES)
    result["tasks"] = {}
    with tqdm(total=arguments.examples * len(arguments.tasks), unit="example", smoothing=0.05) as bar:
        for task in arguments.tasks:
            bar.set_description(TASKS[task])
            examples = draw_examples(packages, task, arguments.examples, arguments.seed)
            # float weights only at the first task: they are the slowest system, and the difference is small
            at_this = floating if task == arguments.tasks[0] else None
            result["tasks"][task] = evaluate_task(
                task, examples, completer, at_this, ngram, "ar" in arguments.baselines, bar
            )
    models = {"quantized": model} | ({"float": floating.model} if floating else {})
    result["losses"] = held_out_losses(arguments.split, packages, tokenizer, models, ngram, arguments.seed)
    return result


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"), help="folder of the quantized model")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--examples", type=int, default=300, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=list(TASKS))
    parser.add_argument("--baselines", nargs="*", choices=("ar", "ngram"), default=["ar", "ngram"])
    parser.add_argument("--checkpoint", type=Path, help="the model before quantization, to compare with")
    parser.add_argument("--canvas", type=int, help="slots of a canvas (default: that of the service)")
    parser.add_argument("--context", type=int, help="tokens of prefix and of suffix (default: those of the config)")
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS, help="of a completion")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sweep", action="store_true", help="only quality and cost over thresholds, rest of the line")
    parser.add_argument("--planted", action="store_true", help="only self-correction of planted tokens")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    result = evaluate(options)
    print(report(result))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
