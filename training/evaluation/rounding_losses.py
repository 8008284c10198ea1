"""What the number formats of the runtime cost a shifted model, in loss: activations in 8 bits, attention on integers.

    python -m training.evaluation.rounding_losses --model models/small --windows 16
    python -m training.evaluation.rounding_losses --model models/small --windows 16 --sites     each kind of product alone

Losses are those of `CursorValidator`, on the validation packages. The weights are those of the file in every row.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from training.export.weights import read_quantized
from training.model.config import SpecialTokens, TrainConfig
from training.model.quantization import QuantizableEmbedding, QuantizableLinear
from training.model.tokenizer import load_tokenizer
from training.pretrain.cursor_losses import CursorValidator
from training.pretrain.data import cursor_validation_batches

COLUMNS = ("prefix", "text", "end", "slot_0", "given_1")
SITES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens")


def round_activations(model: nn.Module, rounds: Callable[[str], bool]) -> None:
    """Rounds the inputs of those products whose name `rounds` accepts, and of no others."""
    for name, module in model.named_modules():
        if isinstance(module, QuantizableLinear | QuantizableEmbedding):
            module.quantize_activations = rounds(name)


def formats(sites: bool) -> dict[str, tuple[Callable[[str], bool], bool]]:
    """Rows of the table: which products have rounded inputs, and whether attention is on integers."""

    def none(_: str) -> bool:
        return False

    def everywhere(_: str) -> bool:
        return True

    rows = {
        "float": (none, False),
        "attention": (none, True),
        "activations": (everywhere, False),
        "both, as the runtime": (everywhere, True),
    }
    for site in SITES if sites else ():
        rows[f"inputs of {site}"] = (lambda name, site=site: site in name.split("."), False)
    return rows


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/small"))
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--window-tokens", type=int, default=512)
    parser.add_argument("--sites", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer_path = str(options.model / "tokenizer.json")
    model = read_quantized(options.model)
    if not model.config.shifted:
        raise SystemExit(f"{options.model}: this measures shifted models only")
    config = TrainConfig(
        model="small",
        tokenizer=tokenizer_path,
        window_tokens=options.window_tokens,
        suffix_window_tokens=63,
        validation_windows=options.windows,
    )
    batches = cursor_validation_batches(config, CursorValidator.SLOTS)
    validator = CursorValidator(batches, SpecialTokens.of(load_tokenizer(tokenizer_path)), torch.device("cpu"))
    print(f"| nats | {' | '.join(COLUMNS)} |\n|---{'|---' * len(COLUMNS)}|")
    for name, (rounds, on_integers) in formats(options.sites).items():
        round_activations(model, rounds)
        model.quantize_attention = on_integers
        scores = validator.scores(model)
        print(f"| {name} | " + " | ".join(f"{scores[column]:.4f}" for column in COLUMNS) + " |", flush=True)


if __name__ == "__main__":
    main()
