"""Batches for training: windows drawn in worker processes, and a fixed set of them for validation."""

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.corpus.documents import Language, load_documents
from training.corpus.manifest import Split
from training.model.config import SpecialTokens, TrainConfig
from training.model.tokenizer import load_tokenizer
from training.pretrain.cursor_windows import CursorBatch, CursorSampler
from training.pretrain.losses import Batch
from training.pretrain.windows import Window, WindowSampler, canvas_targets


def texts_by_package(split: Split, languages: Collection[Language] | None = None) -> list[list[str]]:
    """The texts of each package of a split, in manifest order; of all languages, or only of `languages`.

    Packages without such a text are left out.
    """
    documents = [d for d in load_documents(split) if languages is None or d.language in languages]
    return [[d.text for d in group] for _, group in groupby(documents, key=lambda d: d.package)]


def collate(windows: list[Window], slots: int, special: SpecialTokens) -> Batch:
    targets = [canvas_targets(window, slots, special) for window in windows]
    stacked = [np.stack([t[i] for t in targets]) for i in range(3)]
    window = np.stack([w.tokens for w in windows])
    horizon = np.array([w.horizon for w in windows])
    return Batch(*(torch.from_numpy(a.astype(np.int64)) for a in (window, horizon, *stacked)))


# (random, windows, canvases, slots) → a batch
DrawBatch = Callable[[random.Random, int, int, int], Batch | CursorBatch]


def window_batches(config: TrainConfig, split: Split) -> DrawBatch:
    """Batches of windows with many cursors."""
    sampler = WindowSampler(texts_by_package(split), load_tokenizer(config.tokenizer), config.window_tokens)

    def draw(rng: random.Random, windows: int, canvases: int, slots: int) -> Batch:
        return collate([sampler.draw(rng, canvases, slots) for _ in range(windows)], slots, sampler.special)

    return draw


def cursor_batches(config: TrainConfig, split: Split) -> DrawBatch:
    """Batches for a shifted denoiser, of windows with one or more horizons."""
    tokenizer = load_tokenizer(config.tokenizer)
    return CursorSampler(
        texts_by_package(split),
        tokenizer,
        config.window_tokens,
        config.suffix_window_tokens,
        config.window_horizons,
        config.denoiser(tokenizer.get_vocab_size()).suffix_order,
    ).batch


class EndlessBatches(IterableDataset):
    """Each batch has one canvas width, drawn from config.canvas_widths, or runs of rows. The sampler is opened in the
    worker process."""

    def __init__(self, config: TrainConfig, seed: int, open_sampler: Callable[[TrainConfig, Split], DrawBatch]):
        self.config, self.seed, self.open_sampler = config, seed, open_sampler

    def __iter__(self) -> Iterator[Batch | CursorBatch]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        draw = self.open_sampler(self.config, "train")
        while True:
            runs = rng.random() < self.config.run_share
            slots = self.config.run_rows if runs else rng.choice(self.config.canvas_widths)
            batch = draw(rng, self.config.batch_windows, self.config.canvases(slots), slots)
            yield replace(batch, runs=True) if runs else batch


def training_batches(
    config: TrainConfig, seed: int, open_sampler: Callable[[TrainConfig, Split], DrawBatch] = window_batches
) -> Iterator[Batch | CursorBatch]:
    return iter(
        DataLoader(
            EndlessBatches(config, seed, open_sampler),
            batch_size=None,
            num_workers=config.data_workers,
            prefetch_factor=4 if config.data_workers else None,
        )
    )


CANVASES_OF_VALIDATION = 12


def cursor_validation_batches(config: TrainConfig, slots: int, seed: int = 12345) -> list[CursorBatch]:
    """The same windows of one horizon for every run with the same tokenizer, window and width."""
    rng = random.Random(seed)
    draw = cursor_batches(replace(config, window_horizons=1), "validation")
    return [draw(rng, 4, CANVASES_OF_VALIDATION, slots) for _ in range(max(1, config.validation_windows // 4))]


def validation_batches(config: TrainConfig, slots: int, seed: int = 12345) -> list[Batch]:
    """The same windows for every run with the same tokenizer, window and width."""
    rng = random.Random(seed)
    tokenizer = load_tokenizer(config.tokenizer)
    sampler = WindowSampler(texts_by_package("validation"), tokenizer, config.window_tokens)
    windows = [sampler.draw(rng, config.window_slots // slots, slots) for _ in range(config.validation_windows)]
    return [collate(windows[i : i + 16], slots, sampler.special) for i in range(0, len(windows), 16)]
