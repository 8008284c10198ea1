"""The records of the runs of a checkpoint."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from training.export.weights import keep
from training.model.config import TrainConfig
from training.pretrain.run_record import RunRecord, read_records, run_chain


def make_run(folder: Path, init: str = "", tokens: int = 100) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(asdict(TrainConfig(run=str(folder), init=init))))
    records = [
        {"step": 1, "tokens": 50, "minutes": 0.5, "validation": {"prefix": 3.0}},
        {"step": 2, "tokens": tokens, "minutes": 1.0, "train": {"prefix": 2.0}},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    torch.save({"model": {"weight": torch.ones(3)}, "optimizers": [{}], "step": 2}, folder / "last.pt")
    return folder


def summary(chain: list[RunRecord]) -> list[tuple]:
    return [(run.folder, run.minutes, run.steps, run.tokens, run.validation) for run in chain]


def test_a_chain_follows_the_weights_through_run_folders(tmp_path):
    first = make_run(tmp_path / "first")
    second = make_run(tmp_path / "second", init=str(first / "last.pt"), tokens=200)
    assert summary(run_chain(second)) == [
        ("first", 1.0, 2, 100, {"prefix": 3.0}),
        ("second", 1.0, 2, 200, {"prefix": 3.0}),
    ]


def test_a_kept_checkpoint_has_all_runs_beside_it_also_when_it_is_kept_again(tmp_path):
    kept = tmp_path / "kept" / "nano.pt"
    keep(make_run(tmp_path / "first") / "last.pt", kept)
    state = torch.load(kept, weights_only=True)
    assert state["model"]["weight"].dtype == torch.bfloat16
    assert "optimizers" not in state
    second = make_run(tmp_path / "second", init=str(kept), tokens=200)
    keep(second / "last.pt", kept)
    expected = [("first", 1.0, 2, 100, {"prefix": 3.0}), ("second", 1.0, 2, 200, {"prefix": 3.0})]
    assert summary(read_records(kept.with_suffix(".json"))) == expected
    assert summary(run_chain(second)) == expected


@pytest.mark.parametrize("model", ["nano", "small"])
def test_a_bundled_model_tells_its_runs(model, tmp_path):
    chain = read_records(Path(f"models/{model}/runs.json"))
    assert chain
    assert all(run.tokens > 0 and run.config["model"] == model for run in chain)
    further = make_run(tmp_path / "further", init=f"models/{model}")
    assert run_chain(further)[:-1] == chain
