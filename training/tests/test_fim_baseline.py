"""The autoregressive fill-in-the-middle baseline: its streams, its training rows, and that it learns."""

import dataclasses
import json
import random

import numpy as np
import pytest
import torch

from training.evaluation import fim_baseline
from training.evaluation.fim_baseline import FimRun, fim_losses, fim_prompt, fim_rows
from training.export.weights import read_quantized
from training.model.config import DENOISERS, SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser
from training.model.tokenizer import train_tokenizer
from training.pretrain import data
from training.pretrain.data import collate
from training.pretrain.train import load_denoiser
from training.pretrain.windows import Window
from training.tests.made_up import readable_code

SPECIAL = SpecialTokens(pad=0, mask=1, eom=2, prefix=3, suffix=4, end_of_text=5)


def batch_of(spans: list[tuple[int, int]], horizon: int):
    window = Window(np.arange(10, 30, dtype=np.int32), np.array(spans, np.int32), horizon)
    return collate([window], 8, SPECIAL)


def test_the_middle_comes_last_after_prefix_and_suffix():
    (row,) = fim_rows(batch_of([(3, 5)], horizon=8), SPECIAL, 1, random.Random(1))
    assert row.tokens.tolist() == [3, 10, 11, 12, 4, 15, 16, 17, 1, 13, 14, 2]
    assert row.middle == 3  # two tokens and the end
    assert [row.tokens[index] for index in row.forced] == [SPECIAL.suffix, SPECIAL.mask]


def test_a_middle_longer_than_a_canvas_is_kept_whole():
    (row,) = fim_rows(batch_of([(2, 18)], horizon=20), SPECIAL, 1, random.Random(1))
    assert row.middle == 17


def test_a_continuation_is_the_window_from_left_to_right():
    (row,) = fim_rows(batch_of([(4, -1)], horizon=8), SPECIAL, 1, random.Random(1))
    assert row.tokens.tolist() == [SPECIAL.prefix, *range(10, 30)]
    assert row.middle == 0


def test_spans_of_a_window_are_taken_once():
    rows = fim_rows(batch_of([(3, 5), (3, 5), (6, 7)], horizon=8), SPECIAL, 5, random.Random(1))
    assert sorted(row.middle for row in rows) == [2, 3]


def test_the_markers_are_not_learnt_and_every_other_token_is():
    model = Denoiser(DENOISERS["tiny"])
    (row,) = fim_rows(batch_of([(3, 5)], horizon=8), SPECIAL, 1, random.Random(1))
    (around,), (middle,) = fim_losses(model, [row])
    assert (len(around), len(middle)) == (6, 3)
    around.sum().backward()
    # the loss of a token is that of the prefix stream: the same as computed by hand
    hidden, _ = model.context(row.tokens[None, :-1], torch.ones(1, dtype=torch.long))
    losses = torch.nn.functional.cross_entropy(model.logits(hidden)[0], row.tokens[1:], reduction="none")
    assert torch.allclose(middle, losses[-3:], atol=1e-5)
    assert torch.allclose(around, losses[[0, 1, 2, 4, 5, 6]], atol=1e-5)


def test_the_prompt_reads_both_sides_in_reading_order():
    found = fim_prompt(torch.tensor([10, 11]), torch.tensor([20, 21]), SPECIAL)
    assert found.tolist() == [3, 10, 11, 4, 20, 21, 1]


@pytest.fixture
def config(tmp_path, monkeypatch) -> TrainConfig:
    texts = [readable_code(seed, 30) for seed in range(4)]
    train_tokenizer(texts, DENOISERS["tiny"].vocab_size).save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(data, "texts_by_package", lambda _split: [texts])
    return TrainConfig(
        model="tiny",
        tokenizer=str(tmp_path / "tokenizer.json"),
        run=str(tmp_path / "run"),
        processes=1,
        batch_windows=2,
        window_tokens=64,
        window_slots=32,
        canvas_widths=(8,),
        data_workers=0,
        qat_share=0.2,
        validation_windows=6,
        device="cpu",
    )


def test_the_command_ends_with_the_model_as_the_runtime_reads_it(config, tmp_path):
    fim_baseline.main(
        ["--run", str(tmp_path / "run"), "--model", "tiny", "--tokenizer", config.tokenizer, "--batch-windows", "1",
         "--million-tokens", "0.001", "--rows-per-window", "1", "--validation-windows", "1"]
    )  # fmt: skip
    folder = tmp_path / "run/model"
    assert {"config.json", "tokenizer.json", "model.safetensors", "manifest.json"} <= {f.name for f in folder.iterdir()}
    model, checkpoint = read_quantized(folder), load_denoiser(tmp_path / "run/last.pt")
    assert torch.allclose(model.norm.weight, checkpoint.norm.weight)
    assert torch.allclose(model.embed_tokens.weight, checkpoint.embed_tokens.weight, atol=0.05)


def test_a_run_learns_both_parts_and_continues_from_its_checkpoint(config):
    run = FimRun(config, total_tokens=128 * 20)
    run.train()
    assert run.tokens == 128 * 20
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    scores = [record["validation"] for record in records if "validation" in record]
    assert scores[-1]["middle"] < scores[0]["middle"]
    assert scores[-1]["around"] < scores[0]["around"]

    resumed = FimRun(dataclasses.replace(config), total_tokens=128 * 22)
    assert (resumed.step, resumed.tokens) == (20, 128 * 20)
    resumed.train()
    assert resumed.step == 22
    loaded = load_denoiser(resumed.checkpoint)
    assert torch.equal(loaded.embed_tokens.weight, resumed.model.embed_tokens.weight)
