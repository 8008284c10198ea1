"""Trains a denoiser. The same code on a CPU and on a GPU (bf16, compiled; flex attention with a block mask on CUDA).

    python -m training.pretrain.train --model nano --minutes 75 --run training/.runs/nano
    python -m training.pretrain.train --run training/.runs/nano            # resumes from the last checkpoint
    python -m training.pretrain.train --init training/.runs/nano/last.pt --run training/.runs/nano-2 --minutes 60

A run folder holds config.json, metrics.jsonl, curves.png, last.pt (resumable), and before-rounding.pt, the last
checkpoint before quantization-aware training (--qat-share). From then on last.pt holds latent weights: the model is
their rounded values, and in float they predict badly.

The schedule follows the clock: progress is the share of --minutes that has been used, so the run ends on time. On a
machine that does other work, `--clock cpu` counts only the CPU time that the run itself gets.
"""

import argparse
import dataclasses
import json
import math
import signal
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tqdm import tqdm

from training.model.base import load_base_denoiser
from training.model.config import DenoiserConfig, SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser
from training.model.quantization import rounded_weights, set_quantized
from training.model.tokenizer import load_tokenizer
from training.pretrain.cursor_losses import CursorValidator, cursor_losses
from training.pretrain.curves import draw_curves
from training.pretrain.data import cursor_batches, cursor_validation_batches, training_batches, window_batches
from training.pretrain.distill import teacher_soft_targets
from training.pretrain.int8_products import multiply_in_int8
from training.pretrain.losses import ar_loss, three_stream_losses
from training.pretrain.optimizer import build_optimizers, build_tuning_optimizer
from training.pretrain.precision import multiplies_bfloat16, narrow_products
from training.pretrain.scale_tuning import ScaleTuning
from training.pretrain.validate import Validator

CHECKPOINT_SECONDS = 240


def learning_rate(progress: float, config: TrainConfig) -> float:
    """Warm-up, plateau, linear decay to zero (WSD, arXiv 2404.06395) as a factor in [0, 1]."""
    warm = min(1.0, progress / config.warmup_share) if config.warmup_share else 1.0
    decay = min(1.0, (1.0 - progress) / config.decay_share) if config.decay_share else 1.0
    return max(0.0, min(warm, decay))


class Run:
    """A training run on disk and in memory; with several processes, that of one of them."""

    def __init__(self, config: TrainConfig, rank: int = 0):
        self.config, self.rank = config, rank
        self.folder = Path(config.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.folder / "last.pt"
        self.before_rounding = self.folder / "before-rounding.pt"
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        )
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        torch.manual_seed(config.seed)
        tokenizer = load_tokenizer(config.tokenizer)
        self.special = SpecialTokens.of(tokenizer)
        self.model = Denoiser(config.denoiser(tokenizer.get_vocab_size())).to(self.device)
        self.model.freeze(config.frozen_layers)
        # the language model whose predictions are the target of a share of the loss
        self.base = None
        if config.base_share:
            narrow = {"dtype": torch.bfloat16} if multiplies_bfloat16(self.device) else {}
            self.base = load_base_denoiser(tokenizer).to(self.device, **narrow)
        if config.products not in ("float", "int8"):
            raise ValueError(f"products is {config.products!r}, expected float or int8")
        if config.products == "int8":
            for model in filter(None, (self.model, self.base)):
                multiply_in_int8(model)
        if config.tune not in ("weights", "scales"):
            raise ValueError(f"tune is {config.tune!r}, expected weights or scales")
        if config.tune == "scales" and config.optimizer != "adamw":
            raise ValueError(f"optimizer is {config.optimizer!r}, expected adamw to tune scales")
        resumed = self.checkpoint.exists()
        if config.init and (not resumed or config.tune == "scales"):
            self.model.load_state_dict(initial_weights(Path(config.init), self.device))
        self.tuning = ScaleTuning(self.model, self.special) if config.tune == "scales" else None
        if self.tuning:
            self.optimizers = [build_tuning_optimizer(self.tuning, config)]
        else:
            self.optimizers = build_optimizers(self.model, config)
        self.learning = [p for o in self.optimizers for group in o.param_groups for p in group["params"]]
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.stopping = False  # after SIGTERM: save at the end of the step
        if resumed:
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if self.tuning:
            self.tuning.load(state["tuning"])
        else:
            self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        if self.rank == 0:
            self._forget_after(self.step)

    def _forget_after(self, step: int) -> None:
        """Drops the metrics of steps after the checkpoint: these steps run again."""
        metrics = self.folder / "metrics.jsonl"
        if metrics.exists():
            lines = metrics.read_text().splitlines(keepends=True)
            metrics.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))

    def save(self, path: Path | None = None) -> None:
        path = path or self.checkpoint
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "denoiser": dataclasses.asdict(self.model.config),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tuning": self.tuning.state() if self.tuning else None,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)  # never a half-written checkpoint

    def log(self, record: dict) -> None:
        record = {"step": self.step, "tokens": self.tokens, "minutes": round(self.seconds / 60, 3), **record}
        with open(self.folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def average(self, elapsed: float) -> float:
        """Averages the gradients and the seconds of the step over the processes, so that all have the same clock, and
        stops all of them if one has to stop."""
        if self.config.processes == 1:
            return elapsed
        gradients = [p.grad for p in self.learning]
        own = torch.tensor([elapsed, float(self.stopping)], device=self.device)
        flat = torch.cat([g.flatten() for g in gradients] + [own])
        dist.all_reduce(flat)
        flat /= self.config.processes
        parts = flat[:-2].split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts):
            gradient.copy_(part.view_as(gradient))
        self.stopping = flat[-1].item() > 0
        return flat[-2].item()

    def _validator(self) -> Validator | CursorValidator:
        if not self.model.config.shifted:
            return Validator(self.config, self.special, self.device)
        batches = cursor_validation_batches(self.config, CursorValidator.SLOTS)
        return CursorValidator(batches, self.special, self.device)

    def _rounded(self, quantized: bool) -> AbstractContextManager:
        if self.tuning or not quantized:
            return nullcontext()
        return rounded_weights(self.model, self.config.compile != "none")

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def train(self) -> None:
        config = self.config
        torch.manual_seed((config.seed + self.step) * 1009 + self.rank)
        budget = config.minutes * 60
        clock = {"wall": time.perf_counter, "cpu": time.process_time}[config.clock]
        first = self.rank == 0
        shifted = self.model.config.shifted
        validator = self._validator() if first else None
        ar, diffusion, cursors = ar_loss, three_stream_losses, cursor_losses
        if config.compile == "layers":
            self.model.compile_layers()
            if self.base is not None:
                self.base.compile_layers()
        elif config.compile == "all":
            ar, diffusion, cursors = (torch.compile(loss, dynamic=False) for loss in (ar, diffusion, cursors))
        open_sampler = cursor_batches if shifted else window_batches
        batches = training_batches(config, (config.seed + self.step) * 1009 + self.rank, open_sampler)
        bar = tqdm(total=round(config.minutes, 2), initial=round(self.seconds / 60, 2), unit="min", smoothing=0.05,
                   disable=not first,
                   bar_format="{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining} {postfix}")  # fmt: skip
        validated = saved = logged = self.seconds
        elapsed = 0.0
        rounding = self.seconds / budget >= 1 - config.qat_share
        signal.signal(signal.SIGTERM, self._stop)
        while self.seconds < budget and not self.stopping:
            progress = self.seconds / budget
            quantized = progress >= 1 - config.qat_share
            if first and quantized and not rounding and not self.tuning:
                self.save(self.before_rounding)
            rounding = quantized
            set_quantized(self.model, weights=False, activations=quantized)
            started = clock()
            batch = next(batches).to(self.device)
            only_ar = progress < config.ar_share
            taught = progress >= 1 - config.distill_share and batch.x0.shape[-1] <= config.distill_widest
            with self._rounded(quantized):
                with narrow_products(self.device):
                    if shifted:
                        loss, parts = cursors(self.model, batch, self.special, config, self.base, taught)
                    elif only_ar:
                        loss = ar(self.model, batch.window, self.special)
                        parts = {"prefix": loss.detach()}
                    else:
                        teacher = teacher_soft_targets if taught else None
                        loss, parts = diffusion(self.model, batch, self.special, config, teacher)
                loss.backward()
            if self.tuning:
                self.tuning.collect()
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"loss is {loss.item()} at step {self.step}")
            elapsed = self.average(elapsed)
            self.seconds += elapsed
            norm = torch.nn.utils.clip_grad_norm_(self.learning, config.clip_norm)
            if not math.isfinite(norm.item()):  # before the optimizer puts it into the weights
                raise FloatingPointError(f"norm of the gradients is {norm.item()} at step {self.step}")
            factor = learning_rate(progress, config)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * factor
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if self.tuning:
                self.tuning.write()
            # added at the next step, after averaging over the processes; the first step compiles and is not counted
            elapsed = clock() - started if self.step else 0.0
            self.step += 1
            tokens = (batch.tokens if shifted else batch.window.numel()) * config.processes
            self.tokens += tokens
            if not first:
                continue
            if self.step % 10 in (9, 0):  # two in a row, because only batches of narrow canvases may have a teacher
                rate = tokens / elapsed
                values = {name: round(value.item(), 4) for name, value in parts.items()}
                self.log(
                    {"train": values, "lr": round(factor, 4), "norm": round(norm.item(), 3), "tokens/s": round(rate)}
                )
                bar.set_postfix_str(f"step {self.step} {rate:.0f} tok/s {values}", refresh=False)
                bar.update((self.seconds - logged) / 60)
                logged = self.seconds
            if self.seconds - validated > config.validate_minutes * 60 or self.seconds >= budget:
                validated = self.seconds
                with self._rounded(quantized):
                    scores = validator.scores(self.model)
                self.log({"validation": scores})
                bar.write(f"{self.seconds / 60:6.1f} min  step {self.step}  {self.tokens / 1e6:.2f}M tokens  {scores}")
                draw_curves(self.folder / "metrics.jsonl", self.folder / "curves.png")
            if self.seconds - saved > CHECKPOINT_SECONDS:
                saved = self.seconds
                self.save()
        if first:
            self.save()
        bar.close()


def initial_weights(path: Path, device: torch.device) -> dict:
    """Initial weights: of a checkpoint, or of a folder with a quantized model."""
    if path.is_dir():
        from training.export.weights import read_quantized

        return read_quantized(path).state_dict()
    return torch.load(path, map_location=device, weights_only=True)["model"]


def load_denoiser(checkpoint: str | Path) -> Denoiser:
    """The model of a checkpoint, on the CPU, in evaluation mode."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = Denoiser(DenoiserConfig(**state["denoiser"]))
    model.load_state_dict(state["model"])
    return model.eval()


def parse_config() -> TrainConfig:
    """Flags are the fields of TrainConfig; the config of an existing run is the default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction)
        elif field.name == "canvas_widths":
            parser.add_argument(flag, type=int, nargs="+")
        else:
            parser.add_argument(flag, type=field.type)
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    path = Path(given.get("run", TrainConfig.run)) / "config.json"
    saved = json.loads(path.read_text()) if path.exists() else {}
    config = TrainConfig(**{**saved, **given})
    config.canvas_widths = tuple(config.canvas_widths)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")
    return config


def train_process(rank: int, config: TrainConfig, rendezvous: str) -> None:
    """One of several data-parallel processes on this machine."""
    backend = "nccl" if config.device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=config.processes)
    Run(config, rank).train()
    dist.destroy_process_group()


if __name__ == "__main__":
    settings = parse_config()
    if settings.processes == 1:
        Run(settings).train()
    else:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(train_process, (settings, f"{folder}/rendezvous"), nprocs=settings.processes)
