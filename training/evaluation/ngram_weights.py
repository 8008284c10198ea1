"""The weights of the n-grams of a text in what a model predicts (src/diffusion/context-ngrams.ts), fitted on held-out
files.

    npm ci && npm run build:kernels
    python -m training.evaluation.ngram_weights --model models/small

Places are those of editor_places. For each token of their middles the kernels give the probability of the model and
that of the n-grams (bench/quality/next-tokens.ts); the weights are those that make the mixture most probable. Half of
the places shows what they gain on places that they were not fitted on. Writes the model's config.json and manifest.
"""

import argparse
import json
import math
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from training.evaluation.compare import NODE, ROOT
from training.evaluation.editor_places import Place, draw_places
from training.export.weights import write_manifest

NAMES = ("bias", "length", "share", "count")
REGULARISATION = 1e-3
LEAST = 1e-12  # probability


@dataclass
class Token:
    """Probabilities of a true token, and the longest match (length, share, count); None where nothing matches."""

    model: float
    ngrams: float
    match: dict[str, float] | None = None

    @property
    def features(self) -> list[float]:
        if self.match is None:
            return [0.0] * len(NAMES)
        return [1.0, math.log(self.match["length"]), self.match["share"], math.log(self.match["count"])]


def predict(model: Path, places: list[Place]) -> list[list[Token]]:
    """The tokens of each place. Raises RuntimeError if Node fails."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "places.jsonl"
        file.write_text("".join(json.dumps(asdict(place.example)) + "\n" for place in places))
        command = [NODE, "bench/quality/next-tokens.ts", "--model", model.resolve(), "--places", file]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
            for _, line in zip(tqdm(places, unit="place"), node.stdout):
                found.append([Token(**token) for token in json.loads(line)])
    if node.returncode or len(found) < len(places):
        raise RuntimeError(f"bench/quality/next-tokens.ts ended with {node.returncode}")
    return found


def mixed(tokens: list[Token], weights: torch.Tensor) -> torch.Tensor:
    """(tokens,): probabilities of the mixture."""
    features = torch.tensor([token.features for token in tokens], dtype=torch.float64)
    matches = torch.tensor([token.match is not None for token in tokens])
    model = torch.tensor([token.model for token in tokens], dtype=torch.float64)
    ngrams = torch.tensor([token.ngrams for token in tokens], dtype=torch.float64)
    share = torch.where(matches, torch.sigmoid(features @ weights), 0.0)
    return (1 - share) * model + share * ngrams


def nats(probabilities: torch.Tensor) -> float:
    return -probabilities.clamp(min=LEAST).log().mean().item()


def fit(tokens: list[Token]) -> torch.Tensor:
    """(4,): the weights, in the order of NAMES."""
    weights = torch.tensor([-1.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -mixed(tokens, weights).clamp(min=LEAST).log().mean() + REGULARISATION * weights[1:].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/small"))
    parser.add_argument("--places", type=int, default=99, help="of each language")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args(arguments)
    places = predict(options.model, draw_places("validation", options.places, options.seed))
    halves = [[token for place in places[start::2] for token in place] for start in (0, 1)]
    for fitted, held_out in (halves, halves[::-1]):
        alone = nats(torch.tensor([token.model for token in held_out], dtype=torch.float64))
        print(f"{len(held_out)} tokens: {alone:.3f} nats, mixed {nats(mixed(held_out, fit(fitted))):.3f}")
    weights = dict(zip(NAMES, (round(value, 4) for value in fit(halves[0] + halves[1]).tolist())))
    path = options.model / "config.json"
    config = json.loads(path.read_text())
    config["diffusion"]["context_ngrams"] = weights
    path.write_text(json.dumps(config, indent=2) + "\n")
    write_manifest(options.model)
    print(json.dumps(weights))


if __name__ == "__main__":
    main()
