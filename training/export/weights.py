"""Writes a model of the service: quantized weights, config, manifest. Prints the error of every tensor.

    python -m training.export.weights --checkpoint training/.runs/nano/last.pt --out models/nano --keep nano.pt

`models/nano` is a checkpoint itself: `training.pretrain.train --init models/nano` goes on from its 4-bit weights.

Names and layouts follow compressed-tensors (`pack-quantized`): *.weight_packed int32 with eight 4-bit values a word,
*.weight_scale bfloat16 for each group of 32 inputs, *.weight_shape; the embedding is int8 with one scale per row. The
tensors are in the order in which the service needs them while it streams the file: embedding, layers, final norm.
"""

import argparse
import dataclasses
import hashlib
import json
import struct
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.corpus.documents import load_documents
from training.corpus.paths import LANGUAGES
from training.model.config import DenoiserConfig
from training.model.denoiser import Denoiser
from training.model.gptq import round_weights
from training.model.neuron_pruning import first_tokens
from training.model.quantization import (
    GROUP,
    QuantizableLinear,
    pack_nibbles,
    quantize_groups,
    quantize_rows,
    set_quantized,
    unpack_nibbles,
)
from training.model.tokenizer import load_tokenizer
from training.pretrain.run_record import run_chain, write_records

GPTQ_TOKENS = 256  # of a window
FILES = ("config.json", "tokenizer.json", "model.safetensors")
DTYPES = {torch.int8: "I8", torch.int32: "I32", torch.int64: "I64", torch.float32: "F32", torch.bfloat16: "BF16"}
QUANTIZATION_CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "layers": {
            "targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP},
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        },
        "embedding": {
            "targets": ["Embedding"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
        },
    },
}


def quantized_tensors(model: Denoiser) -> tuple[dict[str, Tensor], list[tuple[str, float, float]]]:
    """Tensors in the order of the file, and for each weight its relative root-mean-square error and its largest
    error."""
    tensors: dict[str, Tensor] = {}
    errors = []

    def note(name: str, weight: Tensor, restored: Tensor) -> None:
        difference = restored - weight
        relative = (difference.square().mean() / weight.square().mean()).sqrt().item()
        errors.append((name, relative, difference.abs().max().item()))

    embedding = model.embed_tokens.weight.detach()
    values, scale = quantize_rows(embedding)
    tensors["model.embed_tokens.weight"] = values.to(torch.int8)
    tensors["model.embed_tokens.weight_scale"] = scale.bfloat16()
    note("model.embed_tokens", embedding, values * scale)
    for index, layer in enumerate(model.layers):
        name = f"model.layers.{index}."
        for part, parameter in layer.named_parameters():
            if parameter.dim() == 1:
                tensors[name + part] = parameter.detach().float()
        for part, module in layer.named_modules():
            if not isinstance(module, QuantizableLinear):
                continue
            weight = module.weight.detach()
            values, scale = quantize_groups(weight)
            tensors[f"{name}{part}.weight_packed"] = pack_nibbles(values)
            tensors[f"{name}{part}.weight_scale"] = scale.bfloat16()
            tensors[f"{name}{part}.weight_shape"] = torch.tensor(weight.shape)
            note(name + part, weight, (values.unflatten(1, (-1, GROUP)) * scale[..., None]).flatten(1))
    tensors["model.norm.weight"] = model.norm.weight.detach().float()
    return tensors, errors


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """The safetensors format, tensors in the given order (the library sorts them by type)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def read_quantized(folder: Path) -> Denoiser:
    """The exported model in PyTorch: the weights of the file, and activations quantized as in the service."""
    config = DenoiserConfig.from_json(json.loads((folder / "config.json").read_text()))
    tensors = load_file(folder / "model.safetensors")
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        target = name.removeprefix("model.")
        if name.endswith(".weight_packed"):
            scale = tensors[name.replace("_packed", "_scale")].float()
            groups = unpack_nibbles(tensor).unflatten(1, (-1, GROUP))
            state[target.removesuffix("_packed")] = (groups * scale[..., None]).flatten(1)
        elif tensor.dtype == torch.int8:
            state[target] = tensor.float() * tensors[f"{name}_scale"].float()
        elif tensor.dtype == torch.float32:
            state[target] = tensor
    model = Denoiser(config)
    model.load_state_dict(state)
    set_quantized(model, weights=False, activations=True)
    model.quantize_attention = True
    return model.eval()


def write_manifest(folder: Path) -> None:
    """Sizes and SHA-256 of the files, the time of the export (Unix seconds), and the languages of its corpus."""
    manifest = {
        "name": folder.name,
        "created": int(time.time()),
        "languages": sorted(set(LANGUAGES.values())),
        "files": [describe(folder / name) for name in FILES],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def describe(path: Path) -> dict:
    content = path.read_bytes()
    return {"path": path.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def export(checkpoint: Path, folder: Path, settings: dict, gptq_windows: int = 0) -> None:
    """`settings` replace fields of the denoiser's config: thresholds and context lengths are chosen after training.
    gptq_windows: number of windows of the training packages that GPTQ is calibrated on; 0 rounds to the nearest value,
    as after quantization-aware training."""
    from training.pretrain.train import load_denoiser

    model = load_denoiser(checkpoint)
    if gptq_windows:
        tokenizer = load_tokenizer(str(folder / "tokenizer.json"))
        texts = [document.text for document in load_documents("train")]
        round_weights(model, first_tokens(texts, tokenizer, gptq_windows, GPTQ_TOKENS, seed=7)[:, :-1])
    model.config = dataclasses.replace(model.config, **settings)
    tensors, errors = quantized_tensors(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    config = model.config.to_json() | {"quantization_config": QUANTIZATION_CONFIG}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_manifest(folder)
    print(f"{'tensor':<44}{'relative RMS error':>20}{'largest error':>16}")
    for name, relative, largest in errors:
        print(f"{name:<44}{relative:>20.4f}{largest:>16.4f}")


def keep(checkpoint: Path, kept: Path) -> None:
    """Writes a checkpoint without optimizer states, small enough for the repository, and a JSON file with the records
    of its runs. `training.pretrain.train --init` starts from it."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    del state["optimizers"]
    state.pop("tuning", None)  # the weights hold what it has learned
    state["model"] = {name: tensor.bfloat16() for name, tensor in state["model"].items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    chain = run_chain(checkpoint.parent)  # read before the file is overwritten: the run may have started from it
    torch.save(state, kept)
    write_records(kept.with_suffix(".json"), chain)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="also keep the float weights here, in bfloat16, to train on from")
    parser.add_argument("--settings", type=json.loads, default={}, help='JSON, such as {"reveal_threshold": 0.8}')
    parser.add_argument(
        "--gptq-windows", type=int, default=0, help="windows of 256 tokens to calibrate GPTQ on; 0 rounds to nearest"
    )
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.out, arguments.settings, arguments.gptq_windows)
    if arguments.keep:
        keep(arguments.checkpoint, arguments.keep)
