"""What `small` begins as: a tokenizer that writes every text, and the weights of the published model."""

import pytest
import torch
from tokenizers import pre_tokenizers

from training.model.base import BASE, BASE_FOLDER, GGUF, BaseModel, cut_state, read_base, small_tokenizer
from training.model.config import SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import SPECIAL_TOKENS, encode

FETCHED = BASE_FOLDER / GGUF.rsplit("/", 1)[1]
TEXT = "for i in range(10):\n    print(i)\n"
UNSEEN = "\x04"


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """A base of a few merges that has never seen one of the bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters.remove(chr(0x100 + ord(UNSEEN)))
    merges = [("i", "n"), ("r", "a"), ("p", "r"), ("Ġ", "Ġ"), ("pr", "in"), ("prin", "t"), ("q", "z")]
    tokens = ["<|endoftext|>", *letters, *("".join(pair) for pair in merges)]
    state = {"embed_tokens.weight": torch.randn(len(tokens), 8), "norm.weight": torch.ones(8)}
    return BaseModel(state, tokens, merges, ["<|endoftext|>"])


def test_the_cut_tokenizer_writes_every_text_and_keeps_what_is_used(base):
    tokenizer = small_tokenizer(base, len(SPECIAL_TOKENS) + 256 + 6, [TEXT] * 3)
    text = f"print {UNSEEN} 12½ \U0010ffff\n" + "".join(map(chr, range(256)))
    assert tokenizer.decode(encode(tokenizer, text)) == text
    assert tokenizer.token_to_id("print") is not None
    assert tokenizer.token_to_id("qz") is None


def test_tokens_take_the_embeddings_of_the_base_and_new_ones_its_mean(base, monkeypatch):
    monkeypatch.setattr("training.model.base.TENSORS", {})
    tokenizer = small_tokenizer(base, len(SPECIAL_TOKENS) + 256 + 6, [TEXT])
    rows, whole = cut_state(base, tokenizer)["embed_tokens.weight"], base.state["embed_tokens.weight"]
    assert torch.equal(rows[tokenizer.token_to_id("print")], whole[base.tokens.index("print")])
    assert torch.equal(rows[SpecialTokens.of(tokenizer).prefix], whole[0])
    assert torch.equal(rows[tokenizer.token_to_id(chr(0x100 + ord(UNSEEN)))], whole.mean(0))


@pytest.mark.skipif(not FETCHED.exists(), reason="the base is not fetched: python -m training.model.base")
@torch.no_grad()
def test_the_base_computes_what_transformers_computes_with_its_file():
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    settings = LlamaConfig.from_pretrained(FETCHED.parent, gguf_file=FETCHED.name)
    theirs = LlamaForCausalLM(settings).eval()
    # what from_pretrained(gguf_file=…) reads; that needs another package for loading it
    tensors = load_gguf_checkpoint(str(FETCHED), return_tensors=True, model_to_load=theirs)["tensors"]
    missing = theirs.load_state_dict(tensors, strict=False).missing_keys
    assert missing == ["lm_head.weight"]  # tied
    ids = torch.tensor([[0, 604, 314, 281, 2048, 24, 32, 34, 2105, 198, 49_000]])
    expected = theirs(ids).logits[0]
    del theirs
    ours = Denoiser(BASE)
    ours.load_state_dict(read_base(FETCHED).state)
    found = ours.logits(ours.context(ids, torch.ones(1, dtype=torch.long))[0])[0]
    # float32 sums in another order, thirty layers deep
    assert torch.allclose(found, expected, atol=2e-3, rtol=1e-3)
    assert expected.std() > 1
