"""The baseline that diffusion has to beat: a plain autoregressive fill-in-the-middle model of the same shape.

    python -m training.evaluation.fim_baseline --run training/.runs/fim --init models/nano \\
        --million-tokens 4

The result is a 4-bit model in the folder `model` of the run, for training.evaluation.compare --fim.

Prefix-suffix-middle order (Bavarian et al., arXiv 2207.14255), in one causal stream:

    <|prefix|> p1 … pP <|suffix|> s1 … sS <|mask|> m1 … mM <|eom|>

<|mask|> marks the start of the middle; on a canvas, too, it asks for a token. Windows, spans, horizons, optimizer,
schedule and the final quantization are those of training.pretrain.train, so that only the model differs. The length of
the run is given in window tokens, the amount that must be equal for a fair comparison.
"""

import argparse
import random
import shutil
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from training.export.weights import export
from training.model.config import SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser
from training.model.quantization import set_quantized
from training.pretrain.curves import draw_curves
from training.pretrain.data import training_batches, validation_batches
from training.pretrain.losses import Batch, token_losses
from training.pretrain.precision import narrow_products
from training.pretrain.train import Run, learning_rate

ROWS_PER_WINDOW = 2
VALIDATION_SLOTS = 32
VALIDATIONS = 10  # a run
CHECKPOINT_STEPS = 100


@dataclass
class FimRow:
    """tokens (n,) int64; middle: how many of the last tokens are the middle and its <|eom|>; forced: indices of the two
    markers that are never predicted, −1 if there are none."""

    tokens: Tensor
    middle: int
    forced: tuple[int, int]


def fim_prompt(prefix: Tensor, suffix: Tensor, special: SpecialTokens) -> Tensor:
    """Text tokens before (p,) and after (s,) the middle, in reading order → the stream up to the start of the
    middle."""
    marks = (torch.tensor([mark]) for mark in (special.prefix, special.suffix, special.mask))
    before, between, behind = marks
    return torch.cat((before, prefix, between, suffix, behind))


def fim_rows(batch: Batch, special: SpecialTokens, per_window: int, rng: random.Random) -> list[FimRow]:
    """Training streams, from `per_window` spans of each window. A continuation has no suffix: it is the window from
    left to right."""
    rows = []
    for window, horizon, prefix_seen, suffix_seen in zip(
        batch.window, batch.horizon.tolist(), batch.prefix_seen.tolist(), batch.suffix_seen.tolist()
    ):
        spans = sorted(set(zip(prefix_seen, suffix_seen)))
        for before, behind in rng.sample(spans, min(per_window, len(spans))):
            if behind == 0:
                rows.append(FimRow(torch.cat((torch.tensor([special.prefix]), window)), 0, (-1, -1)))
                continue
            start, end = before - 1, horizon - (behind - 1)
            prompt = fim_prompt(window[:start], window[end:horizon], special)
            middle = torch.cat((window[start:end], torch.tensor([special.eom])))
            rows.append(FimRow(torch.cat((prompt, middle)), len(middle), (start + 1, len(prompt) - 1)))
    return rows


def fim_losses(model: Denoiser, rows: list[FimRow]) -> tuple[list[Tensor], list[Tensor]]:
    """Next-token losses of each row in nats: of the tokens around the middle, and of the middle with its end."""
    around, middles = [], []
    for row in rows:
        hidden, _ = model.context(row.tokens[None, :-1], torch.ones(1, dtype=torch.long))
        losses = token_losses(model.logits(hidden), row.tokens[None, 1:])[0]
        learnt = torch.ones(len(losses), dtype=torch.bool)
        learnt[[index - 1 for index in row.forced if index > 0]] = False
        context = len(losses) - row.middle
        around.append(losses[:context][learnt[:context]])
        middles.append(losses[context:])
    return around, middles


class FimRun(Run):
    """A run of the baseline; its folder is like that of training.pretrain.train."""

    def __init__(self, config: TrainConfig, total_tokens: int, rows_per_window: int = ROWS_PER_WINDOW):
        super().__init__(config)
        self.total_tokens, self.rows_per_window = total_tokens, rows_per_window

    def train(self) -> None:
        """Trains until total_tokens window tokens have been drawn."""
        config = self.config
        seed = (config.seed + self.step) * 1009
        torch.manual_seed(seed)
        rng = random.Random(seed)
        fixed = validation_batches(config, VALIDATION_SLOTS)
        held_out = [row for batch in fixed for row in fim_rows(batch, self.special, 2, random.Random(1))]
        batches = training_batches(config, seed)
        bar = tqdm(total=self.total_tokens, initial=self.tokens, unit="tok", unit_scale=True, smoothing=0.05)
        validated = self.tokens
        while self.tokens < self.total_tokens:
            progress = self.tokens / self.total_tokens
            quantized = progress >= 1 - config.qat_share
            set_quantized(self.model, quantized, quantized)
            started = time.perf_counter()
            batch = next(batches)
            rows = fim_rows(batch, self.special, self.rows_per_window, rng)
            parts = self._step(rows, learning_rate(progress, config))
            self.seconds += time.perf_counter() - started
            self.step += 1
            self.tokens += batch.window.numel()
            bar.update(batch.window.numel())
            if self.step % 10 == 0:
                values = {name: round(value, 4) for name, value in parts.items()}
                self.log({"train": values, "evaluations": sum(len(row.tokens) for row in rows)})
                bar.set_postfix_str(f"step {self.step} {values}", refresh=False)
            if self.step % CHECKPOINT_STEPS == 0:
                self.save()
            if self.tokens - validated >= self.total_tokens / VALIDATIONS or self.tokens >= self.total_tokens:
                validated = self.tokens
                self.log({"validation": self._validate(held_out)})
                draw_curves(self.folder / "metrics.jsonl", self.folder / "curves.png")
        self.save()
        bar.close()

    def _step(self, rows: list[FimRow], factor: float) -> dict[str, float]:
        """One update: the mean loss of the middles, plus that of the tokens around them times prefix_loss_weight, as
        for canvases. Rows are not batched, because their lengths differ and each one keeps a thread busy."""
        middles = max(1, sum(row.middle for row in rows))
        around = sum(len(row.tokens) - 1 - row.middle - 2 * (row.forced[0] > 0) for row in rows)
        sums = {"around": 0.0, "middle": 0.0}
        for row in rows:
            with narrow_products(torch.device("cpu")):
                (context,), (middle,) = fim_losses(self.model, [row])
                loss = middle.sum() / middles + self.config.prefix_loss_weight * context.sum() / around
            loss.backward()
            sums["around"] += context.sum().item() / around
            sums["middle"] += middle.sum().item() / middles
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return sums

    @torch.no_grad()
    def _validate(self, rows: list[FimRow]) -> dict[str, float]:
        with narrow_products(torch.device("cpu")):
            around, middles = fim_losses(self.model, rows)
        return {
            "around": round(torch.cat(around).mean().item(), 4),
            "middle": round(torch.cat(middles).mean().item(), 4),
        }


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = TrainConfig()
    parser.add_argument("--run", default="training/.runs/fim", help="folder of the run; an existing run is resumed")
    parser.add_argument("--init", default="", help="checkpoint with the initial weights")
    parser.add_argument("--model", default=defaults.model)
    parser.add_argument("--tokenizer", default=defaults.tokenizer)
    parser.add_argument("--million-tokens", type=float, required=True, help="window tokens to train on, in all")
    parser.add_argument("--rows-per-window", type=int, default=ROWS_PER_WINDOW)
    parser.add_argument("--batch-windows", type=int, default=4)
    parser.add_argument("--muon-lr", type=float, default=defaults.muon_lr)
    parser.add_argument("--adamw-lr", type=float, default=defaults.adamw_lr)
    parser.add_argument("--warmup-share", type=float, default=defaults.warmup_share)
    parser.add_argument("--decay-share", type=float, default=defaults.decay_share)
    parser.add_argument("--qat-share", type=float, default=defaults.qat_share)
    parser.add_argument("--validation-windows", type=int, default=32)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = vars(parse_arguments(arguments))
    total, rows = int(options.pop("million_tokens") * 1e6), options.pop("rows_per_window")
    config = TrainConfig(**options, device="cpu", processes=1, data_workers=0)
    run = FimRun(config, total, rows)
    run.train()
    folder = run.folder / "model"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(config.tokenizer, folder / "tokenizer.json")
    export(run.checkpoint, folder, {})


if __name__ == "__main__":
    main()
