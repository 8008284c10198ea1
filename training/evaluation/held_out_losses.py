"""Losses on held-out documents: of the prefix stream as a language model, of canvases, and of the n-gram model.

Next-token losses are taken over windows of WINDOW_TOKENS tokens, spaced evenly over the documents of the split, which
have their canonical tokenization and <|endoftext|> between them. A token is predicted only from the tokens before it in
its window (n-gram model: from the last four of them). The first token of a window is not counted.
"""

import random
from collections.abc import Iterator

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.evaluation.ngram import NgramModel
from training.evaluation.scores import interval
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import token_bytes
from training.pretrain.cursor_losses import canvas_hidden, read_streams
from training.pretrain.cursor_windows import CursorSampler
from training.pretrain.data import collate
from training.pretrain.losses import canvas_losses, context_streams, prefix_streams, token_losses
from training.pretrain.windows import WindowSampler

WINDOW_TOKENS = 512
WINDOWS = 64
CANVAS_WINDOW_TOKENS = 256
CANVAS_WINDOWS = 48
CANVASES_A_WINDOW = 4
CANVAS_SUFFIX_TOKENS = 64  # of a shifted denoiser
BATCH = 4


def even_windows(stream: np.ndarray, count: int, length: int) -> np.ndarray:
    """stream (n,) → (count, length): windows of it, evenly spaced."""
    if len(stream) < length:
        raise ValueError(f"the split has {len(stream)} tokens, a window needs {length}")
    starts = np.linspace(0, len(stream) - length, count).astype(np.int64)
    return np.stack([stream[start : start + length] for start in starts])


def characters_of_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """(vocabulary,) how many characters begin in each token: its bytes that do not continue a UTF-8 character. Special
    tokens have none."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for id_, content in enumerate(token_bytes(tokenizer)):
        counts[id_] = sum(byte & 0xC0 != 0x80 for byte in content or b"")
    return counts


def per_token_and_character(losses: np.ndarray, windows: np.ndarray, characters: np.ndarray) -> dict:
    """Means of losses (windows, length − 1) of windows[:, 1:], in nats; the bootstrap resamples windows."""
    half = windows.shape[1] // 2
    return {
        "prefix_per_token": float(losses.mean()),
        "prefix_per_token_interval": interval(losses.mean(axis=1)),
        "prefix_per_character": float(losses.sum() / characters[windows[:, 1:]].sum()),
        "prefix_first_half": float(losses[:, : half - 1].mean()),
        "prefix_second_half": float(losses[:, half - 1 :].mean()),
    }


@torch.inference_mode()
def prefix_losses(model: Denoiser, special: SpecialTokens, windows: np.ndarray) -> np.ndarray:
    """Next-token losses (windows, length − 1) of the prefix stream."""
    found = []
    for rows in np.array_split(windows, max(1, len(windows) // BATCH)):
        tokens = torch.from_numpy(rows.astype(np.int64))
        streams, sign = prefix_streams(tokens, special)
        hidden, _ = model.context(streams[:, :-1], sign)
        found.append(token_losses(model.logits(hidden[:, 1:]), tokens[:, 1:]).numpy())
    return np.concatenate(found).astype(np.float64)


def ngram_losses(model: NgramModel, windows: np.ndarray) -> np.ndarray:
    """The same of the n-gram model."""
    return -np.stack([model.log_probabilities(window) for window in windows])


@torch.inference_mode()
def canvas_noise_losses(
    model: Denoiser, special: SpecialTokens, packages: list[list[str]], tokenizer: Tokenizer, seed: int
) -> dict[str, float]:
    """Loss of canvases that are all mask, the spans being those of training (windows.SPAN_KINDS, cursor_windows)."""
    canvases = _shifted_canvases if model.config.shifted else _canvases
    all_slots, text_slots = [], []
    for x0, losses in canvases(model, special, packages, tokenizer, random.Random(seed)):
        all_slots.append(losses.flatten())
        text_slots.append(losses[x0 != special.pad])
    return {
        "canvas_per_slot": torch.cat(all_slots).mean().item(),
        "canvas_per_text_slot": torch.cat(text_slots).mean().item(),
    }


Canvases = Iterator[tuple[Tensor, Tensor]]  # x0 and the losses of its slots, of the same shape


def _canvases(model: Denoiser, special: SpecialTokens, packages, tokenizer: Tokenizer, rng: random.Random) -> Canvases:
    slots = model.config.canvas_slots
    sampler = WindowSampler(packages, tokenizer, CANVAS_WINDOW_TOKENS)
    windows = [sampler.draw(rng, CANVASES_A_WINDOW, slots) for _ in range(CANVAS_WINDOWS)]
    for i in range(0, len(windows), BATCH):
        batch = collate(windows[i : i + BATCH], slots, special)
        streams, sign = context_streams(batch.window, batch.horizon, special)
        _, states = model.context(streams, sign)
        noise = torch.full_like(batch.x0, special.mask)
        yield batch.x0, canvas_losses(model, batch, noise, torch.ones_like(noise, dtype=torch.bool), states)


def _shifted_canvases(
    model: Denoiser, special: SpecialTokens, packages, tokenizer: Tokenizer, rng: random.Random
) -> Canvases:
    order = model.config.suffix_order
    sampler = CursorSampler(packages, tokenizer, CANVAS_WINDOW_TOKENS, CANVAS_SUFFIX_TOKENS, suffix_order=order)
    for _ in range(CANVAS_WINDOWS // BATCH):
        batch = sampler.batch(rng, BATCH, CANVASES_A_WINDOW, model.config.canvas_slots)
        _, _, states = read_streams(model, batch, special)
        noise = torch.full_like(batch.x0, special.mask)
        hidden = canvas_hidden(model, batch, noise, torch.ones_like(noise, dtype=torch.bool), states)
        yield batch.x0, token_losses(model.logits(hidden), batch.x0)
