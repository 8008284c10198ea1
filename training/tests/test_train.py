"""The training loop on made-up text: it learns, stops on time, resumes where it was."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from training.model.config import DENOISERS, TrainConfig
from training.model.tokenizer import train_tokenizer
from training.pretrain import data, train
from training.pretrain.optimizer import build_optimizers
from training.pretrain.validate import WIDTHS
from training.tests.made_up import readable_code


def test_the_learning_rate_warms_up_stays_and_decays_to_zero():
    config = TrainConfig(warmup_share=0.1, decay_share=0.5)
    assert [train.learning_rate(p, config) for p in (0, 0.05, 0.1, 0.4, 0.5)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert train.learning_rate(0.75, config) == pytest.approx(0.5)
    assert train.learning_rate(1.0, config) == 0


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest():
    model = train.Denoiser(DENOISERS["tiny"])
    muon, adamw = build_optimizers(model, TrainConfig(optimizer="muon"))
    names = {id(p): name for name, p in model.named_parameters()}
    in_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    in_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert in_muon | in_adamw == set(names.values())
    assert not in_muon & in_adamw
    assert "embed_tokens.weight" in in_adamw
    assert all(".weight" in name and "norm" not in name for name in in_muon)
    with pytest.raises(ValueError, match="optimizer is 'sgd'"):
        build_optimizers(model, TrainConfig(optimizer="sgd"))


@pytest.fixture
def config(tmp_path, monkeypatch) -> TrainConfig:
    texts = [readable_code(seed, 30) for seed in range(4)]
    tokenizer = train_tokenizer(texts, DENOISERS["tiny"].vocab_size)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(data, "texts_by_package", lambda _split: [texts])
    # a clock that says a step takes 50 ms, however busy the machine is
    ticks = itertools.count()
    clock = SimpleNamespace(
        perf_counter=lambda: next(ticks) * 0.05, process_time=lambda: pytest.fail("the other clock")
    )
    monkeypatch.setattr(train, "time", clock)
    return TrainConfig(
        model="tiny",
        tokenizer=str(tmp_path / "tokenizer.json"),
        run=str(tmp_path / "run"),
        minutes=0.04,
        processes=1,
        batch_windows=2,
        window_tokens=48,
        window_slots=32,
        canvas_widths=(4, 8),
        validation_windows=4,
        validate_minutes=0.02,
        data_workers=0,
        ar_share=0.3,
        qat_share=0.3,
        distill_share=0.3,
        device="cpu",
    )


def test_a_run_learns_logs_and_leaves_a_checkpoint_that_can_be_continued(config):
    run = train.Run(config)
    run.train()
    assert run.seconds >= 0.04 * 60
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [record["train"] for record in records if "train" in record]
    assert losses[-1]["prefix"] < losses[0]["prefix"]
    assert "canvas" not in losses[0]  # the prefix stream alone comes first
    assert {"canvas", "taught"} <= set().union(*losses)  # narrow canvases learn soft targets at the end
    assert "taught" not in set().union(*losses[: len(losses) // 2])
    scores = records[-1]["validation"]
    canvas = {f"{name}_{width}" for name in ("noise", "text", "half") for width in WIDTHS}
    assert scores.keys() == {"prefix", "suffix"} | canvas
    assert (run.folder / "curves.png").stat().st_size > 1000
    before = torch.load(run.before_rounding, weights_only=True)
    assert 0.6 < before["seconds"] / (0.04 * 60) < 1  # qat_share is 0.3
    assert 0 < before["step"] < run.step

    with open(run.folder / "metrics.jsonl", "a") as file:  # as if it had been stopped between two checkpoints
        file.write(json.dumps({"step": run.step + 10, "tokens": 0, "minutes": 0}) + "\n")
    resumed = train.Run(dataclasses.replace(config, minutes=0.05))
    assert json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == run.step
    assert (resumed.step, resumed.tokens, resumed.seconds) == (run.step, run.tokens, run.seconds)
    for old, new in zip(run.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(old, new)
    resumed.train()
    assert resumed.step > run.step
    loaded = train.load_denoiser(resumed.checkpoint)
    assert torch.equal(loaded.embed_tokens.weight, resumed.model.embed_tokens.weight)


def test_a_non_finite_gradient_never_reaches_the_weights(config):
    run = train.Run(config)
    weights = [p.detach().clone() for p in run.model.parameters()]
    run.model.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(FloatingPointError, match="norm of the gradients is nan at step 0"):
        run.train()
    assert not run.checkpoint.exists()
    for before, now in zip(weights, run.model.parameters(), strict=True):
        assert torch.equal(before, now)


@pytest.mark.parametrize(
    "settings, refusal",
    [
        ({"products": "int4"}, "products is 'int4'"),
        ({"tune": "norms"}, "tune is 'norms'"),
        ({"tune": "scales", "optimizer": "muon"}, "optimizer is 'muon', expected adamw"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(config, settings, refusal):
    with pytest.raises(ValueError, match=refusal):
        train.Run(dataclasses.replace(config, **settings))


def test_two_processes_average_their_gradients(config):
    """Both ranks see the mean, and the same clock."""
    import tempfile

    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_average, (dataclasses.replace(config, processes=2), folder), nprocs=2)
        results = [torch.load(f"{folder}/{rank}.pt") for rank in (0, 1)]
    assert results[0] == results[1]
    assert results[0] == {"gradient": 1.5, "elapsed": 15.0}


def _average(rank: int, config: TrainConfig, folder: str) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    run = train.Run(config, rank)
    for parameter in run.model.parameters():
        parameter.grad = torch.full_like(parameter, rank + 1.0)
    elapsed = run.average(10.0 * (rank + 1))
    gradients = torch.cat([p.grad.flatten() for p in run.model.parameters()])
    assert (gradients == gradients[0]).all()
    torch.save({"gradient": gradients[0].item(), "elapsed": elapsed}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
