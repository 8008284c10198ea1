"""Which products round their inputs in each row of the table."""

import dataclasses

from training.evaluation.rounding_losses import SITES, formats, round_activations
from training.model.config import DENOISERS
from training.model.denoiser import Denoiser
from training.model.quantization import QuantizableEmbedding, QuantizableLinear

CONFIG = dataclasses.replace(DENOISERS["tiny"], qk_norm=False, shifted=True, suffix_order="forward")


def rounding(model: Denoiser) -> set[str]:
    products = QuantizableLinear | QuantizableEmbedding
    return {n for n, module in model.named_modules() if isinstance(module, products) and module.quantize_activations}


def test_the_first_rows_round_nothing_or_everything():
    model = Denoiser(CONFIG)
    rows = formats(sites=False)
    products = 7 * CONFIG.num_hidden_layers + 1
    counts = []
    for rounds, on_integers in rows.values():
        round_activations(model, rounds)
        counts.append((len(rounding(model)), on_integers))
    assert counts == [(0, False), (0, True), (products, False), (products, True)]


def test_the_sites_are_every_product_once():
    model = Denoiser(CONFIG)
    found = []
    for name, (rounds, _) in formats(sites=True).items():
        if name.startswith("inputs of"):
            round_activations(model, rounds)
            found += sorted(rounding(model))
    assert len(SITES) == 8
    assert len(found) == len(set(found)) == 7 * CONFIG.num_hidden_layers + 1
