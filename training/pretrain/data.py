"""Batches for training: windows drawn in worker processes, and a fixed set of them for validation."""

import random
from collections.abc import Collection, Iterator
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


class WindowBatches(IterableDataset):
    """Endless batches; each has one canvas width, drawn from config.canvas_widths."""

    def __init__(self, config: TrainConfig, split: Split, seed: int):
        self.config, self.seed, self.split = config, seed, split

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        tokenizer = load_tokenizer(self.config.tokenizer)
        sampler = WindowSampler(texts_by_package(self.split), tokenizer, self.config.window_tokens)
        while True:
            slots = rng.choice(self.config.canvas_widths)
            canvases = self.config.window_slots // slots
            windows = [sampler.draw(rng, canvases, slots) for _ in range(self.config.batch_windows)]
            yield collate(windows, slots, sampler.special)


def training_batches(config: TrainConfig, seed: int) -> Iterator[Batch]:
    return _loaded(WindowBatches(config, "train", seed), config)


class CursorBatches(IterableDataset):
    """Endless batches for a shifted denoiser; each has one canvas width, drawn from config.canvas_widths."""

    def __init__(self, config: TrainConfig, split: str, seed: int):
        self.config, self.seed, self.split = config, seed, split

    def __iter__(self) -> Iterator[CursorBatch]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        sampler = cursor_sampler(self.config, self.split)
        while True:
            slots = rng.choice(self.config.canvas_widths)
            yield sampler.batch(rng, self.config.batch_windows, self.config.window_slots // slots, slots)


def cursor_sampler(config: TrainConfig, split: str) -> CursorSampler:
    tokenizer = load_tokenizer(config.tokenizer)
    return CursorSampler(texts_by_package(split), tokenizer, config.window_tokens, config.suffix_window_tokens)


def cursor_batches(config: TrainConfig, seed: int) -> Iterator[CursorBatch]:
    return _loaded(CursorBatches(config, "train", seed), config)


CANVASES_OF_VALIDATION = 12


def cursor_validation_batches(config: TrainConfig, slots: int, seed: int = 12345) -> list[CursorBatch]:
    """The same windows for every run with the same tokenizer, window and width."""
    rng = random.Random(seed)
    sampler = cursor_sampler(config, "validation")
    return [sampler.batch(rng, 4, CANVASES_OF_VALIDATION, slots) for _ in range(max(1, config.validation_windows // 4))]


def _loaded(dataset: IterableDataset, config: TrainConfig) -> Iterator:
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            num_workers=config.data_workers,
            prefetch_factor=4 if config.data_workers else None,
        )
    )


def validation_batches(config: TrainConfig, slots: int, seed: int = 12345) -> list[Batch]:
    """The same windows for every run with the same tokenizer, window and width."""
    rng = random.Random(seed)
    tokenizer = load_tokenizer(config.tokenizer)
    sampler = WindowSampler(texts_by_package("validation"), tokenizer, config.window_tokens)
    windows = [sampler.draw(rng, config.window_slots // slots, slots) for _ in range(config.validation_windows)]
    return [collate(windows[i : i + 16], slots, sampler.special) for i in range(0, len(windows), 16)]
