"""Converts a Hugging Face checkpoint of the Qwen2/Qwen3 diffusion family to the format of the service.

    python -m training.export.convert --checkpoint ~/Dream-Coder-v0-Base-7B --out models/dream-coder
    python -m training.export.convert --checkpoint ~/my-qwen3 --out models/mine --attention bidirectional --logits slot

The checkpoint is a folder with config.json, tokenizer.json and safetensors. The kind of attention (`--attention`) and
whether a row predicts its own token or the next one (`--logits`) are not in a checkpoint's config but in its code. They
are known for the model types in KNOWN; for others they must be given, as must a mask token that neither the config nor
the tokenizer names.

Weights become 4 bits in groups of 32, embedding and head 7 bits with one scale per row, norms and biases float32. They
are read and quantized tensor by tensor. WASM memory is limited to 4 GiB: about 6 billion parameters.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from training.export.weights import QUANTIZATION_CONFIG, write_manifest, write_safetensors
from training.model.quantization import pack_nibbles, quantize_groups, quantize_rows

# By the `model_type` of a checkpoint: its family, its attention, which token a row predicts, and the key of its block
# size. Sources: the modelling files of Dream (arXiv 2508.15487), dLLM's A2D models, and Fast-dLLM v2 (arXiv
# 2509.26328).
KNOWN = {
    "Dream": ("qwen2", "bidirectional", "shifted", None),
    "Fast_dLLM_Qwen": ("qwen2", "block-causal", "shifted", "bd_size"),
    "a2d-qwen2": ("qwen2", None, "slot", None),
    "a2d-qwen3": ("qwen3", None, "slot", None),
    "qwen2": ("qwen2", None, None, None),
    "qwen3": ("qwen3", None, None, None),
}
MASK_TOKENS = ("<|mask|>", "<|MASK|>", "[MASK]", "<mask>")
END_TOKENS = ("<|endoftext|>", "<|im_end|>")
FIM_TOKENS = {"prefix": "<|fim_prefix|>", "suffix": "<|fim_suffix|>", "middle": "<|fim_middle|>"}
GROUP_MULTIPLE, PANEL_MULTIPLE, HEAD_MULTIPLE = 32, 8, 16  # of the kernels' layouts
MAX_BYTES = 4 * 2**30  # of WASM memory, keys, values and scratch included
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class ConversionError(Exception):
    """The checkpoint is not supported, or does not define enough. The message says what was found and what helps."""


def convert(checkpoint: Path, folder: Path, options: dict) -> None:
    """Writes the model's folder. `options` are fields of the `diffusion` block, and replace those of the checkpoint."""
    source = json.loads((checkpoint / "config.json").read_text())
    tensors = Checkpoint(checkpoint)
    config = converted_config(source, Tokenizer.from_file(str(checkpoint / "tokenizer.json")), tensors, options)
    quantized = dict(quantized_tensors(config, tensors))
    size = sum(tensor.numel() * tensor.element_size() for tensor in quantized.values())
    if size > MAX_BYTES * 3 // 4:
        raise ConversionError(f"{size / 2**30:.1f} GiB of quantized weights leave no room in WASM's 4 GiB")
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", quantized)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(checkpoint / "tokenizer.json", folder / "tokenizer.json")
    write_manifest(folder)


class Checkpoint:
    """The tensors of one or several safetensors files by name, read one at a time."""

    def __init__(self, folder: Path):
        self._files = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = safe_open(path, framework="pt")
            # a safetensors handle is not a dict and has no iterator
            self._files |= {name: file for name in file.keys()}  # noqa: SIM118
        if not self._files:
            raise ConversionError(f"there are no safetensors in {folder}")

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._files:
            raise ConversionError(f"the checkpoint has no tensor '{name}'")
        return self._files[name].get_tensor(name).float()

    def shape(self, name: str) -> list[int]:
        return self._files[name].get_slice(name).get_shape()


def converted_config(source: dict, tokenizer: Tokenizer, tensors: Checkpoint, options: dict) -> dict:
    """The service's config.json. Raises ConversionError."""
    kind = source.get("model_type")
    if kind not in KNOWN:
        raise ConversionError(f"model_type {kind!r} is none of {', '.join(KNOWN)}")
    family, attention, logits, block_key = KNOWN[kind]
    refuse_unsupported(source)
    vocab_size, hidden_size = tensors.shape("model.embed_tokens.weight")
    head_dim = source.get("head_dim") or hidden_size // source["num_attention_heads"]
    config = {
        "architectures": source.get("architectures", []),
        "model_type": family,
        "hidden_size": hidden_size,
        "num_hidden_layers": source["num_hidden_layers"],
        "num_attention_heads": source["num_attention_heads"],
        "num_key_value_heads": source["num_key_value_heads"],
        "head_dim": head_dim,
        "intermediate_size": source["intermediate_size"],
        "vocab_size": vocab_size,
        "rms_norm_eps": source["rms_norm_eps"],
        "rope_theta": rope_theta(source),
        "tie_word_embeddings": has_tied_head(source, tensors),
        "hidden_act": source.get("hidden_act", "silu"),
        "attention_bias": "model.layers.0.self_attn.q_proj.bias" in tensors,
        "qk_norm": "model.layers.0.self_attn.q_norm.weight" in tensors,
        "max_position_embeddings": source["max_position_embeddings"],
    }
    for key, multiple in (
        ("hidden_size", GROUP_MULTIPLE),
        ("intermediate_size", GROUP_MULTIPLE),
        ("vocab_size", PANEL_MULTIPLE),
        ("head_dim", HEAD_MULTIPLE),
    ):
        if config[key] % multiple:
            raise ConversionError(f"{key} {config[key]} is not a multiple of {multiple}, as the kernels need it")

    diffusion = {
        "attention": options.get("attention") or attention or told("--attention bidirectional or block-causal", kind),
        "logits": options.get("logits") or logits or told("--logits slot or shifted", kind),
        "mask_token_id": mask_token_id(source, tokenizer, options.get("mask_token")),
        "end_token_ids": end_token_ids(source, tokenizer),
        "canvas_slots": options.get("canvas_slots") or 32,
        "prefix_tokens": options.get("prefix_tokens") or 768,
        "suffix_tokens": options.get("suffix_tokens") or 256,
        "reveal_threshold": options.get("reveal_threshold") or 0.9,  # Fast-dLLM, arXiv 2505.22618
    }
    if diffusion["attention"] == "block-causal":
        block = options.get("block_size") or source.get(block_key or "block_size") or told("--block-size", kind)
        fim = {name: tokenizer.token_to_id(content) for name, content in FIM_TOKENS.items()}
        diffusion |= {"block_size": block, "canvas_slots": min(block, diffusion["canvas_slots"])}
        if None not in fim.values():
            diffusion["fim_token_ids"] = fim
    return config | {"diffusion": diffusion, "quantization_config": QUANTIZATION_CONFIG}


def refuse_unsupported(source: dict) -> None:
    """Raises ConversionError for features that the service does not compute."""
    rope = source.get("rope_parameters") or source.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    problems = {
        f"hidden_act {source.get('hidden_act')!r}": source.get("hidden_act", "silu") != "silu",
        "sliding-window attention": source.get("use_sliding_window", False),
        f"RoPE of type {kind!r}": kind != "default",
        "experts": "num_experts" in source,
        "weights that are quantized already": "quantization_config" in source,
    }
    found = [what for what, is_so in problems.items() if is_so]
    if found:
        raise ConversionError(f"the checkpoint has {' and '.join(found)}, which the kernels do not")


def rope_theta(source: dict) -> float:
    return float(source.get("rope_theta") or source["rope_parameters"]["rope_theta"])


def has_tied_head(source: dict, tensors: Checkpoint) -> bool:
    """Whether the embedding is the head. A head in the file decides, because conversions often do not update the
    config."""
    if "lm_head.weight" not in tensors:
        if not source.get("tie_word_embeddings", False):
            raise ConversionError("the checkpoint has no head, and its config does not say that it is the embedding")
        return True
    return torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])


def told(option: str, kind: str) -> str:
    raise ConversionError(f"the config of {kind!r} does not tell it: give {option}")


def mask_token_id(source: dict, tokenizer: Tokenizer, given: str | None) -> int:
    if given:
        id_ = int(given) if given.isdecimal() else tokenizer.token_to_id(given)
        if id_ is None:
            raise ConversionError(f"the tokenizer has no token {given!r}")
        return id_
    if source.get("mask_token_id") is not None:
        return source["mask_token_id"]
    found = [id_ for content in MASK_TOKENS if (id_ := tokenizer.token_to_id(content)) is not None]
    if not found:
        raise ConversionError("neither config nor tokenizer names a mask token: give --mask-token, an id or its text")
    return found[0]


def end_token_ids(source: dict, tokenizer: Tokenizer) -> list[int]:
    """End tokens: those of the config, then those that end a text or a turn in this family."""
    named = source.get("eos_token_id")
    ids = named if isinstance(named, list) else [] if named is None else [named]
    ids = [*ids, *(id_ for content in END_TOKENS if (id_ := tokenizer.token_to_id(content)) is not None)]
    if not ids:
        raise ConversionError("neither config nor tokenizer names a token that ends a text (eos_token_id)")
    return list(dict.fromkeys(ids))[:2]


def quantized_tensors(config: dict, tensors: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """Tensors of the file, in the order in which the service needs them while it streams the file."""
    yield from table("model.embed_tokens", tensors)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        yield from vector(layer + "input_layernorm.weight", tensors)
        yield from vector(layer + "post_attention_layernorm.weight", tensors)
        if config["qk_norm"]:
            yield from vector(layer + "self_attn.q_norm.weight", tensors)
            yield from vector(layer + "self_attn.k_norm.weight", tensors)
        for part in PROJECTIONS:
            yield from linear(f"{layer}self_attn.{part}", tensors)
            if config["attention_bias"]:
                yield from vector(f"{layer}self_attn.{part}.bias", tensors)
        yield from linear(layer + "self_attn.o_proj", tensors)
        for part in ("gate_proj", "up_proj", "down_proj"):
            yield from linear(f"{layer}mlp.{part}", tensors)
    yield from vector("model.norm.weight", tensors)
    if not config["tie_word_embeddings"]:
        yield from table("lm_head", tensors)


def vector(name: str, tensors: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    yield name, tensors[name]


def linear(name: str, tensors: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    weight = tensors[f"{name}.weight"]
    values, scale = quantize_groups(weight)
    yield f"{name}.weight_packed", pack_nibbles(values)
    yield f"{name}.weight_scale", scale.bfloat16()
    yield f"{name}.weight_shape", torch.tensor(weight.shape)


def table(name: str, tensors: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    values, scale = quantize_rows(tensors[f"{name}.weight"])
    yield f"{name}.weight", values.to(torch.int8)
    yield f"{name}.weight_scale", scale.bfloat16()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--attention", choices=("bidirectional", "block-causal"))
    parser.add_argument("--block-size", type=int, help="tokens of a block of block-causal attention")
    parser.add_argument(
        "--logits", choices=("slot", "shifted"), help="which token a row predicts: its own, or the next one"
    )
    parser.add_argument("--mask-token", help="text or id")
    parser.add_argument("--canvas-slots", type=int, help="32 unless given, at most a block")
    parser.add_argument("--prefix-tokens", type=int, help="768 unless given")
    parser.add_argument("--suffix-tokens", type=int, help="256 unless given")
    parser.add_argument("--reveal-threshold", type=float, help="0.9 unless given")
    arguments = vars(parser.parse_args())
    try:
        convert(arguments.pop("checkpoint"), arguments.pop("out"), arguments)
    except ConversionError as error:
        parser.exit(1, f"cannot convert: {error}\n")
