"""Golden vectors for the TypeScript tests: the results of the quantized reference with the shipped weights.

    python -m training.export.golden --model models/nano            # writes test/golden/
    python -m training.export.golden --model models/nano --check    # compares test/golden/ with the reference

denoiser.json holds cases (token ids of both streams and of a canvas) and whole greedy completions; denoiser.safetensors
the residual stream after each layer and the logits of the last rows, named CASE.STREAM.layer.N and CASE.STREAM.logits.
tokenizer.json holds texts and their ids from the Rust library. A completion is used only if every decision in it has a
margin of at least MARGIN, so that another order of float additions cannot change it.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from training.evaluation import sampler
from training.export.weights import read_quantized
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import load_tokenizer

FOLDER = Path("test/golden")
LOGIT_ROWS = 2  # of each stream, from its end
TRACE_ROWS = 8
TOLERANCE = 2e-3  # absolute, for --check: another machine may sum in another order
MARGIN = 0.07  # log-probability: activations and attention at rounding boundaries move logits by some per cent
POLICIES = {"everything": sampler.EVERYTHING, "service": sampler.SERVICE}
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


def trace_case(model: Denoiser, streams: tuple[list[int], list[int]], canvas_ids: list[int]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    contexts = []
    for name, ids, sign in (("prefix", streams[0], 1), ("suffix", streams[1], -1)):
        if not ids:
            contexts.append(None)
            continue
        layers: list[Tensor] = []
        hidden, _ = model.context(torch.tensor([ids]), torch.tensor([sign]), trace=layers)
        _note(tensors, model, name, [layer[0] for layer in layers], hidden[0])
        context = sampler.Context(model, sign)
        context.extend(ids)
        contexts.append(context)
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
    special = SpecialTokens.of(tokenizer)
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
    ways = [(texts, name, policy) for texts in COMPLETIONS for name, policy in POLICIES.items()]
    completions = [
        {"policy": name, **found}
        for texts, name, policy in ways
        if (found := complete(model, tokenizer, special, *texts, policy))
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    document = {"model": folder.name, "manifest": manifest, "cases": cases, "completions": completions}
    texts = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]
    return document, tensors, texts


def complete(
    model: Denoiser, tokenizer: Tokenizer, special: SpecialTokens, prefix: str, suffix: str, policy: sampler.Policy
) -> dict | None:
    """One greedy completion, or None if the margin of a decision is too small."""
    streams = sampler.prompt_ids(prefix, suffix, tokenizer, special, model.config)
    thresholds = sampler.Thresholds.of(model.config)
    result = sampler.infill(model, special, *streams, MAX_TOKENS, thresholds, policy)
    if result.smallest_margin < MARGIN:
        return None
    return {
        "prefix": prefix,
        "suffix": suffix,
        "maxTokens": MAX_TOKENS,
        "ids": result.ids,
        "text": tokenizer.decode(result.ids),
        "ended": result.ended,
        "steps": result.steps,
        "slotEvaluations": result.slot_evaluations,
    }


def write(document: dict, tensors: dict[str, Tensor], texts: list[dict]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "denoiser.json").write_text(json.dumps(document, indent=1) + "\n")
    (FOLDER / "tokenizer.json").write_text(json.dumps(texts, indent=1) + "\n")
    save_file(tensors, FOLDER / "denoiser.safetensors")


def check(document: dict, tensors: dict[str, Tensor], texts: list[dict]) -> list[str]:
    """Differences between test/golden and the results of the reference, in words."""
    problems = []
    if json.loads((FOLDER / "denoiser.json").read_text()) != document:
        problems.append("denoiser.json differs")
    if json.loads((FOLDER / "tokenizer.json").read_text()) != texts:
        problems.append("tokenizer.json differs")
    stored = load_file(FOLDER / "denoiser.safetensors")
    if stored.keys() != tensors.keys():
        return [*problems, "denoiser.safetensors has other tensors"]
    for name, tensor in tensors.items():
        scale = tensor.square().mean().sqrt()
        difference = (tensor - stored[name]).abs().max() / scale
        if difference > TOLERANCE:
            problems.append(f"{name} differs by {difference:.4f} of its root mean square")
    return problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # with two threads, each small operation would wait for the slower one on a busy machine
    computed = compute(arguments.model)
    if arguments.check:
        found = check(*computed)
        print("\n".join(found) or "the golden vectors are fresh")
        sys.exit(bool(found))
    write(*computed)
    print(
        f"{len(computed[1])} tensors, {len(computed[0]['completions'])} of {len(POLICIES) * len(COMPLETIONS)} completions"
    )
