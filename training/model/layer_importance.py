"""Which layers of the base `small` can do without: greedily takes out the layer whose absence costs the least.

    python -m training.model.layer_importance --left 16        prints a line of JSON for each layer that is taken out

The loss is that of the next token on validation files, without any training in between: layers that heal well are not
told from others (see LOG.md for runs of a few minutes with several depths).
"""

import argparse
import json

import torch
from torch import Tensor, nn

from training.corpus.documents import load_documents
from training.model.base import BASE, BASE_FOLDER, load_base_denoiser
from training.model.denoiser import Denoiser
from training.model.neuron_pruning import first_tokens
from training.model.tokenizer import load_tokenizer
from training.pretrain.losses import token_losses
from training.pretrain.precision import narrow_products


@torch.no_grad()
def loss_without(model: Denoiser, layers: list[nn.Module], batch: Tensor) -> float:
    """Nats a token of the model with these layers alone."""
    model.layers = nn.ModuleList(layers)
    forwards = torch.ones(1, dtype=torch.long)
    with narrow_products(batch.device):
        hidden, _ = model.context(batch[:, :-1], forwards)
        return token_losses(model.logits(hidden), batch[:, 1:]).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--left", type=int, default=16, help="layers to stop at")
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=384)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(BASE_FOLDER / "tokenizer.json")
    texts = [document.text for document in load_documents("validation")]
    batch = first_tokens(texts, tokenizer, options.windows, options.tokens, seed=1)
    model = load_base_denoiser(tokenizer)
    kept = dict(enumerate(model.layers))
    whole = loss_without(model, list(kept.values()), batch)
    print(json.dumps({"layers": BASE.num_hidden_layers, "loss": round(whole, 4)}), flush=True)
    removed: list[int] = []
    while len(kept) > options.left:
        losses = {
            layer: loss_without(model, [module for other, module in kept.items() if other != layer], batch)
            for layer in kept
        }
        least = min(losses, key=losses.__getitem__)
        removed.append(least)
        del kept[least]
        record = {"layers": len(kept), "loss": round(losses[least], 4), "removed": sorted(removed)}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
