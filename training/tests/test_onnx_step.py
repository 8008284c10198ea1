"""The exported step computes what the model computes."""

import torch
from onnx.reference import ReferenceEvaluator

from training.export.onnx_step import random_prefix, step_graph
from training.model.config import DENOISERS
from training.model.denoiser import Denoiser


def test_a_float_step_gives_the_logits_of_the_model():
    torch.manual_seed(0)
    model = Denoiser(DENOISERS["tiny"]).eval()
    for parameter in model.parameters():  # residual branches start at zero
        torch.nn.init.normal_(parameter, std=0.2)
    tokens, slots = 21, 8
    prefix = random_prefix(model, tokens)
    ids = torch.randint(model.config.vocab_size, (1, 1, slots))
    states = [(k[None], v[None]) for k, v in prefix]
    nothing = [(k[:, :, :0], v[:, :, :0]) for k, v in states]
    with torch.no_grad():
        seen, unseen = torch.tensor([[tokens]]), torch.tensor([[0]])
        hidden = model.canvas(ids, torch.ones_like(ids, dtype=torch.bool), states, nothing, seen, unseen)
        expected = model.logits(hidden)[0, 0]
        embeddings = model.embed_tokens(ids)[0, 0].numpy()
    (actual,) = ReferenceEvaluator(step_graph(model, prefix, slots, "f32")).run(None, {"embeddings": embeddings})
    torch.testing.assert_close(torch.from_numpy(actual), expected, rtol=1e-3, atol=1e-3)
