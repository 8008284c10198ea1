"""Writes the prefix stream of a model as GGUF, so that llama.cpp runs the same weights (bench/peers).

    python -m training.export.prefix_gguf --model models/small --out build/gguf/small.gguf

The prefix stream of a denoiser without QK-norm is a causal Llama: RMSNorm, RoPE, grouped-query attention, SwiGLU, tied
embedding. The file has its weights exactly, because both formats write the same numbers:

    layers      4 bits in groups of 32, (w − 8) · scale    Q4_0: blocks of 32, (q − 8) · d
    embedding   8 bits, one scale a row                    Q8_0: blocks of 32, q · d; each block has the scale of its row
    scales      bfloat16                                   float16: wider by three bits, narrower in range (checked)

Suffix and canvas are left out: llama.cpp computes the next token, our `decoding: autoregressive`. It rounds activations
in blocks of 32 and we in rows, so logits are close and not equal. Blocks: ggml's block_q4_0 and block_q8_0.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.constants import GGML_QUANT_VERSION
from safetensors.torch import load_file
from torch import Tensor

from training.model.base import TENSORS, interleave_halves
from training.model.config import DenoiserConfig, SpecialTokens
from training.model.quantization import GROUP, unpack_nibbles
from training.model.tokenizer import load_tokenizer

# llama.cpp knows pre-tokenizers by name. This one is that of the base: digits one by one, then the split of GPT-2.
PRE_TOKENIZER = "smollm"
BASE_PRE_TOKENIZERS = ["Digits", "ByteLevel"]
WEIGHTS_KEY = "quicksilver.weights_sha256"  # of model.safetensors: which weights a GGUF was made from


def write_prefix_gguf(folder: Path, path: Path) -> None:
    """Writes the model in `folder` to `path`. Raises ValueError if it is no Llama, if llama.cpp lacks its
    pre-tokenizer, or if a scale is out of the range of float16."""
    config = DenoiserConfig.from_json(json.loads((folder / "config.json").read_text()))
    if config.qk_norm:
        raise ValueError(f"{folder} norms queries and keys, which a Llama does not: expected qk_norm false")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    writer.add_string(WEIGHTS_KEY, hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())
    write_shape(writer, config, folder.name)
    write_tokenizer(writer, folder / "tokenizer.json")
    write_weights(writer, config, load_file(folder / "model.safetensors"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_shape(writer: GGUFWriter, config: DenoiserConfig, name: str) -> None:
    writer.add_name(f"quicksilver-{name}, prefix stream")
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def write_tokenizer(writer: GGUFWriter, path: Path) -> None:
    """<|prefix|> begins every text, as it begins the prefix stream; <|endoftext|> ends one."""
    data = json.loads(path.read_text())
    kinds = [part["type"] for part in data["pre_tokenizer"].get("pretokenizers", [data["pre_tokenizer"]])]
    if kinds != BASE_PRE_TOKENIZERS:
        raise ValueError(f"{path} has pre-tokenizers {kinds}, llama.cpp's '{PRE_TOKENIZER}' is {BASE_PRE_TOKENIZERS}")
    tokenizer = load_tokenizer(path)
    special = SpecialTokens.of(tokenizer)
    added = tokenizer.get_added_tokens_decoder()
    ids = range(tokenizer.get_vocab_size())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([tokenizer.id_to_token(id_) for id_ in ids])
    writer.add_token_types([TokenType.CONTROL if id_ in added else TokenType.NORMAL for id_ in ids])
    writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    writer.add_bos_token_id(special.prefix)
    writer.add_eos_token_id(special.end_of_text)
    writer.add_pad_token_id(special.pad)
    writer.add_mask_token_id(special.mask)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def write_weights(writer: GGUFWriter, config: DenoiserConfig, tensors: dict[str, Tensor]) -> None:
    """llama.cpp's rotation turns neighbouring rows of q and k, ours the two halves of a head."""
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    embedding = "model.embed_tokens.weight"
    blocks = q8_0_blocks(tensors[embedding], tensors[f"{embedding}_scale"])
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    for layer in range(config.num_hidden_layers):
        for ours, theirs in TENSORS.items():
            name, target = f"model.layers.{layer}.{ours}", f"blk.{layer}.{theirs}.weight"
            if f"{name}.weight" in tensors:
                writer.add_tensor(target, tensors[f"{name}.weight"].float().numpy())
                continue
            values, scale = unpack_nibbles(tensors[f"{name}.weight_packed"]), tensors[f"{name}.weight_scale"]
            if ours in heads:
                values, scale = (interleave_halves(each, heads[ours]) for each in (values, scale))
            writer.add_tensor(target, q4_0_blocks(values, scale), raw_dtype=GGMLQuantizationType.Q4_0)
    writer.add_tensor("output_norm.weight", tensors["model.norm.weight"].float().numpy())


def q4_0_blocks(values: Tensor, scale: Tensor) -> np.ndarray:
    """Integers −8…7 (n, k) and scales (n, k/32) → bytes (n, k/32 · 18): float16 d, then 16 bytes of which byte j has
    value j in its low and value j + 16 in its high half. Raises ValueError if float16 does not hold a scale."""
    unsigned = (values + 8).to(torch.uint8).unflatten(1, (-1, 2, GROUP // 2))
    nibbles = unsigned[:, :, 0] | unsigned[:, :, 1] << 4
    return torch.cat((half_bytes(scale), nibbles), dim=2).flatten(1).numpy()


def q8_0_blocks(values: Tensor, scale: Tensor) -> np.ndarray:
    """Integers (n, k) of 8 bits and scales (n, 1) → bytes (n, k/32 · 34): float16 d, then 32 values. Raises ValueError
    if float16 does not hold a scale."""
    groups = values.to(torch.int8).unflatten(1, (-1, GROUP))
    scales = half_bytes(scale.expand(-1, groups.shape[1]))
    return torch.cat((scales, groups.view(torch.uint8)), dim=2).flatten(1).numpy()


def half_bytes(scale: Tensor) -> Tensor:
    """Scales (n, groups) → the bytes of their float16 (n, groups, 2). Raises ValueError if one is not the same
    number."""
    half = scale.half()
    if not torch.equal(half.float(), scale.float()):
        wrong = scale.float()[half.float() != scale.float()][0].item()
        raise ValueError(f"float16 does not hold the scale {wrong}")
    return half.contiguous().view(torch.uint8).unflatten(1, (-1, 2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/small"))
    parser.add_argument("--out", type=Path, default=Path("build/gguf/small.gguf"))
    arguments = parser.parse_args()
    write_prefix_gguf(arguments.model, arguments.out)
