"""The GGUF of the prefix stream has our weights exactly, and llama.cpp computes with it what we compute."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize

from training.export.prefix_gguf import q4_0_blocks, q8_0_blocks, write_prefix_gguf
from training.export.weights import read_quantized
from training.model.base import BASE, TENSORS, read_base
from training.model.config import SpecialTokens
from training.model.quantization import GROUP, set_quantized
from training.model.tokenizer import encode, load_tokenizer

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "models/small"
WITHOUT_LLAMA = "llama-cpp-python is not installed: pip install -r bench/peers/llama-cpp/requirements.txt (compiles it)"
TEXTS = [
    (ROOT / "src/denoiser/three-stream/forward.ts").read_text(),
    (ROOT / "training/model/denoiser.py").read_text(),
    (ROOT / "README.md").read_text(),
]
ODD_TEXT = "x=12½+3\n\n\t\tnaïve  <|prefix|> 日本\u00a0 don't\r\n   \x04"
TOKENS = 512


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_prefix_gguf(SMALL, path)
    return path


def test_every_weight_is_the_same_number(file, monkeypatch):
    model = read_quantized(SMALL)
    shape = dataclasses.replace(BASE, num_hidden_layers=model.config.num_hidden_layers)
    monkeypatch.setattr("training.model.base.BASE", shape)
    found = read_base(file).state
    assert len(found) == 2 + len(TENSORS) * model.config.num_hidden_layers
    for name, weight in model.state_dict().items():
        assert torch.equal(found[name], weight), name
    kinds = {tensor.name.split(".")[-2]: tensor.tensor_type.name for tensor in GGUFReader(file).tensors}
    assert kinds["token_embd"] == "Q8_0"
    assert {kinds[name] for name in TENSORS.values() if "norm" not in name} == {"Q4_0"}


def test_blocks_hold_the_ends_of_the_range_and_negative_scales():
    values = torch.arange(2 * 3 * GROUP).remainder(16).sub(8).reshape(2, 3 * GROUP)
    scale = torch.tensor([[0.5, -0.25, 0.0], [1.5e-5, -3.0, 1.0]]).bfloat16()
    restored = dequantize(q4_0_blocks(values, scale), 2)
    expected = (values.unflatten(1, (-1, GROUP)) * scale.float()[..., None]).flatten(1)
    assert np.array_equal(restored, expected.numpy())
    wide = torch.tensor([-63, 63] * GROUP).reshape(1, -1)
    assert np.array_equal(dequantize(q8_0_blocks(wide, torch.tensor([[-0.125]])), 8), wide.numpy() * -0.125)


def test_a_scale_that_float16_cannot_hold_is_refused():
    values = torch.zeros(1, GROUP, dtype=torch.int64)
    for scale in (1e-9, 1e6):
        with pytest.raises(ValueError, match="float16 does not hold the scale"):
            q4_0_blocks(values, torch.tensor([[scale]]).bfloat16())


def test_a_model_that_is_no_llama_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected qk_norm false"):
        write_prefix_gguf(ROOT / "models/nano", tmp_path / "nano.gguf")


def test_llama_cpp_reads_every_text_as_the_same_tokens(file):
    llama_cpp = pytest.importorskip("llama_cpp", reason=WITHOUT_LLAMA)
    theirs = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    ours = load_tokenizer(SMALL / "tokenizer.json")
    for text in [*TEXTS, ODD_TEXT]:
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == encode(ours, text)
    special = SpecialTokens.of(ours)
    assert (theirs.token_bos(), theirs.token_eos()) == (special.prefix, special.end_of_text)


def test_llama_cpp_predicts_the_next_token_as_we_do(file):
    """It rounds activations in blocks of 32: ten times closer to float activations than our rows."""
    llama_cpp = pytest.importorskip("llama_cpp", reason=WITHOUT_LLAMA)
    theirs = llama_cpp.Llama(str(file), n_ctx=TOKENS, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
    model, tokenizer = read_quantized(SMALL), load_tokenizer(SMALL / "tokenizer.json")
    for text in TEXTS:
        ids = [SpecialTokens.of(tokenizer).prefix, *encode(tokenizer, text)][:TOKENS]
        theirs.reset()
        theirs.eval(ids)
        found = torch.from_numpy(np.array(theirs.scores[: len(ids)])).log_softmax(-1)
        for rounds, most_nats, least_agreement in ((False, 0.005, 0.93), (True, 0.04, 0.88)):
            set_quantized(model, weights=False, activations=rounds)
            model.quantize_attention = rounds
            with torch.no_grad():
                expected = model.logits(model.context(torch.tensor([ids]), torch.tensor([1]))[0])[0].log_softmax(-1)
            divergence = (expected.exp() * (expected - found)).sum(-1).mean().item()
            agreement = (expected.argmax(-1) == found.argmax(-1)).float().mean().item()
            arithmetic = "ours" if rounds else "float"
            print(f"{arithmetic} activations: KL {divergence:.5f} nats, the same first token at {agreement:.1%}")
            assert divergence < most_nats
            assert agreement > least_agreement
