"""Golden vectors of converted checkpoints: tiny random checkpoints and their results, both made by transformers.

    python -m training.export.golden_checkpoints            # writes test/golden/checkpoints/
    python -m training.export.golden_checkpoints --check    # compares test/golden/checkpoints/ with transformers

Two checkpoints: `qwen2` with biases and tied embeddings, `qwen3` with QK-norm and an untied head. For each there is the
converted model, and the logits of one stream of tokens for both kinds of attention: `FAMILY.ATTENTION.logits` with the
weights of the converted file and activations rounded as in the service, and `FAMILY.ATTENTION.float_logits` with the
float weights of the checkpoint. qwen.json holds completions of a simple implementation of the sampler, and texts with
their ids from the Rust tokenizer library.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from training.export.convert import convert
from training.model.quantization import GROUP, fake_quantize_activations, unpack_nibbles

FOLDER = Path("test/golden/checkpoints")
TOLERANCE = 2e-3  # of the root mean square, for --check: another machine may sum in another order
MARGIN = 0.05  # log-probability: the smallest margin of a decision in a completion that is used
BLOCK = 8
STREAM_TOKENS = 24
# Qwen2's and Qwen3's published pre-tokenizer.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|mask|>",
)
VOCABULARY = 512
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": VOCABULARY}
LIMITS = {"canvas_slots": 8, "prefix_tokens": 48, "suffix_tokens": 16, "reveal_threshold": 0.9, "block_size": BLOCK}
TEXTS = [
    "",
    "def add(a, b):\n    return a + b\n",
    "It's what we'LL do, they'Re sure: I'd say 12345 or 3.14!",
    "\tif (x) {\r\n\r\n\t\ty();  \r\n\t}\r\n\n\n   ",
    "const s = `héllo wörld — 日本語 🎉👩‍👩‍👧`;\n\n\n   // three   spaces   \n",
    "e\u0301 A\u030a \u1e9b\u0323 \ufb01 \u00a0\u2003\u2028\u2029\ufeff\u0085 \x0b\x0c '\u017f",
    "<|mask|> and <|im_end|> typed by a user are text",
    "مرحبا ١٢٣ नमस्ते २०२६ Ⅷ ² 한국어",
    "a_b.c?.d!==e->f::<T>() => {};  \u200b#include<x>",
]
PROMPTS = [
    ("def add(a, b):\n    ", "\n"),
    ("const s = ", ";\n"),
    ("It's ", ""),
    ("return a", ""),
    ("x = [1, 2, ", "]\n"),
]


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE as in Qwen, with VOCABULARY tokens, trained on TEXTS and this file."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, Path(__file__).read_text()] * 2, trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def make_checkpoint(family: str, folder: Path) -> PreTrainedModel:
    """A random checkpoint with weights large enough that attention and biases matter."""
    torch.manual_seed(len(family) + sum(map(ord, family)))
    if family == "qwen2":
        config = Qwen2Config(
            **SIZES, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, max_position_embeddings=128
        )
        model = Qwen2ForCausalLM(config)
    else:
        config = Qwen3Config(
            **SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=128
        )
        config.tie_word_embeddings = False
        model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.7, 1.3)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.5)
                parameter[3] = 6.0  # in Qwen2, single key channels are far larger than the others
            else:
                parameter.normal_(0, 1.2 * parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    return model.eval()


def attention_mask(attention: str, tokens: int) -> dict[str, Tensor]:
    """The attention mask in the format of transformers: additive, (1, 1, tokens, tokens)."""
    block = torch.arange(tokens) // (BLOCK if attention == "block-causal" else tokens)
    sees = block[:, None] >= block[None, :]
    return {"full_attention": torch.where(sees, 0.0, torch.finfo(torch.float32).min)[None, None]}


@torch.no_grad()
def logits_of(model: PreTrainedModel, ids: list[int], attention: str) -> Tensor:
    """(tokens, vocabulary)"""
    return model(torch.tensor([ids]), attention_mask=attention_mask(attention, len(ids))).logits[0]


def quantized_reference(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The same network with the weights of the converted file and activations rounded as in the service."""
    tensors = load_file(folder / "model.safetensors")
    state = {}
    for name, tensor in tensors.items():
        if name.endswith(".weight_packed"):
            scale = tensors[name.replace("_packed", "_scale")].float()
            groups = unpack_nibbles(tensor).unflatten(1, (-1, GROUP))
            state[name.removesuffix("_packed")] = (groups * scale[..., None]).flatten(1)
        elif tensor.dtype == torch.int8:
            state[name] = tensor.float() * tensors[f"{name}_scale"].float()
        elif tensor.dtype == torch.float32:
            state[name] = tensor
    if model.config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (fake_quantize_activations(inputs[0]),))
    return model


def complete(model: PreTrainedModel, config: dict, left: list[int], right: list[int], slots: int) -> list[int] | None:
    """One canvas, greedily: every step reveals the slots that reach the threshold, or else the most confident one. None
    if the margin of a decision is too small."""
    diffusion = config["diffusion"]
    mask, ends = diffusion["mask_token_id"], diffusion["end_token_ids"]
    canvas = [mask] * slots
    while mask in canvas:
        logits = logits_of(model, [*left, *canvas, *right], diffusion["attention"])
        first = len(left) - (diffusion["logits"] == "shifted")
        log_probabilities = logits[first : first + len(canvas)].log_softmax(dim=-1)
        log_probabilities[:, mask] = -torch.inf
        (best, second), token = log_probabilities.topk(2).values.T, log_probabilities.argmax(dim=-1)
        undecided = [slot for slot, id_ in enumerate(canvas) if id_ == mask]
        threshold = torch.tensor(diffusion["reveal_threshold"]).log()
        sure = [slot for slot in undecided if best[slot] >= threshold]
        order = sorted(undecided, key=lambda slot: -best[slot])
        is_close = not sure and len(order) > 1 and best[order[0]] - best[order[1]] < MARGIN
        is_close |= any((best[slot] - threshold).abs() < MARGIN for slot in undecided)
        for slot in sure or order[:1]:
            is_close |= bool(best[slot] - second[slot] < MARGIN)
            canvas[slot] = int(token[slot])
        if is_close:
            return None
        end = next((slot for slot, id_ in enumerate(canvas) if id_ in ends), None)
        if end is not None:
            canvas = canvas[: end + 1]
    return canvas


def compute(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Writes the converted models into `folder`. Returns the contents of qwen.json and logits.safetensors."""
    kept = FOLDER / "qwen2" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(kept)) if kept.exists() else make_tokenizer()
    document: dict = {"block": BLOCK, "streams": {}, "completions": [], "texts": []}
    tensors: dict[str, Tensor] = {}
    for family in ("qwen2", "qwen3"):
        with tempfile.TemporaryDirectory() as temporary:
            checkpoint = Path(temporary)
            model = make_checkpoint(family, checkpoint)
            tokenizer.save(str(checkpoint / "tokenizer.json"))
            convert(checkpoint, folder / family, {"attention": "bidirectional", "logits": "slot", **LIMITS})
        (folder / family / "manifest.json").unlink()  # these models are not served
        config = json.loads((folder / family / "config.json").read_text())
        mask = config["diffusion"]["mask_token_id"]
        text = tokenizer.encode(TEXTS[1] + TEXTS[2], add_special_tokens=False).ids
        ids = [mask if 9 <= place < 17 and place % 3 else id_ for place, id_ in enumerate(text[:STREAM_TOKENS])]
        document["streams"][family] = ids
        for attention in ("bidirectional", "block-causal"):
            tensors[f"{family}.{attention}.float_logits"] = logits_of(model, ids, attention)
        reference = quantized_reference(model, folder / family)
        for attention in ("bidirectional", "block-causal"):
            tensors[f"{family}.{attention}.logits"] = logits_of(reference, ids, attention)
        document["completions"] += completions(reference, config, family, tokenizer)
    tokenizer.encode_special_tokens = True
    document["texts"] = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]
    return document, {name: tensor.contiguous() for name, tensor in tensors.items()}


def completions(model: PreTrainedModel, config: dict, family: str, tokenizer: Tokenizer) -> list[dict]:
    """Canvases of every prompt, attention and kind of logits, except those with a small margin."""
    found = []
    for attention in ("bidirectional", "block-causal"):
        for logits in ("slot", "shifted"):
            chosen = config | {"diffusion": config["diffusion"] | {"attention": attention, "logits": logits}}
            for prefix, suffix in PROMPTS:
                left = tokenizer.encode(prefix, add_special_tokens=False).ids
                right = tokenizer.encode(suffix, add_special_tokens=False).ids
                if attention == "block-causal" and right:
                    continue
                slots = 4 if attention == "bidirectional" else min(4, BLOCK - len(left) % BLOCK)
                canvas = complete(model, chosen, left, right, slots)
                if canvas:
                    case = {"family": family, "attention": attention, "logits": logits}
                    found.append(case | {"prefix": prefix, "suffix": suffix, "slots": slots, "canvas": canvas})
    return found


def check(document: dict, tensors: dict[str, Tensor], folder: Path) -> list[str]:
    """Differences between test/golden/checkpoints and the current results, in words."""
    problems = []
    if json.loads((FOLDER / "qwen.json").read_text()) != document:
        problems.append("qwen.json differs")
    for family in ("qwen2", "qwen3"):
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if (FOLDER / family / name).read_bytes() != (folder / family / name).read_bytes():
                problems.append(f"{family}/{name} differs")
    stored = load_file(FOLDER / "logits.safetensors")
    for name, tensor in tensors.items():
        difference = (tensor - stored[name]).abs().max() / tensor.square().mean().sqrt()
        if difference > TOLERANCE:
            problems.append(f"{name} differs by {difference:.4f} of its root mean square")
    return problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        with tempfile.TemporaryDirectory() as target:
            found = check(*compute(Path(target)), Path(target))
        print("\n".join(found) or "the golden vectors of checkpoints are fresh")
        sys.exit(bool(found))
    result, vectors = compute(FOLDER)
    (FOLDER / "qwen.json").write_text(json.dumps(result, indent=1) + "\n")
    save_file(vectors, FOLDER / "logits.safetensors")
    print(f"{len(vectors)} tensors, {len(result['completions'])} completions")
