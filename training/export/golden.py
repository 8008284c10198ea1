"""Golden vectors for the TypeScript tests: the results of the quantized reference with the shipped weights.

    python -m training.export.golden --model models/nano            # writes test/golden/
    python -m training.export.golden --model models/nano --check    # are they what the reference computes today?
    python -m training.export.golden --shifted                      # writes test/golden/shifted/, and its model
    python -m training.export.golden --shifted --check

denoiser.json holds cases (token ids of both streams and of a canvas) and whole greedy completions; denoiser.safetensors
the residual stream after each layer and the logits of the last rows, named CASE.STREAM.layer.N and CASE.STREAM.logits.
tokenizer.json holds texts and their ids from the Rust library. A completion is used only if every decision in it has a
margin of at least MARGIN, so that another order of float additions cannot change it.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers
from torch import Tensor

from training.evaluation import sampler
from training.evaluation.cursor_token import TokenTable
from training.export.weights import quantized_tensors, read_quantized, write_manifest, write_safetensors
from training.model.base import base_tokenizer
from training.model.config import DENOISERS, DenoiserConfig, SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import SPECIAL_TOKENS, load_tokenizer, token_bytes

FOLDER = Path("test/golden")
SHIFTED_FOLDER = FOLDER / "shifted"
LOGIT_ROWS = 2  # of each stream, from its end
TRACE_ROWS = 8
# For --check. Another machine may sum in another order. A sum at a rounding boundary then becomes another integer,
# which later layers amplify. A change of the arithmetic changes every tensor. So some tensors and most completions have
# to be the same, the others close.
LOG_PROBABILITY_TOLERANCE = 1e-3  # absolute, of a completion that counts as the same
CLOSE_LOG_PROBABILITY = 0.05  # absolute, of the others: less than MARGIN
SAME_COMPLETIONS = 0.8  # of the completions
TOLERANCE = 2e-3  # of a tensor that counts as the same: largest difference, relative to the root mean square
SAME_SHARE = 1 / 3  # of the tensors
CLOSE = 0.06  # of the others: root mean square of the difference, relative to that of the tensor
SHARED_COMPLETIONS = 0.6  # of the stored ones: a decision may be close on one machine alone
MARGIN = 0.07  # log-probability: activations and attention at rounding boundaries move logits by some per cent
POLICIES = {"everything": sampler.EVERYTHING, "service": sampler.SERVICE}


class Asked(sampler.Policy):
    """As the service is when a request asks for a width: the last canvas has it too."""

    def width(self, config: DenoiserConfig, left: int) -> int:
        return self.canvas_width


SHIFTED_POLICIES = {
    "everything": Asked(8),
    "service": sampler.SERVICE,
    "one": Asked(1, 1),
    "four": Asked(4, 1),
    "autoregressive": None,
}
SHIFTED_MAX_TOKENS = 8
SHIFTED_COMPLETIONS = 36  # of the texts below: enough for every way to end within a token
SHIFTED = dataclasses.replace(
    DENOISERS["small"],
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=1,
    intermediate_size=96,
    vocab_size=512,
    max_position_embeddings=160,
    prefix_tokens=64,
    suffix_tokens=32,
    reveal_threshold=0.6,
    edit_threshold=0.5,
    ends_before_suffix=False,
    keeps_rows=True,
    context_ngrams={"bias": -2.0, "length": 1.0, "share": 1.0, "count": 0.2},
)
MAX_TOKENS = 64  # a multiple of the canvas: in a narrower last block the service decides fewer slots

CASES = {
    "both": (
        "export function clamp(value: number, low: number, high: number): number {\n  return ",
        ";\n}\n\nexport function lerp(a: number, b: number, t: number): number {\n  return a + (b - a) * t;\n}\n",
    ),
    "continuation": ("const fs = require('fs');\nconst path = requ", ""),
    "short": ("a", "b"),
}
COMPLETIONS = [
    ("const fs = require('fs');\nconst path = ", "\n\nmodule.exports = { fs, path };\n"),
    ("function add(a, b) {\n  ret", "\n}\n"),
    ("for (let i = 0; i < items.length; i++) {\n  const item = ", "\n  console.log(item);\n}\n"),
    ("import { useState } from 'react';\n\nexport function Counter() {\n  const [count, ", "] = useState(0);\n"),
    ("class Point {\n  constructor(x, y) {\n    this.x = x;\n    ", "\n  }\n}\n"),
    ("if (typeof value !== 'string') {\n  throw new ", "\n}\n"),
    ("'use strict';\n\nmodule.exports = function (options) {\n", ""),
    ("const path = require(", ");\nconst fs = require('fs');\n"),
    ("export default class Queue {\n  constructor() {\n    this.items = ", ";\n  }\n}\n"),
    ("function isString(value) {\n  return typeof value === ", ";\n}\n"),
    ("try {\n  await run();\n} catch (", ") {\n  console.error(error);\n}\n"),
    ("module.exports = {\n  add,\n  ", ",\n};\n"),
    ("export interface Options {\n  name: string;\n  ", "\n}\n"),
    ("  it('should return the value', () => {\n    expect(", ").toEqual(2);\n  });\n"),
    ("import fs from ", ";\nimport path from 'path';\n"),
    ("let result = [];\nfor (const key of Object.keys(", ")) {\n  result.push(key);\n}\nreturn result;\n"),
    ("/**\n * Returns the sum of ", "\n */\nexport function sum(values: number[]): number {\n"),
    ("if (typeof value === ", ") {\n  return value;\n}\n"),
    ("const fs = require('fs');\nconst path = ", ";\n"),
    ("for (let i = 0; i ", "; i++) {\n  total += values[i];\n}\n"),
    ("for (let i = 0; ", ") {\n"),
    ("export const name", " = 'quicksilver';\n"),
    ("  if (error) {\n    return call", "(error);\n  }\n"),
    ("const { readFile } = require", "('fs');\n"),
    ("export type ", " = string | number;\n"),
    ("async function main() {\n  a", " run();\n}\n"),
    ("Object.defineProperty(exports, '__esModule', { value", " });\n"),
    ("var __extends = (this && this", ".__extends) || (function () {\n"),
    ("  return this", ";\n};\n"),
    ("} else ", " {\n  next();\n}\n"),
    ("import { describe, it, ex", " } from 'vitest';\n"),
    ("export * from", " './utils';\n"),
    ("  constructor(options) {\n    super(", ");\n  }\n"),
    ("const isArray = Array", ".isArray;\n"),
    ("Object.defineProperty(exports, '__esModule'", ";\n"),
    ("Object.defineProperty(exports, ", ", { value: true });\n"),
    ("'use ", "';\n\nconst path = require('path');\n"),
    ("if (typeof callback !== ", ") {\n  throw new TypeError('callback');\n}\n"),
    ("if (typeof options", " 'function') {\n  callback = options;\n}\n"),
    ("  return typeof value ", " 'number';\n"),
    ("  it('should", "', () => {\n    expect(true).toBe(true);\n  });\n"),
    ("const a = new ", "();\n"),
    ("for (const [key, value] ", " Object.entries(options)) {\n"),
    ("  } catch ", " {\n    reject(error);\n  }\n"),
    ("export default function ", "() {\n  return null;\n}\n"),
    ("  switch (", ") {\n    case 'a':\n      return 1;\n  }\n"),
    ("    if (!this.", ") {\n      return;\n    }\n"),
]
TEXTS = [
    "",
    "a",
    "export function add(a, b) {\n    return a + b;\n}\n",
    "\tif (x) {\r\n\t\ty();\r\n\t}\r\n",
    "const s = `héllo wörld — 日本語 🎉👩‍👩‍👧`;\n\n\n   // three   spaces   \n",
    "<|mask|> and <|endoftext|> typed by a user are text",
    "0123456789 3.14159 0xdeadBEEF $_a __proto__ a.b?.c!==d",
    "e\u0301 \u00a0\u2003\u2028\u2029\ufeff\u0085 \x0b\x0c",
]


def write_shifted(folder: Path) -> None:
    """A tiny model of random weights as the service reads it."""
    texts = [*TEXTS, *(text for pair in (*COMPLETIONS, *CASES.values()) for text in pair)]
    tokenizer = base_tokenizer({}, [], [])
    trainer = trainers.BpeTrainer(
        vocab_size=SHIFTED.vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    torch.manual_seed(5)
    model = Denoiser(SHIFTED)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=(2.5 if "embed" in name else 1.5) * parameter.shape[1] ** -0.5)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    with torch.no_grad():
        # a text that now and then ends, and no token that the service refuses: half characters and control characters
        model.embed_tokens.weight[tokenizer.token_to_id("<|eom|>")] *= 1.5
        for id_, said in enumerate(token_bytes(tokenizer)):
            if said and not all(32 <= byte < 127 or byte == 10 for byte in said):
                model.embed_tokens.weight[id_] = 0
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_safetensors(folder / "model.safetensors", quantized_tensors(model)[0])
    (folder / "config.json").write_text(json.dumps(SHIFTED.to_json(), indent=2) + "\n")
    write_manifest(folder)


def trace_case(model: Denoiser, streams: tuple[list[int], list[int]], canvas_ids: list[int]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    contexts = sampler.open_contexts(model, *streams)
    held_back = int(model.config.shifted)
    for name, ids, context in zip(
        ("prefix", "suffix"), (streams[0][: len(streams[0]) - held_back], streams[1]), contexts
    ):
        if context is None:
            continue
        layers: list[Tensor] = []
        hidden, _ = model.context(torch.tensor([ids]), context.sign, trace=layers)
        _note(tensors, model, name, [layer[0] for layer in layers], hidden[0])
    layers = []
    logits = sampler.canvas_logits(model, canvas_ids, model.config.canvas_slots, *contexts, trace=layers)
    for index, layer in enumerate(layers):
        tensors[f"canvas.layer.{index}"] = layer[0, 0, -TRACE_ROWS:]
    tensors["canvas.logits"] = logits[-LOGIT_ROWS:]
    return tensors


def _note(tensors: dict[str, Tensor], model: Denoiser, name: str, layers: list[Tensor], hidden: Tensor) -> None:
    for index, layer in enumerate(layers):
        tensors[f"{name}.layer.{index}"] = layer[-TRACE_ROWS:]
    tensors[f"{name}.logits"] = model.logits(hidden[-LOGIT_ROWS:])


def canvas_of(model: Denoiser, special: SpecialTokens, middle: list[int]) -> list[int]:
    """A partly revealed canvas: every third slot has a token."""
    slots = model.config.canvas_slots
    return [middle[slot % len(middle)] if slot % 3 == 1 else special.mask for slot in range(slots)]


@torch.no_grad()
def compute(folder: Path) -> tuple[dict, dict[str, Tensor], list[dict]]:
    """The contents of denoiser.json, denoiser.safetensors and tokenizer.json."""
    model = read_quantized(folder)
    tokenizer = load_tokenizer(str(folder / "tokenizer.json"))
    special, table = SpecialTokens.of(tokenizer), TokenTable(tokenizer)
    shifted = model.config.shifted
    cases, tensors = [], {}
    middle = tokenizer.encode("const value = options.name;", add_special_tokens=False).ids
    for name, (prefix, suffix) in CASES.items():
        streams = sampler.prompt_ids(prefix, suffix, tokenizer, special, model.config)
        ids = canvas_of(model, special, middle)
        ids = ids[:5] if name == "short" else ids  # a canvas whose end has been found
        cases.append(
            {"name": name, "prefixIds": streams[0], "suffixIds": streams[1], "canvasIds": ids}
            | {"texts": {"prefix": prefix, "suffix": suffix}}
        )
        traced = trace_case(model, streams, ids)
        tensors |= {f"{name}.{key}": tensor.float().contiguous() for key, tensor in traced.items()}
    policies = SHIFTED_POLICIES if shifted else POLICIES
    pairs = COMPLETIONS[:SHIFTED_COMPLETIONS] if shifted else COMPLETIONS
    ways = [(texts, name, policy) for texts in pairs for name, policy in policies.items()]
    completions = [
        {"policy": name, **found}
        for texts, name, policy in ways
        if (found := complete(model, tokenizer, special, table, *texts, policy))
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    document = {"model": folder.name, "manifest": manifest, "cases": cases, "completions": completions}
    texts = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]
    return document, tensors, texts


def complete(
    model: Denoiser,
    tokenizer: Tokenizer,
    special: SpecialTokens,
    table: TokenTable,
    prefix: str,
    suffix: str,
    policy: sampler.Policy | None,
) -> dict | None:
    """One greedy completion, from left to right without a policy; None if a decision in it was too close."""
    left, right = sampler.prompt_ids(prefix, suffix, tokenizer, special, model.config)
    kept, rest = table.take_off(left) if model.config.shifted else (left, b"")
    begun = sampler.Begun(rest, table)
    limit = SHIFTED_MAX_TOKENS if model.config.shifted else MAX_TOKENS
    if policy:
        thresholds = sampler.Thresholds.of(model.config)
        result = sampler.infill(model, special, kept, right, limit, thresholds, policy, begun)
    else:
        result = sampler.decode_autoregressively(model, special, kept, limit, begun=begun)
    if result.smallest_margin < MARGIN:
        return None
    silent = table.silent(result.ids, rest)
    shown = {"begun": rest.decode(), "logProbabilities": result.log_probabilities[silent:]}
    return {
        "prefix": prefix,
        "suffix": suffix,
        "maxTokens": limit,
        "ids": result.ids[silent:],
        "text": table.text(result.ids, rest),
        "ended": result.ended,
        "steps": result.steps,
        "slotEvaluations": result.slot_evaluations,
        **(shown if model.config.shifted else {}),
    }


def texts_path(folder: Path) -> Path:
    """The model of the shifted vectors is in the same folder."""
    return folder / ("texts.json" if folder == SHIFTED_FOLDER else "tokenizer.json")


def write(folder: Path, document: dict, tensors: dict[str, Tensor], texts: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "denoiser.json").write_text(json.dumps(document, indent=1) + "\n")
    texts_path(folder).write_text(json.dumps(texts, indent=1) + "\n")
    save_file(tensors, folder / "denoiser.safetensors")


def check(folder: Path, document: dict, tensors: dict[str, Tensor], texts: list[dict]) -> list[str]:
    """Differences between the folder and what the reference computes now, in words; those within the tolerances above
    do not count."""
    problems = []
    stored, computed = json.loads((folder / "denoiser.json").read_text()), dict(document)
    # The vectors depend on the model's files; other fields of its manifest, such as languages, may be added later.
    if stored.pop("manifest")["files"] != computed.pop("manifest")["files"]:
        problems.append("the files of the model are others")
    problems += compare_completions(stored.pop("completions"), computed.pop("completions"))
    if stored != computed:
        problems.append("denoiser.json differs")
    if json.loads(texts_path(folder).read_text()) != texts:
        problems.append(f"{texts_path(folder).name} differs")
    return problems + compare_tensors(load_file(folder / "denoiser.safetensors"), tensors)


def compare_completions(stored: list[dict], computed: list[dict]) -> list[str]:
    """Differences of those that both have, and whether these are enough."""
    found, expected = (
        {(each["policy"], each["prefix"], each["suffix"]): dict(each) for each in completions}
        for completions in (computed, stored)
    )
    shared = found.keys() & expected.keys()
    problems = []
    if len(shared) < SHARED_COMPLETIONS * len(expected):
        problems.append(f"{len(shared)} of {len(expected)} completions are there")
    same = 0
    for key in sorted(shared):
        one, other = (each[key].pop("logProbabilities", []) for each in (expected, found))
        if expected[key] != found[key]:
            problems.append(f"the completion of {key} differs")
            continue
        largest = max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0)
        same += largest <= LOG_PROBABILITY_TOLERANCE
        if largest > CLOSE_LOG_PROBABILITY:
            problems.append(f"the log-probabilities of {key} differ")
    if same < SAME_COMPLETIONS * len(shared):
        problems.append(f"{same} of {len(shared)} completions have the same log-probabilities")
    return problems


def compare_tensors(stored: dict[str, Tensor], computed: dict[str, Tensor]) -> list[str]:
    """Tensors that are not close, and whether enough of them are the same."""
    if stored.keys() != computed.keys():
        return ["denoiser.safetensors has other tensors"]
    problems, same = [], 0
    for name, tensor in computed.items():
        scale = tensor.square().mean().sqrt()
        difference = tensor - stored[name]
        same += int(difference.abs().max() <= TOLERANCE * scale)
        share = (difference.square().mean().sqrt() / scale).item()
        if share > CLOSE:
            problems.append(f"{name} differs by {share:.4f} of its root mean square")
    if same < SAME_SHARE * len(computed):
        problems.append(f"{same} of {len(computed)} tensors are the same")
    return problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"))
    parser.add_argument("--shifted", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # on a busy machine a second thread waits at each small operation
    if arguments.shifted and not arguments.check:
        write_shifted(SHIFTED_FOLDER)
    folder = SHIFTED_FOLDER if arguments.shifted else FOLDER
    computed = compute(SHIFTED_FOLDER if arguments.shifted else arguments.model)
    if arguments.check:
        found = check(folder, *computed)
        print("\n".join(found) or "the golden vectors are fresh")
        sys.exit(bool(found))
    write(folder, *computed)
    print(f"{len(computed[1])} tensors, {len(computed[0]['completions'])} completions")
