"""The record of a training run, and of the earlier runs that its weights come from.

A record is read from the run folder while that exists. A model's folder has `runs.json`, and a kept checkpoint `x.pt`
has `x.json`, with the records of all its runs, so that the model card can report the total training.
"""

import json
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path


@dataclass(frozen=True)
class RunRecord:
    """A run: how far it got, its TrainConfig, the losses of its last validation."""

    folder: str
    minutes: float
    steps: int
    tokens: int
    config: dict
    validation: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        scores = [record["validation"] for record in records if "validation" in record]
        config = json.loads((folder / "config.json").read_text())
        last = records[-1]
        return cls(folder.name, last["minutes"], last["step"], last["tokens"], config, scores[-1] if scores else {})


def run_chain(folder: Path) -> list[RunRecord]:
    """The run and the earlier ones that its weights come from, oldest first."""
    run = RunRecord.read(folder)
    init = run.config.get("init")
    if not init:
        return [run]
    kept = Path(init) / "runs.json" if Path(init).is_dir() else Path(init).with_suffix(".json")
    if not kept.exists():
        return [*run_chain(folder.parent / Path(init).parent.name), run]
    # The run's result may have replaced the checkpoint that it started from.
    return [*takewhile(lambda record: record.folder != run.folder, read_records(kept)), run]


def read_records(path: Path) -> list[RunRecord]:
    return [RunRecord(**record) for record in json.loads(path.read_text())]


def write_records(path: Path, chain: list[RunRecord]) -> None:
    path.write_text(json.dumps([asdict(record) for record in chain], indent=2) + "\n")
